//! Opening a client: finding out which era of MCP a server is of, and whether it gives sessions.
//!
//! Since 2026-07-28 there is no handshake; a client may ask `server/discover`. Before, there was `initialize`. rmcp can
//! try the one and then the other, but gives up where an old server answers the first with something odd, with silence
//! or with an error page. So both are tried from here, and what worked is remembered with the registration: but only where
//! the server said that it does not know the other, as one bad moment must not settle how it is spoken to for good.

use std::sync::Arc;

use http::StatusCode;
use rmcp::{
    model::{ClientConfig, Implementation, ProtocolVersion},
    service::{ClientCacheConfig, ClientInitializeError, ClientLifecycleMode, ClientServiceExt},
    transport::{
        common::client_side_sse::FixedInterval, streamable_http_client::StreamableHttpClientTransportConfig,
    },
};

use tracing::{Dispatch, instrument::WithSubscriber};

use super::{
    Fault, SentSet,
    backend::{Backend, GOODBYE_TIMEOUT},
    client::{Client, Service},
    direct::Direct,
    dozing::Dozing,
    registration::{Era, Registration},
    slot::{Exchange, Lease, Slot},
    transport::Transport,
};
use crate::{
    metrics::Method,
    trace::{self, Outgoing},
};

/// Who we say that we are.
pub(super) const OUR_NAME: &str = "runwright";
/// Of which version.
pub(super) const OUR_VERSION: &str = env!("CARGO_PKG_VERSION");

/// The revisions with a handshake that are spoken, oldest first.
const HANDSHAKE_REVISIONS: [ProtocolVersion; 3] =
    [ProtocolVersion::V_2025_03_26, ProtocolVersion::V_2025_06_18, ProtocolVersion::V_2025_11_25];

/// Opens a client for an identity. The requests that this takes carry the ids of the run that opens.
pub(super) async fn open(
    registration: &Arc<Registration>,
    headers: &Arc<SentSet>,
    outgoing: &Outgoing,
) -> Result<Client, Fault> {
    let known = registration.era();
    let (first, other) = match known {
        Era::Initialize => (Era::Initialize, Era::Discover),
        Era::Unknown | Era::Discover => (Era::Discover, Era::Initialize),
    };
    let fault = match attempt(registration, headers, outgoing, first).await {
        Ok(client) => return Ok(remembered(registration, first, client)),
        Err(fault) => fault,
    };
    let refused = is_refused(&fault);
    let worth_another = refused || (known == Era::Unknown && may_be_ignored(&fault));
    if !worth_another {
        return Err(unknown_protocol(fault));
    }
    if registration.era() == Era::Discover && known == Era::Unknown {
        // Another run has found out meanwhile: the server is slow, not old.
        return attempt(registration, headers, outgoing, Era::Discover).await.map_err(unknown_protocol);
    }
    match attempt(registration, headers, outgoing, other).await {
        Ok(client) if refused => Ok(remembered(registration, other, client)),
        Ok(client) => {
            registration.note_silence();
            Ok(client)
        }
        Err(later) if !refused && is_refused(&later) && matches!(fault, Fault::Timeout(_)) => {
            // It knows no handshake, so it was only slow.
            registration.remember_era(Era::Discover);
            attempt(registration, headers, outgoing, Era::Discover).await.map_err(unknown_protocol)
        }
        Err(later) => Err(unknown_protocol(telling(known, fault, later))),
    }
}

/// Opens a client once more that dozed. Nothing is sent.
pub(super) async fn wake(
    registration: &Arc<Registration>,
    headers: &Arc<SentSet>,
    outgoing: &Outgoing,
    dozing: &Dozing,
) -> Result<Client, Fault> {
    let known = Some(dozing.revision.clone());
    let client = attempt_knowing(registration, headers, outgoing, dozing.era(), known).await?;
    Ok(client.woken(dozing))
}

/// What worked is the next client's way.
fn remembered(registration: &Registration, era: Era, client: Client) -> Client {
    registration.remember_era(era);
    registration.remember_sessions(client.session);
    client
}

async fn attempt(
    registration: &Arc<Registration>,
    headers: &Arc<SentSet>,
    outgoing: &Outgoing,
    era: Era,
) -> Result<Client, Fault> {
    let method = if era == Era::Initialize { Method::Initialize } else { Method::Discover };
    let operation = registration.meter.operation(method);
    let config = &registration.config;
    let span = trace::mcp_request(method.as_str(), &config.name, &config.url, outgoing);
    let opened = attempt_knowing(registration, headers, &outgoing.within(&span), era, None).await;
    operation.end(opened.as_ref().err().map(Fault::kind));
    match opened {
        Ok(client) => {
            registration.meter.opened();
            client.trace(&span);
            let client = client.opened_in(span.place());
            span.end();
            Ok(client)
        }
        Err(fault) => {
            span.end_failed(fault.error_type());
            Err(fault)
        }
    }
}

async fn attempt_knowing(
    registration: &Arc<Registration>,
    headers: &Arc<SentSet>,
    outgoing: &Outgoing,
    era: Era,
    known: Option<ProtocolVersion>,
) -> Result<Client, Fault> {
    let slot = Arc::new(Slot::default());
    let exchange = Exchange::new(outgoing.clone());
    let backend = Backend::new(registration, &slot, known);
    let mut half_open =
        HalfOpen { backend: backend.clone(), lease: Lease::new(&slot, headers, &exchange), opened: false };
    let stateless = era == Era::Discover;
    let transport = Transport::new(backend.clone(), transport_config(registration), stateless);
    // rmcp's future is large and is moved on its way.
    let mut service = Box::pin(us().serve_with_lifecycle(transport, lifecycle(era)))
        // rmcp goes on in the span that it finds here, and would keep the run's open as long as the client. A subscriber that
        // is made here would have all places of logging looked through.
        .with_subscriber(Dispatch::none())
        .await
        .map_err(|error| exchange.fault().unwrap_or_else(|| fault(error)))?;
    half_open.opened = true;
    if let Err(fault) = check_revision(&service, era) {
        let _ = service.close_with_timeout(GOODBYE_TIMEOUT).await;
        return Err(fault);
    }
    service.peer().set_response_cache_config(ClientCacheConfig::disabled()).await;
    let session = backend.has_session();
    let direct = stateless.then(|| Direct::new(backend));
    Ok(Client::new(service, slot, session, direct, &registration.meter))
}

/// A client that is being opened. Where that comes to nothing, by a fault or because nobody wants it any more, a session
/// that the server gave already is deleted: rmcp deletes only those of clients that are open.
struct HalfOpen {
    backend: Backend,
    lease: Lease,
    opened: bool,
}

impl Drop for HalfOpen {
    fn drop(&mut self) {
        if self.opened || !self.backend.has_session() {
            return;
        }
        let (backend, lease) = (self.backend.clone(), self.lease.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                backend.delete_given_session().await;
                drop(lease);
            });
        }
    }
}

fn transport_config(registration: &Registration) -> StreamableHttpClientTransportConfig {
    let mut config = StreamableHttpClientTransportConfig::with_uri(registration.endpoint.clone())
        .max_concurrent_requests(registration.max_concurrent_requests)
        .max_sse_event_size(registration.config.max_body_bytes)
        // It would send a `tools/call` again by itself.
        .reinit_on_expired_session(false);
    let mut resumption = FixedInterval::default();
    resumption.max_times = Some(3);
    config.retry_config = Arc::new(resumption);
    config
}

/// What rmcp says of us: who we are. We offer no capability: elicitation is declined, sampling and roots are not known.
pub(super) fn us() -> ClientConfig {
    let implementation = Implementation::new(OUR_NAME, OUR_VERSION);
    ClientConfig::new(Default::default(), implementation)
        .with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE)
}

fn lifecycle(era: Era) -> ClientLifecycleMode {
    match era {
        Era::Initialize => ClientLifecycleMode::Initialize,
        Era::Discover | Era::Unknown => {
            ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] }
        }
    }
}

fn check_revision(service: &Service, era: Era) -> Result<(), Fault> {
    let Some(revision) = service.peer().peer_info().map(|info| info.protocol_version.clone()) else {
        return Err(Fault::Malformed("it names no revision of MCP"));
    };
    if era == Era::Discover || HANDSHAKE_REVISIONS.contains(&revision) {
        return Ok(());
    }
    let which =
        if revision == ProtocolVersion::V_2024_11_05 { "2024-11-05" } else { "of a revision not known here" };
    Err(Fault::Protocol(format!("the server speaks MCP {which}; 2025-03-26 to 2026-07-28 are supported")))
}

/// Whether a server said of the one way to start that it does not know it. What a gateway says of a server that is down,
/// or a server of its load, is no such answer.
fn is_refused(fault: &Fault) -> bool {
    match fault {
        Fault::Status(status) => status.is_client_error() && !fault.is_passing_status(),
        Fault::Malformed(_) | Fault::Protocol(_) | Fault::Rpc { .. } => true,
        _ => false,
    }
}

/// Whether an old server may react like this to a request that it does not know: some fall silent, some fail.
fn may_be_ignored(fault: &Fault) -> bool {
    match fault {
        Fault::Timeout(_) => true,
        Fault::Status(status) => !status.is_redirection() && *status != StatusCode::TOO_MANY_REQUESTS,
        _ => false,
    }
}

/// Which of two failures tells what is wrong: the first, which is the known way's or says that the server is not well. But
/// a server that refused to discover, and is not known, has its say with the second; and so has one that understood it and
/// refuses the credential or speaks another revision.
fn telling(known: Era, first: Fault, second: Fault) -> Fault {
    let understood = matches!(second, Fault::Unauthorized(_) | Fault::Forbidden(_) | Fault::Protocol(_));
    if understood || (known == Era::Unknown && is_refused(&first)) { second } else { first }
}

/// A server that answers to the start, and not with MCP.
fn unknown_protocol(fault: Fault) -> Fault {
    match fault {
        Fault::Status(status) if is_refused(&fault) => Fault::Protocol(format!(
            "the server answered HTTP {} to `server/discover` or to `initialize`, and the other did no better: the URL is \
             wrong, or it speaks only MCP 2024-11-05 (HTTP+SSE), which is not supported",
            status.as_u16()
        )),
        fault => fault,
    }
}

/// What rmcp says where the backend saw nothing wrong.
fn fault(error: ClientInitializeError) -> Fault {
    let why = match error {
        ClientInitializeError::JsonRpcError(error) => {
            return Fault::Rpc {
                code: error.code.0,
                message: super::fault::UpstreamText(error.message.into_owned()),
            };
        }
        ClientInitializeError::NoCompatibleProtocolVersion { .. } => {
            "the server speaks no revision of MCP that is known here"
        }
        ClientInitializeError::ExpectedInitResult(_) => "the server's answer to the start is none of MCP's",
        _ => return Fault::Broken,
    };
    Fault::Protocol(why.to_owned())
}
