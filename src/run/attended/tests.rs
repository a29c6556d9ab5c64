use std::{
    future::{pending, poll_fn},
    pin::pin,
    sync::atomic::{AtomicBool, AtomicUsize},
};

use tokio::{sync::oneshot, task::yield_now};

use super::*;
use crate::{id::RequestId, run::Error};

/// A reader, and how often it was woken.
#[derive(Default)]
struct Reader(AtomicUsize);

impl Wake for Reader {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn outcome() -> Outcome {
    Err(Error::panicked(RequestId::generate(), None))
}

/// Work that ends when it is told to.
fn work() -> (Attended, oneshot::Sender<()>) {
    let (end, told) = oneshot::channel();
    (Attended::new(told.map(|_| Some(outcome())).boxed()), end)
}

/// Goes on, and waits.
fn poll(attended: &Attended, reader: &Arc<Reader>, is_back: bool) -> Poll<Option<Outcome>> {
    let polled = attended.go_on();
    if polled.is_pending() {
        attended.wait(&mut Context::from_waker(&reader.clone().into()), is_back);
    }
    polled
}

#[tokio::test]
async fn a_reader_that_waits_is_woken_and_does_it() {
    let ((attended, end), reader) = (work(), Arc::<Reader>::default());
    assert!(poll(&attended, &reader, true).is_pending());
    end.send(()).unwrap();
    assert_eq!(reader.0.load(SeqCst), 1);
    assert!(!attended.is_task());
    assert!(matches!(poll(&attended, &reader, true), Poll::Ready(Some(_))));
}

#[tokio::test]
async fn a_task_goes_on_where_the_reader_may_be_away() {
    let ((attended, end), reader) = (work(), Arc::<Reader>::default());
    assert!(poll(&attended, &reader, false).is_pending());
    assert!(!attended.is_task());
    end.send(()).unwrap();
    assert!(attended.is_task());
    assert_eq!(reader.0.load(SeqCst), 1, "it may be there all the same, and learns of the task");
    assert!(poll_fn(|cx| attended.poll_task(cx)).await.is_some());
}

#[tokio::test]
async fn a_reader_that_comes_back_is_waited_for() {
    let ((attended, end), reader) = (work(), Arc::<Reader>::default());
    assert!(poll(&attended, &reader, false).is_pending());
    assert!(poll(&attended, &reader, true).is_pending());
    end.send(()).unwrap();
    assert_eq!(reader.0.load(SeqCst), 1);
    assert!(!attended.is_task());
}

#[tokio::test]
async fn what_was_not_woken_is_not_polled() {
    let (polls, reader) = (Arc::<AtomicUsize>::default(), Arc::<Reader>::default());
    let counted = polls.clone();
    let doing = poll_fn(move |_| {
        counted.fetch_add(1, SeqCst);
        Poll::Pending
    });
    let attended = Attended::new(doing.boxed());
    for is_back in [false, true, true] {
        assert!(poll(&attended, &reader, is_back).is_pending());
    }
    assert_eq!((polls.load(SeqCst), reader.0.load(SeqCst)), (1, 0));
}

#[tokio::test]
async fn what_wakes_itself_for_ever_becomes_a_task_and_others_have_their_turn() {
    let ended = Arc::<AtomicBool>::default();
    let end = ended.clone();
    let doing = poll_fn(move |cx| {
        cx.waker().wake_by_ref();
        if end.load(SeqCst) { Poll::Ready(Some(outcome())) } else { Poll::Pending }
    });
    let (attended, reader) = (Attended::new(doing.boxed()), Arc::<Reader>::default());
    assert!(poll(&attended, &reader, true).is_pending());
    assert!(attended.is_task());
    assert_eq!(reader.0.load(SeqCst), 1);
    yield_now().await;
    ended.store(true, SeqCst);
    assert!(poll_fn(|cx| attended.poll_task(cx)).await.is_some());
}

#[tokio::test]
async fn what_yields_is_the_readers_still() {
    let task = async {
        yield_now().await;

        Some(outcome())
    };
    let attended = Attended::new(task.boxed());
    let ended = poll_fn(move |cx| {
        let polled = attended.go_on();
        if polled.is_pending() {
            attended.wait(cx, true);
        }
        polled
    });
    assert!(tokio::spawn(ended).await.unwrap().is_some());
}

#[tokio::test]
async fn who_leaves_leaves_it_to_a_task() {
    let (attended, end) = work();
    attended.make_task();
    attended.make_task();
    end.send(()).unwrap();
    assert!(poll_fn(|cx| attended.poll_task(cx)).await.is_some());
}

#[tokio::test]
async fn a_panic_in_a_task_is_no_outcome() {
    let attended = Attended::new(async { panic!("on purpose") }.boxed());
    attended.make_task();
    assert!(poll_fn(|cx| attended.poll_task(cx)).await.is_none());
    let attended = Attended::new(pending().boxed());
    assert!(pin!(poll_fn(|cx| attended.poll_task(cx))).now_or_never().is_none());
}
