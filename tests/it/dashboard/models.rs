//! The models page shows what was served, and a price of the admin's own counts at once.

use std::time::Duration;

use gemini_pool::clock;
use gemini_pool::demo::fake_gemini::behaviour::{Behaviour, FakeKey};
use gemini_pool::tasks::{list_models, recheck_keys};
use reqwest::Method;
use serde_json::json;

use crate::support::TestPool;
use crate::support::admin::AdminClient;

#[tokio::test]
async fn an_own_price_is_shown_and_counts_for_the_next_request() {
    let key = FakeKey::healthy("AIza-key-of-the-models-page-00001", "projects/1");
    let pool = TestPool::with_keys([key]).await;
    let mut admin = AdminClient::sign_in(&pool).await;
    let empty = admin.get_page("/models").await;
    assert!(empty.contains("No models yet"));

    assert_eq!(pool.generate().await.status(), 200);
    let page = admin.get_page("/models").await;
    assert!(page.contains("gemini-2.5-flash") && page.contains("$0.30 / $2.50"));
    for span in ["24 hours", "30 days"] {
        let cell = page.split_once(&format!("data-label=\"{span}\">"));
        let cell = cell.unwrap().1.split_once("</td>").unwrap().0;
        assert!(cell.contains('1'), "{span}: {cell}");
    }
    pool.set(&[("model_prices", "gemini-2.5-flash=1000/1000")])
        .await;
    assert_eq!(pool.generate().await.status(), 200);

    let rows = pool.finished_rows(2).await;
    let costs: Vec<_> = rows.iter().map(|row| row.cost_usd.unwrap()).collect();
    assert!(costs[1] > costs[0] * 100.0, "{costs:?}");
    let page = admin.get_page("/models").await;
    assert!(page.contains("$1000.00 / $1000.00") && page.contains("your price"));
    pool.assert_sums_agree().await;
}

#[tokio::test]
async fn the_models_are_the_union_of_the_lists_of_the_projects() {
    let pool = TestPool::with_keys([
        FakeKey::healthy("AIza-key-of-the-model-lists-0001", "projects/1"),
        FakeKey::new(
            "AIza-key-of-the-model-lists-0002",
            "projects/2",
            Behaviour::ModelRetired("gemini-2.5-pro".to_owned()),
        ),
    ])
    .await;
    let mut admin = AdminClient::sign_in(&pool).await;
    let api = pool.admin_api().await;
    let model = async |name: &str| {
        let models = api.get("/models").await;
        let models = models["items"].as_array().unwrap().clone();
        models.into_iter().find(|model| model["model"] == name)
    };
    assert_eq!(model("gemini-2.5-pro").await, None);

    // The check of a new key reads the list of its project with the request that it sends anyway.
    pool.set(&[("check_new_keys", "on")]).await;
    let now = clock::now();
    assert_eq!(recheck_keys::pass(&pool.app, now).await.keys, 2);

    let pro = model("gemini-2.5-pro").await.unwrap();
    assert_eq!(
        (&pro["projects"], &pro["input_token_limit"]),
        (&json!(1), &json!(1_048_576))
    );
    assert_eq!(pro["methods"][0], "generateContent");
    assert_eq!(pro["price"]["input_usd"], 1.25);
    assert_eq!(model("gemini-2.5-flash").await.unwrap()["projects"], 2);
    let page = admin.get_page("/models").await;
    assert!(page.contains("What the lists of 2 projects name"));
    assert!(page.contains("1M tokens in"));
    assert!(page.contains("href=\"/models/detail?name=gemini-2.5-pro\""));
    let searched = admin.get_page("/models?q=2.5-pro").await;
    assert!(searched.contains("gemini-2.5-pro") && !searched.contains("gemini-2.5-flash<"));
    assert!(
        admin
            .get_page("/models?q=nothing")
            .await
            .contains("No model matches")
    );
    let detail = admin.get_page("/models/detail?name=gemini-2.5-pro").await;
    for text in [
        "of 2 whose lists were read",
        "Projects that do not list it",
        "generateContent",
        "$1.25 / $10.00",
    ] {
        assert!(detail.contains(text), "{text}");
    }
    let unknown = admin
        .request(Method::GET, "/models/detail?name=gemini-99")
        .send()
        .await
        .unwrap();
    assert_eq!(unknown.status(), 404);
    assert!(
        admin
            .get_page("/try")
            .await
            .contains("<option value=\"gemini-2.5-pro\">")
    );

    // A day later a working key reads the list again, and what it no longer names is gone.
    assert_eq!(list_models::pass(&pool.app, now).await.unwrap(), 0);
    let retired = Behaviour::ModelRetired("gemini-2.5-pro".to_owned());
    pool.google
        .set_behaviour("AIza-key-of-the-model-lists-0001", retired);
    let requests = pool.finished_rows(2).await.len();
    let tomorrow = now + Duration::from_hours(25);
    assert_eq!(list_models::pass(&pool.app, tomorrow).await.unwrap(), 2);
    assert_eq!(model("gemini-2.5-pro").await, None);
    assert_eq!(model("gemini-2.5-flash").await.unwrap()["projects"], 2);
    let rows = pool.finished_rows(requests + 2).await;
    let refresh = rows.last().unwrap();
    assert_eq!(
        (refresh.operation.as_deref(), &refresh.model),
        (Some("models.list"), &None)
    );
    pool.assert_sums_agree().await;
}
