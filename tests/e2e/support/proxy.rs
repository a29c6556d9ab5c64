//! A proxy before a server, which notes every request.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    response::Response,
};
use http::{HeaderMap, header};
use serde_json::Value;
use tokio::{net::TcpListener, sync::watch};

use super::within;

/// The proxy. It serves as long as the test's runtime lives.
pub struct Proxy {
    port: u16,
    seen: watch::Receiver<Vec<Seen>>,
}

/// A request that came through.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The JSON-RPC method; for a request without a body, HTTP's.
    pub method: String,
    pub request_id: String,
    pub authorization: Option<String>,
    /// The session that it belongs to; that of a request that opens one is known with its answer.
    pub session: Option<String>,
    /// The answer's status; `None`: it has not come.
    pub status: Option<u16>,
}

struct Forwarder {
    upstream: String,
    client: reqwest::Client,
    seen: watch::Sender<Vec<Seen>>,
}

impl Proxy {
    /// Starts a proxy to a port of this machine.
    pub async fn start(upstream: u16) -> Self {
        let (sender, seen) = watch::channel(Vec::new());
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let upstream = format!("http://127.0.0.1:{upstream}/mcp");
        let forwarder = Arc::new(Forwarder { upstream, client, seen: sender });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = Router::new().fallback(forward).with_state(forwarder);
        tokio::spawn(async { axum::serve(listener, router).await });
        Self { port, seen }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/mcp", self.port)
    }

    /// The requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.borrow().clone()
    }

    /// The requests so far that belong to a gRPC request.
    pub fn seen_of(&self, request_id: &str) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.request_id == request_id).collect()
    }

    /// Waits for a request of this method.
    pub async fn arrival(&self, method: &str) {
        let mut seen = self.seen.clone();
        let come = seen.wait_for(|seen| seen.iter().any(|seen| seen.method == method));
        within(&format!("the server is sent `{method}`"), come).await.unwrap();
    }
}

/// The methods of requests.
pub fn methods(seen: &[Seen]) -> Vec<&str> {
    seen.iter().map(|seen| &*seen.method).collect()
}

async fn forward(State(forwarder): State<Arc<Forwarder>>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let at = forwarder.note(read(&parts.headers, parts.method.as_str(), &body));
    parts.headers.remove(header::HOST);
    // When the service hangs up, this is dropped, and the server's connection with it.
    let sent = forwarder.client.request(parts.method, &forwarder.upstream).headers(parts.headers).body(body);
    let answer = sent.send().await.unwrap();
    forwarder.answered(at, &answer);
    let mut response = Response::builder().status(answer.status());
    let headers = response.headers_mut().unwrap();
    *headers = answer.headers().clone();
    for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::CONTENT_LENGTH] {
        headers.remove(name);
    }
    response.body(Body::from_stream(answer.bytes_stream())).unwrap()
}

fn read(headers: &HeaderMap, http_method: &str, body: &[u8]) -> Seen {
    let message: Value = serde_json::from_slice(body).unwrap_or_default();
    Seen {
        method: message["method"].as_str().unwrap_or(http_method).to_owned(),
        request_id: header(headers, "x-request-id").unwrap_or_default(),
        authorization: header(headers, "authorization"),
        session: header(headers, "mcp-session-id"),
        status: None,
    }
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| value.to_str().unwrap().to_owned())
}

impl Forwarder {
    /// Notes a request, and says which one it is.
    fn note(&self, request: Seen) -> usize {
        let mut at = 0;
        self.seen.send_modify(|seen| {
            at = seen.len();
            seen.push(request);
        });
        at
    }

    fn answered(&self, at: usize, answer: &reqwest::Response) {
        let given = header(answer.headers(), "mcp-session-id");
        self.seen.send_modify(|seen| {
            seen[at].status = Some(answer.status().as_u16());
            seen[at].session = seen[at].session.take().or(given);
        });
    }
}
