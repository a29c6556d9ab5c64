//! Puts an answer together from its chunks.
//!
//! A tool call comes in pieces, and the API tells by `index` to which call a piece belongs. Not all servers do: some
//! leave the index out, some number every call 0, some repeat the id and the name with each piece, some make a new id
//! for each. What they have in common: a call begins with its name. So a piece goes to the call of its index, or
//! without one to the last call, unless it brings a name that can't be a repetition: then it begins a new call.

use serde::de::IgnoredAny;
use uuid::Uuid;

use super::{
    MAX_ANSWER_BYTES,
    answer::{CallDelta, Chunk},
    error,
};
use crate::{
    message::Usage,
    model::{Answer, AskedCall, Error, Request, Stop},
};

/// The most calls in an answer.
const MAX_CALLS: usize = 128;
/// The longest id of a call that is taken over, in bytes.
const MAX_ID_BYTES: usize = 256;

/// What is known of an answer so far.
#[derive(Default)]
pub(super) struct Assembly {
    text: String,
    calls: Vec<Call>,
    stop: Option<Stop>,
    usage: Option<Usage>,
    /// Bytes of the text and of what the calls have.
    size: usize,
}

struct Call {
    index: Option<i64>,
    id: String,
    name: String,
    arguments: String,
    /// Whether all of it came in one piece.
    one_piece: bool,
}

impl Assembly {
    /// Takes a chunk; gives the text that is new.
    ///
    /// # Errors
    /// The chunk is an error, or the answer is too large.
    pub(super) fn add(&mut self, chunk: Chunk<'_>) -> Result<String, Error> {
        if chunk.error.is_some() {
            return Err(error::unavailable("it reported an error instead of an answer"));
        }
        let (usage, choice) = chunk.into_parts();
        self.usage = usage.or(self.usage);
        let Some(choice) = choice else { return Ok(String::new()) };
        self.stop = choice.stop().or(self.stop);
        let mut delta = choice.into_delta();
        let text = delta.take_text();
        self.grow(text.len())?;
        self.text.push_str(&text);
        for call in delta.tool_calls.into_iter().flatten() {
            self.add_call(call)?;
        }
        Ok(text)
    }

    /// Whether the provider said that the answer ends.
    pub(super) fn has_ended(&self) -> bool {
        self.stop.is_some()
    }

    /// The answer. Calls get ids that no other call of the conversation has.
    ///
    /// # Errors
    /// A call has no name.
    pub(super) fn finish(self, request: &Request<'_>) -> Result<Answer, Error> {
        let mut calls: Vec<AskedCall> = Vec::with_capacity(self.calls.len());
        for Call { id, name, arguments, .. } in self.calls {
            if name.is_empty() {
                return Err(error::unreadable());
            }
            let good = (1..=MAX_ID_BYTES).contains(&id.len());
            let taken = || request.has_call(&id) || calls.iter().any(|call| call.call_id == id);
            let call_id = if good && !taken() { id } else { format!("call_{}", Uuid::now_v7().simple()) };
            calls.push(AskedCall { call_id, name, arguments_json: arguments });
        }
        let usage = self.usage.unwrap_or(Usage { model_requests: 1, ..Usage::default() });
        Ok(Answer { text: self.text, calls, stop: self.stop.unwrap_or_default(), usage })
    }

    fn add_call(&mut self, delta: CallDelta<'_>) -> Result<(), Error> {
        let index = delta.index;
        let [id, name, arguments] = delta.into_texts()?;
        if id.is_empty() && name.is_empty() && arguments.is_empty() {
            return Ok(());
        }
        self.grow(id.len() + name.len() + arguments.len())?;
        let place = self.place(index, &id, &name, &arguments);
        if place.is_none() && self.calls.len() == MAX_CALLS {
            return Err(error::unavailable("it asks for more than 128 tools at once"));
        }
        match place.and_then(|place| self.calls.get_mut(place)) {
            Some(call) => call.extend(id, name, &arguments),
            None => self.calls.push(Call { index, id, name, arguments, one_piece: true }),
        }
        Ok(())
    }

    /// The call that a piece belongs to; `None`: a new one.
    fn place(&self, index: Option<i64>, id: &str, name: &str, arguments: &str) -> Option<usize> {
        let Some(index) = index else {
            let same_id = self.calls.iter().rposition(|call| !id.is_empty() && call.id == id);
            return if name.is_empty() { same_id.or(self.calls.len().checked_sub(1)) } else { None };
        };
        let place = self.calls.iter().rposition(|call| call.index == Some(index))?;
        let begins = self.calls.get(place).is_some_and(|call| call.is_other_than(id, name, arguments));
        (!begins).then_some(place)
    }

    fn grow(&mut self, bytes: usize) -> Result<(), Error> {
        self.size += bytes;
        if self.size > MAX_ANSWER_BYTES { Err(error::too_large()) } else { Ok(()) }
    }
}

impl Call {
    /// Whether a piece of the same index begins another call all the same.
    fn is_other_than(&self, id: &str, name: &str, arguments: &str) -> bool {
        let named_again = !name.is_empty() && !self.name.is_empty();
        let other_id = !id.is_empty() && !self.id.is_empty() && id != self.id;
        let complete = || serde_json::from_str::<IgnoredAny>(&self.arguments).is_ok();
        let was_whole = || self.one_piece && !arguments.is_empty() && complete();
        named_again && (name != self.name || other_id || was_whole())
    }

    fn extend(&mut self, id: String, name: String, arguments: &str) {
        if self.id.is_empty() {
            self.id = id;
        }
        if self.name.is_empty() {
            self.name = name;
        }
        self.arguments.push_str(arguments);
        self.one_piece = false;
    }
}
