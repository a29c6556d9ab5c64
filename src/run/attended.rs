//! The work of a streamed run, which is done while its events are read.
//!
//! That saves a task, and waking two for each thing that happens. But a stream is not polled while its reader has no room for
//! what it was given (flow control, RFC 9113 section 5.2), and a run keeps to its time, and ends when it is told to, whether or not
//! somebody reads it. So what wakes the work looks where the reader is. One that was told that there is nothing, twice in a row,
//! has taken all that it was given before, and is woken. One that was given something may not be back for long: then the work
//! becomes a task, and stays one.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures_util::{FutureExt, task::AtomicWaker};
use parking_lot::Mutex;
use tokio::{runtime::Handle, task::JoinHandle};

use super::handle::{Doing, Outcome};

#[cfg(test)]
mod tests;

/// How often work that wakes itself is polled at once.
const PASSES: usize = 3;

/// It can go on, and its reader is on its way.
const WOKEN: u8 = 0;
/// Its reader polls it.
const POLLED: u8 = 1;
/// It waits, and its reader may not be back for long.
const AWAY: u8 = 2;
/// It waits, and its reader for it.
const AT_REST: u8 = 3;
/// It is a task.
const TASK: u8 = 4;

/// Work for the reader of its events.
pub(super) struct Attended {
    shared: Arc<Shared>,
    /// Made of it.
    waker: Waker,
}

struct Shared {
    state: AtomicU8,
    reader: AtomicWaker,
    /// Nobody waits for the lock: who made the state [`POLLED`] or [`TASK`] is alone.
    work: Mutex<Work>,
    runtime: Handle,
}

enum Work {
    Readers(Doing),
    Task(JoinHandle<Option<Outcome>>),
    Over,
}

impl Attended {
    /// Work that is not begun. To be called in a runtime.
    pub(super) fn new(doing: Doing) -> Self {
        let shared = Arc::new(Shared {
            state: AtomicU8::new(WOKEN),
            reader: AtomicWaker::new(),
            work: Mutex::new(Work::Readers(doing)),
            runtime: Handle::current(),
        });
        Self { waker: shared.clone().into(), shared }
    }

    /// Whether it is a task, which its events wake.
    pub(super) fn is_task(&self) -> bool {
        self.shared.state.load(SeqCst) == TASK
    }

    /// Goes on as far as it can, and gives what the run comes to. [`wait`](Self::wait) says when to come again.
    pub(super) fn go_on(&self) -> Poll<Option<Outcome>> {
        let Shared { state, work, .. } = &*self.shared;
        for _ in 0..PASSES {
            if state.compare_exchange(WOKEN, POLLED, SeqCst, SeqCst).is_err() {
                return Poll::Pending;
            }
            let mut work = work.lock();
            let Work::Readers(doing) = &mut *work else { return Poll::Pending };
            if let Poll::Ready(outcome) = doing.poll_unpin(&mut Context::from_waker(&self.waker)) {
                *work = Work::Over;
                return Poll::Ready(outcome);
            }
            drop(work);
            if state.compare_exchange(POLLED, AWAY, SeqCst, SeqCst).is_ok() {
                return Poll::Pending;
            }
        }
        self.make_task();
        Poll::Pending
    }

    /// Has the reader woken when it is to [go on](Self::go_on), or has [become a task](Self::is_task). `is_back`: it was given
    /// nothing since it was last told that there is nothing.
    pub(super) fn wait(&self, cx: &mut Context<'_>, is_back: bool) {
        let Shared { state, reader, .. } = &*self.shared;
        reader.register(cx.waker());
        if is_back {
            // Where it is not away it was woken since, and so is the reader.
            let _ = state.compare_exchange(AWAY, AT_REST, SeqCst, SeqCst);
        }
        if matches!(state.load(SeqCst), WOKEN | TASK) {
            reader.wake();
        }
    }

    /// What the run comes to, where it is a task.
    pub(super) fn poll_task(&self, cx: &mut Context<'_>) -> Poll<Option<Outcome>> {
        self.shared.reader.register(cx.waker());
        match &mut *self.shared.work.lock() {
            Work::Task(task) => task.poll_unpin(cx).map(|ended| ended.ok().flatten()),
            Work::Readers(_) => Poll::Pending,
            Work::Over => Poll::Ready(None),
        }
    }

    /// Has a task go on with it.
    pub(super) fn make_task(&self) {
        if self.shared.state.swap(TASK, SeqCst) != TASK {
            self.shared.spawn();
        }
    }
}

impl Shared {
    fn spawn(&self) {
        let mut work = self.work.lock();
        if let Work::Readers(doing) = mem::replace(&mut *work, Work::Over) {
            *work = Work::Task(self.runtime.spawn(doing));
        }
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let next = |state| match state {
            POLLED | AT_REST => Some(WOKEN),
            AWAY => Some(TASK),
            _ => None,
        };
        match self.state.fetch_update(SeqCst, SeqCst, next) {
            Ok(AT_REST) => self.reader.wake(),
            Ok(AWAY) => {
                self.spawn();
                self.reader.wake();
            }
            _ => {}
        }
    }
}
