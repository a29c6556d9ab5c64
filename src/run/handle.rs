//! A run from outside: its events, and what it comes to.

use std::{
    future::poll_fn,
    mem,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use futures_util::future::BoxFuture;
use tokio::{
    runtime::Handle,
    sync::mpsc::{
        self,
        error::{SendTimeoutError, TryRecvError, TrySendError},
    },
};
use tokio_util::sync::DropGuard;

use super::{Error, Failure, Mode, attended::Attended, stop::Stop};
use crate::{
    event::{Event, Report, What},
    id::{RequestId, RunId},
};

/// How many events may wait for the reader of a stream.
const MAX_WAITING_EVENTS: usize = 64;
/// How long a reader may take no event while [`MAX_WAITING_EVENTS`] wait for it.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// A live run. Dropping it stops the run.
pub struct Run {
    run_id: RunId,
    request_id: RequestId,
    work: Work,
    stop: Arc<Stop>,
    /// Until it is dropped, the run's reader may not have heard of the end.
    _reading: DropGuard,
}

/// What a run comes to.
pub(super) type Outcome = Result<Report, Error>;
/// All that a run does, from its first event to its end. `None`: it panicked.
pub(super) type Doing = BoxFuture<'static, Option<Outcome>>;

/// What is left of a run to be done. Whoever waits for it does it, and a task once nobody does.
pub(super) enum Work {
    /// Of a run without events; `None`: it is over.
    Silent(Option<Doing>),
    /// Of a run with events.
    Told(Box<Telling>),
}

/// A run that is done while its events are read.
pub(super) struct Telling {
    events: mpsc::Receiver<Box<Event>>,
    attended: Attended,
    /// Whether its reader was given an event since it was last told that there is none.
    gave: bool,
    outcome: Option<Outcome>,
}

/// Where a run's events go.
pub(super) enum Sink {
    /// Nowhere.
    Silent,
    /// To the run's reader. Boxed, for tokio makes room for 32 at a time, and the first of these with the run.
    Stream(mpsc::Sender<Box<Event>>),
}

impl Run {
    pub(super) fn new(
        run_id: RunId,
        request_id: RequestId,
        work: Work,
        stop: Arc<Stop>,
        reading: DropGuard,
    ) -> Self {
        Self { run_id, request_id, work, stop, _reading: reading }
    }

    /// The run's id.
    pub fn id(&self) -> RunId {
        self.run_id
    }

    /// The next event; `None` when there are no more. A unary run has none. A streamed one goes on while this is polled.
    pub fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Box<Event>>> {
        match &mut self.work {
            Work::Silent(_) => Poll::Ready(None),
            Work::Told(telling) => telling.poll_event(cx),
        }
    }

    /// What the run comes to, after its events. A unary run goes on while this is polled.
    ///
    /// # Errors
    /// The run failed.
    pub async fn outcome(&mut self) -> Outcome {
        let outcome = match &mut self.work {
            Work::Silent(None) => None,
            Work::Silent(Some(doing)) => {
                let outcome = doing.await;
                self.work = Work::Silent(None);
                outcome
            }
            Work::Told(telling) => telling.outcome().await,
        };
        outcome.unwrap_or_else(|| Err(Error::panicked(self.request_id.clone(), Some(self.run_id))))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.stop.stop(Failure::CallerGone);
        // The run comes to its end all the same, and tells its servers.
        match &mut self.work {
            Work::Silent(doing) => {
                if let Some((doing, runtime)) = doing.take().zip(Handle::try_current().ok()) {
                    runtime.spawn(doing);
                }
            }
            Work::Told(telling) => telling.attended.make_task(),
        }
    }
}

impl Telling {
    /// In a runtime.
    pub(super) fn new(events: mpsc::Receiver<Box<Event>>, doing: Doing) -> Self {
        Self { events, attended: Attended::new(doing), gave: false, outcome: None }
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Box<Event>>> {
        if self.attended.is_task() {
            return self.events.poll_recv(cx);
        }
        for goes_on in [true, false] {
            match self.events.try_recv() {
                Ok(event) => {
                    self.gave = true;
                    return Poll::Ready(Some(event));
                }
                Err(TryRecvError::Disconnected) => return Poll::Ready(None),
                Err(TryRecvError::Empty) => {}
            }
            if goes_on && let Poll::Ready(outcome) = self.attended.go_on() {
                self.outcome = outcome;
            }
        }
        self.attended.wait(cx, !mem::take(&mut self.gave));
        Poll::Pending
    }

    async fn outcome(&mut self) -> Option<Outcome> {
        match self.outcome.take() {
            Some(outcome) => Some(outcome),
            None => poll_fn(|cx| self.attended.poll_task(cx)).await,
        }
    }
}

impl Sink {
    pub(super) fn new(mode: Mode) -> (Self, Option<mpsc::Receiver<Box<Event>>>) {
        match mode {
            Mode::Unary => (Self::Silent, None),
            Mode::Streamed => {
                let (sender, receiver) = mpsc::channel(MAX_WAITING_EVENTS);
                (Self::Stream(sender), Some(receiver))
            }
        }
    }

    pub(super) fn is_stream(&self) -> bool {
        matches!(self, Self::Stream(_))
    }

    /// Passes an event on, when its reader has room for it. `what` is not made for nobody.
    pub(super) async fn emit(&self, turn: u32, what: impl FnOnce() -> What) -> Result<(), Failure> {
        let Self::Stream(sender) = self else { return Ok(()) };
        let event = Box::new(Event { time: SystemTime::now(), turn, what: what() });
        match sender.try_send(event) {
            Ok(()) => Ok(()),
            Err(TrySendError::Closed(_)) => Err(Failure::CallerGone),
            // Boxed, since each place that emits has room for it.
            Err(TrySendError::Full(event)) => Box::pin(wait_to_send(sender, event)).await,
        }
    }
}

/// Waits until a slow reader has room for an event.
async fn wait_to_send(sender: &mpsc::Sender<Box<Event>>, event: Box<Event>) -> Result<(), Failure> {
    sender.send_timeout(event, STALL_TIMEOUT).await.map_err(|error| match error {
        SendTimeoutError::Timeout(_) => Failure::StreamStalled,
        SendTimeoutError::Closed(_) => Failure::CallerGone,
    })
}
