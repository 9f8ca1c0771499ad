//! The filters of the commands that select logged requests.

use clap::Args;

use crate::cli::time_argument::TimeArgument;
use crate::clock;
use crate::pool::clients::client_key::ClientKeyId;
use crate::pool::keys::upstream_key::UpstreamKeyId;
use crate::storage::request_logs::LogKind;
use crate::storage::request_logs::filter::{LogFilter, OutcomeFilter, StatusFilter};

#[derive(Debug, Args)]
pub struct FilterArgs {
    /// The outcome: success, quota, network …, or failed (any but success), or running
    #[arg(long)]
    outcome: Option<OutcomeFilter>,
    /// The HTTP status that the client received, as in 404 or 4xx
    #[arg(long)]
    status: Option<StatusFilter>,
    /// The requested model
    #[arg(long)]
    model: Option<String>,
    /// The model version that answered
    #[arg(long, value_name = "MODEL")]
    model_version: Option<String>,
    /// The client key, by name
    #[arg(long, value_name = "NAME")]
    client: Option<String>,
    /// The client key, by id
    #[arg(long, value_name = "ID")]
    client_id: Option<i64>,
    /// The client's address
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<String>,
    /// The client's complete user agent
    #[arg(long)]
    user_agent: Option<String>,
    /// An upstream key that was tried, by id
    #[arg(long, value_name = "ID")]
    upstream_key: Option<i64>,
    /// An upstream key that was tried, by label or last four characters
    #[arg(long, value_name = "LABEL")]
    upstream_key_label: Option<String>,
    /// The project of the last key that was tried: its name, or Google's number for it
    #[arg(long)]
    project: Option<String>,
    /// The egress proxy of any attempt, by label or id
    #[arg(long, value_name = "LABEL")]
    egress: Option<String>,
    /// The method: GET, POST …
    #[arg(long)]
    method: Option<String>,
    /// The complete path
    #[arg(long)]
    path: Option<String>,
    /// The operation: generateContent, countTokens …
    #[arg(long)]
    operation: Option<String>,
    /// Whether the response was a stream: true or false
    #[arg(long)]
    streamed: Option<bool>,
    /// The finish reason: `STOP`, `MAX_TOKENS` …
    #[arg(long, value_name = "REASON")]
    finish_reason: Option<String>,
    /// The service tier: standard, flex, priority …
    #[arg(long, value_name = "TIER")]
    service_tier: Option<String>,
    /// Minimum duration in milliseconds
    #[arg(long, value_name = "MS")]
    min_duration: Option<u64>,
    /// Minimum time to the first byte in milliseconds
    #[arg(long, value_name = "MS")]
    min_first_byte: Option<u64>,
    /// Only requests with more than one attempt
    #[arg(long)]
    retried: bool,
    /// A part of the error
    #[arg(long, value_name = "TEXT")]
    error: Option<String>,
    /// The kind: request or check
    #[arg(long, value_parser = kind)]
    kind: Option<LogKind>,
    /// Started at or after this time: 2027-01-31T08:00:00Z, or 24h ago
    #[arg(long)]
    since: Option<TimeArgument>,
    /// Started before this time
    #[arg(long)]
    until: Option<TimeArgument>,
    /// A part of the error, path, model, user agent, client's name or key's label
    #[arg(long, short, value_name = "TEXT")]
    text: Option<String>,
}

fn kind(text: &str) -> Result<LogKind, &'static str> {
    text.parse().map_err(|_| "must be request or check")
}

impl FilterArgs {
    /// The filter; offsets from now are resolved.
    pub fn filter(self) -> LogFilter {
        let now = clock::now();
        LogFilter {
            kind: self.kind,
            outcome: self.outcome,
            status: self.status,
            model: self.model,
            model_version: self.model_version,
            client_key_id: self.client_id.map(ClientKeyId),
            client_key: self.client,
            client_ip: self.ip,
            user_agent: self.user_agent,
            upstream_key_id: self.upstream_key.map(UpstreamKeyId),
            upstream_key: self.upstream_key_label,
            project: self.project,
            egress: self.egress,
            method: self.method,
            path: self.path,
            operation: self.operation,
            streamed: self.streamed,
            finish_reason: self.finish_reason,
            service_tier: self.service_tier,
            min_duration_ms: self.min_duration,
            min_first_byte_ms: self.min_first_byte,
            retried: self.retried,
            error: self.error,
            since: self.since.map(|since| since.resolve_back(now)),
            until: self.until.map(|until| until.resolve_back(now)),
            text: self.text,
        }
    }
}
