//! A run's connection to one MCP server: the client it leases, and the headers it leases it with.

use std::sync::Arc;

use futures_util::future;
use http::StatusCode;
use parking_lot::Mutex;
use rmcp::model::ErrorCode;
use tokio::{
    sync::{Mutex as AsyncMutex, watch},
    time::{Instant, timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    CallOutcome, Error, Fault, Phase, Problem, RunHeaders, SentSet, ToolList,
    backend::GOODBYE_TIMEOUT,
    call::{Calling, call},
    client::{Caller, Client},
    pool::{Acquired, Pool, Wanted},
    progress::Listener,
    registration::Registration,
    slot::{Exchange, Lease},
};
use crate::{
    event::ToolProgress,
    message::ToolCallStatus,
    tool::Arguments,
    trace::{self, Correlation, Outgoing, Span},
};

/// A run's connection to one MCP server. It holds the run's headers, and drops them when it is dropped.
pub struct Connection {
    pool: Arc<Pool>,
    registration: Arc<Registration>,
    headers: Arc<RunHeaders>,
    correlation: Correlation,
    /// What the opening carries.
    outgoing: Outgoing,
    leased: Mutex<Option<Arc<Leased>>>,
    /// Clients of the run's own that it leased before its headers were replaced.
    outlived: Mutex<Vec<Arc<Leased>>>,
    /// Held while a client is acquired, so that the calls of a turn acquire one together.
    acquiring: AsyncMutex<()>,
    goodbyes: TaskTracker,
    over: CancellationToken,
}

/// A client that a run leases.
struct Leased {
    client: Arc<Client>,
    caller: Caller,
    headers: Arc<SentSet>,
    own: bool,
    /// The tools that were listed last.
    tools: Mutex<Option<Arc<ToolList>>>,
}

/// How a request went wrong: what was being done, with which headers, as far as it came to any.
struct Failed {
    fault: Fault,
    phase: Phase,
    headers: Option<Arc<SentSet>>,
}

impl Connection {
    pub(super) fn new(
        pool: Arc<Pool>,
        registration: Arc<Registration>,
        headers: Arc<RunHeaders>,
        correlation: Correlation,
        outgoing: Outgoing,
    ) -> Self {
        Self {
            pool,
            registration,
            headers,
            correlation,
            outgoing,
            leased: Mutex::default(),
            outlived: Mutex::default(),
            acquiring: AsyncMutex::default(),
            goodbyes: TaskTracker::new(),
            over: CancellationToken::new(),
        }
    }

    /// The server's registered name.
    pub fn mcp_server(&self) -> &str {
        &self.registration.config.name
    }

    /// What is sent, which may be replaced.
    pub fn headers(&self) -> &RunHeaders {
        &self.headers
    }

    /// After a refused credential: whether a registered source has another value by now, which is sent then.
    ///
    /// # Errors
    /// A source fails.
    pub async fn renew(&self, refusal: &Error) -> Result<bool, Error> {
        let renewed = self.headers.renew(refusal.revision, &self.registration).await;
        let failed = |error| Failed { fault: Fault::Source(error), phase: refusal.phase, headers: None };
        renewed.map_err(|error| self.error(failed(error)))
    }

    /// The server's tools for this identity.
    ///
    /// # Errors
    /// The server can't be opened, or does not list its tools.
    pub async fn tools(&self) -> Result<Arc<ToolList>, Error> {
        let listed = match self.list().await {
            // To list runs nothing, so it may be asked for once more in a new session.
            Err(Failed { fault, phase: Phase::Listing, .. }) if is_session_gone(&fault) => self.list().await,
            listed => listed,
        };
        listed.map_err(|failed| self.error(failed))
    }

    /// Calls a tool, in a span below `parent`. All that goes wrong is for the model to read, but for a credential.
    ///
    /// `progress` is told how far the call has come, if the server tells it. Only the newest waits there to be read, so a
    /// slow reader misses some. The channel's first value means nothing, nor does one that comes after the call's end. The
    /// call has no more time for it: its timeout is for the answer. `sends` is called before the call is sent; opening and
    /// listing come before that.
    ///
    /// # Errors
    /// The server refused the run's credential with 401, or a registered one is not to be had.
    pub async fn call(
        &self,
        tool: &str,
        arguments: &Arguments,
        parent: &Span,
        progress: Option<&watch::Sender<ToolProgress>>,
        sends: &(dyn Fn() + Sync),
    ) -> Result<CallOutcome, Error> {
        let config = &self.registration.config;
        let span = trace::tools_call(&config.name, &config.url, tool, &self.correlation.request_id, parent);
        let outgoing = self.correlation.outgoing(&span);
        let listener = progress.map(|told| Listener::new(told.clone(), &self.headers));
        let result = self.call_as(Calling { tool, arguments, outgoing, listener, sends }, &span).await;
        match &result {
            Ok(CallOutcome { fault: Some(fault), .. }) => span.end_failed(fault.error_type()),
            Ok(CallOutcome { status: ToolCallStatus::Ok, .. }) => span.end(),
            Ok(_) => span.end_failed("tool_error"),
            Err(Error { problem: Problem::Unauthorized(..), .. }) => span.end_failed("401"),
            Err(_) => span.end_failed("credential_source"),
        }
        result
    }

    /// Ends the connection: waits until the server has been told of what was cancelled, and until a session is deleted that
    /// is the run's own, or that nobody else uses and no pool keeps, but at most a second, and not beyond `until`. Half of the time is the most for either, so that a
    /// server that is slow to hear the one still hears the other.
    pub async fn close(self, until: Instant) {
        self.goodbyes.close();
        let until = until.min(Instant::now() + GOODBYE_TIMEOUT);
        let half = until.saturating_duration_since(Instant::now()) / 2;
        let _ = timeout(half, self.goodbyes.wait()).await;
        let mut over = std::mem::take(&mut *self.outlived.lock());
        over.extend(self.leased.lock().take());
        let closing = over.into_iter().filter_map(Leased::into_closing);
        let _ = timeout_at(until, future::join_all(closing)).await;
        // What is not said by now is broken off, and its leases end.
        self.over.cancel();
    }

    async fn list(&self) -> Result<Arc<ToolList>, Failed> {
        let leased = self.leased().await?;
        self.list_of(&leased).await
    }

    async fn list_of(&self, leased: &Arc<Leased>) -> Result<Arc<ToolList>, Failed> {
        let config = &self.registration.config;
        let exchange = Exchange::within(self.outgoing.clone(), config.timeouts.startup);
        match leased.client.tools(&exchange, config, &leased.caller).await {
            // The server has no tools at all.
            Err(Fault::Rpc { code: -32601, .. }) => Ok(leased.keep(Arc::default())),
            Ok(list) => Ok(leased.keep(self.headers.scrub_list(list, &leased.headers))),
            Err(fault) => {
                self.give_up(leased, &fault);
                Err(Failed { fault, phase: Phase::Listing, headers: Some(leased.headers.clone()) })
            }
        }
    }

    async fn call_as(&self, calling: Calling<'_>, span: &Span) -> Result<CallOutcome, Error> {
        let leased = match self.listed().await {
            Ok(leased) => leased,
            Err(failed) => return self.not_called(failed),
        };
        leased.client.trace(span);
        // After other headers it may be another list than the model was shown.
        let list = leased.tools.lock().clone().unwrap_or_default();
        let Some(listed) = list.tools.iter().find(|listed| listed.name == calling.tool) else {
            let text = format!("The tool was not run: the server does not list `{}` any more.", calling.tool);
            return Ok(CallOutcome::refused(self.headers.scrub(text)));
        };
        let config = &self.registration.config;
        let (client, caller) = (&leased.client, &leased.caller);
        let outcome = call(client, caller, config, &self.headers, listed, &calling).await;
        let Some(fault) = outcome.fault.clone() else { return Ok(outcome) };
        self.give_up(&leased, &fault);
        if matches!(fault, Fault::ResumptionRefused(..)) {
            return Ok(outcome);
        }
        let headers = Some(leased.headers.clone());
        let error = self.error(Failed { fault, phase: Phase::Calling, headers });
        match error.problem {
            Problem::Unauthorized(..) => Err(error),
            _ => Ok(CallOutcome { refusal: error.is_refusal().then(|| Box::new(error)), ..outcome }),
        }
    }

    /// A call for which there is no client.
    fn not_called(&self, failed: Failed) -> Result<CallOutcome, Error> {
        let outcome = CallOutcome::failed(failed.fault.clone().scrubbed(&self.headers), false);
        let error = self.error(failed);
        match error.problem {
            Problem::Unauthorized(..) | Problem::CredentialSource(_) => Err(error),
            _ => Ok(CallOutcome { refusal: error.is_refusal().then(|| Box::new(error)), ..outcome }),
        }
    }

    /// The client that the run leases, once it has listed its tools: what the headers of a call mirror stands in the list
    /// that the same client was given.
    async fn listed(&self) -> Result<Arc<Leased>, Failed> {
        loop {
            let leased = self.leased().await?;
            if leased.tools.lock().is_none() {
                self.list_of(&leased).await?;
            }
            if !self.headers.is_replaced_since(leased.headers.revision) {
                return Ok(leased);
            }
        }
    }

    /// The client that the run leases with the headers as they are now; one is acquired if it has none.
    async fn leased(&self) -> Result<Arc<Leased>, Failed> {
        let opening = |fault, headers| Failed { fault, phase: Phase::Opening, headers };
        if let Some(leased) = self.leased_now() {
            return Ok(leased);
        }
        let _acquiring = self.acquiring.lock().await;
        if let Some(leased) = self.leased_now() {
            return Ok(leased);
        }
        let headers = self.headers.current(&self.registration).await;
        let headers = headers.map_err(|error| opening(Fault::Source(error), None))?;
        self.headers.note_sent(&headers);
        let (registration, outgoing) = (self.registration.clone(), self.outgoing.clone());
        let wanted = Wanted { registration, headers: headers.clone(), outgoing };
        let acquired = self.pool.acquire(&wanted).await;
        let Acquired { client, own } = acquired.map_err(|fault| opening(fault, Some(headers.clone())))?;
        let exchange = Exchange::new(self.outgoing.clone());
        let lease = Lease::new(&client.slot, &headers, &exchange);
        let (goodbyes, over) = (self.goodbyes.clone(), self.over.clone());
        let caller = Caller { lease, headers: headers.clone(), goodbyes, over };
        let leased = Arc::new(Leased { client, caller, headers, own, tools: Mutex::default() });
        let outlived = self.leased.lock().replace(leased.clone());
        self.outlived.lock().extend(outlived.filter(|outlived| outlived.own));
        Ok(leased)
    }

    /// The client that the run leases, if it is with the headers as they are now.
    fn leased_now(&self) -> Option<Arc<Leased>> {
        let leased = self.leased.lock().clone()?;
        (!self.headers.is_replaced_since(leased.headers.revision)).then_some(leased)
    }

    /// After a fault, forgets what can't be relied on any more: the client whose session or transport is gone, and the
    /// tool list where the server refuses or does not know a tool.
    fn give_up(&self, leased: &Arc<Leased>, fault: &Fault) {
        match fault {
            fault if is_session_gone(fault) => self.replace(leased),
            Fault::Unauthorized(_) | Fault::Forbidden(_) | Fault::ResumptionRefused(..) => {
                leased.client.forget_tools();
            }
            Fault::Rpc { code, .. } if disowns_list(ErrorCode(*code)) => leased.client.forget_tools(),
            _ if !leased.client.is_open() => self.replace(leased),
            _ => {}
        }
    }

    fn replace(&self, leased: &Arc<Leased>) {
        self.pool.forget(&leased.headers.identity, &leased.client);
        let mut current = self.leased.lock();
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, leased)) {
            *current = None;
        }
    }

    fn error(&self, failed: Failed) -> Error {
        let fault = failed.fault.scrubbed(&self.headers);
        Error::new(self.mcp_server(), fault, failed.phase, failed.headers.as_deref())
    }
}

impl Leased {
    fn keep(&self, list: Arc<ToolList>) -> Arc<ToolList> {
        *self.tools.lock() = Some(list.clone());
        list
    }

    /// Closes the client, under the lease, if it goes with this run: it is the run's own, or the last run has it that may,
    /// as after a reload it is not kept.
    fn into_closing(self: Arc<Self>) -> Option<impl Future<Output = ()> + Send + use<>> {
        let (client, caller) = if self.own {
            (self.client.clone(), self.caller.clone())
        } else {
            let Self { client, caller, .. } = Arc::into_inner(self)?;
            (Arc::new(Arc::into_inner(client)?), caller)
        };
        Some(async move {
            client.close().await;
            drop(caller);
        })
    }
}

impl Drop for Connection {
    /// A connection that was not closed, as when its run is aborted: what it owns is closed all the same.
    fn drop(&mut self) {
        let mut over = std::mem::take(self.outlived.get_mut());
        over.extend(self.leased.get_mut().take());
        let closing: Vec<_> = over.into_iter().filter_map(Leased::into_closing).collect();
        if closing.is_empty() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(future::join_all(closing));
        }
    }
}

/// Whether the session in which a request was sent is gone.
fn is_session_gone(fault: &Fault) -> bool {
    matches!(fault, Fault::SessionExpired | Fault::ResumptionRefused(StatusCode::NOT_FOUND, _))
}

/// Whether an error to a call means that the tool list is out of date: an unknown tool is an invalid parameter.
fn disowns_list(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::INVALID_PARAMS | ErrorCode::METHOD_NOT_FOUND | ErrorCode::HEADER_MISMATCH)
}
