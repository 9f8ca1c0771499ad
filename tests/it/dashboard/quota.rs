//! The quota page shows what is used, limited and held back, as the answers of Google have it.

use gemini_pool::demo::fake_gemini::FakeConfig;
use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::demo::fake_gemini::quota::ProjectQuota;

use reqwest::Method;
use serde_json::json;

use crate::support::admin::AdminClient;
use crate::support::{TestPool, eventually};

const MODEL: &str = "gemini-2.5-flash";

/// Three free projects that may send two requests a day.
async fn pool() -> TestPool {
    let keys = (1..=3).map(|number| {
        let key = format!("AIza-key-of-the-quota-page-{number:0>6}");
        FakeKey::healthy(key, number.to_string())
    });
    let mut config = FakeConfig::with_keys(keys);
    for project in ["1", "2", "3"] {
        config = config.quota(project, ProjectQuota::free(None, None, Some(2)));
    }
    TestPool::start_with(config, &[("wait_for_key_seconds", "0")]).await
}

/// The text of the cells of a page that contain a text, without tags.
fn text_of(page: &str) -> String {
    let mut text = String::new();
    let mut is_tag = false;
    for letter in page.chars() {
        match letter {
            '<' => is_tag = true,
            '>' => {
                is_tag = false;
                text.push(' ');
            }
            letter if !is_tag => text.push(letter),
            _ => {}
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn used_and_inherited_limits_are_shown_and_a_shortage_is_forecast() {
    let pool = pool().await;
    let mut admin = AdminClient::sign_in(&pool).await;
    let before = text_of(&admin.get_page("/quota").await);
    assert!(before.contains("No model has been used today"), "{before}");

    for _ in 0..6 {
        assert_eq!(pool.generate().await.status(), 200);
    }
    let refused = pool.generate().await.status();
    assert_eq!(refused, 429);

    let page = text_of(&admin.get_page("/quota").await);
    // Six requests of the three limits of two, some of which are inherited.
    assert!(page.contains(&format!("{MODEL} 6 6 0")), "{page}");
    assert_eq!(page.matches("2 / 2").count(), 3, "{page}");
    assert!(page.contains("reported by Google · since"), "{page}");
    assert!(page.contains("back in"), "{page}");
    let of_model = text_of(&admin.get_page(&format!("/quota?model={MODEL}")).await);
    assert_eq!(of_model.matches("2 / 2").count(), 3, "{of_model}");
    assert!(of_model.contains("tokens per minute"), "{of_model}");
    let of_project = text_of(&admin.get_page("/quota?project=2").await);
    assert!(of_project.contains("Projects 1 "), "{of_project}");
    let none = text_of(&admin.get_page("/quota?project=none&page=x").await);
    assert!(none.contains("No project matches"), "{none}");
}

#[tokio::test]
async fn a_model_without_quota_is_a_note() {
    let key = FakeKey::healthy("AIza-key-of-the-quota-page-000001", "1");
    let config = FakeConfig::with_keys([key]).quota("1", ProjectQuota::free(None, None, Some(0)));
    let pool = TestPool::start_with(config, &[("wait_for_key_seconds", "0")]).await;
    let mut admin = AdminClient::sign_in(&pool).await;
    assert_ne!(pool.generate().await.status(), 200);

    let page = admin.get_page("/quota").await;

    let text = text_of(&page);
    assert!(text.contains("no project has it"), "{text}");
    assert!(text.contains("not offered"), "{text}");
    assert!(!page.contains("heat-full"), "{text}");
}

#[tokio::test]
async fn the_log_is_replayed_with_one_setting_changed() {
    let pool = pool().await;
    for _ in 0..6 {
        assert_eq!(pool.generate().await.status(), 200);
    }
    for _ in 0..3 {
        assert_eq!(pool.generate().await.status(), 429);
    }
    let mut admin = AdminClient::sign_in(&pool).await;
    assert!(
        admin
            .get_page("/quota")
            .await
            .contains("href=\"/quota/what-if\"")
    );
    let form = text_of(&admin.get_page("/quota/what-if").await);
    assert!(form.contains("Now: wait 0 s, 4 attempts"), "{form}");
    let ask = [
        ("setting", "more_projects"),
        ("number", "many"),
        ("hours", "1"),
    ];
    let wrong = admin.submit("/quota/what-if", &ask).await;
    assert_eq!(wrong.status(), 422);
    assert!(
        wrong
            .text()
            .await
            .unwrap()
            .contains("aria-invalid=\"true\"")
    );

    let ask = [
        ("setting", "more_projects"),
        ("number", "1"),
        ("hours", "1"),
    ];
    let asked = admin.submit("/quota/what-if", &ask).await;
    assert_eq!(asked.status(), 303);
    let job = asked.headers()["location"].to_str().unwrap().to_owned();
    let id = job.rsplit('/').next().unwrap().to_owned();
    let api = pool.admin_api().await;
    let ended = eventually("the replay ends", async || {
        let job = api.get(&format!("/jobs/{id}")).await;
        (job["ended"] == true).then_some(job)
    })
    .await;

    let page = text_of(&admin.get_page(&job).await);
    for text in [
        "More projects with one key each: 1",
        "9 requests were replayed with 3 usable keys",
        "Answered 6 6 8",
        "Refused: no key or quota 3 3 1",
        "100.0 % of the requests end in the replay",
        "What the replay cannot know",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    let result = &ended["what_if"];
    assert_eq!(result["changed"]["answered"], 8, "{ended}");
    // The limits were not known before three attempts met them; the replay knows them from the beginning.
    for (figures, attempts) in [("actual", 9), ("present", 6)] {
        let figures = &result[figures];
        assert_eq!(
            (&figures["answered"], &figures["refused"]),
            (&json!(6), &json!(3))
        );
        assert_eq!(figures["attempts"], attempts);
    }
    assert_eq!(result["left_out"], 0);
    let by_api = json!({ "setting": "wait_for_key_seconds", "value": "20", "hours": 1 });
    let started = api.post("/quota/what-if", &by_api).await;
    assert_eq!(
        (started.status.as_u16(), &started.json["kind"]),
        (202, &json!("what_if"))
    );
    let wrong = json!({ "setting": "max_attempts", "value": "0" });
    assert_eq!(api.post("/quota/what-if", &wrong).await.status, 422);
    // The page of key jobs does not show it.
    let other = admin.request(Method::GET, &format!("/upstream-keys/jobs/{id}"));
    assert_eq!(other.send().await.unwrap().status(), 404);
}
