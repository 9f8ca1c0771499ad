//! Texts of the client key pages.

use super::{Language, labels, translations};
use crate::dashboard::client_keys::bulk_action::ClientKeyAction;
use crate::pool::clients::client_key::{ClientKeyState, ClientLimit};
use crate::pool::clients::scopes::InvalidScope;

translations! {
    client_keys_search = "Name, note, tag or last four characters", "名稱、備註、標籤或末四碼";
    my_usage = "Usage of a client key", "用戶端金鑰用量";
    my_usage_client_key = "Client key", "用戶端金鑰";
    my_usage_hint = "The key that your program sends with its requests. It is not stored in this browser.", "您的程式在請求中附上的金鑰。此瀏覽器不會儲存金鑰。";
    my_usage_show = "Show usage", "顯示用量";
    my_usage_unknown_key = "This is not a client key of this server, or it may not be used from your address. Check it for missing characters, or ask the admin for a new one.", "這不是此伺服器的用戶端金鑰，或不允許從您的位址使用。請確認是否漏了字元，或向管理者索取新的金鑰。";
    my_usage_disabled = "This client key is disabled. The admin can enable it.", "此用戶端金鑰已停用，管理者可以重新啟用。";
    my_usage_expired = "This client key has expired. The admin can extend it.", "此用戶端金鑰已到期，管理者可以延長期限。";
    my_usage_no_limits = "This client key has no limits.", "此用戶端金鑰沒有限制。";
    my_usage_days = "Last 30 days", "最近 30 天";
    my_usage_day = "Day", "日期";
    my_usage_none = "No requests with this client key yet. The first one appears here within a minute.", "此用戶端金鑰還沒有任何請求。第一個請求會在一分鐘內顯示於此。";
    my_usage_other_key = "Show another key", "查看另一把金鑰";
    new_client_key = "New client key", "新增用戶端金鑰";
    no_client_keys = "No client keys yet", "還沒有用戶端金鑰";
    no_client_keys_text = "A program sends a client key with each request. Create one for each program or person, so that each has its own limits and its own entries in the log.", "程式須在每個請求中附上用戶端金鑰。請為每個程式或使用者各建立一個，讓各自擁有獨立的限制與請求記錄。";
    no_client_key_matches(search: &str) = "No client key matches “{search}”", "沒有符合「{search}」的用戶端金鑰";
    no_client_key_matches_text = "The search covers names, notes, tags and the last four characters.", "搜尋範圍包含名稱、備註、標籤與末四碼。";
    client_key_name = "Name", "名稱";
    client_key_note = "Note", "備註";
    client_key_secret = "Key", "金鑰";
    client_key_state = "State", "狀態";
    client_key_limits = "Limits", "限制";
    client_key_scopes = "Permissions", "權限範圍";
    client_key_requests = "Requests", "請求數";
    client_key_success = "Success", "成功率";
    client_key_tokens = "Tokens", "Token 數";
    client_key_cost = "Cost", "費用";
    client_key_last_used = "Last used", "最近使用";
    client_key_created = "Created", "建立時間";
    client_key_expires = "Expires", "到期時間";
    client_key_expired = "expired", "已到期";
    no_limit = "no limit", "不限制";
    no_limits = "no limits", "不限制";
    identification = "Details", "基本資料";
    client_key_name_hint = "The program or person that uses this key. The log shows this name.", "使用此金鑰的程式或人員，名稱會顯示在請求記錄中。";
    client_key_expires_hint(zone: &str) = "After this time the key is rejected. Leave blank for a key that never expires. Time zone: {zone}.", "到期後，此金鑰會被拒絕。留空表示永不到期。時區：{zone}。";
    limits_lead = "Leave blank for no limit. A request over a limit gets status 429 with a Retry-After header.", "留空表示不限制。超過限制的請求會得到狀態碼 429 與 Retry-After 標頭。";
    scopes_title = "Permissions", "權限範圍";
    scopes_lead = "One entry per line. Leave blank to allow everything. * matches any characters.", "每行一項。留空表示不限。* 代表任意字元。";
    models_field = "Models", "模型";
    models_hint = "For example gemini-2.5-*", "例如 gemini-2.5-*";
    paths_field = "Paths", "路徑";
    paths_hint = "Paths of Google's API, for example /v1beta/models/*", "Google API 的路徑，例如 /v1beta/models/*";
    addresses_field = "Client IP addresses", "用戶端 IP 位址";
    addresses_hint = "Addresses that requests may come from, for example 192.0.2.7 or 192.0.2.0/24", "允許的來源位址，例如 192.0.2.7 或 192.0.2.0/24";
    key_tags_field = "Upstream keys with one of these tags", "僅使用具有下列任一標籤的上游金鑰";
    key_tags_hint = "Leave blank for any upstream key", "留空表示可使用任何上游金鑰";
    own_fallback = "Models that may answer instead", "可代為回應的模型";
    own_fallback_hint = "Where no key can serve the model that was asked for, as in gemini-2.5-pro > gemini-2.5-flash; chains are separated by commas. Blank: those of the setting. none: no other model answers.", "當沒有金鑰可提供所請求的模型時使用，例如 gemini-2.5-pro > gemini-2.5-flash；多條以逗號分隔。留空：使用設定中的清單。none：不改用其他模型。";
    bulk_fallback_hint = "Chains as in gemini-2.5-pro > gemini-2.5-flash, separated by commas; none: no other model answers; default: those of the setting.", "例如 gemini-2.5-pro > gemini-2.5-flash，多條以逗號分隔；none：不改用其他模型；default：使用設定中的清單。";
    own_fallback_blank = "as in the settings", "依設定";
    bad_fallback = "Enter chains of models such as gemini-2.5-pro > gemini-2.5-flash, separated by commas, or none", "請輸入模型清單，例如 gemini-2.5-pro > gemini-2.5-flash，多條以逗號分隔，或輸入 none";
    direct_access = "May obtain credentials for direct access to Google", "允許取得可直連 Google 的憑證";
    direct_access_hint = "Ephemeral tokens, permissions, webhooks and credentials. Requests made with them bypass this server, which neither limits nor logs them.", "包括臨時權杖、權限分享、webhook 與憑證。以這些憑證送出的請求不經過本伺服器，既不受限制，也不會留下記錄。";
    allowed = "Allowed", "允許";
    create_client_key = "Create key", "建立金鑰";
    client_key_is_made(name: &str) = "Client key for {name} created", "已建立 {name} 的用戶端金鑰";
    rotate_client_key = "Rotate", "輪替";
    rotate_client_key_title(name: &str) = "New secret for {name}", "為 {name} 產生新的金鑰";
    rotate_client_key_text = "The key gets a new secret, which is shown once. The old one stays valid for the chosen time, so that programs can be changed one after another.", "系統會產生新的金鑰並只顯示一次。舊金鑰在所選時間內仍然有效，方便逐一更新各程式。";
    keep_old_secret = "The old secret is valid for", "舊金鑰的有效時間";
    keep_old_not = "no longer: end it now", "立即失效";
    keep_old_hour = "1 hour", "1 小時";
    keep_old_day = "24 hours", "24 小時";
    keep_old_week = "7 days", "7 天";
    make_new_secret = "Make the new secret", "產生新金鑰";
    client_key_is_rotated(name: &str) = "New secret of {name}", "{name} 的新金鑰";
    old_secret_until = "Old secret valid until", "舊金鑰有效至";
    old_secret_valid(last4: &str) = "The old secret …{last4} is still valid. It ends", "舊金鑰 …{last4} 仍然有效，失效時間：";
    old_secret_last_used = "Last used", "最近使用";
    old_secret_unused = "not used since the rotation", "輪替後未曾使用";
    end_old_secret = "End it now", "立即失效";
    old_secret_ended(name: &str) = "The old secret of {name} has ended", "{name} 的舊金鑰已失效";
    copy_it_now = "Copy it now: the key is shown only once, and never stored in readable form.", "請立即複製：金鑰只顯示這一次，系統不會以可讀形式儲存。";
    already_shown = "This key was already shown", "此金鑰已顯示過";
    already_shown_text = "A key is shown only once, right after it is created. If it is lost, create another key and delete this one.", "金鑰只在建立後顯示一次。若已遺失，請另建一個並刪除這一個。";
    use_it = "Connect a program", "連接程式";
    use_it_lead = "Any Gemini or OpenAI client works. Base URL:", "可使用任何 Gemini 或 OpenAI 用戶端，Base URL 為";
    to_its_page = "View key", "檢視金鑰";
    snippet_client = "Client", "用戶端";
    edit_client_key(name: &str) = "Edit {name}", "編輯 {name}";
    delete_client_key = "Delete key", "刪除金鑰";
    delete_client_key_question(name: &str) = "Delete the client key of {name}?", "要刪除 {name} 的用戶端金鑰嗎？";
    delete_client_key_text = "Programs that use this key are rejected at once. Its requests stay in the log. For 24 hours this can be undone; to pause the key, disable it.", "使用此金鑰的程式會立即被拒絕，請求記錄仍會保留。24 小時內可以復原；若只想暫停使用，請停用此金鑰。";
    client_key_deleted(name: &str) = "Deleted the client key of {name}", "已刪除 {name} 的用戶端金鑰";
    client_key_enabled(name: &str) = "{name} is enabled", "已啟用 {name}";
    client_key_disabled(name: &str) = "{name} is disabled: its requests are rejected", "已停用 {name}：其請求會被拒絕";
    client_key_saved(name: &str) = "Saved {name}", "已儲存 {name}";
    usage_of_limits = "Usage of limits", "限制用量";
    no_limits_text = "This key has no limits. Edit it to set limits.", "此金鑰沒有限制，可在編輯頁設定。";
    used_of(used: &str, max: &str) = "{used} of {max}", "{used} / {max}";
    usage_over_time = "Usage", "用量";
    last_24_hours = "24 hours", "24 小時";
    last_30_days = "30 days", "30 天";
    no_requests_in_range = "No requests in this period", "此期間沒有請求";
    failed_requests = "failed", "失敗";
    today_unit = "today", "今日";
    tags_short = "Tags of upstream keys", "上游金鑰標籤";
    this_month = "this month", "本月";
    this_month_at_list_price = "this month, estimated at list price", "本月，依定價估算";
    all_time = "all time", "累計";
    recent_failures = "Failed requests", "失敗的請求";
    its_requests = "Requests of this key", "此金鑰的請求";
    changed_at = "Time", "時間";
    changed_by = "Admin", "管理者";
    what_changed = "Change", "內容";
    limit_resets = "resets", "重設：";
    changes_title = "Changes", "變更記錄";
    no_changes = "No changes recorded", "沒有變更記錄";
    bad_name = "A name has 1 to 100 characters", "名稱須為 1 到 100 個字元";
    name_is_taken = "Another client key has this name: choose one that tells them apart in the log", "已有同名的用戶端金鑰，請改用可在記錄中區別的名稱";
    bad_bulk_limit = "Enter a whole number of at least 1 (dollars may have decimals), 0 for no limit, or leave blank", "請輸入 1 以上的整數（美元可有小數），0 表示取消限制，或留空";
    bulk_expires_hint(zone: &str) = "Leave blank to keep unchanged. Time zone: {zone}.", "留空表示不變更。時區：{zone}。";
    never_expires = "Never expires", "永不到期";
    bulk_limits_lead = "Leave blank to keep a limit unchanged; 0 removes it.", "留空表示不變更，0 表示取消該項限制。";
    bad_note = "A note has at most 1,000 characters", "備註最多 1,000 個字元";
    bad_limit = "Enter a whole number of at least 1, or leave blank", "請輸入 1 以上的整數，或留空";
    bad_cost = "Enter an amount in dollars such as 10 or 2.50, or leave blank", "請輸入美元金額，例如 10 或 2.50，或留空";
    bad_time = "Enter a date and time, or leave blank", "請輸入日期與時間，或留空";
    past_time = "This time is in the past. To reject the key now, disable it", "此時間已過。若要立即拒絕此金鑰，請停用它";
    empty_pattern = "Empty pattern", "有空白的樣式";
    bad_pattern = "Invalid pattern: close each bracket, as in [ab] or {a,b}", "樣式無效：括號必須成對，例如 [ab] 或 {a,b}";
    bad_path = "A path begins with /, for example /v1beta/models/*", "路徑須以 / 開頭，例如 /v1beta/models/*";
    path_is_alias = "This path is an alias. Enter the path of Google's API: /v1beta/models/* or /v1beta/openai/*", "此路徑是別名，請輸入 Google API 的路徑：/v1beta/models/* 或 /v1beta/openai/*";
    bad_address(what: &str) = "{what} is not an IP address or network: enter for example 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32", "{what} 不是 IP 位址或網段，請輸入如 192.0.2.7、192.0.2.0/24 或 2001:db8::/32";
    bad_tag = "A tag must not contain spaces, ; or |", "標籤不可包含空格、; 或 |";
    client_keys_counted(count) = "client key" | "client keys", "{count} 個用戶端金鑰";
}

labels! {
    client_key_state_label(ClientKeyState) {
        Enabled = "Enabled", "啟用中";
        Disabled = "Disabled", "已停用";
        Expired = "Expired", "已到期";
    }

    client_key_action(ClientKeyAction) {
        Enable = "Enable", "啟用";
        Disable = "Disable", "停用";
        Update = "Change…", "變更…";
        Delete = "Delete…", "刪除…";
    }

    /// The question before an action, which is also the label of its button.
    confirm_client_keys(ClientKeyAction, keys: &str) {
        Enable = "Enable {keys}", "啟用 {keys}";
        Disable = "Disable {keys}", "停用 {keys}";
        Update = "Change {keys}", "變更 {keys}";
        Delete = "Delete {keys}", "刪除 {keys}";
    }

    client_key_action_means(ClientKeyAction) {
        Enable = "Requests with an enabled key are accepted at once.", "使用這些金鑰的請求會立即被接受。";
        Disable = "Requests with a disabled key are rejected until it is enabled.", "重新啟用之前，使用這些金鑰的請求都會被拒絕。";
        Update = "What is left blank stays as it is for each key.", "留空的項目在每個金鑰上維持不變。";
        Delete = "New requests with a deleted key are rejected at once. Earlier requests stay in the log. For 24 hours this can be undone.", "使用這些金鑰的請求會立即被拒絕，請求記錄仍會保留。24 小時內可以復原。";
    }

    /// The label of a limit's form field.
    limit(ClientLimit) {
        RequestsPerMinute = "Requests per minute", "每分鐘請求數";
        RequestsPerDay = "Requests per day", "每日請求數";
        TokensPerMinute = "Tokens per minute", "每分鐘 Token 數";
        TokensPerDay = "Tokens per day", "每日 Token 數";
        Concurrency = "Concurrent requests", "同時請求數";
        CostPerMonth = "Cost per month (USD)", "每月費用（美元）";
    }

    /// A limit with its amount, in short form for lists.
    limit_of(ClientLimit, amount: &str) {
        RequestsPerMinute = "{amount} requests/min", "{amount} 次/分";
        RequestsPerDay = "{amount} requests/day", "{amount} 次/日";
        TokensPerMinute = "{amount} tokens/min", "{amount} Token/分";
        TokensPerDay = "{amount} tokens/day", "{amount} Token/日";
        Concurrency = "{amount} concurrent", "{amount} 同時";
        CostPerMonth = "{amount}/month", "每月 {amount}";
    }
}

impl Language {
    /// The error message for an invalid entry of a scope.
    pub fn bad_scope(self, error: &InvalidScope) -> String {
        match error {
            InvalidScope::Empty => self.empty_pattern().to_owned(),
            InvalidScope::Glob(_) => self.bad_pattern().to_owned(),
            InvalidScope::Path => self.bad_path().to_owned(),
            InvalidScope::Alias => self.path_is_alias().to_owned(),
            InvalidScope::Address(what) => self.bad_address(what),
            InvalidScope::Tag => self.bad_tag().to_owned(),
        }
    }
}
