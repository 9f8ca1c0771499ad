//! The group, title, explanation and format of every setting. A setting without an entry does not compile.

use crate::dashboard::settings::entry::{
    NO_LIMIT, SettingEntry, SettingGroup, ValueFormat, number_in, number_or, text,
};
use crate::dashboard::settings::value::Unit;
use crate::pool::settings::PerSetting;

pub static CATALOGUE: PerSetting<SettingEntry> = PerSetting {
    max_attempts: SettingEntry {
        group: SettingGroup::Requests,
        format: number_in(Unit::Count),
        title: text("Max attempts per request", "每個請求的嘗試次數上限"),
        explanation: text(
            "Maximum number of attempts of one request, retries included, that reach a model or fail in transit. After the last one, the error is returned to the client.",
            "單一請求的嘗試次數上限（含重試），只計入到達模型或在傳輸途中失敗的嘗試。達到上限後，錯誤會回傳給用戶端。",
        ),
    },
    max_keys_per_request: SettingEntry {
        group: SettingGroup::Requests,
        format: number_in(Unit::Count),
        title: text("Max total attempts", "嘗試總數上限"),
        explanation: text(
            "Maximum number of all attempts of one request, including attempts that cost nothing, such as those with an invalid key or a key without quota.",
            "單一請求的嘗試總數上限，包含不產生費用的嘗試，例如金鑰無效或配額已用完。",
        ),
    },
    connect_timeout_ms: SettingEntry {
        group: SettingGroup::Connections,
        format: number_in(Unit::Milliseconds),
        title: text("Connect timeout", "連線逾時"),
        explanation: text(
            "Maximum time to establish a connection to Google.",
            "建立到 Google 的連線所允許的最長時間。",
        ),
    },
    first_byte_timeout_ms: SettingEntry {
        group: SettingGroup::Connections,
        format: number_in(Unit::Milliseconds),
        title: text("First byte timeout", "首位元組逾時"),
        explanation: text(
            "Maximum time until the first byte of a response arrives, over all attempts of a request. Models with long thinking times need minutes.",
            "單一請求的所有嘗試合計，等待回應第一個位元組的最長時間。需要長時間思考的模型可能要數分鐘。",
        ),
    },
    idle_timeout_ms: SettingEntry {
        group: SettingGroup::Connections,
        format: number_in(Unit::Milliseconds),
        title: text("Idle timeout", "閒置逾時"),
        explanation: text(
            "Maximum time without data from Google after a response has started. The total duration of a response is not limited.",
            "回應開始後，Google 未傳送資料的最長時間。回應的總時間沒有限制。",
        ),
    },
    upstream_http2: SettingEntry {
        group: SettingGroup::Connections,
        format: ValueFormat::Switch,
        title: text("HTTP/2 to Google", "以 HTTP/2 連線 Google"),
        explanation: text(
            "Use HTTP/2 for connections to Google. Requests then share a few connections, and a lost connection interrupts all requests on it.",
            "以 HTTP/2 連線 Google。請求會共用少數連線；連線中斷時，共用該連線的請求會一起中斷。",
        ),
    },
    max_request_bytes: SettingEntry {
        group: SettingGroup::Requests,
        format: number_in(Unit::Bytes),
        title: text("Max request size", "請求大小上限"),
        explanation: text(
            "Maximum size of a request body. A larger request gets status 413.",
            "請求內容的大小上限。超過上限的請求會得到狀態碼 413。",
        ),
    },
    max_held_bytes: SettingEntry {
        group: SettingGroup::Requests,
        format: number_in(Unit::Bytes),
        title: text("Memory for request bodies", "請求內容的記憶體上限"),
        explanation: text(
            "Maximum memory for the bodies of all requests together. A request that exceeds it gets status 503.",
            "所有請求內容合計可使用的記憶體上限。超過上限的請求會得到狀態碼 503。",
        ),
    },
    wait_for_key_seconds: SettingEntry {
        group: SettingGroup::Queue,
        format: number_or(Unit::Seconds, text("do not wait", "不等候")),
        title: text("Max queue time", "排隊時間上限"),
        explanation: text(
            "Maximum time a request waits in the queue when no upstream key is ready, but one becomes ready in that time.",
            "沒有可用的上游金鑰、但短時間內會有金鑰恢復時，請求在佇列中等候的最長時間。0 表示不等候。",
        ),
    },
    wait_queue_limit: SettingEntry {
        group: SettingGroup::Queue,
        format: number_or(Unit::Count, text("no queue", "不排隊")),
        title: text("Queue length", "佇列長度上限"),
        explanation: text(
            "Maximum number of requests in the queue. Further requests are rejected at once.",
            "佇列中的請求數上限。超過上限的請求會立即被拒絕。",
        ),
    },
    overload_pause_ms: SettingEntry {
        group: SettingGroup::Queue,
        format: number_in(Unit::Milliseconds),
        title: text("Circuit breaker pause", "斷路器暫停時間"),
        explanation: text(
            "When the circuit breaker of an overloaded model opens, the model gets no requests for this time. The pause doubles each time the model is still overloaded, up to 30 s; a longer value never doubles.",
            "模型過載使斷路器開啟時，暫停對該模型送出請求的時間。若模型仍過載，暫停時間會加倍，最多 30 秒；設定值超過 30 秒時不再加倍。",
        ),
    },
    per_key_concurrency: SettingEntry {
        group: SettingGroup::KeyLimits,
        format: number_or(Unit::Count, NO_LIMIT),
        title: text("Concurrent requests", "同時請求數"),
        explanation: text(
            "Maximum number of requests that use one upstream key at the same time.",
            "同時使用單一上游金鑰的請求數上限。",
        ),
    },
    key_requests_per_minute: SettingEntry {
        group: SettingGroup::KeyLimits,
        format: number_or(Unit::Count, NO_LIMIT),
        title: text("Requests per minute", "每分鐘請求數"),
        explanation: text(
            "Rate limit of each upstream key, in requests per minute. Google's own limits apply as well.",
            "每個上游金鑰每分鐘的請求數上限。Google 本身的限制仍然適用。",
        ),
    },
    key_tokens_per_minute: SettingEntry {
        group: SettingGroup::KeyLimits,
        format: number_or(Unit::Count, NO_LIMIT),
        title: text("Tokens per minute", "每分鐘 Token 數"),
        explanation: text(
            "Rate limit of each upstream key, in tokens per minute. Google's own limits apply as well.",
            "每個上游金鑰每分鐘的 Token 數上限。Google 本身的限制仍然適用。",
        ),
    },
    key_requests_per_day: SettingEntry {
        group: SettingGroup::KeyLimits,
        format: number_or(Unit::Count, NO_LIMIT),
        title: text("Requests per day", "每日請求數"),
        explanation: text(
            "Maximum number of requests per day for each upstream key. The day ends at midnight Pacific time, like Google's daily quota.",
            "每個上游金鑰每日的請求數上限。每日以美國太平洋時間午夜為界，與 Google 的每日配額相同。",
        ),
    },
    key_tokens_per_day: SettingEntry {
        group: SettingGroup::KeyLimits,
        format: number_or(Unit::Count, NO_LIMIT),
        title: text("Tokens per day", "每日 Token 數"),
        explanation: text(
            "Maximum number of tokens per day for each upstream key. The day ends at midnight Pacific time, like Google's daily quota.",
            "每個上游金鑰每日的 Token 數上限。每日以美國太平洋時間午夜為界，與 Google 的每日配額相同。",
        ),
    },
    project_requests_per_minute: SettingEntry {
        group: SettingGroup::ProjectLimits,
        format: number_or(Unit::Count, NO_LIMIT),
        title: text("Requests per minute", "每分鐘請求數"),
        explanation: text(
            "Rate limit of each project, in requests per minute of all its keys together.",
            "每個專案的所有金鑰合計，每分鐘的請求數上限。",
        ),
    },
    project_tokens_per_minute: SettingEntry {
        group: SettingGroup::ProjectLimits,
        format: number_or(Unit::Count, NO_LIMIT),
        title: text("Tokens per minute", "每分鐘 Token 數"),
        explanation: text(
            "Rate limit of each project, in tokens per minute of all its keys together.",
            "每個專案的所有金鑰合計，每分鐘的 Token 數上限。",
        ),
    },
    project_requests_per_day: SettingEntry {
        group: SettingGroup::ProjectLimits,
        format: number_or(Unit::Count, NO_LIMIT),
        title: text("Requests per day", "每日請求數"),
        explanation: text(
            "Maximum number of requests per day for all keys of a project together. The day ends at midnight Pacific time, like Google's daily quota.",
            "每個專案的所有金鑰合計，每日的請求數上限。每日以美國太平洋時間午夜為界，與 Google 的每日配額相同。",
        ),
    },
    project_tokens_per_day: SettingEntry {
        group: SettingGroup::ProjectLimits,
        format: number_or(Unit::Count, NO_LIMIT),
        title: text("Tokens per day", "每日 Token 數"),
        explanation: text(
            "Maximum number of tokens per day for all keys of a project together. The day ends at midnight Pacific time, like Google's daily quota.",
            "每個專案的所有金鑰合計，每日的 Token 數上限。每日以美國太平洋時間午夜為界，與 Google 的每日配額相同。",
        ),
    },
    check_new_keys: SettingEntry {
        group: SettingGroup::Checks,
        format: ValueFormat::Switch,
        title: text("Check new keys", "檢查新金鑰"),
        explanation: text(
            "Check upstream keys as soon as they are added. Off: an invalid key is detected by the first request that uses it.",
            "新增上游金鑰後立即檢查。關閉時，第一個使用該金鑰的請求才會發現金鑰無效。",
        ),
    },
    check_model: SettingEntry {
        group: SettingGroup::Checks,
        format: ValueFormat::Text {
            expected: text(
                "A model name, for example gemini-flash-lite-latest",
                "模型名稱，例如 gemini-flash-lite-latest",
            ),
            empty: None,
        },
        title: text("Check model", "檢查用模型"),
        explanation: text(
            "The model that checks of upstream keys use.",
            "檢查上游金鑰時使用的模型。",
        ),
    },
    check_with_generate: SettingEntry {
        group: SettingGroup::Checks,
        format: ValueFormat::Switch,
        title: text("Generate a token in checks", "檢查時產生一個 Token"),
        explanation: text(
            "Each check generates one token. This uses quota, and proves that the key can generate content. Off: checks cost nothing.",
            "每次檢查產生一個 Token。這會使用配額，但可確認金鑰能產生內容。關閉時，檢查不產生費用。",
        ),
    },
    day_zone: SettingEntry {
        group: SettingGroup::ClientKeys,
        format: ValueFormat::Text {
            expected: text(
                "A time zone, for example UTC or Asia/Taipei",
                "時區名稱，例如 UTC 或 Asia/Taipei",
            ),
            empty: None,
        },
        title: text("Time zone of limits", "額度計算時區"),
        explanation: text(
            "The time zone in which the daily and monthly limits of client keys reset. After a change, the current usage is calculated again for the new zone.",
            "用戶端金鑰的每日與每月限制依此時區重設。變更後會依新時區重新計算目前用量。",
        ),
    },
    client_isolation: SettingEntry {
        group: SettingGroup::ClientKeys,
        format: ValueFormat::Switch,
        title: text("Client isolation", "用戶端隔離"),
        explanation: text(
            "A client key can only use files, caches, batches and interactions that it created; those of other client keys are reported as not found. Off: each client key can use the resources of all client keys.",
            "每個用戶端金鑰只能使用自己建立的檔案、快取、批次與互動；其他用戶端金鑰的資源一律回報為不存在。關閉時，每個用戶端金鑰皆可使用所有用戶端金鑰的資源。",
        ),
    },
    commit_wait_ms: SettingEntry {
        group: SettingGroup::Logs,
        format: number_or(Unit::Milliseconds, text("do not wait", "不等候")),
        title: text("Max wait for log writes", "等候寫入記錄的時間上限"),
        explanation: text(
            "Maximum time that the end of a response is delayed until its log entry is written. After that, the response is completed first and the entry is written later.",
            "為等候請求記錄寫入，回應的結尾最多延遲多久。逾時後會先完成回應，之後再寫入記錄。",
        ),
    },
    max_pending_rows: SettingEntry {
        group: SettingGroup::Logs,
        format: number_in(Unit::Count),
        title: text("Max pending log entries", "待寫入記錄上限"),
        explanation: text(
            "Maximum number of log entries in memory that are not yet written to the database. At this number, new requests get status 503.",
            "記憶體中尚未寫入資料庫的請求記錄數上限。達到上限時，新的請求會得到狀態碼 503。",
        ),
    },
    log_retention_days: SettingEntry {
        group: SettingGroup::Logs,
        format: number_or(Unit::Days, text("keep forever", "永久保留")),
        title: text("Log retention", "記錄保留期限"),
        explanation: text(
            "Log entries are deleted after this time. Hourly totals are kept, so charts and totals do not change.",
            "請求記錄超過此期限後會刪除。每小時的統計會保留，圖表與總計不受影響。",
        ),
    },
    cors_allow_origin: SettingEntry {
        group: SettingGroup::Browsers,
        format: ValueFormat::Text {
            expected: text("*, one origin, or blank", "*、單一來源，或留空"),
            empty: Some(text("no pages", "不允許任何網頁")),
        },
        title: text("CORS allowed origin", "CORS 允許來源"),
        explanation: text(
            "The origin of web pages that may call this server from a browser, sent in the access-control-allow-origin header. * allows any page.",
            "可從瀏覽器呼叫此伺服器的網頁來源，即 access-control-allow-origin 標頭的值。* 表示允許任何網頁。",
        ),
    },
};
