//! Texts of the pages about client keys.

use super::{Language, plural, translations};
use crate::pool::clients::client_key::ClientLimit;
use crate::pool::clients::scopes::InvalidScope;

translations! {
    client_keys_search = "Name, note, tag or last four", "名稱、備註、標籤或末四碼";
    new_client_key = "New client key", "新增客戶端金鑰";
    no_client_keys = "No client keys yet", "還沒有客戶端金鑰";
    no_client_keys_text = "A program needs one to be served. Make one for each program or person, so that each has its own limits and its own line in the log.", "程式需要金鑰才能取得服務。請為每個程式或使用者各建立一把，各自擁有限制與記錄。";
    no_client_key_matches(search: &str) = "No client key matches “{search}”", "沒有符合「{search}」的客戶端金鑰";
    no_client_key_matches_text = "The search looks at names, notes, tags and the last four characters.", "搜尋範圍包含名稱、備註、標籤與末四碼。";
    client_key_name = "Name", "名稱";
    client_key_note = "Note", "備註";
    client_key_secret = "Key", "金鑰";
    client_key_state = "State", "狀態";
    client_key_limits = "Limits", "限制";
    client_key_scopes = "May use", "使用範圍";
    client_key_today = "Today", "今日";
    client_key_requests = "Requests", "請求數";
    client_key_success = "Success", "成功率";
    client_key_tokens = "Tokens", "Token 數";
    client_key_cost = "Cost", "費用";
    client_key_last_used = "Last used", "最近使用";
    client_key_created = "Created", "建立時間";
    client_key_expires = "Expires", "到期";
    client_key_on = "on", "啟用";
    client_key_off = "off", "停用";
    client_key_expired = "expired", "已到期";
    no_limit = "no limit", "無限制";
    no_limits = "no limits", "無限制";
    identification = "Whose it is", "識別";
    client_key_name_hint = "The program or person that will use it. It stands in the log.", "使用此金鑰的程式或人，會顯示在記錄中。";
    client_key_expires_hint(zone: &str) = "From then on it is refused. Empty: never. Time in {zone}.", "到期後將被拒絕。留空表示永不到期。時區：{zone}。";
    limits_lead = "Empty: no limit. What goes beyond is answered 429 with the time to wait.", "留空表示不限制。超過時回應 429，並告知等待時間。";
    scopes_title = "What it may be used for", "使用範圍";
    scopes_lead = "One a line. Empty: everything. * stands for any characters.", "每行一項。留空表示不限。* 代表任意字元。";
    models_field = "Models", "模型";
    models_hint = "As in gemini-2.5-*", "例如 gemini-2.5-*";
    paths_field = "Paths", "路徑";
    paths_hint = "Google's own, as in /v1beta/models/*", "Google 原本的路徑，例如 /v1beta/models/*";
    addresses_field = "Addresses", "來源位址";
    addresses_hint = "Where it may come from, as in 192.0.2.7 or 192.0.2.0/24", "允許的來源，例如 192.0.2.7 或 192.0.2.0/24";
    key_tags_field = "Upstream keys with one of these tags", "僅使用具有下列任一標籤的上游金鑰";
    key_tags_hint = "Empty: any upstream key", "留空表示可使用任何上游金鑰";
    direct_access = "May hand out direct access to Google", "可對外授予直接存取 Google 的權限";
    direct_access_hint = "Ephemeral tokens, permissions, webhooks, credentials. What is done with them goes past this server, which neither limits nor logs it.", "包括臨時權杖、權限分享、webhook 與憑證。透過它們的存取會繞過本伺服器，不受限制也不會記錄。";
    allowed = "Allowed", "允許";
    create_client_key = "Create key", "建立金鑰";
    client_key_is_made(name: &str) = "The key for {name} is made", "已建立 {name} 的金鑰";
    copy_it_now = "Copy it now: it is shown this once and stored nowhere in readable form.", "請立即複製：金鑰只顯示這一次，系統不會以可讀形式保存。";
    already_shown = "This key was shown already", "此金鑰已顯示過";
    already_shown_text = "A key is shown once, right after it is made. If it is lost, make another and delete this one.", "金鑰只在建立後顯示一次。若已遺失，請另建一把並刪除這一把。";
    use_it = "Use it", "開始使用";
    use_it_lead = "Any Gemini or OpenAI client works; the base URL is", "任何 Gemini 或 OpenAI 客戶端皆可使用，基底網址為";
    to_its_page = "To its page", "前往此金鑰的頁面";
    snippet_client = "Client", "客戶端";
    edit_client_key(name: &str) = "Edit {name}", "編輯 {name}";
    delete_client_key = "Delete key", "刪除金鑰";
    delete_client_key_question(name: &str) = "Delete the key of {name}?", "要刪除 {name} 的金鑰嗎？";
    delete_client_key_text = "Programs that use it are refused at once. Its requests stay in the log. This cannot be undone; to pause it, turn it off.", "使用此金鑰的程式會立即被拒絕。相關請求仍保留在記錄中。此動作無法復原；若只想暫停，請停用它。";
    client_key_deleted(name: &str) = "Deleted the key of {name}", "已刪除 {name} 的金鑰";
    client_key_enabled(name: &str) = "{name} is on", "已啟用 {name}";
    client_key_disabled(name: &str) = "{name} is off: its requests are refused", "已停用 {name}：其請求會被拒絕";
    client_key_saved(name: &str) = "Saved {name}", "已儲存 {name}";
    usage_of_limits = "Used of its limits", "限制用量";
    no_limits_text = "It has no limits. Edit it to set some.", "此金鑰沒有限制，可在編輯頁設定。";
    used_of(used: &str, most: &str) = "{used} of {most}", "{used} / {most}";
    usage_over_time = "Use", "用量";
    last_24_hours = "24 hours", "24 小時";
    last_30_days = "30 days", "30 天";
    no_requests_in_range = "No requests in this time", "此期間沒有請求";
    failed_requests = "Failed", "失敗";
    requests_unit = "requests", "次請求";
    tokens_unit = "tokens", "Token";
    today_unit = "today", "今日";
    at_list_price = "at list price", "依定價計算";
    tags_short = "Tags of upstream keys", "上游金鑰標籤";
    this_month = "This month", "本月";
    all_time = "All time", "累計";
    recent_failures = "Failed requests", "失敗的請求";
    its_requests = "Its requests", "此金鑰的請求";
    changed_at = "When", "時間";
    changed_by = "Who", "執行者";
    what_changed = "What", "內容";
    action_create = "made", "建立";
    action_update = "changed", "修改";
    action_enable = "turned on", "啟用";
    action_disable = "turned off", "停用";
    action_clear = "rest ended by hand", "手動解除冷卻";
    action_delete = "deleted", "刪除";
    action_download = "downloaded", "下載";
    action_sign_in = "signed in", "登入";
    action_sign_out = "sign-in ended", "登入狀態已結束";
    action_change_password = "password changed", "變更密碼";
    action_restore = "brought back", "復原";
    limit_resets = "begins anew", "重新計算：";
    changes_title = "Changes", "變更紀錄";
    no_changes = "No changes recorded", "沒有變更紀錄";
    bad_name = "A name has 1 to 100 characters", "名稱須為 1 到 100 個字元";
    bad_note = "A note has at most 1,000 characters", "備註最多 1,000 個字元";
    bad_limit = "A whole number from 1 on, or nothing", "請輸入 1 以上的整數，或留空";
    bad_cost = "An amount in dollars like 10 or 2.50, or nothing", "請輸入美元金額，例如 10 或 2.50，或留空";
    bad_time = "A date and a time, or nothing", "請輸入日期與時間，或留空";
    past_time = "That is in the past: to refuse it now, turn the key off", "此時間已過；若要立即拒絕，請停用金鑰";
    empty_pattern = "A pattern is empty", "有空白的樣式";
    bad_pattern(what: &str) = "Not a pattern: {what}", "不是有效的樣式：{what}";
    bad_path = "A path begins with / as in /v1beta/models/*", "路徑須以 / 開頭，例如 /v1beta/models/*";
    path_is_alias = "That is an alias, and what counts is Google's own path: /v1beta/models/* or /v1beta/openai/*", "這是別名，請使用 Google 原本的路徑：/v1beta/models/* 或 /v1beta/openai/*";
    bad_address(what: &str) = "{what} is no address: write it like 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32", "{what} 不是位址：請寫成 192.0.2.7、192.0.2.0/24 或 2001:db8::/32";
    bad_tag = "A tag is a word, without spaces, ; or |", "標籤須為一個詞，不含空格、; 或 |";
}

impl Language {
    pub fn client_keys_counted(self, count: u64) -> String {
        match self {
            Self::English => plural(count, "client key", "client keys"),
            Self::TraditionalChinese => format!("{} 把客戶端金鑰", super::grouped(count)),
        }
    }

    /// A limit as a field is labelled.
    pub fn limit(self, limit: ClientLimit) -> &'static str {
        let (english, chinese) = match limit {
            ClientLimit::RequestsPerMinute => ("Requests per minute", "每分鐘請求數"),
            ClientLimit::RequestsPerDay => ("Requests per day", "每日請求數"),
            ClientLimit::TokensPerMinute => ("Tokens per minute", "每分鐘 Token 數"),
            ClientLimit::TokensPerDay => ("Tokens per day", "每日 Token 數"),
            ClientLimit::Concurrency => ("Requests at once", "同時請求數"),
            ClientLimit::CostPerMonth => ("Cost per month (USD)", "每月費用（美元）"),
        };
        match self {
            Self::English => english,
            Self::TraditionalChinese => chinese,
        }
    }

    /// A limit with its amount, short enough for a list.
    pub fn limit_of(self, limit: ClientLimit, most: &str) -> String {
        let (english, chinese) = match limit {
            ClientLimit::RequestsPerMinute => ("requests/min", "次/分"),
            ClientLimit::RequestsPerDay => ("requests/day", "次/日"),
            ClientLimit::TokensPerMinute => ("tokens/min", "Token/分"),
            ClientLimit::TokensPerDay => ("tokens/day", "Token/日"),
            ClientLimit::Concurrency => ("at once", "同時"),
            ClientLimit::CostPerMonth => ("USD/month", "美元/月"),
        };
        match self {
            Self::English => format!("{most} {english}"),
            Self::TraditionalChinese => format!("{most} {chinese}"),
        }
    }

    /// What is wrong with a line of a list.
    pub fn bad_scope(self, error: &InvalidScope) -> String {
        match error {
            InvalidScope::Empty => self.empty_pattern().to_owned(),
            InvalidScope::Glob(what) => self.bad_pattern(what),
            InvalidScope::Path => self.bad_path().to_owned(),
            InvalidScope::Alias => self.path_is_alias().to_owned(),
            InvalidScope::Address(what) => self.bad_address(what),
            InvalidScope::Tag => self.bad_tag().to_owned(),
        }
    }
}
