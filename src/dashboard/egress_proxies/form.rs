//! The form of an egress proxy. An address that was typed is never sent back.

use std::collections::HashMap;

use maud::{Markup, html};
use serde::Deserialize;
use sqlx::{Sqlite, Transaction};

use crate::dashboard::components::{field, text_input};
use crate::dashboard::translations::Language;
use crate::pool::egress::address::ProxyAddress;
use crate::pool::egress::proxy::{EgressProxy, EgressScope, InvalidEgressProxy, parse_label};
use crate::pool::keys::upstream_key::{ProjectId, parse_tags};
use crate::storage::egress_proxies::EgressProxyTerms;
use crate::storage::egress_proxies::listed::ListedEgressProxy;
use crate::storage::error::Result;
use crate::storage::projects;

/// The errors by field.
pub type FieldErrors = HashMap<&'static str, String>;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct EgressProxyForm {
    label: String,
    url: String,
    projects: String,
    tags: String,
}

impl EgressProxyForm {
    pub fn of(proxy: &ListedEgressProxy) -> Self {
        Self {
            label: proxy.label.clone(),
            url: String::new(),
            projects: proxy.projects.join(", "),
            tags: proxy.tags.join(", "),
        }
    }

    /// The validated terms; `before` is the proxy that is changed.
    pub async fn terms(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        language: Language,
        before: Option<&EgressProxy>,
    ) -> Result<std::result::Result<EgressProxyTerms, FieldErrors>> {
        let mut errors = FieldErrors::new();
        let label = parse_label(&self.label);
        if label.is_err() {
            errors.insert("label", language.egress_bad_label().to_owned());
        }
        let address = match before {
            Some(before) if self.url.trim().is_empty() => Ok(before.address.clone()),
            Some(_) | None => ProxyAddress::parse(&self.url),
        };
        if address.is_err() {
            errors.insert("url", language.egress_bad_url().to_owned());
        }
        let mut ids = Vec::new();
        let names = self.projects.split([',', '\n']).map(str::trim);
        for name in names.filter(|name| !name.is_empty()) {
            match find_project(tx, name).await? {
                Some(id) => ids.push(id),
                None => drop(errors.insert("projects", language.egress_unknown_project(name))),
            }
        }
        let scope = EgressScope::of(ids, parse_tags(&self.tags));
        match scope {
            Err(InvalidEgressProxy::TwoScopes) => {
                errors.insert("tags", language.egress_two_scopes().to_owned());
            }
            Err(InvalidEgressProxy::Tag | InvalidEgressProxy::Label) => {
                errors.insert("tags", language.egress_bad_tag().to_owned());
            }
            Ok(_) => {}
        }
        let (Ok(label), Ok(address), Ok(scope), true) = (label, address, scope, errors.is_empty())
        else {
            return Ok(Err(errors));
        };
        Ok(Ok(EgressProxyTerms {
            label,
            address,
            scope,
        }))
    }

    /// The fields; `shown_url` is the address of an existing proxy, without its credential.
    pub fn fields(
        &self,
        language: Language,
        shown_url: Option<&str>,
        errors: &FieldErrors,
    ) -> Markup {
        let error = |name: &str| errors.get(name).map(String::as_str);
        let keep = shown_url.map(|shown| language.egress_url_keep(shown));
        let hint = keep.as_deref().unwrap_or(language.egress_url_hint());
        let url = html! {
            input #url name="url" type="text" autocomplete="off" autocapitalize="none" spellcheck="false" required[shown_url.is_none()];
        };
        html! {
            (field("label", language.egress_label(), None, error("label"), text_input("label", &self.label)))
            (field("url", language.egress_url(), Some(hint), error("url"), url))
            (field("projects", language.egress_projects_field(), Some(language.egress_projects_hint()), error("projects"), text_input("projects", &self.projects)))
            (field("tags", language.egress_tags_field(), Some(language.egress_tags_hint()), error("tags"), text_input("tags", &self.tags)))
        }
    }
}

/// The project of this name or number; `#7` is one that has neither.
async fn find_project(tx: &mut Transaction<'_, Sqlite>, name: &str) -> Result<Option<ProjectId>> {
    let id = name.strip_prefix('#').and_then(|id| id.parse().ok());
    if let Some(id) = id {
        let found = projects::find_listed(&mut **tx, ProjectId(id)).await;
        return Ok(found.ok().map(|project| project.id));
    }
    projects::find(tx, name).await
}
