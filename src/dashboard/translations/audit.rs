//! Texts of the audit page.

use super::{Language, grouped, translations};
use crate::storage::audit::Subject;

translations! {
    audit_lead = "Every change made by an admin. Entries are never deleted.", "管理者所做的每一項變更。紀錄永不刪除。";
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
    project_number = "Project number", "專案編號";
}

impl Language {
    pub fn subject(self, subject: Subject) -> &'static str {
        let (english, chinese) = match subject {
            Subject::UpstreamKey => ("upstream key", "上游金鑰"),
            Subject::ClientKey => ("client key", "用戶端金鑰"),
            Subject::Project => ("project", "專案"),
            Subject::Setting => ("setting", "設定"),
            Subject::Admin => ("admin", "管理者"),
            Subject::Backup => ("backup", "備份"),
        };
        match self {
            Self::English => english,
            Self::TraditionalChinese => chinese,
        }
    }

    /// The number of further changes in the same operation.
    pub fn and_more_changes(self, count: u64) -> String {
        match self {
            Self::English => format!("and {} more", grouped(count)),
            Self::TraditionalChinese => format!("另有 {} 項", grouped(count)),
        }
    }
}
