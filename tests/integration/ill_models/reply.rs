//! An answer as bytes.

use super::speech::{Event, Speech};
use crate::support::dice::Dice;

pub const JSON: &str = "application/json";
pub const EVENTS: &str = "text/event-stream";

/// What is written to a connection, piece by piece, and what becomes of that then.
pub struct Reply {
    pub writes: Vec<Vec<u8>>,
    pub end: End,
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug)]
pub enum End {
    Kept,
    Closed,
    Reset,
}

impl Reply {
    /// The answer of a healthy provider.
    pub fn well(speech: &Speech, streamed: bool) -> Self {
        if streamed { Self::events(&speech.events()) } else { Self::whole(JSON, speech.whole()) }
    }

    /// As much of it as helps to see what is wrong.
    pub fn beginning(&self) -> String {
        String::from_utf8_lossy(&self.writes.concat()).chars().take(3_000).collect()
    }

    /// Nothing at all.
    pub fn none(end: End) -> Self {
        Self { writes: Vec::new(), end }
    }

    /// A body of a known length.
    pub fn whole(content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::with_head(&format!("200 OK\r\ncontent-type: {content_type}"), body)
    }

    /// The same, behind another status line and headers.
    pub fn with_head(head: &str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let head = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n", body.len());
        Self { writes: vec![head.into_bytes(), body], end: End::Kept }
    }

    /// A stream of events.
    pub fn events(events: &[Event]) -> Self {
        Self::chunks(EVENTS, events.iter().map(|event| written(event).into_bytes()))
    }

    /// A body in chunks.
    pub fn chunks(content_type: &str, chunks: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n");
        let chunks = chunks.into_iter().filter(|chunk| !chunk.is_empty()).map(|chunk| {
            let length = format!("{:x}\r\n", chunk.len());
            [length.as_bytes(), &chunk, b"\r\n"].concat()
        });
        let writes = [head.into_bytes()].into_iter().chain(chunks).chain([b"0\r\n\r\n".to_vec()]).collect();
        Self { writes, end: End::Kept }
    }

    /// The same, but the connection ends somewhere behind the head.
    pub fn broken_off(mut self, dice: &Dice, end: End) -> Self {
        let at = 1 + dice.place(self.writes.len() - 1);
        let mut last = self.writes[at].clone();
        last.truncate(dice.place(last.len().max(1)));
        self.writes.truncate(at);
        self.writes.push(last);
        self.end = end;
        self
    }
}

/// An event as a stream has it.
pub fn written(Event { name, data }: &Event) -> String {
    let name = name.as_ref().map(|name| format!("event: {name}\n")).unwrap_or_default();
    format!("{name}data: {data}\n\n")
}
