//! The texts of alerts in the language of the admin that made the target: what, since when, what to do, and where.

use jiff::tz::TimeZone;

use crate::clock::Timestamp;
use crate::pool::alert_schedule::AlertPhase;
use crate::pool::alerts::{AlertKind, OTHER_SUBJECTS};
use crate::pool::clients::client_key::ClientLimit;
use crate::pool::keys::upstream_key::KeyState;
use crate::storage::alert_events::AlertEvent;
use crate::storage::alert_targets::{AlertLanguage, AlertTargetTerms};

/// A message, ready to be sent in any form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertMessage {
    /// The same at each attempt.
    pub id: String,
    pub phase: AlertPhase,
    /// When it happened.
    pub at: Timestamp,
    /// `None`: a test.
    pub event: Option<AlertEvent>,
    pub title: String,
    pub text: String,
    /// The page that shows more; `None`: the server's public URL is not set.
    pub link: Option<String>,
}

impl AlertMessage {
    /// The message for the begin or end of an alert.
    pub fn of_event(
        id: &str,
        phase: AlertPhase,
        event: &AlertEvent,
        terms: &AlertTargetTerms,
        public_url: Option<&str>,
    ) -> Self {
        let (language, zone) = (terms.language, terms.time_zone());
        let (kind, subject, detail) = (event.kind, &event.subject, &event.detail);
        let title = title(language, kind, subject, detail, event.key_state);
        let (title, at, lines) = match phase {
            AlertPhase::Begin | AlertPhase::Test => {
                let since = time(event.began_at, &zone);
                let lines = match language {
                    AlertLanguage::English => [
                        format!("Since {since}"),
                        remedy(language, event.kind).to_owned(),
                    ],
                    AlertLanguage::TraditionalChinese => [
                        format!("開始時間：{since}"),
                        remedy(language, event.kind).to_owned(),
                    ],
                };
                (title, event.began_at, lines)
            }
            AlertPhase::End => {
                let ended_at = event.ended_at.unwrap_or(event.began_at);
                let (from, to) = (time(event.began_at, &zone), time(ended_at, &zone));
                let lines = match language {
                    AlertLanguage::English => [
                        format!("From {from} to {to}"),
                        "Nothing needs to be done.".to_owned(),
                    ],
                    AlertLanguage::TraditionalChinese => [
                        format!("期間：{from} 至 {to}"),
                        "不需要採取任何動作。".to_owned(),
                    ],
                };
                let title = match language {
                    AlertLanguage::English => format!("Over: {title}"),
                    AlertLanguage::TraditionalChinese => format!("已解除：{title}"),
                };
                (title, ended_at, lines)
            }
        };
        Self {
            id: id.to_owned(),
            phase,
            at,
            text: lines.join("\n"),
            link: public_url.map(|url| format!("{url}{}", page(event.kind, &event.subject))),
            event: Some(event.clone()),
            title,
        }
    }

    /// A message that tests a target.
    pub fn test(
        id: &str,
        terms: &AlertTargetTerms,
        public_url: Option<&str>,
        now: Timestamp,
    ) -> Self {
        let (title, text) = match terms.language {
            AlertLanguage::English => (
                format!("Test of {}", terms.name),
                "Alerts of gemini-pool will arrive here. Nothing needs to be done.",
            ),
            AlertLanguage::TraditionalChinese => (
                format!("測試：{}", terms.name),
                "gemini-pool 的警示會送到這裡。不需要採取任何動作。",
            ),
        };
        Self {
            id: id.to_owned(),
            phase: AlertPhase::Test,
            at: now,
            event: None,
            title,
            text: text.to_owned(),
            link: public_url.map(|url| format!("{url}/alerts")),
        }
    }

    /// The phase in messages for programs.
    pub fn phase_name(&self) -> &'static str {
        self.phase.into()
    }

    /// Title, text and link for people.
    pub fn whole_text(&self) -> String {
        let link = self.link.iter().map(String::as_str);
        let lines = [self.title.as_str(), self.text.as_str()].into_iter();
        lines.chain(link).collect::<Vec<_>>().join("\n")
    }
}

/// For example `2026-11-30 15:04 +08:00`.
fn time(at: Timestamp, zone: &TimeZone) -> String {
    let zoned = at.to_jiff().to_zoned(zone.clone());
    zoned.strftime("%Y-%m-%d %H:%M %:z").to_string()
}

/// What an alert is about, in one line.
pub fn title(
    language: AlertLanguage,
    kind: AlertKind,
    subject: &str,
    detail: &str,
    key_state: Option<KeyState>,
) -> String {
    if subject == OTHER_SUBJECTS {
        let name = kind_name(language, kind);
        return match language {
            AlertLanguage::English => format!("{name}: {detail} more"),
            AlertLanguage::TraditionalChinese => format!("{name}：另有 {detail} 項"),
        };
    }
    let model = match (subject, language) {
        ("", AlertLanguage::English) => "any model",
        ("", AlertLanguage::TraditionalChinese) => "任何模型",
        (model, _) => model,
    };
    let key = || with_state(language, detail, key_state);
    let client = || with_limit(language, detail, subject);
    match language {
        AlertLanguage::English => match kind {
            AlertKind::NoKey => format!("No upstream key is usable for {model}"),
            AlertKind::PoolLow => format!("Few upstream keys are usable for {model}: {detail}"),
            AlertKind::KeyLeaked => format!("Google reports an upstream key as leaked: {detail}"),
            AlertKind::KeyDead => format!("Google refuses an upstream key: {}", key()),
            AlertKind::GoogleUnreachable => format!("Google cannot be reached: {detail}"),
            AlertKind::AddressThrottled => {
                "Google throttles the IP address of the server".to_owned()
            }
            AlertKind::ClockWrong => {
                format!("The clock of the server differs from Google's by {detail}")
            }
            AlertKind::EgressBroken => format!("An egress proxy is broken: {detail}"),
            AlertKind::BudgetUsed => format!("A client key has used up its limit: {}", client()),
            AlertKind::BudgetNearlyUsed => {
                format!("A client key has used 80 % of its limit: {}", client())
            }
            AlertKind::DiskLow => format!("The disk of the database is nearly full: {detail} left"),
            AlertKind::DatabaseFailing => {
                format!(
                    "The database cannot be written: {}",
                    reason(language, detail)
                )
            }
            AlertKind::BackupFailed => format!("A backup failed: {detail}"),
            AlertKind::BackupOverdue => "A scheduled backup is overdue".to_owned(),
        },
        AlertLanguage::TraditionalChinese => match kind {
            AlertKind::NoKey => format!("{model} 沒有可用的上游金鑰"),
            AlertKind::PoolLow => format!("{model} 可用的上游金鑰過少：{detail}"),
            AlertKind::KeyLeaked => format!("Google 回報上游金鑰已外洩：{detail}"),
            AlertKind::KeyDead => format!("Google 拒絕上游金鑰：{}", key()),
            AlertKind::GoogleUnreachable => format!("無法連線到 Google：{detail}"),
            AlertKind::AddressThrottled => "Google 正在限制伺服器的 IP 位址".to_owned(),
            AlertKind::ClockWrong => format!("伺服器的時鐘與 Google 相差 {detail}"),
            AlertKind::EgressBroken => format!("對外代理故障：{detail}"),
            AlertKind::BudgetUsed => format!("用戶端金鑰已用完額度：{}", client()),
            AlertKind::BudgetNearlyUsed => format!("用戶端金鑰已使用額度的 80%：{}", client()),
            AlertKind::DiskLow => format!("資料庫所在的磁碟即將用盡，剩餘 {detail}"),
            AlertKind::DatabaseFailing => format!("資料庫無法寫入：{}", reason(language, detail)),
            AlertKind::BackupFailed => format!("備份失敗：{detail}"),
            AlertKind::BackupOverdue => "排程備份已逾期".to_owned(),
        },
    }
}

/// A key with its state.
fn with_state(language: AlertLanguage, key: &str, state: Option<KeyState>) -> String {
    let (english, chinese) = match state {
        Some(KeyState::Invalid) => ("invalid", "無效"),
        Some(KeyState::Leaked) => ("leaked", "已外洩"),
        Some(KeyState::Suspended) => ("suspended", "已停權"),
        Some(KeyState::Misconfigured) => ("misconfigured", "設定錯誤"),
        Some(KeyState::Ready | KeyState::CoolingDown | KeyState::Trial) | None => {
            return key.to_owned();
        }
    };
    match language {
        AlertLanguage::English => format!("{key} ({english})"),
        AlertLanguage::TraditionalChinese => format!("{key}（{chinese}）"),
    }
}

/// A client key with the limit that the subject names: `12:cost_per_month`.
fn with_limit(language: AlertLanguage, client: &str, subject: &str) -> String {
    let limit = subject.split(':').nth(1).and_then(|name| name.parse().ok());
    let (english, chinese) = match limit {
        Some(ClientLimit::RequestsPerMinute) => ("requests per minute", "每分鐘請求數"),
        Some(ClientLimit::RequestsPerDay) => ("requests per day", "每日請求數"),
        Some(ClientLimit::TokensPerMinute) => ("tokens per minute", "每分鐘 Token 數"),
        Some(ClientLimit::TokensPerDay) => ("tokens per day", "每日 Token 數"),
        Some(ClientLimit::Concurrency) => ("concurrent requests", "同時請求數"),
        Some(ClientLimit::CostPerMonth) => ("cost per month", "每月費用"),
        None => return client.to_owned(),
    };
    match language {
        AlertLanguage::English => format!("{client} ({english})"),
        AlertLanguage::TraditionalChinese => format!("{client}（{chinese}）"),
    }
}

/// A kind in lists and forms.
pub fn kind_name(language: AlertLanguage, kind: AlertKind) -> &'static str {
    let (english, chinese) = match kind {
        AlertKind::NoKey => ("No usable key for a model", "模型沒有可用金鑰"),
        AlertKind::PoolLow => ("Few usable keys for a model", "模型可用金鑰過少"),
        AlertKind::KeyLeaked => ("Upstream key leaked", "上游金鑰外洩"),
        AlertKind::KeyDead => ("Upstream key refused by Google", "上游金鑰遭 Google 拒絕"),
        AlertKind::GoogleUnreachable => ("Google unreachable", "無法連線到 Google"),
        AlertKind::AddressThrottled => ("IP address throttled", "IP 位址受限"),
        AlertKind::ClockWrong => ("Wrong clock", "時鐘錯誤"),
        AlertKind::EgressBroken => ("Egress proxy broken", "對外代理故障"),
        AlertKind::BudgetUsed => ("Limit of a client key used up", "用戶端金鑰額度用完"),
        AlertKind::BudgetNearlyUsed => ("Limit of a client key at 80 %", "用戶端金鑰額度達 80%"),
        AlertKind::DiskLow => ("Disk nearly full", "磁碟空間不足"),
        AlertKind::DatabaseFailing => ("Database not writable", "資料庫無法寫入"),
        AlertKind::BackupFailed => ("Backup failed", "備份失敗"),
        AlertKind::BackupOverdue => ("Backup overdue", "備份逾期"),
    };
    match language {
        AlertLanguage::English => english,
        AlertLanguage::TraditionalChinese => chinese,
    }
}

/// What to do about it.
fn remedy(language: AlertLanguage, kind: AlertKind) -> &'static str {
    let (english, chinese) = match kind {
        AlertKind::NoKey | AlertKind::PoolLow => (
            "Add upstream keys, or wait until those that are cooling down are ready again.",
            "請新增上游金鑰，或等待冷卻中的金鑰恢復。",
        ),
        AlertKind::KeyLeaked => (
            "Delete the key at Google, find out where it was published, and add a new one.",
            "請在 Google 刪除此金鑰，查明外洩來源，並新增新的金鑰。",
        ),
        AlertKind::KeyDead => (
            "Check the key and its project at Google, then replace or disable it.",
            "請在 Google 檢查此金鑰與其專案，再更換或停用。",
        ),
        AlertKind::GoogleUnreachable => (
            "Check network, DNS and proxy of the server; `gemini-pool doctor` tests them.",
            "請檢查伺服器的網路、DNS 與代理伺服器；可執行 `gemini-pool doctor` 測試。",
        ),
        AlertKind::AddressThrottled => (
            "Requests continue by themselves when the throttle ends. Send fewer requests, or use another address.",
            "限制結束後會自動恢復。請減少請求，或改用其他 IP 位址。",
        ),
        AlertKind::ClockWrong => (
            "Synchronize the clock of the server, as with NTP: certificates, limits and logs depend on it.",
            "請校正伺服器的時鐘，例如使用 NTP：憑證、額度與記錄都依賴正確的時間。",
        ),
        AlertKind::EgressBroken => (
            "Its projects use another proxy that applies to them; without one their keys wait. Test it on the page of the egress proxies.",
            "其專案改用其他適用的代理；若沒有，則其金鑰會等待。請在對外代理頁面測試。",
        ),
        AlertKind::BudgetUsed => (
            "Its requests are refused until the limit resets. Raise the limit if the usage is intended.",
            "在額度重設前，其請求會被拒絕。若屬正常用量，請提高額度。",
        ),
        AlertKind::BudgetNearlyUsed => (
            "At 100 % its requests are refused. Raise the limit if the usage is intended.",
            "達到 100% 時，其請求會被拒絕。若屬正常用量，請提高額度。",
        ),
        AlertKind::DiskLow => (
            "Free space on the disk, or lower the retention of the logs.",
            "請釋出磁碟空間，或縮短記錄的保留期限。",
        ),
        AlertKind::DatabaseFailing => (
            "Log rows wait in memory. See the server's log for the reason.",
            "請求記錄暫存於記憶體中。原因請見伺服器日誌。",
        ),
        AlertKind::BackupFailed => (
            "Remove the cause. A scheduled backup is tried again within an hour.",
            "請排除原因。排程備份會在一小時內重試。",
        ),
        AlertKind::BackupOverdue => (
            "See the page of the backups for the reason.",
            "原因請見備份頁面。",
        ),
    };
    match language {
        AlertLanguage::English => english,
        AlertLanguage::TraditionalChinese => chinese,
    }
}

/// Why the database cannot be written; `detail` is the name of the problem.
fn reason(language: AlertLanguage, detail: &str) -> &str {
    let (english, chinese) = match detail {
        "moved" => (
            "the file was moved, deleted or replaced",
            "檔案已被移動、刪除或取代",
        ),
        "damaged" => ("the file is damaged", "檔案已損毀"),
        "disk" => ("the disk is full or fails", "磁碟已滿或故障"),
        "locked" => ("another program locks it", "被其他程式鎖定"),
        _ => ("see the log of the server", "請見伺服器日誌"),
    };
    match language {
        AlertLanguage::English => english,
        AlertLanguage::TraditionalChinese => chinese,
    }
}

/// The page that shows more.
pub fn page(kind: AlertKind, subject: &str) -> String {
    let number = subject.split(':').next().unwrap_or_default();
    let of_number = |folder: &str| match number.parse::<i64>() {
        Ok(id) => format!("/{folder}/{id}"),
        Err(_) => format!("/{folder}"),
    };
    match kind {
        AlertKind::KeyLeaked | AlertKind::KeyDead => of_number("upstream-keys"),
        AlertKind::BudgetUsed | AlertKind::BudgetNearlyUsed => of_number("client-keys"),
        AlertKind::BackupFailed | AlertKind::BackupOverdue => "/backups".to_owned(),
        AlertKind::NoKey | AlertKind::PoolLow => "/upstream-keys".to_owned(),
        AlertKind::EgressBroken => "/egress-proxies".to_owned(),
        AlertKind::GoogleUnreachable
        | AlertKind::AddressThrottled
        | AlertKind::ClockWrong
        | AlertKind::DiskLow
        | AlertKind::DatabaseFailing => "/status".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::alert_targets::tests::webhook;

    fn event(kind: AlertKind, subject: &str, detail: &str) -> AlertEvent {
        AlertEvent {
            kind,
            subject: subject.to_owned(),
            severity: kind.severity(),
            detail: detail.to_owned(),
            key_state: None,
            began_at: Timestamp::from_millis(1_796_022_240_000),
            ended_at: Some(Timestamp::from_millis(1_796_025_840_000)),
        }
    }

    #[test]
    fn a_message_says_what_since_when_what_to_do_and_where() {
        let mut terms = webhook("ops", &[]);
        terms.language = AlertLanguage::English;
        let leaked = event(AlertKind::KeyLeaked, "7", "main …abcd");
        let url = Some("https://pool.example.com");

        let begin = AlertMessage::of_event("msg_1", AlertPhase::Begin, &leaked, &terms, url);
        let end = AlertMessage::of_event("msg_1", AlertPhase::End, &leaked, &terms, None);
        terms.language = AlertLanguage::TraditionalChinese;
        let chinese = AlertMessage::of_event("msg_1", AlertPhase::End, &leaked, &terms, url);

        assert_eq!(
            begin.whole_text(),
            "Google reports an upstream key as leaked: main …abcd\nSince 2026-11-30 15:04 +08:00\nDelete the key at Google, find out \
             where it was published, and add a new one.\nhttps://pool.example.com/upstream-keys/7"
        );
        assert_eq!(
            end.whole_text(),
            "Over: Google reports an upstream key as leaked: main …abcd\nFrom 2026-11-30 15:04 +08:00 to 2026-11-30 16:04 +08:00\nNothing needs to be done."
        );
        assert_eq!(
            chinese.whole_text(),
            "已解除：Google 回報上游金鑰已外洩：main …abcd\n期間：2026-11-30 15:04 +08:00 至 2026-11-30 16:04 +08:00\n不需要採取任何動作。\n\
             https://pool.example.com/upstream-keys/7"
        );
    }

    #[test]
    fn every_alert_has_a_title_and_a_page_in_both_languages() {
        let (english, chinese) = (AlertLanguage::English, AlertLanguage::TraditionalChinese);
        for kind in AlertKind::ALL.iter().copied() {
            let title_in = |language| title(language, kind, "12:cost_per_month", "detail", None);
            let (title, other) = (title_in(english), title_in(chinese));
            assert!(title.is_ascii() && !other.is_ascii(), "{title} {other}");
            assert!(page(kind, "").starts_with('/'));
        }
        let rest = title(english, AlertKind::KeyDead, OTHER_SUBJECTS, "13", None);
        assert_eq!(rest, "Upstream key refused by Google: 13 more");
        // A label may end like a state, which is no part of it.
        let state = Some(KeyState::Suspended);
        let of_key = |language| title(language, AlertKind::KeyDead, "7", "web (invalid)", state);
        let of_client = |language| {
            title(
                language,
                AlertKind::BudgetUsed,
                "12:cost_per_month",
                "web",
                None,
            )
        };
        assert_eq!(
            [
                of_key(english),
                of_key(chinese),
                of_client(english),
                of_client(chinese)
            ],
            [
                "Google refuses an upstream key: web (invalid) (suspended)",
                "Google 拒絕上游金鑰：web (invalid)（已停權）",
                "A client key has used up its limit: web (cost per month)",
                "用戶端金鑰已用完額度：web（每月費用）",
            ]
        );
        assert_eq!(page(AlertKind::KeyDead, OTHER_SUBJECTS), "/upstream-keys");
        assert_eq!(
            page(AlertKind::BudgetUsed, "12:cost_per_month"),
            "/client-keys/12"
        );
    }
}
