//! The quota page shows what is used, limited and held back, as the answers of Google have it.

use gemini_pool::demo::fake_gemini::FakeConfig;
use gemini_pool::demo::fake_gemini::behaviour::FakeKey;
use gemini_pool::demo::fake_gemini::quota::ProjectQuota;

use crate::support::TestPool;
use crate::support::admin::AdminClient;

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
