//! The group and the texts of every setting in both languages. A setting without its texts does not compile.

use strum::{IntoStaticStr, VariantArray};

use crate::dashboard::translations::LocalizedText;
use crate::pool::settings::PerSetting;

/// A group of settings; its name is a URL fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum SettingGroup {
    Requests,
    Connections,
    #[strum(serialize = "waiting")]
    Queue,
    KeyLimits,
    ProjectLimits,
    Checks,
    ClientKeys,
    #[strum(serialize = "record")]
    Logs,
    BodyLog,
    Alerts,
    Browsers,
    Metrics,
    Backups,
}

/// The presentation of a setting.
#[derive(Debug)]
pub struct SettingTexts {
    pub group: SettingGroup,
    pub title: LocalizedText,
    pub explanation: LocalizedText,
    /// The valid values of a text.
    pub expected: Option<LocalizedText>,
    /// The meaning of 0 or of an empty text, which a blank field submits.
    pub blank: Option<LocalizedText>,
    /// The label of each word of a [`Choice`](crate::pool::settings::SettingKind::Choice), in its order.
    pub choices: &'static [LocalizedText],
}

impl SettingGroup {
    /// The URL fragment of the group.
    pub fn anchor(self) -> &'static str {
        self.into()
    }

    pub fn title(self) -> LocalizedText {
        match self {
            Self::Requests => LocalizedText("Requests and retries", "請求與重試"),
            Self::Connections => LocalizedText("Connections and timeouts", "連線與逾時"),
            Self::Queue => LocalizedText("Queue and overload", "佇列與過載"),
            Self::KeyLimits => LocalizedText("Limits per upstream key", "每個上游金鑰的限制"),
            Self::ProjectLimits => LocalizedText("Limits per project", "每個專案的限制"),
            Self::Checks => LocalizedText("Checks of upstream keys", "上游金鑰檢查"),
            Self::ClientKeys => LocalizedText("Client keys", "用戶端金鑰"),
            Self::Logs => LocalizedText("Logs", "請求記錄"),
            Self::BodyLog => LocalizedText("Kept bodies", "內容保留"),
            Self::Alerts => LocalizedText("Alerts", "警示"),
            Self::Browsers => LocalizedText("Browsers (CORS)", "瀏覽器（CORS）"),
            Self::Metrics => LocalizedText("Metrics", "監控指標"),
            Self::Backups => LocalizedText("Scheduled backups", "排程備份"),
        }
    }
}

/// Builds [`CATALOGUE`] from a row per setting: its group and title, its explanation, for a text a description of valid
/// values, the meaning of a blank field (a 0 or an empty text), if it is allowed, and for a choice the label of each word.
macro_rules! catalogue {
    ($($name:ident in $group:ident = $title:literal, $title_zh:literal, $explanation:literal, $explanation_zh:literal
        $(, expected $expected:literal, $expected_zh:literal)? $(, blank $blank:literal, $blank_zh:literal)?
        $(, choices $($choice:literal, $choice_zh:literal),+)?;)+) => {
        pub static CATALOGUE: PerSetting<SettingTexts> = PerSetting {
            $($name: SettingTexts {
                group: SettingGroup::$group,
                title: LocalizedText($title, $title_zh),
                explanation: LocalizedText($explanation, $explanation_zh),
                expected: optional!($($expected, $expected_zh)?),
                blank: optional!($($blank, $blank_zh)?),
                choices: &[$($(LocalizedText($choice, $choice_zh)),+)?],
            },)+
        };
    };
}

macro_rules! optional {
    () => {
        None
    };
    ($english:literal, $chinese:literal) => {
        Some(LocalizedText($english, $chinese))
    };
}

catalogue! {
    max_attempts in Requests = "Max attempts per request", "每個請求的嘗試次數上限",
        "Maximum number of attempts of one request, retries included, that reach a model or fail in transit. After the last one, the error is returned to the client.",
        "單一請求的嘗試次數上限（含重試），只計入到達模型或在傳輸途中失敗的嘗試。達到上限後，錯誤會回傳給用戶端。";
    max_keys_per_request in Requests = "Max total attempts", "嘗試總數上限",
        "Maximum number of all attempts of one request, including attempts that cost nothing, such as those with an invalid key or a key without quota.",
        "單一請求的嘗試總數上限，包含不產生費用的嘗試，例如金鑰無效或配額已用完。";
    model_fallback in Requests = "Model fallback", "備援模型",
        "Models that answer in place of a model for which no key is ready, or that is overloaded at Google. Only models that the client key may use are asked, and only where the request names no files or other resources. The row and the header x-pool-model name the model that answered.",
        "當某個模型沒有可用金鑰，或在 Google 端過載時，改由這些模型回應。只會使用用戶端金鑰允許的模型，而且請求不得指定檔案或其他資源。實際回應的模型會記錄在該筆請求與 x-pool-model 標頭中。",
        expected "Chains of models separated by commas, as in gemini-2.5-pro > gemini-2.5-flash", "以逗號分隔的模型順序，例如 gemini-2.5-pro > gemini-2.5-flash",
        blank "No fallback", "不使用備援";
    empty_reply_retry in Requests = "Retry empty replies", "重試空白回覆",
        "Hold a reply back until it has content, and send the request once more with another key if the reply is empty or its function call is malformed. Google bills both replies. Replies that a filter or a limit ended are not retried.",
        "回覆有內容之前先不送出；如果回覆是空白或函式呼叫格式錯誤，就以另一把金鑰重送一次。Google 會對兩次回覆計費。因內容過濾或長度上限而結束的回覆不會重試。";
    hedge_percent in Requests = "Hedged requests (%)", "並行備援請求（%）",
        "Maximum share of requests that are sent to a second project when the first byte takes longer than in 95 of 100 requests to that model. The first reply with content is used and the other one is cancelled. Google may bill both; the client key is charged for one.",
        "首位元組的等待時間超過該模型 95% 的請求時，可同時送往第二個專案的請求比例上限。採用先有內容的回覆，並取消另一個。Google 可能對兩者計費；用戶端金鑰只計算其中一個。",
        blank "No hedging", "不使用";
    pool_headers in Requests = "Pool headers", "代理標頭",
        "Add the number of attempts, the time in the queue and what the limits of the client key leave to each response, as x-pool-attempts, x-pool-queue-ms and x-pool-remaining-ITEM.",
        "在每個回應加上嘗試次數、排隊時間與用戶端金鑰剩餘額度：x-pool-attempts、x-pool-queue-ms、x-pool-remaining-項目。";
    connect_timeout_ms in Connections = "Connect timeout", "連線逾時",
        "Maximum time to establish a connection to Google.",
        "建立到 Google 的連線所允許的最長時間。";
    first_byte_timeout_ms in Connections = "First byte timeout", "首位元組逾時",
        "Maximum time until the first byte of a response arrives, over all attempts of a request. Models with long thinking times need minutes.",
        "單一請求的所有嘗試合計，等待回應第一個位元組的最長時間。需要長時間思考的模型可能要數分鐘。";
    idle_timeout_ms in Connections = "Idle timeout", "閒置逾時",
        "Maximum time without data from Google after a response has started. The total duration of a response is not limited.",
        "回應開始後，Google 未傳送資料的最長時間。回應的總時間沒有限制。";
    timeouts_by_model in Connections = "Timeouts by model", "各模型的逾時",
        "Other limits for models that match a pattern, in milliseconds: first_byte, idle or both. The first pattern that matches applies; what it leaves out has the limits above.",
        "為符合樣式的模型另訂逾時（毫秒），可設定 first_byte、idle 或兩者。以第一個符合的樣式為準，未設定的部分沿用上面的值。",
        expected "One entry for each line or comma: a pattern and its limits, as in gemini-*-pro first_byte=900000 idle=600000", "以換行或逗號分隔各項目，每項為樣式與逾時，例如 gemini-*-pro first_byte=900000 idle=600000",
        blank "None", "無";
    upstream_http2 in Connections = "HTTP/2 to Google", "以 HTTP/2 連線 Google",
        "Use HTTP/2 for connections to Google. Requests then share a few connections, and a lost connection interrupts all requests on it.",
        "以 HTTP/2 連線 Google。請求會共用少數連線；連線中斷時，共用該連線的請求會一起中斷。";
    max_request_bytes in Requests = "Max request size", "請求大小上限",
        "Maximum size of a request body. A larger request gets status 413.",
        "請求內容的大小上限。超過上限的請求會得到狀態碼 413。";
    max_held_bytes in Requests = "Memory for request bodies", "請求內容的記憶體上限",
        "Maximum memory for the bodies of all requests together. A request that exceeds it gets status 503.",
        "所有請求內容合計可使用的記憶體上限。超過上限的請求會得到狀態碼 503。";
    client_body_share_percent in Requests = "Memory share per client (%)", "單一用戶端的記憶體比例（%）",
        "Maximum share of the memory for request bodies that one client may use while another client uses some or waits for some.",
        "有其他用戶端正在使用或等候請求內容的記憶體時，單一用戶端最多可使用的比例。";
    body_min_bytes_per_second in Requests = "Minimum upload rate (bytes per second)", "最低上傳速率（每秒位元組）",
        "Minimum rate at which a request body must arrive, after its first 10 seconds. A slower request gets status 408.",
        "請求內容在最初 10 秒之後必須達到的最低傳入速率。速率過低的請求會得到狀態碼 408。",
        blank "any rate", "不限制";
    live_setup_max_bytes in Requests = "Max setup message size", "設定訊息大小上限",
        "Maximum size of the first message of a live session. A larger one closes the session.",
        "即時工作階段第一則訊息的大小上限。超過上限時會關閉工作階段。";
    wait_for_key_seconds in Queue = "Max queue time", "排隊時間上限",
        "Maximum time a request waits in the queue when no upstream key is ready, but one becomes ready in that time.",
        "沒有可用的上游金鑰、但短時間內會有金鑰恢復時，請求在佇列中等候的最長時間。",
        blank "do not wait", "不等候";
    wait_queue_limit in Queue = "Queue length", "佇列長度上限",
        "Maximum number of requests in the queue. Further requests are rejected at once.",
        "佇列中的請求數上限。超過上限的請求會立即被拒絕。",
        blank "no queue", "不排隊";
    overload_pause_ms in Queue = "Circuit breaker pause", "斷路器暫停時間",
        "When the circuit breaker of an overloaded model opens, the model gets no requests for this time. The pause doubles each time the model is still overloaded, up to 30 s; a longer value never doubles.",
        "模型過載使斷路器開啟時，暫停對該模型送出請求的時間。若模型仍過載，暫停時間會加倍，最多 30 秒；設定值超過 30 秒時不再加倍。";
    per_key_concurrency in KeyLimits = "Concurrent requests", "同時請求數",
        "Maximum number of requests that use one upstream key at the same time.",
        "同時使用單一上游金鑰的請求數上限。",
        blank "no limit", "不限制";
    key_requests_per_minute in KeyLimits = "Requests per minute", "每分鐘請求數",
        "Rate limit of each upstream key, in requests per minute. Google's own limits apply as well.",
        "每個上游金鑰每分鐘的請求數上限。Google 本身的限制仍然適用。",
        blank "no limit", "不限制";
    key_tokens_per_minute in KeyLimits = "Tokens per minute", "每分鐘 Token 數",
        "Rate limit of each upstream key, in tokens per minute. Google's own limits apply as well.",
        "每個上游金鑰每分鐘的 Token 數上限。Google 本身的限制仍然適用。",
        blank "no limit", "不限制";
    key_requests_per_day in KeyLimits = "Requests per day", "每日請求數",
        "Maximum number of requests per day for each upstream key. The day ends at midnight Pacific time, like Google's daily quota.",
        "每個上游金鑰每日的請求數上限。每日以美國太平洋時間午夜為界，與 Google 的每日配額相同。",
        blank "no limit", "不限制";
    key_tokens_per_day in KeyLimits = "Tokens per day", "每日 Token 數",
        "Maximum number of tokens per day for each upstream key. The day ends at midnight Pacific time, like Google's daily quota.",
        "每個上游金鑰每日的 Token 數上限。每日以美國太平洋時間午夜為界，與 Google 的每日配額相同。",
        blank "no limit", "不限制";
    project_requests_per_minute in ProjectLimits = "Requests per minute", "每分鐘請求數",
        "Rate limit of each project, in requests per minute of all its keys together.",
        "每個專案的所有金鑰合計，每分鐘的請求數上限。",
        blank "no limit", "不限制";
    project_tokens_per_minute in ProjectLimits = "Tokens per minute", "每分鐘 Token 數",
        "Rate limit of each project, in tokens per minute of all its keys together.",
        "每個專案的所有金鑰合計，每分鐘的 Token 數上限。",
        blank "no limit", "不限制";
    project_requests_per_day in ProjectLimits = "Requests per day", "每日請求數",
        "Maximum number of requests per day for all keys of a project together. The day ends at midnight Pacific time, like Google's daily quota.",
        "每個專案的所有金鑰合計，每日的請求數上限。每日以美國太平洋時間午夜為界，與 Google 的每日配額相同。",
        blank "no limit", "不限制";
    project_tokens_per_day in ProjectLimits = "Tokens per day", "每日 Token 數",
        "Maximum number of tokens per day for all keys of a project together. The day ends at midnight Pacific time, like Google's daily quota.",
        "每個專案的所有金鑰合計，每日的 Token 數上限。每日以美國太平洋時間午夜為界，與 Google 的每日配額相同。",
        blank "no limit", "不限制";
    check_new_keys in Checks = "Check new keys", "檢查新金鑰",
        "Check upstream keys as soon as they are added. Off: an invalid key is detected by the first request that uses it.",
        "新增上游金鑰後立即檢查。關閉時，第一個使用該金鑰的請求才會發現金鑰無效。";
    check_model in Checks = "Check model", "檢查用模型",
        "The model that checks of upstream keys use.",
        "檢查上游金鑰時使用的模型。",
        expected "A model name, for example gemini-flash-lite-latest", "模型名稱，例如 gemini-flash-lite-latest";
    check_with_generate in Checks = "Generate a token in checks", "檢查時產生一個 Token",
        "Each check generates one token. This uses quota, and proves that the key can generate content. Off: checks cost nothing.",
        "每次檢查產生一個 Token。這會使用配額，但可確認金鑰能產生內容。關閉時，檢查不產生費用。";
    day_zone in ClientKeys = "Time zone of limits", "額度計算時區",
        "The time zone in which the daily and monthly limits of client keys reset. After a change, the current usage is calculated again for the new zone.",
        "用戶端金鑰的每日與每月限制依此時區重設。變更後會依新時區重新計算目前用量。",
        expected "A time zone, for example UTC or Asia/Taipei", "時區名稱，例如 UTC 或 Asia/Taipei";
    client_isolation in ClientKeys = "Client isolation", "用戶端隔離",
        "A client key can only use files, caches, batches and interactions that it created; those of other client keys are reported as not found. Off: each client key can use the resources of all client keys.",
        "每個用戶端金鑰只能使用自己建立的檔案、快取、批次與互動；其他用戶端金鑰的資源一律回報為不存在。關閉時，每個用戶端金鑰皆可使用所有用戶端金鑰的資源。";
    commit_wait_ms in Logs = "Max wait for log writes", "等候寫入記錄的時間上限",
        "Maximum time that the end of a response is delayed until its log entry is written. After that, the response is completed first and the entry is written later.",
        "為等候請求記錄寫入，回應的結尾最多延遲多久。逾時後會先完成回應，之後再寫入記錄。",
        blank "do not wait", "不等候";
    max_pending_rows in Logs = "Max pending log entries", "待寫入記錄上限",
        "Maximum number of log entries in memory that are not yet written to the database. At this number, new requests get status 503.",
        "記憶體中尚未寫入資料庫的請求記錄數上限。達到上限時，新的請求會得到狀態碼 503。";
    model_prices in Logs = "Own prices", "自訂價格",
        "Prices of models in US dollars for a million tokens of input and of output, for example gemini-2.5-pro=1.25/10. They replace Google's list prices in the cost of new requests, for all kinds of tokens. Requests with keys of free projects still cost nothing.",
        "模型每百萬輸入與輸出 Token 的美元價格，例如 gemini-2.5-pro=1.25/10。計算新請求的費用時會取代 Google 定價，適用於所有類型的 Token；使用免費專案金鑰的請求仍不計費。",
        expected "Models with prices such as gemini-2.5-pro=1.25/10, separated by commas, or blank", "以逗號分隔的模型與價格，例如 gemini-2.5-pro=1.25/10，或留空",
        blank "list prices", "依 Google 定價";
    log_retention_days in Logs = "Log retention", "記錄保留期限",
        "Log entries are deleted after this time. Hourly totals are kept, so charts and totals do not change.",
        "請求記錄超過此期限後會刪除。每小時的統計會保留，圖表與總計不受影響。",
        blank "keep forever", "永久保留";
    log_max_rows in Logs = "Max log entries", "記錄數量上限",
        "Above this number, the oldest log entries are deleted. Entries of the last two minutes are kept.",
        "請求記錄超過此數量時，會刪除最舊的記錄。最近兩分鐘的記錄會保留。",
        blank "no limit", "不限制";
    log_max_bytes in Logs = "Max database size", "資料庫大小上限",
        "When the content of the database file exceeds this size, the oldest log entries are deleted and the file shrinks. The file also holds keys, settings and hourly totals, which are never deleted for this.",
        "資料庫檔案的內容超過此大小時，會刪除最舊的請求記錄並縮小檔案。檔案也包含金鑰、設定與每小時的統計，這些資料不會因此刪除。",
        blank "no limit", "不限制";
    body_log_mode in BodyLog = "Keep bodies", "保留內容",
        "Whose request and response bodies are kept. Bodies contain what users write and what models answer. Keys of this server and the client's credential are removed from them.",
        "要保留哪些請求與回應的內容。內容包含使用者的輸入與模型的回答；其中的上游金鑰與用戶端憑證會移除。",
        choices "no request (off)", "不保留（off）", "failed or rejected requests (errors)", "失敗或遭拒的請求（errors）",
            "all requests (all)", "所有請求（all）";
    body_log_client_keys in BodyLog = "Client keys", "用戶端金鑰",
        "Only the bodies of these client keys are kept: their IDs, separated by commas. The ID of a client key is the number in the address of its page.",
        "只保留這些用戶端金鑰的內容：以逗號分隔的 ID。用戶端金鑰的 ID 即其頁面網址中的數字。",
        expected "IDs separated by commas, or blank", "以逗號分隔的 ID，或留空",
        blank "all client keys", "所有用戶端金鑰";
    body_log_sample_percent in BodyLog = "Sample (%)", "取樣比例（%）",
        "Share of the requests whose bodies are kept, chosen at random.",
        "隨機選取並保留內容的請求比例。";
    body_log_max_bytes in BodyLog = "Max size of a body", "單一內容大小上限",
        "Maximum size of a kept request or response body. Of a larger one, the beginning is kept.",
        "保留的單一請求或回應內容的大小上限。超過上限時只保留開頭。";
    body_log_retention_days in BodyLog = "Retention of bodies", "內容保留期限",
        "Kept bodies are deleted after this time, or earlier together with their log entries.",
        "保留的內容超過此期限後會刪除；若其請求記錄先刪除，則一併刪除。";
    body_log_max_total_bytes in BodyLog = "Max size of all bodies", "內容總大小上限",
        "When all kept bodies together exceed this size, compressed, the oldest ones are deleted. The log entries stay.",
        "所有保留內容壓縮後的總大小超過此上限時，會刪除最舊的內容。請求記錄不受影響。",
        blank "no limit", "不限制";
    alert_min_usable_keys in Alerts = "Alert below usable keys", "可用金鑰警示門檻",
        "When fewer upstream keys than this are usable for a model that had requests in the last hour, an alert is sent. That no key is usable is always an alert.",
        "最近一小時內有請求的模型，其可用的上游金鑰少於此數量時會送出警示。沒有任何可用金鑰時一律送出警示。",
        blank "only when no key is usable", "只在沒有可用金鑰時";
    cors_allow_origin in Browsers = "CORS allowed origin", "CORS 允許來源",
        "The origin of web pages that may call this server from a browser, sent in the access-control-allow-origin header. * allows any page.",
        "可從瀏覽器呼叫此伺服器的網頁來源，即 access-control-allow-origin 標頭的值。* 表示允許任何網頁。",
        expected "*, one origin, or blank", "*、單一來源，或留空",
        blank "no pages", "不允許任何網頁";
    my_usage in ClientKeys = "Usage page for clients", "用戶端用量頁面",
        "Offer /my-usage, where the holder of a client key sees its limits and usage without access to the dashboard. The page says nothing of upstream keys or other clients.",
        "提供 /my-usage 頁面：持有用戶端金鑰的人可查看該金鑰的限制與用量，不需要登入管理介面。頁面不會顯示上游金鑰或其他用戶端的資訊。";
    metrics_open in Metrics = "Open metrics", "公開監控指標",
        "Serve /metrics to everyone who reaches this server. Otherwise an API token with the scope of metrics is needed.",
        "任何能連上此伺服器的人都可讀取 /metrics。關閉時，須使用具有監控指標範圍的 API 權杖。";
    otlp_endpoint in Metrics = "Traces (OTLP)", "追蹤（OTLP）",
        "The collector of OpenTelemetry that receives a trace of each request with its attempts, by OTLP over HTTP. Traces contain no prompts, replies, keys or addresses. A traceparent of the client is continued.",
        "接收請求追蹤資料的 OpenTelemetry 收集器，使用 OTLP over HTTP，每個請求包含其所有嘗試。追蹤資料不含提示、回覆、金鑰或位址，並會延續用戶端的 traceparent。",
        expected "A URL such as http://localhost:4318", "網址，例如 http://localhost:4318",
        blank "No traces", "不匯出追蹤";
    upstream_traceparent in Metrics = "Traceparent for Google", "傳給 Google 的 traceparent",
        "Which traceparent header Google receives. The client's is sent unchanged. The pool's names the pool's span while traces are exported, so that a gateway between the pool and Google continues the trace. Without one, the headers traceparent and tracestate of the client are removed.",
        "Google 收到的 traceparent 標頭。選擇用戶端的標頭時原樣轉送；選擇金鑰池的標頭時，匯出追蹤期間會送出金鑰池自身 span 的 traceparent，讓金鑰池與 Google 之間的閘道延續追蹤；選擇不傳送時，會移除用戶端的 traceparent 與 tracestate 標頭。",
        choices "the client's (client)", "用戶端的（client）", "the pool's (pool)", "金鑰池的（pool）", "none (none)", "不傳送（none）";
    backup_interval_hours in Backups = "Backup interval", "備份間隔",
        "When the last backup, scheduled or not, is older than this, the server creates and verifies another one in the folder of backups. Each takes about as much space as the database.",
        "最近一次備份（不論是否由排程建立）超過此時間後，伺服器會在備份資料夾中建立並驗證新的備份。每個備份約占用與資料庫相同的空間。",
        blank "no scheduled backups", "不排程備份";
    backup_keep in Backups = "Scheduled backups to keep", "保留的排程備份數",
        "After a successful scheduled backup, the oldest scheduled backups above this number are deleted. Backups that you create yourself are never deleted.",
        "排程備份成功後，超過此數量的最舊排程備份會被刪除。自行建立的備份不會被刪除。";
}
