//! A streamed answer: events in, pieces out.

use std::{time::Duration, vec};

use futures_util::{Stream, StreamExt, stream, stream::BoxStream};
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

/// Puts an answer together from a provider's events.
pub(super) trait Assembly: Send {
    /// Takes an event's name and data, which is not empty.
    ///
    /// # Errors
    /// The event can't be read, is an error, or makes the answer too large.
    fn take(&mut self, event: Option<&str>, data: &str) -> Result<Taken, Error>;

    /// Whether the provider has said why the answer ends: a body that breaks off then lacks nothing.
    fn has_ended(&self) -> bool;

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
    let reading = Box::new(Reading { events, assembly, left: Vec::new().into_iter(), request, attempt });
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

    /// The next piece; `None`: the answer is whole.
    async fn next_piece(&mut self) -> Result<Option<Piece>, Error> {
        loop {
            if let Some(piece) = self.left.next() {
                return Ok(Some(piece));
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
                Taken::End => {
                    let _ = timeout(END_OF_BODY, self.events.next()).await;
                    return Ok(None);
                }
            }
        }
    }
}
