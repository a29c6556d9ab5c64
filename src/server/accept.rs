//! Taking connections when the process has no file descriptor left.
//!
//! A connection that can't be taken stays where it is, and the listener is ready at once again; tonic asks it again at
//! once, and so would keep a core busy with nothing. A pause lets descriptors come free.

use std::{
    fmt::Display,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::Stream;
use tokio::time::{Sleep, sleep};
use tracing::warn;

/// How long nothing is accepted after a failure.
const PAUSE: Duration = Duration::from_millis(100);

/// The connections of a listener; a failure is logged, once until the next success, and waited out.
pub(super) struct Accepting<S> {
    incoming: S,
    pause: Option<Pin<Box<Sleep>>>,
    failing: bool,
}

impl<S> Accepting<S> {
    pub(super) fn new(incoming: S) -> Self {
        Self { incoming, pause: None, failing: false }
    }

    fn fail(&mut self, error: &impl Display) {
        if !std::mem::replace(&mut self.failing, true) {
            warn!(%error, "Connections can't be accepted");
        }
        self.pause = Some(Box::pin(sleep(PAUSE)));
    }
}

impl<S, C, E> Stream for Accepting<S>
where
    S: Stream<Item = Result<C, E>> + Unpin,
    E: Display,
{
    type Item = Result<C, E>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            match ready!(Pin::new(&mut self.incoming).poll_next(cx)) {
                Some(Err(error)) => self.fail(&error),
                next => {
                    self.failing = false;
                    return Poll::Ready(next);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Write},
        sync::{Arc, Mutex},
    };

    use futures_util::{StreamExt, stream};
    use tokio::time::Instant;

    use super::*;

    /// What is logged in a test.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_listener_that_fails_is_asked_again_after_a_pause_and_a_burst_is_logged_once() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
        let _guard = tracing::subscriber::set_default(subscriber);

        let full = || Err("too many open files");
        let incoming = stream::iter([Ok(1), full(), full(), full(), Ok(2), full(), Ok(3)]);
        let began = Instant::now();
        let accepted = Accepting::new(incoming).map(|next| (next, began.elapsed().as_millis()));
        assert_eq!(accepted.collect::<Vec<_>>().await, [(Ok(1), 0), (Ok(2), 300), (Ok(3), 400)]);

        let lines = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(lines.matches("WARN").count(), 2, "{lines}");
        assert_eq!(lines.matches("too many open files").count(), 2, "{lines}");
    }
}
