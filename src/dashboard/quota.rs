//! `/quota`: the quota of each project and model, what is held back, and how long it lasts.

mod view;
pub mod what_if;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use axum::extract::State;
use axum_extra::extract::Query;
use maud::Markup;
use serde::Deserialize;
use tokio::task::spawn_blocking;
use tokio::try_join;

use crate::app::App;
use crate::clock::Timestamp;
use crate::dashboard::components::href;
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::page_context::PageContext;
use crate::error::Error;
use crate::pool::keys::quota_overview::{ModelQuotaTotals, ProjectQuota, QuotaOverview};
use crate::pool::keys::upstream_key::ProjectId;
use crate::pool::quota::forecast::{DailySupply, Forecast, HISTORY_HOURS, forecast};
use crate::pool::quota::google_clock::end_of_google_day;
use crate::pool::quota::limits::Measure;
use crate::storage::quota_overview::{
    find_projects, list_hours, list_observation_times, list_project_names,
};

pub const PATH: &str = "/quota";
/// Projects per page.
const PAGE_SIZE: usize = 50;

/// The query of the page.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct QuotaQuery {
    model: String,
    /// Text in the name or number of projects.
    project: String,
    /// Counted from 0.
    page: String,
}

impl QuotaQuery {
    fn model(&self) -> Option<&str> {
        Some(self.model.trim()).filter(|model| !model.is_empty())
    }

    fn page(&self) -> usize {
        self.page.parse().unwrap_or(0)
    }

    fn href(&self, page: usize) -> String {
        let page = Some(page).filter(|page| *page > 0);
        let page = page.map(|page| page.to_string()).unwrap_or_default();
        let pairs = [
            ("model", self.model.trim()),
            ("project", self.project.trim()),
            ("page", &page),
        ];
        href(PATH, &pairs)
    }
}

/// All data of the page.
struct QuotaData {
    overview: QuotaOverview,
    forecasts: HashMap<String, Option<Forecast>>,
    /// Those of the page.
    projects: Vec<ProjectQuota>,
    names: HashMap<ProjectId, String>,
    observed_at: HashMap<(ProjectId, String, Measure), Timestamp>,
    day_ends: Timestamp,
}

pub async fn show(
    State(app): State<Arc<App>>,
    context: PageContext,
    Query(query): Query<QuotaQuery>,
) -> Result<Markup, ErrorPage> {
    let data = QuotaData::load(app, &context, &query).await?;
    Ok(view::page(&context, &query, &data))
}

impl QuotaData {
    async fn load(app: Arc<App>, context: &PageContext, query: &QuotaQuery) -> Result<Self, Error> {
        let now = context.now;
        let db = &app.db.readers;
        let text = query.project.trim();
        let only = if text.is_empty() {
            None
        } else {
            Some(find_projects(db, text).await?.into_iter().collect())
        };
        let model = query.model().map(ToOwned::to_owned);
        let first = query.page().saturating_mul(PAGE_SIZE);
        let shared = app.clone();
        // Steps through all projects, which would hold up a thread that serves requests.
        let read = move || {
            let only: Option<BTreeSet<ProjectId>> = only;
            let overview = shared
                .keys
                .quota_overview(model.as_deref(), only.as_ref(), now);
            let ids = overview.projects.iter().copied().skip(first);
            let ids: Vec<_> = ids.take(PAGE_SIZE).collect();
            let projects = shared.keys.project_quotas(&ids, now);
            (overview, projects, ids)
        };
        let (overview, projects, ids) = spawn_blocking(read)
            .await
            .expect("reading quota does not panic");
        let (names, observed_at, hours) = try_join!(
            list_project_names(db, &ids),
            list_observation_times(db, &ids),
            list_hours(db, now, HISTORY_HOURS),
        )?;
        let day_ends = overview.day_ends.unwrap_or_else(|| end_of_google_day(now));
        let models = overview.models.iter().map(|(model, totals)| {
            let history = hours.get(model).map_or(&[][..], Vec::as_slice);
            let found = supply(totals, day_ends);
            let forecast = found.map(|supply| forecast(supply, history, now));
            (model.clone(), forecast)
        });
        Ok(Self {
            forecasts: models.collect(),
            overview,
            projects,
            names,
            observed_at,
            day_ends,
        })
    }
}

/// `None`: the limit of a project that can serve the model is not known.
fn supply(totals: &ModelQuotaTotals, resets_at: Timestamp) -> Option<DailySupply> {
    let offering = totals.projects - totals.missing;
    (totals.limited_projects > 0 && totals.limited_projects == offering).then_some(DailySupply {
        remaining: totals.remaining,
        limit_of_project: totals.largest_limit,
        resets_at,
    })
}
