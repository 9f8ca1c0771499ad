//! What each setting is called, what it does, and among which others it stands. One that is not here does not compile.

use crate::dashboard::settings::entry::{
    NO_LIMIT, SettingEntry, SettingGroup, ValueFormat, number_in, number_or, text,
};
use crate::dashboard::settings::value::Unit;
use crate::pool::settings::PerSetting;

pub static CATALOGUE: PerSetting<SettingEntry> = PerSetting {
    max_attempts: SettingEntry {
        group: SettingGroup::Requests,
        format: number_in(Unit::Count),
        title: text("Attempts per request", "每個請求的嘗試次數"),
        explanation: text(
            "How many attempts of one request may reach a model or break on the way. Further errors go to the client.",
            "單一請求最多可有幾次嘗試到達模型或在傳輸途中中斷。超過後的錯誤會直接回傳給客戶端。",
        ),
    },
    max_keys_per_request: SettingEntry {
        group: SettingGroup::Requests,
        format: number_in(Unit::Count),
        title: text("Attempts in all", "嘗試總數上限"),
        explanation: text(
            "How many attempts a request may make in all, those included that cost nothing, as with keys found dead or out of quota.",
            "單一請求的嘗試總數上限，包含不耗費用量的嘗試，例如遇到失效或用完配額的金鑰。",
        ),
    },
    connect_timeout_ms: SettingEntry {
        group: SettingGroup::Connections,
        format: number_in(Unit::Milliseconds),
        title: text("Time to connect", "連線逾時"),
        explanation: text(
            "How long a connection to Google may take to be made.",
            "建立到 Google 的連線最多可花多少時間。",
        ),
    },
    first_byte_timeout_ms: SettingEntry {
        group: SettingGroup::Connections,
        format: number_in(Unit::Milliseconds),
        title: text("Time to the first byte", "首位元組逾時"),
        explanation: text(
            "How long the first byte of an answer may take, over all attempts. Models that think long need minutes.",
            "所有嘗試合計，回應的第一個位元組最多可等多久。需要長時間思考的模型可能要數分鐘。",
        ),
    },
    idle_timeout_ms: SettingEntry {
        group: SettingGroup::Connections,
        format: number_in(Unit::Milliseconds),
        title: text("Silence within an answer", "回應中斷逾時"),
        explanation: text(
            "How long an answer that has begun may be silent. There is no limit on the whole answer.",
            "已開始的回應最多可停頓多久。整個回應的總時間沒有限制。",
        ),
    },
    upstream_http2: SettingEntry {
        group: SettingGroup::Connections,
        format: ValueFormat::Switch,
        title: text("HTTP/2 to Google", "以 HTTP/2 連線 Google"),
        explanation: text(
            "Speak HTTP/2 to Google, over several connections. Fewer connections, but requests that share one break together.",
            "以 HTTP/2 透過數條連線與 Google 通訊。連線較少，但共用同一連線的請求會一起中斷。",
        ),
    },
    max_request_bytes: SettingEntry {
        group: SettingGroup::Requests,
        format: number_in(Unit::Bytes),
        title: text("Largest request", "請求大小上限"),
        explanation: text(
            "The largest request body. What is larger gets status 413.",
            "請求內容的大小上限，超過時回傳 413。",
        ),
    },
    max_held_bytes: SettingEntry {
        group: SettingGroup::Requests,
        format: number_in(Unit::Bytes),
        title: text("Memory for all requests", "所有請求的記憶體上限"),
        explanation: text(
            "How much all request bodies in memory may take together. A request with no room left gets status 503.",
            "記憶體中所有請求內容合計的上限，空間不足的請求會得到 503。",
        ),
    },
    wait_for_key_seconds: SettingEntry {
        group: SettingGroup::Queue,
        format: number_or(Unit::Seconds, text("do not wait", "不等候")),
        title: text("Wait for a key", "等候金鑰的時間"),
        explanation: text(
            "How long a request waits when no key is ready but one soon will be.",
            "沒有可用金鑰但很快就會有時，請求最多等候多久。",
        ),
    },
    wait_queue_limit: SettingEntry {
        group: SettingGroup::Queue,
        format: number_or(Unit::Count, text("nobody waits", "不允許等候")),
        title: text("Requests waiting at once", "等候中的請求上限"),
        explanation: text(
            "How many requests may wait for a key at once. Further ones are refused at once.",
            "最多可有多少請求同時等候金鑰，其餘會立即被拒絕。",
        ),
    },
    overload_pause_ms: SettingEntry {
        group: SettingGroup::Queue,
        format: number_in(Unit::Milliseconds),
        title: text("Pause after overload", "模型過載後的暫停時間"),
        explanation: text(
            "How long an overloaded model is left alone at first. The pause doubles up to 30 s, or stays at this where it is longer.",
            "模型過載時最初暫停多久。之後會加倍至最多 30 秒；若此值更長則維持此值。",
        ),
    },
    per_key_concurrency: SettingEntry {
        group: SettingGroup::KeyLimits,
        format: number_or(Unit::Count, NO_LIMIT),
        title: text("Requests at once", "同時請求數"),
        explanation: text(
            "How many requests one upstream key carries at the same time.",
            "單一上游金鑰同時可處理多少請求。",
        ),
    },
    key_requests_per_minute: SettingEntry {
        group: SettingGroup::KeyLimits,
        format: number_or(Unit::Count, NO_LIMIT),
        title: text("Requests a minute", "每分鐘請求數"),
        explanation: text(
            "How many requests one upstream key gets a minute, beside what Google allows.",
            "單一上游金鑰每分鐘最多分配多少請求，與 Google 的限制分別計算。",
        ),
    },
    key_tokens_per_minute: SettingEntry {
        group: SettingGroup::KeyLimits,
        format: number_or(Unit::Count, NO_LIMIT),
        title: text("Tokens a minute", "每分鐘 Token 數"),
        explanation: text(
            "How many tokens one upstream key may spend a minute.",
            "單一上游金鑰每分鐘最多使用多少 Token。",
        ),
    },
    key_requests_per_day: SettingEntry {
        group: SettingGroup::KeyLimits,
        format: number_or(Unit::Count, NO_LIMIT),
        title: text("Requests a day", "每日請求數"),
        explanation: text(
            "How many requests one upstream key gets a day. The day ends as Google's does, at midnight in California.",
            "單一上游金鑰每日最多分配多少請求。每日以加州午夜為界，與 Google 相同。",
        ),
    },
    key_tokens_per_day: SettingEntry {
        group: SettingGroup::KeyLimits,
        format: number_or(Unit::Count, NO_LIMIT),
        title: text("Tokens a day", "每日 Token 數"),
        explanation: text(
            "How many tokens one upstream key may spend a day. The day ends as Google's does, at midnight in California.",
            "單一上游金鑰每日最多使用多少 Token。每日以加州午夜為界，與 Google 相同。",
        ),
    },
    project_requests_per_minute: SettingEntry {
        group: SettingGroup::ProjectLimits,
        format: number_or(Unit::Count, NO_LIMIT),
        title: text("Requests a minute", "每分鐘請求數"),
        explanation: text(
            "How many requests all keys of a project get a minute together.",
            "同一專案的所有金鑰合計，每分鐘最多分配多少請求。",
        ),
    },
    project_tokens_per_minute: SettingEntry {
        group: SettingGroup::ProjectLimits,
        format: number_or(Unit::Count, NO_LIMIT),
        title: text("Tokens a minute", "每分鐘 Token 數"),
        explanation: text(
            "How many tokens all keys of a project may spend a minute together.",
            "同一專案的所有金鑰合計，每分鐘最多使用多少 Token。",
        ),
    },
    project_requests_per_day: SettingEntry {
        group: SettingGroup::ProjectLimits,
        format: number_or(Unit::Count, NO_LIMIT),
        title: text("Requests a day", "每日請求數"),
        explanation: text(
            "How many requests all keys of a project get a day together. The day ends as Google's does, at midnight in California.",
            "同一專案的所有金鑰合計，每日最多分配多少請求。每日以加州午夜為界，與 Google 相同。",
        ),
    },
    project_tokens_per_day: SettingEntry {
        group: SettingGroup::ProjectLimits,
        format: number_or(Unit::Count, NO_LIMIT),
        title: text("Tokens a day", "每日 Token 數"),
        explanation: text(
            "How many tokens all keys of a project may spend a day together. The day ends as Google's does, at midnight in California.",
            "同一專案的所有金鑰合計，每日最多使用多少 Token。每日以加州午夜為界，與 Google 相同。",
        ),
    },
    check_new_keys: SettingEntry {
        group: SettingGroup::Checks,
        format: ValueFormat::Switch,
        title: text("Check new keys", "檢查新金鑰"),
        explanation: text(
            "Look at new upstream keys as soon as they are added. Off: the first request finds out.",
            "新增上游金鑰後立即檢查。關閉時，由第一個請求得知是否可用。",
        ),
    },
    check_model: SettingEntry {
        group: SettingGroup::Checks,
        format: ValueFormat::Text {
            expected: text(
                "The name of a model, as in gemini-flash-lite-latest",
                "模型名稱，例如 gemini-flash-lite-latest",
            ),
            empty: None,
        },
        title: text("Model of checks", "檢查用的模型"),
        explanation: text(
            "The model that checks of upstream keys ask Google about.",
            "檢查上游金鑰時向 Google 詢問的模型。",
        ),
    },
    check_with_generate: SettingEntry {
        group: SettingGroup::Checks,
        format: ValueFormat::Switch,
        title: text("Checks generate a token", "檢查時產生一個 Token"),
        explanation: text(
            "Let checks generate one token. That spends quota and proves more: that the key may really generate.",
            "檢查時實際產生一個 Token。會耗用配額，但更能證明金鑰確實可用來產生內容。",
        ),
    },
    day_zone: SettingEntry {
        group: SettingGroup::ClientKeys,
        format: ValueFormat::Text {
            expected: text(
                "A time zone, as in UTC or Asia/Taipei",
                "時區名稱，例如 UTC 或 Asia/Taipei",
            ),
            empty: None,
        },
        title: text("Time zone of limits", "限制所用的時區"),
        explanation: text(
            "The time zone in which the days and months of client keys' limits begin. What was used is counted anew from it.",
            "客戶端金鑰限制以此時區計算每日與每月的起點。變更後會依新時區重新計算已用量。",
        ),
    },
    client_isolation: SettingEntry {
        group: SettingGroup::ClientKeys,
        format: ValueFormat::Switch,
        title: text("Keep clients apart", "隔離各客戶端"),
        explanation: text(
            "A client key may use only the files, caches, batches and interactions that it has made itself; others are not found. Off: those of every client.",
            "每把客戶端金鑰只能使用自己建立的檔案、快取、批次與互動，其他一律視為不存在。關閉後可使用所有客戶端的。",
        ),
    },
    commit_wait_ms: SettingEntry {
        group: SettingGroup::Logs,
        format: number_or(Unit::Milliseconds, text("do not wait", "不等候")),
        title: text("Wait for the log row", "等候寫入記錄的時間"),
        explanation: text(
            "How long the end of an answer waits for its log row to be written. After that it goes out and the row follows.",
            "回應結束前，最多等候多久讓記錄寫入。逾時則先送出回應，記錄隨後補寫。",
        ),
    },
    max_pending_rows: SettingEntry {
        group: SettingGroup::Logs,
        format: number_in(Unit::Count),
        title: text("Rows waiting for the database", "等候寫入的記錄上限"),
        explanation: text(
            "With so many rows waiting in memory for the database, new requests get status 503.",
            "記憶體中等候寫入資料庫的記錄達到此數時，新的請求會得到 503。",
        ),
    },
    log_retention_days: SettingEntry {
        group: SettingGroup::Logs,
        format: number_or(Unit::Days, text("keep for ever", "永久保留")),
        title: text("Keep log rows for", "記錄保留期限"),
        explanation: text(
            "After how long log rows are deleted. The hourly sums stay, so charts and totals do not change.",
            "記錄超過此期限後會被刪除。每小時的統計會保留，圖表與總計不受影響。",
        ),
    },
    cors_allow_origin: SettingEntry {
        group: SettingGroup::Browsers,
        format: ValueFormat::Text {
            expected: text("*, an origin, or nothing", "*、單一來源，或留空"),
            empty: Some(text("no page", "不允許任何網頁")),
        },
        title: text("Pages that may call", "允許呼叫的網頁來源"),
        explanation: text(
            "Which web pages may call this server from a browser, as access-control-allow-origin has it: * for any.",
            "哪些網頁可從瀏覽器呼叫此服務，即 access-control-allow-origin 的值，* 表示任何網頁。",
        ),
    },
};
