//! Texts of the audit.

use super::{Language, grouped, translations};
use crate::storage::audit::Subject;

translations! {
    audit_lead = "Everything that hands have changed. Nothing is ever deleted from it.", "所有由人執行的變更，永不刪除。";
    audit_from = "From", "從";
    audit_to = "To", "到";
    audit_action = "Action", "動作";
    audit_subject = "Subject", "對象";
    audit_id = "Number", "編號";
    audit_name = "Name", "名稱";
    audit_act = "One act", "同一次操作";
    audit_details = "Before → after", "變更前 → 變更後";
    audit_only(what: &str) = "Only {what}", "只顯示 {what}";
    any_action = "any", "不限";
    nothing_done = "Nothing was changed yet", "還沒有任何變更";
    nothing_done_text = "Whatever somebody changes here or on the command line will stand here, with who, when and from where.", "在此處或命令列所做的變更都會列在這裡，包含執行者、時間與來源。";
    no_act_matches = "No change matches", "沒有符合的變更";
    no_act_matches_text = "Take a filter away, or look at another span of time.", "請移除部分篩選，或查看其他時段。";
    project_number = "Project number", "專案編號";
}

impl Language {
    pub fn subject(self, subject: Subject) -> &'static str {
        let (english, chinese) = match subject {
            Subject::UpstreamKey => ("upstream key", "上游金鑰"),
            Subject::ClientKey => ("client key", "客戶端金鑰"),
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

    /// How many changes an act has beside the one that is shown.
    pub fn and_more_changes(self, count: u64) -> String {
        match self {
            Self::English => format!("and {} more", grouped(count)),
            Self::TraditionalChinese => format!("另有 {} 項", grouped(count)),
        }
    }
}
