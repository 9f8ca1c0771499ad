//! Texts of the layout, sign-in, errors and shared components.

use super::{Language, labels, translations};
use crate::storage::error::Thing;

translations! {
    status = "Status", "狀態";
    model = "Model", "模型";
    upstream_keys = "Upstream keys", "上游金鑰";
    client_keys = "Client keys", "用戶端金鑰";
    logs = "Logs", "請求記錄";
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
    sign_in_throttled(seconds: u64) = "Too many failed attempts. Try again in {seconds} s", "登入失敗次數過多，請在 {seconds} 秒後再試";
    session_ended = "Your session had ended, so nothing was saved. Sign in, and submit the form again.", "工作階段已結束，因此沒有儲存任何變更。請登入後再次送出表單。";
    forgot_password = "Forgot your password? Run this on the server", "忘記密碼？請在伺服器上執行";
    first_password_hint = "The first start of the server prints the initial password of admin in its terminal.", "伺服器第一次啟動時，會在終端機顯示 admin 的初始密碼。";
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
    disconnected = "Disconnected", "已斷線";
    connection_lost = "The connection to the server is lost.", "與伺服器的連線已中斷。";
    session_over = "Your session has ended.", "工作階段已結束。";
    session_over_hint = "What is not saved on this page will be lost: copy it before you sign in again.", "此頁尚未儲存的內容將會遺失，重新登入前請先複製。";
    sentence_space = " ", "";
    problem_unreachable(error: &str) = "Google cannot be reached: {error}.", "無法連線到 Google，錯誤訊息為「{error}」。";
    problem_wrong_answer(answer: &str) = "The upstream does not answer like Gemini: {answer}.", "上游的回應並非來自 Gemini：{answer}。";
    problem_throttled = "Google is limiting the IP address of this server.", "Google 正在限制此伺服器的 IP 位址。";
    problem_no_usable_key = "No upstream key is usable.", "沒有可用的上游金鑰。";
    problem_pending_rows = "Too many log rows wait to be written.", "等待寫入的請求記錄過多。";
    problem_disk = "The disk of the database is full or fails.", "資料庫所在的磁碟已滿或發生錯誤。";
    problem_write = "The database cannot be written.", "無法寫入資料庫。";
    problem_low_disk = "The disk of the database is nearly full.", "資料庫所在的磁碟空間即將用盡。";
    times_in(zone: &str) = "Times in {zone}", "時間以 {zone} 顯示";
    last_update = "Last update:", "最後更新：";
    edit = "Edit", "編輯";
    // The label of a control that asks before it deletes.
    delete = "Delete…", "刪除…";
    delete_now = "Delete", "刪除";
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
    so_far = "so far", "尚未結束";
    search_everything = "Search everything", "搜尋全部";
    search_hint = "Request ID, key, client, model, page or setting", "請求 ID、金鑰、用戶端、模型、頁面或設定";
    search_help = "Find a request by its ID, a key by its name or last four characters, a model, a page or a setting.", "可搜尋請求 ID、金鑰的名稱或末四碼、模型、頁面與設定。";
    nothing_found = "Nothing found", "找不到任何項目";
    search_stopped = "The search of keys and models took too long and was stopped.", "金鑰與模型的搜尋逾時，已停止。";
    search_in_log(text: &str) = "Search the log for “{text}”", "在請求記錄中搜尋「{text}」";
    found_requests = "Requests", "請求";
    found_pages = "Pages", "頁面";
    found_model = "model, its requests", "模型的請求";
    list_comma = ", ", "、";
    colon = ": ", "：";
    chart_whole = "Whole period", "完整期間";
    chart_open = "Show these requests", "顯示這些請求";
    chart_keys = "Arrow keys read the values. Plus and minus zoom, Escape shows the whole period.", "方向鍵讀取數值，加號與減號縮放，Escape 顯示完整期間。";
    chart_keys_with_log = "Arrow keys read the values, Enter opens the requests in the log. Plus and minus zoom, Escape shows the whole period.", "方向鍵讀取數值，Enter 在記錄中開啟這些請求。加號與減號縮放，Escape 顯示完整期間。";
    optional = "optional", "選填";
    in_span(span: &str) = "in {span}", "{span}後";
    span_ago(span: &str) = "{span} ago", "{span}前";
    just_now = "just now", "剛剛";
    now_due = "in a moment", "即將";
    days_hours(days: u64, hours: u64) = "{days}\u{a0}d {hours}\u{a0}h", "{days}\u{a0}天 {hours}\u{a0}小時";
    hours_minutes(hours: u64, minutes: u64) = "{hours}\u{a0}h {minutes}\u{a0}min", "{hours}\u{a0}小時 {minutes}\u{a0}分";
    minutes_seconds(minutes: u64, seconds: u64) = "{minutes}\u{a0}min {seconds}\u{a0}s", "{minutes}\u{a0}分 {seconds}\u{a0}秒";
    only_minutes(minutes: u64) = "{minutes}\u{a0}min", "{minutes}\u{a0}分";
    only_seconds(seconds: u64) = "{seconds}\u{a0}s", "{seconds}\u{a0}秒";
    error_title(status: u16) = "Error {status}", "錯誤 {status}";
    not_found_title = "Not found", "找不到";
    not_found_text(thing: &str, name: &str) = "There is no {thing} {name}. It may have been deleted.", "找不到{thing} {name}，可能已被刪除。";
    no_such_page(path: &str) = "The dashboard has no page {path}. Check the address, or choose a page in the menu.", "控制台沒有 {path} 這個頁面。請檢查網址，或從選單選擇頁面。";
    forged_title = "This form has expired", "此表單已過期";
    forged_text = "The form does not come from a current page of this dashboard, so nothing was changed. Go back, reload the page and submit the form again.", "此表單不是由目前的頁面送出，因此沒有任何變更。請返回、重新載入頁面後再送出。";
    too_slow_title = "Too slow", "傳送過慢";
    too_slow_text = "The submitted data did not arrive in time. Check the connection and submit it again.", "送出的資料未在時限內送達。請檢查連線後再送出一次。";
    too_large_title = "Too large", "內容過大";
    too_large_text = "The submitted data exceeds the limit of this page. Submit it in parts, or use the command line.", "送出的資料超過此頁面的上限。請分批送出，或改用命令列。";
    invalid_title = "The request is not valid", "要求無效";
    wrong_method_text = "This address does not accept this kind of request. Nothing was changed.", "此網址不接受這種請求，沒有任何變更。";
    busy_title = "The database is busy", "資料庫忙碌中";
    busy_text = "The database cannot be read or written at the moment: another program may have locked it, or the disk may be full. Requests are still served. Try again in a moment.", "目前無法讀寫資料庫：可能被其他程式鎖定，或磁碟已滿。請求仍會繼續處理，請稍後再試。";
    broken_title = "Internal error", "伺服器內部錯誤";
    broken_text = "The server log contains the cause. Nothing was changed.", "原因記載於伺服器日誌，沒有任何變更。";
    to_status = "Go to the status page", "前往狀態頁";
}

labels! {
    /// In the middle of a sentence.
    thing(Thing) {
        Admin = "admin", "管理員";
        AlertTarget = "alert target", "警示接收端";
        EgressProxy = "egress proxy", "對外代理";
        ApiToken = "API token", "API 權杖";
        Backup = "backup", "備份";
        Change = "change", "變更";
        ClientKey = "client key", "用戶端金鑰";
        Import = "import", "匯入";
        Job = "job", "工作";
        Model = "model", "模型";
        Page = "page", "頁面";
        Project = "project", "專案";
        Request = "request", "請求";
        RequestBodies = "kept bodies of request", "請求保留內容";
        Session = "session", "工作階段";
        Setting = "setting", "設定";
        UndoableAct = "act that can be undone", "可復原的操作";
        UpstreamKey = "upstream key", "上游金鑰";
    }
}

impl Language {
    /// The name of the language in that language.
    pub fn native_name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::TraditionalChinese => "繁體中文",
        }
    }

    /// A time span in its two largest units.
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
