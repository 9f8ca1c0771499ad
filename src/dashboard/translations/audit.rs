//! Texts of the audit page.

use super::{labels, translations};
use crate::storage::audit::{Action, Subject};

translations! {
    actor_token(name: &str) = "API token {name}", "API 權杖 {name}";
    actor_cli = "command line", "命令列";
    actor_environment = "environment variables", "環境變數";
    actor_schedule = "server", "伺服器";
    actor_demo = "demo", "示範";
    changed_address = "Address", "位址";
    audit_lead = "Every change made by an admin. Entries are never deleted.", "管理者所做的每一項變更。記錄永不刪除。";
    audit_from = "From", "從";
    audit_to = "To", "到";
    audit_action = "Action", "動作";
    audit_subject = "Subject", "對象";
    audit_id = "ID", "ID";
    audit_name = "Name", "名稱";
    audit_act = "Same operation", "同一次操作";
    audit_details = "Before → after", "變更前 → 變更後";
    any_action = "any", "不限";
    nothing_done = "No changes yet", "還沒有任何變更";
    nothing_done_text = "Every change made in the dashboard or on the command line is listed here with its time, admin and IP address.", "在管理介面或命令列所做的每項變更都會列在這裡，包含時間、管理者與 IP 位址。";
    no_act_matches = "No change matches", "沒有符合的變更";
    no_act_matches_text = "Remove a filter, or choose another period.", "請移除部分篩選，或選擇其他期間。";
    act_undone(count) = "change undone" | "changes undone", "已復原 {count} 項變更";
    act_not_undone = "Nothing was undone: it was changed again since, or was done more than 24 hours ago.", "未復原：之後已再次變更，或已超過 24 小時。";
    undo_act(name: &str) = "Undo: {name}", "復原：{name}";
    project_number = "Project number", "專案編號";
    exported_rows = "Rows", "列數";
    exported_filter = "Filter", "篩選條件";
    exported_completely = "Complete", "完整";
    changed_server = "Server", "伺服器";
    changed_language = "Language", "語言";
    changed_secret = "Secret", "機密";
    changed_credential = "Credential", "憑證";
    changed_project_ids = "Project IDs", "專案 ID";
    value_replaced = "replaced", "已更換";
    and_more_changes(count: &str) = "and {count} more", "另有 {count} 項";
}

labels! {
    action(Action) {
        Create = "created", "建立";
        Update = "changed", "修改";
        Enable = "enabled", "啟用";
        Disable = "disabled", "停用";
        Clear = "cooldown cleared", "清除冷卻";
        Delete = "deleted", "刪除";
        Download = "downloaded", "下載";
        Export = "exported", "匯出";
        View = "viewed", "檢視";
        Rotate = "rotated", "輪替";
        Try = "tried", "試用";
        SignIn = "signed in", "登入";
        SignOut = "session signed out", "登出工作階段";
        ChangePassword = "password changed", "變更密碼";
        Restore = "restored", "還原";
    }

    subject(Subject) {
        UpstreamKey = "upstream key", "上游金鑰";
        ClientKey = "client key", "用戶端金鑰";
        Project = "project", "專案";
        Setting = "setting", "設定";
        Admin = "admin", "管理者";
        Backup = "backup", "備份";
        RequestLog = "log", "請求記錄";
        RequestBodies = "request bodies", "請求內容";
        ApiToken = "API token", "API 權杖";
        AlertTarget = "alert target", "警示接收端";
        EgressProxy = "egress proxy", "對外代理";
        MasterKey = "master key", "主金鑰";
    }
}
