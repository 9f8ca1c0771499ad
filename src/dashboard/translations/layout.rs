//! Texts of the frame around every page, of signing in, and of what several pages share.

use super::{Language, translations};

translations! {
    status = "Status", "狀態";
    model = "Model", "模型";
    upstream_keys = "Upstream keys", "上游金鑰";
    client_keys = "Client keys", "客戶端金鑰";
    logs = "Logs", "記錄";
    settings = "Settings", "設定";
    audit = "Audit", "稽核";
    backups = "Backups", "備份";
    account = "Account", "帳號";
    main_navigation = "Main", "主選單";
    menu = "Menu", "選單";
    skip_to_content = "Skip to content", "跳到內容";
    sign_in = "Sign in", "登入";
    sign_out = "Sign out", "登出";
    signed_in_as(name: &str) = "Signed in as {name}", "登入身分：{name}";
    username = "User name", "使用者名稱";
    password = "Password", "密碼";
    wrong_password = "User name or password is wrong", "使用者名稱或密碼不正確";
    sign_in_throttled(seconds: u64) = "Too many wrong tries. Try again in {seconds} s", "嘗試錯誤次數過多，請在 {seconds} 秒後再試";
    forgot_password = "Forgotten? On the server run", "忘記密碼？請在伺服器上執行";
    first_password_hint = "The very first start prints a password for admin on its terminal.", "第一次啟動時，終端機會顯示 admin 的初始密碼。";
    signed_out = "You are signed out", "您已登出";
    please_sign_in = "Sign in to go on", "請先登入再繼續";
    language = "Language", "語言";
    theme = "Appearance", "外觀";
    theme_system = "System", "系統";
    theme_light = "Light", "淺色";
    theme_dark = "Dark", "深色";
    undo = "Undo", "復原";
    done = "Done", "完成";
    failed = "Failed", "失敗";
    save = "Save", "儲存";
    cancel = "Cancel", "取消";
    apply = "Apply", "套用";
    search = "Search", "搜尋";
    clear_filters = "Clear filters", "清除篩選";
    filter = "Filter", "篩選";
    newer = "Newer", "較新";
    older = "Older", "較舊";
    next_page = "Next", "下一頁";
    previous_page = "Previous", "上一頁";
    pages = "Pages", "分頁";
    copy = "Copy", "複製";
    copied = "Copied", "已複製";
    live = "Live", "即時";
    paused = "Paused", "已暫停";
    edit = "Edit", "編輯";
    delete = "Delete", "刪除";
    enable = "Enable", "啟用";
    disable = "Disable", "停用";
    back = "Back", "返回";
    never = "never", "從未";
    none = "none", "無";
    unknown = "unknown", "未知";
    yes = "yes", "是";
    no = "no", "否";
    all = "All", "全部";
    details = "Details", "詳細";
    as_table = "As a table", "以表格顯示";
    optional = "optional", "選填";
    in_span(span: &str) = "in {span}", "{span}後";
    span_ago(span: &str) = "{span} ago", "{span}前";
    just_now = "just now", "剛剛";
    now_due = "any moment", "即將";
    days_hours(days: u64, hours: u64) = "{days} d {hours} h", "{days} 天 {hours} 小時";
    hours_minutes(hours: u64, minutes: u64) = "{hours} h {minutes} min", "{hours} 小時 {minutes} 分";
    minutes_seconds(minutes: u64, seconds: u64) = "{minutes} min {seconds} s", "{minutes} 分 {seconds} 秒";
    only_minutes(minutes: u64) = "{minutes} min", "{minutes} 分";
    only_seconds(seconds: u64) = "{seconds} s", "{seconds} 秒";
    times_in(zone: &str) = "Times in {zone}", "時間以 {zone} 顯示";
    error_title(status: u16) = "Error {status}", "錯誤 {status}";
    not_found_title = "Not found", "找不到";
    not_found_text(what: &str) = "{what} is not here. It may have been deleted.", "找不到 {what}，可能已被刪除。";
    forged_title = "This form is out of date", "此表單已過期";
    forged_text = "It was not sent by a current page of this dashboard, so nothing was changed. Go back, reload the page and send it again.", "這個表單不是由目前的頁面送出，因此沒有任何變更。請返回、重新載入頁面後再送出。";
    too_large_title = "Too large", "內容過大";
    too_large_text = "What was sent is larger than this page takes. Send it in parts, or use the command line.", "送出的內容超過此頁面可接受的大小。請分批送出，或改用命令列。";
    invalid_title = "That cannot be done", "無法執行";
    wrong_method_text = "This address takes no such request. Nothing was changed.", "此網址不接受這種請求，沒有任何變更。";
    busy_title = "The database is busy", "資料庫忙碌中";
    busy_text = "It cannot be read or written right now: another program may hold it, or the disk is full. Requests are still served. Try again in a moment.", "目前無法讀寫資料庫：可能被其他程式占用，或磁碟已滿。請求仍會繼續處理，請稍後再試。";
    broken_title = "Something went wrong here", "伺服器發生問題";
    broken_text = "The server's log says what. Nothing was changed.", "詳情請見伺服器日誌，沒有任何變更。";
    to_status = "To the status page", "前往狀態頁";
    without_javascript = "JavaScript is off: everything works, but what is live needs a reload.", "JavaScript 已停用：所有功能仍可使用，但即時內容需要重新整理。";
    unencrypted_keys = "Upstream keys are stored unencrypted in the database file.", "上游金鑰以未加密方式存放在資料庫檔案中。";
}

impl Language {
    /// The other languages' names are written in themselves.
    pub fn native_name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::TraditionalChinese => "繁體中文",
        }
    }

    /// A span of time with its two largest units.
    pub fn span(self, seconds: u64) -> String {
        let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
        if days > 0 {
            self.days_hours(days, hours % 24)
        } else if hours > 0 {
            self.hours_minutes(hours, minutes % 60)
        } else if minutes >= 10 {
            self.only_minutes(minutes)
        } else if minutes > 0 {
            self.minutes_seconds(minutes, seconds % 60)
        } else {
            self.only_seconds(seconds)
        }
    }
}
