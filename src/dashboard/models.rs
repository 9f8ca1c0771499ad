//! `/models`: the models that the pool has served, with availability, limits, prices and use.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use maud::{Markup, html};
use sqlx::SqlitePool;
use tokio::task::spawn_blocking;
use tokio::try_join;

use crate::app::App;
use crate::clock::Timestamp;
use crate::dashboard::components::{
    Tone, badge, dollars, empty_state, href, number, success_rate, tokens, until,
};
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::layout::{self, Section, heading};
use crate::dashboard::page_context::PageContext;
use crate::dashboard::translations::Language;
use crate::gemini::prices::{self, ListPrice};
use crate::pool::keys::overview::PoolOverview;
use crate::pool::keys::quota_overview::{ModelQuotaTotals, QuotaOverview};
use crate::pool::model_prices::ModelPrices;
use crate::pool::money::usd;
use crate::storage::error::Result;
use crate::storage::rollups::begin_of_day;
use crate::storage::strings::{self, OTHER_MODEL};
use crate::storage::usage::{
    self, UsageGroup, UsageGrouping, UsageOrder, UsagePeriod, UsageSums, UsageTable,
};

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
) -> std::result::Result<Markup, ErrorPage> {
    let now = context.now;
    let shared = app.clone();
    // Steps through all projects, which would hold up a thread that serves requests.
    let quota = spawn_blocking(move || shared.keys.quota_overview(None, None, now));
    let models = list_uses(&app.db.readers, now).await?;
    let mut data = ModelsData {
        models,
        overview: app.overview(now),
        quota: quota.await.expect("reading quota does not panic"),
        prices: app.settings().model_prices.clone(),
    };
    data.add_names();
    Ok(view(&context, &data))
}

impl ModelsData {
    /// Adds models that were not used, but have a limit, a cooldown or a price of the admin's.
    fn add_names(&mut self) {
        let known = self.overview.models.keys().chain(self.quota.models.keys());
        let priced = self.prices.models().map(ToOwned::to_owned);
        for name in known.cloned().chain(priced) {
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
    let names = usage::list_names(db, grouping, &groups.collect::<Vec<_>>()).await?;
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

fn view(context: &PageContext, data: &ModelsData) -> Markup {
    let language = context.language;
    let mut models: Vec<_> = data.models.iter().collect();
    models.sort_by_key(|(_, used)| std::cmp::Reverse(used.month.requests));
    let prices =
        html! { a.button href="/settings/model_prices" { (language.models_own_prices()) } };
    let body = html! {
        (heading(language.models_page(), prices))
        @if models.is_empty() {
            (empty_state(language.models_none(), language.models_none_text(), html! {
                a.button href="/client-keys" { (language.usage_to_first_request()) }
            }))
        } @else {
            p.muted.small { (language.models_lead(prices::as_of())) }
            div.table { table.stack.models {
                thead { tr {
                    th scope="col" { (language.model()) }
                    th.number scope="col" { (language.usable()) } th.number scope="col" { (language.cooling_down()) }
                    th scope="col" { (language.next_ready()) }
                    th.number scope="col" { (language.models_limit()) }
                    th scope="col" { (language.models_price()) }
                    th.number scope="col" { (language.last_24_hours()) } th.number scope="col" { (language.last_30_days()) }
                    th scope="col" { span.visually-hidden { (language.details()) } }
                } }
                tbody { @for (name, used) in models { (row(context, data, name, used)) } }
            } }
        }
    };
    layout::page(context, Section::Models, language.models_page(), body)
}

fn row(context: &PageContext, data: &ModelsData, name: &str, used: &ModelUse) -> Markup {
    let language = context.language;
    let available = data.overview.model(name);
    let quota = data.quota.models.get(name);
    let missing = quota.map_or(0, |quota| quota.missing);
    html! {
        tr #(name) {
            th scope="row" {
                span.named {
                    a href=(href("/usage", &[("model", name), ("span", "30d")])) { (name) }
                    @if missing > 0 { span.note.muted { (language.quota_missing_in(&number(missing))) } }
                }
            }
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
            td.wide data-label=(language.models_price()) { (price(context, data, name)) }
            td.number data-label=(language.last_24_hours()) { (use_cell(language, &used.day)) }
            td.number data-label=(language.last_30_days()) { (use_cell(language, &used.month)) }
            td.wide { span.links {
                a href=(href("/logs", &[("model", name)])) { (language.usage_its_logs()) } " "
                a href=(href("/quota", &[("model", name)])) { (language.quota()) }
            } }
        }
    }
}

/// Requests with their success, tokens and cost.
fn use_cell(language: Language, sums: &UsageSums) -> Markup {
    html! {
        span.lines {
            span { (number(sums.requests)) }
            @if sums.requests > 0 {
                span.small.muted {
                    span title=(language.success_rate()) { (success_rate(sums.successes, sums.failures)) } " · "
                    span title=(number(sums.total_tokens)) { (tokens(sums.total_tokens)) } " · " (dollars(sums.cost_nano_usd))
                }
            }
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

/// Dollars for a million tokens of input and output: the admin's own, else Google's.
fn price(context: &PageContext, data: &ModelsData, name: &str) -> Markup {
    let language = context.language;
    if let Some(own) = data.prices.find(name) {
        let text = pair(own.input_nano_usd, Some(own.output_nano_usd));
        return html! {
            span.lines { span { (text) } a.small href="/settings/model_prices" { (language.models_own_price()) } }
        };
    }
    let Some(listed) = prices::list_price(name, context.now) else {
        return html! { span.muted { (language.models_no_price()) } };
    };
    let text = pair(listed.input_nano_usd, listed.output_nano_usd);
    html! {
        span.lines {
            span { (text) }
            @if let Some(note) = note(language, &listed) { span.small.muted { (note) } }
        }
    }
}

fn pair(input: u64, output: Option<u64>) -> String {
    let output = output.map_or_else(|| "–".to_owned(), |output| format!("${}", usd(output)));
    format!("${} / {output}", usd(input))
}

fn note(language: Language, listed: &ListPrice) -> Option<String> {
    match listed.long_prompt_tokens {
        Some(above) => Some(language.models_long_prompts(&tokens(above))),
        None => listed.since.map(|since| language.quota_since(since)),
    }
}
