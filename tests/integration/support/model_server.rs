//! A programmable Chat Completions endpoint that notes every request.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, Response},
};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::net::TcpListener;

type Answer = Arc<dyn Fn(Value) -> BoxFuture<'static, Response<Body>> + Send + Sync>;

/// A running endpoint. It ends when it is dropped.
pub struct ModelServer {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    serving: tokio::task::JoinHandle<()>,
}

struct Shared {
    answer: Answer,
    seen: Mutex<Vec<(HeaderMap, Value)>>,
}

impl ModelServer {
    /// An endpoint that answers as told.
    pub async fn start<F, R>(answer: F) -> Self
    where
        F: Fn(Value) -> R + Send + Sync + 'static,
        R: Future<Output = Response<Body>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer: Answer = Arc::new(move |body| Box::pin(answer(body)));
        let shared = Arc::new(Shared { answer, seen: Mutex::default() });
        let router = axum::Router::new()
            .fallback(handle)
            .layer(DefaultBodyLimit::disable())
            .with_state(shared.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, shared, serving }
    }

    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// All requests so far: headers and body.
    pub fn seen(&self) -> Vec<(HeaderMap, Value)> {
        self.shared.seen.lock().unwrap().clone()
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn handle(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    shared.seen.lock().unwrap().push((headers, body.clone()));
    (shared.answer)(body).await
}

/// Whether a request's conversation has a tool's result already.
pub fn has_result(body: &Value) -> bool {
    body["messages"].as_array().is_some_and(|messages| messages.iter().any(|m| m["role"] == "tool"))
}

/// A whole answer with text.
pub fn says(text: &str) -> Response<Body> {
    whole(json!({ "role": "assistant", "content": text }))
}

/// A whole answer that asks for a tool.
pub fn calls(tool: &str, arguments: &str) -> Response<Body> {
    let function = json!({ "name": tool, "arguments": arguments });
    let calls = json!([{ "id": "call_1", "type": "function", "function": function }]);
    whole(json!({ "role": "assistant", "content": null, "tool_calls": calls }))
}

fn whole(message: Value) -> Response<Body> {
    let usage = json!({ "prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5 });
    let answer =
        json!({ "choices": [{ "index": 0, "message": message, "finish_reason": "stop" }], "usage": usage });
    super::mcp_server::json_response(&answer)
}
