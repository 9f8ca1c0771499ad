//! Traces of requests, received as a collector of OpenTelemetry receives them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use gemini_pool::demo::fake_gemini::behaviour::{Behaviour, FakeKey};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use parking_lot::Mutex;
use prost::Message;
use tokio::net::TcpListener;

use crate::support::requests::TestRequest;
use crate::support::{CLIENT_KEY, TestPool, eventually};

const FIRST: &str = "AIzaSyTheSecretOfTheFirstKeyOfThePool01";
const SECOND: &str = "AIzaSyTheSecretOfTheSecondKeyOfThePool2";

/// A collector, and the bodies that it received.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Bytes>>>);

impl Collector {
    /// Starts the collector and returns its URL.
    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let received = self.0.clone();
        let traces = post(async move |body: Bytes| received.lock().push(body));
        let router = Router::new().route("/v1/traces", traces);
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    /// All spans so far, those of resources that name the service.
    fn spans(&self) -> Vec<Span> {
        let bodies = self.0.lock();
        let requests = bodies
            .iter()
            .map(|body| ExportTraceServiceRequest::decode(body.as_ref()).unwrap());
        let resources = requests.flat_map(|request| request.resource_spans);
        let scopes = resources.flat_map(|of_resource| {
            let resource = of_resource.resource.unwrap();
            let service = resource.attributes.iter();
            assert!(
                service.clone().any(|one| one.key == "service.name"),
                "{resource:?}"
            );
            of_resource.scope_spans
        });
        scopes.flat_map(|of_scope| of_scope.spans).collect()
    }
}

fn attributes(span: &Span) -> BTreeMap<&str, String> {
    let text = |value: &AnyValue| match value.value.as_ref().unwrap() {
        any_value::Value::StringValue(text) => text.clone(),
        any_value::Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    let pairs = span.attributes.iter();
    pairs
        .map(|pair| (pair.key.as_str(), text(pair.value.as_ref().unwrap())))
        .collect()
}

#[tokio::test]
async fn a_request_is_a_trace_with_a_span_for_each_attempt() {
    let collector = Collector::default();
    let pool = TestPool::with_keys([
        FakeKey::new(FIRST, "700000000001", Behaviour::Suspended),
        FakeKey::new(SECOND, "700000000002", Behaviour::Suspended),
        FakeKey::healthy("AIzaSyTheSecretOfTheThirdKeyOfThePool03", "700000000003"),
    ])
    .await;
    pool.set(&[("otlp_endpoint", &collector.start().await)])
        .await;

    let trace = "0af7651916cd43dd8448eb211c80319c";
    let request = TestRequest::StreamSse;
    let answer = pool
        .post(request.path(), request.body())
        .header("traceparent", format!("00-{trace}-b7ad6b7169203331-01"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let id = answer.headers()["x-request-id"]
        .to_str()
        .unwrap()
        .to_owned();
    answer.bytes().await.unwrap();

    let spans = eventually("the trace arrives", async || {
        let spans = collector.spans();
        (!spans.is_empty()).then_some(spans)
    })
    .await;
    let row = pool.row().await;
    let attempts = usize::try_from(row.attempts).unwrap();
    assert_eq!(spans.len(), 1 + attempts, "{spans:#?}");
    let (server, clients) = spans.split_first().unwrap();
    assert_eq!(server.name, "generate_content gemini-2.5-flash");
    assert_eq!(
        format!(
            "{:032x}",
            u128::from_be_bytes(server.trace_id.clone().try_into().unwrap())
        ),
        trace
    );
    assert_eq!(
        server.parent_span_id,
        0xb7ad_6b71_6920_3331_u64.to_be_bytes()
    );
    let of_server = attributes(server);
    for (name, expected) in [
        ("gen_ai.operation.name", "generate_content"),
        ("gen_ai.provider.name", "gcp.gemini"),
        ("gen_ai.request.model", "gemini-2.5-flash"),
        ("gemini_pool.request_id", &id),
        ("gemini_pool.outcome", "success"),
        ("http.response.status_code", "200"),
    ] {
        assert_eq!(
            of_server.get(name).map(String::as_str),
            Some(expected),
            "{name}: {of_server:?}"
        );
    }
    let tokens = row.prompt_tokens.unwrap().to_string();
    assert_eq!(of_server["gen_ai.usage.input_tokens"], tokens);
    for (index, client) in clients.iter().enumerate() {
        assert_eq!(client.trace_id, server.trace_id);
        assert_eq!(client.parent_span_id, server.span_id);
        assert_eq!(
            attributes(client)["http.request.resend_count"],
            index.to_string()
        );
    }
    let last = attributes(clients.last().unwrap());
    assert_eq!(last["gemini_pool.rule"], "success");
}

#[tokio::test]
async fn traces_contain_no_secret_and_no_text() {
    let collector = Collector::default();
    let pool = TestPool::with_keys([FakeKey::new(
        FIRST,
        "700000000001",
        Behaviour::InvalidEchoingKey,
    )])
    .await;
    pool.set(&[("otlp_endpoint", &collector.start().await)])
        .await;

    pool.fetch(TestRequest::Generate).await;

    eventually("the trace arrives", async || {
        (!collector.spans().is_empty()).then_some(())
    })
    .await;
    let bodies = collector.0.lock().concat();
    let text = String::from_utf8_lossy(&bodies);
    for secret in [FIRST, CLIENT_KEY, "sky blue", "API key"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
}

#[tokio::test]
async fn what_a_client_does_not_sample_and_what_no_collector_takes_is_no_trace() {
    let collector = Collector::default();
    let pool = TestPool::with_keys([FakeKey::healthy(FIRST, "700000000001")]).await;
    pool.set(&[("otlp_endpoint", "http://127.0.0.1:9")]).await;

    assert_eq!(pool.generate().await.status(), 200);
    eventually("the trace is dropped", async || {
        (pool.app.traces.dropped() == 1).then_some(())
    })
    .await;

    pool.set(&[("otlp_endpoint", &collector.start().await)])
        .await;
    let request = TestRequest::Generate;
    let unsampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    let answer = pool
        .post(request.path(), request.body())
        .header("traceparent", unsampled)
        .send();
    assert_eq!(answer.await.unwrap().status(), 200);
    pool.finished_rows(2).await;
    pool.app.traces.settle().await;
    assert_eq!(collector.spans(), []);

    pool.generate().await;
    eventually("a trace arrives", async || {
        (collector.spans().len() == 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn google_receives_the_traceparent_that_the_setting_says() {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    let collector = Collector::default();
    let pool = TestPool::with_keys([FakeKey::healthy(FIRST, "700000000001")]).await;
    let sampled = format!("00-{TRACE}-b7ad6b7169203331-01");
    let unsampled = format!("00-{TRACE}-b7ad6b7169203331-00");
    let receive = async |traceparent: Option<&str>| {
        let request = TestRequest::Generate;
        let mut sent = pool
            .post(request.path(), request.body())
            .header("tracestate", "vendor=1");
        if let Some(traceparent) = traceparent {
            sent = sent.header("traceparent", traceparent);
        }
        assert_eq!(sent.send().await.unwrap().status(), 200);
        let received = pool.google.last_received().unwrap().headers;
        ["traceparent", "tracestate"].map(|name| {
            let found = received.iter().find(|(header, _)| header == name);
            found.map(|(_, value)| String::from_utf8(value.clone()).unwrap())
        })
    };
    let state = || Some("vendor=1".to_owned());

    for setting in ["client", "pool"] {
        pool.set(&[("upstream_traceparent", setting)]).await;
        // Nothing is traced yet.
        assert_eq!(
            receive(Some(&sampled)).await,
            [Some(sampled.clone()), state()]
        );
        assert_eq!(receive(None).await, [None, state()]);
    }
    pool.set(&[("upstream_traceparent", "none")]).await;
    assert_eq!(receive(Some(&sampled)).await, [None, None]);

    pool.set(&[
        ("upstream_traceparent", "pool"),
        ("otlp_endpoint", &collector.start().await),
    ])
    .await;
    assert_eq!(
        receive(Some(&unsampled)).await,
        [Some(unsampled.clone()), state()]
    );
    let [continued, kept] = receive(Some(&sampled)).await;
    assert_eq!(kept, state());
    let [begun, kept] = receive(Some("not one")).await;
    assert_eq!(kept, None);
    let spans = eventually("the traces arrive", async || {
        let spans = collector.spans();
        (spans.len() == 4).then_some(spans)
    })
    .await;
    let own = spans.iter().filter(|span| span.name != "attempt 1");
    let own: Vec<_> = own
        .map(|span| {
            let trace = u128::from_be_bytes(span.trace_id.clone().try_into().unwrap());
            let id = u64::from_be_bytes(span.span_id.clone().try_into().unwrap());
            format!("00-{trace:032x}-{id:016x}-01")
        })
        .collect();
    assert_eq!(own, [continued.unwrap(), begun.unwrap()]);
    assert!(own[0].contains(TRACE) && own[0] != sampled, "{own:?}");
}
