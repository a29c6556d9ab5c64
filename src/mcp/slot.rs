//! Leases: how an open client comes to headers without ever keeping them.
//!
//! An open rmcp client lives on between the runs of its identity, and its own `custom_headers` would hold a token until
//! it is closed. So they stay empty. Each client has a [`Slot`]; a run that uses the client leases it, and the first
//! [`Lease`] puts the headers in, the last takes them out. The HTTP backend reads the slot for each request. An empty
//! slot sends nothing, and what is being sent when it empties is broken off: no request outlives the lease whose
//! headers it carries.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rmcp::{model::RequestId, transport::streamable_http_client::StreamableHttpPostResponse};
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{Fault, SentSet, tools::PageNotes};
use crate::trace::{Outgoing, Span};

/// Where a client's backend finds what to send. It is empty while no run leases it.
#[derive(Default)]
pub(super) struct Slot {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    leases: usize,
    filled: Option<Filled>,
    /// When the last lease ended.
    vacated: Option<Instant>,
}

/// What a leased slot holds.
#[derive(Clone)]
pub(super) struct Filled {
    /// The identity's headers.
    pub(super) headers: Arc<SentSet>,
    /// What requests belong to that rmcp makes itself: those of the run that leased first.
    pub(super) exchange: Arc<Exchange>,
    /// Cancelled when the last lease ends.
    pub(super) vacated: CancellationToken,
}

/// A run's right to use a client. While one of them is held, the slot is filled.
pub(super) struct Lease {
    slot: Arc<Slot>,
}

/// One request of a run to an MCP server and its answer, over all the HTTP requests that this takes.
pub(super) struct Exchange {
    /// The ids that each of them carries.
    pub(super) outgoing: Outgoing,
    /// When the answer must be there; `None`: each HTTP request has a time of its own.
    pub(super) deadline: Option<(Instant, Duration)>,
    /// The arguments as the model wrote them, where it is a call.
    pub(super) arguments: Option<Arc<RawValue>>,
    /// Whether it is a call whose HTTP headers mirror none of its arguments.
    plain_call: AtomicBool,
    abandoned: CancellationToken,
    noted: Mutex<Noted>,
}

/// What the backend has to say of an exchange.
#[derive(Default)]
struct Noted {
    fault: Option<Fault>,
    resumptions: u32,
    page: PageNotes,
    /// The answer to a request that was posted before rmcp is to send it.
    posted: Option<StreamableHttpPostResponse>,
    /// The id that it was posted with, and the one that rmcp gives it.
    ids: (Option<RequestId>, Option<RequestId>),
}

impl Slot {
    /// Since when nobody has leased it; `None` before the first lease, and while somebody leases it.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let state = self.state.lock();
        state.vacated.filter(|_| state.leases == 0)
    }

    /// What to send; `None` while nobody leases it.
    pub(super) fn filled(&self) -> Option<Filled> {
        self.state.lock().filled.clone()
    }
}

impl Lease {
    /// Leases a slot. All leases of a slot have one identity, and so the same headers.
    pub(super) fn new(slot: &Arc<Slot>, headers: &Arc<SentSet>, exchange: &Arc<Exchange>) -> Self {
        let mut state = slot.state.lock();
        state.leases += 1;
        state.filled.get_or_insert_with(|| Filled {
            headers: headers.clone(),
            exchange: exchange.clone(),
            vacated: CancellationToken::new(),
        });
        Self { slot: slot.clone() }
    }
}

impl Clone for Lease {
    fn clone(&self) -> Self {
        self.slot.state.lock().leases += 1;
        Self { slot: self.slot.clone() }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut state = self.slot.state.lock();
        state.leases -= 1;
        if state.leases == 0
            && let Some(filled) = state.filled.take()
        {
            state.vacated = Some(Instant::now());
            filled.vacated.cancel();
        }
    }
}

impl Exchange {
    /// Resumptions of a broken SSE answer that one exchange may take.
    const MAX_RESUMPTIONS: u32 = 3;

    /// An exchange whose HTTP requests each have a time of their own.
    pub(super) fn new(outgoing: Outgoing) -> Arc<Self> {
        Arc::new(Self::of(outgoing, None, false))
    }

    /// The same exchange, in a span of its own.
    pub(super) fn in_span(&self, span: &Span) -> Arc<Self> {
        let outgoing = self.outgoing.within(span);
        Arc::new(Self { deadline: self.deadline, ..Self::of(outgoing, None, false) })
    }

    /// An exchange that must be over in `limit`.
    pub(super) fn within(outgoing: Outgoing, limit: Duration) -> Arc<Self> {
        Arc::new(Self::of(outgoing, Some(limit), false))
    }

    /// The exchange of a tool call. It is `plain` if its HTTP headers mirror none of its arguments.
    pub(super) fn calling(
        outgoing: Outgoing,
        limit: Duration,
        plain: bool,
        arguments: &Arc<RawValue>,
    ) -> Arc<Self> {
        let arguments = Some(arguments.clone());
        Arc::new(Self { arguments, ..Self::of(outgoing, Some(limit), plain) })
    }

    fn of(outgoing: Outgoing, limit: Option<Duration>, plain_call: bool) -> Self {
        Self {
            outgoing,
            deadline: limit.map(|limit| (Instant::now() + limit, limit)),
            arguments: None,
            plain_call: AtomicBool::new(plain_call),
            abandoned: CancellationToken::new(),
            noted: Mutex::default(),
        }
    }

    /// Whether it is a call whose HTTP headers mirror none of its arguments.
    pub(super) fn is_plain_call(&self) -> bool {
        self.plain_call.load(Ordering::Relaxed)
    }

    /// Notes that the server wants headers that mirror arguments.
    pub(super) fn is_not_plain(&self) {
        self.plain_call.store(false, Ordering::Relaxed);
    }

    /// Notes that nobody waits for the answer any more.
    pub(super) fn abandon(&self) {
        self.abandoned.cancel();
    }

    /// Whether nobody waits for the answer any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.is_cancelled()
    }

    /// Waits until nobody waits for the answer any more.
    pub(super) async fn abandoned(&self) {
        self.abandoned.cancelled().await;
    }

    /// Keeps an answer that has begun, until rmcp sends the request.
    pub(super) fn keep_posted(&self, answer: StreamableHttpPostResponse) {
        self.noted.lock().posted = Some(answer);
    }

    /// The answer that has begun already, if there is one.
    pub(super) fn take_posted(&self) -> Option<StreamableHttpPostResponse> {
        self.noted.lock().posted.take()
    }

    /// Notes the id that the request was posted with, before rmcp gives it another.
    pub(super) fn note_posted_id(&self, id: RequestId) {
        self.noted.lock().ids.0 = Some(id);
    }

    /// Notes the id that rmcp waits for.
    pub(super) fn note_rmcps_id(&self, id: RequestId) {
        self.noted.lock().ids.1 = Some(id);
    }

    /// The id that the request was posted with, and the one that rmcp waits for, where they differ.
    pub(super) fn both_ids(&self) -> Option<(RequestId, RequestId)> {
        let (posted, rmcps) = self.noted.lock().ids.clone();
        posted.zip(rmcps)
    }

    /// Notes a fault. The first one counts, as others follow from it; but after a broken answer, what became of its
    /// resumption says more.
    pub(super) fn fail(&self, fault: Fault) {
        let mut noted = self.noted.lock();
        if matches!(noted.fault, None | Some(Fault::Broken)) {
            noted.fault = Some(fault);
        }
    }

    /// The fault that was noted.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.noted.lock().fault.clone()
    }

    /// Whether a broken answer may be resumed once more.
    pub(super) fn may_resume(&self) -> bool {
        let mut noted = self.noted.lock();
        noted.resumptions += 1;
        noted.resumptions <= Self::MAX_RESUMPTIONS
    }

    /// Waits for the answer no longer than the exchange may take, whatever the server makes of that time.
    pub(super) async fn bounded<T>(
        &self,
        answer: Pin<&mut impl Future<Output = Result<T, Fault>>>,
    ) -> Result<T, Fault> {
        match self.deadline {
            Some((deadline, limit)) => {
                timeout_at(deadline, answer).await.unwrap_or(Err(Fault::Timeout(limit)))
            }
            None => answer.await,
        }
    }

    /// Notes what a page of a tool list held.
    pub(super) fn note_page(&self, page: PageNotes) {
        self.noted.lock().page = page;
    }

    /// Takes the notes of the last page.
    pub(super) fn take_page_notes(&self) -> PageNotes {
        std::mem::take(&mut self.noted.lock().page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{id::RequestId as RunRequestId, trace::TraceHeaders};

    #[test]
    fn a_slot_is_filled_from_the_first_lease_to_the_last() {
        let slot = Arc::new(Slot::default());
        let outgoing = Outgoing { request_id: RunRequestId::generate(), trace: TraceHeaders::default() };
        let (headers, exchange) = (Arc::new(SentSet::empty()), Exchange::new(outgoing));
        assert!(slot.filled().is_none());

        let first = Lease::new(&slot, &headers, &exchange);
        let second = Lease::new(&slot, &headers, &exchange);
        let third = second.clone();
        let vacated = slot.filled().unwrap().vacated;
        drop(first);
        drop(second);
        assert!(slot.filled().is_some() && !vacated.is_cancelled());

        drop(third);
        assert!(slot.filled().is_none() && vacated.is_cancelled());
        assert_eq!(Arc::strong_count(&headers), 1, "nothing keeps the headers");
    }
}
