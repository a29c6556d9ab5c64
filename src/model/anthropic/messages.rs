//! The conversation as the API reads it.
//!
//! It has rules that other providers do not have. Text may not be blank, nor end in whitespace where the model is to go on
//! with it. A model that is not to think is not told what it thought. A tool's results come first in the message behind its call; a failed one has text alone. Calls' ids have a
//! narrow alphabet, and their arguments are objects. Consecutive messages of one side may stay: the API joins them.

use std::borrow::Cow;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value, value::RawValue};

use super::thought::Thought;
use crate::{
    message::{AssistantPart, Image, ImageSource, Message, ToolCall, ToolResult, UserPart},
    model::call_ids,
};

/// A conversation with a model.
pub(super) struct Conversation<'a> {
    model: &'a str,
    messages: &'a [Message],
    /// Where the model's turn begins: behind the last message with which the user began it.
    turn: usize,
    /// Whether the model is told what it thought in its turn.
    thoughts: bool,
}

#[derive(Serialize)]
struct Entry<'a> {
    role: &'static str,
    content: Vec<Block<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Block<'a> {
    Thought(Thought),
    Other(Other<'a>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Other<'a> {
    Text {
        text: Cow<'a, str>,
    },
    Image {
        source: Source<'a>,
    },
    ToolUse {
        id: Cow<'a, str>,
        name: &'a str,
        input: &'a RawValue,
    },
    ToolResult {
        tool_use_id: Cow<'a, str>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        content: Vec<Block<'a>>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
    },
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Source<'a> {
    Base64 { media_type: &'a str, data: &'a str },
    Url { url: &'a str },
}

impl<'a> Conversation<'a> {
    /// The conversation, for this model.
    pub(super) fn new(model: &'a str, messages: &'a [Message]) -> Self {
        let is_users = |message: &Message| matches!(message, Message::User { .. });
        let (begun, said) = messages
            .split_at(messages.iter().rposition(|message| !is_users(message)).map_or(0, |last| last + 1));
        // What a user says directly behind a tool's results the API joins to them: the turn goes on.
        let goes_on = said.is_empty() || matches!(begun.last(), Some(Message::Tool { .. }));
        let before = if goes_on { begun } else { messages };
        let turn = before.iter().rposition(is_users).map_or(0, |last| last + 1);
        Self { model, messages, turn, thoughts: true }
    }

    /// The conversation for a model that does not think: the API refuses thinking there, also in the turn that it began with.
    pub(super) fn without_thoughts(self) -> Self {
        Self { thoughts: false, ..self }
    }

    /// Whether the model's turn, if it has begun, began with thinking of its own. With a budget for thinking, the API
    /// refuses to go on with another.
    pub(super) fn is_resumable(&self) -> bool {
        let mut entries = (self.turn..self.messages.len()).filter_map(|place| self.entry(place));
        entries.next().is_none_or(|first| matches!(first.content.first(), Some(Block::Thought(_))))
    }

    /// The message at a place; `None`: nothing is left of it.
    fn entry(&self, place: usize) -> Option<Entry<'a>> {
        let (role, content) = match self.messages.get(place)? {
            Message::User { parts } => ("user", asked(parts)),
            Message::Assistant { parts } => ("assistant", self.answered(place, parts)),
            Message::Tool { results } => ("user", given_back(results)),
        };
        (!content.is_empty()).then_some(Entry { role, content })
    }

    fn answered(&self, place: usize, parts: &'a [AssistantPart]) -> Vec<Block<'a>> {
        let is_last = place + 1 == self.messages.len();
        // In a turn that is over, thinking is of no more use, and newer models refuse it where the system prompt or the
        // tools are not those that it began with.
        let thoughts = self.thoughts && place >= self.turn && !is_last;
        let block = |part: &'a AssistantPart| match part {
            AssistantPart::Text(text) => said_text(text),
            AssistantPart::Call(call) => Some(called(call)),
            AssistantPart::State(state) if thoughts => Thought::open(state, self.model).map(Block::Thought),
            AssistantPart::State(_) => None,
        };
        let mut blocks: Vec<_> = parts.iter().filter_map(block).collect();
        // No message may end in thinking.
        while blocks.pop_if(|block| matches!(block, Block::Thought(_))).is_some() {}
        if let (true, Some(Block::Other(Other::Text { text: Cow::Borrowed(text) }))) =
            (is_last, blocks.last_mut())
        {
            *text = text.trim_end();
        }
        blocks
    }
}

impl Serialize for Conversation<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((0..self.messages.len()).filter_map(|place| self.entry(place)))
    }
}

/// What a user says, which is something: else the model would go on with what it said before.
fn asked(parts: &[UserPart]) -> Vec<Block<'_>> {
    let blocks: Vec<_> = parts.iter().filter_map(said).collect();
    if blocks.is_empty() { vec![own_text("[An empty message]".to_owned())] } else { blocks }
}

fn said(part: &UserPart) -> Option<Block<'_>> {
    match part {
        UserPart::Text(text) => said_text(text),
        UserPart::Image(image) => Some(shown(image)),
    }
}

fn said_text(text: &str) -> Option<Block<'_>> {
    (!text.trim().is_empty()).then_some(Block::Other(Other::Text { text: Cow::Borrowed(text) }))
}

fn shown(image: &Image) -> Block<'_> {
    Block::Other(Other::Image {
        source: match &image.source {
            ImageSource::Base64(data) => Source::Base64 { media_type: &image.media_type, data },
            ImageSource::Url(url) => Source::Url { url },
        },
    })
}

fn called(call: &ToolCall) -> Block<'_> {
    // Looked into to the end: the API would refuse a number out of range, or half a surrogate pair.
    let is_object = |text| serde_json::from_str::<Map<String, Value>>(text).is_ok();
    let object = |text| serde_json::from_str::<&RawValue>(text).ok().filter(|_| is_object(text));
    // What is no object the model has been told of: the call failed.
    let input = object(call.arguments_json.trim()).or_else(|| object("{}")).unwrap_or(RawValue::NULL);
    Block::Other(Other::ToolUse { id: id(&call.call_id), name: &call.name, input })
}

/// All results of a turn; behind them the images of those that failed.
fn given_back(results: &[ToolResult]) -> Vec<Block<'_>> {
    let failed = results.iter().filter(|result| result.is_error);
    results.iter().map(result).chain(failed.flat_map(|result| &result.images).map(seen)).collect()
}

fn result(result: &ToolResult) -> Block<'_> {
    let ToolResult { call_id, text, images, is_error } = result;
    let text = said_text(text);
    let content = if *is_error {
        // Something has to be said of a failure.
        vec![text.unwrap_or_else(|| own_text("The tool failed.".to_owned()))]
    } else {
        text.into_iter().chain(images.iter().map(seen)).collect()
    };
    Block::Other(Other::ToolResult { tool_use_id: id(call_id), content, is_error: *is_error })
}

/// A tool's image, or word of it: one that the API does not take must not end the run.
fn seen(image: &Image) -> Block<'_> {
    let is_taken =
        matches!(image.source, ImageSource::Url(_)) || Image::MEDIA_TYPES.contains(&&*image.media_type);
    let word = || own_text(format!("[An image of the type {}, which can't be shown]", image.media_type));
    if is_taken { shown(image) } else { word() }
}

fn own_text(text: String) -> Block<'static> {
    Block::Other(Other::Text { text: Cow::Owned(text) })
}

/// The id of a call, which has to match `^[a-zA-Z0-9_-]+$`. Another provider's that does not gives always the same.
fn id(call_id: &str) -> Cow<'_, str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !call_id.is_empty() && call_id.bytes().all(allowed) {
        return Cow::Borrowed(call_id);
    }
    Cow::Owned(call_ids::instead_of(call_id, "toolu_"))
}
