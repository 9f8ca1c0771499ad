//! Backups are created, downloaded with the password, and deleted.

use reqwest::header::{CONTENT_DISPOSITION, CONTENT_LENGTH};

use crate::support::admin::{AdminClient, PASSWORD};
use crate::support::browser::Browser;
use crate::support::{TestPool, eventually};

#[tokio::test]
async fn a_backup_is_listed_when_it_is_complete_until_it_is_deleted() {
    let pool = TestPool::with_keys([]).await;
    let Some(browser) = Browser::start(&pool).await else {
        return;
    };
    browser.sign_in().await;

    browser.open("/backups").await;
    browser.wait_for_text("No backups yet").await;
    browser.click("Back up now").await;
    browser.wait_for_text("verified").await;
    browser.click("Download").await;
    browser
        .wait_for_text("Enter your password to continue")
        .await;
    browser.click("Cancel").await;
    browser.click("Delete…").await;
    browser.click("Delete backup").await;
    browser.wait_for_text("Deleted pool-").await;
    browser.wait_for_text("No backups yet").await;
    assert_eq!(browser.console_errors().await, [""; 0]);
}

#[tokio::test]
async fn a_backup_download_requires_the_password() {
    let pool = TestPool::with_keys([]).await;
    let mut admin = AdminClient::sign_in(&pool).await;
    assert_eq!(admin.submit("/backups", &[]).await.status(), 303);
    let backup = eventually("the backup is created", async || {
        gemini_pool::storage::backups::last(&pool.database()).unwrap()
    })
    .await;
    let path = format!("/backups/{}/download", backup.name);

    let wrong = admin.submit(&path, &[("password", "a wrong one")]).await;
    assert_eq!(wrong.status(), 422);
    assert!(wrong.headers().get(CONTENT_DISPOSITION).is_none());
    let right = admin.submit(&path, &[("password", PASSWORD)]).await;
    assert_eq!(right.status(), 200);
    let header = |name| right.headers()[name].to_str().unwrap().to_owned();
    assert!(header(CONTENT_DISPOSITION).contains(&backup.name));
    assert_eq!(header(CONTENT_LENGTH), backup.bytes.to_string());
    let file = right.bytes().await.unwrap();
    assert!(file.starts_with(b"SQLite format 3\0"));
    assert_eq!(u64::try_from(file.len()).unwrap(), backup.bytes);
    let missing = admin.submit("/backups/pool.db/download", &[("password", PASSWORD)]);
    assert_eq!(missing.await.status(), 404);
}
