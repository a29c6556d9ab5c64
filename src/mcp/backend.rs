//! The HTTP backend of rmcp: the one place from which requests to MCP servers are sent.
//!
//! What goes on the wire comes from three sides and no other: the leased slot (the run's merged headers), the
//! [`Exchange`] (request id and trace), and rmcp (revision, method, session id). The three can't collide:
//! [`headers::rules`](crate::headers::rules) keeps the latter names out of the first. Each request has a deadline that
//! covers its answer, streams included, and a bound on the answer's size.

use std::{
    collections::HashMap,
    pin::{Pin, pin},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream::BoxStream;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response,
    header::{ACCEPT, CONTENT_TYPE},
};
use rmcp::{
    model::{ClientJsonRpcMessage, ClientNotification, ClientRequest, GetExtensions, ProtocolVersion},
    transport::streamable_http_client::{
        StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
    },
};
use sse_stream::{Error as SseError, Sse};
use tokio::time::{Instant, timeout_at};

use super::{
    Fault, answer, dozing, plain_request,
    registration::{Era, Registration},
    slot::{Exchange, Filled, Slot},
    streamed::{self, Interrupted},
};
use crate::egress::{Body, SendError};

#[cfg(test)]
mod tests;

/// How long `server/discover` may take where it is not known that the server knows it: one that does not may never
/// answer.
pub(super) const DISCOVER_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a cancellation or the deletion of a session may take.
pub(super) const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const ACCEPT_BOTH: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");

/// The backend of one open client.
#[derive(Clone)]
pub(super) struct Backend {
    registration: Arc<Registration>,
    slot: Arc<Slot>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// The session id that the server gave when the client was opened.
    session: OnceLock<Arc<str>>,
    interrupted: Interrupted,
    /// The revision that the server speaks, where it was found out before: by a client of the identity, or by this one.
    known: OnceLock<ProtocolVersion>,
    /// Whether rmcp's transport is there.
    rmcps: AtomicBool,
}

/// A request to be sent: what it carries and how long it may take.
#[derive(Clone)]
pub(super) struct Sending {
    pub(super) filled: Filled,
    pub(super) exchange: Arc<Exchange>,
    deadline: Instant,
    limit: Duration,
}

impl Backend {
    /// The backend of a client that is to be opened. Where the server's revision is known, it is not asked for.
    pub(super) fn new(
        registration: &Arc<Registration>,
        slot: &Arc<Slot>,
        known: Option<ProtocolVersion>,
    ) -> Self {
        let known = known.map(OnceLock::from).unwrap_or_default();
        let state = State { known, ..State::default() };
        Self { registration: registration.clone(), slot: slot.clone(), state: Arc::new(state) }
    }

    /// Whether the server gave a session id when the client was opened.
    pub(super) fn has_session(&self) -> bool {
        self.state.session.get().is_some()
    }

    /// Notes the revision that the server speaks. From now on it is not asked for.
    pub(super) fn note_revision(&self, revision: ProtocolVersion) {
        let _ = self.state.known.set(revision);
    }

    /// Notes that rmcp's transport is there.
    pub(super) fn note_rmcps_transport(&self) {
        self.state.rmcps.store(true, Ordering::Relaxed);
    }

    /// Whether rmcp's transport is there.
    pub(super) fn has_rmcps_transport(&self) -> bool {
        self.state.rmcps.load(Ordering::Relaxed)
    }

    /// The largest body or event that is read.
    pub(super) fn max_body_bytes(&self) -> usize {
        self.registration.config.max_body_bytes
    }

    /// The answers that ended early.
    pub(super) fn interrupted(&self) -> &Interrupted {
        &self.state.interrupted
    }

    /// Deletes the session that the server gave, where rmcp does not: before the client is open.
    pub(super) async fn delete_given_session(&self) {
        let Some(session) = self.state.session.get() else { return };
        // The server learns it or it does not; there is nobody left to tell.
        let _ = self
            .delete_session(self.registration.endpoint.clone(), session.clone(), None, HashMap::new())
            .await;
    }

    fn sending(&self, exchange: Option<Arc<Exchange>>, limit: Duration) -> Result<Sending, Fault> {
        let filled = self.slot.filled().ok_or(Fault::NoLease)?;
        let exchange = exchange.unwrap_or_else(|| filled.exchange.clone());
        let (deadline, limit) = exchange.deadline.unwrap_or_else(|| (Instant::now() + limit, limit));
        Ok(Sending { filled, exchange, deadline, limit })
    }

    /// How long a message may take whose exchange does not say.
    fn limit(&self, message: &ClientJsonRpcMessage) -> Duration {
        match message {
            ClientJsonRpcMessage::Request(request) => match request.request {
                ClientRequest::DiscoverRequest(_) if self.registration.era() != Era::Discover => {
                    DISCOVER_TIMEOUT.min(self.registration.config.timeouts.startup)
                }
                _ => self.registration.config.timeouts.startup,
            },
            ClientJsonRpcMessage::Notification(notification) => match notification.notification {
                ClientNotification::InitializedNotification(_) => self.registration.config.timeouts.startup,
                _ => GOODBYE_TIMEOUT,
            },
            _ => GOODBYE_TIMEOUT,
        }
    }

    async fn send(
        &self,
        sending: &Sending,
        method: Method,
        protocol: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
        session: Option<&str>,
        body: Option<Vec<u8>>,
    ) -> Result<Response<Body>, Fault> {
        let mut headers = sending.filled.headers.map.clone();
        for (name, value) in protocol {
            headers.insert(name, value);
        }
        headers.insert(ACCEPT, ACCEPT_BOTH);
        sending.exchange.outgoing.insert_into(&mut headers);
        insert(&mut headers, SESSION_ID, session);
        if body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let mut request = Request::new(body.map(Bytes::from).unwrap_or_default());
        *request.method_mut() = method;
        *request.uri_mut() = self.registration.uri.clone();
        *request.headers_mut() = headers;
        self.registration.http.send(request).await.map_err(|error| match error {
            SendError::Connect => Fault::Connect,
            SendError::Broken => Fault::Broken,
        })
    }

    /// Posts a request of revision 2026-07-28 that rmcp does not send itself. It is answered from here if the answer is
    /// known.
    pub(super) async fn post_plain(
        &self,
        message: &ClientJsonRpcMessage,
    ) -> Result<StreamableHttpPostResponse, Fault> {
        if let Some(answer) = self.known_answer(message) {
            return Ok(answer);
        }
        let sending = self.sending(exchange(message), self.limit(message))?;
        let body = plain_request::body(message).ok_or(Fault::Malformed("our own request"))?;
        let post = pin!(self.post(&sending, message, body, None, plain_request::headers(message)));
        sending.bounded(post).await
    }

    /// What a server of a known revision answers to the start.
    fn known_answer(&self, message: &ClientJsonRpcMessage) -> Option<StreamableHttpPostResponse> {
        self.state.known.get().and_then(|revision| dozing::answer(revision, message))
    }

    async fn post(
        &self,
        sending: &Sending,
        message: &ClientJsonRpcMessage,
        body: Vec<u8>,
        session: Option<Arc<str>>,
        protocol: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
    ) -> Result<StreamableHttpPostResponse, Fault> {
        let response = self.send(sending, Method::POST, protocol, session.as_deref(), Some(body)).await?;
        let given = response.headers().get(SESSION_ID).and_then(|id| id.to_str().ok()).map(str::to_owned);
        if let Some(id) = &given {
            self.state.session.get_or_init(|| id.as_str().into());
        }
        answer::read(self, sending, message, session.is_some(), response, given).await
    }

    async fn resume(
        &self,
        sending: &Sending,
        session: Option<Arc<str>>,
        last_event_id: &str,
        mut protocol: HashMap<HeaderName, HeaderValue>,
    ) -> Result<Response<Body>, Fault> {
        let id = HeaderValue::from_str(last_event_id).map_err(|_| Fault::Malformed("an event's id"))?;
        protocol.insert(LAST_EVENT_ID, id);
        let response = self.send(sending, Method::GET, protocol, session.as_deref(), None).await?;
        answer::check_resumed(sending, session.is_some(), &response)?;
        Ok(response)
    }
}

impl Sending {
    /// Does a part of the request's work, within its deadline and while its headers are leased. A fault is noted. The work
    /// is given pinned, so that the future of this does not hold it twice.
    pub(super) async fn bounded<T>(
        &self,
        work: Pin<&mut impl Future<Output = Result<T, Fault>>>,
    ) -> Result<T, Fault> {
        let result = tokio::select! {
            biased;
            () = self.filled.vacated.cancelled() => Err(Fault::Vacated),
            result = timeout_at(self.deadline, work) => result.unwrap_or(Err(Fault::Timeout(self.limit))),
        };
        result.inspect_err(|fault| self.exchange.fail(fault.clone()))
    }
}

impl StreamableHttpClient for Backend {
    type Error = Fault;

    async fn post_message(
        &self,
        _uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        _auth: Option<String>,
        protocol: HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse, StreamableHttpError<Fault>> {
        if let Some(answer) = self.known_answer(&message) {
            return Ok(answer);
        }
        let exchange = exchange(&message);
        if let Some(exchange) = &exchange
            && let Some(posted) = exchange.take_posted()
        {
            if let ClientJsonRpcMessage::Request(request) = &message {
                exchange.note_rmcps_id(request.id.clone());
            }
            return Ok(posted);
        }
        let sending = self.sending(exchange, self.limit(&message)).map_err(StreamableHttpError::Client)?;
        let unwritten = StreamableHttpError::Client(Fault::Malformed("our own request"));
        let body = plain_request::rmcps_body(&message).ok_or(unwritten)?;
        let post = pin!(self.post(&sending, &message, body, session, protocol));
        sending.bounded(post).await.map_err(StreamableHttpError::Client)
    }

    /// Deletes a session; without a lease, as when an idle client is given up, nothing is sent.
    async fn delete_session(
        &self,
        _uri: Arc<str>,
        session: Arc<str>,
        _auth: Option<String>,
        protocol: HashMap<HeaderName, HeaderValue>,
    ) -> Result<(), StreamableHttpError<Fault>> {
        let sending = self.sending(None, GOODBYE_TIMEOUT).map_err(StreamableHttpError::Client)?;
        let delete = pin!(self.send(&sending, Method::DELETE, protocol, Some(&session), None));
        sending.bounded(delete).await.map(drop).map_err(StreamableHttpError::Client)
    }

    /// Resumes an answer. A standing stream is never opened: it would cost a socket a client, and serve only requests
    /// that the server makes by itself.
    async fn get_stream(
        &self,
        _uri: Arc<str>,
        session: Option<Arc<str>>,
        last_event_id: Option<String>,
        _auth: Option<String>,
        protocol: HashMap<HeaderName, HeaderValue>,
    ) -> Result<BoxStream<'static, Result<Sse, SseError>>, StreamableHttpError<Fault>> {
        let interrupted = last_event_id.as_deref().and_then(|id| self.interrupted().take(id));
        let Some((answer, id)) = interrupted else {
            return Err(StreamableHttpError::ServerDoesNotSupportSse);
        };
        if !answer.exchange.may_resume() {
            answer.exchange.fail(Fault::Broken);
            return Err(StreamableHttpError::ServerDoesNotSupportSse);
        }
        let limit = self.registration.config.timeouts.call;
        let sending =
            self.sending(Some(answer.exchange.clone()), limit).map_err(StreamableHttpError::Client)?;
        let resume = pin!(self.resume(&sending, session, id, protocol));
        match sending.bounded(resume).await {
            Ok(response) => Ok(answer::events(self, &sending, answer, response)),
            Err(fault) if streamed::is_resumable(&fault) => {
                self.interrupted().keep(answer, Some(&fault));
                Err(StreamableHttpError::Client(fault))
            }
            // What a repetition can't mend; rmcp ends the answer at once.
            Err(_) => Err(StreamableHttpError::ServerDoesNotSupportSse),
        }
    }
}

/// The exchange that the caller of rmcp put into a message's extensions, which are never serialized.
pub(super) fn exchange(message: &ClientJsonRpcMessage) -> Option<Arc<Exchange>> {
    match message {
        ClientJsonRpcMessage::Request(request) => request.request.extensions().get(),
        ClientJsonRpcMessage::Notification(notification) => notification.notification.extensions().get(),
        _ => None,
    }
    .cloned()
}

/// Inserts a header whose value may not fit into one; then it is left out.
fn insert(headers: &mut HeaderMap, name: HeaderName, value: Option<&str>) {
    if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
        headers.insert(name, value);
    }
}
