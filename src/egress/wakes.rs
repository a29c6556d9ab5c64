//! What wakes the task that uses a connection.
//!
//! A task that polls both halves of a connection ([`own`](super::own)) makes one wake the other: a request that is handed
//! over, the head of an answer, a part of a body. Would that wake the task itself, it would be polled once more when it has
//! done all that there was to do, down through all of a run's futures, and once a request. So the halves get a waker of the
//! connection's own: what happens while the task is at it has the halves polled again at once, and only what comes
//! otherwise, from the network, wakes the task.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures_util::task::AtomicWaker;

/// How often the halves are polled before others have their turn. A task that has had its share of tokio's time is woken by
/// all that it polls.
const PASSES: usize = 3;

/// Nobody polls.
const AWAY: u8 = 0;
/// The task polls.
const POLLING: u8 = 1;
/// It polls, and was woken meanwhile.
const WOKEN: u8 = 2;

/// What wakes the task that uses a connection.
pub(super) struct Wakes {
    relay: Arc<Relay>,
    /// Made of the relay.
    waker: Waker,
}

#[derive(Default)]
struct Relay {
    state: AtomicU8,
    /// Of the task that polled last.
    task: AtomicWaker,
}

impl Wakes {
    pub(super) fn new() -> Self {
        let relay = Arc::new(Relay::default());
        Self { waker: relay.clone().into(), relay }
    }

    /// Polls until it is ready, or has nothing to do before something comes from elsewhere.
    pub(super) fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let Relay { state, task } = &*self.relay;
        task.register(cx.waker());
        for _ in 0..PASSES {
            state.store(POLLING, SeqCst);
            let polled = poll(&mut Context::from_waker(&self.waker));
            if state.swap(AWAY, SeqCst) == POLLING || polled.is_ready() {
                return polled;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.compare_exchange(POLLING, WOKEN, SeqCst, SeqCst) == Err(AWAY) {
            self.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A task's waker, which notes that it was woken.
    #[derive(Default)]
    struct Noted(AtomicU8);

    impl Wake for Noted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    #[test]
    fn halves_that_wake_each_other_for_ever_let_others_have_their_turn() {
        let (wakes, noted) = (Wakes::new(), Arc::<Noted>::default());
        let waker = Waker::from(noted.clone());
        let mut passes = 0;
        let polled: Poll<()> = wakes.poll(&mut Context::from_waker(&waker), |cx| {
            passes += 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        assert!(polled.is_pending());
        assert_eq!((passes, noted.0.load(SeqCst)), (PASSES, 1), "the task goes on later");
    }

    #[test]
    fn who_polled_last_is_woken() {
        let wakes = Wakes::new();
        let tasks = [Arc::<Noted>::default(), Arc::<Noted>::default()];
        let mut kept = None;
        for task in &tasks {
            let waker = Waker::from(task.clone());
            let _: Poll<()> = wakes.poll(&mut Context::from_waker(&waker), |cx| {
                kept = Some(cx.waker().clone());
                Poll::Pending
            });
        }
        kept.unwrap().wake();
        assert_eq!(tasks.map(|task| task.0.load(SeqCst)), [0, 1]);
    }
}
