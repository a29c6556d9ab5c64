//! The stream of a run's events: numbered, with heartbeats in silence, and one end.

use std::time::{Duration, SystemTime};

use futures_util::{Stream, stream};
use tokio::time::timeout;
use tracing::{Instrument, Span};

use super::{
    encode, proto,
    status::{self, Item},
};
use crate::run::Run;

/// How long a stream is silent before it says that it lives: HTTP/2 pings do not reset proxies' idle timers.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(20);

/// The events of a run. The stream holds the run: dropping it stops the run.
pub(super) fn events(run: Run, span: Span) -> impl Stream<Item = Item<proto::RunEvent>> + Send + 'static {
    let first = Numbered { run, span, sequence: 0, turn: 0 };
    stream::unfold(Some(first), |state| async {
        let state = state?;
        let span = state.span.clone();
        Some(state.next().instrument(span).await)
    })
}

struct Numbered {
    run: Run,
    span: Span,
    sequence: i32,
    turn: u32,
}

impl Numbered {
    /// The next item, and what is left of the stream.
    async fn next(mut self) -> (Item<proto::RunEvent>, Option<Self>) {
        self.sequence += 1;
        match timeout(HEARTBEAT_EVERY, self.run.next_event()).await {
            Ok(Some(event)) => {
                self.turn = event.turn;
                let event = encode::event(self.run.id(), self.sequence, event);
                (Ok(event), Some(self))
            }
            Ok(None) => (self.end().await, None),
            Err(_) => {
                let heartbeat = self.event(proto::run_event::Event::Heartbeat(proto::Heartbeat {}));
                (Ok(heartbeat), Some(self))
            }
        }
    }

    async fn end(&mut self) -> Item<proto::RunEvent> {
        match self.run.outcome().await {
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
