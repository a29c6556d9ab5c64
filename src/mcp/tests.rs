//! Calls over loopback, at the level of connections.

mod arguments;
mod images;
mod progress;

use std::{net::SocketAddr, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::State,
    response::{IntoResponse, Response},
};
use futures_util::future::BoxFuture;
use http::HeaderMap;
use serde_json::{
    Value, json,
    value::{RawValue, to_raw_value},
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use super::*;
use crate::{
    credential::{self, Source},
    event::ToolProgress,
    headers::{HeaderSet, merge},
    id::RequestId,
    tool::Arguments,
    trace::TraceHeaders,
};

/// How a server starts a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Era {
    /// 2026-07-28.
    Modern,
    /// 2025-11-25, without sessions.
    Handshake,
}

const ERAS: [Era; 2] = [Era::Modern, Era::Handshake];

/// A call that came in, or a GET with a body of null.
#[derive(Clone)]
struct Seen {
    headers: HeaderMap,
    body: Value,
    text: String,
}

/// Answers a call.
type OnCall = Arc<dyn Fn(Seen) -> BoxFuture<'static, Response> + Send + Sync>;

/// A server with a tool `work`. It ends when it is dropped.
struct Server {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Seen {
    /// The call's progress token; null where it has none.
    fn token(&self) -> Value {
        seen_token(&self.body).clone()
    }

    /// The JSON-RPC answer to the call.
    fn answer(&self, content: Value) -> Value {
        let result = json!({ "resultType": "complete", "content": content });
        json!({ "jsonrpc": "2.0", "id": self.body["id"], "result": result })
    }
}

impl Server {
    async fn start<F, R>(era: Era, on_call: F) -> Self
    where
        F: Fn(Seen) -> R + Send + Sync + 'static,
        R: Future<Output = Response> + Send + 'static,
    {
        let on_call: OnCall = Arc::new(move |seen| Box::pin(on_call(seen)));
        Self::serve(axum::Router::new().fallback(answer).with_state((era, on_call))).await
    }

    async fn serve(router: axum::Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, serving }
    }

    fn registered(&self, call: Duration) -> Servers {
        let config = ServerConfig {
            name: "crm".into(),
            url: format!("http://{}/mcp", self.address).parse().unwrap(),
            route: Default::default(),
            headers: credential::Headers::default(),
            caller_headers: Default::default(),
            session_scope: SessionScope::Auto,
            tools_ttl: Duration::from_secs(3600),
            max_body_bytes: 1 << 20,
            timeouts: Timeouts { call, ..Timeouts::default() },
        };
        let key = DigestKey::from_secret(b"k");
        let (egress, metrics) = (Egress::default(), Metrics::default());
        Servers::new([config], KeptClients::default(), 16, key, &egress, &metrics).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(State((era, on_call)): State<(Era, OnCall)>, headers: HeaderMap, body: Bytes) -> Response {
    let text = String::from_utf8_lossy(&body).into_owned();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let called = body["method"] == "tools/call";
    assert!(called || seen_token(&body).is_null(), "progress is wanted of calls alone");
    let result = match (era, body["method"].as_str().unwrap_or_default()) {
        // A GET resumes an answer to a call.
        (_, "tools/call" | "") => return on_call(Seen { headers, body, text }).await,
        (Era::Modern, "server/discover") => json!({
            "resultType": "complete", "supportedVersions": ["2026-07-28"],
            "capabilities": { "tools": {} }, "ttlMs": 0, "cacheScope": "private",
        }),
        (Era::Handshake, "initialize") => json!({
            "protocolVersion": "2025-11-25", "capabilities": { "tools": {} },
            "serverInfo": { "name": "s", "version": "1" },
        }),
        (_, "tools/list") => json!({
            "resultType": "complete", "tools": [{ "name": "work", "inputSchema": { "type": "object" } }],
        }),
        (_, notification) if notification.starts_with("notifications/") => {
            return StatusCode::ACCEPTED.into_response();
        }
        _ => return StatusCode::BAD_REQUEST.into_response(),
    };
    json_answer(&json!({ "jsonrpc": "2.0", "id": body["id"], "result": result }))
}

fn seen_token(body: &Value) -> &Value {
    &body["params"]["_meta"]["progressToken"]
}

fn json_answer(message: &Value) -> Response {
    ([("content-type", "application/json")], message.to_string()).into_response()
}

/// An answer as an event stream, an event each.
fn event_stream(events: impl Into<Body>) -> Response {
    ([("content-type", "text/event-stream")], events.into()).into_response()
}

fn events(messages: &[Value]) -> String {
    messages.iter().map(|message| format!("data: {message}\n\n")).collect()
}

/// What a run sends that has a token.
fn run_headers(token: &str) -> Arc<RunHeaders> {
    let authorization = format!("Bearer {token}");
    let (set, problems) = HeaderSet::parse([("authorization", authorization.as_str())], []);
    assert!(problems.is_empty());
    let set = set.map(Source::Fixed);
    Arc::new(RunHeaders::new(merge([(Layer::RunServer, &set)]), SentOfRun::default()))
}

fn connect(servers: &Servers, headers: &Arc<RunHeaders>) -> Connection {
    let request_id = RequestId::generate();
    let correlation = Correlation::incoming(request_id.clone(), &HeaderMap::new());
    let outgoing = Outgoing { request_id, trace: TraceHeaders::default() };
    servers.connect("crm", headers.clone(), correlation, outgoing).unwrap()
}

async fn call(
    connection: &Connection,
    tool: &str,
    arguments: Value,
    progress: Option<&watch::Sender<ToolProgress>>,
) -> CallOutcome {
    let written = to_raw_value(&arguments).unwrap().into();
    call_with(connection, tool, Arguments { value: arguments, written }, progress).await
}

async fn call_with(
    connection: &Connection,
    tool: &str,
    arguments: Arguments,
    progress: Option<&watch::Sender<ToolProgress>>,
) -> CallOutcome {
    let span = Correlation::incoming(RequestId::generate(), &HeaderMap::new()).span;
    let calling = connection.call(tool, &arguments, &span, progress, &|| ());
    tokio::time::timeout(Duration::from_secs(60), calling).await.expect("the call ends").unwrap()
}
