//! Texts of the status page.

use super::{labels, translations};
use crate::storage::traffic::TrafficSpan;

translations! {
    can_serve = "Ready to serve", "服務正常";
    serves_unrecorded = "Requests are served, but not recorded", "服務正常，但無法寫入請求記錄";
    cannot_serve = "Cannot serve requests", "服務中斷";
    no_keys_title = "No upstream keys yet", "還沒有上游金鑰";
    keys_usable(usable: &str, keys: &str) = "{usable} of {keys} upstream keys are usable", "{keys} 個上游金鑰中有 {usable} 個可用";
    address_throttled = "Google is limiting this server's IP address, so no key works; next attempt", "Google 正在限制此伺服器的 IP 位址（與金鑰無關），下次嘗試於";
    next_key_ready = "next key ready", "最快恢復於";
    upstream_key = "Key", "金鑰";
    until_changed = "needs action", "需手動處理";
    until_when = "Recovery", "恢復時間";
    all_keys(keys: &str) = "All {keys} upstream keys", "全部 {keys} 個上游金鑰";
    first_steps = "First steps", "開始使用";
    step_paste = "Paste your Gemini API keys", "貼上您的 Gemini API 金鑰";
    where_keys_come_from = "Get keys in AI Studio", "到 AI Studio 取得金鑰";
    step_check = "Keys are checked at no cost", "免費檢查金鑰";
    no_key_usable = "None of the keys is usable.", "沒有可用的金鑰。";
    see_why = "See why", "查看原因";
    step_client_key = "Create a client key", "建立用戶端金鑰";
    step_client_key_text = "Your programs use it in place of a Gemini key. Each client key can have its own limits, and can be disabled without affecting the others.", "您的程式以它取代 Gemini 金鑰。每個用戶端金鑰可有各自的限制，也可單獨停用。";
    step_request = "Send the first request", "送出第一個請求";
    step_request_here = "Send it from this dashboard and see the answer here.", "直接在管理介面送出，並在此看到回應。";
    step_request_text = "Or send it from a program: replace the placeholder with the client key you created.", "或從程式送出：請將範例中的金鑰換成您建立的用戶端金鑰。";
    waiting_for_first = "Waiting for the first request …", "等待第一個請求 …";
    first_failed = "A request arrived, but failed:", "已收到請求，但處理失敗：";
    first_succeeded = "The first request succeeded. Your pool works.", "第一個請求已成功，金鑰池運作正常。";
    see_the_request = "View it in the log", "在請求記錄中檢視";
    models = "Models", "模型";
    usable = "Usable keys", "可用金鑰";
    cooling_down = "Cooling down", "冷卻中";
    next_ready = "Next key ready", "最快恢復";
    overloaded = "overloaded", "過載";
    no_model = "no model", "無模型";
    other_models = "other models", "其他模型";
    other_models_mean = "Names that Google has never confirmed, and refused requests", "Google 從未確認的名稱，以及被拒絕的請求";
    requests = "Requests", "請求數";
    success_rate = "Success", "成功率";
    success_hint = "of requests that succeeded or failed; client errors, refusals and disconnects are counted apart", "只計成功與失敗的請求；用戶端錯誤、拒絕與中斷連線另計";
    first_byte = "Time to first byte", "首位元組延遲";
    median = "median", "中位數";
    tokens_used = "Tokens", "Token 數";
    cost = "Cost", "費用";
    list_price = "estimated at list price", "依定價估算";
    compared(before: &str) = "previous period: {before}", "前一期 {before}";
    changed(percent: &str, span: &str) = "{percent}\u{a0}% vs previous {span}", "較前一期（{span}）{percent}\u{a0}%";
    changed_points(points: &str, span: &str) = "{points}\u{a0}points vs previous {span}", "較前一期（{span}）{points}\u{a0}個百分點";
    span_of_time = "Period", "期間";
    requests_by_outcome = "Requests by outcome", "各結果的請求數";
    succeeded = "success", "成功";
    clients_fault = "client error", "用戶端錯誤";
    no_quota = "no quota or no key", "配額或金鑰不足";
    upstream_failed = "upstream error", "上游錯誤";
    broken_off = "disconnected or interrupted", "連線或回應中斷";
    latency = "Time to first byte", "首位元組延遲";
    tokens_by_kind = "Tokens", "Token 數";
    prompt = "prompt", "輸入";
    output = "output", "輸出";
    thoughts = "thoughts", "思考";
    cost_over_time = "Cost", "費用";
    no_data_in_span = "No data in this period", "此期間沒有資料";
    no_requests_in_span = "No requests in this period", "此期間沒有請求";
    attention = "Needs attention", "需要注意";
    nothing_wrong = "Nothing needs attention", "目前沒有需要注意的事項";
    keys_leaked(keys: &str) = "{keys} reported as leaked and permanently blocked by Google: replace them", "{keys}被回報外洩，已由 Google 永久封鎖，請更換";
    keys_invalid(keys: &str) = "{keys} rejected by Google: rechecked automatically", "{keys}被 Google 拒絕，系統會自動再次檢查";
    keys_suspended(keys: &str) = "{keys} in suspended or unpaid projects", "{keys}所屬的專案已停權或未付費";
    keys_misconfigured(keys: &str) = "{keys} in projects that do not allow the Gemini API", "{keys}所屬的專案設定不允許使用 Gemini API";
    upstream_unreachable(error: &str) = "Google cannot be reached: {error}. Check the network of this server, its proxy variables and UPSTREAM_URL.", "無法連線到 Google，錯誤訊息為「{error}」。請檢查此伺服器的網路、代理環境變數與 UPSTREAM_URL。";
    upstream_wrong(answer: &str) = "The last answers were not Gemini's ({answer}). Check UPSTREAM_URL, and what stands between this server and Google.", "最近的回應並非來自 Gemini，內容為「{answer}」。請檢查 UPSTREAM_URL，以及此伺服器與 Google 之間的代理。";
    database_moved(file: &str, rows: &str) = "The database file {file} was moved, deleted or replaced; {rows} kept in memory. Move it back, or stop the server and restore a backup.", "資料庫檔案 {file} 已被移動、刪除或取代，有 {rows}暫存在記憶體。請將檔案移回原處，或停止伺服器後還原備份。";
    database_damaged(file: &str, rows: &str) = "The database file {file} is damaged; {rows} kept in memory. Stop the server and restore a backup.", "資料庫檔案 {file} 已損毀，有 {rows}暫存在記憶體。請停止伺服器並還原備份。";
    disk_failing(file: &str, rows: &str) = "The disk of {file} is full or fails; {rows} kept in memory. Free space, or check the disk.", "{file} 所在的磁碟已滿或發生錯誤，有 {rows}暫存在記憶體。請釋出空間或檢查磁碟。";
    database_locked(file: &str, rows: &str) = "The database cannot be written; {rows} kept in memory. Check for another program that locks {file}.", "無法寫入資料庫 {file}，有 {rows}暫存在記憶體。請檢查是否有其他程式鎖定它。";
    database_failing(file: &str, rows: &str) = "The database cannot be written; {rows} kept in memory. The log of the server has the error of {file}.", "無法寫入資料庫，有 {rows}暫存在記憶體。{file} 的錯誤請見伺服器記錄。";
    disk_nearly_full(file: &str, free: &str) = "The disk of {file} is nearly full ({free} are free): the oldest log entries are deleted early, except those of the last day. Free space on it.", "{file} 所在的磁碟空間即將用盡（剩餘 {free}）：系統會提前刪除最舊的請求記錄，最近一天的記錄除外。請釋出空間。";
    disk_nearly_full_with_short_log(file: &str, free: &str) = "The disk of {file} is nearly full ({free} are free), and the log has only entries of the last day, which are not deleted for it. Free space before requests can no longer be recorded.", "{file} 所在的磁碟空間即將用盡（剩餘 {free}），而請求記錄只剩最近一天，不會因此刪除。請儘快釋出空間，以免無法寫入請求記錄。";
    no_backup = "No backup yet", "尚未備份";
    backup_has_failed(reason: &str) = "The last backup failed: {reason}", "上一次備份失敗：{reason}";
    backup_is_overdue = "The scheduled backup is overdue", "排程備份已逾期";
    health = "Server", "伺服器";
    keys_at_rest = "Upstream keys at rest", "上游金鑰的儲存";
    keys_unencrypted = "not encrypted: protect the database file and its backups, or set MASTER_KEY", "未加密：請保護資料庫檔案及其備份，或設定 MASTER_KEY";
    keys_encrypted = "encrypted with the master key", "已加密，主金鑰";
    rows_encrypted(done: &str, rows: &str) = "{done} of {rows} rows done", "已完成 {done} 筆，共 {rows} 筆";
    encryption_unfinished = "a change of the encryption was interrupted; see", "加密變更曾中斷，請見";
    file_has_traces = "freed parts of the file may hold readable secrets; stop the server and run", "檔案中已釋放的部分可能仍有可讀取的機密；請停止伺服器並執行";
    writer = "Database writes", "資料庫寫入";
    writer_fine = "working", "正常";
    writer_failing = "failing", "無法寫入";
    rows_waiting(rows: &str) = "{rows} pending", "{rows}待寫入";
    log_rows_counted(count) = "log row" | "log rows", "{count} 筆請求記錄";
    requests_in_flight = "Running requests", "處理中的請求";
    requests_queued = "Queued requests", "排隊中的請求";
}

labels! {
    traffic_span(TrafficSpan) {
        Hour = "1 h", "1 小時";
        SixHours = "6 h", "6 小時";
        Day = "24 h", "24 小時";
        Week = "7 d", "7 天";
        Month = "30 d", "30 天";
    }
}
