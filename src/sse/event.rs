//! An event while its lines come, and as it is lent.

use std::{borrow::Cow, ops::Range};

use sse_stream::Sse;

use super::line::Field;

/// An event; what none of its lines says is `None`. What is no UTF-8 is replaced.
#[derive(Debug)]
pub struct Event<'a> {
    /// What kind of event it is.
    pub name: Option<Cow<'a, str>>,
    /// Its data, with a line feed between two lines.
    pub data: Option<Cow<'a, str>>,
    /// Where a stream that breaks off after it goes on.
    pub id: Option<Cow<'a, str>>,
    /// After how many milliseconds it does.
    pub retry: Option<u64>,
}

impl From<Event<'_>> for Sse {
    fn from(Event { name, data, id, retry }: Event<'_>) -> Self {
        let [event, data, id] = [name, data, id].map(|text| text.map(Cow::into_owned));
        Self { event, data, id, retry }
    }
}

/// What the finished lines of an event say.
#[derive(Default)]
pub(super) struct Unfinished {
    name: Option<Value>,
    data: Option<Value>,
    id: Option<Value>,
    retry: Option<u64>,
}

/// What a field says: where that stands in the chunk, or else a copy.
struct Value {
    in_chunk: Option<Range<usize>>,
    copy: Vec<u8>,
}

impl Unfinished {
    /// Whether a line says anything.
    pub(super) fn has_begun(&self) -> bool {
        self.data.is_some() || self.name.is_some() || self.id.is_some() || self.retry.is_some()
    }

    /// Adds what a line says: the last of a field counts, but data adds up. `end`: where the line ends in the chunk; `None`:
    /// it does not stand there whole.
    pub(super) fn add(&mut self, field: Field<'_>, chunk: &[u8], end: Option<usize>) {
        match field {
            Field::Data(line) => match &mut self.data {
                Some(data) => data.add_line(line, chunk),
                None => self.data = Some(Value::new(line, end)),
            },
            Field::Name(name) => self.name = Some(Value::new(name, end)),
            Field::Id(id) => self.id = Some(Value::new(id, end)),
            Field::Retry(retry) => self.retry = Some(retry),
        }
    }

    /// Copies what stands in the chunk, which goes.
    pub(super) fn keep(&mut self, chunk: &[u8]) {
        for value in [&mut self.name, &mut self.data, &mut self.id].into_iter().flatten() {
            value.copied(chunk);
        }
    }

    /// The event.
    pub(super) fn lend<'a>(&'a self, chunk: &'a [u8]) -> Event<'a> {
        let text = |value: &'a Option<Value>| value.as_ref().map(|value| value.text(chunk));
        Event { name: text(&self.name), data: text(&self.data), id: text(&self.id), retry: self.retry }
    }
}

impl Value {
    /// The value of a line that ends there in the chunk. A line ends with its value.
    fn new(value: &[u8], end: Option<usize>) -> Self {
        let in_chunk = end.map(|end| end - value.len()..end);
        let copy = if in_chunk.is_some() { Vec::new() } else { value.to_owned() };
        Self { in_chunk, copy }
    }

    fn copied(&mut self, chunk: &[u8]) -> &mut Vec<u8> {
        if let Some(range) = self.in_chunk.take() {
            self.copy.extend_from_slice(&chunk[range]);
        }
        &mut self.copy
    }

    fn add_line(&mut self, line: &[u8], chunk: &[u8]) {
        let copy = self.copied(chunk);
        copy.push(b'\n');
        copy.extend_from_slice(line);
    }

    fn text<'a>(&'a self, chunk: &'a [u8]) -> Cow<'a, str> {
        let bytes = self.in_chunk.clone().map_or(&self.copy[..], |range| &chunk[range]);
        // To look for what is no UTF-8, and where, takes ten times as long as to see that there is nothing.
        str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
    }
}
