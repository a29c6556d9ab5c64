//! What can't be seen from outside: which clients are kept, and that a kept one holds no header.

use std::{
    net::SocketAddr,
    sync::{
        Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::body::Bytes;
use http::HeaderValue;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;
use crate::{
    credential,
    egress::Egress,
    headers::{DigestKey, HeaderSet, Layer, Merged, merge},
    id::RequestId,
    mcp::{
        ServerConfig, Timeouts,
        slot::{Exchange, Lease},
    },
    trace::TraceHeaders,
};

const LONG: Duration = Duration::from_secs(3600);

/// A modern server that counts how often it is opened.
struct Server {
    address: SocketAddr,
    opened: Arc<AtomicUsize>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let opened = Arc::new(AtomicUsize::new(0));
        let count = opened.clone();
        let answer = move |request: Bytes| {
            let request: Value = serde_json::from_slice(&request).unwrap();
            if request["method"] == "server/discover" {
                count.fetch_add(1, Ordering::SeqCst);
            }
            let result = json!({
                "resultType": "complete", "supportedVersions": ["2026-07-28"],
                "capabilities": { "tools": {} }, "ttlMs": 0, "cacheScope": "private", "tools": [],
            });
            let answer = json!({ "jsonrpc": "2.0", "id": request["id"], "result": result });
            std::future::ready(([("content-type", "application/json")], answer.to_string()))
        };
        let router = axum::Router::new().route("/mcp", axum::routing::post(answer));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, opened }
    }

    fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }

    fn registration(&self) -> Arc<Registration> {
        let config = ServerConfig {
            name: "crm".into(),
            url: format!("http://{}/mcp", self.address).parse().unwrap(),
            headers: credential::Headers::default(),
            caller_headers: Default::default(),
            session_scope: SessionScope::Auto,
            tools_ttl: LONG,
            max_body_bytes: 1 << 20,
            timeouts: Timeouts::default(),
        };
        Arc::new(Registration::new(0, config, &Egress::default(), 16, DigestKey::from_secret(b"k")).unwrap())
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
    let server = Server { address: listener.local_addr().unwrap(), opened: Arc::default() };
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
