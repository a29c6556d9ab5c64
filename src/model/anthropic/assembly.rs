//! Puts an answer together from its blocks, whole or in pieces. A stream numbers its blocks; a piece names its block's
//! number.

use std::ops::ControlFlow;

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::{
    answer::{
        self, Delta, End, Event, Message, RedactedThinking, Text, Thinking, ToolUse, Typed, Usage, read,
    },
    thought::Thought,
};
use crate::{
    message,
    model::{
        Answer, AnswerPart, AskedCall, Error, MAX_CALLS, Request, Stop,
        call_ids::CallIds,
        endpoint::MAX_ANSWER_BYTES,
        events::{self, Pieces},
        failure, reported,
    },
};

/// The most blocks in an answer. Each may be empty, so their bytes bound nothing.
const MAX_BLOCKS: usize = 1024;

/// What is known of an answer so far.
pub(super) struct Assembly<'a> {
    model: &'a str,
    blocks: Vec<Block>,
    calls: usize,
    stop: Option<Stop>,
    usage: Usage,
    /// Bytes of the blocks as they began, and of their pieces.
    size: usize,
}

struct Block {
    index: Option<i64>,
    what: What,
    /// Whether nothing more of it comes.
    done: bool,
}

enum What {
    Text(String),
    Thought(Thought),
    Call {
        id: String,
        name: String,
        /// What it began with: all arguments, or none where they come in pieces.
        input: String,
        pieces: String,
    },
    Unknown,
}

impl<'a> Assembly<'a> {
    /// The answer of this model.
    pub(super) fn new(model: &'a str) -> Self {
        Self { model, blocks: Vec::new(), calls: 0, stop: None, usage: Usage::default(), size: 0 }
    }

    /// Takes a block, or the beginning of one; adds what of it is passed on.
    ///
    /// # Errors
    /// It can't be read, or the answer is too large.
    pub(super) fn begin(
        &mut self,
        index: Option<i64>,
        block: &RawValue,
        pieces: &mut Pieces,
    ) -> Result<(), Error> {
        if self.blocks.len() == MAX_BLOCKS {
            return Err(failure::too_large());
        }
        grow(&mut self.size, block.get().len())?;
        let what = match read::<Typed<'_>>(block)?.kind.as_deref() {
            Some("text") => {
                let text = read::<Text>(block)?.text.unwrap_or_default();
                pieces.text(&text);
                What::Text(text)
            }
            Some("thinking") => {
                let Thinking { thinking, signature } = read(block)?;
                let (thinking, signature) = (thinking.unwrap_or_default(), signature.unwrap_or_default());
                pieces.reasoning(&thinking);
                What::Thought(Thought::Thinking { thinking, signature })
            }
            Some("redacted_thinking") => {
                let data = read::<RedactedThinking>(block)?.data.unwrap_or_default();
                What::Thought(Thought::RedactedThinking { data })
            }
            Some("tool_use") => self.call(read(block)?)?,
            _ => What::Unknown,
        };
        self.blocks.push(Block { index, what, done: false });
        Ok(())
    }

    /// Takes that nothing more of a block comes.
    pub(super) fn end_block(&mut self, index: Option<i64>) {
        if let Some(block) = self.blocks.iter_mut().rev().find(|block| block.index == index) {
            block.done = true;
        }
    }

    /// Takes why the answer ends, and what it consumed.
    pub(super) fn end(&mut self, reason: Option<&str>, usage: Option<&RawValue>) {
        self.stop = reason.and_then(answer::stop).or(self.stop);
        self.usage = usage.and_then(Usage::read).map_or(self.usage, |usage| self.usage.max(usage));
    }

    fn call(&mut self, call: ToolUse<'_>) -> Result<What, Error> {
        self.calls += 1;
        if self.calls > MAX_CALLS {
            return Err(failure::too_many_calls());
        }
        let input = call.input.map(RawValue::get).unwrap_or_default().to_owned();
        let (id, name) = (call.id.unwrap_or_default(), call.name.unwrap_or_default());
        Ok(What::Call { id, name, input, pieces: String::new() })
    }

    /// Takes a piece of a block; adds what of it is passed on. A piece that does not fit its block is of a kind to come.
    fn extend(&mut self, index: Option<i64>, delta: Delta, pieces: &mut Pieces) -> Result<(), Error> {
        let block = self.blocks.iter_mut().rev().find(|block| block.index == index);
        let size = &mut self.size;
        match (delta, block.map(|block| &mut block.what)) {
            (Delta::Text { text: Some(piece) }, Some(What::Text(text))) => {
                push(size, text, &piece)?;
                pieces.text(&piece);
            }
            (
                Delta::Thinking { thinking: Some(piece) },
                Some(What::Thought(Thought::Thinking { thinking, .. })),
            ) => {
                push(size, thinking, &piece)?;
                pieces.reasoning(&piece);
            }
            (
                Delta::Signature { signature: Some(piece) },
                Some(What::Thought(Thought::Thinking { signature, .. })),
            ) => push(size, signature, &piece)?,
            (Delta::InputJson { partial_json: Some(piece) }, Some(What::Call { pieces, .. })) => {
                push(size, pieces, &piece)?;
            }
            _ => {}
        }
        Ok(())
    }
}

impl events::Assembly for Assembly<'_> {
    fn take(
        &mut self,
        event: Option<&str>,
        data: &str,
        pieces: &mut Pieces,
    ) -> Result<ControlFlow<()>, Error> {
        let read_event: Option<Event<'_>> = serde_json::from_str(data).ok();
        let kind = read_event.as_ref().and_then(|read| read.kind.as_deref());
        if event == Some("error") || kind == Some("error") {
            return Err(reported::event(data));
        }
        let read_event = read_event.ok_or_else(failure::unreadable)?;
        let Event { kind, index, message, content_block, delta, usage, error } = read_event;
        if let Some(error) = error {
            return Err(reported::error(error));
        }
        match kind.as_deref().or(event) {
            Some("message_start") => {
                let message = message.map(read::<Message<'_>>).transpose()?;
                self.end(None, message.and_then(|message| message.usage));
            }
            Some("content_block_start") => {
                if let Some(block) = content_block {
                    self.begin(index.map(read).transpose()?, block, pieces)?;
                }
            }
            Some("content_block_delta") => {
                if let Some(delta) = delta {
                    self.extend(index.map(read).transpose()?, read(delta)?, pieces)?;
                }
            }
            Some("content_block_stop") => self.end_block(index.map(read).transpose()?),
            Some("message_delta") => {
                let end = delta.map(read::<End<'_>>).transpose()?;
                self.end(end.and_then(|end| end.stop_reason).as_deref(), usage);
            }
            Some("message_stop") => return Ok(ControlFlow::Break(())),
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    }

    fn has_ended(&self) -> bool {
        self.stop.is_some()
    }

    fn usage(&self) -> message::Usage {
        self.usage.into()
    }

    fn finish(self, request: &Request<'_>) -> Result<Answer, Error> {
        // Of a call that was not told to its end, no arguments are none that are known.
        if self.stop.is_none_or(|stop| stop == Stop::End) && self.blocks.iter().any(Block::is_cut_call) {
            return Err(failure::cut());
        }
        let mut ids = CallIds::new(request);
        let (model, usage) = (self.model, self.usage());
        let parts = self.blocks.into_iter().filter_map(|block| part(block.what, model, &mut ids).transpose());
        let parts = parts.collect::<Result<_, _>>()?;
        Ok(Answer { parts, stop: self.stop.unwrap_or_default(), usage })
    }
}

impl Block {
    /// Whether it is a call that some of may be lacking. Some servers leave the end of a block out: there what its arguments
    /// are tells.
    fn is_cut_call(&self) -> bool {
        let What::Call { input, pieces, .. } = &self.what else { return false };
        let are_whole = |arguments: &str| serde_json::from_str::<IgnoredAny>(arguments).is_ok();
        let began_empty = || matches!(input.as_str(), "" | "null" | "{}");
        !self.done && if pieces.trim().is_empty() { began_empty() } else { !are_whole(pieces) }
    }
}

fn push(size: &mut usize, whole: &mut String, piece: &str) -> Result<(), Error> {
    whole.push_str(piece);
    grow(size, piece.len())
}

fn grow(size: &mut usize, bytes: usize) -> Result<(), Error> {
    *size += bytes;
    if *size > MAX_ANSWER_BYTES { Err(failure::too_large()) } else { Ok(()) }
}

/// What a block comes to; `None`: nothing.
fn part(what: What, model: &str, ids: &mut CallIds<'_>) -> Result<Option<AnswerPart>, Error> {
    Ok(match what {
        What::Text(text) => Some(text).filter(|text| !text.is_empty()).map(AnswerPart::Text),
        // Thinking that was cut has no signature, and is not taken back.
        What::Thought(Thought::Thinking { signature, .. }) if signature.is_empty() => None,
        What::Thought(thought) => Some(AnswerPart::State(thought.seal(model)?)),
        What::Call { name, .. } if name.is_empty() => return Err(failure::unreadable()),
        What::Call { id, name, input, pieces } => {
            let written = [pieces, input].into_iter().find(|text| !text.trim().is_empty());
            let arguments_json = written.filter(|text| text != "null").unwrap_or_else(|| "{}".to_owned());
            Some(AnswerPart::Call(AskedCall { call_id: ids.own(id), name, arguments_json }))
        }
        What::Unknown => None,
    })
}
