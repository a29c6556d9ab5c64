//! Server-Sent Events (<https://html.spec.whatwg.org/multipage/server-sent-events.html>) with a bound on what one
//! event may hold in memory.
//!
//! The parser keeps an unfinished line, and the lines of an unfinished event, for as long as they grow. So the bytes are
//! measured before it sees them. They are also cut behind each empty line, so that the parser holds one event at a
//! time and an error comes after all events that stood before it. A comment counts only while its line has no end:
//! keepalives may go on for ever.

use bytes::Bytes;
use futures_util::{Stream, StreamExt, future, stream};
use sse_stream::{Sse, SseStream};
use thiserror::Error;

/// Why a stream of events breaks off.
#[derive(Debug, Error)]
pub enum Error<E> {
    /// An event, or a line, is larger than allowed.
    #[error("an event is too large")]
    TooLarge,
    /// The bytes fail.
    #[error("the body can't be read")]
    Body(#[source] E),
    /// It is no event stream.
    #[error("the event stream is malformed")]
    Malformed,
}

/// The events of a body. An event, and a line, may have `max_event_bytes`; an unfinished event at the end is dropped.
///
/// # Errors
/// See [`enum@Error`]. Nothing comes after an error.
pub fn events<S, E>(bytes: S, max_event_bytes: usize) -> impl Stream<Item = Result<Sse, Error<E>>>
where
    S: Stream<Item = Result<Bytes, E>>,
    E: std::error::Error + Send + Sync + 'static,
{
    let mut gauge = Gauge::new(max_event_bytes);
    let bounded = bytes.flat_map(move |chunk| stream::iter(gauge.split(chunk)));
    SseStream::from_bytes_stream(bounded).scan(false, |failed, event| {
        let event = event.map_err(unwrap);
        let ended = std::mem::replace(failed, event.is_err());
        future::ready((!ended).then_some(event))
    })
}

fn unwrap<E>(error: sse_stream::Error) -> Error<E>
where
    E: std::error::Error + Send + Sync + 'static,
{
    match error {
        sse_stream::Error::Body(inner) => inner.downcast().map_or(Error::Malformed, |error| *error),
        _ => Error::Malformed,
    }
}

/// Measures the event that is being read.
struct Gauge {
    max: usize,
    /// Bytes of the event's finished lines, without comments.
    lines: usize,
    /// Bytes of the unfinished line.
    line: usize,
    /// Whether the unfinished line is a comment.
    comment: bool,
    /// Whether the last byte was a CR, so that a LF goes with it.
    after_cr: bool,
}

impl Gauge {
    fn new(max: usize) -> Self {
        Self { max, lines: 0, line: 0, comment: false, after_cr: false }
    }

    /// Cuts a chunk behind each empty line; ends with an error where the event is too large.
    fn split<E>(&mut self, chunk: Result<Bytes, E>) -> Vec<Result<Bytes, Error<E>>> {
        let mut rest = match chunk {
            Ok(chunk) => chunk,
            Err(error) => return vec![Err(Error::Body(error))],
        };
        let mut parts = Vec::with_capacity(1);
        while !rest.is_empty() {
            let Some(end) = self.event_end(&rest) else {
                parts.push(Err(Error::TooLarge));
                break;
            };
            parts.push(Ok(rest.split_to(end)));
        }
        parts
    }

    /// How many of the bytes belong to the current event, its empty line included; `None`: it is too large.
    fn event_end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            self.grow(&rest[..end.unwrap_or(rest.len())])?;
            let Some(end) = end else { return Some(bytes.len()) };
            at += end + 1;
            if self.end_line(rest[end]) {
                return Some(at);
            }
        }
        Some(at)
    }

    fn grow(&mut self, part: &[u8]) -> Option<()> {
        let Some(first) = part.first() else { return Some(()) };
        if self.line == 0 {
            self.comment = *first == b':';
        }
        self.after_cr = false;
        self.line += part.len();
        (self.lines + self.line <= self.max).then_some(())
    }

    /// Takes a line's end; whether the line was empty and ends the event.
    fn end_line(&mut self, end: u8) -> bool {
        if std::mem::replace(&mut self.after_cr, end == b'\r') && end == b'\n' {
            return false;
        }
        let line = std::mem::take(&mut self.line);
        if line == 0 {
            self.lines = 0;
        } else if !self.comment {
            self.lines += line;
        }
        line == 0
    }
}

#[cfg(test)]
mod tests {
    use std::io;

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
            Error::Malformed => "malformed".to_owned(),
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
    async fn an_error_comes_after_the_events_before_it_and_ends_the_stream() {
        let malformed: &[u8] = b"data: 1\n\nnonsense\n\ndata: 2\n\n";
        assert_eq!(read(&[malformed], 64).await, [ok("1"), err("malformed")]);
        let chunks = vec![
            Ok(Bytes::from_static(b"data: 1\n\ndata: 2")),
            Err(io::Error::other("reset")),
            Ok(Bytes::from_static(b"\n\n")),
        ];
        assert_eq!(read_all(chunks, 64).await, [ok("1"), err("reset")]);
    }
}
