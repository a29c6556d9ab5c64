//! Spans on their way to a collector: a whole tree for each run, whatever the protocol and the number of threads, also
//! where SIGTERM follows at once; and what is never in one.

use std::collections::BTreeMap;

use axum::{body::Body, http::Response};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use runwright::grpc::proto::RunRequest;
use tokio::net::TcpListener;
use tonic::Request;

use crate::support::{
    collector::{Collector, attribute, hex},
    error::decode,
    leak::{Sinks, assert_no_leak, canary},
    mcp_server::{Era, McpServer, Seen},
    model_server::{ModelServer, calls, has_result, says},
    process::Process,
    run_as,
    service::asking_config,
};

const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN_ID: &str = "b7ad6b7169203331";

async fn model() -> ModelServer {
    let answer = |body| async move { if has_result(&body) { says("done") } else { calls("whoami", "{}") } };
    ModelServer::start(answer).await
}

fn config(model: &ModelServer, server: &McpServer, telemetry: &str) -> String {
    let config = asking_config(&model.base_url(), &[("crm", &server.url())]);
    format!("{config}telemetry: {{ {telemetry} }}\n")
}

fn request(metadata: &[(&'static str, &str)]) -> Request<RunRequest> {
    let mut request = Request::new(run_as("a", "alice-s-token"));
    for (name, value) in metadata {
        request.metadata_mut().insert(*name, value.parse().unwrap());
    }
    request
}

/// The spans of one trace as a tree: each one's name and the path of names above it. The root's parent is given.
fn tree(spans: &[Span], root_parent: &str) -> Vec<String> {
    let by_id: BTreeMap<String, &Span> = spans.iter().map(|span| (hex(&span.span_id), span)).collect();
    let path = |span: &Span| {
        let mut names = vec![span.name.clone()];
        let mut parent = hex(&span.parent_span_id);
        while parent != root_parent {
            let above = by_id.get(&parent).unwrap_or_else(|| panic!("{} has no parent {parent}", span.name));
            names.push(above.name.clone());
            parent = hex(&above.parent_span_id);
        }
        names.reverse();
        names.join(" > ")
    };
    let mut paths: Vec<String> = spans.iter().map(path).collect();
    paths.sort();
    paths
}

/// What a run of one tool comes to, below an RPC of this name.
fn whole_tree(rpc: &str) -> Vec<String> {
    [
        "",
        " > invoke_agent a",
        " > invoke_agent a > chat m-1",
        " > invoke_agent a > chat m-1",
        " > invoke_agent a > execute_tool whoami",
        " > invoke_agent a > execute_tool whoami > tools/call whoami",
        " > invoke_agent a > server/discover",
        " > invoke_agent a > tools/list",
    ]
    .map(|path| format!("runwright.v1.AgentService/{rpc}{path}"))
    .to_vec()
}

#[tokio::test]
async fn a_collector_gets_the_whole_tree_of_a_run_that_sigterm_follows_at_once() {
    let incoming = format!("00-{TRACE_ID}-{SPAN_ID}-01");
    for (protocol, workers) in [("http", 1), ("grpc", 1), ("http", 3), ("grpc", 3)] {
        for streamed in [false, true] {
            let collector = Collector::start(protocol).await;
            let (model, server) = (model().await, McpServer::start(Era::Modern).await);
            let service = Process::start(&config(&model, &server, &collector.telemetry("")), workers).await;
            let request = request(&[("traceparent", &incoming)]);
            let rpc = if streamed {
                let mut events = service.agents.clone().run_streamed(request).await.unwrap().into_inner();
                while events.message().await.unwrap().is_some() {}
                "RunStreamed"
            } else {
                service.agents.clone().run(request).await.unwrap();
                "Run"
            };
            service.terminated().await;

            let spans = collector.spans();
            assert_eq!(tree(&spans, SPAN_ID), whole_tree(rpc), "{protocol}, {workers} workers");
            assert!(spans.iter().all(|span| hex(&span.trace_id) == TRACE_ID));
            let call = server.seen().into_iter().find(|seen| seen.method() == "tools/call").unwrap();
            let called = spans.iter().find(|span| span.name == "tools/call whoami").unwrap();
            assert_eq!(
                call.header("traceparent"),
                format!("00-{TRACE_ID}-{}-01", hex(&called.span_id)),
                "the server's spans stand below the call's"
            );
        }
    }
}

#[tokio::test]
async fn a_collector_need_not_wait_for_the_end_and_learns_whose_spans_they_are() {
    for protocol in ["http", "grpc"] {
        let collector = Collector::start(protocol).await;
        let (model, server) = (model().await, McpServer::start(Era::Modern).await);
        let more = ", headers: { x-tenant: blue, authorization: { value: secret-1, prefix: 'Bearer ' } }";
        let telemetry =
            format!("{}, resource: {{ deployment.environment.name: test }}", collector.telemetry(more));
        let service = Process::start(&config(&model, &server, &telemetry), 2).await;
        service.agents.clone().run(request(&[])).await.unwrap();
        let root = collector.span("runwright.v1.AgentService/Run").await;
        assert_eq!(root.kind(), SpanKind::Server);

        let batch = collector.batches().remove(0);
        assert_eq!(
            (&batch.headers["x-tenant"], &batch.headers["authorization"]),
            (&"blue".parse().unwrap(), &"Bearer secret-1".parse().unwrap())
        );
        let resource = batch.request.resource_spans[0].resource.clone().unwrap().attributes;
        let said = |name| attribute(&resource, name);
        assert_eq!(said("service.name").as_deref(), Some("runwright"));
        assert_eq!(said("service.version").as_deref(), Some(env!("CARGO_PKG_VERSION")));
        assert_eq!(said("deployment.environment.name").as_deref(), Some("test"));
        assert!(said("service.instance.id").is_some_and(|id| !id.is_empty()));
        assert_eq!(batch.request.resource_spans[0].scope_spans[0].scope.clone().unwrap().name, "runwright");
    }
}

#[tokio::test]
async fn one_id_is_on_all_that_a_run_sends_logs_measures_and_answers() {
    let collector = Collector::start("http").await;
    let server = McpServer::start(Era::Modern).await;
    let model = ModelServer::start(|body| async move {
        match has_result(&body) {
            true => Response::builder().status(401).body(Body::empty()).unwrap(),
            false => calls("whoami", "{}"),
        }
    })
    .await;
    let service = Process::start(&config(&model, &server, &collector.telemetry("")), 2).await;
    let failed = service.agents.clone().run(request(&[("x-request-id", "one-id")])).await.unwrap_err();
    assert_eq!(failed.metadata().get("x-request-id").unwrap(), "one-id");
    let decoded = decode(&failed);
    assert_eq!((&*decoded.reason, &*decoded.metadata["request_id"]), ("MODEL_UNAUTHORIZED", "one-id"));
    let run_id = decoded.metadata["run_id"].clone();
    let lines = service.terminated().await;

    assert!(server.seen().iter().all(|seen| seen.header("x-request-id") == "one-id"));
    assert!(model.seen().iter().all(|(headers, _)| headers["x-request-id"] == "one-id"));
    let spans = collector.spans();
    assert_eq!(tree(&spans, ""), whole_tree("Run"));
    let trace_id = hex(&spans[0].trace_id);
    for span in &spans {
        assert_eq!(attribute(&span.attributes, "request_id").as_deref(), Some("one-id"), "{}", span.name);
    }
    let of_run: Vec<&String> = lines.iter().filter(|line| line.contains(&run_id)).collect();
    assert!(!of_run.is_empty());
    assert!(of_run.iter().all(|line| line.contains("one-id") && line.contains(&trace_id)), "{of_run:?}");

    // What went wrong is described where it did, and nowhere else.
    let described = spans.iter().filter(|span| {
        span.status.as_ref().is_some_and(|status| !status.message.is_empty()) || !span.events.is_empty()
    });
    let described: Vec<&Span> = described.collect();
    assert_eq!(described.len(), 1);
    assert_eq!(
        (&*described[0].name, &*described[0].status.as_ref().unwrap().message),
        ("chat m-1", "MODEL_UNAUTHORIZED")
    );
    assert_eq!(attribute(&described[0].attributes, "http.response.status_code").as_deref(), Some("401"));
    let run = spans.iter().find(|span| span.name == "invoke_agent a").unwrap();
    assert_eq!(run.status.as_ref().unwrap().code(), StatusCode::Error);
    assert_eq!(attribute(&run.attributes, "error.type").as_deref(), Some("MODEL_UNAUTHORIZED"));
    let rpc = spans.iter().find(|span| span.name.ends_with("/Run")).unwrap();
    assert_eq!(rpc.status.clone().unwrap_or_default().code(), StatusCode::Unset, "it is no server's error");
    assert_eq!(
        attribute(&rpc.attributes, "rpc.response.status_code").as_deref(),
        Some("FAILED_PRECONDITION")
    );
}

#[tokio::test]
async fn what_is_sampled_is_the_callers_to_say_or_a_ratio() {
    let collector = Collector::start("http").await;
    let (model, server) = (model().await, McpServer::start(Era::Modern).await);
    let telemetry = format!("sampling: 0.0, {}", collector.telemetry(""));
    let service = Process::start(&config(&model, &server, &telemetry), 2).await;
    let sampled = format!("00-{TRACE_ID}-{SPAN_ID}-01");
    let not = format!("00-{}-{SPAN_ID}-00", TRACE_ID.replace('0', "1"));
    for traceparent in [None, Some(&not), Some(&sampled)] {
        let metadata: Vec<(&str, &str)> =
            traceparent.map(|traceparent| ("traceparent", traceparent.as_str())).into_iter().collect();
        service.agents.clone().run(request(&metadata)).await.unwrap();
    }
    service.terminated().await;
    let spans = collector.spans();
    assert!(spans.iter().all(|span| hex(&span.trace_id) == TRACE_ID));
    assert!(spans.iter().any(|span| span.name == "invoke_agent a"));
    let flags: Vec<String> = model
        .seen()
        .iter()
        .map(|(headers, _)| headers["traceparent"].to_str().unwrap()[53..].to_owned())
        .collect();
    assert_eq!(flags, ["00", "00", "00", "00", "01", "01"], "servers are told");
}

#[tokio::test]
async fn a_dead_collector_fails_no_run_and_is_told_of_once_until_it_is_back() {
    for protocol in ["http", "grpc"] {
        let (model, server) = (model().await, McpServer::start(Era::Modern).await);
        let dead = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = dead.local_addr().unwrap();
        drop(dead);
        let telemetry =
            format!("otlp: {{ endpoint: \"http://{address}\", protocol: {protocol}, timeout: 100ms }}");
        let service = Process::start(&config(&model, &server, &telemetry), 1).await;
        service.agents.clone().run(request(&[])).await.unwrap();
        service.line("Spans can't be exported").await;
        service.agents.clone().run(request(&[])).await.unwrap();

        let collector = Collector::on(TcpListener::bind(address).await.unwrap(), protocol);
        // Its batches go out by time, so that the next may still be one that was lost.
        while service.lines().iter().all(|line| !line.contains("Spans are exported again")) {
            service.agents.clone().run(request(&[])).await.unwrap();
        }
        collector.span("invoke_agent a").await;
        let lines = service.terminated().await;
        let told = lines.iter().filter(|line| line.contains("Spans can't be exported")).count();
        assert_eq!(told, 1, "{lines:?}");
    }
}

#[tokio::test]
async fn a_collector_that_does_not_answer_holds_up_the_end_for_two_seconds_at_most() {
    let (model, server) = (model().await, McpServer::start(Era::Modern).await);
    // It takes connections, and nothing more.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    for protocol in ["http", "grpc"] {
        let telemetry =
            format!("otlp: {{ endpoint: \"http://{address}\", protocol: {protocol}, timeout: 1m }}");
        let service = Process::start(&config(&model, &server, &telemetry), 1).await;
        service.agents.clone().run(request(&[])).await.unwrap();
        let lines = service.terminated().await;
        assert!(lines.iter().any(|line| line.contains("The last spans could not be exported")), "{lines:?}");
    }
}

#[tokio::test]
async fn content_is_on_spans_only_where_its_agent_is_configured_so_and_without_secrets() {
    for content in [false, true] {
        let (secret, model_secret, key) = (canary("alice"), canary("model"), canary("key"));
        let reflected = secret.clone();
        let whoami = move |seen: Seen| {
            let answer =
                (seen.method() == "tools/call").then(|| seen.tool_text(&format!("you are {reflected}")));
            async move { answer }
        };
        let collector = Collector::start("http").await;
        let server = McpServer::with_hook(Era::Modern, whoami).await;
        let (echoed, registered) = (model_secret.clone(), key.clone());
        let model = ModelServer::start(move |body| {
            let (echoed, key) = (echoed.clone(), registered.clone());
            async move {
                match has_result(&body) {
                    true => says(&format!("my key is {echoed} or {key}")),
                    false => calls("whoami", &serde_json::json!({ "note": echoed }).to_string()),
                }
            }
        })
        .await;
        let yaml = config(&model, &server, &collector.telemetry(""));
        let yaml = yaml.replace("model: m-1 }", &format!("model: m-1, api_key: '{key}' }}"));
        let yaml = yaml.replace("model: main,", &format!("model: main, trace_content: {content},"));
        let service = Process::start(&yaml, 2).await;
        let mut request = Request::new(run_as("a", &secret));
        request.get_mut().input = format!("my token is {secret}, what do you make of it?");
        let set = crate::support::headers([("authorization", &format!("Bearer {model_secret}"))]);
        request.get_mut().per_run_model_headers = [("main".to_owned(), set)].into();
        let response = service.agents.clone().run(request).await.unwrap().into_inner();
        assert!(response.final_output.contains(&model_secret), "the model's words are not changed");
        let lines = service.terminated().await;

        let spans = collector.spans();
        assert_eq!(tree(&spans, ""), whole_tree("Run"));
        let mut sinks = Sinks::default();
        for batch in collector.batches() {
            sinks.add_message("an export", &batch.request);
        }
        sinks.add("the log", lines.join("\n"));
        assert_no_leak(&secret, &sinks);
        assert_no_leak(&model_secret, &sinks);
        assert_no_leak(&key, &sinks);

        let all = |name: &str| {
            spans.iter().filter_map(|span| attribute(&span.attributes, name)).collect::<String>()
        };
        let asked = all("gen_ai.input.messages");
        assert_eq!(asked.contains("what do you make of it?"), content);
        assert_eq!(all("gen_ai.output.messages").contains("my key is [redacted]"), content);
        assert_eq!(all("gen_ai.tool.call.arguments").contains("note"), content);
        assert_eq!(all("gen_ai.tool.call.result").contains("you are [redacted]"), content);
    }
}

#[tokio::test]
async fn a_collector_gets_metrics_if_it_is_to_also_where_sigterm_follows_at_once() {
    for (protocol, workers, more) in
        [("http", 1, ", metrics: true"), ("grpc", 1, ", metrics: true"), ("http", 3, "")]
    {
        let collector = Collector::start(protocol).await;
        let (model, server) = (model().await, McpServer::start(Era::Modern).await);
        let telemetry = format!("{}, resource: {{ team: blue }}", collector.telemetry(more));
        let service = Process::start(&config(&model, &server, &telemetry), workers).await;
        service.agents.clone().run(request(&[])).await.unwrap();
        service.terminated().await;

        let exports = collector.metrics();
        assert_eq!(exports.is_empty(), more.is_empty(), "{protocol}");
        let Some(last) = exports.last() else { continue };
        let [of_process] = &last.resource_metrics[..] else { panic!("{last:?}") };
        let resource = &of_process.resource.as_ref().unwrap().attributes;
        assert_eq!(attribute(resource, "service.name").as_deref(), Some("runwright"));
        assert_eq!(attribute(resource, "team").as_deref(), Some("blue"));
        let mut names =
            of_process.scope_metrics.iter().flat_map(|scope| &scope.metrics).map(|metric| &*metric.name);
        assert!(names.any(|name| name == "runwright.runs"), "{last:?}");
        assert!(!format!("{last:?}").contains("alice-s-token"));
    }
}
