//! What ties a request's traces together: the request id and the W3C trace context, on all that a run sends, answers and
//! logs.

use runwright::{
    grpc::proto::{RunRequest, RunResponse},
    telemetry::{Config, subscriber},
    trace::SpanMaker,
};
use tonic::{Request, Status, metadata::MetadataMap};

use crate::support::{
    error::decode,
    logs, mcp_server,
    mcp_server::{Era, McpServer},
    model_server::{ModelServer, calls, has_result, says},
    run_as,
    service::{Service, asking_config},
};

const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN_ID: &str = "b7ad6b7169203331";
const TRACESTATE: &str = "vendor=opaque,other=1";

/// A service whose model calls one tool, and what it asks.
struct World {
    model: ModelServer,
    server: McpServer,
    service: Service,
}

impl World {
    async fn start(era: Era, more: &str) -> Self {
        let model = ModelServer::start(|body| async move {
            if has_result(&body) { says("done") } else { calls("whoami", "{}") }
        })
        .await;
        let server = McpServer::start(era).await;
        let yaml = format!("{}{more}", asking_config(&model.base_url(), &[("crm", &server.url())]));
        Self { service: Service::start(&yaml).await, model, server }
    }

    /// A run with this metadata: its response and the answer's metadata.
    async fn run(&self, metadata: &[(&'static str, &str)]) -> (RunResponse, MetadataMap) {
        let response = self.service.agents.clone().run(request(metadata)).await.unwrap();
        (response.get_ref().clone(), response.metadata().clone())
    }

    /// A header of every request that was made of MCP server and model.
    fn sent(&self, name: &str) -> Vec<String> {
        let models = self.model.seen();
        let models =
            models.iter().map(|(headers, _)| headers.get(name).map_or("", |value| value.to_str().unwrap()));
        let servers = self.server.seen();
        let servers = servers.iter().map(|seen| seen.header(name));
        models.chain(servers).map(str::to_owned).collect()
    }
}

fn request(metadata: &[(&'static str, &str)]) -> Request<RunRequest> {
    let mut request = Request::new(run_as("a", "alice"));
    for (name, value) in metadata {
        request.metadata_mut().insert(*name, value.parse().unwrap());
    }
    request
}

fn is_uuid_v7(id: &str) -> bool {
    let groups: Vec<&str> = id.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    lengths == [8, 4, 4, 4, 12]
        && groups[2].starts_with('7')
        && id.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
}

#[tokio::test]
async fn a_request_id_is_on_all_that_a_run_sends_and_answers() {
    for era in [Era::Modern, Era::Stateless, Era::Stateful] {
        let world = World::start(era, "").await;
        let (response, metadata) = world.run(&[("x-request-id", "caller-1!")]).await;
        assert_eq!(response.request_id, "caller-1!");
        assert_eq!(metadata.get("x-request-id").unwrap(), "caller-1!");
        assert!(world.sent("x-request-id").len() >= 5);
        assert!(
            world.sent("x-request-id").iter().all(|id| id == "caller-1!"),
            "{:?}",
            world.server.methods()
        );

        let mut stream = world
            .service
            .agents
            .clone()
            .run_streamed(request(&[("x-request-id", "caller-2")]))
            .await
            .unwrap();
        assert_eq!(stream.metadata().get("x-request-id").unwrap(), "caller-2");
        world.server.forget();
        let asked = world.model.seen().len();
        while stream.get_mut().message().await.unwrap().is_some() {}
        assert!(
            world.server.seen().iter().all(|seen| seen.header("x-request-id") == "caller-2"),
            "a kept client, too"
        );
        let asked = world.model.seen().split_off(asked);
        assert!(asked.iter().all(|(headers, _)| headers["x-request-id"] == "caller-2"));
    }
}

#[tokio::test]
async fn without_a_request_id_one_is_made() {
    let world = World::start(Era::Modern, "").await;
    let (response, metadata) = world.run(&[]).await;
    assert!(is_uuid_v7(&response.request_id), "{}", response.request_id);
    assert!(is_uuid_v7(&response.run_id) && response.run_id != response.request_id);
    assert_eq!(metadata.get("x-request-id").unwrap(), &*response.request_id);
    assert!(world.sent("x-request-id").iter().all(|id| *id == response.request_id));
    assert_ne!(world.run(&[]).await.0.request_id, response.request_id);
}

#[tokio::test]
async fn a_request_id_is_in_the_trailers_of_an_error_before_and_after_the_run_began() {
    let model =
        ModelServer::start(|_| async { mcp_server::empty(axum::http::StatusCode::UNAUTHORIZED) }).await;
    let service = Service::start(&asking_config(&model.base_url(), &[])).await;
    let run = |agent: &str| {
        let mut request = request(&[("x-request-id", "failing-1")]);
        (request.get_mut().agent, request.get_mut().per_run_mcp_headers) =
            (agent.to_owned(), Default::default());
        request
    };
    let check = |status: Status, reason: &str| {
        let decoded = decode(&status);
        assert_eq!((&*decoded.reason, &*decoded.metadata["request_id"]), (reason, "failing-1"));
        assert_eq!(status.metadata().get("x-request-id").unwrap(), "failing-1");
    };
    check(service.agents.clone().run(run("nobody")).await.unwrap_err(), "AGENT_NOT_FOUND");
    check(service.agents.clone().run(run("a")).await.unwrap_err(), "MODEL_UNAUTHORIZED");
    check(service.agents.clone().run_streamed(run("nobody")).await.unwrap_err(), "AGENT_NOT_FOUND");
    let mut stream = service.agents.clone().run_streamed(run("a")).await.unwrap().into_inner();
    let status = loop {
        if let Err(status) = stream.message().await {
            break status;
        }
    };
    check(status, "MODEL_UNAUTHORIZED");
}

#[tokio::test]
async fn every_line_of_a_run_names_the_request_and_the_run() {
    let (logs, _guard) = logs::catch();
    let world = World::start(Era::Stateful, "").await;
    let before = logs.text().lines().filter(is_line).count();
    let (response, _) = world.run(&[("x-request-id", "logged-1")]).await;
    let text = logs.text();
    let lines: Vec<&str> = text.lines().filter(is_line).skip(before).collect();
    assert!(!lines.is_empty());
    for line in &lines {
        assert!(line.contains("logged-1") && line.contains(&response.run_id), "{line}");
    }
    assert!(!text.contains("alice"), "{text}");
}

#[tokio::test]
async fn labels_go_to_the_log_and_to_nobody_else() {
    let (logs, _guard) = logs::catch();
    let world = World::start(Era::Modern, "").await;
    let mut request = request(&[]);
    request.get_mut().labels = [("team".to_owned(), "label-blue".to_owned())].into();
    world.service.agents.clone().run(request).await.unwrap();
    assert!(logs.text().contains("label-blue"));
    assert!(!format!("{:?} {:?}", world.model.seen(), world.server.seen()).contains("label-blue"));
}

/// Whether this was logged; the other lines are the fields of spans.
fn is_line(line: &&str) -> bool {
    line.starts_with('{')
}

#[tokio::test]
async fn a_trace_goes_on_to_model_and_server_in_spans_of_our_own() {
    let (_logs, _guard) = logs::catch();
    for era in [Era::Modern, Era::Stateful] {
        let world = World::start(era, "").await;
        let incoming = format!("00-{TRACE_ID}-{SPAN_ID}-01");
        world.run(&[("traceparent", &incoming), ("tracestate", TRACESTATE)]).await;
        let sent = world.sent("traceparent");
        assert!(sent.len() >= 5);
        for traceparent in &sent {
            let parts: Vec<&str> = traceparent.split('-').collect();
            assert_eq!((parts[0], parts[1], parts[3]), ("00", TRACE_ID, "01"), "{traceparent}");
            assert!(parts[2] != SPAN_ID && parts[2].len() == 16, "{traceparent}");
        }
        assert!(world.sent("tracestate").iter().all(|state| state == TRACESTATE));
        let call = world.server.seen().into_iter().find(|seen| seen.method() == "tools/call").unwrap();
        let meta = &call.body["params"]["_meta"];
        assert_eq!(
            (&meta["traceparent"], &meta["tracestate"]),
            (&call.header("traceparent").into(), &TRACESTATE.into())
        );
        // The two model requests and the call have a span each.
        let mut spans = vec![sent[0].clone(), sent[1].clone(), call.header("traceparent").to_owned()];
        spans.sort();
        spans.dedup();
        assert_eq!(spans.len(), 3);
    }
}

#[tokio::test]
async fn a_caller_without_a_trace_begins_one_and_junk_is_as_good_as_none() {
    let (_logs, _guard) = logs::catch();
    let zeros = format!("00-{}-{SPAN_ID}-01", "0".repeat(32));
    for traceparent in [None, Some("junk"), Some(&*zeros)] {
        let world = World::start(Era::Modern, "").await;
        let metadata: Vec<(&str, &str)> = traceparent.map(|junk| ("traceparent", junk)).into_iter().collect();
        world.run(&metadata).await;
        let sent = world.sent("traceparent");
        let traces: Vec<&str> =
            sent.iter().map(|traceparent| traceparent.split('-').nth(1).unwrap()).collect();
        assert!(traces[0].len() == 32 && traces[0] != "0".repeat(32), "{traces:?}");
        assert!(traces.iter().all(|trace| *trace == traces[0]), "{traces:?}");
    }
}

#[tokio::test]
async fn spans_that_nobody_gets_say_of_new_traces_what_is_configured_and_of_others_what_came() {
    for (ratio, new) in [(1.0, "01"), (0.0, "00")] {
        let config = Config { filter: "error".to_owned(), ..Config::default() };
        let spans = SpanMaker::of_ids().sampling(ratio);
        let subscriber = subscriber(&config, std::io::sink, Some(spans)).unwrap();
        let _guard = tracing::subscriber::set_default(subscriber);
        for (incoming, expected) in [(None, new), (Some("00"), "00"), (Some("01"), "01")] {
            let world = World::start(Era::Modern, "").await;
            let traceparent = incoming.map(|flags| format!("00-{TRACE_ID}-{SPAN_ID}-{flags}"));
            let metadata = traceparent.as_deref().map(|traceparent| ("traceparent", traceparent));
            world.run(&Vec::from_iter(metadata)).await;
            let sent = world.sent("traceparent");
            assert!(sent.len() >= 5 && sent.iter().all(|sent| sent.ends_with(expected)), "{sent:?}");
        }
    }
}

#[tokio::test]
async fn without_spans_the_callers_trace_is_passed_through_as_it_came() {
    // No subscriber: the same as `spans: false`.
    let incoming = format!("00-{TRACE_ID}-{SPAN_ID}-00");
    let world = World::start(Era::Modern, "telemetry: { spans: false }\n").await;
    world.run(&[("traceparent", &incoming), ("tracestate", TRACESTATE)]).await;
    assert!(world.sent("traceparent").iter().all(|traceparent| *traceparent == incoming));
    assert!(world.sent("tracestate").iter().all(|tracestate| tracestate == TRACESTATE));
    let call = world.server.seen().into_iter().find(|seen| seen.method() == "tools/call").unwrap();
    assert_eq!(call.body["params"]["_meta"]["traceparent"], incoming);

    let world = World::start(Era::Modern, "telemetry: { spans: false }\n").await;
    world.run(&[]).await;
    assert!(world.sent("traceparent").iter().all(String::is_empty));
}
