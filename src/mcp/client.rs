//! One open rmcp client, which belongs to one identity.

use std::{pin::pin, sync::Arc, time::Instant};

use futures_util::FutureExt;
use rmcp::{
    RoleClient,
    model::{
        CancelledNotification, CancelledNotificationParam, ClientConfig, ClientNotification, ClientRequest,
        Notification, RequestId, RequestMetaObject, ServerResult,
    },
    service::{Peer, PeerRequestOptions, RunningService, ServiceError},
};
use tokio::sync::Mutex;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Fault, SentSet, ServerConfig, ToolList,
    backend::GOODBYE_TIMEOUT,
    direct::Direct,
    dozing::Dozing,
    fault::UpstreamText,
    kept_tools::KeptTools,
    slot::{Exchange, Lease, Slot},
    tools,
};
use crate::{
    metrics::{McpClient, McpServer, Method, State},
    trace::{self, Outgoing, Place, Span, names},
};

pub(super) type Service = RunningService<RoleClient, ClientConfig>;

/// An open client. Without a lease of its slot it can do nothing.
pub(super) struct Client {
    pub(super) slot: Arc<Slot>,
    pub(super) opened: Instant,
    /// Whether the server gave it a session.
    pub(super) session: bool,
    peer: Peer<RoleClient>,
    service: Mutex<Service>,
    tools: KeptTools,
    /// `None`: the server is spoken to in a session, or with a handshake.
    direct: Option<Direct>,
    /// It counts as long as it is there.
    meter: McpClient,
    opened_in: Place,
}

/// Who uses a client: its lease, and where its last words are waited for.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) lease: Lease,
    /// What it is leased with.
    pub(super) headers: Arc<SentSet>,
    pub(super) goodbyes: TaskTracker,
    /// Cancelled when nobody waits for them any more.
    pub(super) over: CancellationToken,
}

impl Client {
    pub(super) fn new(
        service: Service,
        slot: Arc<Slot>,
        session: bool,
        direct: Option<Direct>,
        meter: &McpServer,
    ) -> Self {
        Self {
            slot,
            opened: Instant::now(),
            session,
            peer: service.peer().clone(),
            service: Mutex::new(service),
            tools: KeptTools::default(),
            direct,
            meter: meter.client(State::Open),
            opened_in: Place::default(),
        }
    }

    /// What stays of it where nobody uses it. `None`: it is in use, is of no use, or has a session, which is to live on.
    pub(super) fn doze(&self) -> Option<Dozing> {
        let idle_since = self.slot.idle_since()?;
        if self.session || !self.is_open() {
            return None;
        }
        let revision = self.peer.peer_info()?.protocol_version.clone();
        let (tools, opened_in) = (self.tools.handed_on(), self.opened_in.clone());
        let meter = self.meter.server().client(State::Dozing);
        Some(Dozing { revision, tools, opened: self.opened, opened_in, idle_since, meter })
    }

    /// It goes on where a client of its identity was that dozed.
    pub(super) fn woken(self, dozing: &Dozing) -> Self {
        let opened_in = dozing.opened_in.clone();
        Self { tools: dozing.tools.handed_on(), opened: dozing.opened, opened_in, ..self }
    }

    /// Notes where in its trace it was opened.
    pub(super) fn opened_in(self, place: &Place) -> Self {
        Self { opened_in: place.clone(), ..self }
    }

    /// Notes in the span of a request which revision of MCP it speaks, and the trace of the run that opened it, if that was
    /// another.
    pub(super) fn trace(&self, span: &Span) {
        span.link(&self.opened_in);
        if span.is_kept()
            && let Some(server) = self.peer.peer_info()
        {
            span.record(names::MCP_PROTOCOL_VERSION, server.protocol_version.to_string());
        }
    }

    /// What its server is measured with.
    pub(super) fn meter(&self) -> &McpServer {
        self.meter.server()
    }

    /// Whether it can still be used.
    pub(super) fn is_open(&self) -> bool {
        !self.peer.is_transport_closed()
    }

    /// Who makes a call that need not pass rmcp.
    pub(super) fn direct(&self, exchange: &Exchange) -> Option<&Direct> {
        self.direct.as_ref().filter(|direct| direct.takes(exchange))
    }

    /// Sends a request and waits for its answer. Dropping the future, or running out of time, cancels the request at the
    /// server, too.
    pub(super) async fn request(
        &self,
        request: ClientRequest,
        exchange: &Arc<Exchange>,
        caller: &Caller,
    ) -> Result<ServerResult, Fault> {
        let operation = method(&request).map(|method| self.meter().operation(method));
        let end = |error| operation.map(|operation| operation.end(error));
        let options = PeerRequestOptions::no_options().with_meta(trace_meta(&exchange.outgoing));
        let Ok(mut handle) = self.peer.send_request_with_option(request, options).await else {
            end(Some(Fault::Broken.kind()));
            return Err(Fault::Broken);
        };
        let mut abandoned = Abandoned { peer: &self.peer, id: Some(handle.id.clone()), exchange, caller };
        // The backend keeps to the same deadline, but not while rmcp waits to resume an answer, as long as a server says.
        let answer = pin!(async {
            let answer = (&mut handle.rx).await.unwrap_or(Err(ServiceError::TransportClosed));
            answer.map_err(|error| fault(error, exchange))
        });
        let result = exchange.bounded(answer).await;
        if !matches!(result, Err(Fault::Timeout(_))) {
            abandoned.id = None;
        }
        end(kind_of_error(&result));
        result
    }

    /// The tools that the server lists for this identity. If it has to be asked, that has a span of its own.
    pub(super) async fn tools(
        self: &Arc<Self>,
        exchange: &Exchange,
        config: &ServerConfig,
        caller: &Caller,
    ) -> Result<Arc<ToolList>, Fault> {
        let list = || {
            let span = trace::mcp_request("tools/list", &config.name, &config.url, &exchange.outgoing);
            self.trace(&span);
            let (client, exchange, caller) = (self.clone(), exchange.in_span(&span), caller.clone());
            async move {
                let listed = tools::list(&client, &exchange, &caller).await;
                match &listed {
                    Ok(_) => span.end(),
                    Err(fault) => span.end_failed(fault.error_type()),
                }
                listed
            }
            .boxed()
        };
        self.tools.get_or_list(list, config.tools_ttl).await
    }

    /// Forgets the tool list: the server does not stand by it any more.
    pub(super) fn forget_tools(&self) {
        self.tools.forget();
    }

    /// Ends the client, and its session at the server, in bounded time. The slot must be leased for the latter.
    pub(super) async fn close(&self) {
        // A client that does not close in time is closed when it is dropped.
        let _ = self.service.lock().await.close_with_timeout(GOODBYE_TIMEOUT).await;
    }
}

/// Tells the server about a request that nobody waits for any more.
struct Abandoned<'a> {
    peer: &'a Peer<RoleClient>,
    id: Option<RequestId>,
    exchange: &'a Exchange,
    caller: &'a Caller,
}

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        let Some(id) = self.id.take() else { return };
        self.exchange.abandon();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (peer, caller) = (self.peer.clone(), self.caller.clone());
        let exchange = Exchange::within(self.exchange.outgoing.clone(), GOODBYE_TIMEOUT);
        let goodbye = async move {
            // The server learns it or it does not; there is nobody left to tell.
            let notification = peer.send_notification(cancelled(id, exchange));
            let _ = caller.over.run_until_cancelled(notification).await;
            drop(caller.lease);
        };
        self.caller.goodbyes.spawn_on(goodbye, &runtime);
    }
}

/// What a request is measured as. `None`: it is a call, which is measured by who makes it, whichever way it goes.
fn method(request: &ClientRequest) -> Option<Method> {
    match request {
        ClientRequest::CallToolRequest(_) => None,
        ClientRequest::ListToolsRequest(_) => Some(Method::ListTools),
        _ => Some(Method::Other),
    }
}

/// What is wrong with an answer, for metrics: a tool's own failure is one, too.
pub(super) fn kind_of_error(result: &Result<ServerResult, Fault>) -> Option<&'static str> {
    match result {
        Ok(ServerResult::CallToolResult(called)) if called.is_error == Some(true) => Some("tool_error"),
        Ok(_) => None,
        Err(fault) => Some(fault.kind()),
    }
}

fn cancelled(id: RequestId, exchange: Arc<Exchange>) -> ClientNotification {
    let params =
        CancelledNotificationParam::new(Some(id), Some("the run does not need it any more".to_owned()));
    let mut notification: CancelledNotification = Notification::new(params);
    notification.extensions.insert(exchange);
    ClientNotification::CancelledNotification(notification)
}

/// W3C trace context in `_meta`, where MCP reserves keys for it.
pub(super) fn trace_meta(outgoing: &Outgoing) -> RequestMetaObject {
    let mut meta = RequestMetaObject::new();
    if let Some(traceparent) = &outgoing.trace.traceparent {
        meta.set_traceparent(traceparent);
    }
    if let Some(tracestate) = &outgoing.trace.tracestate {
        meta.set_tracestate(tracestate);
    }
    meta
}

/// What the backend noted says more than what rmcp made of it.
fn fault(error: ServiceError, exchange: &Exchange) -> Fault {
    match error {
        ServiceError::McpError(error) => {
            Fault::Rpc { code: error.code.0, message: UpstreamText(error.message.into_owned()) }
        }
        _ => exchange.fault().unwrap_or(Fault::Broken),
    }
}
