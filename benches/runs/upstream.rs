//! What runs ask: models of all providers and MCP servers, which answer at once and cost little. They keep the first
//! request of each kind, for the floor to repeat.

use std::{
    io::{self, Read},
    sync::{Arc, OnceLock},
    thread,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, HeaderValue, header::CONTENT_TYPE},
    response::Response,
    routing::{get, post},
    serve::ListenerExt,
};
use hyper::server::conn::{http1, http2};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use serde::{Deserialize, Serialize};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    Mode, Outcome,
    place::{self, Place},
    scene::{SCENES, Scene},
};

mod anthropic;
mod chat;
mod mcp;
mod model;
mod responses;
mod speech;

pub use model::words;
pub use speech::{PIECES, speech};

/// The one tool.
pub const TOOL: &str = "whoami";

/// Kinds of requests of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The first to the model, whole and streamed.
    Asked(Mode),
    /// The second to the model.
    Told(Mode),
    Initialize,
    Initialized,
    List,
    Call,
    Delete,
}

/// A request as it was sent.
#[derive(Clone, Serialize, Deserialize)]
pub struct Sent {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// What the upstream has seen, and what it waits for.
#[derive(Clone)]
struct Upstream {
    seen: Arc<[[OnceLock<Sent>; Kind::COUNT]; SCENES.len()]>,
    /// Whether held answers go on.
    released: watch::Sender<bool>,
}

/// A scene of the upstream, and where it stands among all.
#[derive(Clone)]
struct Stage {
    upstream: Upstream,
    number: usize,
    scene: &'static Scene,
}

impl Kind {
    const COUNT: usize = 9;

    /// Where it stands among all.
    pub fn number(self) -> usize {
        match self {
            Self::Asked(mode) => mode as usize,
            Self::Told(mode) => 2 + mode as usize,
            Self::Initialize => 4,
            Self::Initialized => 5,
            Self::List => 6,
            Self::Call => 7,
            Self::Delete => 8,
        }
    }
}

/// The requests of a run, in their order, and how often each is made at once.
pub fn requests_of_a_run(mode: Mode, scene: &Scene) -> Vec<(Kind, usize)> {
    let turns = [(Kind::Asked(mode), 1), (Kind::Call, scene.calls), (Kind::Told(mode), 1)];
    if !scene.sessions {
        return turns.into();
    }
    let opening = [(Kind::Initialize, 1), (Kind::Initialized, 1), (Kind::List, 1)];
    opening.into_iter().chain(turns).chain([(Kind::Delete, 1)]).collect()
}

/// Serves until standard input ends; says its [`Place`] on standard output.
pub async fn serve() -> Outcome<()> {
    let upstream = Upstream { seen: Arc::default(), released: watch::Sender::new(false) };
    let mut router = Router::new().route("/seen", get(all_seen)).route("/release/{now}", post(release));
    for (number, scene) in SCENES.into_iter().enumerate() {
        let stage = Stage { upstream: upstream.clone(), number, scene };
        let scenes = Router::new()
            .route(scene.provider.path().0, post(model::answer))
            .route("/mcp", post(mcp::answer).delete(mcp::delete));
        router = router.nest(&format!("/{}", scene.name), scenes.with_state(stage));
    }
    let router = router.layer(DefaultBodyLimit::max(8 << 20)).with_state(upstream);
    let (listener, over_tls) =
        (TcpListener::bind("127.0.0.1:0").await?, TcpListener::bind("127.0.0.1:0").await?);
    let (plain, tls) = (listener.local_addr()?, over_tls.local_addr()?);
    let (config, authority) = place::certified(tls)?;
    tokio::spawn(serve_tls(over_tls, TlsAcceptor::from(Arc::new(config)), router.clone()));
    println!("{}", serde_json::to_string(&Place { plain, tls, authority })?);
    thread::spawn(|| {
        let _ = io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
    Ok(axum::serve(listener, router).await?)
}

async fn serve_tls(listener: TcpListener, tls: TlsAcceptor, router: Router) {
    while let Ok((connection, _)) = listener.accept().await {
        tokio::spawn(serve_one(connection, tls.clone(), router.clone()));
    }
}

/// Serves a connection to its end; what fails, its client tells.
async fn serve_one(connection: TcpStream, tls: TlsAcceptor, router: Router) {
    let _ = connection.set_nodelay(true);
    let Ok(connection) = tls.accept(connection).await else { return };
    let is_http2 = connection.get_ref().1.alpn_protocol() == Some(b"h2");
    let (connection, service) = (TokioIo::new(connection), TowerToHyperService::new(router));
    let _ = match is_http2 {
        true => http2::Builder::new(TokioExecutor::new()).serve_connection(connection, service).await,
        false => http1::Builder::new().serve_connection(connection, service).await,
    };
}

async fn all_seen(State(upstream): State<Upstream>) -> Result<Vec<u8>, String> {
    let seen: Vec<Vec<Option<&Sent>>> =
        upstream.seen.iter().map(|kinds| kinds.iter().map(OnceLock::get).collect()).collect();
    serde_json::to_vec(&seen).map_err(|error| error.to_string())
}

async fn release(State(upstream): State<Upstream>, axum::extract::Path(now): axum::extract::Path<bool>) {
    upstream.released.send_replace(now);
}

impl Stage {
    fn keep(&self, kind: Kind, method: &str, path: &str, headers: &HeaderMap, body: &Bytes) {
        self.upstream.seen[self.number][kind.number()].get_or_init(|| Sent {
            method: method.to_owned(),
            path: format!("/{}{path}", self.scene.name),
            headers: headers
                .iter()
                .filter(|(name, _)| !["host", "content-length"].contains(&name.as_str()))
                .map(|(name, value)| {
                    (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
                })
                .collect(),
            body: String::from_utf8_lossy(body).into_owned(),
        });
    }
}

fn response(content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
