//! Texts of the upstream keys' pages.

use super::{Language, grouped, plural, translations};

translations! {
    key_ready = "Ready", "可用";
    key_partly_cooling_down = "Partly cooling down", "部分冷卻中";
    key_cooling_down = "Cooling down", "冷卻中";
    key_trial = "On trial", "試用中";
    key_invalid = "Invalid", "無效";
    key_leaked = "Leaked", "已外洩";
    key_suspended = "Suspended", "已停權";
    key_misconfigured = "Misconfigured", "設定錯誤";
    key_disabled = "Disabled", "已停用";
    key_ready_means = "It is lent to requests now.", "目前可供請求使用。";
    key_partly_cooling_down_means = "It is lent to requests, but not for the models below.", "可供請求使用，但下列模型除外。";
    key_cooling_down_means = "It is lent again by itself when its rest ends.", "冷卻結束後會自動恢復使用。";
    key_trial_means = "It carries one request at a time until one succeeds.", "在一個請求成功之前，一次只處理一個請求。";
    key_invalid_means = "Google refuses it. It is checked again by itself, and comes back when Google knows it.", "Google 拒絕此金鑰。系統會自動再次檢查，Google 認可後即恢復。";
    key_leaked_means = "Google says that it was found in public. It never comes back: replace it.", "Google 回報此金鑰已公開外洩，不會再恢復，請更換金鑰。";
    key_suspended_means = "Google has suspended its project. It is checked again by itself.", "Google 已停權其專案。系統會自動再次檢查。";
    key_misconfigured_means = "Its project cannot use the API as it is set up. It is checked again by itself.", "其專案目前的設定無法使用 API。系統會自動再次檢查。";
    key_disabled_means = "Somebody has turned it off. It is not lent until it is enabled.", "已被手動停用，啟用前不會使用。";
    soft_faults = "failed five times in a row while others succeeded", "連續失敗五次，而其他金鑰成功";
    zero_quota = "presumed to have no quota for this model", "推定此模型沒有配額";
    used_up(measure: &str) = "{measure} used up by our count", "依本機計數，{measure}已用完";
    key_limit_used(measure: &str) = "your limit for each key: {measure}", "您為每個金鑰設定的上限：{measure}";
    project_limit_used(measure: &str) = "your limit for each project: {measure}", "您為每個專案設定的上限：{measure}";
    requests_per_minute = "requests per minute", "每分鐘請求數";
    tokens_per_minute = "tokens per minute", "每分鐘 token 數";
    requests_per_day = "requests per day", "每日請求數";
    tokens_per_day = "tokens per day", "每日 token 數";
    limit_observed = "told by Google", "Google 告知";
    limit_inherited = "presumed", "推定";
    limit_contradicted = "contradicted", "已被推翻";
    limit_unknown = "unknown", "未知";
    limit_set = "your setting", "您的設定";
    limit_observed_means = "Google named this limit to this project.", "Google 對此專案告知的上限。";
    limit_inherited_means = "Google named it to another project with the same billing.", "Google 對另一個相同計費方式的專案告知的上限。";
    limit_contradicted_means = "More went through than was known, so no limit is presumed.", "實際用量超過已知上限，因此不再推定上限。";
    limit_unknown_means = "No refusal has named a limit yet.", "尚無任何拒絕回應提及上限。";
    limit_set_means = "Set under Settings.", "於設定頁面設定。";
    billing = "Billing", "計費";
    billing_free = "free", "免費";
    billing_paid = "paid", "付費";
    billing_unknown = "unknown billing", "計費未知";
    short_success = "success", "成功";
    short_invalid_request = "the request was wrong", "請求有誤";
    short_api_key_invalid = "the key is not valid", "金鑰無效";
    short_two_credentials = "two credentials at once", "同時送出兩組憑證";
    short_location_unsupported = "our location is not served", "所在地區不支援";
    short_unauthenticated = "the key was not accepted", "金鑰未被接受";
    short_billing_empty = "prepaid balance used up", "預付餘額已用完";
    short_spending_cap = "spending cap reached", "已達支出上限";
    short_consumer_suspended = "project suspended", "專案已停權";
    short_key_leaked = "key reported as leaked", "金鑰被回報外洩";
    short_service_disabled = "API not enabled in the project", "專案未啟用 API";
    short_key_restricted = "key restricted", "金鑰受限制";
    short_project_denied = "project denied access", "專案被拒絕存取";
    short_foreign_resource = "resource of another project", "屬於其他專案的資源";
    short_no_credential = "no credential arrived", "未收到憑證";
    short_front_end_forbidden = "forbidden by Google's front end", "被 Google 前端拒絕";
    short_model_not_found = "model not found", "找不到模型";
    short_model_retired = "model retired", "模型已停用";
    short_resource_not_found = "resource not found", "找不到資源";
    short_client_fault = "the client's mistake", "客戶端錯誤";
    short_unnamed_fault = "an error that is not known", "未知的錯誤";
    short_quota_per_minute = "quota of the minute used up", "每分鐘配額已用完";
    short_quota_per_day = "quota of the day used up", "每日配額已用完";
    short_quota_zero = "no quota for this model", "此模型沒有配額";
    short_quota_unknown_window = "a quota used up", "配額已用完";
    short_quota_without_detail = "too many requests", "請求過多";
    short_cancelled = "cancelled", "已取消";
    short_internal_error = "internal error at Google", "Google 內部錯誤";
    short_front_end_error = "error of Google's front end", "Google 前端錯誤";
    short_overloaded = "model overloaded", "模型過載";
    short_deadline_exceeded = "the client's deadline passed", "超過客戶端期限";
    short_upstream_deadline = "deadline passed at Google", "Google 端逾時";
    short_connect_failed = "no connection", "無法連線";
    short_connection_broken = "connection broken", "連線中斷";
    short_answer_timeout = "no answer in time", "回應逾時";
    short_malformed_answer = "an answer that cannot be read", "無法解讀的回應";

    add_keys = "Add keys", "新增金鑰";
    no_keys_yet = "No upstream keys yet", "還沒有上游金鑰";
    no_keys_text = "Paste your Gemini API keys in any form: one a line, CSV, JSON. Each is checked, which costs nothing, and lent to requests at once.", "以任何形式貼上您的 Gemini API 金鑰：每行一個、CSV 或 JSON。每個金鑰都會免費檢查，並立即供請求使用。";
    no_match = "No key matches", "沒有符合的金鑰";
    no_match_text = "Try fewer filters or another word.", "請減少篩選條件或換個關鍵字。";
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
    requests_today = "Requests today", "今日請求";
    success_today = "Success", "成功率";
    tokens_today = "Tokens today", "今日 token";
    tokens_counted(count: &str) = "{count} tokens", "{count} token";
    quota_used = "Day's quota", "今日配額";
    last_used = "Last used", "最後使用";
    created = "Created", "建立時間";
    failing_today = "With failures today", "今日有失敗";
    any = "any", "不限";
    select_key(label: &str) = "Choose {label}", "選取 {label}";
    select_page = "Choose all on this page", "選取本頁全部";
    with = "With", "對";
    selected = "chosen", "個已選";
    sorted_by = "Sorted by", "排序";
    sort_oldest = "Added, oldest first", "建立時間，舊的在前";
    sort_newest = "Added, newest first", "建立時間，新的在前";
    sort_label_down = "Label, Z to A", "名稱，由後往前";
    sort_state = "State, ready first", "狀態，可用在前";
    sort_state_down = "State, out of use first", "狀態，停用在前";
    sort_project_down = "Project, Z to A", "專案，由後往前";
    sort_priority = "Priority, lent first", "優先順序，先使用的在前";
    sort_priority_down = "Priority, lent last", "優先順序，後使用的在前";
    sort_most_requests = "Most requests today", "今日請求最多";
    sort_fewest_requests = "Fewest requests today", "今日請求最少";
    sort_most_success = "Best success today", "今日成功率最高";
    sort_least_success = "Worst success today", "今日成功率最低";
    sort_most_tokens = "Most tokens today", "今日 token 最多";
    sort_fewest_tokens = "Fewest tokens today", "今日 token 最少";
    sort_used_last = "Used most recently", "最近使用";
    sort_unused_longest = "Unused for longest", "最久未使用";
    selected_keys = "the chosen", "已選的金鑰";
    test = "Test", "測試";
    test_now = "Test now", "立即測試";
    clear_cooldown = "Clear cooldown", "清除冷卻";
    tag_keys = "Tag…", "標籤…";
    move_keys = "Move…", "移動…";
    delete_keys = "Delete…", "刪除…";
    next_check = "next check", "下次檢查";
    in_flight = "Running now", "進行中";
    in_flight_now(count: u32) = "{count} running now", "{count} 個進行中";
    failures_of(failures: &str, requests: &str) = "{failures} of {requests} failed", "{requests} 次中有 {failures} 次失敗";
    page_of(first: &str, last: &str, total: &str) = "{first}–{last} of {total}", "第 {first}–{last} 個，共 {total} 個";
    numbers_of_today = "requests, success and tokens are of today (UTC)", "請求、成功率與 token 為今日（UTC）數據";
    no_keys_selected = "Nothing was chosen: tick some keys first, or take all that match", "尚未選取：請先勾選金鑰，或選擇所有符合的金鑰";
    unknown_action = "There is no such action", "沒有這種操作";

    confirm = "Confirm", "確認";
    confirmation_expired = "Nothing was done: the question is too old. These are the keys that match now", "尚未執行：這次確認已過期。以下是目前符合的金鑰";
    delete_means = "Requests go to other keys at once. For 24 hours this can be undone, then the secrets are wiped. Log rows stay.", "請求會立即改用其他金鑰。24 小時內可復原，之後密鑰內容會被清除。記錄會保留。";
    disable_means = "They are not lent until they are enabled again.", "在重新啟用之前不會使用這些金鑰。";
    enable_means = "They are lent at once, and what was found of them before is cleared.", "會立即開始使用，並清除先前的判定。";
    clear_means = "They are tried at once, whatever was found before, and learnt limits of their projects are doubted.", "會立即重新嘗試，忽略先前的判定，並重新驗證其專案已學到的上限。";
    test_means = "Google is asked about each of them. It costs nothing.", "會向 Google 查詢每個金鑰，不會產生費用。";
    add_tags = "Add tags", "加上標籤";
    remove_tags = "Remove tags", "移除標籤";
    tags_hint = "Words, separated by commas", "以逗號分隔的詞";
    project_hint = "Google's project number, or any name of yours. Keys of one project share its quota.", "Google 專案編號或自訂名稱。同一專案的金鑰共用配額。";
    priority_hint = "Lower is lent first.", "數字越小越先使用。";
    weight_hint = "1 to 1000: its part of the work among keys of its priority.", "1 到 1000：在相同優先順序的金鑰中所占的工作量。";
    leave_empty = "Empty: stays as it is.", "留空則維持不變。";
    unchanged = "stays as it is", "維持不變";
    no_change_given = "Nothing to change was given", "沒有指定要變更的內容";
    wrong_number = "A whole number, as in 0 or -1", "請輸入整數，例如 0 或 -1";
    wrong_weight = "A whole number from 1 to 1000", "請輸入 1 到 1000 的整數";
    wrong_name = "1 to 200 characters, none of them a control character", "1 到 200 個字元，不含控制字元";

    job_waiting = "Waiting for its turn…", "等待中…";
    job_failed(why: &str) = "It ended early: {why}", "提前結束：{why}";
    job_progress(done: &str, total: &str) = "{done} of {total}", "{done} / {total}";
    job_not_found = "This job is not known any more", "已無法查詢這項工作";
    job_not_found_text = "The last 50 jobs are remembered until the server is started again. One that was under way then was interrupted: what it had done stays done and stands under Audit. Begin it again for the rest.", "伺服器重新啟動前會記住最近 50 項工作。重新啟動時仍在進行的工作已中斷：已完成的部分會保留，並記錄於稽核；其餘部分請重新執行。";
    job_back = "Back to the keys", "回到金鑰列表";
    job_continues = "It goes on when you leave this page.", "離開此頁後仍會繼續進行。";
    job_reload = "Reload to see how far it is", "重新整理以查看進度";
    results = "Results", "結果";
    result = "Result", "結果";
    result_accepted = "Alive", "有效";
    result_refused = "Refused", "被拒絕";
    result_inconclusive = "Unclear", "不明";
    took = "Took", "耗時";
    results_truncated(count: &str) = "Those that did not pass come first; {count} are shown.", "未通過的排在前面；顯示 {count} 個。";
    keys_unchecked(count: &str) = "Checking the new keys: {count} still to be looked at.", "正在檢查新金鑰：尚有 {count} 個。";
    all_checked = "All new keys have been checked.", "所有新金鑰都已檢查。";
    show_invalid = "Show those that are invalid", "顯示無效的金鑰";
    show_newest = "Show the newest keys", "顯示最新的金鑰";

    import_title = "Add upstream keys", "新增上游金鑰";
    import_text = "Keys", "金鑰";
    import_hint = "Paste any text: one key a line, CSV with a heading, JSON, or the API_KEYS of another program. Nothing is added before you have seen what was found.", "貼上任何文字：每行一個金鑰、含標題列的 CSV、JSON，或其他程式的 API_KEYS。確認預覽後才會新增。";
    import_preview = "Preview", "預覽";
    import_nothing = "No key was found in this text", "在這段文字中找不到金鑰";
    import_expired = "the pasted text", "貼上的文字";
    import_keys_found = "What was found", "找到的內容";
    import_new = "New", "新的";
    import_known = "Known already", "已存在";
    import_removed = "Removed earlier", "先前已移除";
    import_removed_means = "They come back.", "將會恢復。";
    import_duplicates = "Pasted twice", "重複貼上";
    import_unusable = "Could not be read", "無法辨識";
    import_unusable_key = "not a key", "不是金鑰";
    import_unusable_part(what: &str) = "no usable {what}: the key goes without", "{what} 無法使用：金鑰將不含此項";
    import_update_known = "Update the known keys", "更新已存在的金鑰";
    import_line = "Line", "行";
    import_what = "What", "問題";
    import_start = "Begins with", "開頭";
    import_for_all = "For all of them", "套用到全部";
    import_for_all_hint = "What the text itself says of a key comes first.", "文字中對金鑰的說明優先。";
    import_label_hint = "Several get a number.", "多個時會加上編號。";
    import_update = "Also change what is said of known keys", "同時更新已存在金鑰的資料";
    import_again = "Paste something else", "重新貼上";
    import_first(count: &str) = "The first {count}", "前 {count} 個";
    import_check = "New keys are checked by Google at once, which costs nothing.", "新金鑰會立即向 Google 檢查，不會產生費用。";

    edit_key(label: &str) = "Edit {label}", "編輯 {label}";
    saved = "Saved", "已儲存";
    not_changed = "Nothing was different", "沒有任何變更";
    billing_hint = "Of the whole project.", "適用於整個專案。";
    in_use = "Lent to requests", "供請求使用";

    evidence = "Google said", "Google 的回應";
    status_code = "Status", "狀態碼";
    shown_by = "Shown by", "依據";
    this_request = "this request", "此請求";
    state_since = "Since", "開始於";
    state_ends = "Ends", "結束";
    next_check_heading = "Checked again", "再次檢查";
    ends_never = "Not by itself", "不會自動結束";
    last_check = "Last check", "最後檢查";
    cooldowns = "Rests", "冷卻";
    every_model = "every model", "所有模型";
    reason = "Reason", "原因";
    quota_windows = "Quota windows", "配額視窗";
    quota_windows_hint = "Counted here, by Google's minute and day, over all keys of the project. What others use of it is not known.", "由本機依 Google 的分鐘與日計數，涵蓋專案的所有金鑰。無法得知他人的用量。";
    day_resets = "The day's counts begin anew", "每日計數重新開始：";
    none_allowed = "none allowed", "沒有配額";
    no_windows = "Nothing was used today, and no limit is known.", "今日尚未使用，也沒有已知上限。";
    of_this_key = "this key, all models", "此金鑰的所有模型";
    of_its_project = "its project, all models", "其專案的所有模型";
    no_requests_30 = "No request was sent with it in 30 days.", "30 天內沒有使用此金鑰送出請求。";
    key_since_added = "Since it was added", "新增至今";
    key_30_days = "Requests a day (UTC), last 30 days", "每日請求數（UTC），最近 30 天";
    successes = "succeeded", "成功";
    others = "did not", "未成功";
    errors_by_verdict = "Errors by verdict", "依判定分類的錯誤";
    no_errors = "None of its requests failed.", "沒有失敗的請求。";
    attempts_examined(attempts: &str) = "Among its last {attempts} attempts within 7 days", "最近 7 天內的最後 {attempts} 次嘗試";
    verdict = "Verdict", "判定";
    count = "Count", "次數";
    last_time = "Last", "最後一次";
    resources_title = "What its project holds", "所屬專案保有的資源";
    resources_lead = "Files, caches, batches and the like that were made with the keys of this project. Only these keys can serve requests that name them.", "以此專案的金鑰建立的檔案、快取、批次等。提到它們的請求只能由這些金鑰處理。";
    no_resources = "Nothing that is known.", "目前沒有已知的資源。";
    resource_name = "Name", "名稱";
    resource_expires = "Expires", "到期";
    newest_resources(count: &str) = "The newest {count}", "最新的 {count} 項";
    checks = "Checks", "檢查";
    no_checks = "It was not checked yet.", "尚未檢查。";
    no_check_rows = "The log keeps no row of its checks any more.", "記錄中已沒有其檢查的資料列。";
    when = "When", "時間";
    passed = "Passed", "通過";
    changes = "Changes", "變更";
    about = "About this key", "關於此金鑰";
    tested_accepted(label: &str) = "{label} is alive", "{label} 有效";
    tested_refused(label: &str, why: &str) = "{label} is refused: {why}", "{label} 被拒絕：{why}";
    tested_inconclusive(label: &str, why: &str) = "The answer says nothing about {label}: {why}", "回應無法判斷 {label}：{why}";
}

impl Language {
    pub fn confirm_test(self, count: usize) -> String {
        self.action_on_keys(count, "Test", "測試", "")
    }

    pub fn confirm_enable(self, count: usize) -> String {
        self.action_on_keys(count, "Enable", "啟用", "")
    }

    pub fn confirm_disable(self, count: usize) -> String {
        self.action_on_keys(count, "Disable", "停用", "")
    }

    pub fn confirm_clear(self, count: usize) -> String {
        self.action_on_keys(count, "Clear the rests of", "清除", "的冷卻")
    }

    pub fn confirm_tag(self, count: usize) -> String {
        self.action_on_keys(count, "Tag", "變更", "的標籤")
    }

    pub fn confirm_move(self, count: usize) -> String {
        self.action_on_keys(count, "Move", "移動", "")
    }

    pub fn confirm_delete(self, count: usize) -> String {
        self.action_on_keys(count, "Delete", "刪除", "")
    }

    fn action_on_keys(self, count: usize, act: &str, before: &str, after: &str) -> String {
        let keys = self.keys_counted(count);
        match self {
            Self::English => format!("{act} {keys}"),
            Self::TraditionalChinese => format!("{before} {keys}{after}"),
        }
    }

    pub fn testing(self, count: usize) -> String {
        self.job_title(count, "Test of", "測試")
    }

    pub fn importing(self, count: usize) -> String {
        self.job_title(count, "Import of", "匯入")
    }

    pub fn changing(self, count: usize) -> String {
        self.job_title(count, "Change of", "變更")
    }

    fn job_title(self, count: usize, english: &str, chinese: &str) -> String {
        let keys = self.keys_counted(count);
        match self {
            Self::English => format!("{english} {keys}"),
            Self::TraditionalChinese => format!("{chinese} {keys}"),
        }
    }

    pub fn keys_enabled(self, count: usize) -> String {
        self.keys_done(count, "enabled", "已啟用")
    }

    pub fn keys_disabled(self, count: usize) -> String {
        self.keys_done(count, "disabled", "已停用")
    }

    pub fn keys_cleared(self, count: usize) -> String {
        self.keys_done(count, "cleared: they are tried at once", "已清除冷卻：")
    }

    pub fn keys_changed(self, count: usize) -> String {
        self.keys_done(count, "changed", "已變更")
    }

    pub fn keys_deleted(self, count: usize) -> String {
        self.keys_done(count, "deleted", "已刪除")
    }

    pub fn keys_restored(self, count: usize) -> String {
        self.keys_done(count, "restored", "已復原")
    }

    fn keys_done(self, count: usize, english: &str, chinese: &str) -> String {
        let keys = self.keys_counted(count);
        match self {
            Self::English => format!("{keys} {english}"),
            Self::TraditionalChinese => format!("{chinese} {keys}"),
        }
    }

    pub fn keys_restored_but(self, count: usize, wiped: usize) -> String {
        let restored = self.keys_restored(count);
        match self {
            Self::English => format!(
                "{restored}; the secrets of {wiped} are wiped already: add them again to bring them back"
            ),
            Self::TraditionalChinese => {
                format!("{restored}；其中 {wiped} 個的密鑰內容已清除，請重新新增")
            }
        }
    }

    pub fn keys_imported(self, new: usize, restored: usize, known: usize) -> String {
        match self {
            Self::English => format!("{new} new, {restored} brought back, {known} known already"),
            Self::TraditionalChinese => {
                format!("新增 {new} 個，恢復 {restored} 個，已存在 {known} 個")
            }
        }
    }

    pub fn import_keys(self, count: u64) -> String {
        self.action_on_keys(
            usize::try_from(count).unwrap_or(usize::MAX),
            "Add",
            "新增",
            "",
        )
    }

    /// `1,234 upstream keys`.
    pub fn keys_counted(self, count: usize) -> String {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        match self {
            Self::English => plural(count, "upstream key", "upstream keys"),
            Self::TraditionalChinese => format!("{} 個上游金鑰", grouped(count)),
        }
    }

    pub fn all_matching(self, count: usize) -> String {
        let number = grouped(u64::try_from(count).unwrap_or(u64::MAX));
        match self {
            Self::English => format!("all {number} that match"),
            Self::TraditionalChinese => format!("所有符合的 {number} 個"),
        }
    }

    pub fn and_more(self, count: usize) -> String {
        match self {
            Self::English => format!("and {count} more"),
            Self::TraditionalChinese => format!("以及另外 {count} 項"),
        }
    }
}
