//! Server-Sent Events (<https://html.spec.whatwg.org/multipage/server-sent-events.html>) with a bound on what one
//! event may hold in memory.
//!
//! What is kept between chunks is the beginning of a line and what the finished lines of an unfinished event say; both
//! are measured before they grow. Events come one at a time, so that an error comes after all events that stood before
//! it. A comment, or another line that says nothing, counts only while it has no end: keepalives may go on for ever.
//!
//! A model streams an event for each word, so the bytes are looked at once, and only a line that is cut by the end of a
//! chunk is copied.
//!
//! `sse-stream`, whose [`Sse`] rmcp wants, parses, too. But to measure what it would keep is to find the lines' ends, which
//! is most of the parsing; and it refuses lines that the specification has ignored.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::Stream;
use sse_stream::Sse;
use thiserror::Error;

mod line;
#[cfg(test)]
mod tests;

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

/// The events of a body. An event, and a line, may have `max_event_bytes`; an unfinished event at the end is dropped.
///
/// # Errors
/// See [`enum@Error`]. Nothing comes after an error.
pub fn events<S, E>(bytes: S, max_event_bytes: usize) -> impl Stream<Item = Result<Sse, Error<E>>>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    Events { bytes, parser: Parser::new(max_event_bytes), ended: false }
}

struct Events<S> {
    bytes: S,
    parser: Parser,
    ended: bool,
}

impl<S, E> Stream for Events<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    type Item = Result<Sse, Error<E>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while !self.ended {
            if let Some(event) = self.parser.next() {
                self.ended = event.is_err();
                return Poll::Ready(Some(event));
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
    event: Option<Sse>,
    /// Bytes of the event's finished lines, without comments.
    lines: usize,
    /// Whether the last byte was a CR, so that a LF goes with it.
    after_cr: bool,
    /// Whether a line was read already: the first may begin with a byte order mark.
    begun: bool,
}

impl Parser {
    fn new(max: usize) -> Self {
        let (chunk, line) = (Bytes::new(), Vec::new());
        Self { max, chunk, read: 0, line, event: None, lines: 0, after_cr: false, begun: false }
    }

    /// Takes the next chunk, after all events of the one before.
    fn feed(&mut self, chunk: Bytes) {
        self.chunk = chunk;
        self.read = 0;
    }

    /// The next event whose end is in the chunk.
    fn next<E>(&mut self) -> Option<Result<Sse, Error<E>>> {
        while self.read < self.chunk.len() {
            let rest = &self.chunk[self.read..];
            if std::mem::take(&mut self.after_cr) && rest[0] == b'\n' {
                self.read += 1;
                continue;
            }
            let end = memchr::memchr2(b'\n', b'\r', rest);
            let part = &rest[..end.unwrap_or(rest.len())];
            if self.lines + self.line.len() + part.len() > self.max {
                return Some(Err(Error::TooLarge));
            }
            let Some(end) = end else {
                self.line.extend_from_slice(part);
                self.read = self.chunk.len();
                break;
            };
            self.after_cr = rest[end] == b'\r';
            if let Some(event) = self.end_line(self.read, end) {
                return Some(Ok(event));
            }
        }
        // The connection reads into the same buffer again once nobody looks at it. Many streams may wait for their next event.
        self.chunk = Bytes::new();
        self.read = 0;
        None
    }

    /// Takes the line that ends `length` bytes after `from`; gives the event that an empty line ends.
    fn end_line(&mut self, from: usize, length: usize) -> Option<Sse> {
        self.read = from + length + 1;
        let part = &self.chunk[from..from + length];
        let cut = !self.line.is_empty();
        if cut {
            self.line.extend_from_slice(part);
        }
        let mut line = if cut { &self.line[..] } else { part };
        if !std::mem::replace(&mut self.begun, true) {
            line = line.strip_prefix(line::BYTE_ORDER_MARK).unwrap_or(line);
        }
        if line.is_empty() {
            self.lines = 0;
            self.line.clear();
            return self.event.take();
        }
        if line::read(line, &mut self.event) {
            self.lines += line.len();
        }
        self.line.clear();
        None
    }
}
