//! What a run is told whose model or whose MCP server refuses or fails.

use std::{
    future,
    sync::atomic::{AtomicUsize, Ordering},
};

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode},
};
use futures_util::{StreamExt, stream};
use runwright::grpc::proto::{
    AuthPhase, FinishReason, HeaderLayer, RunEvent, RunRequest, RunResponse, ToolCallStatus, run_event::Event,
};
use serde_json::json;
use tonic::{Code, Status};

use crate::support::{
    error::{Decoded, decode},
    headers, logs,
    mcp_server::{Era, McpServer, Seen, empty, raw, unauthorized},
    model_server::{ModelServer, calls, has_result, says},
    run_as, run_with,
    service::{Service, asking_config, whoami_config},
};

/// What upstreams write into their refusals; no answer may hold it.
const CANARY: &str = "canary-0f6e55aa";

/// A failure of a run that was taken.
fn failed(status: &Status, code: Code, reason: &str) -> Decoded {
    let decoded = decode(status);
    assert_eq!((status.code(), &*decoded.reason), (code, reason), "{status:?}");
    assert_eq!(decoded.metadata["admitted"], "true");
    assert!(!decoded.metadata["run_id"].is_empty());
    assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "-1");
    assert!(decoded.progress.is_some());
    assert!(!format!("{status:?} {decoded:?}").contains(CANARY), "{status:?}");
    decoded
}

/// The failures of a run, unary and streamed.
async fn both(service: &Service, request: RunRequest) -> [Status; 2] {
    let unary = service.run(request.clone()).await.unwrap_err();
    let (events, streamed) = service.events(request).await;
    assert!(!events.is_empty(), "run_started comes first");
    [unary, streamed.unwrap_err()]
}

/// How a model fails, and what becomes of it.
struct ModelCase {
    answer: fn() -> Response<Body>,
    code: Code,
    reason: &'static str,
    says: &'static str,
    retry_after: Option<i64>,
    /// How often a run asks it.
    tries: usize,
}

const fn case(
    answer: fn() -> Response<Body>,
    code: Code,
    reason: &'static str,
    says: &'static str,
) -> ModelCase {
    ModelCase { answer, code, reason, says, retry_after: None, tries: 1 }
}

const MODEL_CASES: [ModelCase; 13] = [
    case(|| refusal(401), Code::FailedPrecondition, "MODEL_UNAUTHORIZED", "401"),
    case(|| refusal(403), Code::FailedPrecondition, "MODEL_UNAUTHORIZED", "403"),
    case(|| refusal(400), Code::FailedPrecondition, "MODEL_REJECTED", "context_length_exceeded"),
    case(|| refusal(404), Code::FailedPrecondition, "MODEL_REJECTED", "404"),
    ModelCase {
        retry_after: Some(61),
        ..case(|| at(refusal(429), "61"), Code::Unavailable, "MODEL_RATE_LIMITED", "rate")
    },
    ModelCase {
        retry_after: Some(0),
        tries: 3,
        ..case(|| at(refusal(429), "0"), Code::Unavailable, "MODEL_RATE_LIMITED", "rate")
    },
    ModelCase {
        retry_after: Some(0),
        tries: 3,
        ..case(|| at(refusal(500), "0"), Code::Unavailable, "MODEL_UNAVAILABLE", "500")
    },
    ModelCase {
        retry_after: Some(0),
        tries: 3,
        ..case(|| at(refusal(408), "0"), Code::Unavailable, "MODEL_UNAVAILABLE", "408")
    },
    ModelCase {
        retry_after: Some(0),
        tries: 3,
        ..case(|| at(refusal(409), "0"), Code::Unavailable, "MODEL_UNAVAILABLE", "409")
    },
    ModelCase {
        retry_after: Some(61),
        ..case(|| at(refusal(503), "61"), Code::Unavailable, "MODEL_UNAVAILABLE", "503")
    },
    case(redirect, Code::Unavailable, "MODEL_UNAVAILABLE", "redirect"),
    // Once whole, which can't be read, and three times streamed, as a stream that ends too early.
    ModelCase {
        tries: 2,
        ..case(|| raw(StatusCode::OK, "text/html", CANARY), Code::Unavailable, "MODEL_UNAVAILABLE", "")
    },
    case(ended, Code::Unavailable, "MODEL_UNAVAILABLE", ""),
];

fn refusal(status: u16) -> Response<Body> {
    let error = json!({ "error": { "message": CANARY, "code": "context_length_exceeded" } });
    raw(StatusCode::from_u16(status).unwrap(), "application/json", error.to_string())
}

/// A refusal that says when the model may be asked again, in seconds.
fn at(mut refusal: Response<Body>, retry_after: &'static str) -> Response<Body> {
    refusal.headers_mut().insert("retry-after", HeaderValue::from_static(retry_after));
    refusal
}

fn redirect() -> Response<Body> {
    let mut response = empty(StatusCode::TEMPORARY_REDIRECT);
    response.headers_mut().insert("location", "http://127.0.0.1:9/".parse().unwrap());
    response
}

/// The events of an answer that is not whole.
fn begun() -> String {
    format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{CANARY}\"}}}}]}}\n\n")
}

/// An answer that ends before its end, whole or streamed.
fn ended() -> Response<Body> {
    raw(StatusCode::OK, "text/event-stream", begun())
}

#[tokio::test]
async fn a_models_failure_is_told_in_our_words() {
    for case in MODEL_CASES {
        let ModelCase { answer, code, reason, says, retry_after, tries } = case;
        let model = ModelServer::start(move |_| async move { answer() }).await;
        let service = Service::start(&asking_config(&model.base_url(), &[])).await;
        for status in both(&service, run_with("a", [])).await {
            let decoded = failed(&status, code, reason);
            assert!(status.message().contains(says), "{status:?}");
            assert_eq!(
                (&*decoded.metadata["model"], &*decoded.metadata["tool_calls_started"]),
                ("main", "0")
            );
            let delay = decoded.retry_info.and_then(|info| info.retry_delay).map(|delay| delay.seconds);
            assert_eq!(delay, retry_after, "{reason}");
            assert_eq!(decoded.progress.unwrap().turns, 0);
        }
        assert_eq!(model.seen().len(), 2 * tries, "{reason}");
    }
}

#[tokio::test]
async fn a_models_failure_that_passes_is_not_the_runs() {
    let failures = AtomicUsize::new(0);
    let model = ModelServer::start(move |_| {
        let fails = failures.fetch_add(1, Ordering::SeqCst) % 3 < 2;
        future::ready(if fails { at(refusal(529), "0") } else { says("hello") })
    })
    .await;
    let service = Service::start(&asking_config(&model.base_url(), &[])).await;
    let (logs, _guard) = logs::catch();
    let unary = service.run(run_with("a", [])).await.unwrap();
    let streamed = service.run_streamed(run_with("a", [])).await.unwrap();
    for response in [unary, streamed] {
        assert_eq!(response.final_output, "hello");
        let usage = response.usage.unwrap();
        assert_eq!((usage.model_requests, usage.total_tokens), (3, 5));
    }
    let lines = logs.text();
    let again: Vec<_> = lines.lines().filter(|line| line.contains("asked again")).collect();
    assert_eq!(again.len(), 4, "{lines}");
    assert!(again.iter().all(|line| line.contains("m-1") && line.contains("HTTP 529")), "{again:?}");
    assert!(!lines.contains(CANARY), "{lines}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_when_something_of_it_was_passed_on_is_not_asked_for_again() {
    let model = ModelServer::start(|_| {
        // The connection breaks only when its first piece is on its way.
        let pieces = stream::iter([Ok(begun())]).chain(stream::once(async {
            tokio::task::yield_now().await;
            Err(std::io::Error::other("cut"))
        }));
        future::ready(raw(StatusCode::OK, "text/event-stream", Body::from_stream(pieces)))
    })
    .await;
    let service = Service::start(&asking_config(&model.base_url(), &[])).await;
    let (events, end) = service.events(run_with("a", [])).await;
    failed(&end.unwrap_err(), Code::Unavailable, "MODEL_UNAVAILABLE");
    let is_text = |event: &RunEvent| matches!(event.event, Some(Event::TextDelta(_)));
    assert_eq!(events.iter().filter(|event| is_text(event)).count(), 1);
    assert_eq!(model.seen().len(), 1);
}

#[tokio::test]
async fn what_may_be_sent_again_may_not_once_a_tool_call_has_begun() {
    for case in MODEL_CASES {
        let ModelCase { answer, code, reason, .. } = case;
        let model = ModelServer::start(move |body| async move {
            if has_result(&body) { answer() } else { calls("whoami", "{}") }
        })
        .await;
        let server = McpServer::start(Era::Modern).await;
        let service = Service::start(&asking_config(&model.base_url(), &[("crm", &server.url())])).await;
        let code = if code == Code::Unavailable { Code::Aborted } else { code };
        for status in both(&service, run_as("a", "alice")).await {
            let decoded = failed(&status, code, reason);
            assert_eq!(decoded.metadata["tool_calls_started"], "1");
            let progress = decoded.progress.unwrap();
            assert_eq!((progress.turns, progress.usage.unwrap().total_tokens), (1, 5));
            assert_eq!(progress.tool_calls[0].status(), ToolCallStatus::Ok);
            assert_eq!(progress.applied_headers["crm"].headers[0].name, "authorization");
        }
    }
}

/// A server that answers some requests with a refusal.
async fn refusing(era: Era, method: &'static str, refusal: fn() -> Response<Body>) -> McpServer {
    let is_refused = move |seen: &Seen| seen.method() == method;
    McpServer::with_hook(era, move |seen| async move { is_refused(&seen).then(refusal) }).await
}

fn challenged() -> Response<Body> {
    unauthorized(
        r#"Bearer realm="crm", error="invalid_token", scope="crm.read", resource_metadata="https://crm.example/.well-known/x""#,
    )
}

fn forbidden() -> Response<Body> {
    let mut response = challenged();
    *response.status_mut() = StatusCode::FORBIDDEN;
    response
}

#[tokio::test]
async fn a_refused_credential_is_told_with_its_challenge_and_phase() {
    use AuthPhase::{Calling, Listing, Opening};
    for (era, method, phase, started) in [
        (Era::Modern, "server/discover", Opening, "0"),
        (Era::Stateful, "server/discover", Opening, "0"),
        (Era::Stateful, "initialize", Opening, "0"),
        (Era::Modern, "tools/list", Listing, "0"),
        (Era::Stateless, "tools/list", Listing, "0"),
        (Era::Modern, "tools/call", Calling, "1"),
        (Era::Stateful, "tools/call", Calling, "1"),
    ] {
        let server = refusing(era, method, challenged).await;
        let service = Service::start(&whoami_config(&server.url())).await;
        for status in both(&service, run_as("a", "alice")).await {
            let decoded = failed(&status, Code::FailedPrecondition, "MCP_UNAUTHORIZED");
            assert_eq!(
                (&*decoded.metadata["mcp_server"], &*decoded.metadata["tool_calls_started"]),
                ("crm", started)
            );
            let challenge = decoded.challenge.unwrap();
            assert_eq!((challenge.phase(), &*challenge.mcp_server), (phase, "crm"), "{era:?} {method}");
            assert_eq!((&*challenge.scheme, &*challenge.error), ("Bearer", "invalid_token"));
            assert_eq!(challenge.scope, "crm.read");
            assert_eq!(challenge.resource_metadata, "https://crm.example/.well-known/x");
            assert_eq!(challenge.credential_layer(), HeaderLayer::RunServer);
        }
        assert_eq!(
            server.methods().iter().filter(|name| *name == method).count(),
            2,
            "{era:?} {method}: a refused request is not sent again"
        );
    }
}

#[tokio::test]
async fn the_layer_of_the_refused_credential_is_named() {
    let server = refusing(Era::Modern, "tools/list", challenged).await;
    let plain = whoami_config(&server.url());
    let registered = plain.replace("crm: { url", "crm: { headers: { Authorization: Bearer s }, url");
    let agents = plain.replace("{ name: crm", "{ headers: { authorization: Bearer a }, name: crm");
    let set = headers([("Authorization", "Bearer r")]);
    let for_all = RunRequest { mcp_headers: Some(set), ..run_with("a", []) };
    for (yaml, request, layer) in [
        (&plain, run_with("a", []), HeaderLayer::Unspecified),
        (&registered, run_with("a", []), HeaderLayer::Server),
        (&agents, run_with("a", []), HeaderLayer::Agent),
        (&registered, for_all, HeaderLayer::Run),
        (&registered, run_as("a", "alice"), HeaderLayer::RunServer),
    ] {
        let service = Service::start(yaml).await;
        let status = service.run(request).await.unwrap_err();
        let decoded = failed(&status, Code::FailedPrecondition, "MCP_UNAUTHORIZED");
        assert_eq!(decoded.challenge.unwrap().credential_layer(), layer);
        let says = match layer {
            HeaderLayer::Unspecified => {
                "MCP server `crm`: it asks for a credential (401), and was sent none that is known as one; bring one in \
                 `per_run_mcp_headers` for this server, or register one in its `headers`"
            }
            _ => "MCP server `crm`: it refuses the credential (401)",
        };
        assert_eq!(status.message(), says, "{layer:?}");
    }
}

#[tokio::test]
async fn a_refused_credential_fails_a_run_of_an_optional_server_too() {
    let server = refusing(Era::Modern, "tools/list", challenged).await;
    let yaml = whoami_config(&server.url()).replace("{ name: crm", "{ required: false, name: crm");
    let service = Service::start(&yaml).await;
    for status in both(&service, run_as("a", "alice")).await {
        failed(&status, Code::FailedPrecondition, "MCP_UNAUTHORIZED");
    }
}

#[tokio::test]
async fn a_challenge_that_reflects_the_token_is_told_without_it() {
    let server = McpServer::with_hook(Era::Modern, |seen| async move {
        let token = seen.header("authorization").trim_start_matches("Bearer ");
        let challenge = format!(
            r#"Bearer error="{token}", scope="is {token} good", resource_metadata="https://x/?t={token}""#
        );
        (seen.method() == "tools/call").then(|| unauthorized(&challenge))
    })
    .await;
    let service = Service::start(&whoami_config(&server.url())).await;
    for status in both(&service, run_as("a", CANARY)).await {
        let challenge = failed(&status, Code::FailedPrecondition, "MCP_UNAUTHORIZED").challenge.unwrap();
        assert_eq!((&*challenge.scheme, &*challenge.error), ("Bearer", ""));
        assert_eq!((&*challenge.scope, &*challenge.resource_metadata), ("", ""));
        assert!(!String::from_utf8_lossy(status.details()).contains(CANARY));
    }
}

#[tokio::test]
async fn a_refused_access_fails_at_the_start_and_is_for_the_model_in_a_call() {
    for (method, phase) in [("server/discover", AuthPhase::Opening), ("tools/list", AuthPhase::Listing)] {
        let server = refusing(Era::Modern, method, forbidden).await;
        let service = Service::start(&whoami_config(&server.url())).await;
        for status in both(&service, run_as("a", "alice")).await {
            let decoded = failed(&status, Code::FailedPrecondition, "MCP_FORBIDDEN");
            assert_eq!(decoded.challenge.unwrap().phase(), phase);
        }
    }
    let server = refusing(Era::Modern, "tools/call", forbidden).await;
    let service = Service::start(&whoami_config(&server.url())).await;
    let response = service.run(run_as("a", "alice")).await.unwrap();
    goes_on(&response);
}

#[tokio::test]
async fn a_required_server_that_fails_at_the_start_fails_the_run_and_in_a_call_is_for_the_model() {
    let error = || raw(StatusCode::BAD_GATEWAY, "text/plain", CANARY);
    let down = whoami_config("http://127.0.0.1:9/mcp");
    let failing = refusing(Era::Modern, "tools/list", error).await;
    for yaml in [down, whoami_config(&failing.url())] {
        let service = Service::start(&yaml).await;
        for status in both(&service, run_with("a", [])).await {
            let decoded = failed(&status, Code::Unavailable, "MCP_UNAVAILABLE");
            assert_eq!(decoded.metadata["mcp_server"], "crm");
        }
    }
    let server = refusing(Era::Modern, "tools/call", error).await;
    let service = Service::start(&whoami_config(&server.url())).await;
    let response = service.run(run_with("a", [])).await.unwrap();
    assert_eq!(response.tool_calls[0].status(), ToolCallStatus::Unknown, "it may have acted");
    assert!(!response.final_output.contains(CANARY), "{}", response.final_output);
    assert_eq!(server.methods().iter().filter(|method| *method == "tools/call").count(), 1);
}

#[tokio::test]
async fn a_server_of_2024_is_a_protocol_error_that_says_so() {
    let server = McpServer::with_hook(Era::Stateless, |seen| async move {
        let version = json!({
            "protocolVersion": "2024-11-05", "capabilities": {}, "serverInfo": { "name": "old", "version": "1" },
        });
        (seen.method() == "initialize").then(|| seen.result(version))
    })
    .await;
    let service = Service::start(&whoami_config(&server.url())).await;
    for status in both(&service, run_with("a", [])).await {
        let decoded = failed(&status, Code::FailedPrecondition, "MCP_PROTOCOL_ERROR");
        assert_eq!(decoded.metadata["mcp_server"], "crm");
        assert!(status.message().contains("2024-11-05"), "{status:?}");
    }
}

/// A run whose only tool call failed and that ended all the same.
fn goes_on(response: &RunResponse) {
    assert_eq!(response.finish_reason(), FinishReason::Stop);
    assert_eq!(response.tool_calls[0].status(), ToolCallStatus::Error);
}
