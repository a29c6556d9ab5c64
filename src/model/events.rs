//! A streamed answer: events in, pieces out.

use std::{
    collections::{VecDeque, vec_deque},
    ops::ControlFlow,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::Stream;
use http_body_util::{BodyDataStream, BodyExt};
use tokio::time::{Sleep, sleep};

use super::{
    Answer, Error, Piece, Request,
    endpoint::{Answering, MAX_ANSWER_BYTES},
    failure,
    spent::Attempt,
};
use crate::{egress::Body, message::Usage, sse};

/// How long the end of the body is waited for after the last event. A connection whose response was read to its end is
/// used again; else it is closed.
const END_OF_BODY: Duration = Duration::from_millis(10);
/// Names of events that only keep a connection open. Their data is whatever the server, or a gateway before it, likes.
const KEEPALIVES: [&str; 3] = ["ping", "keepalive", "heartbeat"];
/// How many events that have come together become pieces at once, at most.
const MAX_TOGETHER: usize = 64;

/// Puts an answer together from a provider's events.
pub(super) trait Assembly: Send + Unpin {
    /// Takes an event's name and data, which is not empty, and adds what is passed on of it. `Break`: there are no more.
    ///
    /// # Errors
    /// The event can't be read, is an error, or makes the answer too large.
    fn take(
        &mut self,
        event: Option<&str>,
        data: &str,
        pieces: &mut Pieces,
    ) -> Result<ControlFlow<()>, Error>;

    /// Whether the provider has said why the answer ends: a body that breaks off then lacks nothing.
    fn has_ended(&self) -> bool;

    /// What comes of a provider's word that there are no more events: as with the end of the body, an answer that has not
    /// ended was cut.
    ///
    /// # Errors
    /// It was.
    fn done(&self) -> Result<ControlFlow<()>, Error> {
        if self.has_ended() { Ok(ControlFlow::Break(())) } else { Err(failure::cut()) }
    }

    /// What the request consumed, as far as the provider has said so.
    fn usage(&self) -> Usage;

    /// The answer.
    ///
    /// # Errors
    /// It lacks something.
    fn finish(self, request: &Request<'_>) -> Result<Answer, Error>;
}

/// What is passed on of the events that were read. Words that have come together become one piece: a run whose model is
/// ahead of it does not send an event for each.
#[derive(Default)]
pub(super) struct Pieces(VecDeque<Result<Piece, Error>>);

impl Pieces {
    /// Adds some text.
    pub(super) fn text(&mut self, more: &str) {
        match self.0.back_mut() {
            _ if more.is_empty() => {}
            Some(Ok(Piece::Text(text))) => text.push_str(more),
            _ => self.0.push_back(Ok(Piece::Text(more.to_owned()))),
        }
    }

    /// Adds some of the reasoning.
    pub(super) fn reasoning(&mut self, more: &str) {
        match self.0.back_mut() {
            _ if more.is_empty() => {}
            Some(Ok(Piece::Reasoning(text))) => text.push_str(more),
            _ => self.0.push_back(Ok(Piece::Reasoning(more.to_owned()))),
        }
    }
}

impl IntoIterator for Pieces {
    type Item = Result<Piece, Error>;
    type IntoIter = vec_deque::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// The pieces of an answer. To drop the stream is to drop the request.
pub(super) fn pieces<'a, A: Assembly + 'a>(
    Answering { response, attempt }: Answering<'a>,
    assembly: A,
    request: Request<'a>,
) -> impl Stream<Item = Result<Piece, Error>> + 'a {
    let events = sse::Events::new(response.into_body().into_data_stream(), MAX_ANSWER_BYTES);
    let open = Open { events, assembly, ended: false, patience: None, request, attempt };
    Reading { open: Some(open), pieces: Pieces::default() }
}

struct Reading<'a, A> {
    /// `None`: nothing more is read.
    open: Option<Open<'a, A>>,
    pieces: Pieces,
}

impl<A: Assembly> Stream for Reading<'_, A> {
    type Item = Result<Piece, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { open, pieces } = &mut *self;
        if pieces.0.is_empty()
            && let Some(reading) = open
        {
            let last = match ready!(reading.poll_come(pieces, cx)) {
                Ok(ControlFlow::Continue(())) => None,
                Ok(ControlFlow::Break(())) => open.take().map(Open::answer),
                Err(error) => {
                    *open = None;
                    Some(Err(error))
                }
            };
            pieces.0.extend(last);
        }
        Poll::Ready(pieces.0.pop_front())
    }
}

struct Open<'a, A> {
    events: sse::Events<BodyDataStream<Body>>,
    assembly: A,
    /// Whether there are no more events, though the body may go on.
    ended: bool,
    /// How long its end is waited for; `None`: it was not yet.
    patience: Option<Pin<Box<Sleep>>>,
    request: Request<'a>,
    attempt: Attempt<'a>,
}

impl<A: Assembly> Open<'_, A> {
    fn answer(self) -> Result<Piece, Error> {
        let answer = self.assembly.finish(&self.request)?;
        self.attempt.settle();
        Ok(Piece::Done(answer))
    }

    /// Reads what has come by now. It waits only where nothing of that is passed on. `Break`: the answer is whole.
    fn poll_come(
        &mut self,
        pieces: &mut Pieces,
        cx: &mut Context<'_>,
    ) -> Poll<Result<ControlFlow<()>, Error>> {
        let mut read = 0;
        while read < MAX_TOGETHER || pieces.0.is_empty() {
            read += 1;
            match self.poll_one(pieces, cx) {
                Poll::Ready(Ok(ControlFlow::Continue(()))) => {}
                Poll::Pending if !pieces.0.is_empty() => break,
                over => return over,
            }
        }
        Poll::Ready(Ok(ControlFlow::Continue(())))
    }

    /// Reads an event.
    fn poll_one(
        &mut self,
        pieces: &mut Pieces,
        cx: &mut Context<'_>,
    ) -> Poll<Result<ControlFlow<()>, Error>> {
        if self.ended {
            return self.poll_end(cx).map(|()| Ok(ControlFlow::Break(())));
        }
        let event = match ready!(self.events.poll_event(cx)) {
            Some(Ok(event)) => event,
            // A last event adds nothing to an answer that has said why it ends.
            None | Some(Err(sse::Error::Body(_))) if self.assembly.has_ended() => {
                return Poll::Ready(Ok(ControlFlow::Break(())));
            }
            None => return Poll::Ready(Err(failure::cut())),
            Some(Err(broken)) => return Poll::Ready(Err(failure::events(broken))),
        };
        let (name, data) = (event.name.as_deref(), event.data.as_deref().unwrap_or_default().trim());
        if !data.is_empty() && !name.is_some_and(|name| KEEPALIVES.contains(&name)) {
            let taken = self.assembly.take(name, data, pieces);
            self.attempt.tell(self.assembly.usage());
            self.ended = taken?.is_break();
        }
        Poll::Ready(Ok(ControlFlow::Continue(())))
    }

    /// Waits for the end of the body, for a while.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.events.poll_event(cx).is_ready() {
            return Poll::Ready(());
        }
        self.patience.get_or_insert_with(|| Box::pin(sleep(END_OF_BODY))).as_mut().poll(cx)
    }
}
