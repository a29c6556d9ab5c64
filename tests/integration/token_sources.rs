//! Registered headers whose values are tokens: fetched when a run needs them, renewed when a server refuses one, and a
//! failing source fails the runs that need it, and no other.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use runwright::grpc::proto::{ExplainHeadersRequest, HeaderSet};
use serde_json::json;
use tokio::{net::TcpListener, task::JoinHandle};
use tonic::Code;

use crate::support::{
    error::decode,
    headers,
    mcp_server::{Era, McpServer, unauthorized},
    run_with,
    service::{Service, whoami_config},
};

/// An authorization server, whose tokens are `token-1`, `token-2`, …
struct Issuer {
    address: SocketAddr,
    state: Arc<Issued>,
    serving: JoinHandle<()>,
}

#[derive(Default)]
struct Issued {
    tokens: AtomicUsize,
    fails: AtomicBool,
}

impl Issuer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Issued::default());
        let issuer = format!("http://{address}");
        let metadata = json!({ "issuer": issuer, "token_endpoint": format!("{issuer}/token") }).to_string();
        let router = Router::new()
            .route("/.well-known/oauth-authorization-server", get(move || async { metadata }))
            .route("/token", post(token))
            .with_state(state.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, state, serving }
    }

    fn tokens(&self) -> usize {
        self.state.tokens.load(Ordering::SeqCst)
    }

    /// The configuration of a server whose Authorization comes from here.
    fn config(&self, server: &McpServer) -> String {
        let credentials = format!(
            "{{ issuer: 'http://{}', client_id: c, client_secret: issuer-canary-secret }}",
            self.address
        );
        let source = format!(
            "headers: {{ authorization: {{ oauth_client_credentials: {credentials}, prefix: 'Bearer ' }} }}, "
        );
        whoami_config(&server.url()).replace("crm: { url", &format!("crm: {{ {source}url"))
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn token(State(state): State<Arc<Issued>>) -> Response {
    if state.fails.load(Ordering::SeqCst) {
        return (StatusCode::INTERNAL_SERVER_ERROR, "upstream-canary-text").into_response();
    }
    let number = state.tokens.fetch_add(1, Ordering::SeqCst) + 1;
    let token =
        json!({ "access_token": format!("token-{number}"), "token_type": "Bearer", "expires_in": 3600 });
    ([(CONTENT_TYPE, "application/json")], token.to_string()).into_response()
}

fn own_token() -> HeaderSet {
    headers([("authorization", "Bearer own")])
}

#[tokio::test]
async fn a_token_is_fetched_when_a_run_needs_it_and_once_for_all() {
    let (issuer, server) = (Issuer::start().await, McpServer::start(Era::Modern).await);
    let service = Service::start(&issuer.config(&server)).await;
    let own = service.run(run_with("a", [("crm", own_token())])).await.unwrap();
    assert_eq!(
        (own.final_output.as_str(), issuer.tokens()),
        ("Bearer own", 0),
        "what does not win is not asked"
    );
    let runs = (0..20).map(|_| service.run(run_with("a", [])));
    for response in futures_util::future::try_join_all(runs).await.unwrap() {
        assert_eq!(response.final_output, "Bearer token-1");
    }
    assert_eq!(issuer.tokens(), 1);
}

#[tokio::test]
async fn what_would_be_sent_is_told_without_fetching_a_token() {
    let (issuer, server) = (Issuer::start().await, McpServer::start(Era::Modern).await);
    let service = Service::start(&issuer.config(&server)).await;
    let request = ExplainHeadersRequest { agent: "a".into(), ..ExplainHeadersRequest::default() };
    let explain = async || {
        let mut explained =
            service.catalog.clone().explain_headers(request.clone()).await.unwrap().into_inner();
        explained.applied_headers.remove("crm").unwrap().headers.remove(0)
    };
    let before = explain().await;
    assert_eq!((&*before.name, &*before.digest, issuer.tokens()), ("authorization", "", 0));
    let response = service.run(run_with("a", [])).await.unwrap();
    assert_eq!(explain().await, response.applied_headers["crm"].headers[0]);
}

#[tokio::test]
async fn a_failing_source_fails_the_runs_that_need_it_and_no_other() {
    let (issuer, server) = (Issuer::start().await, McpServer::start(Era::Modern).await);
    issuer.state.fails.store(true, Ordering::SeqCst);
    let service = Service::start(&issuer.config(&server)).await;
    let status = service.run(run_with("a", [])).await.unwrap_err();
    let decoded = decode(&status);
    assert_eq!((status.code(), &*decoded.reason), (Code::Unavailable, "CREDENTIAL_SOURCE_FAILED"));
    assert_eq!((&*decoded.metadata["mcp_server"], &*decoded.metadata["tool_calls_started"]), ("crm", "0"));
    assert!(!format!("{status:?}").contains("canary"), "{status:?}");
    assert_eq!(server.methods(), [""; 0], "nothing was sent without its credential");
    let own = service.run(run_with("a", [("crm", own_token())])).await.unwrap();
    assert_eq!(own.final_output, "Bearer own");
}

#[tokio::test]
async fn an_optional_server_whose_source_fails_is_told_and_the_run_goes_on() {
    let (issuer, server) = (Issuer::start().await, McpServer::start(Era::Modern).await);
    issuer.state.fails.store(true, Ordering::SeqCst);
    let yaml = issuer.config(&server).replace("{ name: crm }", "{ name: crm, required: false }");
    let service = Service::start(&yaml).await;
    let response = service.run(run_with("a", [])).await.unwrap();
    assert_eq!(response.unavailable_mcp_servers, ["crm"]);
}

#[tokio::test]
async fn a_refused_token_is_given_up_and_the_request_sent_once_more_with_the_next() {
    for streamed in [false, true] {
        let issuer = Issuer::start().await;
        let server = McpServer::with_hook(Era::Modern, |seen| async move {
            let refused = seen.header("authorization") == "Bearer token-1";
            (refused && seen.method() == "tools/call").then(|| unauthorized("Bearer error=\"invalid_token\""))
        })
        .await;
        let service = Service::start(&issuer.config(&server)).await;
        let request = run_with("a", []);
        let response =
            if streamed { service.run_streamed(request).await } else { service.run(request).await }.unwrap();
        assert_eq!((response.final_output.as_str(), issuer.tokens()), ("Bearer token-2", 2));
        let calls = server.methods().iter().filter(|method| *method == "tools/call").count();
        assert_eq!(calls, 2, "each token once");
    }
}

#[tokio::test]
async fn a_source_that_fails_in_mid_run_fails_the_run_and_blames_no_caller() {
    let issuer = Issuer::start().await;
    let state = issuer.state.clone();
    let server = McpServer::with_hook(Era::Modern, move |seen| {
        let called = seen.method() == "tools/call";
        state.fails.fetch_or(called, Ordering::SeqCst);
        async move { called.then(|| unauthorized("Bearer error=\"invalid_token\"")) }
    })
    .await;
    let service = Service::start(&issuer.config(&server)).await;
    let status = service.run(run_with("a", [])).await.unwrap_err();
    assert_eq!((status.code(), &*decode(&status).reason), (Code::Aborted, "CREDENTIAL_SOURCE_FAILED"));
}
