//! The list of models: what the projects list and the pool has served, with availability, limits, prices and use.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum_extra::extract::Query;
use maud::{Markup, html};
use serde::Deserialize;
use sqlx::SqlitePool;
use tokio::task::spawn_blocking;
use tokio::try_join;

use crate::app::App;
use crate::clock::Timestamp;
use crate::dashboard::components::{Tone, ago, badge, empty_state, number, until};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::{self, Section, heading};
use crate::dashboard::models::labels::{page_of, price, token_limits, use_cell};
use crate::dashboard::page_context::PageContext;
use crate::gemini::prices;
use crate::pool::keys::overview::PoolOverview;
use crate::pool::keys::quota_overview::{ModelQuotaTotals, QuotaOverview};
use crate::pool::model_prices::ModelPrices;
use crate::storage::error::Result;
use crate::storage::model_lists::{self, OfferedModel, OfferedModels};
use crate::storage::rollups::begin_of_day;
use crate::storage::strings::{self, OTHER_MODEL};
use crate::storage::usage::sums::UsageSums;
use crate::storage::usage::{self, UsageGroup, UsageGrouping, UsageOrder, UsagePeriod, UsageTable};

pub const PATH: &str = "/models";
/// So many models are found without a search.
const FEW_MODELS: usize = 12;
/// Maximum number of models with usage that are read.
const MAX_MODELS: u32 = 1_000;
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// All data of the page.
struct ModelsData {
    models: BTreeMap<String, ModelUse>,
    overview: PoolOverview,
    quota: QuotaOverview,
    prices: ModelPrices,
    offered: OfferedModels,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ModelListQuery {
    /// Text in the name.
    q: String,
}

/// The use of a model, the running hour and day included.
#[derive(Debug, Clone, Copy, Default)]
struct ModelUse {
    day: UsageSums,
    month: UsageSums,
}

pub async fn show(
    State(app): State<Arc<App>>,
    context: PageContext,
    Query(query): Query<ModelListQuery>,
) -> std::result::Result<Markup, ErrorPage> {
    let now = context.now;
    let shared = app.clone();
    // Steps through all projects, which would hold up a thread that serves requests.
    let quota = spawn_blocking(move || shared.keys.quota_overview(None, None, now));
    let overview = async { Ok(app.overview(now).await) };
    let (models, offered, overview) = try_join!(
        list_uses(&app.db.readers, now),
        model_lists::offered(&app.db.readers),
        overview,
    )?;
    let mut data = ModelsData {
        models,
        overview,
        quota: quota.await.expect("reading quota does not panic"),
        prices: app.settings().model_prices.clone(),
        offered,
    };
    data.add_names();
    let search = query.q.trim().to_lowercase();
    data.models
        .retain(|name, _| name.to_lowercase().contains(&search));
    Ok(view(&context, &query, &data))
}

impl ModelsData {
    /// Adds models that were not used, but are listed, or have a limit, a cooldown or a price of the admin's.
    fn add_names(&mut self) {
        let known = self.overview.models.keys().chain(self.quota.models.keys());
        let priced = self.prices.models().map(ToOwned::to_owned);
        let offered = self.offered.models.keys().cloned();
        for name in known.cloned().chain(priced).chain(offered) {
            // Names that clients invent have a cooldown at most.
            self.models.entry(name).or_default();
        }
    }
}

/// The use of each model that has ever answered, in the last 24 hours and 30 days.
async fn list_uses(db: &SqlitePool, now: Timestamp) -> Result<BTreeMap<String, ModelUse>> {
    let hour = |ago: u32| now.start_of_hour() - HOUR * ago;
    let day = |ago: u32| begin_of_day(now) - DAY * ago;
    let period = |begin| UsagePeriod { bin: 0, begin };
    let hours: Vec<_> = (0..24).map(hour).map(period).collect();
    let days: Vec<_> = (0..30).map(day).map(period).collect();
    let (grouping, order) = (UsageGrouping::Model, (UsageOrder::Requests, MAX_MODELS));
    let (known, of_hours, of_days) = try_join!(
        strings::list_models(db),
        usage::list_largest(db, UsageTable::ModelHours, grouping, None, &hours, order),
        usage::list_largest(db, UsageTable::ModelDays, grouping, None, &days, order),
    )?;
    let groups = of_hours
        .iter()
        .chain(&of_days)
        .map(|(group, _)| group.clone());
    let names = usage::names::list_names(db, grouping, &groups.collect::<Vec<_>>()).await?;
    let name_of = |group: &UsageGroup| match group {
        UsageGroup::Id(id) => names.get(id).cloned(),
        UsageGroup::Tag(_) | UsageGroup::None => None,
    };
    let mut models: BTreeMap<_, ModelUse> = known
        .into_iter()
        .map(|name| (name, ModelUse::default()))
        .collect();
    for (group, sums) in of_hours {
        if let Some(name) = name_of(&group) {
            models.entry(name).or_default().day = sums;
        }
    }
    for (group, sums) in of_days {
        if let Some(name) = name_of(&group) {
            models.entry(name).or_default().month = sums;
        }
    }
    models.remove(OTHER_MODEL);
    Ok(models)
}

fn view(context: &PageContext, query: &ModelListQuery, data: &ModelsData) -> Markup {
    let language = context.language;
    let mut models: Vec<_> = data.models.iter().collect();
    models.sort_by_key(|(_, used)| std::cmp::Reverse(used.month.requests));
    let is_searched = !query.q.trim().is_empty();
    let prices =
        html! { a.button href="/settings/model_prices" { (language.models_own_prices()) } };
    let body = html! {
        (heading(language.models_page(), prices))
        @if is_searched || models.len() > FEW_MODELS {
            form.filters.one-line method="get" action=(PATH) role="search" {
                input type="search" name="q" value=(query.q) data-search placeholder=(language.models_search())
                    aria-label=(language.models_search());
                button type="submit" { (language.search()) }
            }
        }
        @if models.is_empty() && is_searched {
            (empty_state(&language.models_no_match(query.q.trim()), language.models_no_match_text(), html! {
                a.button href=(PATH) { (language.clear_filters()) }
            }))
        } @else if models.is_empty() {
            (empty_state(language.models_none(), language.models_none_text(), html! {
                a.button href="/client-keys" { (language.usage_to_first_request()) }
            }))
        } @else {
            p.muted.small {
                (lists_lead(context, &data.offered)) " " (language.models_lead(prices::as_of()))
            }
            div.table { table.stack.models data-keys {
                thead { tr {
                    th scope="col" { (language.model()) }
                    th.number scope="col" { (language.models_projects()) }
                    th.number scope="col" { (language.usable()) } th.number scope="col" { (language.cooling_down()) }
                    th scope="col" { (language.next_ready()) }
                    th.number scope="col" { (language.models_limit()) }
                    th scope="col" { (language.models_price()) }
                    th.number scope="col" { (language.last_24_hours()) } th.number scope="col" { (language.last_30_days()) }
                } }
                tbody { @for (name, used) in models { (row(context, data, name, used)) } }
            } }
        }
    };
    layout::page(context, Section::Models, language.models_page(), body)
}

/// What the lists of projects are based on.
fn lists_lead(context: &PageContext, offered: &OfferedModels) -> Markup {
    let language = context.language;
    html! {
        @if let Some(oldest) = offered.oldest {
            (language.models_listed(&number(offered.listed_projects))) " " (ago(context, oldest, context.now)) (language.full_stop())
        } @else {
            (language.models_not_listed())
        }
    }
}

fn projects(offered: &OfferedModels, model: Option<&OfferedModel>) -> Markup {
    html! {
        @match model {
            Some(model) => (number(model.projects)),
            None if offered.listed_projects > 0 => "0",
            None => "–",
        }
    }
}

fn row(context: &PageContext, data: &ModelsData, name: &str, used: &ModelUse) -> Markup {
    let language = context.language;
    let available = data.overview.model(name);
    let quota = data.quota.models.get(name);
    let missing = quota.map_or(0, |quota| quota.missing);
    let offered = data.offered.models.get(name);
    html! {
        tr #(name) {
            th scope="row" {
                span.named {
                    a data-row-link href=(page_of(name)) { (name) }
                    @if let Some(offered) = offered {
                        @if let Some(limits) = token_limits(language, &offered.model) { span.note.muted { (limits) } }
                    }
                    @if missing > 0 { span.note.muted { (language.quota_missing_in(&number(missing))) } }
                }
            }
            td.number data-label=(language.models_projects()) { (projects(&data.offered, offered)) }
            td.number data-label=(language.usable()) { (number(available.usable)) }
            td.number data-label=(language.cooling_down()) { (number(available.cooling_down)) }
            td.wide data-label=(language.next_ready()) {
                @if let Some(at) = available.overloaded_until {
                    (badge(Tone::Wait, language.overloaded())) " " (until(context, at, context.now))
                } @else if let Some(at) = available.next_ready_at {
                    (until(context, at, context.now))
                }
            }
            td.number data-label=(language.models_limit()) { (limit(quota)) }
            td.wide data-label=(language.models_price()) { (price(context, &data.prices, name)) }
            td.number data-label=(language.last_24_hours()) { (use_cell(language, &used.day)) }
            td.number data-label=(language.last_30_days()) { (use_cell(language, &used.month)) }
        }
    }
}

/// The largest daily limit of a project.
fn limit(quota: Option<&ModelQuotaTotals>) -> Markup {
    let known = quota.filter(|quota| quota.limited_projects > 0);
    html! {
        @match known {
            Some(quota) => (number(quota.largest_limit)),
            None => "–",
        }
    }
}
