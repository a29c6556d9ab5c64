//! What can't be seen from outside: a run that has ended reads no fault.

use rmcp::model::{ClientNotification, InitializedNotification, JsonRpcNotification};
use tokio::net::TcpListener;

use super::*;
use crate::{
    credential,
    egress::Egress,
    headers::DigestKey,
    id::RequestId,
    mcp::{SentSet, ServerConfig, SessionScope, Timeouts, slot::Lease},
    metrics::Metrics,
    trace::{Outgoing, TraceHeaders},
};

fn registration(listener: &TcpListener) -> Arc<Registration> {
    let config = ServerConfig {
        name: "crm".into(),
        url: format!("http://{}/mcp", listener.local_addr().unwrap()).parse().unwrap(),
        route: Default::default(),
        headers: credential::Headers::default(),
        caller_headers: Default::default(),
        session_scope: SessionScope::Auto,
        tools_ttl: Duration::ZERO,
        max_body_bytes: 1 << 20,
        timeouts: Timeouts::default(),
    };
    let meter = Metrics::default().mcp_server("crm");
    let key = DigestKey::from_secret(b"k");
    Arc::new(Registration::new(0, config, &Egress::default(), 16, key, meter).unwrap())
}

async fn post(backend: &Backend) -> Fault {
    let notification = JsonRpcNotification {
        jsonrpc: Default::default(),
        notification: ClientNotification::InitializedNotification(InitializedNotification::default()),
    };
    let message = ClientJsonRpcMessage::Notification(notification);
    match backend.post_message("".into(), message, None, None, HashMap::new()).await {
        Err(StreamableHttpError::Client(fault)) => fault,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_request_that_is_broken_off_with_its_lease_may_have_been_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let slot = Arc::new(Slot::default());
    let backend = Backend::new(&registration(&listener), &slot, None);
    assert_eq!(post(&backend).await, Fault::NoLease, "without a lease nothing is sent");

    let outgoing = Outgoing { request_id: RequestId::generate(), trace: TraceHeaders::default() };
    let lease = Lease::new(&slot, &Arc::new(SentSet::empty()), &Exchange::new(outgoing));
    let (fault, ()) = tokio::join!(post(&backend), async {
        // The request is on its way, and is never answered.
        let (stream, _) = listener.accept().await.unwrap();
        stream.readable().await.unwrap();
        drop(lease);
    });
    assert_eq!(fault, Fault::Vacated);
}
