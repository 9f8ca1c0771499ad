//! Changes a setting on a remote server.

use anyhow::{Context, Result};
use http::Method;
use serde_json::json;

use crate::cli::remote::RemoteServer;
use crate::storage::paging::Page;
use crate::storage::settings::{ListedSetting, SettingChange};

/// Sets a setting, or resets it; `None`: it had this value already.
pub async fn change(
    server: &RemoteServer,
    name: &str,
    value: Option<&str>,
) -> Result<Option<SettingChange>> {
    let path = ["settings", name];
    let before: ListedSetting = server.get(&path, &[]).await?;
    let after: ListedSetting = match value {
        Some(value) => {
            let body = json!({ "value": value });
            server.send(Method::PUT, &path, Some(&body)).await?
        }
        None => server.send(Method::DELETE, &path, None).await?,
    };
    if before.value == after.value {
        return Ok(None);
    }
    let query = [("name", name.to_owned())];
    let latest: Page<SettingChange> = server.page(&["setting-changes"], &query, None, 1).await?;
    let latest = latest.items.into_iter().next();
    Ok(Some(latest.context("the change is in the history")?))
}
