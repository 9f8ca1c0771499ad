//! The histogram above the list: how many of the filtered requests began when.

use maud::{Markup, html};

use crate::clock::Timestamp;
use crate::dashboard::chart::{
    self, Chart, ChartBin, ChartKind, ChartUse, Series, Unit, figure, value,
};
use crate::dashboard::components::moment;
use crate::dashboard::logs::query::{LogField, LogQuery};
use crate::dashboard::page_context::PageContext;
use crate::storage::request_logs::histogram::LogHistogram;

/// The histogram; nothing where it would have no bar.
pub fn view(context: &PageContext, query: &LogQuery, histogram: &LogHistogram) -> Markup {
    let language = context.language;
    if histogram.requests() == 0 {
        return html! {};
    }
    let is_counted = |end: Timestamp| histogram.counted_from.is_none_or(|from| end > from);
    let bins: Vec<_> = histogram
        .bins
        .iter()
        .map(|bin| ChartBin {
            begin: bin.begin,
            end: bin.end,
            label: label(context, bin.begin, bin.end),
        })
        .collect();
    let values = histogram.bins.iter();
    let values = values.map(|bin| is_counted(bin.end).then(|| value(bin.requests)));
    let filters = query
        .iter()
        .filter(|(field, _)| !matches!(field, LogField::Since | LogField::Until));
    let chart = Chart {
        id: "log-histogram",
        title: language.log_histogram(),
        total: language.requests_counted(histogram.requests()),
        kind: ChartKind::Stacked,
        unit: Unit::Count,
        zone: &context.zone,
        bins: &bins,
        series: vec![Series {
            name: language.requests(),
            colour: 2,
            values: values.collect(),
            filter: None,
        }],
        is_last_running: histogram.until >= context.now,
        log: Some(
            filters
                .map(|(field, value)| (field.name(), value.to_owned()))
                .collect(),
        ),
        purpose: ChartUse::Pick(histogram.since, histogram.until),
    };
    html! {
        section.card.histogram {
            (figure(language, &chart))
            @if let Some(from) = histogram.counted_from {
                p.muted.small { (language.counted_back_to()) " " (moment(context, from)) }
            }
        }
        (chart::scripts())
    }
}

fn label(context: &PageContext, begin: Timestamp, end: Timestamp) -> String {
    let text = |at: Timestamp, format: &str| {
        let at = at.to_jiff().to_zoned(context.zone.clone());
        at.strftime(format).to_string()
    };
    let (from, to) = match (end - begin).as_secs() {
        0..60 => ("%m-%d %H:%M:%S", "%H:%M:%S"),
        60..86_400 => ("%m-%d %H:%M", "%H:%M"),
        _ => ("%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M"),
    };
    format!("{} – {}", text(begin, from), text(end, to))
}
