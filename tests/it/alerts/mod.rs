//! Alerts begin and end once, and each message reaches each receiver once, whatever the others do.

mod mail_over_tls;
pub mod receivers;
mod wrong_clock;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gemini_pool::app::App;
use gemini_pool::cli::serve::prepare;
use gemini_pool::clock::{self, Timestamp};
use gemini_pool::demo::fake_gemini::FakeConfig;
use gemini_pool::demo::fake_gemini::behaviour::{Behaviour, FakeKey};
use gemini_pool::pool::alert_schedule::{DeliveryState, QuietHours};
use gemini_pool::pool::alerts::{AlertKind, AlertObservation};
use gemini_pool::pool::retention::LowDisk;
use gemini_pool::pool::secret::Secret;
use gemini_pool::storage::alert_deliveries::{self, ListedAlertDelivery};
use gemini_pool::storage::alert_targets::{
    self, AlertLanguage, AlertTargetId, AlertTargetKind, AlertTargetTerms,
};
use gemini_pool::storage::audit::{Act, Actor};
use gemini_pool::storage::backups::BackupKind;
use gemini_pool::storage::data_keys::DataKeys;
use gemini_pool::storage::db::Db;
use gemini_pool::storage::error::Error;
use gemini_pool::storage::paging::PagePosition;
use gemini_pool::storage::{alert_events, upstream_keys};
use gemini_pool::tasks::observe_alerts::observe;
use gemini_pool::tasks::send_alerts::{AlertWatch, pass};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::support::process::database_url;
use crate::support::{TestPool, config, eventually};
use receivers::{MailEncryption, MailReceiver, Receiver};

const PERIOD: Duration = Duration::from_secs(15);
const SIGNING_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A server's state without the server, whose own loop would send too; the time is passed in.
struct Fixture {
    folder: tempfile::TempDir,
    app: Arc<App>,
    alerts: AlertWatch,
    now: Timestamp,
}

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&database_url(folder.path())).await.unwrap();
        db.migrate().await.unwrap();
        db.close().await;
        Self::open(folder, clock::now()).await
    }

    async fn open(folder: tempfile::TempDir, now: Timestamp) -> Self {
        let mut config = config(&database_url(folder.path()), "http://127.0.0.1:9");
        config.public_url = Some("https://pool.example.com".to_owned());
        let db = Db::open(&config.database_url).await.unwrap();
        let (app, writer) = prepare(config, db).await.unwrap();
        tokio::spawn(writer.run());
        Self {
            folder,
            app,
            alerts: AlertWatch::default(),
            now,
        }
    }

    /// The same database in another process, some time later.
    async fn restart(self) -> Self {
        self.app.db.close().await;
        Self::open(self.folder, self.now + PERIOD).await
    }

    async fn add(&self, terms: AlertTargetTerms) -> AlertTargetId {
        let mut tx = self.app.db.begin().await.unwrap();
        let act = Act::without_revision(Actor::cli(), self.now);
        let keys = DataKeys::default();
        let id = alert_targets::insert(&mut tx, &keys, &terms, &act)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        id.unwrap()
    }

    /// Observes and sends so many times.
    async fn pass(&mut self, times: usize) {
        for _ in 0..times {
            pass(&self.app, &mut self.alerts, self.now).await;
            self.now = self.now + PERIOD;
        }
    }

    /// A critical condition.
    fn set_disk_low(&self, is_low: bool) {
        *self.app.low_disk.lock() = is_low.then_some(LowDisk {
            free_bytes: 5 * 1_024 * 1_024,
            is_log_short: false,
        });
    }

    async fn messages(&self) -> Vec<ListedAlertDelivery> {
        let listed = alert_deliveries::list(&self.app.db.readers, PagePosition::Newest, 100).await;
        let mut messages = listed.unwrap().items;
        messages.reverse();
        messages
    }
}

fn target(kind: AlertTargetKind, name: &str, address: &str) -> AlertTargetTerms {
    AlertTargetTerms {
        kind,
        name: name.to_owned(),
        address: Secret::new(address),
        secret: Secret::new(""),
        server: None,
        sender: None,
        events: Vec::new(),
        quiet: None,
        zone: "Asia/Taipei".to_owned(),
        language: AlertLanguage::English,
    }
}

fn webhook(name: &str, receiver: &Receiver) -> AlertTargetTerms {
    let url = format!("{}/the-secret-path", receiver.url);
    AlertTargetTerms {
        secret: Secret::new(SIGNING_SECRET),
        ..target(AlertTargetKind::Webhook, name, &url)
    }
}

/// As a receiver verifies it, by the specification.
fn assert_signed(received: &receivers::Received) {
    let key = STANDARD.decode(&SIGNING_SECRET["whsec_".len()..]).unwrap();
    let mut hmac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    let (id, time) = (
        received.header("webhook-id"),
        received.header("webhook-timestamp"),
    );
    hmac.update(format!("{id}.{time}.{}", received.text).as_bytes());
    let expected = format!("v1,{}", STANDARD.encode(hmac.finalize().into_bytes()));
    assert_eq!(received.header("webhook-signature"), expected);
}

#[tokio::test]
async fn begin_and_end_are_sent_once_in_each_form() {
    let mut fixture = Fixture::new().await;
    let [hook, slack, discord, telegram] = [
        Receiver::start().await,
        Receiver::start().await,
        Receiver::start().await,
        Receiver::start().await,
    ];
    discord.answer(204);
    fixture.add(webhook("hook", &hook)).await;
    let slack_url = format!("{}/services/T/B/x", slack.url);
    fixture
        .add(target(AlertTargetKind::Slack, "slack", &slack_url))
        .await;
    let discord_url = format!("{}/api/webhooks/1/x", discord.url);
    fixture
        .add(target(AlertTargetKind::Discord, "discord", &discord_url))
        .await;
    let bot = AlertTargetTerms {
        secret: Secret::new("123456:token"),
        server: Some(telegram.url.clone()),
        language: AlertLanguage::TraditionalChinese,
        ..target(AlertTargetKind::Telegram, "telegram", "-1001")
    };
    fixture.add(bot).await;
    let all = [&hook, &slack, &discord, &telegram];

    fixture.set_disk_low(true);
    fixture.pass(1).await;
    assert!(all.iter().all(|receiver| receiver.count() == 0));
    fixture.pass(4).await;

    assert!(all.iter().all(|receiver| receiver.count() == 1));
    let begin = hook.take().remove(0);
    assert_signed(&begin);
    assert_eq!(begin.body["type"], "alert.begin");
    assert_eq!(begin.body["data"]["kind"], "disk_low");
    assert_eq!(begin.body["data"]["severity"], "critical");
    assert_eq!(begin.body["data"]["url"], "https://pool.example.com/status");
    let title = "The disk of the database is nearly full: 5 MiB left";
    assert_eq!(begin.body["data"]["title"], title);
    let text = slack.take().remove(0).body["text"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        text.starts_with(title) && text.contains("\nSince 20"),
        "{text}"
    );
    assert!(
        text.ends_with("\nhttps://pool.example.com/status"),
        "{text}"
    );
    let message = discord.take().remove(0).body;
    assert_eq!(message["content"], text);
    assert_eq!(message["allowed_mentions"]["parse"], serde_json::json!([]));
    let message = telegram.take().remove(0);
    assert_eq!(message.path, "/bot123456:token/sendMessage");
    assert_eq!(message.body["chat_id"], "-1001");
    let chinese = message.body["text"].as_str().unwrap();
    assert!(
        chinese.starts_with("資料庫所在的磁碟即將用盡，剩餘 5 MiB"),
        "{chinese}"
    );

    fixture.set_disk_low(false);
    fixture.pass(5).await;
    assert!(all.iter().all(|receiver| receiver.count() == 1));
    let end = hook.take().remove(0);
    assert_signed(&end);
    assert_eq!(end.body["type"], "alert.end");
    assert_ne!(end.header("webhook-id"), begin.header("webhook-id"));
    assert_eq!(end.body["data"]["began_at"], begin.body["data"]["began_at"]);
    let open = alert_events::list_open(&fixture.app.db.readers)
        .await
        .unwrap();
    assert_eq!(open, []);
}

#[tokio::test]
async fn a_receiver_that_is_down_gets_begin_and_end_later_in_order() {
    let mut fixture = Fixture::new().await;
    let receiver = Receiver::start().await;
    fixture.add(webhook("hook", &receiver)).await;
    receiver.answer(500);
    fixture.set_disk_low(true);
    fixture.pass(2).await;
    fixture.set_disk_low(false);
    fixture.pass(3).await;

    let failed = receiver.take();
    assert!(failed.len() > 1, "{failed:?}");
    assert!(failed.iter().all(|each| each.body["type"] == "alert.begin"));
    let messages = fixture.messages().await;
    assert!(
        messages
            .iter()
            .all(|message| message.state == DeliveryState::Pending)
    );
    let error = messages[0].last_error.clone().unwrap();
    assert_eq!(error, "status 500: no: …");

    receiver.answer(200);
    fixture.now = fixture.now + Duration::from_hours(1);
    fixture.pass(3).await;
    let sent = receiver.take();
    let types: Vec<_> = sent.iter().map(|each| each.body["type"].clone()).collect();
    assert_eq!(types, ["alert.begin", "alert.end"]);
    for each in failed.iter().chain(&sent[..1]) {
        assert_signed(each);
        assert_eq!(each.header("webhook-id"), sent[0].header("webhook-id"));
    }
    let messages = fixture.messages().await;
    assert!(
        messages
            .iter()
            .all(|message| message.state == DeliveryState::Sent)
    );
}

#[tokio::test]
async fn a_receiver_that_never_comes_back_is_given_up_after_a_day() {
    let mut fixture = Fixture::new().await;
    let receiver = Receiver::start().await;
    fixture.add(webhook("hook", &receiver)).await;
    receiver.answer(500);
    fixture.set_disk_low(true);
    fixture.pass(2).await;
    for _ in 0..200 {
        fixture.now = fixture.now + Duration::from_mins(15);
        fixture
            .alerts
            .start_sending(&fixture.app, fixture.now)
            .await;
        fixture.alerts.finish(fixture.now).await;
    }

    let attempts = receiver.count();
    assert!((25..40).contains(&attempts), "{attempts}");
    assert_eq!(fixture.messages().await[0].state, DeliveryState::Failed);
}

#[tokio::test]
async fn a_slow_receiver_delays_no_other_and_loses_nothing() {
    let mut fixture = Fixture::new().await;
    let (slow, quick) = (Receiver::start_hanging().await, Receiver::start().await);
    fixture.add(webhook("slow", &slow)).await;
    fixture.add(webhook("quick", &quick)).await;
    fixture.set_disk_low(true);
    fixture.pass(1).await;

    fixture.alerts.observe(&fixture.app, fixture.now).await;
    fixture
        .alerts
        .start_sending(&fixture.app, fixture.now)
        .await;
    eventually("both have the begin", async || {
        (slow.count() == 1 && quick.count() == 1).then_some(())
    })
    .await;
    fixture.set_disk_low(false);
    for _ in 0..3 {
        fixture.now = fixture.now + PERIOD;
        fixture.alerts.observe(&fixture.app, fixture.now).await;
        fixture
            .alerts
            .start_sending(&fixture.app, fixture.now)
            .await;
        let now = fixture.now;
        eventually("the quick worker has ended", async || {
            fixture.alerts.start_sending(&fixture.app, now).await;
            let messages = fixture.messages().await;
            let mut quick = messages.iter().filter(|message| message.target == "quick");
            quick
                .all(|message| message.state == DeliveryState::Sent)
                .then_some(())
        })
        .await;
    }
    assert_eq!(quick.count(), 2);
    assert_eq!(slow.count(), 1);

    slow.release();
    fixture.alerts.finish(fixture.now).await;
    fixture.pass(2).await;
    let types: Vec<_> = slow
        .take()
        .iter()
        .map(|each| each.body["type"].clone())
        .collect();
    assert_eq!(types, ["alert.begin", "alert.end"]);
}

#[tokio::test]
async fn a_restart_sends_the_rest_and_nothing_twice() {
    let mut fixture = Fixture::new().await;
    let (down, up) = (Receiver::start().await, Receiver::start().await);
    fixture.add(webhook("down", &down)).await;
    fixture.add(webhook("up", &up)).await;
    down.answer(503);
    fixture.set_disk_low(true);
    fixture.pass(2).await;
    assert_eq!((down.take().len(), up.take().len()), (1, 1));

    let mut fixture = fixture.restart().await;
    down.answer(200);
    fixture.set_disk_low(true);
    fixture.pass(3).await;

    let sent = down.take();
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert_eq!(sent[0].body["type"], "alert.begin");
    assert_eq!(up.count(), 0);
    fixture.set_disk_low(false);
    fixture.pass(3).await;
    assert_eq!((down.take().len(), up.take().len()), (1, 1));
}

#[tokio::test]
async fn an_alert_whose_cause_only_memory_has_does_not_end_by_a_restart() {
    let mut fixture = Fixture::new().await;
    let receiver = Receiver::start().await;
    fixture.add(webhook("hook", &receiver)).await;
    let run = fixture.app.backups.begin(fixture.now).unwrap();
    run.fail("no space".to_owned());
    fixture.pass(2).await;
    let kinds = [AlertKind::GoogleUnreachable, AlertKind::AddressThrottled];
    let mut tx = fixture.app.db.begin().await.unwrap();
    for kind in kinds {
        let mut observation = AlertObservation::default();
        observation.add(kind, "", "");
        let condition = observation.conditions.remove(0);
        let inserted = alert_events::insert(&mut tx, &condition, fixture.now).await;
        inserted.unwrap();
    }
    tx.commit().await.unwrap();
    receiver.take();

    let mut fixture = fixture.restart().await;
    fixture.pass(3).await;
    let run = fixture.app.backups.begin(fixture.now).unwrap();
    fixture.pass(3).await;
    assert!(receiver.take().is_empty());
    run.create(&fixture.app.db, BackupKind::Manual, &Actor::cli())
        .await
        .unwrap();
    fixture.pass(3).await;

    let ended = receiver.take();
    assert_eq!(ended.len(), 1, "{ended:?}");
    assert_eq!(ended[0].body["type"], "alert.end");
    assert_eq!(ended[0].body["data"]["kind"], "backup_failed");
    let open = alert_events::list_open(&fixture.app.db.readers)
        .await
        .unwrap();
    let open: Vec<_> = open.iter().map(|event| event.kind).collect();
    assert_eq!(open.len(), kinds.len());
    assert!(kinds.iter().all(|kind| open.contains(kind)), "{open:?}");
}

#[tokio::test]
async fn whether_google_is_reached_is_known_from_its_first_answer() {
    let keys = [FakeKey::healthy("AIza-key-of-alerts-0000001", "projects/1")];
    let pool = TestPool::with_keys(keys).await;
    let kinds = [AlertKind::GoogleUnreachable, AlertKind::AddressThrottled];
    let unknown = async || observe(&pool.app, clock::now()).await.unknown;
    let before = unknown().await;
    assert!(kinds.iter().all(|kind| before.contains(kind)), "{before:?}");

    pool.generate().await;

    let after = unknown().await;
    assert!(!kinds.iter().any(|kind| after.contains(kind)), "{after:?}");
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_disabled() {
    let mut fixture = Fixture::new().await;
    let receiver = Receiver::start().await;
    let id = fixture.add(webhook("hook", &receiver)).await;
    receiver.answer(410);
    fixture.set_disk_low(true);
    fixture.pass(2).await;
    fixture.set_disk_low(false);
    fixture.pass(3).await;

    assert_eq!(receiver.count(), 1);
    let target = alert_targets::find(&fixture.app.db, id).await.unwrap();
    assert!(!target.enabled);
    let messages = fixture.messages().await;
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].state, DeliveryState::Failed);
}

#[tokio::test]
async fn a_target_gets_only_the_events_it_wants_and_warnings_after_its_quiet_hours() {
    let mut fixture = Fixture::new().await;
    let (quiet, other) = (Receiver::start().await, Receiver::start().await);
    let terms = AlertTargetTerms {
        // The whole day but for the minute before midnight.
        quiet: QuietHours::new(0, 23 * 60 + 59),
        zone: "UTC".to_owned(),
        ..webhook("quiet", &quiet)
    };
    fixture.add(terms).await;
    let terms = AlertTargetTerms {
        events: vec![AlertKind::NoKey],
        ..webhook("other", &other)
    };
    fixture.add(terms).await;
    fixture.now = "2027-01-01T08:00:00Z".parse().unwrap();
    let run = fixture.app.backups.begin(fixture.now).unwrap();
    run.fail("no space".to_owned());
    fixture.set_disk_low(true);

    fixture.pass(2).await;
    let sent = quiet.take();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].body["data"]["kind"], "disk_low");
    fixture.now = "2027-01-01T23:59:00Z".parse().unwrap();
    fixture.pass(1).await;
    let sent = quiet.take();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].body["data"]["kind"], "backup_failed");
    assert_eq!(other.count(), 0);
}

#[tokio::test]
async fn that_the_database_fails_is_sent_from_memory_and_stored_later() {
    let mut fixture = Fixture::new().await;
    let (up, down) = (Receiver::start().await, Receiver::start().await);
    fixture.add(webhook("up", &up)).await;
    fixture.add(webhook("down", &down)).await;
    down.answer(500);
    fixture.pass(1).await;
    let path = fixture.app.db.path().clone();
    let moved = Err(Error::FileMoved(path.clone()));
    fixture.app.recorder.record_probe(&moved, &path);

    fixture.pass(2).await;
    let sent = up.take();
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert_signed(&sent[0]);
    assert_eq!(sent[0].body["data"]["kind"], "database_failing");
    let failed = down.take();
    assert_eq!(failed.len(), 1);
    assert_eq!(fixture.messages().await, []);

    fixture.app.recorder.record_probe(&Ok(()), &path);
    down.answer(200);
    fixture.pass(3).await;
    let types = |receiver: &Receiver| {
        let received = receiver.take();
        let types = received.iter().map(|each| each.body["type"].clone());
        types.collect::<Vec<_>>()
    };
    assert_eq!(types(&up), ["alert.end"]);
    assert_eq!(types(&down), ["alert.begin", "alert.end"]);
    assert_eq!(fixture.messages().await.len(), 4);
}

#[tokio::test]
async fn mail_is_sent_without_a_password_where_nothing_is_encrypted() {
    let mut fixture = Fixture::new().await;
    let receiver = MailReceiver::start(MailEncryption::None).await;
    let mail = |name: &str, scheme: &str, user: &str| AlertTargetTerms {
        server: Some(format!("{scheme}://{user}127.0.0.1:{}", receiver.port)),
        sender: Some("gemini-pool <pool@example.com>".to_owned()),
        secret: Secret::new("the-password-of-the-mailbox"),
        language: AlertLanguage::TraditionalChinese,
        ..target(AlertTargetKind::Email, name, "ops@example.com")
    };
    fixture.add(mail("plain", "smtp", "")).await;
    fixture.add(mail("required", "smtp+starttls", "ops@")).await;
    fixture.set_disk_low(true);
    fixture.pass(2).await;

    let mut said = Vec::new();
    eventually("both connections are closed", async || {
        said.extend(receiver.take());
        (said.len() == 2).then_some(())
    })
    .await;
    assert!(said.iter().all(|said| !said.contains("AUTH")), "{said:?}");
    let sent: Vec<_> = said
        .iter()
        .filter(|said| said.contains("\r\nDATA\r\n"))
        .collect();
    assert_eq!(sent.len(), 1, "{said:?}");
    for part in [
        "MAIL FROM:<pool@example.com>",
        "RCPT TO:<ops@example.com>",
        "Message-ID: <msg_",
        "Subject: ",
        "charset=utf-8",
    ] {
        assert!(sent[0].contains(part), "{part}: {}", sent[0]);
    }
    let messages = fixture.messages().await;
    let of = |name: &str| {
        messages
            .iter()
            .find(|message| message.target == name)
            .unwrap()
    };
    assert_eq!(of("plain").state, DeliveryState::Sent);
    assert_eq!(of("required").state, DeliveryState::Pending);
    let error = of("required").last_error.clone().unwrap();
    assert!(error.to_lowercase().contains("starttls"), "{error}");
}

#[tokio::test]
async fn dead_keys_few_keys_and_used_budgets_are_observed() {
    let pool = TestPool::start_with(
        FakeConfig::with_keys([
            FakeKey::healthy("AIza-key-of-alerts-0000001", "projects/1"),
            FakeKey::new(
                "AIza-key-of-alerts-0000002",
                "projects/2",
                Behaviour::Leaked,
            ),
            FakeKey::new(
                "AIza-key-of-alerts-0000003",
                "projects/3",
                Behaviour::Invalid,
            ),
        ]),
        &[("alert_min_usable_keys", "5")],
    )
    .await;
    pool.allow(|terms| {
        terms.limits.requests_per_day = Some(5);
        terms.limits.tokens_per_minute = Some(1_000_000);
    })
    .await;
    let observed = async || {
        pool.settled().await;
        let found = observe(&pool.app, clock::now()).await;
        let conditions = found.conditions.into_iter();
        let conditions = conditions.map(|condition| {
            let (key, detail, state) = (condition.key, condition.detail, condition.key_state);
            format!("{} {:?} {detail} {state:?}", key.kind.name(), key.subject)
        });
        conditions.collect::<Vec<_>>()
    };
    assert_eq!(observed().await, [""; 0]);

    for _ in 0..4 {
        pool.generate().await;
    }
    let states = upstream_keys::listed::list(pool.settled().await, clock::now()).await;
    let label = |index: usize| states.as_ref().unwrap()[index].label.clone();
    let mut expected = vec![
        "pool_low \"\" 1 None".to_owned(),
        format!(
            "key_leaked \"2\" {} Some(Leaked)",
            format!("{} …0002", label(1)).trim()
        ),
        format!(
            "key_dead \"3\" {} Some(Invalid)",
            format!("{} …0003", label(2)).trim()
        ),
        "budget_nearly_used \"1:requests_per_day\" CLIENT None".to_owned(),
    ];
    let client = pool.app.client_keys().iter().next().unwrap().name.clone();
    expected[3] = expected[3].replace("CLIENT", &client);
    assert_eq!(observed().await, expected);
    pool.generate().await;
    expected.push(format!("budget_used \"1:requests_per_day\" {client} None"));
    assert_eq!(observed().await, expected);
    pool.set(&[("alert_min_usable_keys", "1")]).await;
    assert_eq!(observed().await, expected[1..]);
}
