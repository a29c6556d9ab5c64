//! An answer as providers write it, whole or in chunks. Both are read with the same types: a whole answer is one large
//! chunk. Fields that are absent, null or unknown are no error; nor is a usage that makes no sense.

use std::{fmt, marker::PhantomData, mem};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::value::RawValue;

use super::{assembly::Assembly, kept::Extra};
use crate::{
    message,
    model::{
        Answer, Error, MAX_CALLS, Request, Stop, events::Assembly as _, failure, reported, spent::Attempt,
    },
};

/// Reads a whole answer, and the reasoning that came with it.
///
/// # Errors
/// [`Error::Unavailable`]: it can't be read, or is an error.
pub(super) fn whole(
    body: &[u8],
    mut assembly: Assembly<'_>,
    request: &Request<'_>,
    attempt: &mut Attempt<'_>,
) -> Result<(String, Answer), Error> {
    let chunk: Chunk<'_> = serde_json::from_slice(body).map_err(|_| failure::unreadable())?;
    let has_choice = chunk.choice().is_some();
    let shown = assembly.add(chunk);
    attempt.tell(assembly.usage());
    let Shown { reasoning, .. } = shown?;
    if !has_choice {
        return Err(failure::unreadable());
    }
    Ok((reasoning, assembly.finish(request)?))
}

/// What a message, or a piece of it, has for readers.
#[derive(Default)]
pub(super) struct Shown {
    /// Reasoning that the server shows.
    pub(super) reasoning: String,
    /// Whether it came as `reasoning_content`.
    pub(super) is_wanted_back: bool,
    /// Text of the answer, a refusal's included.
    pub(super) text: String,
    /// Whether some of the text is a refusal.
    pub(super) is_refusal: bool,
}

/// A whole answer, or a chunk of a streamed one.
#[derive(Deserialize)]
pub(super) struct Chunk<'a> {
    #[serde(borrow, default)]
    choices: Choices<'a>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

/// The answers, of which none but the first is kept: small ones without number would fill the memory.
#[derive(Default)]
struct Choices<'a>(Option<Choice<'a>>);

/// One of several answers; only one is ever asked for.
#[derive(Deserialize)]
pub(super) struct Choice<'a> {
    #[serde(borrow, default)]
    message: Option<Delta<'a>>,
    #[serde(borrow, default)]
    delta: Option<Delta<'a>>,
    #[serde(default)]
    finish_reason: Option<String>,
    /// Why it is none, or not all of one. OpenRouter's.
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

/// A message or a piece of it.
#[derive(Default, Deserialize)]
pub(super) struct Delta<'a> {
    #[serde(default)]
    content: Text,
    #[serde(default)]
    refusal: Text,
    #[serde(borrow, default)]
    reasoning_content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    reasoning: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) tool_calls: Calls<'a>,
}

/// Tool calls or pieces of them, of which no more are kept than tell that there are too many.
#[derive(Default)]
pub(super) struct Calls<'a>(Vec<CallDelta<'a>>);

/// A tool call or a piece of it.
#[derive(Deserialize)]
pub(super) struct CallDelta<'a> {
    #[serde(default)]
    pub(super) index: Option<i64>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    function: Option<Function<'a>>,
    #[serde(borrow, default)]
    extra_content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(default)]
    name: Option<String>,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
}

/// Text: a string, null, a part `{"text": …}` or `{"refusal": …}`, or an array of these.
#[derive(Default)]
struct Text {
    text: String,
    is_refusal: bool,
}

#[derive(Deserialize)]
struct TextPart {
    #[serde(default)]
    text: Text,
    #[serde(default)]
    refusal: Text,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Usage {
    prompt_tokens: Option<f64>,
    completion_tokens: Option<f64>,
    total_tokens: Option<f64>,
    prompt_tokens_details: Option<InputDetails>,
    completion_tokens_details: Option<OutputDetails>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct InputDetails {
    cached_tokens: Option<f64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OutputDetails {
    reasoning_tokens: Option<f64>,
}

impl<'a> Chunk<'a> {
    fn choice(&self) -> Option<&Choice<'a>> {
        self.choices.0.as_ref()
    }

    /// What went wrong, if the chunk says so.
    pub(super) fn failure(&self) -> Option<Error> {
        let error = self.error.or_else(|| self.choice().and_then(|choice| choice.error));
        let failed = || self.choice().is_some_and(Choice::has_failed).then(failure::failing);
        error.map(reported::error).or_else(failed)
    }

    /// What the chunk says of tokens, and its choice.
    pub(super) fn into_parts(self) -> (Option<message::Usage>, Option<Choice<'a>>) {
        let usage = self.usage.and_then(|raw| serde_json::from_str::<Usage>(raw.get()).ok()).map(Into::into);
        (usage, self.choices.0)
    }
}

impl<'a> Choice<'a> {
    /// Why the answer ends, if it does; a reason that is not known is as good as `stop`.
    pub(super) fn stop(&self) -> Option<Stop> {
        match self.finish_reason.as_deref()? {
            "" => None,
            "length" | "model_length" | "max_tokens" => Some(Stop::OutputLimit),
            "content_filter" | "sensitive" => Some(Stop::ContentFilter),
            _ => Some(Stop::End),
        }
    }

    /// Whether the server says that it failed at it, and nothing more: OpenRouter, Mistral and vLLM, DeepSeek, and Z.ai.
    fn has_failed(&self) -> bool {
        let failures = ["error", "insufficient_system_resource", "network_error"];
        self.finish_reason.as_deref().is_some_and(|reason| failures.contains(&reason))
    }

    /// The piece. The calls of a whole message are numbered by their place.
    pub(super) fn into_delta(self) -> Delta<'a> {
        let mut whole = self.message.unwrap_or_default();
        for (place, call) in (0..).zip(&mut whole.tool_calls.0) {
            call.index = Some(place);
        }
        self.delta.unwrap_or(whole)
    }
}

impl Delta<'_> {
    /// What it has for readers, taken out. Reasoning has two names, and a server that knows both means the same by them:
    /// DeepSeek's, which LiteLLM has too, and OpenRouter's, which Ollama and later versions of vLLM have.
    pub(super) fn take_shown(&mut self) -> Shown {
        let names = [self.reasoning_content, self.reasoning];
        let reasoning = names.into_iter().flatten().find_map(text_of).unwrap_or_default();
        let is_wanted_back = self.reasoning_content.is_some_and(|value| value.get().starts_with('"'));
        let refusal = mem::take(&mut self.refusal).into_refusal();
        let Text { text, is_refusal } = mem::take(&mut self.content).and(refusal);
        Shown { reasoning, is_wanted_back, text, is_refusal }
    }
}

impl Text {
    fn and(mut self, other: Self) -> Self {
        self.text.push_str(&other.text);
        Self { text: self.text, is_refusal: self.is_refusal || other.is_refusal }
    }

    fn into_refusal(self) -> Self {
        Self { is_refusal: !self.text.is_empty(), text: self.text }
    }
}

impl<'a> Calls<'a> {
    /// All of them.
    ///
    /// # Errors
    /// There are more than are looked at.
    pub(super) fn all(self) -> Result<Vec<CallDelta<'a>>, Error> {
        if self.0.len() > MAX_CALLS { Err(failure::too_many_calls()) } else { Ok(self.0) }
    }
}

impl CallDelta<'_> {
    /// What it has besides, as far as that is known.
    pub(super) fn extra(&self) -> Option<Extra> {
        let extra = self.extra_content.and_then(|raw| serde_json::from_str::<Extra>(raw.get()).ok());
        extra.filter(|extra| extra.size() > 0)
    }

    /// The id, the name and the arguments of the call or of its piece; what is absent is empty.
    ///
    /// # Errors
    /// The arguments are a string that can't be read.
    pub(super) fn into_texts(self) -> Result<[String; 3], Error> {
        let (name, arguments) = self.function.map(|f| (f.name, f.arguments)).unwrap_or_default();
        let arguments = match arguments.map(RawValue::get) {
            None => String::new(),
            Some(text) if text.starts_with('"') => {
                serde_json::from_str(text).map_err(|_| failure::unreadable())?
            }
            Some(object) => object.to_owned(),
        };
        // A number, which some have, is as good as none: providers take none back.
        let id = self.id.and_then(text_of).unwrap_or_default();
        Ok([id, name.unwrap_or_default(), arguments])
    }
}

impl From<Usage> for message::Usage {
    fn from(usage: Usage) -> Self {
        let (input, output) = (count(usage.prompt_tokens), count(usage.completion_tokens));
        let total = count(usage.total_tokens);
        Self {
            input_tokens: input,
            output_tokens: output,
            total_tokens: if total > 0 { total } else { input.saturating_add(output) },
            cached_input_tokens: count(usage.prompt_tokens_details.and_then(|d| d.cached_tokens)),
            reasoning_tokens: count(usage.completion_tokens_details.and_then(|d| d.reasoning_tokens)),
            model_requests: 1,
        }
    }
}

/// The text that a value is, if it is any; not empty.
fn text_of(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok().filter(|text: &String| !text.is_empty())
}

/// A count of tokens; the cast saturates.
fn count(tokens: Option<f64>) -> i64 {
    tokens.map_or(0, |tokens| (tokens as i64).max(0))
}

impl<'de: 'a, 'a> Deserialize<'de> for Choices<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let beginning = deserializer.deserialize_option(BeginningVisitor { most: 1, of: PhantomData })?;
        Ok(Self(beginning.into_iter().next()))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Calls<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let visitor = BeginningVisitor { most: MAX_CALLS + 1, of: PhantomData };
        deserializer.deserialize_option(visitor).map(Self)
    }
}

/// Reads a list, or null, and keeps its beginning.
struct BeginningVisitor<T> {
    most: usize,
    of: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for BeginningVisitor<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_none<E>(self) -> Result<Vec<T>, E> {
        Ok(Vec::new())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<T>, D::Error> {
        deserializer.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut beginning = Vec::new();
        while beginning.len() < self.most {
            let Some(element) = list.next_element()? else { return Ok(beginning) };
            beginning.push(element);
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(beginning)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text or parts of text")
    }

    fn visit_str<E>(self, text: &str) -> Result<Text, E> {
        Ok(Text { text: text.to_owned(), is_refusal: false })
    }

    fn visit_unit<E>(self) -> Result<Text, E> {
        Ok(Text::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Text, A::Error> {
        let mut whole = Text::default();
        while let Some(part) = parts.next_element()? {
            whole = whole.and(part);
        }
        Ok(whole)
    }

    fn visit_map<A: MapAccess<'de>>(self, part: A) -> Result<Text, A::Error> {
        let TextPart { text, refusal } = TextPart::deserialize(MapAccessDeserializer::new(part))?;
        Ok(text.and(refusal.into_refusal()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_calls_without_number_no_more_are_kept_than_tell_it() {
        for (count, kept) in [(1, 1), (MAX_CALLS, MAX_CALLS), (100_000, MAX_CALLS + 1)] {
            let delta = format!(r#"{{"tool_calls":[{}]}}"#, vec!["{}"; count].join(","));
            let Delta { tool_calls: Calls(calls), .. } = serde_json::from_str(&delta).unwrap();
            assert_eq!(calls.len(), kept);
            assert!(calls.capacity() <= 2 * kept.next_power_of_two().max(4), "{}", calls.capacity());
        }
    }
}
