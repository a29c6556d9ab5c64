//! Puts an answer together from its chunks.
//!
//! A tool call comes in pieces, and the API tells by `index` to which call a piece belongs. Not all servers do: some
//! leave the index out, some number every call 0, some repeat the id and the name with each piece, some make a new id
//! for each. What they have in common: a call begins with its name. So a piece goes to the call of its index, or
//! without one to the last call, unless it brings a name that can't be a repetition: then it begins a new call.

use std::ops::ControlFlow;

use serde::de::IgnoredAny;

use super::{
    answer::{CallDelta, Chunk, Shown},
    kept::{Extra, Kept},
    usual::Usual,
};
use crate::{
    message::Usage,
    model::{
        Answer, AnswerPart, AskedCall, Error, MAX_CALLS, Request, Stop,
        call_ids::CallIds,
        endpoint::MAX_ANSWER_BYTES,
        events::{self, Pieces},
        failure, reported,
    },
};

/// What is known of an answer so far.
#[derive(Default)]
pub(super) struct Assembly<'a> {
    model: &'a str,
    text: String,
    /// What the server wants back of the reasoning, if there are calls; `None`: nothing.
    reasoning: Option<String>,
    calls: Vec<Call>,
    stop: Option<Stop>,
    /// Whether some of the text is a refusal.
    refused: bool,
    usage: Option<Usage>,
    /// Bytes of the text, of what is wanted back, and of what the calls have.
    size: usize,
    usual: Usual,
}

struct Call {
    index: Option<i64>,
    id: String,
    name: String,
    arguments: String,
    extra: Option<Extra>,
    /// Whether all of it came in one piece.
    one_piece: bool,
}

impl<'a> Assembly<'a> {
    /// Nothing of an answer of this model.
    pub(super) fn new(model: &'a str) -> Self {
        Self { model, ..Self::default() }
    }

    /// Takes a chunk; gives what is new of it.
    ///
    /// # Errors
    /// The chunk is an error, or the answer is too large.
    pub(super) fn add(&mut self, chunk: Chunk<'_>) -> Result<Shown, Error> {
        let failure = chunk.failure();
        let (usage, choice) = chunk.into_parts();
        self.usage = usage.or(self.usage);
        if let Some(failure) = failure {
            return Err(failure);
        }
        let Some(choice) = choice else { return Ok(Shown::default()) };
        self.stop = choice.stop().or(self.stop);
        let mut delta = choice.into_delta();
        let shown = delta.take_shown();
        self.grow(shown.text.len())?;
        self.text.push_str(&shown.text);
        self.refused |= shown.is_refusal;
        if shown.is_wanted_back {
            self.grow(shown.reasoning.len())?;
            self.reasoning.get_or_insert_default().push_str(&shown.reasoning);
        }
        for call in delta.tool_calls.all()? {
            self.add_call(call)?;
        }
        Ok(shown)
    }

    /// Whether it has text and nothing else.
    pub(super) fn is_text_alone(&self) -> bool {
        self.calls.is_empty() && self.stop.is_none() && !self.refused && self.usage.is_none()
    }

    fn add_call(&mut self, delta: CallDelta<'_>) -> Result<(), Error> {
        let (index, extra) = (delta.index, delta.extra());
        let [id, name, arguments] = delta.into_texts()?;
        let is_empty = id.is_empty() && name.is_empty() && arguments.is_empty();
        if is_empty && extra.is_none() {
            return Ok(());
        }
        self.grow(id.len() + name.len() + arguments.len() + extra.as_ref().map_or(0, Extra::size))?;
        let place = self.place(index, &id, &name, &arguments);
        if place.is_none() && !is_empty && self.calls.len() == MAX_CALLS {
            return Err(failure::too_many_calls());
        }
        match place.and_then(|place| self.calls.get_mut(place)) {
            Some(call) => {
                call.extra = extra.or(call.extra.take());
                if !is_empty {
                    call.extend(id, name, &arguments);
                }
            }
            None if is_empty => {}
            None => self.calls.push(Call { index, id, name, arguments, extra, one_piece: true }),
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
        if self.size > MAX_ANSWER_BYTES { Err(failure::too_large()) } else { Ok(()) }
    }
}

impl events::Assembly for Assembly<'_> {
    fn take(
        &mut self,
        event: Option<&str>,
        data: &str,
        pieces: &mut Pieces,
    ) -> Result<ControlFlow<()>, Error> {
        if data == "[DONE]" {
            return self.done();
        }
        if event == Some("error") {
            return Err(reported::event(data));
        }
        if let Some(text) = self.usual.text(data) {
            self.grow(text.len())?;
            self.text.push_str(text);
            pieces.text(text);
            return Ok(ControlFlow::Continue(()));
        }
        let shown = self.add(serde_json::from_str(data).map_err(|_| failure::unreadable())?)?;
        self.usual.look_at(data, &shown.text);
        pieces.reasoning(&shown.reasoning);
        pieces.text(&shown.text);
        Ok(ControlFlow::Continue(()))
    }

    fn has_ended(&self) -> bool {
        self.stop.is_some()
    }

    fn usage(&self) -> Usage {
        self.usage.unwrap_or(Usage { model_requests: 1, ..Usage::default() })
    }

    fn finish(self, request: &Request<'_>) -> Result<Answer, Error> {
        let mut ids = CallIds::new(request);
        let usage = self.usage();
        let text = Some(self.text).filter(|text| !text.is_empty()).map(AnswerPart::Text);
        let mut parts: Vec<_> = text.into_iter().collect();
        let has_calls = !self.calls.is_empty();
        let mut kept = Kept { reasoning_content: self.reasoning.filter(|_| has_calls), ..Kept::default() };
        for Call { id, name, arguments, extra, .. } in self.calls {
            if name.is_empty() {
                return Err(failure::unreadable());
            }
            let call_id = ids.own(id);
            kept.extra_content.extend(extra.map(|extra| (call_id.clone(), extra)));
            parts.push(AnswerPart::Call(AskedCall { call_id, name, arguments_json: arguments }));
        }
        parts.splice(..0, kept.seal(self.model)?.map(AnswerPart::State));
        let stop = if self.refused { Stop::ContentFilter } else { self.stop.unwrap_or_default() };
        Ok(Answer { parts, stop, usage })
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
