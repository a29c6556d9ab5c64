//! A run's connection to one MCP server: the client it leases, and the headers it leases it with.

use std::sync::Arc;

use http::HeaderMap;
use parking_lot::Mutex;
use rmcp::model::ErrorCode;
use serde_json::{Map, Value};
use tokio::{
    sync::Mutex as AsyncMutex,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Span;

use super::{
    CallOutcome, Error, Fault, Phase, ToolList,
    backend::GOODBYE_TIMEOUT,
    call::call,
    client::{Caller, Client},
    pool::{Acquired, Pool, Wanted},
    slot::{Exchange, Lease},
};
use crate::{
    headers::Merged,
    trace::{self, Correlation, Outgoing},
};

/// A run's connection to one MCP server. It holds the run's headers, and drops them when it is dropped.
pub struct Connection {
    pool: Arc<Pool>,
    wanted: Wanted,
    sent: Arc<Merged>,
    correlation: Correlation,
    leased: Mutex<Option<Arc<Leased>>>,
    /// Held while a client is acquired, so that the calls of a turn acquire one together.
    acquiring: AsyncMutex<()>,
    goodbyes: TaskTracker,
    over: CancellationToken,
}

/// A client that a run leases.
struct Leased {
    client: Arc<Client>,
    caller: Caller,
    own: bool,
}

impl Connection {
    pub(super) fn new(pool: Arc<Pool>, wanted: Wanted, sent: Arc<Merged>, correlation: Correlation) -> Self {
        Self {
            pool,
            wanted,
            sent,
            correlation,
            leased: Mutex::default(),
            acquiring: AsyncMutex::default(),
            goodbyes: TaskTracker::new(),
            over: CancellationToken::new(),
        }
    }

    /// The server's registered name.
    pub fn mcp_server(&self) -> &str {
        &self.wanted.registration.config.name
    }

    /// The server's tools for this identity.
    ///
    /// # Errors
    /// The server can't be opened, or does not list its tools.
    pub async fn tools(&self) -> Result<Arc<ToolList>, Error> {
        let listed = match self.list().await {
            // To list runs nothing, so it may be asked for once more in a new session.
            Err((Fault::SessionExpired, Phase::Listing)) => self.list().await,
            listed => listed,
        };
        listed.map_err(|(fault, phase)| self.error(fault, phase))
    }

    /// Calls a tool, in a span below `parent`. All that goes wrong is for the model to read, but for a refused credential.
    ///
    /// # Errors
    /// The server refused the run's credential with 401.
    pub async fn call(
        &self,
        tool: &str,
        arguments: Map<String, Value>,
        parent: &Span,
    ) -> Result<CallOutcome, Error> {
        let span = trace::tools_call(self.mcp_server(), tool, &self.correlation.request_id, parent);
        let result = self.call_as(tool, arguments, self.correlation.outgoing(&span)).await;
        match &result {
            Ok(outcome) if outcome.fault.is_some() => span.record("error.type", "mcp_error"),
            Err(_) => span.record("error.type", "401"),
            Ok(_) => &span,
        };
        result
    }

    /// Ends the connection: waits until the server has been told of what was cancelled, and until a session of the run's
    /// own is deleted, but at most a second, and not beyond `until`. Half of the time is the most for either, so that a
    /// server that is slow to hear the one still hears the other.
    pub async fn close(self, until: Instant) {
        self.goodbyes.close();
        let until = until.min(Instant::now() + GOODBYE_TIMEOUT);
        let half = until.saturating_duration_since(Instant::now()) / 2;
        let _ = timeout(half, self.goodbyes.wait()).await;
        let leased = self.leased.lock().take();
        if let Some(leased) = leased.filter(|leased| leased.own) {
            let _ = timeout_at(until, leased.client.close()).await;
        }
        // What is not said by now is broken off, and its leases end.
        self.over.cancel();
    }

    async fn list(&self) -> Result<Arc<ToolList>, (Fault, Phase)> {
        let leased = self.leased().await.map_err(|fault| (fault, Phase::Opening))?;
        let config = &self.wanted.registration.config;
        let exchange = Exchange::within(self.wanted.outgoing.clone(), config.timeouts.startup);
        match leased.client.tools(&exchange, config.tools_ttl, &leased.caller).await {
            // The server has no tools at all.
            Err(Fault::Rpc { code: -32601, .. }) => Ok(Arc::default()),
            Ok(list) => Ok(list),
            Err(fault) => {
                self.give_up(&leased, &fault);
                Err((fault, Phase::Listing))
            }
        }
    }

    async fn call_as(
        &self,
        tool: &str,
        arguments: Map<String, Value>,
        outgoing: Outgoing,
    ) -> Result<CallOutcome, Error> {
        let leased = match self.leased().await {
            Ok(leased) => leased,
            Err(fault @ Fault::Unauthorized(_)) => return Err(self.error(fault, Phase::Opening)),
            Err(fault) => return Ok(CallOutcome::failed(fault, false)),
        };
        let config = &self.wanted.registration.config;
        let outcome = call(&leased.client, &leased.caller, config, tool, arguments, &outgoing).await;
        if let Some(fault) = &outcome.fault {
            self.give_up(&leased, fault);
            if matches!(fault, Fault::Unauthorized(_)) {
                return Err(self.error(fault.clone(), Phase::Calling));
            }
        }
        Ok(outcome)
    }

    /// The client that the run leases; one is acquired if it has none.
    async fn leased(&self) -> Result<Arc<Leased>, Fault> {
        if let Some(leased) = self.leased.lock().clone() {
            return Ok(leased);
        }
        let _acquiring = self.acquiring.lock().await;
        if let Some(leased) = self.leased.lock().clone() {
            return Ok(leased);
        }
        let Acquired { client, own } = self.pool.acquire(&self.wanted).await?;
        let exchange = Exchange::new(self.wanted.outgoing.clone());
        let lease = Lease::new(&client.slot, &self.wanted.headers, &exchange);
        let caller = Caller { lease, goodbyes: self.goodbyes.clone(), over: self.over.clone() };
        let leased = Arc::new(Leased { client, caller, own });
        *self.leased.lock() = Some(leased.clone());
        Ok(leased)
    }

    /// After a fault, forgets what can't be relied on any more: the client whose session or transport is gone, and the
    /// tool list where the server refuses or does not know a tool.
    fn give_up(&self, leased: &Arc<Leased>, fault: &Fault) {
        match fault {
            Fault::Unauthorized(_) | Fault::Forbidden(_) => leased.client.forget_tools(),
            Fault::Rpc { code, .. } if disowns_list(ErrorCode(*code)) => leased.client.forget_tools(),
            Fault::SessionExpired => self.replace(leased),
            _ if !leased.client.is_open() => self.replace(leased),
            _ => {}
        }
    }

    fn replace(&self, leased: &Arc<Leased>) {
        self.pool.forget(&self.wanted.identity, &leased.client);
        let mut current = self.leased.lock();
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, leased)) {
            *current = None;
        }
    }

    fn error(&self, fault: Fault, phase: Phase) -> Error {
        Error::new(self.mcp_server(), fault, phase, &self.sent)
    }
}

impl Drop for Connection {
    /// A connection that was not closed, as when its run is aborted: what it owns is closed all the same.
    fn drop(&mut self) {
        let Some(leased) = self.leased.lock().take().filter(|leased| leased.own) else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { leased.client.close().await });
        }
    }
}

/// Whether an error to a call means that the tool list is out of date: an unknown tool is an invalid parameter.
fn disowns_list(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::INVALID_PARAMS | ErrorCode::METHOD_NOT_FOUND | ErrorCode::HEADER_MISMATCH)
}

/// The headers of a run for one server, as HTTP wants them.
pub(super) fn header_map(sent: &Merged) -> Arc<HeaderMap> {
    Arc::new(sent.to_header_map())
}
