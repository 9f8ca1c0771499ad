//! `/usage`: tokens and cost of a range by model, client key, upstream key, project, tag or time. Read from rollups only.

mod export;
pub mod query;
pub mod range;
mod view;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum_extra::extract::Query;
use maud::Markup;
use sqlx::SqlitePool;
use tokio::try_join;

use crate::app::App;
use crate::dashboard::error_page::ErrorPage;
use crate::dashboard::page_context::PageContext;
use crate::dashboard::translations::Language;
use crate::dashboard::usage::query::{UsageBy, UsageQuery};
use crate::dashboard::usage::range::{RangeUnit, UsageRange};
use crate::storage::error::Result;
use crate::storage::usage::sums::UsageSums;
use crate::storage::usage::{
    self, UsageCell, UsageFilter, UsageGroup, UsageGrouping, UsageOrder, UsageTable,
};

/// Rows of the table.
const MAX_ROWS: u32 = 100;
/// Groups with a series of their own in charts; the others share one.
const SERIES: usize = 5;
/// Rows of rollups that are read for one page: more would take longer than 100 ms.
const MAX_READ: u64 = 60_000;

/// All data of the page.
struct UsageData {
    by: UsageBy,
    table: UsageTable,
    range: UsageRange,
    /// The name of what is filtered by.
    filter_name: Option<String>,
    total: UsageSums,
    before: UsageSums,
    /// The sums of each bin.
    bins: Vec<UsageSums>,
    /// Largest first; none by time.
    rows: Vec<UsageRow>,
    /// The groups that have no row.
    others: Option<UsageSums>,
    /// The sums of the largest groups in each bin.
    series: Vec<UsageSeries>,
}

/// The largest groups.
struct LargestGroups {
    found: Vec<(UsageGroup, UsageSums)>,
    names: HashMap<i64, String>,
    /// Their sums in the range before.
    before: HashMap<UsageGroup, UsageSums>,
}

/// The sums of a group in each bin.
struct UsageSeries {
    name: String,
    /// `None`: all groups without a series of their own.
    group: Option<UsageGroup>,
    bins: Vec<UsageSums>,
}

/// A group with its sums.
struct UsageRow {
    group: UsageGroup,
    name: String,
    sums: UsageSums,
    before: UsageSums,
}

pub async fn show(
    State(app): State<Arc<App>>,
    context: PageContext,
    Query(query): Query<UsageQuery>,
) -> std::result::Result<Markup, ErrorPage> {
    let data = UsageData::load(&app.db.readers, &context, &query).await?;
    Ok(view::page(&context, &query, &data))
}

/// The rows that the page shows, as a file.
pub async fn csv(
    State(app): State<Arc<App>>,
    context: PageContext,
    Query(query): Query<UsageQuery>,
) -> std::result::Result<Response, ErrorPage> {
    let data = UsageData::load(&app.db.readers, &context, &query).await?;
    Ok(export::file(&context, &data).into_response())
}

impl UsageData {
    async fn load(db: &SqlitePool, context: &PageContext, query: &UsageQuery) -> Result<Self> {
        let (zone, now) = (&context.zone, context.now);
        let (by, (mut table, mut unit)) = (query.by(), query.source(zone, now));
        let found = query.filter();
        let filter = found.as_ref().map(|(.., filter)| filter);
        let chosen = query.range(zone, now);
        let mut max_periods = MAX_READ / rows_per_period(db, table, filter).await?.max(1);
        if table == UsageTable::ClientKeyHours && chosen.hours(zone, now) > max_periods {
            // Of many client keys days are read, rather than the hours of a shorter range.
            (table, unit) = (UsageTable::ClientKeyDays, RangeUnit::Day);
            max_periods = MAX_READ / rows_per_period(db, table, filter).await?.max(1);
        }
        let range = chosen.resolve(unit, max_periods, zone, now);
        let order = query.order();
        if let Some(grouping) = by.grouping().filter(|grouping| grouping.has_few_groups()) {
            let of = (by, grouping, table);
            return Self::load_cells(db, context, of, filter, range, order).await;
        }
        let (of_bins, of_before, filter_name, found) = try_join!(
            usage::sum_bins(db, table, filter, &range.periods),
            usage::sum_bins(db, table, filter, &range.before.periods),
            name_of_filter(db, found.as_ref().map(|(by, value, _)| (*by, *value))),
            list_largest(db, table, by, filter, &range, order),
        )?;
        let mut bins = vec![UsageSums::default(); range.bins.len()];
        for (bin, sums) in of_bins {
            bins[bin] += sums;
        }
        let mut before = UsageSums::default();
        for (bin, sums) in of_before {
            before += range.before.share(bin, sums);
        }
        let mut data = Self {
            by,
            table,
            filter_name,
            total: sum(&bins),
            before,
            bins,
            rows: Vec::new(),
            others: None,
            series: Vec::new(),
            range,
        };
        if let Some(grouping) = by.grouping() {
            let groups: Vec<_> = found.iter().map(|(group, _)| group.clone()).collect();
            let largest = &groups[..groups.len().min(SERIES)];
            let periods = &data.range.periods;
            let (names, cells, before) = try_join!(
                usage::names::list_names(db, grouping, &groups),
                usage::list_cells(db, table, grouping, filter, periods, largest),
                data.sums_before(db, grouping, filter, &groups),
            )?;
            let largest = LargestGroups {
                found,
                names,
                before,
            };
            data.set_groups(context.language, grouping, largest, &cells);
        }
        Ok(data)
    }

    /// Of few groups: all sums are read with those of each group in each bin.
    async fn load_cells(
        db: &SqlitePool,
        context: &PageContext,
        (by, grouping, table): (UsageBy, UsageGrouping, UsageTable),
        filter: Option<&UsageFilter>,
        range: UsageRange,
        order: UsageOrder,
    ) -> Result<Self> {
        let (all, all_before) = try_join!(
            usage::list_all_cells(db, table, grouping, filter, &range.periods),
            usage::list_all_cells(db, table, grouping, filter, &range.before.periods),
        )?;
        let mut bins = vec![UsageSums::default(); range.bins.len()];
        for (bin, sums) in all.bins {
            bins[bin] += sums;
        }
        let mut found = BTreeMap::<_, UsageSums>::new();
        for cell in &all.cells {
            *found.entry(cell.group.clone()).or_default() += cell.sums;
        }
        let mut total_before = UsageSums::default();
        for (bin, sums) in all_before.bins {
            total_before += range.before.share(bin, sums);
        }
        let mut before = HashMap::<_, UsageSums>::new();
        for cell in all_before.cells {
            let sums = range.before.share(cell.bin, cell.sums);
            *before.entry(cell.group).or_default() += sums;
        }
        let mut found: Vec<_> = found.into_iter().collect();
        found.sort_by_key(|(_, sums)| order.rank(sums));
        found.truncate(MAX_ROWS as usize);
        let groups: Vec<_> = found.iter().map(|(group, _)| group.clone()).collect();
        let filter_name = match filter {
            Some(UsageFilter::Project(name) | UsageFilter::Tag(name)) => Some(name.clone()),
            // These have no groups.
            Some(
                UsageFilter::Model(_) | UsageFilter::ClientKey(_) | UsageFilter::UpstreamKey(_),
            )
            | None => None,
        };
        let mut data = Self {
            by,
            table,
            filter_name,
            total: sum(&bins),
            before: total_before,
            bins,
            rows: Vec::new(),
            others: None,
            series: Vec::new(),
            range,
        };
        let largest = LargestGroups {
            found,
            names: usage::names::list_names(db, grouping, &groups).await?,
            before,
        };
        data.set_groups(context.language, grouping, largest, &all.cells);
        Ok(data)
    }

    /// The sums of groups in the range before.
    async fn sums_before(
        &self,
        db: &SqlitePool,
        grouping: UsageGrouping,
        filter: Option<&UsageFilter>,
        groups: &[UsageGroup],
    ) -> Result<HashMap<UsageGroup, UsageSums>> {
        let (before, mut sums) = (&self.range.before, HashMap::<_, UsageSums>::new());
        let periods = &before.periods;
        let cells = usage::list_cells(db, self.table, grouping, filter, periods, groups).await?;
        for cell in cells {
            *sums.entry(cell.group).or_default() += before.share(cell.bin, cell.sums);
        }
        Ok(sums)
    }

    /// Sets rows and series; `cells` has at least those of the largest groups.
    fn set_groups(
        &mut self,
        language: Language,
        grouping: UsageGrouping,
        largest: LargestGroups,
        cells: &[UsageCell],
    ) {
        let LargestGroups {
            found,
            names,
            before,
        } = largest;
        let series = series_of(grouping);
        let rows = found.into_iter().map(|(group, sums)| UsageRow {
            name: name(language, grouping, &group, &names),
            before: before.get(&group).copied().unwrap_or_default(),
            group,
            sums,
        });
        self.rows = rows.collect();
        let mut rest = self.bins.clone();
        for row in self.rows.iter().take(series) {
            let mut bins = vec![UsageSums::default(); self.bins.len()];
            for cell in cells.iter().filter(|cell| cell.group == row.group) {
                bins[cell.bin] += cell.sums;
                rest[cell.bin] = rest[cell.bin].without(&cell.sums);
            }
            self.series.push(UsageSeries {
                name: row.name.clone(),
                group: Some(row.group.clone()),
                bins,
            });
        }
        // A key counts under each of its tags, so that nothing can be taken from the total.
        if grouping == UsageGrouping::Tag {
            return;
        }
        if self.rows.len() > SERIES {
            self.series.push(UsageSeries {
                name: language.usage_others().to_owned(),
                group: None,
                bins: rest,
            });
        }
        let mut others = self.total;
        for row in &self.rows {
            others = others.without(&row.sums);
        }
        self.others = (others != UsageSums::default()).then_some(others);
    }
}

/// The number of groups with a series of their own. Tags overlap: a stack of them would be higher than the total.
fn series_of(grouping: UsageGrouping) -> usize {
    if grouping == UsageGrouping::Tag {
        0
    } else {
        SERIES
    }
}

async fn list_largest(
    db: &SqlitePool,
    table: UsageTable,
    by: UsageBy,
    filter: Option<&UsageFilter>,
    range: &UsageRange,
    order: UsageOrder,
) -> Result<Vec<(UsageGroup, UsageSums)>> {
    let Some(grouping) = by.grouping() else {
        return Ok(Vec::new());
    };
    let order = (order, MAX_ROWS);
    usage::list_largest(db, table, grouping, filter, &range.periods, order).await
}

fn sum(bins: &[UsageSums]) -> UsageSums {
    let mut total = UsageSums::default();
    for sums in bins {
        total += *sums;
    }
    total
}

/// The rows of rollups that are read for each hour or day.
async fn rows_per_period(
    db: &SqlitePool,
    table: UsageTable,
    filter: Option<&UsageFilter>,
) -> Result<u64> {
    match filter {
        None | Some(UsageFilter::Tag(_)) => usage::rows_per_period(db, table).await,
        // Looked up by key.
        Some(
            UsageFilter::Model(_)
            | UsageFilter::ClientKey(_)
            | UsageFilter::UpstreamKey(_)
            | UsageFilter::Project(_),
        ) => Ok(1),
    }
}

/// The name of the key that is filtered by; any other filter is a name itself.
async fn name_of_filter(
    db: &SqlitePool,
    filter: Option<(UsageBy, &str)>,
) -> Result<Option<String>> {
    let Some((by, value)) = filter else {
        return Ok(None);
    };
    let grouping = by.grouping();
    let id = value.parse().ok();
    let (Some(grouping @ (UsageGrouping::ClientKey | UsageGrouping::UpstreamKey)), Some(id)) =
        (grouping, id)
    else {
        return Ok(Some(value.to_owned()));
    };
    let mut names = usage::names::list_names(db, grouping, &[UsageGroup::Id(id)]).await?;
    Ok(Some(names.remove(&id).unwrap_or_else(|| value.to_owned())))
}

fn name(
    language: Language,
    grouping: UsageGrouping,
    group: &UsageGroup,
    names: &HashMap<i64, String>,
) -> String {
    match (group, grouping) {
        (UsageGroup::Id(id), _) => names.get(id).cloned().unwrap_or_else(|| format!("#{id}")),
        (UsageGroup::Tag(tag), _) => tag.clone(),
        (UsageGroup::None, UsageGrouping::Model) => language.no_model().to_owned(),
        (UsageGroup::None, UsageGrouping::ClientKey) => language.usage_no_client().to_owned(),
        (UsageGroup::None, _) => language.usage_no_tag().to_owned(),
    }
}
