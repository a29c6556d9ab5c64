//! A run's spans: one tree, which ends with the run.

use std::sync::{Arc, Mutex};

use opentelemetry::trace::{SpanId, SpanKind, Status};
use opentelemetry_sdk::trace::SpanData;
use runwright::telemetry::{Config, subscriber};

use crate::support::{
    gate::Gate,
    mcp_server::{Era, McpServer},
    model_server::{ModelServer, calls, has_result, says},
    run_as,
    service::{Service, asking_config, whoami_config},
    soon, spans,
};

/// The spans that have ended.
#[derive(Clone, Default)]
struct Ended(Arc<Mutex<Vec<SpanData>>>);

impl Ended {
    /// Collects this thread's until the guard is dropped.
    fn collect() -> (Self, tracing::subscriber::DefaultGuard) {
        let ended = Self::default();
        let list = ended.0.clone();
        let maker = spans::told(move |span| list.lock().unwrap().push(span));
        // As it is in most services: the spans of tracing's that stand beside two of them are off.
        let config = Config { filter: "error".to_owned(), ..Config::default() };
        let subscriber = subscriber(&config, std::io::sink, Some(maker)).unwrap();
        (ended, tracing::subscriber::set_default(subscriber))
    }

    async fn named(&self, name: &str) -> SpanData {
        soon("the end of a span", async {
            loop {
                let found = self.0.lock().unwrap().iter().find(|span| span.name == name).cloned();
                if let Some(span) = found {
                    return span;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }
}

#[tokio::test]
async fn a_client_that_is_kept_keeps_no_span_of_the_run_that_opened_it() {
    for era in [Era::Modern, Era::Stateless, Era::Stateful] {
        let (ended, _guard) = Ended::collect();
        let server = McpServer::start(era).await;
        let service = Service::start(&whoami_config(&server.url())).await;
        service.run(run_as("a", "alice")).await.unwrap();
        ended.named("invoke_agent a").await;
        ended.named("runwright.v1.AgentService/Run").await;
        assert_eq!(
            service.runner.parts().servers.kept_clients(),
            usize::from(era != Era::Stateful),
            "{era:?}"
        );
    }
}

#[tokio::test]
async fn a_run_is_one_tree() {
    let (ended, _guard) = Ended::collect();
    let model = ModelServer::start(|body| async move {
        if has_result(&body) { says("done") } else { calls("whoami", "{}") }
    })
    .await;
    let server = McpServer::start(Era::Modern).await;
    let service = Service::start(&asking_config(&model.base_url(), &[("crm", &server.url())])).await;
    let response = service.run(run_as("a", "alice")).await.unwrap();

    let rpc = ended.named("runwright.v1.AgentService/Run").await;
    let run = ended.named("invoke_agent a").await;
    let tool = ended.named("execute_tool whoami").await;
    let call = ended.named("tools/call whoami").await;
    let spans = ended.0.lock().unwrap().clone();
    let chats: Vec<&SpanData> = spans.iter().filter(|span| span.name.starts_with("chat ")).collect();
    assert_eq!((spans.len(), chats.len()), (8, 2));
    let id = |span: &SpanData| span.span_context.span_id();
    let parents = [(&rpc, SpanId::INVALID), (&run, id(&rpc)), (&tool, id(&run)), (&call, id(&tool))];
    for (span, parent) in parents.into_iter().chain(chats.iter().map(|chat| (*chat, id(&run)))) {
        assert_eq!(span.parent_span_id, parent, "{}", span.name);
        assert_eq!(span.span_context.trace_id(), rpc.span_context.trace_id(), "{}", span.name);
        let request_id = span.attributes.iter().find(|attribute| attribute.key.as_str() == "request_id");
        assert_eq!(request_id.unwrap().value.as_str(), response.request_id, "{}", span.name);
    }
    assert_eq!((rpc.span_kind, run.span_kind), (SpanKind::Server, SpanKind::Internal));
    assert_eq!((tool.span_kind, call.span_kind), (SpanKind::Internal, SpanKind::Client));
    assert!(chats.iter().all(|chat| chat.span_kind == SpanKind::Client));
    let finished =
        run.attributes.iter().find(|attribute| attribute.key.as_str() == "runwright.finish_reason");
    assert_eq!(finished.unwrap().value.as_str(), "stop");
}

/// A span's attribute, as text.
fn attribute(span: &SpanData, name: &str) -> Option<String> {
    let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == name);
    found.map(|attribute| attribute.value.as_str().into_owned())
}

#[tokio::test]
async fn the_spans_of_a_kept_client_have_a_link_to_the_run_that_opened_it() {
    for (era, opening, revision) in
        [(Era::Modern, "server/discover", "2026-07-28"), (Era::Stateless, "initialize", "2025-11-25")]
    {
        let (ended, _guard) = Ended::collect();
        let server = McpServer::start(era).await;
        let service = Service::start(&whoami_config(&server.url())).await;
        service.run(run_as("a", "alice")).await.unwrap();
        ended.named("runwright.v1.AgentService/Run").await;
        let first = std::mem::take(&mut *ended.0.lock().unwrap());
        let opened = first.iter().rfind(|span| span.name == opening).unwrap();
        let called = first.iter().find(|span| span.name == "tools/call whoami").unwrap();
        assert_eq!(called.links.iter().count(), 0, "it is in the same tree");
        assert_eq!(attribute(called, "mcp.protocol.version").as_deref(), Some(revision));
        assert!(first.iter().any(|span| span.name == "tools/list"));

        service.run(run_as("a", "alice")).await.unwrap();
        let call = ended.named("tools/call whoami").await;
        ended.named("runwright.v1.AgentService/Run").await;
        assert_ne!(call.span_context.trace_id(), opened.span_context.trace_id());
        let links: Vec<_> = call.links.iter().map(|link| link.span_context.clone()).collect();
        assert_eq!(links, std::slice::from_ref(&opened.span_context));
        let second = ended.0.lock().unwrap().clone();
        assert!(
            second.iter().all(|span| span.name != opening && span.name != "tools/list"),
            "nothing was sent"
        );
    }
}

#[tokio::test]
async fn what_is_broken_off_does_not_look_like_a_success() {
    let (ended, _guard) = Ended::collect();
    let gate = Gate::closed();
    let server = McpServer::slow(Era::Modern, &gate).await;
    let service = Service::start(&whoami_config(&server.url())).await;
    let mut agents = service.agents.clone();
    let run = tokio::spawn(async move { agents.run(run_as("a", "alice")).await });
    gate.entered(1).await;
    run.abort();
    for (name, error_type) in [
        ("tools/call whoami", "cancelled"),
        ("execute_tool whoami", "cancelled"),
        ("invoke_agent a", "RUN_CANCELLED"),
    ] {
        let span = ended.named(name).await;
        assert_eq!(attribute(&span, "error.type").as_deref(), Some(error_type), "{name}");
        assert_eq!(span.status, Status::error(error_type), "{name}");
    }
    let rpc = ended.named("runwright.v1.AgentService/Run").await;
    assert_eq!(attribute(&rpc, "rpc.response.status_code").as_deref(), Some("CANCELLED"));
    assert_eq!(rpc.status, Status::Unset, "it is no server's error");
}

#[tokio::test]
async fn a_tools_failure_is_described_on_its_request() {
    let (ended, _guard) = Ended::collect();
    let server = McpServer::start(Era::Modern).await;
    let yaml = whoami_config(&server.url()).replace("tool: whoami", "tool: fail");
    let service = Service::start(&yaml).await;
    service.run(run_as("a", "alice")).await.unwrap();
    let call = ended.named("tools/call fail").await;
    assert_eq!(call.status, Status::error("tool_error"));
    let tool = ended.named("execute_tool fail").await;
    assert_eq!(tool.status, Status::error(""));
    assert_eq!(attribute(&tool, "error.type").as_deref(), Some("tool_error"));
    let run = ended.named("invoke_agent a").await;
    assert_eq!(
        (run.status, attribute(&call, "server.port")),
        (Status::Unset, Some(server.address.port().to_string()))
    );
}
