//! Lists and follows the log of a remote server.

use anyhow::{Context, Result, bail};

use crate::cli::remote::RemoteServer;
use crate::pool::request_id::RequestId;
use crate::storage::paging::Page;
use crate::storage::request_logs::filter::LogFilter;
use crate::storage::request_logs::listed::RequestLog;

/// The query of the API with the conditions of a filter. Each must be named here: a new one does not compile.
pub fn query_of(filter: &LogFilter) -> Vec<(&'static str, String)> {
    let LogFilter {
        kind,
        outcome,
        status,
        model,
        model_version,
        client_key_id,
        client_key,
        client_ip,
        user_agent,
        upstream_key_id,
        upstream_key,
        project,
        egress,
        method,
        path,
        operation,
        streamed,
        finish_reason,
        service_tier,
        min_duration_ms,
        min_first_byte_ms,
        retried,
        error,
        since,
        until,
        text,
    } = filter;
    // Without it the API lists requests only.
    let kind: &str = kind.map_or("any", Into::into);
    let conditions = [
        ("kind", Some(kind.to_owned())),
        ("outcome", outcome.map(|outcome| outcome.to_string())),
        ("status", status.map(|status| status.to_string())),
        ("model", model.clone()),
        ("model_version", model_version.clone()),
        ("client_key_id", client_key_id.map(|id| id.0.to_string())),
        ("client_key", client_key.clone()),
        ("client_ip", client_ip.clone()),
        ("user_agent", user_agent.clone()),
        (
            "upstream_key_id",
            upstream_key_id.map(|id| id.0.to_string()),
        ),
        ("upstream_key", upstream_key.clone()),
        ("project", project.clone()),
        ("egress", egress.clone()),
        ("method", method.clone()),
        ("path", path.clone()),
        ("operation", operation.clone()),
        ("streamed", streamed.map(|streamed| streamed.to_string())),
        ("finish_reason", finish_reason.clone()),
        ("service_tier", service_tier.clone()),
        ("min_duration_ms", min_duration_ms.map(|ms| ms.to_string())),
        (
            "min_first_byte_ms",
            min_first_byte_ms.map(|ms| ms.to_string()),
        ),
        ("retried", retried.then(|| "true".to_owned())),
        ("error", error.clone()),
        ("since", since.map(|time| time.to_string())),
        ("until", until.map(|time| time.to_string())),
        ("q", text.clone()),
    ];
    let set = conditions
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
    set.collect()
}

/// Up to `limit` requests older than `cursor`, and where the list continues. A search that takes long gives fewer.
pub async fn page(
    server: &RemoteServer,
    filter: &LogFilter,
    cursor: Option<RequestId>,
    limit: usize,
    has_attempts: bool,
) -> Result<(Vec<RequestLog>, Option<RequestId>)> {
    let mut query = query_of(filter);
    query.push(("limit", limit.to_string()));
    query.push(("attempts", has_attempts.to_string()));
    query.extend(cursor.map(|cursor| ("cursor", cursor.to_string())));
    let page: Page<RequestLog> = server.get(&["logs"], &query).await?;
    let next = page.next.map(|next| next.parse());
    let next = next.transpose().context("the cursor of the server")?;
    Ok((page.items, next))
}

/// Calls `finished` with each request as it ends. Returns only with an error.
pub async fn follow(
    server: &RemoteServer,
    filter: &LogFilter,
    mut finished: impl FnMut(&RequestLog) -> Result<()>,
) -> Result<()> {
    let mut answer = server.open(&["logs", "tail"], &query_of(filter)).await?;
    let mut events = EventReader::default();
    while let Some(part) = answer.next_part().await? {
        for (name, data) in events.read(&part) {
            if name == "finished" {
                finished(&serde_json::from_str(&data)?)?;
            }
        }
    }
    bail!("the server has ended the log: it stops, or the token is no longer valid")
}

/// Reads server-sent events of one line of data from parts of a stream.
#[derive(Debug, Default)]
struct EventReader {
    /// The line whose end is not there yet.
    rest: Vec<u8>,
    name: String,
    data: String,
}

impl EventReader {
    /// The events that end in this part, with their names.
    fn read(&mut self, part: &[u8]) -> Vec<(String, String)> {
        self.rest.extend_from_slice(part);
        let mut events = Vec::new();
        while let Some(end) = memchr::memchr(b'\n', &self.rest) {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            if line.is_empty() && !self.data.is_empty() {
                let name = std::mem::take(&mut self.name);
                events.push((name, std::mem::take(&mut self.data)));
            } else if let Some(name) = line.strip_prefix("event: ") {
                name.clone_into(&mut self.name);
            } else if let Some(data) = line.strip_prefix("data: ") {
                data.clone_into(&mut self.data);
            }
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_wherever_the_stream_is_cut() {
        let stream = ": comment\n\nevent: started\ndata: {\"a\":\"ä\"}\n\nevent: finished\r\ndata: 2\r\n\r\n";
        for length in 1..stream.len() {
            let mut reader = EventReader::default();
            let parts = stream.as_bytes().chunks(length);

            let events: Vec<_> = parts.flat_map(|part| reader.read(part)).collect();

            let event = |name: &str, data: &str| (name.to_owned(), data.to_owned());
            let expected = [event("started", "{\"a\":\"ä\"}"), event("finished", "2")];
            assert_eq!(events, expected, "{length}");
        }
    }
}
