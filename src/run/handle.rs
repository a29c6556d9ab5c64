//! A run from outside: its events, and what it comes to.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::{
    runtime::Handle,
    sync::mpsc::{
        self,
        error::{SendTimeoutError, TrySendError},
    },
    task::JoinHandle,
};
use tokio_util::sync::DropGuard;

use super::{Error, Failure, Mode, stop::Stop};
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
    events: Option<mpsc::Receiver<Box<Event>>>,
    work: Work,
    stop: Arc<Stop>,
    /// Until it is dropped, the run's reader may not have heard of the end.
    _reading: DropGuard,
}

/// All that a run does, from its first event to its end.
pub(super) type Doing = BoxFuture<'static, Result<Report, Error>>;

/// What a run is done by.
pub(super) enum Work {
    /// A task of its own: a stream goes on, and keeps to its time, whether or not somebody reads it.
    Task(JoinHandle<Result<Report, Error>>),
    /// Whoever waits for its end, and a task once nobody does; `None`: it is over. It saves a task, and waking two.
    Caller(Option<Doing>),
}

/// Where a run's events go.
pub(super) enum Sink {
    /// Nowhere.
    Silent,
    /// To the run's reader. Boxed, for each run has room for 32 from its start.
    Stream(mpsc::Sender<Box<Event>>),
}

impl Run {
    pub(super) fn new(
        run_id: RunId,
        request_id: RequestId,
        events: Option<mpsc::Receiver<Box<Event>>>,
        work: Work,
        stop: Arc<Stop>,
        reading: DropGuard,
    ) -> Self {
        Self { run_id, request_id, events, work, stop, _reading: reading }
    }

    /// The run's id.
    pub fn id(&self) -> RunId {
        self.run_id
    }

    /// The next event; `None` when there are no more. A unary run has none.
    pub fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Box<Event>>> {
        self.events.as_mut().map_or(Poll::Ready(None), |events| events.poll_recv(cx))
    }

    /// An event that has come already.
    pub fn ready_event(&mut self) -> Option<Box<Event>> {
        self.events.as_mut().and_then(|events| events.try_recv().ok())
    }

    /// What the run comes to. A unary run goes on while this is polled.
    ///
    /// # Errors
    /// The run failed.
    pub async fn outcome(&mut self) -> Result<Report, Error> {
        let result = match &mut self.work {
            Work::Task(task) => task.await.ok(),
            Work::Caller(None) => None,
            Work::Caller(Some(doing)) => {
                let result = AssertUnwindSafe(doing).catch_unwind().await;
                self.work = Work::Caller(None);
                result.ok()
            }
        };
        result.unwrap_or_else(|| Err(Error::panicked(self.request_id.clone(), Some(self.run_id))))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.stop.stop(Failure::CallerGone);
        // The run comes to its end all the same, and tells its servers.
        if let Work::Caller(doing) = &mut self.work
            && let Some(doing) = doing.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(doing);
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
