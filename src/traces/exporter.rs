//! Sends spans to a collector by OTLP over HTTP.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use http::{Request, Response};
use opentelemetry_http::{Bytes, HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};

use crate::http_post::post;

/// Time limit of an export.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Sends spans to the collector at `endpoint`, such as `http://localhost:4318`. Fails with the reason.
pub async fn export(endpoint: &str, spans: Vec<SpanData>) -> Result<(), String> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(CollectorClient)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(traces_url(endpoint))
        .with_timeout(TIMEOUT)
        .build();
    let mut exporter = exporter.map_err(|error| error.to_string())?;
    let service = Resource::builder_empty().with_service_name("gemini-pool");
    exporter.set_resource(&service.build());
    let sent = tokio::time::timeout(TIMEOUT, exporter.export(spans)).await;
    match sent {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer in {} seconds", TIMEOUT.as_secs())),
    }
}

/// The path that the specification of OTLP gives to traces, below a base URL.
fn traces_url(endpoint: &str) -> String {
    let endpoint = endpoint.trim_end_matches('/');
    if endpoint.ends_with("/v1/traces") {
        endpoint.to_owned()
    } else {
        format!("{endpoint}/v1/traces")
    }
}

/// The connection to the collector.
#[derive(Debug)]
struct CollectorClient;

type Answered<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for CollectorClient {
    fn send_bytes<'life, 'answer>(&'life self, request: Request<Bytes>) -> Answered<'answer>
    where
        'life: 'answer,
        Self: 'answer,
    {
        Box::pin(async {
            let (head, body) = request.into_parts();
            let url = head.uri.to_string();
            let kind = "application/x-protobuf";
            let (status, body) = post(&url, head.headers, kind, body, TIMEOUT).await?;
            let mut response = Response::new(body);
            *response.status_mut() = status;
            Ok(response)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_traces_is_added_once() {
        let url = "http://localhost:4318/v1/traces";
        for endpoint in [
            "http://localhost:4318",
            "http://localhost:4318/",
            "http://localhost:4318/v1/traces",
        ] {
            assert_eq!(traces_url(endpoint), url, "{endpoint}");
        }
    }
}
