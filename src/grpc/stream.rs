//! The stream of a run's events: numbered, with heartbeats in silence, and one end.

use std::{
    pin::Pin,
    time::{Duration, SystemTime},
};

use futures_util::{Stream, stream};
use tokio::{
    task::yield_now,
    time::{Instant, Sleep, sleep},
};
use tracing::Instrument;

use super::{
    encode, proto,
    status::{self, Item},
};
use crate::{event::Event, run::Run, trace::Span};

/// How long a stream is silent before it says that it lives: HTTP/2 pings do not reset proxies' idle timers.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(20);

/// The events of a run. The stream holds the run: dropping it stops the run.
pub(super) fn events(run: Run, span: Span) -> impl Stream<Item = Item<proto::RunEvent>> + Send + 'static {
    let alarm = Box::pin(sleep(HEARTBEAT_EVERY));
    let first = Numbered { run, span, sequence: 0, turn: 0, spoke: Instant::now(), alarm };
    // Boxed, since it is moved with each event.
    stream::unfold(Some(Box::new(first)), |state| async { Some(state?.next().await) })
}

struct Numbered {
    run: Run,
    span: Span,
    sequence: i32,
    turn: u32,
    /// When the last event came.
    spoke: Instant,
    /// Goes off after the silence, or before it: it is not set anew for each event.
    alarm: Pin<Box<Sleep>>,
}

/// What there is to say next.
enum Heard {
    Event(Event),
    Silence,
    End,
}

impl Numbered {
    /// The next item, and what is left of the stream.
    async fn next(mut self: Box<Self>) -> (Item<proto::RunEvent>, Option<Box<Self>>) {
        self.sequence += 1;
        match self.listen().await {
            Heard::Event(event) => {
                self.turn = event.turn;
                let event = encode::event(self.run.id(), self.sequence, event);
                (Ok(event), Some(self))
            }
            Heard::End => (self.end().await, None),
            Heard::Silence => {
                let heartbeat = self.event(proto::run_event::Event::Heartbeat(proto::Heartbeat {}));
                (Ok(heartbeat), Some(self))
            }
        }
    }

    async fn listen(&mut self) -> Heard {
        let heard = match self.run.ready_event() {
            Some(event) => Heard::Event(event),
            None => self.wait().await,
        };
        self.spoke = Instant::now();
        heard
    }

    /// Waits for an event. Others often follow at once: the run has its turn first, so that they are sent together.
    async fn wait(&mut self) -> Heard {
        loop {
            tokio::select! {
                biased;
                event = self.run.next_event() => {
                    let Some(event) = event else { return Heard::End };
                    yield_now().await;
                    return Heard::Event(event);
                }
                () = &mut self.alarm => {
                    let silence_ends = self.spoke + HEARTBEAT_EVERY;
                    if silence_ends > Instant::now() {
                        self.alarm.as_mut().reset(silence_ends);
                    } else {
                        self.alarm.as_mut().reset(Instant::now() + HEARTBEAT_EVERY);
                        return Heard::Silence;
                    }
                }
            }
        }
    }

    async fn end(&mut self) -> Item<proto::RunEvent> {
        match self.run.outcome().instrument(self.span.lines().clone()).await {
            Ok(report) => {
                let response = encode::report(report);
                self.span.record("rpc.response.status_code", "OK");
                Ok(self.event(proto::run_event::Event::RunCompleted(response)))
            }
            Err(error) => {
                self.span.record("rpc.response.status_code", status::code_name(&error));
                self.span.record("error.type", error.failure.reason());
                Err(status::status(&error))
            }
        }
    }

    fn event(&self, event: proto::run_event::Event) -> proto::RunEvent {
        proto::RunEvent {
            run_id: self.run.id().to_string(),
            sequence: self.sequence,
            event_time: Some(SystemTime::now().into()),
            turn: self.turn.try_into().unwrap_or(i32::MAX),
            event: Some(event),
        }
    }
}
