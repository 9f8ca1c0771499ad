//! `Exposition`: the metrics with their names, labels and texts.

use std::fmt::Result;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::api::metrics::figures::Figures;
use crate::pool::egress::proxy::EgressProxyId;
use crate::pool::keys::key_status::KeyStatusKind;
use crate::pool::traffic_counters::{BUCKETS_MS, DurationHistogram, MAX_EGRESS_PROXIES};

/// The label of what is counted together.
const OTHER: &str = "other";

/// Encodes figures.
#[derive(Debug)]
pub struct Exposition(pub Figures);

type Labels<const N: usize> = [(&'static str, String); N];

const NO_LABELS: Labels<0> = [];

impl Collector for Exposition {
    fn encode(&self, encoder: DescriptorEncoder) -> Result {
        let mut writer = Writer(encoder);
        let version = [("version", env!("CARGO_PKG_VERSION").to_owned())];
        let help = "The version of the program; always 1";
        writer.gauges("gemini_pool_build_info", help, [(version, 1.0)])?;
        self.encode_traffic(&mut writer)?;
        self.encode_keys(&mut writer)?;
        self.encode_record(&mut writer)?;
        self.encode_process(&mut writer)
    }
}

impl Exposition {
    /// Finished requests since the start of the server.
    fn encode_traffic(&self, writer: &mut Writer) -> Result {
        let traffic = &self.0.traffic;
        let requests = traffic.requests.iter().map(|((outcome, model), count)| {
            let model = model.as_deref().unwrap_or(OTHER).to_owned();
            let labels = [("outcome", outcome.name().to_owned()), ("model", model)];
            (labels, float(*count))
        });
        let help = "Finished requests by outcome and model since the start";
        writer.counters("gemini_pool_requests", help, requests)?;
        let requests = traffic
            .client_requests
            .iter()
            .map(|((outcome, id), count)| {
                let name = id.and_then(|id| self.0.client_keys.get(&id));
                let labels = [
                    ("outcome", outcome.name().to_owned()),
                    (
                        "client_key_id",
                        id.map_or_else(String::new, |id| id.0.to_string()),
                    ),
                    ("client_key", name.map_or(OTHER, String::as_str).to_owned()),
                ];
                (labels, float(*count))
            });
        let help = "Finished requests by outcome and client key since the start";
        writer.counters("gemini_pool_client_requests", help, requests)?;
        let attempts = traffic.attempts.iter();
        let attempts = attempts.map(|(rule, count)| ([("rule", rule.to_string())], float(*count)));
        let help = "Attempts of finished requests by the rule that classified them";
        writer.counters("gemini_pool_attempts", help, attempts)?;
        self.encode_egress(writer)?;
        let help = "Time from a request to the first byte of its answer";
        writer.histogram("gemini_pool_first_byte_seconds", help, &traffic.first_byte)?;
        let help = "Time from a request to the end of its answer";
        writer.histogram(
            "gemini_pool_request_duration_seconds",
            help,
            &traffic.duration,
        )?;
        let tokens = traffic.tokens;
        let tokens = [
            ("prompt", tokens.prompt),
            ("output", tokens.output),
            ("thoughts", tokens.thoughts),
            ("cached", tokens.cached),
        ];
        let tokens = tokens.map(|(kind, count)| ([("kind", kind.to_owned())], float(count)));
        writer.counters(
            "gemini_pool_tokens",
            "Tokens by kind since the start",
            tokens,
        )?;
        let cost = float(traffic.cost_nano_usd) / 1e9;
        let help = "Cost at list price since the start, in dollars";
        writer.counters("gemini_pool_cost_usd", help, [(NO_LABELS, cost)])
    }

    /// Attempts through egress proxies since the start, and which of them work. Nothing where there are none.
    fn encode_egress(&self, writer: &mut Writer) -> Result {
        let (traffic, egress) = (&self.0.traffic, &self.0.egress);
        let labels = |id: Option<EgressProxyId>| {
            let row = id.and_then(|id| egress.get(&id));
            let label = row.map_or(OTHER, |(label, _)| label.as_str());
            let id = id.map_or_else(String::new, |id| id.to_string());
            [("egress_id", id), ("egress", label.to_owned())]
        };
        let attempts = traffic.egress.iter();
        let attempts = attempts.map(|(id, count)| (labels(*id), float(count.0)));
        let help = "Attempts of finished requests through an egress proxy since the start";
        writer.counters("gemini_pool_egress_attempts", help, attempts)?;
        let failures = traffic.egress.iter();
        let failures = failures.map(|(id, count)| (labels(*id), float(count.1)));
        let help = "Those whose connection failed or broke";
        writer.counters("gemini_pool_egress_failures", help, failures)?;
        let working = egress
            .iter()
            .filter_map(|(id, (_, works))| Some((labels(Some(*id)), flag((*works)?))));
        let working = working.take(MAX_EGRESS_PROXIES);
        let help = "1 while an enabled egress proxy works";
        writer.gauges("gemini_pool_egress_working", help, working)
    }

    /// Upstream keys, projects and queues now.
    fn encode_keys(&self, writer: &mut Writer) -> Result {
        let (figures, overview) = (&self.0, &self.0.overview);
        let states = KeyStatusKind::ALL.iter().map(|kind| {
            let labels = [("state", kind.name().to_owned())];
            (labels, size(overview.count(*kind)))
        });
        writer.gauges(
            "gemini_pool_upstream_keys",
            "Upstream keys by state",
            states,
        )?;
        let help = "Upstream keys that can serve some model now";
        writer.gauge(
            "gemini_pool_usable_upstream_keys",
            help,
            size(overview.usable),
        )?;
        let help = "Attempts and streams that hold an upstream key";
        let in_flight = float(overview.in_flight);
        writer.gauge("gemini_pool_requests_in_flight", help, in_flight)?;
        let help = "Live sessions";
        writer.gauge(
            "gemini_pool_live_sessions",
            help,
            size(figures.live_sessions),
        )?;
        let help = "Requests that wait for an upstream key";
        writer.gauge("gemini_pool_queue_length", help, size(figures.queued))?;
        let help = "Memory of request bodies that are held for a retry";
        writer.gauge(
            "gemini_pool_held_body_bytes",
            help,
            float(figures.held_body_bytes),
        )?;
        let is_throttled = overview.address_throttled_until.is_some();
        let help = "1 while Google throttles the address of this server";
        writer.gauge("gemini_pool_address_throttled", help, flag(is_throttled))?;
        let models = &figures.models;
        let label = |model: &String| [("model", model.clone())];
        let cooling = models
            .iter()
            .map(|(model, figures)| (label(model), size(figures.projects_cooling_down)));
        let help = "Projects that cool down for a model; `*`: for all models";
        writer.gauges("gemini_pool_projects_cooling_down", help, cooling)?;
        let requests = models
            .iter()
            .filter_map(|(model, figures)| Some((label(model), float(figures.requests_left?))));
        let help = "Requests left today by the known daily limits of usable projects";
        writer.gauges("gemini_pool_quota_requests_left", help, requests)?;
        let tokens = models
            .iter()
            .filter_map(|(model, figures)| Some((label(model), float(figures.tokens_left?))));
        let help = "Input tokens left today by the known daily limits of usable projects";
        writer.gauges("gemini_pool_quota_tokens_left", help, tokens)
    }

    /// The database and its writer.
    fn encode_record(&self, writer: &mut Writer) -> Result {
        let figures = &self.0;
        let help = "Rows that wait in memory for the database";
        writer.gauge("gemini_pool_pending_rows", help, size(figures.pending_rows))?;
        let help = "Time until everything that was submitted before this scrape was in its tables, at most one second";
        let lag = figures.writer_lag.as_secs_f64();
        writer.gauge("gemini_pool_writer_lag_seconds", help, lag)?;
        let help = "1 while the database cannot be written";
        let is_failing = flag(figures.is_write_failing);
        writer.gauge("gemini_pool_database_failing", help, is_failing)?;
        let help = "Writes that were committed since the start";
        let written = [(NO_LABELS, float(figures.written))];
        writer.counters("gemini_pool_database_writes", help, written)?;
        let entries = figures
            .journal_entries
            .map(|count| (NO_LABELS, float(count.unsigned_abs())));
        let help = "Entries of the journal that are not in the tables yet";
        writer.gauges("gemini_pool_journal_entries", help, entries)?;
        let help = "Size of the database file";
        writer.gauge(
            "gemini_pool_database_bytes",
            help,
            float(figures.database_bytes),
        )?;
        let help = "Size of the write-ahead log";
        writer.gauge("gemini_pool_wal_bytes", help, float(figures.wal_bytes))
    }

    fn encode_process(&self, writer: &mut Writer) -> Result {
        let process = self.0.process;
        let value = |value: Option<u64>| value.map(|value| (NO_LABELS, float(value)));
        let help = "Resident memory";
        writer.gauges(
            "process_resident_memory_bytes",
            help,
            value(process.resident_bytes),
        )?;
        writer.gauges("process_open_fds", "Open files", value(process.open_files))?;
        let help = "Maximum number of open files";
        writer.gauges("process_max_fds", help, value(process.max_files))?;
        let cpu = process.cpu_seconds.map(|seconds| (NO_LABELS, seconds));
        writer.counters("process_cpu_seconds", "User and system time", cpu)
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "Prometheus has no other numbers"
)]
fn float(number: u64) -> f64 {
    number as f64
}

fn size(number: usize) -> f64 {
    float(u64::try_from(number).unwrap_or(u64::MAX))
}

fn seconds(ms: u64) -> f64 {
    float(ms) / 1e3
}

fn flag(is_set: bool) -> f64 {
    f64::from(u8::from(is_set))
}

/// Writes metrics with a common prefix.
struct Writer<'a>(DescriptorEncoder<'a>);

impl Writer<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: f64) -> Result {
        self.gauges(name, help, [(NO_LABELS, value)])
    }

    /// A value for each set of labels; nothing if there are none.
    fn gauges<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<N>, f64)>,
    ) -> Result {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return Ok(());
        }
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// Names of counters get the end `_total`.
    fn counters<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<N>, f64)>,
    ) -> Result {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return Ok(());
        }
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in values {
            let mut metric = metric.encode_family(&labels)?;
            metric.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &DurationHistogram) -> Result {
        let bounds = BUCKETS_MS.iter().map(|ms| seconds(*ms));
        let bounds = bounds.chain([f64::INFINITY]);
        let buckets: Vec<_> = bounds.zip(histogram.counts).collect();
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Histogram)?;
        let (sum, count) = (seconds(histogram.sum_ms), histogram.count());
        metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }
}
