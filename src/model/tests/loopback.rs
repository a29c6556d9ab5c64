//! A provider on the loopback, for tests. What it writes holds [`CANARY`], which may appear in no error.

use std::{convert::Infallible, fmt::Debug, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::ConnectInfo,
    http::{HeaderMap, HeaderName, Response, Uri},
    serve::ListenerExt,
};
use futures_util::{StreamExt, stream};
use serde_json::Value;
use tokio::{
    net::TcpListener,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::AbortHandle,
};

use crate::{
    credential::{Headers, Source},
    egress::{Client, Egress, Route},
    headers::Header,
    model::{EndpointConfig, Error, Model, Piece, asked::Asked},
};

/// What no error may hold.
pub const CANARY: &str = "canary-7f3a9e";

/// A server that gives every request the same answer.
pub struct Loopback {
    pub base_url: String,
    pub seen: UnboundedReceiver<Seen>,
    task: AbortHandle,
}

/// A request that arrived.
pub struct Seen {
    pub peer: SocketAddr,
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: Value,
}

/// Tells that what it was moved into is gone.
pub struct Gone(pub UnboundedSender<()>);

impl Drop for Gone {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Loopback {
    /// Starts a server; `answer` makes each response.
    pub async fn start<F, R>(answer: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Response<Body>> + Send,
    {
        let (sender, seen) = unbounded_channel();
        let answer = Arc::new(answer);
        let handler =
            move |ConnectInfo(peer): ConnectInfo<SocketAddr>, uri: Uri, headers: HeaderMap, body: Bytes| {
                let body = serde_json::from_slice(&body).unwrap();
                let _ = sender.send(Seen { peer, uri, headers, body });
                let answer = Arc::clone(&answer);
                async move { answer().await }
            };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
        // Without it the end of a body waits for the client's delayed ACK.
        let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
        let app = Router::new().fallback(handler).into_make_service_with_connect_info::<SocketAddr>();
        let task = tokio::spawn(async move { axum::serve(listener, app).await }).abort_handle();
        Self { base_url, seen, task }
    }

    /// Starts a server whose responses have this status, these headers and this body.
    pub async fn answering(status: u16, headers: &[(&'static str, &str)], body: &str) -> Self {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let body = body.to_owned();
        Self::start(move || {
            let mut response = Response::builder().status(status);
            for (name, value) in &headers {
                response = response.header(*name, value);
            }
            std::future::ready(response.body(Body::from(body.clone())).unwrap())
        })
        .await
    }
}

/// The pieces that a model streams.
pub async fn all_pieces(model: &dyn Model) -> Vec<Result<Piece, Error>> {
    model.stream(Asked::saying("hi").request()).map(clean).collect().await
}

/// The text that pieces have together, which are nothing else.
pub fn text_of(pieces: &[Result<Piece, Error>]) -> String {
    let text = |piece: &Result<Piece, Error>| match piece {
        Ok(Piece::Text(text)) => text.clone(),
        other => panic!("{other:?}"),
    };
    pieces.iter().map(text).collect()
}

/// A body that begins with this text and never ends.
pub fn endless(text: &'static str) -> Body {
    let rest = stream::repeat(Bytes::from(" ".repeat(64 * 1024)));
    Body::from_stream(stream::iter([Bytes::from(text)]).chain(rest).map(Ok::<_, Infallible>))
}

/// Fails where a result of ours holds what the provider wrote and no answer may.
pub fn clean<T: Debug>(result: Result<T, Error>) -> Result<T, Error> {
    if let Err(error) = &result {
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains(CANARY), "{shown}");
        assert!(!shown.contains("127.0.0.1"), "{shown}");
    }
    result
}

/// A model `m1` at a base URL that every request carries these headers to.
pub fn endpoint(base_url: &str, headers: &[(&'static str, Source)]) -> (EndpointConfig, Client) {
    let header = |(name, value): &(&'static str, Source)| Header {
        name: HeaderName::from_static(name),
        value: value.clone(),
        secret: true,
    };
    let headers = Headers::new(headers.iter().map(header).collect());
    let base_url = base_url.parse().unwrap();
    let config = EndpointConfig { base_url, route: Route::default(), model: "m1".into(), headers };
    let client = config.client(&Egress::default()).unwrap();
    (config, client)
}
