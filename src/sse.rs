//! Server-Sent Events (<https://html.spec.whatwg.org/multipage/server-sent-events.html>) with a bound on what one
//! event may hold in memory.
//!
//! What is kept between chunks is the beginning of a line and what the finished lines of an unfinished event say; both
//! are measured before they grow. Events come one at a time, so that an error comes after all events that stood before
//! it. A comment, or another line that says nothing, counts only while it has no end: keepalives may go on for ever.
//!
//! A model streams an event for each word, so the bytes are looked at once, and an event is lent from its chunk: only what
//! is cut by the chunk's end, and data of several lines, is copied.
//!
//! `sse-stream`, whose [`Sse`] rmcp wants, parses, too. But to measure what it would keep is to find the lines' ends, which
//! is most of the parsing; and it refuses lines that the specification has ignored.

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::{Stream, stream};
use sse_stream::Sse;
use thiserror::Error;

mod event;
mod line;
#[cfg(test)]
mod tests;

pub use event::Event;
use event::Unfinished;

/// Why a stream of events breaks off.
#[derive(Debug, Error)]
pub enum Error<E> {
    /// An event, or a line, is larger than allowed.
    #[error("an event is too large")]
    TooLarge,
    /// The bytes fail.
    #[error("the body can't be read")]
    Body(#[source] E),
}

/// The events of a body, as [`Events`] reads them.
///
/// # Errors
/// See [`enum@Error`]. Nothing comes after an error.
pub fn events<S, E>(bytes: S, max_event_bytes: usize) -> impl Stream<Item = Result<Sse, Error<E>>>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    let mut events = Events::new(bytes, max_event_bytes);
    stream::poll_fn(move |cx| events.poll_event(cx).map(|event| Some(event?.map(Sse::from))))
}

/// Reads the events of a body. An event, and a line, may have `max_event_bytes`; an unfinished event at the end is dropped.
pub struct Events<S> {
    bytes: S,
    parser: Parser,
    ended: bool,
}

impl<S, E> Events<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    /// The events of these bytes.
    pub fn new(bytes: S, max_event_bytes: usize) -> Self {
        Self { bytes, parser: Parser::new(max_event_bytes), ended: false }
    }

    /// The next event, which is there until the one after it is asked for; `None`: there are no more.
    ///
    /// # Errors
    /// See [`enum@Error`]. Nothing comes after an error.
    pub fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Event<'_>, Error<E>>>> {
        while !self.ended {
            match self.parser.advance() {
                Advance::Event => return Poll::Ready(Some(Ok(self.parser.event()))),
                Advance::TooLarge => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(Error::TooLarge)));
                }
                Advance::End => {}
            }
            match ready!(Pin::new(&mut self.bytes).poll_next(cx)) {
                Some(Ok(chunk)) => self.parser.feed(chunk),
                Some(Err(error)) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(Error::Body(error))));
                }
                None => self.ended = true,
            }
        }
        Poll::Ready(None)
    }
}

/// Takes chunks apart into lines, and puts lines together to events.
struct Parser {
    max: usize,
    chunk: Bytes,
    /// How many of the chunk's bytes are read.
    read: usize,
    /// The beginning of a line whose end was not in its chunk.
    line: Vec<u8>,
    /// What the event's finished lines say.
    event: Unfinished,
    /// Whether the event has ended, and is lent.
    whole: bool,
    /// Bytes of the event's finished lines, without comments.
    lines: usize,
    /// Whether the last byte was a CR, so that a LF goes with it.
    after_cr: bool,
    /// Whether a line was read already: the first may begin with a byte order mark.
    begun: bool,
}

/// What reading on came to.
enum Advance {
    /// An event has ended.
    Event,
    /// A line, or an event, is larger than allowed.
    TooLarge,
    /// The chunk is read.
    End,
}

impl Parser {
    fn new(max: usize) -> Self {
        let (chunk, line, event) = (Bytes::new(), Vec::new(), Unfinished::default());
        Self { max, chunk, read: 0, line, event, whole: false, lines: 0, after_cr: false, begun: false }
    }

    /// Takes the next chunk, after all events of the one before.
    fn feed(&mut self, chunk: Bytes) {
        self.chunk = chunk;
        self.read = 0;
    }

    /// The event that has ended.
    fn event(&self) -> Event<'_> {
        self.event.lend(&self.chunk)
    }

    /// Reads on to the end of an event, or of the chunk. An event that was lent is gone.
    fn advance(&mut self) -> Advance {
        if mem::take(&mut self.whole) {
            self.event = Unfinished::default();
        }
        while self.read < self.chunk.len() {
            let rest = &self.chunk[self.read..];
            if mem::take(&mut self.after_cr) && rest[0] == b'\n' {
                self.read += 1;
                continue;
            }
            let end = memchr::memchr2(b'\n', b'\r', rest);
            let part = &rest[..end.unwrap_or(rest.len())];
            if self.lines + self.line.len() + part.len() > self.max {
                return Advance::TooLarge;
            }
            let Some(end) = end else {
                self.line.extend_from_slice(part);
                break;
            };
            self.after_cr = rest[end] == b'\r';
            self.end_line(end);
            if self.whole {
                return Advance::Event;
            }
        }
        // The connection reads into the same buffer again once nobody looks at it. Many streams may wait for their next event.
        self.event.keep(&self.chunk);
        self.feed(Bytes::new());
        Advance::End
    }

    /// Takes the line that ends after so many of the chunk's next bytes.
    fn end_line(&mut self, length: usize) {
        let (from, end) = (self.read, self.read + length);
        self.read = end + 1;
        let part = &self.chunk[from..end];
        let cut = !self.line.is_empty();
        if cut {
            self.line.extend_from_slice(part);
        }
        let mut line = if cut { &self.line[..] } else { part };
        if !mem::replace(&mut self.begun, true) {
            line = line.strip_prefix(line::BYTE_ORDER_MARK).unwrap_or(line);
        }
        if line.is_empty() {
            self.lines = 0;
            self.whole = self.event.has_begun();
        } else if let Some(field) = line::read(line) {
            self.lines += line.len();
            self.event.add(field, &self.chunk, (!cut).then_some(end));
        }
        self.line.clear();
    }
}
