//! Texts of the upstream key pages.

use super::{labels, translations};
use crate::dashboard::upstream_keys::bulk_action::BulkAction;
use crate::pool::health::verdict::Rule;
use crate::pool::keys::key_status::{KeyStatusKind, LimitSource};
use crate::pool::keys::upstream_key::Billing;
use crate::pool::quota::limits::Measure;

translations! {
    soft_faults = "5 failures in a row while other keys succeeded", "連續失敗 5 次，而其他金鑰成功";
    zero_quota = "assumed to have no quota for this model", "推估此模型沒有配額";
    used_up(measure: &str) = "{measure} used up by local count", "依本機統計，{measure}額度已用完";
    key_limit_used(measure: &str) = "your limit per key is reached: {measure}", "已達您設定的每金鑰上限：{measure}";
    project_limit_used(measure: &str) = "your limit per project is reached: {measure}", "已達您設定的每專案上限：{measure}";
    billing = "Billing", "計費";

    add_keys = "Add keys", "新增金鑰";
    no_keys_yet = "No upstream keys yet", "還沒有上游金鑰";
    no_keys_text = "Paste your Gemini API keys in any form: one per line, CSV or JSON. Each key is checked at no cost, and is available for requests at once.", "以任何形式貼上您的 Gemini API 金鑰：每行一個、CSV 或 JSON。每個金鑰都會免費檢查，並可立即用於請求。";
    no_match = "No key matches", "沒有符合的金鑰";
    no_match_text = "Remove a filter, or search for another word.", "請移除部分篩選，或改用其他關鍵字。";
    states = "States", "狀態";
    search_keys = "Label, last four, project, tag", "名稱、末四碼、專案、標籤";
    project = "Project", "專案";
    one_tag = "Tag", "標籤";
    tags = "Tags", "標籤";
    priority = "Priority", "優先順序";
    weight = "Weight", "權重";
    label = "Label", "名稱";
    secret = "Key", "金鑰";
    state_heading = "State", "狀態";
    requests_today = "Requests today", "今日請求數";
    success_today = "Success", "成功率";
    cost_today = "Cost today", "今日費用";
    quota_tokens = "tokens", "Token";
    quota_requests = "requests", "次請求";
    import_length(count: &str) = "{count} characters", "{count} 個字元";
    import_unusual = "unusual: Google's keys have 39 characters from AIza on, or begin with AQ.", "格式少見：Google 金鑰以 AIza 開頭共 39 字元，或以 AQ. 開頭";
    tokens_today = "Tokens today", "今日 Token 數";
    requests_with(tokens: &str) = "requests, {tokens} tokens", "次請求，{tokens} Token";
    quota_used = "Daily quota", "今日配額";
    quota_used_up = "used up", "已用完";
    last_used = "Last used", "最近使用";
    created = "Created", "建立時間";
    failing_today = "With failures today", "今日有失敗";
    any = "any", "不限";
    deleted_keys = "Recently deleted", "最近刪除";
    deleted_keys_counted(count: &str) = "Recently deleted ({count})", "最近刪除（{count}）";
    deleted_keys_text = "A deleted key can be restored for 24 hours; then its secret is erased. Its requests stay in the log.", "已刪除的金鑰可在 24 小時內還原，之後會永久清除金鑰內容；請求記錄會保留。";
    no_deleted_keys = "No key was deleted in the last 24 hours", "最近 24 小時內沒有刪除金鑰";
    deleted_at = "Deleted", "刪除時間";
    secret_erased = "Secret is erased", "清除金鑰內容";
    restore_selected = "Restore selected keys", "還原已選取的金鑰";
    restore_key = "Restore this key", "還原此金鑰";
    restorable_until = "This key was deleted. It can be restored; its secret is erased", "此金鑰已刪除，仍可還原；金鑰內容清除時間：";
    not_restorable = "This key was deleted, and its secret is erased. Add the key again to use it.", "此金鑰已刪除，內容也已清除。若要使用，請重新加入。";
    requests_of_key = "Requests of this key", "此金鑰的請求";
    without_models(models: &str) = "without {models}", "不含 {models}";
    select_key(label: &str) = "Select {label}", "選取 {label}";
    select_page = "Select all on this page", "選取本頁全部";
    with = "Apply to", "套用到";
    selected = "selected", "個已選取";
    sorted_by = "Sorted by", "排序";
    sort_oldest = "Added, oldest first", "建立時間，舊的在前";
    sort_newest = "Added, newest first", "建立時間，新的在前";
    sort_label_down = "Label, Z to A", "名稱，由後往前";
    sort_state = "State, ready first", "狀態，可用在前";
    sort_state_down = "State, unusable first", "狀態，不可用在前";
    sort_project_down = "Project, Z to A", "專案，由後往前";
    sort_priority = "Priority, used first", "優先順序，先使用的在前";
    sort_priority_down = "Priority, used last", "優先順序，後使用的在前";
    sort_most_requests = "Most requests today", "今日請求數最多";
    sort_fewest_requests = "Fewest requests today", "今日請求數最少";
    sort_most_success = "Highest success rate today", "今日成功率最高";
    sort_least_success = "Lowest success rate today", "今日成功率最低";
    sort_most_tokens = "Most tokens today", "今日 Token 數最多";
    sort_fewest_tokens = "Fewest tokens today", "今日 Token 數最少";
    sort_used_last = "Used most recently", "最近使用";
    sort_unused_longest = "Least recently used", "最久未使用";
    selected_keys = "selected keys", "已選取的金鑰";
    test_now = "Test now", "立即測試";
    next_check = "next check", "下次檢查";
    in_flight = "Running requests", "處理中的請求";
    in_flight_now(count: u32) = "{count} running", "{count} 個處理中";
    failures_of(failures: &str, requests: &str) = "{failures} of {requests} failed", "{requests} 次中有 {failures} 次失敗";
    page_of(first: &str, last: &str, total: &str) = "{first}–{last} of {total}", "第 {first}–{last} 個，共 {total} 個";
    numbers_of_today = "requests, success and tokens of today (UTC)", "請求數、成功率與 Token 數皆為今日（UTC）";
    no_keys_selected = "No keys selected: select keys first, or apply to all that match", "請先勾選金鑰，或套用到所有符合的金鑰";
    unknown_action = "Unknown action", "沒有這種操作";

    confirmation_expired = "Nothing was changed: the confirmation expired. These keys match now", "沒有任何變更：確認已過期。以下是目前符合的金鑰";
    add_tags = "Add tags", "加上標籤";
    remove_tags = "Remove tags", "移除標籤";
    tags_hint = "Words separated by commas or spaces", "以逗號或空格分隔的詞";
    project_hint = "Google's project number, or a name of your choice. Keys of one project share its quota.", "Google 專案編號，或自訂名稱。同一專案的金鑰共用配額。";
    priority_hint = "Keys with lower numbers are used first.", "數字越小越先使用。";
    weight_hint = "1 to 1,000: the share of requests among keys of the same priority.", "1 到 1,000：在優先順序相同的金鑰中所占的請求比例。";
    unchanged = "unchanged", "維持不變";
    no_change_given = "Enter at least one change", "請至少輸入一項變更";
    wrong_number = "Enter a whole number, for example 0 or -1", "請輸入整數，例如 0 或 -1";
    wrong_weight = "Enter a whole number from 1 to 1,000", "請輸入 1 到 1,000 的整數";
    wrong_name = "Enter 1 to 200 characters, without control characters", "請輸入 1 到 200 個字元，不可包含控制字元";

    job_waiting = "Queued…", "排隊中…";
    job_failed(why: &str) = "The job stopped: {why}", "工作中止：{why}";
    job_progress(done: &str, total: &str) = "{done} of {total}", "{done} / {total}";
    job_not_found = "This job is no longer available", "已無法查詢這項工作";
    job_not_found_text = "The server keeps the last 50 jobs until it restarts. A restart interrupts a running job: its completed changes remain and are listed in the audit. Start the job again for the rest.", "伺服器會保留最近 50 項工作，直到重新啟動。重新啟動會中斷執行中的工作：已完成的變更會保留並列在稽核中，其餘部分請重新執行。";
    job_back = "Back to the keys", "回到金鑰列表";
    job_continues = "You can leave this page: the job keeps running.", "您可以離開此頁，工作會繼續執行。";
    job_reload = "Reload to update the progress", "重新整理以更新進度";
    result = "Result", "結果";
    result_accepted = "Valid", "有效";
    result_refused = "Rejected", "被拒絕";
    result_inconclusive = "Inconclusive", "無法判斷";
    took = "Duration", "耗時";
    results_truncated(count: &str) = "Failed checks come first; {count} are shown.", "未通過的排在前面；顯示 {count} 個。";
    keys_unchecked(count: &str) = "Checking the new keys: {count} remaining.", "正在檢查新金鑰：剩餘 {count} 個。";
    all_checked = "All new keys are checked.", "所有新金鑰皆已檢查。";
    pool_now = "The keys of the pool by state:", "金鑰池中各狀態的金鑰：";
    to_next_step = "Continue", "繼續";
    show_newest = "Show the newest keys", "顯示最新的金鑰";

    import_title = "Add upstream keys", "新增上游金鑰";
    import_text = "Keys", "金鑰";
    import_hint = "Paste any text: a list, a mail, a table with a header, JSON, YAML, TOML, or the settings of another program. A preview is shown before keys are added.", "貼上任何文字：清單、郵件、含標題列的表格、JSON、YAML、TOML，或其他程式的設定。新增前會先顯示預覽。";
    import_preview = "Preview", "預覽";
    import_nothing = "This text contains no keys", "這段文字中沒有金鑰";
    import_expired = "The pasted text is kept for a short time only, and is gone. Paste it again.", "貼上的文字只會短暫保留，現已清除，請重新貼上。";
    import_keys_found = "Keys in this text", "文字中的金鑰";
    import_new = "New", "新增";
    import_known = "Already in the pool", "已在金鑰池中";
    import_removed = "Deleted earlier", "先前已刪除";
    import_removed_means = "Restored by this import.", "匯入時會還原。";
    import_duplicates = "Duplicates", "重複";
    import_disabled = "added disabled", "新增後停用";
    import_any = "Take keys of any form, not only of Google's: the text must contain nothing but keys", "也接受不符合 Google 格式的金鑰：文字中只能有金鑰";
    import_not_taken = "Not taken", "未採用";
    import_no_key = "no key", "沒有金鑰";
    import_unknown_form = "not in the form of a Google key (AIza…, AQ.…)", "不符合 Google 金鑰的格式（AIza…、AQ.…）";
    import_incomplete = "a shortened key or an example of one", "不完整的金鑰或範例";
    import_other_service = "a key of another service or a client's, by its name", "依名稱判斷為其他服務或用戶端的金鑰";
    import_outside_key_lists = "outside the lists of keys", "不在金鑰清單內";
    import_comment = "in a comment", "在註解中";
    import_invalid_attribute(what: &str) = "invalid {what}: the key is added without it", "{what} 無效：新增金鑰時會略過此項";
    import_update_known = "Update keys already in the pool", "更新已在金鑰池中的金鑰";
    import_line = "Line", "行";
    import_what = "Problem", "問題";
    import_start = "Starts with", "開頭";
    import_for_all = "Values for all keys", "套用到全部金鑰";
    import_for_all_hint = "Values in the pasted text take precedence.", "貼上內容中的值優先。";
    import_label_hint = "With several keys, a number is added to each label.", "有多個金鑰時，名稱會加上編號。";
    import_update = "Also update keys already in the pool", "同時更新已在金鑰池中的金鑰";
    import_again = "Paste another text", "重新貼上";
    import_first(count: &str) = "The first {count}", "前 {count} 個";
    import_check = "New keys are checked with Google at once, at no cost.", "新金鑰會立即向 Google 檢查，不會產生費用。";

    edit_key(label: &str) = "Edit {label}", "編輯 {label}";
    saved = "Saved", "已儲存";
    not_changed = "Nothing changed", "沒有任何變更";
    billing_hint = "Applies to the whole project.", "適用於整個專案。";
    in_use = "Enabled", "啟用";

    evidence = "Response from Google", "Google 的回應";
    status_code = "Status", "狀態碼";
    shown_by = "Evidence", "依據";
    this_request = "this request", "此請求";
    state_since = "Since", "開始於";
    cooldown_ends = "ends", "恢復於";
    state_ends = "Ends", "結束時間";
    next_check_heading = "Next check", "下次檢查";
    ends_never = "Never", "不會結束";
    last_check = "Last check", "最近檢查";
    cooldowns = "Cooldowns", "冷卻";
    every_model = "every model", "所有模型";
    reason = "Reason", "原因";
    quota_windows = "Quota windows", "配額週期";
    quota_windows_hint = "Counted by this server for all keys of the project, by Google's minute and day. Usage by other programs is not included.", "由本伺服器依 Google 的分鐘與日統計，涵蓋專案的所有金鑰，不含其他程式的用量。";
    day_resets = "Next reset of the daily counts:", "每日計數的下次重設：";
    none_allowed = "no quota", "沒有配額";
    no_windows = "No usage today, and no known limits.", "今日沒有用量，也沒有已知上限。";
    of_this_key = "this key, all models", "此金鑰的所有模型";
    of_its_project = "its project, all models", "其專案的所有模型";
    no_requests_30 = "No requests used this key in the last 30 days.", "最近 30 天沒有請求使用此金鑰。";
    key_since_added = "Since it was added", "新增至今";
    key_30_days = "Requests per day (UTC), last 30 days", "每日請求數（UTC），最近 30 天";
    successes = "succeeded", "成功";
    failures = "failed", "失敗";
    others = "client errors", "用戶端錯誤";
    errors_by_verdict = "Errors by cause", "錯誤原因統計";
    no_errors = "No failed requests.", "沒有失敗的請求。";
    attempts_examined(attempts: &str) = "Last {attempts} attempts within 7 days", "7 天內的最近 {attempts} 次嘗試";
    verdict = "Cause", "原因";
    count = "Count", "次數";
    last_time = "Last", "最近一次";
    resources_title = "Resources of its project", "專案的資源";
    resources_lead = "Files, caches, batches and other resources created with keys of this project. A request for one of these resources requires a key of this project.", "以此專案的金鑰建立的檔案、快取、批次等資源。使用這些資源的請求必須使用此專案的金鑰。";
    no_resources = "No known resources.", "沒有已知的資源。";
    resource_name = "Name", "名稱";
    resource_expires = "Expires", "到期時間";
    newest_resources(count: &str) = "Newest {count}", "最新的 {count} 項";
    checks = "Checks", "檢查";
    no_checks = "Not checked yet.", "尚未檢查。";
    no_check_rows = "The log entries of its checks are already deleted.", "檢查的記錄已刪除。";
    when = "Time", "時間";
    passed = "Passed", "通過";
    about = "About this key", "關於此金鑰";
    tested_accepted(label: &str) = "{label} is valid", "{label} 有效";
    tested_refused(label: &str, why: &str) = "{label} was rejected: {why}", "{label} 被拒絕：{why}";
    tested_inconclusive(label: &str, why: &str) = "The check of {label} was inconclusive: {why}", "無法判斷 {label} 是否有效：{why}";

    testing(keys: &str) = "Test of {keys}", "測試 {keys}";
    importing(keys: &str) = "Import of {keys}", "匯入 {keys}";
    undoing(keys: &str) = "Undoing changes of {keys}", "正在復原 {keys}的變更";
    changing(keys: &str) = "Change of {keys}", "變更 {keys}";
    keys_enabled(keys: &str) = "{keys} enabled", "已啟用 {keys}";
    keys_disabled(keys: &str) = "{keys} disabled", "已停用 {keys}";
    keys_cleared(keys: &str) = "{keys} available again: cooldowns cleared", "已清除冷卻 {keys}";
    keys_changed(keys: &str) = "{keys} changed", "已變更 {keys}";
    keys_deleted(keys: &str) = "{keys} deleted", "已刪除 {keys}";
    keys_restored(keys: &str) = "{keys} restored", "已還原 {keys}";
    keys_restored_but(keys: &str, wiped: usize) = "{keys} restored; the secrets of {wiped} are already erased: add these keys again", "已還原 {keys}；另有 {wiped} 個的金鑰內容已清除，請重新新增";
    keys_imported(new: usize, restored: usize, known: usize) = "{new} added, {restored} restored, {known} already in the pool", "新增 {new} 個，還原 {restored} 個，{known} 個已在金鑰池中";
    import_keys(keys: &str) = "Add {keys}", "新增 {keys}";
    keys_counted(count) = "upstream key" | "upstream keys", "{count} 個上游金鑰";
    all_matching(count: &str) = "all {count} that match", "所有符合的 {count} 個";
    and_more(count: usize) = "and {count} more", "以及另外 {count} 項";
}

labels! {
    key_state(KeyStatusKind) {
        Ready = "Ready", "可用";
        PartlyCoolingDown = "Partly cooling down", "部分模型冷卻中";
        CoolingDown = "Cooling down", "冷卻中";
        Trial = "On trial", "觀察中";
        Invalid = "Invalid", "無效";
        Leaked = "Leaked", "已外洩";
        Suspended = "Suspended", "已停權";
        Misconfigured = "Misconfigured", "設定錯誤";
        Disabled = "Disabled", "已停用";
    }

    key_state_means(KeyStatusKind) {
        Ready = "Available for requests.", "可用於請求。";
        PartlyCoolingDown = "Available for requests, except for the models listed below.", "可用於請求，但下列模型除外。";
        CoolingDown = "Available again automatically when the cooldown ends.", "冷卻結束後會自動恢復使用。";
        Trial = "Limited to one request at a time until a request succeeds.", "在有請求成功之前，一次只處理一個請求。";
        Invalid = "Google rejects this key. It is rechecked automatically, and used again when Google accepts it.", "Google 拒絕此金鑰。系統會自動再次檢查，Google 接受後即恢復使用。";
        Leaked = "Google reports that this key was published. It stays blocked: replace it.", "Google 回報此金鑰已公開外洩，將永久封鎖，請更換金鑰。";
        Suspended = "Google suspended the project of this key. The key is rechecked automatically.", "Google 已停權此金鑰的專案。系統會自動再次檢查。";
        Misconfigured = "The configuration of its project does not allow the API. The key is rechecked automatically.", "專案目前的設定不允許使用 API。系統會自動再次檢查。";
        Disabled = "An admin disabled this key. It is not used until it is enabled.", "管理者已停用此金鑰，重新啟用前不會使用。";
    }

    measure(Measure) {
        RequestsPerMinute = "requests per minute", "每分鐘請求數";
        TokensPerMinute = "input tokens per minute", "每分鐘輸入 Token 數";
        RequestsPerDay = "requests per day", "每日請求數";
        TokensPerDay = "input tokens per day", "每日輸入 Token 數";
    }

    limit_source(LimitSource) {
        Named = "reported by Google", "Google 回報";
        Inherited = "inherited", "沿用";
        Contradicted = "exceeded", "與實際不符";
        Unknown = "unknown", "未知";
        Setting = "your setting", "您的設定";
    }

    limit_source_means(LimitSource) {
        Named = "Google reported this limit for this project.", "Google 對此專案回報的上限。";
        Inherited = "Google reported this limit for another project with the same billing.", "Google 對另一個計費方式相同的專案回報的上限。";
        Contradicted = "Actual usage exceeded the known limit, so no limit is inherited.", "實際用量超過已知上限，因此不再沿用上限。";
        Unknown = "Google has not reported a limit yet.", "Google 尚未回報上限。";
        Setting = "Set on the settings page.", "在設定頁面設定。";
    }

    billing_label(Billing) {
        Free = "free", "免費";
        Paid = "paid", "付費";
        Unknown = "unknown billing", "計費未知";
    }

    rule(Rule) {
        Success = "success", "成功";
        InvalidRequest = "invalid request", "請求無效";
        ApiKeyInvalid = "invalid key", "金鑰無效";
        TwoCredentials = "two credentials in one request", "請求附有兩組憑證";
        LocationUnsupported = "server location not supported", "伺服器所在地區不支援";
        Unauthenticated = "key not accepted", "金鑰未被接受";
        BillingEmpty = "prepaid balance used up", "預付餘額已用完";
        SpendingCap = "spending cap reached", "已達支出上限";
        ConsumerSuspended = "project suspended", "專案已停權";
        KeyLeaked = "key reported as leaked", "金鑰被回報外洩";
        ServiceDisabled = "API not enabled in the project", "專案未啟用 API";
        KeyRestricted = "key restricted", "金鑰受限制";
        ProjectDenied = "project denied access", "專案被拒絕存取";
        ForeignResource = "resource of another project", "其他專案的資源";
        NoCredential = "no credential received", "未收到憑證";
        FrontEndForbidden = "rejected by Google's front end", "被 Google 前端拒絕";
        ModelNotFound = "model not found", "找不到模型";
        ModelRetired = "model retired", "模型已停用";
        ResourceNotFound = "resource not found", "找不到資源";
        ClientFault = "client error", "用戶端錯誤";
        UnnamedFault = "unknown error", "未知的錯誤";
        QuotaPerMinute = "quota per minute used up", "每分鐘配額已用完";
        QuotaPerDay = "quota per day used up", "每日配額已用完";
        QuotaZero = "no quota for this model", "此模型沒有配額";
        QuotaUnknownWindow = "quota used up", "配額已用完";
        QuotaWithoutDetail = "too many requests", "請求過多";
        Cancelled = "cancelled", "已取消";
        InternalError = "internal error at Google", "Google 內部錯誤";
        FrontEndError = "error of Google's front end", "Google 前端錯誤";
        Overloaded = "model overloaded", "模型過載";
        DeadlineExceeded = "the client's deadline expired", "超過用戶端期限";
        UpstreamDeadline = "timeout at Google", "Google 端逾時";
        ConnectFailed = "connection failed", "無法連線";
        TooManyOpenFiles = "too many open files", "開啟的檔案過多";
        ConnectionBroken = "connection lost", "連線中斷";
        AnswerTimeout = "response timeout", "回應逾時";
        MalformedAnswer = "malformed response", "回應格式錯誤";
        EmptyReply = "empty reply", "回覆空白";
        HedgeCancelled = "another attempt was faster", "另一次嘗試較快";
    }

    /// The button of an action.
    bulk_action(BulkAction) {
        Test = "Test", "測試";
        Enable = "Enable", "啟用";
        Disable = "Disable", "停用";
        Clear = "Clear cooldown", "清除冷卻";
        Tag = "Tag…", "標籤…";
        Move = "Set attributes…", "設定屬性…";
        Export = "Export", "匯出";
        Delete = "Delete…", "刪除…";
    }

    /// The title of the page that confirms an action.
    confirm(BulkAction, keys: &str) {
        Test = "Test {keys}", "測試 {keys}";
        Enable = "Enable {keys}", "啟用 {keys}";
        Disable = "Disable {keys}", "停用 {keys}";
        Clear = "Clear the cooldowns of {keys}", "清除 {keys}的冷卻";
        Tag = "Tag {keys}", "變更 {keys}的標籤";
        Move = "Set attributes of {keys}", "設定 {keys}的屬性";
        Export = "Export {keys}", "匯出 {keys}";
        Delete = "Delete {keys}", "刪除 {keys}";
    }

    /// The explanation on that page.
    bulk_action_means(BulkAction) {
        Test = "Each key is checked with a request to Google, at no cost.", "會向 Google 檢查每個金鑰，不會產生費用。";
        Enable = "These keys are used at once, and earlier errors are cleared.", "會立即使用這些金鑰，並清除先前的錯誤狀態。";
        Disable = "These keys are not used until they are enabled.", "重新啟用之前不會使用這些金鑰。";
        Clear = "These keys are used at once despite earlier errors, and the observed limits of their projects are verified again.", "會立即使用這些金鑰，忽略先前的錯誤，並重新驗證其專案的已知上限。";
        Tag = "", "";
        Move = "Leave blank to keep unchanged.", "留空則維持不變。";
        Export = "A CSV file without the secrets.", "不含金鑰內容的 CSV 檔。";
        Delete = "Requests use other keys at once. Within 24 hours you can undo this; after that the secrets are erased. Log entries remain.", "請求會立即改用其他金鑰。24 小時內可復原，之後會永久清除金鑰內容。請求記錄會保留。";
    }
}
