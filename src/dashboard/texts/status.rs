//! Texts of the status page.

use super::{Language, plural, texts};

texts! {
    can_serve = "Ready to serve", "可以服務";
    cannot_serve = "Cannot serve now", "目前無法服務";
    no_keys_title = "There is no upstream key yet", "還沒有上游金鑰";
    keys_usable(usable: &str, keys: &str) = "{usable} of {keys} upstream keys can be used", "{keys} 個上游金鑰中有 {usable} 個可用";
    storm = "Google refuses this server's address, whatever the key; looking again", "Google 目前拒絕此伺服器的位址（與金鑰無關），將再試";
    first_ready = "The first one is ready", "最快恢復";
    state_ready = "ready", "可用";
    state_partly = "resting for some models", "部分模型冷卻中";
    state_resting = "cooling down", "冷卻中";
    state_trial = "on trial", "試用中";
    state_invalid = "invalid", "無效";
    state_leaked = "leaked", "已外洩";
    state_suspended = "suspended", "已停權";
    state_misconfigured = "misconfigured", "設定有誤";
    state_disabled = "disabled", "已停用";
    models = "Models", "模型";
    usable = "Usable keys", "可用金鑰";
    resting = "Resting", "冷卻中";
    soonest = "Soonest ready", "最快恢復";
    overloaded = "overloaded", "過載";
    no_model = "no model", "無模型";
    requests = "Requests", "請求";
    success_rate = "Success", "成功率";
    success_hint = "of what was not the client's own fault", "不計客戶端自身錯誤";
    first_byte = "Time to first byte", "首位元組時間";
    median = "median", "中位數";
    tokens_used = "Tokens", "Tokens";
    cost = "Cost", "費用";
    list_price = "at list price", "依牌價";
    compared(before: &str) = "{before} before", "之前 {before}";
    span_of_time = "Span of time", "時間範圍";
    requests_by_outcome = "Requests by outcome", "各結果的請求數";
    succeeded = "success", "成功";
    clients_fault = "client's fault", "客戶端錯誤";
    no_quota = "no quota or key", "配額或金鑰不足";
    upstream_failed = "upstream failed", "上游失敗";
    broken_off = "client gone or broken off", "中斷或離線";
    latency = "Time to first byte", "首位元組時間";
    tokens_by_kind = "Tokens", "Tokens";
    prompt = "prompt", "輸入";
    output = "output", "輸出";
    thoughts = "thoughts", "思考";
    cost_over_time = "Cost", "費用";
    nothing_asked = "Nothing was asked in this span", "這段時間內沒有請求";
    attention = "Needs attention", "需要注意";
    nothing_wrong = "Nothing needs attention", "目前沒有需要注意的事項";
    keys_leaked(keys: &str) = "{keys}: Google found them published. Delete them and make new ones", "{keys}：Google 發現它們已公開外洩，請刪除並換新";
    keys_invalid(keys: &str) = "{keys}: Google refuses them; they are checked again by themselves", "{keys}：被 Google 拒絕，系統會自動再檢查";
    keys_suspended(keys: &str) = "{keys}: their project is suspended, unpaid or not set up", "{keys}：其專案被停權、未付費或未設定";
    database_failing(rows: &str) = "The database cannot be written: {rows} log rows wait in memory. Is the disk full, or does another program hold the file?", "無法寫入資料庫：有 {rows} 筆記錄暫存在記憶體。磁碟是否已滿，或檔案被其他程式占用？";
    no_backup = "There is no backup yet", "尚未備份";
    health = "Database", "資料庫";
    writer = "Writer", "寫入";
    writer_fine = "writing", "正常寫入";
    writer_failing = "cannot write", "無法寫入";
    rows_waiting(rows: &str) = "{rows} rows waiting", "{rows} 筆待寫入";
    under_way = "Under way", "處理中";
    waiting_requests = "Waiting for a key", "等待金鑰";
    see_failed = "Failed requests", "失敗的請求";
}

impl Language {
    /// As in `3 upstream keys`.
    pub fn counted_keys(self, count: usize) -> String {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        match self {
            Self::English => plural(count, "upstream key", "upstream keys"),
            Self::TraditionalChinese => format!("{count} 個上游金鑰"),
        }
    }
}
