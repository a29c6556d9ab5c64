//! An answer as a whole: the object that is the body of one, or the last event's.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{assembly::Assembly, item};
use crate::{
    message,
    model::{Answer, Error, Request, Stop, events::Assembly as _, failure, reported, spent::Attempt},
};

/// Reads a whole answer.
///
/// # Errors
/// It can't be read, or is an error.
pub(super) fn whole(
    body: &[u8],
    mut assembly: Assembly<'_>,
    request: &Request<'_>,
    attempt: &mut Attempt<'_>,
) -> Result<Answer, Error> {
    let response: Response<'_> = serde_json::from_slice(body).map_err(|_| failure::unreadable())?;
    let has_output = response.output.is_some();
    let ended = assembly.end(response);
    attempt.tell(assembly.usage());
    ended?;
    if !has_output {
        return Err(failure::unreadable());
    }
    assembly.finish(request)
}

/// What a whole answer shows of the reasoning, with an empty line between its parts as in a stream. What can't be read of it
/// is left out: it is no part of the answer.
pub(super) fn reasoning(body: &[u8]) -> String {
    let response: Response<'_> = serde_json::from_slice(body).unwrap_or_default();
    let items = response.output.into_iter().flatten();
    let parts: Vec<_> = items.flat_map(|raw| item::shown(raw).unwrap_or_default()).collect();
    parts.join("\n\n")
}

/// An answer.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Response<'a> {
    status: Option<String>,
    #[serde(borrow)]
    incomplete_details: Option<Incomplete<'a>>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) output: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Incomplete<'a> {
    #[serde(borrow)]
    reason: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Usage {
    input_tokens: Option<f64>,
    output_tokens: Option<f64>,
    total_tokens: Option<f64>,
    input_tokens_details: Option<InputDetails>,
    output_tokens_details: Option<OutputDetails>,
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

impl Response<'_> {
    /// Why the answer ends. A reason that is not known is as good as the limit: something is lacking.
    ///
    /// # Errors
    /// It is no answer, but says what went wrong.
    pub(super) fn stop(&self) -> Result<Stop, Error> {
        if self.is_failure() {
            return Err(self.error.map_or_else(failure::reported, reported::error));
        }
        let reason = self.incomplete_details.as_ref().and_then(|incomplete| incomplete.reason);
        Ok(match (self.status.as_deref(), reason.map(RawValue::get)) {
            (_, Some("\"content_filter\"")) => Stop::ContentFilter,
            (Some("incomplete"), _) | (_, Some(_)) => Stop::OutputLimit,
            _ => Stop::End,
        })
    }

    /// What it says of tokens, if that can be read.
    pub(super) fn usage(&self) -> Option<message::Usage> {
        self.usage.and_then(|raw| serde_json::from_str::<Usage>(raw.get()).ok()).map(Into::into)
    }

    fn is_failure(&self) -> bool {
        self.error.is_some() || matches!(self.status.as_deref(), Some("failed" | "cancelled"))
    }
}

impl From<Usage> for message::Usage {
    fn from(usage: Usage) -> Self {
        let (input, output) = (count(usage.input_tokens), count(usage.output_tokens));
        let total = count(usage.total_tokens);
        Self {
            input_tokens: input,
            output_tokens: output,
            total_tokens: if total > 0 { total } else { input.saturating_add(output) },
            cached_input_tokens: count(usage.input_tokens_details.and_then(|d| d.cached_tokens)),
            reasoning_tokens: count(usage.output_tokens_details.and_then(|d| d.reasoning_tokens)),
            model_requests: 1,
        }
    }
}

/// A count of tokens; the cast saturates.
fn count(tokens: Option<f64>) -> i64 {
    tokens.map_or(0, |tokens| (tokens as i64).max(0))
}
