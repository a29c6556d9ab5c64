//! What can't be seen from outside: when rmcp's transport is there.

use std::sync::Arc;

use axum::{body::Bytes, response::IntoResponse};
use http::Method;
use parking_lot::Mutex;
use rmcp::{
    model::{
        CallToolRequest, CallToolRequestParams, CancelledNotification, CancelledNotificationParam,
        ClientJsonRpcMessage, ListToolsRequest, Notification, Request,
    },
    transport::Transport as _,
};
use serde_json::{Value, json, value::RawValue};
use tokio::net::TcpListener;

use super::*;
use crate::{
    credential,
    egress::Egress,
    headers::DigestKey,
    id::RequestId as RunRequestId,
    mcp::{
        SentSet, ServerConfig, SessionScope, Timeouts,
        registration::Registration,
        slot::{Lease, Slot},
    },
    metrics::Metrics,
    trace::{Outgoing, TraceHeaders},
};

/// How a server answers.
#[derive(Clone, Copy, Default)]
struct Kind {
    /// Its answers are event streams.
    streams: bool,
    /// Its tool has an argument that is sent as a header.
    mirrors: bool,
    /// The answers to calls break off, and are resumed.
    breaks_off: bool,
}

/// A transport to a server, and what the server saw.
struct Open {
    transport: Transport,
    seen: Arc<Mutex<Vec<String>>>,
    _lease: Lease,
}

impl Kind {
    fn answer(self, method: &Method, request: &Value) -> (&'static str, String) {
        let stream = "text/event-stream";
        let mut schema = json!({ "type": "object", "properties": { "region": { "type": "string" } } });
        if self.mirrors {
            schema["properties"]["region"]["x-mcp-header"] = "Region".into();
        }
        let result = match request["method"].as_str() {
            Some("server/discover") => json!({
                "resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {},
                "ttlMs": 0, "cacheScope": "private",
            }),
            Some("tools/list") => {
                json!({ "resultType": "complete", "tools": [{ "name": "t", "inputSchema": schema }] })
            }
            Some(_) if self.breaks_off => return (stream, "id: 1\nretry: 1\ndata:\n\n".to_owned()),
            _ => json!({ "resultType": "complete", "content": [] }),
        };
        let id = if method == Method::GET { &json!(3) } else { &request["id"] };
        let answer = json!({ "jsonrpc": "2.0", "id": id, "result": result });
        if self.streams || self.breaks_off {
            (stream, format!("event: ping\ndata: {{}}\n\ndata: {answer}\n\n"))
        } else {
            ("application/json", answer.to_string())
        }
    }
}

impl Open {
    async fn to(kind: Kind) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = seen.clone();
        let answer = move |method: Method, request: Bytes| {
            let request: Value = serde_json::from_slice(&request).unwrap_or_default();
            noted.lock().push(request["method"].as_str().unwrap_or(method.as_str()).to_owned());
            let (media_type, body) = kind.answer(&method, &request);
            std::future::ready(([("content-type", media_type)], body).into_response())
        };
        let router = axum::Router::new().route("/mcp", axum::routing::any(answer));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let config = ServerConfig {
            name: "crm".into(),
            url: url.parse().unwrap(),
            route: Default::default(),
            headers: credential::Headers::default(),
            caller_headers: Default::default(),
            session_scope: SessionScope::Auto,
            tools_ttl: Timeouts::default().startup,
            max_body_bytes: 1 << 20,
            timeouts: Timeouts::default(),
        };
        let key = DigestKey::from_secret(b"k");
        let registration =
            Registration::new(0, config, &Egress::default(), 16, key, Metrics::default().mcp_server("crm"));
        let registration = Arc::new(registration.unwrap());
        let slot = Arc::new(Slot::default());
        let lease = Lease::new(&slot, &Arc::new(SentSet::empty()), &exchange(false));
        let backend = Backend::new(&registration, &slot, None);
        let config = StreamableHttpClientTransportConfig::with_uri(url);
        Self { transport: Transport::new(backend, config, true), seen, _lease: lease }
    }

    /// Sends a request, and says whether what came back answers it.
    async fn is_answered(&mut self, id: i64, request: ClientRequest) -> bool {
        let sending = self.transport.send(ClientJsonRpcMessage::request(request, RequestId::Number(id)));
        let sending = tokio::spawn(sending);
        let answer = self.transport.receive().await;
        sending.await.unwrap().unwrap();
        matches!(answer, Some(ServerJsonRpcMessage::Response(answer)) if answer.id == RequestId::Number(id))
    }

    /// Discovers the server, lists its tools and makes a call, which is `plain` or not.
    async fn use_it(&mut self, plain: bool) {
        let discover = DiscoverRequest::new(DiscoverRequestParams {});
        assert!(self.is_answered(1, ClientRequest::DiscoverRequest(discover)).await);
        let mut list = ListToolsRequest::default();
        list.extensions.insert(exchange(false));
        assert!(self.is_answered(2, ClientRequest::ListToolsRequest(list)).await);
        let mut call: CallToolRequest = Request::new(CallToolRequestParams::new("t"));
        call.extensions.insert(exchange(plain));
        assert!(self.is_answered(3, ClientRequest::CallToolRequest(call)).await);
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().clone()
    }
}

fn exchange(plain: bool) -> Arc<Exchange> {
    let outgoing = Outgoing { request_id: RunRequestId::generate(), trace: TraceHeaders::default() };
    let arguments: Arc<RawValue> = RawValue::from_string("{}".to_owned()).unwrap().into();
    Exchange::calling(outgoing, Timeouts::default().call, plain, &arguments)
}

#[tokio::test]
async fn what_is_plain_goes_without_rmcps_transport() {
    for streams in [false, true] {
        let mut open = Open::to(Kind { streams, ..Kind::default() }).await;
        open.use_it(true).await;
        let cancelled: CancelledNotification =
            Notification::new(CancelledNotificationParam::new(Some(RequestId::Number(3)), None));
        let cancelled = ClientNotification::CancelledNotification(cancelled);
        open.transport.send(ClientJsonRpcMessage::notification(cancelled)).await.unwrap();
        assert!(open.transport.rmcps.is_none(), "streams: {streams}");
        assert_eq!(open.seen(), ["server/discover", "tools/list", "tools/call"], "streams: {streams}");
        open.transport.close().await.unwrap();
    }
}

#[tokio::test]
async fn rmcps_transport_is_there_when_it_is_needed_and_asks_nothing_again() {
    for streams in [false, true] {
        let mirrors = Kind { streams, mirrors: true, ..Kind::default() };
        for (kind, plain) in [(mirrors, true), (Kind { streams, ..Kind::default() }, false)] {
            let mut open = Open::to(kind).await;
            open.use_it(plain).await;
            assert!(open.transport.rmcps.is_some());
            assert_eq!(open.seen(), ["server/discover", "tools/list", "tools/call"]);
            open.transport.close().await.unwrap();
        }
    }
    let mut open = Open::to(Kind { breaks_off: true, ..Kind::default() }).await;
    open.use_it(true).await;
    assert!(open.transport.rmcps.is_some());
    assert_eq!(open.seen(), ["server/discover", "tools/list", "tools/call", "GET"]);
}
