//! What is asked for beyond the answer, and which models are known not to give it.
//!
//! Encrypted reasoning is wanted with every answer, but a model that does not reason refuses a request that asks for it
//! (400, `param: include`). A summary of the reasoning is wanted where somebody watches a model reason, but is refused to
//! organisations that OpenAI has not verified (400, `param: reasoning.summary`). Neither can be asked beforehand: names
//! tell something of OpenAI's own models, and nothing of deployments and imitations. So a refusal is learnt from.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::model::{ReasoningEffort, Request, Settings};

/// How names of OpenAI's models begin that do not reason and refuse to be asked for reasoning. There will be no more.
const NOT_REASONING: [&str; 4] = ["gpt-3.5", "gpt-4", "chatgpt-4o", "gpt-5-chat"];

/// What is asked for beyond the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extras {
    /// The encrypted reasoning, which the model wants back.
    pub(super) reasoning: bool,
    /// A summary of it for people.
    pub(super) summary: bool,
}

/// Which extras there are of a model, as far as that is known.
pub(super) struct Known {
    reasoning: AtomicBool,
    summary: AtomicBool,
}

impl Known {
    /// What the name of a model tells, which gateways put their own before: `openai/gpt-4o`.
    pub(super) fn of(model: &str) -> Self {
        let name = model.rsplit_once('/').map_or(model, |(_, name)| name);
        let reasons = !NOT_REASONING.iter().any(|begin| name.starts_with(begin));
        Self { reasoning: reasons.into(), summary: true.into() }
    }

    /// What to ask for. A summary only of a model that was told to reason, and so is one that can, and only where the
    /// answer is streamed: nobody sees it else.
    pub(super) fn extras(&self, settings: &Settings, streamed: bool) -> Extras {
        let told_to_reason = settings.reasoning_effort.is_some_and(|effort| effort != ReasoningEffort::None);
        Extras {
            reasoning: self.reasoning.load(Ordering::Relaxed),
            summary: streamed && told_to_reason && self.summary.load(Ordering::Relaxed),
        }
    }

    /// Notes which of the extras that were asked for are not given. What a caller's own headers brought about, such as
    /// another organisation's key, says nothing of other callers.
    pub(super) fn learn(&self, asked: Extras, given: Extras, request: &Request<'_>) {
        if request.headers.headers().is_empty() && request.headers.removed().is_empty() {
            self.reasoning.fetch_and(given.reasoning || !asked.reasoning, Ordering::Relaxed);
            self.summary.fetch_and(given.summary || !asked.summary, Ordering::Relaxed);
        }
    }
}

impl Extras {
    /// The extras without the one that this parameter of the request asked for; `None`: it asked for none of them.
    pub(super) fn without(self, param: &str) -> Option<Self> {
        let fewer = match param {
            "include" => Self { reasoning: false, ..self },
            "reasoning.summary" => Self { summary: false, ..self },
            _ => self,
        };
        (fewer != self).then_some(fewer)
    }
}
