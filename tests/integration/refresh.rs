//! A run outlives its token: what is asked of the caller, what is sent again, and what it carries then.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use axum::{body::Body, http::Response};
use runwright::grpc::proto::{AuthPhase, HeaderLayer, pending_input::Input};
use tonic::Code;

use crate::support::{
    error::decode,
    gate::Gate,
    logs,
    mcp_server::{Era, McpServer, Seen, empty, unauthorized},
    reader::{Reader, waiting},
    run_as, run_with,
    scene::{reason, script_config},
    service::{Service, whoami_config},
};

const ERAS: [Era; 3] = [Era::Modern, Era::Stateless, Era::Stateful];
const EXPIRED: &str = r#"Bearer error="invalid_token", resource_metadata="https://as.example/x""#;

/// The tokens that a server takes.
#[derive(Clone, Default)]
struct Tokens(Arc<Mutex<BTreeSet<String>>>);

impl Tokens {
    fn of<const N: usize>(tokens: [&str; N]) -> Self {
        Self(Arc::new(Mutex::new(tokens.map(str::to_owned).into())))
    }

    fn expire(&self, token: &str) {
        self.0.lock().unwrap().remove(token);
    }

    /// 401 for a request whose token is none of them.
    fn check(&self, seen: &Seen) -> Option<Response<Body>> {
        let token = seen.header("authorization").trim_start_matches("Bearer ");
        (!self.0.lock().unwrap().contains(token)).then(|| unauthorized(EXPIRED))
    }

    /// A server that takes them.
    async fn server(&self, era: Era) -> McpServer {
        let tokens = self.clone();
        McpServer::with_hook(era, move |seen| {
            let refused = tokens.check(&seen);
            async move { refused }
        })
        .await
    }
}

/// The tokens of the calls that a server got, in their order.
fn calls(server: &McpServer) -> Vec<String> {
    let seen = server.seen();
    let calls = seen.iter().filter(|seen| seen.method() == "tools/call");
    calls.map(|seen| seen.header("authorization").trim_start_matches("Bearer ").to_owned()).collect()
}

/// A server whose token `old` expires with the first call, and takes `new`.
async fn expiring(era: Era) -> McpServer {
    let tokens = Tokens::of(["old", "new"]);
    McpServer::with_hook(era, move |seen| {
        if seen.method() == "tools/call" {
            tokens.expire("old");
        }
        let refused = tokens.check(&seen);
        async move { refused }
    })
    .await
}

#[tokio::test]
async fn a_refused_call_is_sent_once_more_with_what_the_caller_brings() {
    for era in ERAS {
        let server = expiring(era).await;
        let service = Service::start(&whoami_config(&server.url())).await;
        let mut run = Reader::start(&service, waiting(run_as("a", "old"))).await;
        let pending = run.asked().await;
        assert!(!pending.input_id.is_empty() && pending.expire_time.is_some());
        let Some(Input::Credentials(challenge)) = pending.input else { panic!() };
        assert_eq!((&*challenge.mcp_server, challenge.phase()), ("crm", AuthPhase::Calling));
        assert_eq!(challenge.credential_layer(), HeaderLayer::RunServer);
        assert_eq!((&*challenge.error, &*challenge.scheme), ("invalid_token", "Bearer"));

        let updated = run.bring("new").await.applied_headers;
        let response = run.end().await.unwrap();
        assert_eq!(response.final_output, "Bearer new", "{era:?}");
        assert_eq!(updated, response.applied_headers, "what is sent now is what is told");
        assert_eq!(calls(&server), ["old", "new"], "{era:?}");
        let last = server.seen().iter().filter(|seen| seen.method() == "tools/list").count();
        assert_eq!(last, 2, "the new identity has a list of its own: {era:?}");
    }
}

#[tokio::test]
async fn the_audit_record_has_both_sets_and_nothing_of_their_values() {
    let server = expiring(Era::Modern).await;
    let service = Service::start(&whoami_config(&server.url())).await;
    let (logs, _guard) = logs::catch();
    let mut run = Reader::start(&service, waiting(run_as("a", "old"))).await;
    run.asked().await;
    run.bring("new").await;
    run.end().await.unwrap();
    let text = logs.text();
    let record = text.lines().find(|line| line.contains("runwright::audit")).unwrap();
    assert_eq!(record.matches("digest").count(), 2, "{record}");
    assert!(!text.contains("Bearer"), "{text}");
}

#[tokio::test]
async fn a_session_is_that_of_the_token_that_opened_it_and_each_is_deleted() {
    let server = expiring(Era::Stateful).await;
    let service = Service::start(&whoami_config(&server.url())).await;
    let mut run = Reader::start(&service, waiting(run_as("a", "old"))).await;
    run.asked().await;
    run.bring("new").await;
    run.end().await.unwrap();
    let of = |name: &str| {
        let seen = server.seen();
        let of = seen.iter().filter(|seen| seen.header("mcp-session-id") == name);
        of.map(|seen| seen.header("authorization").to_owned()).collect::<BTreeSet<_>>()
    };
    assert_eq!(of("session-0"), ["Bearer old".to_owned()].into());
    assert_eq!(of("session-1"), ["Bearer new".to_owned()].into());
    assert_eq!(server.methods().iter().filter(|method| *method == "DELETE").count(), 2);
}

#[tokio::test]
async fn a_run_waits_at_the_opening_and_at_the_listing_too() {
    for (method, phase) in [("server/discover", AuthPhase::Opening), ("tools/list", AuthPhase::Listing)] {
        let server = McpServer::with_hook(Era::Modern, move |seen| async move {
            let old = seen.header("authorization") == "Bearer old";
            (old && seen.method() == method).then(|| unauthorized(EXPIRED))
        })
        .await;
        let service = Service::start(&whoami_config(&server.url())).await;
        let mut run = Reader::start(&service, waiting(run_as("a", "old"))).await;
        let Some(Input::Credentials(challenge)) = run.asked().await.input else { panic!() };
        assert_eq!(challenge.phase(), phase);
        run.bring("new").await;
        assert_eq!(run.end().await.unwrap().final_output, "Bearer new");
    }
}

#[tokio::test]
async fn calls_that_are_refused_at_once_ask_once_and_are_each_sent_once_more() {
    let server = expiring(Era::Modern).await;
    let call = "{ mcp_server: crm, tool: whoami, arguments: {} }";
    let turn = format!("[{}]", [call; 4].join(", "));
    let service = Service::start(&script_config(&server.url(), "", &[&turn])).await;
    let mut run = Reader::start(&service, waiting(run_as("a", "old"))).await;
    run.asked().await;
    server.wait_for("the last refused call", |_| calls(&server).len() == 4).await;
    run.bring("new").await;
    let response = run.end().await.unwrap();
    assert_eq!(response.final_output, "Bearer new|".repeat(4));
    let calls = calls(&server);
    assert_eq!(
        (calls[..4].to_vec(), calls[4..].to_vec()),
        (vec!["old".to_owned(); 4], vec!["new".to_owned(); 4])
    );
}

#[tokio::test]
async fn a_refusal_of_what_was_replaced_meanwhile_asks_nobody() {
    let (tokens, gate) = (Tokens::of(["old", "new"]), Gate::closed());
    let hook = (tokens.clone(), gate.clone());
    let server = McpServer::with_hook(Era::Modern, move |seen| {
        let (tokens, gate) = hook.clone();
        async move {
            if seen.method() == "tools/call" {
                gate.pass().await;
            }
            tokens.check(&seen)
        }
    })
    .await;
    let service = Service::start(&whoami_config(&server.url())).await;
    let run = Reader::start(&service, waiting(run_as("a", "old"))).await;
    gate.entered(1).await;
    run.bring("new").await;
    tokens.expire("old");
    gate.open();
    assert_eq!(run.end().await.unwrap().final_output, "Bearer new");
    assert_eq!(calls(&server), ["old", "new"]);
}

#[tokio::test]
async fn a_second_refusal_fails_the_run() {
    let server = Tokens::of(["good"]).server(Era::Modern).await;
    let service = Service::start(&whoami_config(&server.url())).await;
    for brought in ["worse", "bad"] {
        server.forget();
        let mut run = Reader::start(&service, waiting(run_as("a", "bad"))).await;
        run.asked().await;
        run.bring(brought).await;
        let failed = run.end().await.unwrap_err();
        assert_eq!(reason(&failed), (Code::FailedPrecondition, "MCP_UNAUTHORIZED".to_owned()));
        assert_eq!(server.methods(), ["server/discover", "server/discover"], "one more, no more");
    }
}

#[tokio::test]
async fn who_did_not_say_that_it_waits_is_not_asked() {
    let server = expiring(Era::Modern).await;
    let service = Service::start(&whoami_config(&server.url())).await;
    let refused = (Code::FailedPrecondition, "MCP_UNAUTHORIZED".to_owned());
    let run = Reader::start(&service, run_as("a", "old")).await;
    assert_eq!(reason(&run.end().await.unwrap_err()), refused);
    let unary = service.run(waiting(run_as("a", "old"))).await.unwrap_err();
    assert_eq!(reason(&unary), refused, "a unary caller can't be asked");
}

#[tokio::test]
async fn a_run_whose_caller_brings_nothing_fails_when_its_time_is_over() {
    let server = expiring(Era::Modern).await;
    let service = Service::start(&whoami_config(&server.url())).await;
    let mut request = waiting(run_as("a", "old"));
    let timeout = prost_types::Duration { seconds: 0, nanos: 300_000_000 };
    request.options.as_mut().unwrap().timeout = Some(timeout);
    let mut run = Reader::start(&service, request).await;
    run.asked().await;
    let failed = run.end().await.unwrap_err();
    let decoded = decode(&failed);
    assert_eq!((failed.code(), &*decoded.reason), (Code::FailedPrecondition, "CREDENTIALS_TIMEOUT"));
    assert_eq!(decoded.challenge.unwrap().mcp_server, "crm");
    assert_eq!(decoded.metadata["mcp_server"], "crm");
}

#[tokio::test]
async fn a_credential_of_the_configuration_is_never_asked_of_the_caller() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    for (renewed, expected) in [(true, Some("Bearer new")), (false, None)] {
        std::fs::write(&path, "old").unwrap();
        let (tokens, file) = (Tokens::of(["old", "new"]), path.clone());
        let server = McpServer::with_hook(Era::Modern, move |seen| {
            if seen.method() == "tools/call" {
                tokens.expire("old");
                std::fs::write(&file, if renewed { "new" } else { "old" }).unwrap();
            }
            let refused = tokens.check(&seen);
            async move { refused }
        })
        .await;
        let source = format!("headers: {{ authorization: {{ file: {path:?}, prefix: 'Bearer ' }} }}, ");
        let yaml = whoami_config(&server.url()).replace("crm: { url", &format!("crm: {{ {source}url"));
        let service = Service::start(&yaml).await;
        let run = Reader::start(&service, waiting(run_with("a", []))).await;
        let ended = run.end().await;
        match expected {
            Some(output) => assert_eq!(ended.unwrap().final_output, output),
            None => assert_eq!(reason(&ended.unwrap_err()).1, "MCP_UNAUTHORIZED"),
        }
        let count = if renewed { 2 } else { 1 };
        assert_eq!(calls(&server).len(), count, "sent again where there is another value");
    }
}

#[tokio::test]
async fn more_scope_is_asked_for_and_another_403_is_for_the_model() {
    let scope = r#"Bearer error="insufficient_scope", scope="orders""#;
    for (challenge, asks) in [(scope, true), ("Bearer error=\"nope\"", false)] {
        let server = McpServer::with_hook(Era::Modern, move |seen| async move {
            let refused = seen.method() == "tools/call" && seen.header("authorization") == "Bearer old";
            refused.then(|| {
                let mut forbidden = empty(axum::http::StatusCode::FORBIDDEN);
                forbidden.headers_mut().insert("www-authenticate", challenge.parse().unwrap());
                forbidden
            })
        })
        .await;
        let service = Service::start(&whoami_config(&server.url())).await;
        let mut run = Reader::start(&service, waiting(run_as("a", "old"))).await;
        if asks {
            let Some(Input::Credentials(challenge)) = run.asked().await.input else { panic!() };
            assert_eq!((&*challenge.error, &*challenge.scope), ("insufficient_scope", "orders"));
            run.bring("new").await;
            assert_eq!(run.end().await.unwrap().final_output, "Bearer new");
        } else {
            assert!(run.end().await.unwrap().final_output.contains("403"));
        }
        let unasked = service.run_streamed(run_as("a", "old")).await.unwrap();
        assert!(unasked.final_output.contains("403"), "without ON_UNAUTHORIZED_WAIT it is for the model");
    }
}

#[tokio::test]
async fn fifty_runs_that_wait_at_once_never_mix_tokens() {
    let server = McpServer::with_hook(Era::Stateful, |seen| async move {
        let old = seen.header("authorization").starts_with("Bearer old-");
        (old && seen.method() == "tools/call").then(|| unauthorized(EXPIRED))
    })
    .await;
    let service = Service::start(&whoami_config(&server.url())).await;
    let runs = (0..50).map(|n| {
        let service = &service;
        async move {
            let mut run = Reader::start(service, waiting(run_as("a", &format!("old-{n:02}")))).await;
            run.asked().await;
            run.bring(&format!("new-{n:02}")).await;
            assert_eq!(run.end().await.unwrap().final_output, format!("Bearer new-{n:02}"));
        }
    });
    futures_util::future::join_all(runs).await;
    let mut calls = calls(&server);
    calls.sort();
    let expected: Vec<String> =
        ["new", "old"].iter().flat_map(|age| (0..50).map(move |n| format!("{age}-{n:02}"))).collect();
    assert_eq!(calls, expected, "each call once with each token");
}

#[tokio::test]
async fn a_rotated_key_of_the_configuration_is_taken_though_the_caller_brings_a_token_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, "old-key").unwrap();
    let file = path.clone();
    let server = McpServer::with_hook(Era::Modern, move |seen| {
        let old = seen.method() == "tools/call" && seen.header("x-service-key") == "old-key";
        if old {
            std::fs::write(&file, "new-key").unwrap();
        }
        async move { old.then(|| unauthorized(EXPIRED)) }
    })
    .await;
    let source = format!("headers: {{ X-Service-Key: {{ file: {path:?} }} }}, ");
    let yaml = whoami_config(&server.url()).replace("crm: { url", &format!("crm: {{ {source}url"));
    let service = Service::start(&yaml).await;
    let run = Reader::start(&service, waiting(run_as("a", "alice"))).await;
    assert_eq!(run.end().await.unwrap().final_output, "Bearer alice", "nobody was asked");
    assert_eq!(calls(&server).len(), 2);
}
