//! The rows of the usage page as CSV.

use axum::response::IntoResponse;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};

use crate::clock::Timestamp;
use crate::dashboard::page_context::PageContext;
use crate::dashboard::usage::UsageData;
use crate::storage::backup::file_time;
use crate::storage::csv_cells::{CsvWriter, cell, written};
use crate::storage::usage::UsageGroup;
use crate::storage::usage::sums::UsageSums;

/// Counts have the names of the log's JSON. `*_before` are those of the range before.
const COLUMNS: [&str; 17] = [
    "since",
    "until",
    "by",
    "id",
    "name",
    "requests",
    "successes",
    "failures",
    "retried_successes",
    "prompt_tokens",
    "output_tokens",
    "thought_tokens",
    "cached_tokens",
    "total_tokens",
    "cost_usd",
    "total_tokens_before",
    "cost_usd_before",
];

pub fn file(context: &PageContext, data: &UsageData) -> impl IntoResponse + use<> {
    let name = format!(
        "gemini-pool-usage-{}-{}.csv",
        data.by.name(),
        file_time(context.now)
    );
    let headers = [
        (
            CONTENT_TYPE,
            "text/csv; charset=utf-8; header=present".to_owned(),
        ),
        (
            CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}\""),
        ),
    ];
    (headers, lines(data, context))
}

fn lines(data: &UsageData, context: &PageContext) -> Vec<u8> {
    let by = data.by.name();
    let range = (data.range.begin, data.range.end);
    written(|writer| {
        writer.write_record(COLUMNS)?;
        for (bin, sums) in data.range.bins.iter().zip(&data.bins).rev() {
            if data.by.grouping().is_none() {
                write_row(writer, (bin.begin, bin.end), (by, None, ""), sums, None)?;
            }
        }
        for row in &data.rows {
            let id = match row.group {
                UsageGroup::Id(id) => Some(id),
                UsageGroup::Tag(_) | UsageGroup::None => None,
            };
            let before = Some(&row.before);
            write_row(writer, range, (by, id, &row.name), &row.sums, before)?;
        }
        if let Some(others) = &data.others {
            let name = context.language.usage_others();
            write_row(writer, range, (by, None, name), others, None)?;
        }
        Ok(())
    })
}

fn write_row(
    writer: &mut CsvWriter,
    range: (Timestamp, Timestamp),
    of: (&str, Option<i64>, &str),
    sums: &UsageSums,
    before: Option<&UsageSums>,
) -> csv::Result<()> {
    let counts = [
        sums.requests,
        sums.successes,
        sums.failures,
        sums.retried_successes,
        sums.prompt_tokens,
        sums.output_tokens,
        sums.thought_tokens,
        sums.cached_tokens,
        sums.total_tokens,
    ];
    writer.write_field(cell(&range.0))?;
    writer.write_field(cell(&range.1))?;
    writer.write_field(cell(&of.0))?;
    writer.write_field(cell(&of.1))?;
    writer.write_field(cell(&of.2))?;
    for count in counts {
        writer.write_field(cell(&count))?;
    }
    writer.write_field(dollars(sums.cost_nano_usd))?;
    writer.write_field(cell(&before.map(|before| before.total_tokens)))?;
    writer.write_field(before.map_or_else(String::new, |before| dollars(before.cost_nano_usd)))?;
    writer.write_record(None::<&[u8]>)
}

/// An exact amount.
fn dollars(nano_usd: i64) -> String {
    crate::pool::money::usd(nano_usd.unsigned_abs())
}
