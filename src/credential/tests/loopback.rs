//! Issuers of tokens on the loopback, for tests. What they write holds [`CANARY`], which may appear in no error.

use std::{fmt::Debug, sync::Arc};

use ::http::{Method, StatusCode};
use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderMap, Response, Uri},
};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::{net::TcpListener, task::AbortHandle};
use url::{Url, form_urlencoded};

/// What no error may hold.
pub const CANARY: &str = "canary-4c81d2";

/// A server that notes what it is asked.
pub struct Loopback {
    /// `http://127.0.0.1:PORT`
    pub origin: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: AbortHandle,
}

/// A request that arrived.
#[derive(Clone)]
pub struct Seen {
    /// The server that it arrived at.
    pub origin: String,
    pub method: Method,
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: String,
}

impl Drop for Loopback {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Loopback {
    /// Starts a server; `answer` makes each response.
    pub async fn start(answer: impl Fn(&Seen) -> Response<Body> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let (answer, noted, at) = (Arc::new(answer), Arc::clone(&seen), origin.clone());
        let handler = move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
            let body = String::from_utf8(body.to_vec()).unwrap();
            let request = Seen { origin: at.clone(), method, uri, headers, body };
            noted.lock().push(request.clone());
            let answer = Arc::clone(&answer);
            async move { answer(&request) }
        };
        let app = Router::new().fallback(handler);
        let task = tokio::spawn(async move { axum::serve(listener, app).await }).abort_handle();
        Self { origin, seen, task }
    }

    /// The URL of a path on this server.
    pub fn url(&self, path: &str) -> Url {
        format!("{}{path}", self.origin).parse().unwrap()
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }

    /// The methods and paths of all requests so far.
    pub fn paths(&self) -> Vec<String> {
        self.seen().iter().map(|seen| format!("{} {}", seen.method, seen.uri)).collect()
    }
}

impl Seen {
    /// A header's text, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The fields of a form, sorted by their names.
    pub fn form(&self) -> Vec<(String, String)> {
        let mut fields: Vec<_> = form_urlencoded::parse(self.body.as_bytes()).into_owned().collect();
        fields.sort();
        fields
    }

    /// A field of a form, or nothing.
    pub fn field(&self, name: &str) -> String {
        let field = self.form().into_iter().find(|(field, _)| field == name);
        field.map(|(_, value)| value).unwrap_or_default()
    }
}

/// A JSON answer.
pub fn json(status: u16, body: &Value) -> Response<Body> {
    let response = Response::builder().status(status).header("content-type", "application/json");
    response.body(Body::from(body.to_string())).unwrap()
}

/// Nothing there, and a page that says so.
pub fn not_found() -> Response<Body> {
    let page = format!("<html>{CANARY}</html>");
    Response::builder()
        .status(StatusCode::NOT_FOUND)
        .header("content-type", "text/html")
        .body(page.into())
        .unwrap()
}

/// A redirect.
pub fn redirect(status: u16, to: &str) -> Response<Body> {
    Response::builder().status(status).header("location", to).body(Body::from(CANARY)).unwrap()
}

/// The text of an error, which holds nothing of what was answered, and no URL.
#[track_caller]
pub fn clean<T>(result: Result<T, impl Debug + std::fmt::Display>) -> String {
    let error = result.err().expect("there is an error");
    let shown = format!("{error} {error:?}");
    for secret in [CANARY, "127.0.0.1", "localhost", "http://"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    error.to_string()
}
