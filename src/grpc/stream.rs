//! The stream of a run's events: numbered, with heartbeats in silence, and one end.

use std::{
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use futures_util::Stream;
use tokio::time::{Instant, Sleep, sleep};
use tracing::Instrument;

use super::{
    encode, proto,
    rpc::note_failure,
    status::{self, Item},
};
use crate::{
    event::{Event, Report},
    metrics::{Call, Held},
    run::{Error, Run},
    trace::OpenRpc,
};

/// How long a stream is silent before it says that it lives: HTTP/2 pings do not reset proxies' idle timers.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(20);

/// The events of a run. The stream holds the run: dropping it stops the run. `call` is measured to the stream's end.
pub(super) fn events(
    run: Run,
    rpc: OpenRpc,
    live: Held,
    call: Option<Call>,
) -> impl Stream<Item = Item<proto::RunEvent>> + Send + 'static {
    let alarm = Box::pin(sleep(HEARTBEAT_EVERY));
    let spoke = Instant::now();
    Numbered { run, rpc, call, sequence: 0, turn: 0, spoke, alarm, ended: false, _live: live }
}

/// It is polled for each word that a model says, so it is no chain of futures that hand each event on.
struct Numbered {
    run: Run,
    rpc: OpenRpc,
    call: Option<Call>,
    sequence: i32,
    turn: u32,
    /// When the last event came.
    spoke: Instant,
    /// Goes off after the silence, or before it: it is not set anew for each event.
    alarm: Pin<Box<Sleep>>,
    ended: bool,
    _live: Held,
}

/// What there is to say next.
enum Heard {
    Event(Box<Event>),
    Silence,
    End,
}

impl Stream for Numbered {
    type Item = Item<proto::RunEvent>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        match ready!(self.listen(cx)) {
            Heard::Event(event) => {
                self.spoke = Instant::now();
                self.sequence += 1;
                self.turn = event.turn;
                Poll::Ready(Some(Ok(encode::event(self.run.id(), self.sequence, *event))))
            }
            Heard::Silence => {
                self.spoke = Instant::now();
                self.sequence += 1;
                let heartbeat = proto::run_event::Event::Heartbeat(proto::Heartbeat {});
                Poll::Ready(Some(Ok(self.event(heartbeat))))
            }
            Heard::End => {
                let outcome = ready!(self.outcome(cx));
                self.sequence += 1;
                self.ended = true;
                Poll::Ready(Some(self.end(outcome)))
            }
        }
    }
}

impl Numbered {
    /// Waits for an event.
    fn listen(&mut self, cx: &mut Context<'_>) -> Poll<Heard> {
        if let Poll::Ready(event) = self.run.poll_event(cx) {
            return Poll::Ready(event.map_or(Heard::End, Heard::Event));
        }
        while self.alarm.as_mut().poll(cx).is_ready() {
            let silence_ends = self.spoke + HEARTBEAT_EVERY;
            if silence_ends <= Instant::now() {
                self.alarm.as_mut().reset(Instant::now() + HEARTBEAT_EVERY);
                return Poll::Ready(Heard::Silence);
            }
            self.alarm.as_mut().reset(silence_ends);
        }
        Poll::Pending
    }

    fn outcome(&mut self, cx: &mut Context<'_>) -> Poll<Result<Report, Error>> {
        let lines = self.rpc.span().lines().clone();
        pin!(self.run.outcome().instrument(lines)).poll(cx)
    }

    fn end(&mut self, outcome: Result<Report, Error>) -> Item<proto::RunEvent> {
        match outcome {
            Ok(report) => {
                let response = encode::report(report);
                self.rpc.end();
                if let Some(call) = self.call.take() {
                    call.end("OK", None);
                }
                Ok(self.event(proto::run_event::Event::RunCompleted(response)))
            }
            Err(error) => {
                note_failure(&mut self.rpc, &error);
                if let Some(call) = self.call.take() {
                    call.end(status::code_name(&error), Some(error.failure.reason()));
                }
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
