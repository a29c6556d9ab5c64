//! An answer as the API writes it. Fields that are absent, null or unknown are no error; nor is a usage that makes no sense.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::assembly::Assembly;
use crate::{
    message,
    model::{
        Answer, Error, Request, Stop,
        events::{Assembly as _, Pieces},
        failure, reported,
        spent::Attempt,
    },
};

/// Reads a whole answer; adds what of it is passed on where it was to be streamed.
///
/// # Errors
/// It can't be read, or is an error.
pub(super) fn whole(
    body: &[u8],
    mut assembly: Assembly<'_>,
    request: &Request<'_>,
    attempt: &mut Attempt<'_>,
    pieces: &mut Pieces,
) -> Result<Answer, Error> {
    let message: Message<'_> = serde_json::from_slice(body).map_err(|_| failure::unreadable())?;
    assembly.end(message.stop_reason.as_deref(), message.usage);
    attempt.tell(assembly.usage());
    if let Some(error) = message.error {
        return Err(reported::error(error));
    }
    // Some imitations have null for an answer that says nothing.
    if message.content.is_none() && !assembly.has_ended() {
        return Err(failure::unreadable());
    }
    for block in message.content.into_iter().flatten() {
        assembly.begin(None, block, pieces)?;
        assembly.end_block(None);
    }
    assembly.finish(request)
}

/// A message: a whole answer, or what a stream begins with.
#[derive(Deserialize)]
pub(super) struct Message<'a> {
    #[serde(borrow, default)]
    content: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    stop_reason: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

/// An event of a stream. Its kind decides what of it is read further.
#[derive(Deserialize)]
pub(super) struct Event<'a> {
    #[serde(borrow, default, rename = "type")]
    pub(super) kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) index: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) message: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) content_block: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) delta: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) error: Option<&'a RawValue>,
}

/// What says of itself what it is. What it is decides which of the types below reads it.
#[derive(Deserialize)]
pub(super) struct Typed<'a> {
    #[serde(borrow, default, rename = "type")]
    pub(super) kind: Option<Cow<'a, str>>,
}

/// Text.
#[derive(Deserialize)]
pub(super) struct Text {
    #[serde(default)]
    pub(super) text: Option<String>,
}

/// A thinking block.
#[derive(Deserialize)]
pub(super) struct Thinking {
    #[serde(default)]
    pub(super) thinking: Option<String>,
    #[serde(default)]
    pub(super) signature: Option<String>,
}

/// A thinking block that is encrypted.
#[derive(Deserialize)]
pub(super) struct RedactedThinking {
    #[serde(default)]
    pub(super) data: Option<String>,
}

/// A tool call.
#[derive(Deserialize)]
pub(super) struct ToolUse<'a> {
    #[serde(default)]
    pub(super) id: Option<String>,
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(borrow, default)]
    pub(super) input: Option<&'a RawValue>,
}

/// A piece of a block.
#[derive(Deserialize)]
#[serde(tag = "type")]
pub(super) enum Delta {
    /// Of a text.
    #[serde(rename = "text_delta")]
    Text {
        #[serde(default)]
        text: Option<String>,
    },
    /// Of thinking.
    #[serde(rename = "thinking_delta")]
    Thinking {
        #[serde(default)]
        thinking: Option<String>,
    },
    /// Of the signature of thinking.
    #[serde(rename = "signature_delta")]
    Signature {
        #[serde(default)]
        signature: Option<String>,
    },
    /// Of a call's arguments.
    #[serde(rename = "input_json_delta")]
    InputJson {
        #[serde(default)]
        partial_json: Option<String>,
    },
    /// Of something else.
    #[serde(other)]
    Other,
}

/// A change of the message as a whole.
#[derive(Deserialize)]
pub(super) struct End<'a> {
    #[serde(borrow, default)]
    pub(super) stop_reason: Option<Cow<'a, str>>,
}

/// Counts of tokens. A stream gives them twice, those at its end cumulative.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(super) struct Usage {
    input_tokens: Option<f64>,
    cache_creation_input_tokens: Option<f64>,
    cache_read_input_tokens: Option<f64>,
    output_tokens: Option<f64>,
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct OutputDetails {
    thinking_tokens: Option<f64>,
}

/// Reads a part of an answer.
///
/// # Errors
/// It is not what the API says.
pub(super) fn read<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Result<T, Error> {
    serde_json::from_str(raw.get()).map_err(|_| failure::unreadable())
}

/// Why an answer ends, if it does; a reason that is not known is as good as `end_turn`.
pub(super) fn stop(reason: &str) -> Option<Stop> {
    match reason {
        "" => None,
        "max_tokens" | "model_context_window_exceeded" => Some(Stop::OutputLimit),
        "refusal" => Some(Stop::ContentFilter),
        _ => Some(Stop::End),
    }
}

impl Usage {
    /// The usage, if it can be read.
    pub(super) fn read(raw: &RawValue) -> Option<Self> {
        serde_json::from_str(raw.get()).ok()
    }

    /// The larger of each count: what a later one leaves out, or has as zero, an earlier one may have.
    pub(super) fn max(self, other: Self) -> Self {
        let larger = |a: Option<f64>, b: Option<f64>| a.map_or(b, |a| Some(b.map_or(a, |b| a.max(b))));
        let thinking = |usage: Self| usage.output_tokens_details.and_then(|details| details.thinking_tokens);
        let thinking_tokens = larger(thinking(self), thinking(other));
        Self {
            input_tokens: larger(self.input_tokens, other.input_tokens),
            cache_creation_input_tokens: larger(
                self.cache_creation_input_tokens,
                other.cache_creation_input_tokens,
            ),
            cache_read_input_tokens: larger(self.cache_read_input_tokens, other.cache_read_input_tokens),
            output_tokens: larger(self.output_tokens, other.output_tokens),
            output_tokens_details: Some(OutputDetails { thinking_tokens }),
        }
    }
}

impl From<Usage> for message::Usage {
    fn from(usage: Usage) -> Self {
        let cached = count(usage.cache_read_input_tokens);
        let uncached = count(usage.input_tokens).saturating_add(count(usage.cache_creation_input_tokens));
        let (input, output) = (uncached.saturating_add(cached), count(usage.output_tokens));
        Self {
            input_tokens: input,
            output_tokens: output,
            total_tokens: input.saturating_add(output),
            cached_input_tokens: cached,
            reasoning_tokens: count(usage.output_tokens_details.and_then(|d| d.thinking_tokens)),
            model_requests: 1,
        }
    }
}

/// A count of tokens; the cast saturates.
fn count(tokens: Option<f64>) -> i64 {
    tokens.map_or(0, |tokens| (tokens as i64).max(0))
}
