//! A streamed answer: events in, pieces out.

use std::{time::Duration, vec};

use futures_util::{FutureExt, Stream, StreamExt, stream, stream::BoxStream};
use http_body_util::BodyExt;
use sse_stream::Sse;
use tokio::time::timeout;

use super::{
    Answer, Error, Piece, Request,
    endpoint::{Answering, MAX_ANSWER_BYTES},
    failure,
    spent::Attempt,
};
use crate::{message::Usage, sse};

/// How long the end of the body is waited for after the last event. A connection whose response was read to its end is
/// used again; else it is closed.
const END_OF_BODY: Duration = Duration::from_millis(10);
/// Names of events that only keep a connection open. Their data is whatever the server, or a gateway before it, likes.
const KEEPALIVES: [&str; 3] = ["ping", "keepalive", "heartbeat"];
/// How many pieces that have come together become one, at most.
const MAX_TOGETHER: usize = 64;

/// Puts an answer together from a provider's events.
pub(super) trait Assembly: Send {
    /// Takes an event's name and data, which is not empty.
    ///
    /// # Errors
    /// The event can't be read, is an error, or makes the answer too large.
    fn take(&mut self, event: Option<&str>, data: &str) -> Result<Taken, Error>;

    /// Whether the provider has said why the answer ends: a body that breaks off then lacks nothing.
    fn has_ended(&self) -> bool;

    /// What comes of a provider's word that there are no more events: as with the end of the body, an answer that has not
    /// ended was cut.
    ///
    /// # Errors
    /// It was.
    fn done(&self) -> Result<Taken, Error> {
        if self.has_ended() { Ok(Taken::End) } else { Err(failure::cut()) }
    }

    /// What the request consumed, as far as the provider has said so.
    fn usage(&self) -> Usage;

    /// The answer.
    ///
    /// # Errors
    /// It lacks something.
    fn finish(self, request: &Request<'_>) -> Result<Answer, Error>;
}

/// What an event comes to.
#[derive(Debug, PartialEq)]
pub(super) enum Taken {
    /// Nothing that is passed on.
    Nothing,
    /// What is passed on.
    Piece(Piece),
    /// What is passed on, in order.
    Pieces(Vec<Piece>),
    /// There are no more events.
    End,
}

struct Reading<'a, A> {
    events: BoxStream<'static, Result<Sse, sse::Error<hyper::Error>>>,
    assembly: A,
    /// What is left of an event that came to several.
    left: vec::IntoIter<Piece>,
    /// What came after the last piece and is none of its kind.
    next: Option<Result<Option<Piece>, Error>>,
    /// Whether there are no more events, though the body may go on.
    ended: bool,
    request: Request<'a>,
    attempt: Attempt<'a>,
}

/// The pieces of an answer. To drop the stream is to drop the request.
pub(super) fn pieces<'a, A: Assembly + 'a>(
    Answering { response, attempt }: Answering<'a>,
    assembly: A,
    request: Request<'a>,
) -> impl Stream<Item = Result<Piece, Error>> + 'a {
    let events = sse::events(response.into_body().into_data_stream(), MAX_ANSWER_BYTES).boxed();
    // Boxed, since it is moved with each piece.
    let left = Vec::new().into_iter();
    let reading = Box::new(Reading { events, assembly, left, next: None, ended: false, request, attempt });
    stream::try_unfold(Some(reading), |reading| async move {
        let Some(mut reading) = reading else { return Ok(None) };
        match reading.next_piece().await? {
            Some(piece) => Ok(Some((piece, Some(reading)))),
            None => Ok(Some((Piece::Done(reading.answer()?), None))),
        }
    })
}

impl<A: Assembly> Reading<'_, A> {
    fn answer(self) -> Result<Answer, Error> {
        let answer = self.assembly.finish(&self.request)?;
        self.attempt.settle();
        Ok(answer)
    }

    /// The next piece, and what of its kind has come by now: nobody waits for another, and a run whose model is ahead of it
    /// does not send an event for each word. `None`: the answer is whole.
    async fn next_piece(&mut self) -> Result<Option<Piece>, Error> {
        let next = match self.next.take() {
            Some(next) => next,
            None => self.one_piece().await,
        };
        let Some(mut piece) = next? else { return Ok(None) };
        for _ in 1..MAX_TOGETHER {
            let Some(next) = self.one_piece().now_or_never() else { break };
            match (&mut piece, next) {
                (Piece::Text(text), Ok(Some(Piece::Text(more))))
                | (Piece::Reasoning(text), Ok(Some(Piece::Reasoning(more)))) => text.push_str(&more),
                (_, next) => {
                    self.next = Some(next);
                    break;
                }
            }
        }
        Ok(Some(piece))
    }

    /// The next piece as it came; `None`: the answer is whole. What has come is not lost where it is dropped half-way.
    async fn one_piece(&mut self) -> Result<Option<Piece>, Error> {
        loop {
            if let Some(piece) = self.left.next() {
                return Ok(Some(piece));
            }
            if self.ended {
                let _ = timeout(END_OF_BODY, self.events.next()).await;
                return Ok(None);
            }
            let event = match self.events.next().await {
                Some(Ok(event)) => event,
                // A last event adds nothing to an answer that has said why it ends.
                None | Some(Err(sse::Error::Body(_))) if self.assembly.has_ended() => return Ok(None),
                None => return Err(failure::cut()),
                Some(Err(broken)) => return Err(failure::events(broken)),
            };
            let Some(data) = event.data.as_deref().map(str::trim).filter(|data| !data.is_empty()) else {
                continue;
            };
            if event.event.as_deref().is_some_and(|name| KEEPALIVES.contains(&name)) {
                continue;
            }
            let taken = self.assembly.take(event.event.as_deref(), data);
            self.attempt.tell(self.assembly.usage());
            match taken? {
                Taken::Nothing => {}
                Taken::Piece(piece) => return Ok(Some(piece)),
                Taken::Pieces(pieces) => self.left = pieces.into_iter(),
                Taken::End => self.ended = true,
            }
        }
    }
}
