//! A programmable MCP server that notes every request: for what real servers do not do, or do not show.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, Method, Response, StatusCode},
};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Notify};

use super::gate::Gate;

/// A request that came in.
#[derive(Clone, Debug)]
pub struct Seen {
    pub http: Method,
    pub headers: HeaderMap,
    /// The JSON-RPC message; null for a GET or DELETE.
    pub body: Value,
}

/// Answers a request in place of the server, or leaves it to the server.
type Hook = Arc<dyn Fn(Seen) -> BoxFuture<'static, Option<Response<Body>>> + Send + Sync>;

/// How a server starts and keeps a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// 2026-07-28: `server/discover`, no session.
    Modern,
    /// 2025-11-25 without session ids.
    Stateless,
    /// 2025-11-25 with a session id for each client.
    Stateful,
}

/// A running server. It ends when it is dropped.
pub struct McpServer {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    serving: tokio::task::JoinHandle<()>,
}

struct Shared {
    era: Era,
    hook: Option<Hook>,
    seen: Mutex<Vec<Seen>>,
    changed: Notify,
    sessions: AtomicUsize,
}

impl Seen {
    /// The JSON-RPC method; empty for a GET or DELETE.
    pub fn method(&self) -> &str {
        self.body["method"].as_str().unwrap_or_default()
    }

    /// The name of the tool that is called.
    pub fn tool(&self) -> &str {
        self.body["params"]["name"].as_str().unwrap_or_default()
    }

    /// A header as text; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The JSON-RPC answer to this request.
    pub fn result(&self, result: Value) -> Response<Body> {
        json_response(&json!({ "jsonrpc": "2.0", "id": self.body["id"], "result": result }))
    }

    /// The answer of a tool.
    pub fn tool_text(&self, text: &str) -> Response<Body> {
        self.result(json!({ "resultType": "complete", "content": [{ "type": "text", "text": text }] }))
    }

    /// A JSON-RPC error.
    pub fn error(&self, code: i64, message: &str) -> Response<Body> {
        let error = json!({ "code": code, "message": message });
        json_response(&json!({ "jsonrpc": "2.0", "id": self.body["id"], "error": error }))
    }
}

impl McpServer {
    /// A server with a tool `whoami`, which gives back the Authorization header, and `fail`, which fails.
    pub async fn start(era: Era) -> Self {
        Self::new(era, None).await
    }

    /// The same, but a hook sees each request first.
    pub async fn with_hook<F, R>(era: Era, hook: F) -> Self
    where
        F: Fn(Seen) -> R + Send + Sync + 'static,
        R: Future<Output = Option<Response<Body>>> + Send + 'static,
    {
        Self::new(era, Some(Arc::new(move |seen| Box::pin(hook(seen))))).await
    }

    /// The same, but no tool answers before the gate is open.
    pub async fn slow(era: Era, gate: &Gate) -> Self {
        let gate = gate.clone();
        let hold = move |seen: Seen| {
            let gate = gate.clone();
            async move {
                if seen.method() == "tools/call" {
                    gate.pass().await;
                }
                None
            }
        };
        Self::with_hook(era, hold).await
    }

    async fn new(era: Era, hook: Option<Hook>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            era,
            hook,
            seen: Mutex::default(),
            changed: Notify::new(),
            sessions: AtomicUsize::new(0),
        });
        let router = axum::Router::new()
            .fallback(answer)
            .layer(DefaultBodyLimit::disable())
            .with_state(shared.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, shared, serving }
    }

    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// Forgets the requests so far.
    pub fn forget(&self) {
        self.shared.seen.lock().unwrap().clear();
    }

    /// The JSON-RPC methods so far; `DELETE` and `GET` stand for themselves.
    pub fn methods(&self) -> Vec<String> {
        let name = |seen: &Seen| match seen.http {
            Method::POST => seen.method().to_owned(),
            ref other => other.to_string(),
        };
        self.seen().iter().map(name).collect()
    }

    /// Waits until some request satisfies a condition.
    pub async fn wait_for(&self, what: &str, condition: impl Fn(&Seen) -> bool) -> Seen {
        super::soon(what, async {
            loop {
                let changed = self.shared.changed.notified();
                if let Some(seen) = self.seen().into_iter().find(&condition) {
                    return seen;
                }
                changed.await;
            }
        })
        .await
    }
}

impl Drop for McpServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A JSON answer.
pub fn json_response(body: &Value) -> Response<Body> {
    raw(StatusCode::OK, "application/json", body.to_string())
}

/// Any answer.
pub fn raw(status: StatusCode, content_type: &str, body: impl Into<Body>) -> Response<Body> {
    Response::builder().status(status).header("content-type", content_type).body(body.into()).unwrap()
}

/// An answer without a body.
pub fn empty(status: StatusCode) -> Response<Body> {
    Response::builder().status(status).body(Body::empty()).unwrap()
}

/// An SSE answer with these events, each a whole `data:` payload.
pub fn sse(events: &[Value]) -> Response<Body> {
    let events: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    raw(StatusCode::OK, "text/event-stream", events)
}

/// 401 with a challenge.
pub fn unauthorized(challenge: &str) -> Response<Body> {
    Response::builder()
        .status(StatusCode::UNAUTHORIZED)
        .header("www-authenticate", challenge)
        .body(Body::empty())
        .unwrap()
}

/// A tool as it is listed.
pub fn tool(name: &str) -> Value {
    json!({ "name": name, "description": name, "inputSchema": { "type": "object" } })
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    http: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let seen = Seen { http, headers, body: serde_json::from_slice(&body).unwrap_or_default() };
    shared.seen.lock().unwrap().push(seen.clone());
    shared.changed.notify_waiters();
    if let Some(hook) = &shared.hook
        && let Some(response) = hook(seen.clone()).await
    {
        return response;
    }
    shared.answer(&seen)
}

impl Shared {
    fn answer(&self, seen: &Seen) -> Response<Body> {
        match (seen.http.as_str(), seen.method()) {
            ("DELETE", _) => empty(StatusCode::OK),
            ("GET", _) => empty(StatusCode::METHOD_NOT_ALLOWED),
            (_, "server/discover") if self.era == Era::Modern => seen.result(json!({
                "resultType": "complete", "supportedVersions": ["2026-07-28"],
                "capabilities": { "tools": {} }, "ttlMs": 0, "cacheScope": "private",
            })),
            (_, "initialize") if self.era != Era::Modern => self.initialize(seen),
            (_, "tools/list") => seen.result(json!({
                "resultType": "complete", "tools": [tool("whoami"), tool("fail")],
            })),
            (_, "tools/call") if seen.tool() == "whoami" => seen.tool_text(seen.header("authorization")),
            (_, "tools/call") => seen.result(json!({
                "content": [{ "type": "text", "text": "it failed" }], "isError": true,
            })),
            (_, method) if method.starts_with("notifications/") => empty(StatusCode::ACCEPTED),
            _ => seen.error(-32601, "no such method"),
        }
    }

    fn initialize(&self, seen: &Seen) -> Response<Body> {
        let mut response = seen.result(json!({
            "protocolVersion": "2025-11-25", "capabilities": { "tools": {} },
            "serverInfo": { "name": "test", "version": "1" },
        }));
        if self.era == Era::Stateful {
            let number = self.sessions.fetch_add(1, Ordering::Relaxed);
            let id = format!("session-{number}").parse().unwrap();
            response.headers_mut().insert("mcp-session-id", id);
        }
        response
    }
}
