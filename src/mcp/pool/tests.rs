//! What can't be seen from outside: which clients are kept, and that a kept one holds no header.

use std::{
    net::SocketAddr,
    sync::{
        Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{body::Bytes, response::IntoResponse};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::*;
use crate::{
    credential,
    egress::Egress,
    headers::{DigestKey, HeaderSet, Layer, Merged, merge},
    id::RequestId,
    mcp::{
        ServerConfig, Timeouts, ToolList,
        client::Caller,
        slot::{Exchange, Lease},
    },
    metrics::Metrics,
    trace::TraceHeaders,
};

const LONG: Duration = Duration::from_secs(3600);

/// What a server is like.
#[derive(Clone, Copy, Default)]
struct Kind {
    /// Of revision 2025-11-25, not of 2026-07-28.
    old: bool,
    /// Gives sessions.
    sessions: bool,
    /// Has an argument sent as a header.
    mirrors: bool,
}

/// A server that counts how often it is opened, and all requests.
struct Server {
    kind: Kind,
    address: SocketAddr,
    opened: Arc<AtomicUsize>,
    asked: Arc<AtomicUsize>,
}

impl Kind {
    /// What it answers; `None`: it takes a notification.
    fn answer(self, request: &Value) -> Option<Value> {
        let schema = json!({ "type": "object", "properties": { "region": { "type": "string" } } });
        let mut tool = json!({ "name": "whoami", "inputSchema": schema });
        if self.mirrors {
            tool["inputSchema"]["properties"]["region"]["x-mcp-header"] = "Region".into();
        }
        let result = match request["method"].as_str().unwrap() {
            "notifications/initialized" => return None,
            "tools/list" => json!({ "resultType": "complete", "tools": [tool] }),
            "initialize" if self.old => json!({
                "protocolVersion": "2025-11-25", "capabilities": { "tools": {} },
                "serverInfo": { "name": "old", "version": "1" },
            }),
            "server/discover" if !self.old => json!({
                "resultType": "complete", "supportedVersions": ["2026-07-28"],
                "capabilities": { "tools": {} }, "ttlMs": 0, "cacheScope": "private",
            }),
            _ => {
                let error = json!({ "code": -32601, "message": "unknown" });
                return Some(json!({ "jsonrpc": "2.0", "id": request["id"], "error": error }));
            }
        };
        Some(json!({ "jsonrpc": "2.0", "id": request["id"], "result": result }))
    }
}

impl Server {
    async fn start() -> Self {
        Self::of(Kind::default()).await
    }

    async fn of(kind: Kind) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (opened, asked) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (opening, asking) = (opened.clone(), asked.clone());
        let answer = move |request: Bytes| {
            let request: Value = serde_json::from_slice(&request).unwrap();
            asking.fetch_add(1, Ordering::SeqCst);
            let start = if kind.old { "initialize" } else { "server/discover" };
            if request["method"] == start {
                opening.fetch_add(1, Ordering::SeqCst);
            }
            let answer = kind.answer(&request);
            let status = if answer.is_some() { StatusCode::OK } else { StatusCode::ACCEPTED };
            let body = answer.map(|answer| answer.to_string()).unwrap_or_default();
            let mut response = (status, [("content-type", "application/json")], body).into_response();
            if kind.sessions && request["method"] == "initialize" {
                response.headers_mut().insert("mcp-session-id", HeaderValue::from_static("mine"));
            }
            std::future::ready(response)
        };
        let router = axum::Router::new().route("/mcp", axum::routing::post(answer));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { kind, address, opened, asked }
    }

    fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn registration(&self) -> Arc<Registration> {
        let config = ServerConfig {
            name: "crm".into(),
            url: format!("http://{}/mcp", self.address).parse().unwrap(),
            route: Default::default(),
            headers: credential::Headers::default(),
            caller_headers: Default::default(),
            session_scope: if self.kind.sessions { SessionScope::Identity } else { SessionScope::Auto },
            tools_ttl: LONG,
            max_body_bytes: 1 << 20,
            timeouts: Timeouts::default(),
        };
        let meter = Metrics::default().mcp_server("crm");
        let key = DigestKey::from_secret(b"k");
        Arc::new(Registration::new(0, config, &Egress::default(), 16, key, meter).unwrap())
    }
}

fn pool(max: usize, idle: Duration, age: Duration) -> Arc<Pool> {
    Arc::new(Pool::new(KeptClients { max, idle, age }))
}

/// What a run with a token wants of a server.
fn wanted(registration: &Arc<Registration>, token: &str) -> Wanted {
    let (set, problems) = HeaderSet::parse([("x-token", token)], []);
    assert!(problems.is_empty());
    let merged: Merged = merge([(Layer::RunServer, &set)]);
    let identity = registration.identity(&merged);
    Wanted {
        registration: registration.clone(),
        headers: Arc::new(SentSet::new(merged, identity, 0)),
        outgoing: Outgoing { request_id: RequestId::generate(), trace: TraceHeaders::default() },
    }
}

async fn acquire(pool: &Arc<Pool>, wanted: &Wanted) -> Weak<Client> {
    let acquired = pool.acquire(wanted).await.unwrap();
    assert!(!acquired.own);
    Arc::downgrade(&acquired.client)
}

#[tokio::test]
async fn over_the_bound_the_client_that_was_used_longest_ago_is_closed() {
    let server = Server::start().await;
    let (pool, registration) = (pool(2, LONG, LONG), server.registration());
    let [a, b, c] = ["a", "b", "c"].map(|token| wanted(&registration, token));
    let (first, second) = (acquire(&pool, &a).await, acquire(&pool, &b).await);
    acquire(&pool, &a).await;
    let third = acquire(&pool, &c).await;
    assert_eq!((pool.len(), server.opened()), (2, 3));
    assert!(second.upgrade().is_none(), "it was used longest ago");
    assert!(first.upgrade().is_some() && third.upgrade().is_some());
}

#[tokio::test]
async fn a_client_in_use_outlives_its_place() {
    let server = Server::start().await;
    let (pool, registration) = (pool(1, LONG, LONG), server.registration());
    let in_use = pool.acquire(&wanted(&registration, "a")).await.unwrap().client;
    acquire(&pool, &wanted(&registration, "b")).await;
    assert_eq!(pool.len(), 1);
    assert!(in_use.is_open());
}

#[tokio::test]
async fn an_idle_client_is_not_taken_and_swept() {
    let server = Server::start().await;
    let (pool, registration) = (pool(10, Duration::ZERO, LONG), server.registration());
    let client = acquire(&pool, &wanted(&registration, "a")).await;
    acquire(&pool, &wanted(&registration, "a")).await;
    assert_eq!(server.opened(), 2, "idle for longer than nothing");
    assert!(client.upgrade().is_none());
    pool.sweep_once();
    assert_eq!(pool.len(), 0);
}

#[tokio::test]
async fn an_old_client_is_not_taken() {
    let server = Server::start().await;
    let (pool, registration) = (pool(10, LONG, Duration::ZERO), server.registration());
    let client = acquire(&pool, &wanted(&registration, "a")).await;
    acquire(&pool, &wanted(&registration, "a")).await;
    assert_eq!((server.opened(), pool.len()), (2, 1));
    assert!(client.upgrade().is_none());
}

#[tokio::test]
async fn a_kept_client_holds_no_header() {
    let server = Server::start().await;
    let (pool, registration) = (pool(10, LONG, LONG), server.registration());
    let wanted = wanted(&registration, "a");
    let client = pool.acquire(&wanted).await.unwrap().client;
    let exchange = Exchange::new(wanted.outgoing.clone());
    let lease = Lease::new(&client.slot, &wanted.headers, &exchange);
    assert_eq!(client.slot.filled().unwrap().headers.map["x-token"], HeaderValue::from_static("a"));
    drop((lease, exchange));
    let headers = Arc::downgrade(&wanted.headers);
    drop(wanted);
    assert!(headers.upgrade().is_none(), "nobody has them any more");
    assert!(pool.len() == 1 && client.is_open());
}

#[tokio::test]
async fn an_opening_that_nobody_waits_for_ends_and_leaves_its_place() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server { kind: Kind::default(), address, opened: Arc::default(), asked: Arc::default() };
    let (pool, registration) = (pool(10, LONG, LONG), server.registration());
    let wanted = wanted(&registration, "a");
    {
        let acquiring = [pool.acquire(&wanted), pool.acquire(&wanted)].map(Box::pin);
        let mut both = futures_util::future::select_all(acquiring);
        assert!(futures_util::poll!(&mut both).is_pending());
        assert_eq!(pool.len(), 1);
        pool.sweep_once();
        assert_eq!(pool.len(), 1, "somebody waits for it");
    }
    pool.sweep_once();
    assert_eq!(pool.len(), 0);
    let headers = Arc::downgrade(&wanted.headers);
    drop(wanted);
    tokio::time::timeout(Duration::from_secs(20), async {
        while headers.upgrade().is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("what was being opened lets go of the headers");
}

#[tokio::test]
async fn a_client_that_another_opened_meanwhile_is_taken() {
    let server = Server::start().await;
    let (pool, registration) = (pool(10, LONG, LONG), server.registration());
    let wanted = wanted(&registration, "a");
    let client = pool.acquire(&wanted).await.unwrap().client;
    // As if the first look had come before that.
    let Ok(Opened::Kept(same)) = pool.opening(&wanted).await else { panic!("it is kept") };
    assert!(Arc::ptr_eq(&client, &same));
    assert_eq!(server.opened(), 1);
}

#[tokio::test]
async fn only_the_client_that_is_given_up_is_forgotten() {
    let server = Server::start().await;
    let (pool, registration) = (pool(10, LONG, LONG), server.registration());
    let wanted = wanted(&registration, "a");
    let first = pool.acquire(&wanted).await.unwrap().client;
    pool.forget(&wanted.headers.identity, &first);
    let second = pool.acquire(&wanted).await.unwrap().client;
    assert!(!Arc::ptr_eq(&first, &second));
    pool.forget(&wanted.headers.identity, &first);
    assert_eq!(pool.len(), 1, "the second is another one");
}

/// Lists the tools as a run does, and gives the client back.
async fn run(client: &Arc<Client>, wanted: &Wanted) -> Arc<ToolList> {
    let exchange = Exchange::new(wanted.outgoing.clone());
    let caller = Caller {
        lease: Lease::new(&client.slot, &wanted.headers, &exchange),
        headers: wanted.headers.clone(),
        goodbyes: TaskTracker::new(),
        over: CancellationToken::new(),
    };
    client.tools(&exchange, &wanted.registration.config, &caller).await.unwrap()
}

/// Lets time pass in which nobody uses a client.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_client_that_nobody_uses_dozes_and_wakes_without_a_request() {
    for old in [false, true] {
        let server = Server::of(Kind { old, ..Kind::default() }).await;
        let (pool, registration) = (pool(10, LONG, LONG), server.registration());
        let wanted = wanted(&registration, "a");
        let client = pool.acquire(&wanted).await.unwrap().client;
        let listed = run(&client, &wanted).await;
        let (asked, open) = (server.asked(), Arc::downgrade(&client));
        drop(client);
        pass(DOZE_AFTER - Duration::from_secs(1)).await;
        pool.sweep_once();
        assert!(open.upgrade().is_some(), "somebody may come back soon");
        pass(Duration::from_secs(1)).await;
        pool.sweep_once();
        assert!(open.upgrade().is_none(), "it is closed");
        assert_eq!(pool.len(), 1);

        let woken = pool.acquire(&wanted).await.unwrap();
        assert!(!woken.own && woken.client.is_open());
        assert!(Arc::ptr_eq(&listed, &run(&woken.client, &wanted).await));
        assert_eq!(server.asked(), asked, "nothing was asked again");
        // It is a whole client.
        woken.client.forget_tools();
        run(&woken.client, &wanted).await;
        assert_eq!((server.asked(), server.opened()), (asked + 1, 1));
    }
}

#[tokio::test]
async fn only_its_own_identity_wakes_a_client() {
    let server = Server::start().await;
    let (pool, registration) = (pool(10, LONG, LONG), server.registration());
    let [a, b] = ["a", "b"].map(|token| wanted(&registration, token));
    let listed = run(&pool.acquire(&a).await.unwrap().client, &a).await;
    pass(DOZE_AFTER).await;
    pool.sweep_once();
    let other = run(&pool.acquire(&b).await.unwrap().client, &b).await;
    assert!(!Arc::ptr_eq(&listed, &other));
    assert_eq!((server.opened(), pool.len()), (2, 2));
}

#[tokio::test]
async fn what_is_in_use_or_has_a_session_does_not_doze() {
    let server = Server::start().await;
    let (kept, registration) = (pool(10, LONG, LONG), server.registration());
    let wanted_here = wanted(&registration, "a");
    let got = kept.acquire(&wanted_here).await.unwrap().client;
    pass(DOZE_AFTER).await;
    kept.sweep_once();
    assert!(Arc::ptr_eq(&got, &kept.acquire(&wanted_here).await.unwrap().client), "it is about to be leased");
    let lease = Lease::new(&got.slot, &wanted_here.headers, &Exchange::new(wanted_here.outgoing.clone()));
    let open = Arc::downgrade(&got);
    drop(got);
    pass(DOZE_AFTER).await;
    kept.sweep_once();
    assert!(open.upgrade().is_some(), "it is leased");
    drop(lease);

    let server = Server::of(Kind { old: true, sessions: true, ..Kind::default() }).await;
    let (pool, registration) = (pool(10, LONG, LONG), server.registration());
    let client = acquire(&pool, &wanted(&registration, "a")).await;
    pass(DOZE_AFTER).await;
    pool.sweep_once();
    assert!(client.upgrade().is_some_and(|client| client.session), "its session lives on");
}

#[tokio::test]
async fn what_dozes_for_too_long_is_given_up() {
    let server = Server::start().await;
    let (pool, registration) = (pool(10, 2 * DOZE_AFTER, LONG), server.registration());
    let wanted = wanted(&registration, "a");
    drop(acquire(&pool, &wanted).await);
    pass(DOZE_AFTER).await;
    pool.sweep_once();
    assert_eq!(pool.len(), 1);
    pass(DOZE_AFTER).await;
    acquire(&pool, &wanted).await;
    assert_eq!(server.opened(), 2, "it is not woken any more");
    pass(DOZE_AFTER).await;
    pool.sweep_once();
    pass(DOZE_AFTER).await;
    pool.sweep_once();
    assert_eq!(pool.len(), 0);
}

#[tokio::test]
async fn a_list_that_rmcp_must_have_read_is_asked_for_again() {
    let server = Server::of(Kind { mirrors: true, ..Kind::default() }).await;
    let (pool, registration) = (pool(10, LONG, LONG), server.registration());
    let wanted = wanted(&registration, "a");
    run(&pool.acquire(&wanted).await.unwrap().client, &wanted).await;
    pass(DOZE_AFTER).await;
    pool.sweep_once();
    let asked = server.asked();
    run(&pool.acquire(&wanted).await.unwrap().client, &wanted).await;
    assert_eq!((server.asked(), server.opened()), (asked + 1, 1));
}
