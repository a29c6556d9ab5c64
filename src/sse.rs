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
                return None;
            };
            self.after_cr = rest[end] == b'\r';
            if let Some(event) = self.end_line(self.read, end) {
                return Some(Ok(event));
            }
        }
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

#[cfg(test)]
mod tests {
    use std::io;

    use futures_util::{StreamExt, stream};

    use super::*;

    async fn read(chunks: &[&[u8]], max: usize) -> Vec<Result<String, String>> {
        let chunks: Vec<_> = chunks.iter().map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        read_all(chunks, max).await
    }

    async fn read_all(chunks: Vec<Result<Bytes, io::Error>>, max: usize) -> Vec<Result<String, String>> {
        let events = events(stream::iter(chunks), max);
        events.map(|event| event.map(|sse| sse.data.unwrap_or_default()).map_err(name)).collect().await
    }

    fn name(error: Error<io::Error>) -> String {
        match error {
            Error::TooLarge => "too large".to_owned(),
            Error::Body(error) => error.to_string(),
        }
    }

    fn ok(data: &str) -> Result<String, String> {
        Ok(data.to_owned())
    }

    fn err(name: &str) -> Result<String, String> {
        Err(name.to_owned())
    }

    #[tokio::test]
    async fn events_are_read_whatever_their_line_ends_and_chunks() {
        for end in ["\n", "\r\n", "\r"] {
            let text = format!(": hello{end}data: a{end}{end}{end}data:b{end}data:c{end}{end}");
            let expected = vec![ok("a"), ok("b\nc")];
            assert_eq!(read(&[text.as_bytes()], 64).await, expected, "{end:?} in one chunk");
            let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
            assert_eq!(read(&bytes, 64).await, expected, "{end:?} byte by byte");
        }
    }

    #[tokio::test]
    async fn an_event_may_be_exactly_as_large_as_allowed() {
        assert_eq!(read(&[b"data: 1234\n\ndata: 1234\n\n"], 10).await, [ok("1234"), ok("1234")]);
        assert_eq!(read(&[b"data: 1234\n\ndata: 12345\n\n"], 10).await, [ok("1234"), err("too large")]);
        assert_eq!(read(&[b"data: 1\ndata: 2\n\n"], 13).await, [err("too large")]);
    }

    #[tokio::test]
    async fn a_line_without_end_is_too_large_even_as_a_comment() {
        assert_eq!(read(&[b"data: 12", b"34", b"5"], 10).await, [err("too large")]);
        assert_eq!(read(&[b": 345678", b"90", b"1"], 10).await, [err("too large")]);
    }

    #[tokio::test]
    async fn comments_go_on_for_ever() {
        let mut chunks: Vec<&[u8]> = vec![b"data: 1\r\n"];
        chunks.resize(10_000, b": still here\r\n");
        chunks.push(b"\r\n");
        assert_eq!(read(&chunks, 20).await, [ok("1")]);
    }

    #[tokio::test]
    async fn what_says_nothing_is_no_event_and_goes_on_for_ever() {
        let text =
            format!("data: 1\n{}\nnonsense\n\ndata: 2\n\n", "nonsense: 1\nnonsense\nid: \0\n".repeat(100));
        assert_eq!(read(&[text.as_bytes()], 20).await, [ok("1"), ok("2")]);
    }

    #[tokio::test]
    async fn an_error_comes_after_the_events_before_it_and_ends_the_stream() {
        let chunks = vec![
            Ok(Bytes::from_static(b"data: 1\n\ndata: 2")),
            Err(io::Error::other("reset")),
            Ok(Bytes::from_static(b"\n\n")),
        ];
        assert_eq!(read_all(chunks, 64).await, [ok("1"), err("reset")]);
    }
}
