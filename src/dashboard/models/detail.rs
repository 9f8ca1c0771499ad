//! `/models/detail?name=`: one model, and the projects that list it.

use std::sync::Arc;

use axum::extract::State;
use axum_extra::extract::Query;
use maud::{Markup, html};
use serde::Deserialize;

use crate::app::App;
use crate::dashboard::components::{ago, card, href, number, stat};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::{self, Section, heading};
use crate::dashboard::models::labels::{price, token_limits};
use crate::dashboard::page_context::PageContext;
use crate::error::Error;
use crate::gemini::prices;
use crate::pool::keys::overview::ModelAvailability;
use crate::pool::model_lists::ListedModel;
use crate::pool::model_prices::ModelPrices;
use crate::storage::error::Thing;
use crate::storage::model_lists::{self, ListingProject, OfferedModels};
use crate::storage::strings;

/// Projects that are listed on the page.
const MAX_PROJECTS: u32 = 200;

/// In the query: a path below `/models` is that of a client with a wrong base URL.
#[derive(Debug, Deserialize)]
pub struct DetailQuery {
    name: String,
}

struct ModelDetail<'a> {
    name: &'a str,
    offered: OfferedModels,
    available: ModelAvailability,
    prices: ModelPrices,
    /// The projects that list the model, and those that do not.
    listing: Vec<ListingProject>,
    others: Vec<ListingProject>,
}

pub async fn show(
    State(app): State<Arc<App>>,
    context: PageContext,
    Query(DetailQuery { name }): Query<DetailQuery>,
) -> Result<Markup, ErrorPage> {
    let db = &app.db.readers;
    let settings = app.settings();
    let offered = model_lists::offered(db).await?;
    let overview = app.overview(context.now).await;
    let is_known = offered.models.contains_key(&name)
        || overview.models.contains_key(&name)
        || settings.model_prices.find(&name).is_some()
        || prices::list_price(&name, context.now).is_some()
        || strings::list_models(db).await?.contains(&name);
    if !is_known {
        return Err(Error::NotFound(Thing::Model, name).into());
    }
    let detail = ModelDetail {
        listing: model_lists::list_projects(db, &name, true, MAX_PROJECTS).await?,
        others: model_lists::list_projects(db, &name, false, MAX_PROJECTS).await?,
        available: overview.model(&name),
        prices: settings.model_prices.clone(),
        name: &name,
        offered,
    };
    Ok(detail.view(&context))
}

impl ModelDetail<'_> {
    fn view(&self, context: &PageContext) -> Markup {
        let language = context.language;
        let name = self.name;
        let actions = html! {
            a.button href=(href("/try", &[("model", name)])) { (language.try_it()) }
            a.button href=(href("/usage", &[("model", name), ("span", "30d")])) { (language.usage()) }
            a.button href=(href("/logs", &[("model", name)])) { (language.usage_its_logs()) }
            a.button href=(href("/quota", &[("model", name)])) { (language.quota()) }
        };
        let body = html! {
            nav.crumbs { a href="/models" { "← " (language.models_page()) } }
            (heading(name, actions))
            (self.stats(context))
            div.cards {
                // The card of the projects says that no list names it.
                @if let Some(offered) = self.offered.models.get(self.name) {
                    (card(language.details(), facts(context, &offered.model)))
                }
                (card(language.models_price(), self.price(context)))
            }
            (card(language.models_projects_with(), project_table(context, &self.listing, self.listing_count())))
            @if !self.others.is_empty() {
                (card(language.models_projects_without(), project_table(context, &self.others, self.others_count())))
            }
        };
        layout::page(context, Section::Models, name, body)
    }

    fn listing_count(&self) -> u64 {
        let model = self.offered.models.get(self.name);
        model.map_or(0, |model| model.projects)
    }

    fn others_count(&self) -> u64 {
        self.offered
            .listed_projects
            .saturating_sub(self.listing_count())
    }

    fn stats(&self, context: &PageContext) -> Markup {
        let language = context.language;
        let all = language.models_of_listed(&number(self.offered.listed_projects));
        html! {
            dl.stats {
                (stat(language.models_projects(), number(self.listing_count()), all))
                (stat(language.usable(), number(self.available.usable), ""))
                (stat(language.cooling_down(), number(self.available.cooling_down), ""))
            }
        }
    }

    fn price(&self, context: &PageContext) -> Markup {
        let language = context.language;
        html! {
            p { (price(context, &self.prices, self.name)) }
            p.muted.small { (language.models_price_of(prices::as_of())) }
            p { a href="/settings/model_prices" { (language.models_own_prices()) } }
        }
    }
}

fn facts(context: &PageContext, model: &ListedModel) -> Markup {
    let language = context.language;
    html! {
        dl.facts {
            @if !model.display_name.is_empty() {
                dt { (language.client_key_name()) } dd { (model.display_name) }
            }
            @if let Some(limits) = token_limits(language, model) {
                dt { (language.models_tokens()) } dd { (limits) }
            }
            dt { (language.models_methods()) }
            dd { span.chips { @for method in &model.methods { code { (method) } " " } } }
        }
    }
}

fn project_table(context: &PageContext, projects: &[ListingProject], all: u64) -> Markup {
    let language = context.language;
    let more = usize::try_from(all)
        .unwrap_or(0)
        .saturating_sub(projects.len());
    html! {
        @if projects.is_empty() {
            p.muted { (language.models_in_no_list()) }
        } @else {
            div.table { table.stack.paired {
                thead { tr {
                    th scope="col" { (language.project()) } th.number scope="col" { (language.upstream_keys()) }
                    th scope="col" { (language.models_list_read()) }
                } }
                tbody { @for project in projects { (row(context, project)) } }
            } }
            @if more > 0 { p.muted.small { (language.and_more(more)) } }
        }
    }
}

/// A project without a name is named by one of its keys.
fn row(context: &PageContext, project: &ListingProject) -> Markup {
    let language = context.language;
    let keys = match &project.project {
        Some(name) => href("/upstream-keys", &[("project", name)]),
        None => href("/upstream-keys", &[("q", &project.label)]),
    };
    let name = project.project.as_deref();
    let name = name.map(|name| name.strip_prefix("projects/").unwrap_or(name));
    html! {
        tr {
            th scope="row" {
                a href=(keys) {
                    @match name {
                        Some(name) => (name),
                        None => (language.models_project_of(&project.label)),
                    }
                }
            }
            td.number data-label=(language.upstream_keys()) { (number(project.keys)) }
            td data-label=(language.models_list_read()) { (ago(context, project.listed_at, context.now)) }
        }
    }
}
