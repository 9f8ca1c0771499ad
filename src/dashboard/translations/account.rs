//! Texts of the account page.

use super::{Language, labels, translations};
use crate::auth::password::PasswordWeakness;
use crate::pool::api_token::ApiScope;

translations! {
    change_password = "Change password", "變更密碼";
    current_password = "Current password", "目前的密碼";
    new_password = "New password", "新密碼";
    repeat_password = "Repeat new password", "再次輸入新密碼";
    password_hint = "At least 8 characters. A change signs you out everywhere else.", "至少 8 個字元。變更後，其他裝置會自動登出。";
    password_wrong = "This is not your current password", "目前的密碼不正確";
    passwords_differ = "The two new passwords are different", "兩次輸入的新密碼不同";
    password_changed(others: usize) = "Password changed; other sessions signed out: {others}", "密碼已變更；已登出其他 {others} 個工作階段";
    password_since = "Password last changed", "密碼變更時間";
    time_zone = "Time zone", "時區";
    zone_hint = "All pages show times in this zone, for example Asia/Taipei or UTC.", "所有頁面的時間都以此時區顯示，例如 Asia/Taipei 或 UTC。";
    zone_unknown = "Unknown time zone: enter a name such as Asia/Taipei", "沒有這個時區，請輸入 Asia/Taipei 這類名稱";
    zone_saved(zone: &str) = "Times are now shown in {zone}", "時間現在以 {zone} 顯示";
    sign_ins = "Sessions", "工作階段";
    this_browser = "this browser", "此瀏覽器";
    address = "IP address", "IP 位址";
    browser = "Browser", "瀏覽器";
    since = "Signed in", "登入時間";
    last_seen = "Last used", "最近使用";
    end_sign_in = "Sign out", "登出";
    end_others = "Sign out everywhere else", "登出其他所有裝置";
    sign_in_ended = "That session is signed out", "已登出該工作階段";
    sign_ins_ended(count: usize) = "Other sessions signed out: {count}", "已登出其他 {count} 個工作階段";
    choose_zone = "Show times in", "時間顯示時區";
    api_reference = "API reference", "API 參考";
    api_reference_lead(base: &str) = "All routes below {base}. Each needs a token with the scope of its group, and write access for anything but GET.", "{base} 之下的所有路徑。每個路徑都需要具備該群組範圍的權杖；GET 以外的方法需要寫入權。內容以英文提供。";
    api_objects = "Objects", "物件";
    api_parameter = "Parameter", "參數";
    api_place = "In", "位置";
    api_type = "Type", "類型";
    api_meaning = "Meaning", "說明";
    api_status = "Status", "狀態碼";
    api_body = "Body:", "主體：";
    tokens_title = "API tokens", "API 權杖";
    tokens_lead = "Programs use a token to read or change what this dashboard shows, at /api/v1.", "程式可使用權杖，透過 /api/v1 讀取或變更此管理介面的內容。";
    token = "Token", "權杖";
    new_token = "New API token", "新增 API 權杖";
    create_token = "Create token", "建立權杖";
    token_name = "Name", "名稱";
    token_name_hint = "The program that uses this token. The audit shows this name.", "使用此權杖的程式，名稱會顯示在稽核記錄中。";
    token_name_wrong = "Enter a name of at most 100 characters", "請輸入名稱，最多 100 個字元";
    token_name_taken = "Another token has this name: choose a different one", "已有同名的權杖，請換一個名稱";
    token_access = "Access", "存取權";
    token_access_hint = "A token with write access can do everything that an admin can do here, within its scopes.", "具寫入權的權杖，在其範圍內可執行管理者能做的所有操作。";
    token_read = "read", "唯讀";
    token_write = "read and write", "讀取與寫入";
    token_scopes = "Scopes", "範圍";
    token_scopes_hint = "Select none to allow everything.", "全部不選表示不限範圍。";
    token_all_scopes = "everything", "不限";
    token_no_expiry = "never", "永不到期";
    token_is_made(name: &str) = "API token {name} created", "已建立 API 權杖 {name}";
    token_copy_it_now = "Copy it now: the token is shown only once, and never stored in readable form.", "請立即複製：權杖只顯示這一次，系統不會以可讀形式儲存。";
    token_already_shown = "This token was already shown", "此權杖已顯示過";
    token_already_shown_text = "A token is shown only once, right after it is created. If it is lost, create another one and revoke this one.", "權杖只在建立後顯示一次。若已遺失，請另建一個並撤銷這一個。";
    to_tokens = "View tokens", "檢視權杖";
    revoke_token = "Revoke", "撤銷";
    revoke_token_question(name: &str) = "Revoke the API token {name}?", "要撤銷 API 權杖 {name} 嗎？";
    revoke_token_text = "Programs that use it get status 401 from now on. This cannot be undone.", "使用它的程式從現在起會得到狀態碼 401。此操作無法復原。";
    token_revoked(name: &str) = "Revoked the API token {name}", "已撤銷 API 權杖 {name}";
}

impl Language {
    /// How long a token is valid; 0: without an end.
    pub fn lifetime(self, days: u64) -> String {
        match (self, days) {
            (_, 0) => self.token_no_expiry().to_owned(),
            (Self::English, days) => format!("in {days} days"),
            (Self::TraditionalChinese, days) => format!("{days} 天後"),
        }
    }
}

labels! {
    password_weakness(PasswordWeakness) {
        TooShort = "Too short: at least 8 characters", "太短：至少 8 個字元";
        TooLong = "Too long: at most 200 characters", "太長：最多 200 個字元";
        Common = "This password is too common: choose another", "這個密碼太常見，請換一個";
    }

    api_scope(ApiScope) {
        UpstreamKeys = "upstream keys", "上游金鑰";
        Checks = "tests of upstream keys", "測試上游金鑰";
        ClientKeys = "client keys", "用戶端金鑰";
        Projects = "projects", "專案";
        EgressProxies = "egress proxies", "對外代理";
        Quota = "quota", "配額";
        Models = "models", "模型";
        Logs = "logs", "請求記錄";
        Usage = "usage", "用量";
        Settings = "settings", "設定";
        Alerts = "alerts", "警示";
        Audit = "audit", "稽核";
        Backups = "backups", "備份";
        Sessions = "sessions of admins", "管理者的工作階段";
        Tokens = "API tokens", "API 權杖";
        Metrics = "metrics", "監控指標";
    }
}
