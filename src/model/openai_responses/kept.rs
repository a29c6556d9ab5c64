//! What the model wants back as it was, and which is no part of a conversation of ours.
//!
//! Reasoning items, encrypted: without them a model that reasons begins anew after each tool call. And the phase of a
//! message, without which newer models do worse. Ids of messages and of calls need not come back: they name what the API
//! has stored, and here it stores nothing. The id of a reasoning item must.

use serde::{Deserialize, Serialize};

use crate::{
    message::ProviderState,
    model::{Error, failure, state},
};

/// Whose state it is.
const PROVIDER: &str = "openai_responses";

/// A state, which comes back from callers: closed, so that no other item of the API can be slipped in. A reasoning item
/// has the form that the API gives and takes it in, less what it refuses to take (`status`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Kept {
    /// What the model reasoned before the next message or call.
    Reasoning {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        summary: Vec<Summary>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        content: Vec<Thought>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        encrypted_content: Option<String>,
    },
    /// What the next message is.
    Message { phase: Phase },
}

/// A part of a summary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Summary {
    SummaryText { text: String },
}

/// A part of the reasoning itself, which models show that are not OpenAI's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Thought {
    ReasoningText { text: String },
}

/// What a message is in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Phase {
    /// Said on the way.
    Commentary,
    /// The answer itself.
    FinalAnswer,
}

impl Kept {
    /// The state as it travels.
    ///
    /// # Errors
    /// It can't be written, which no known answer causes.
    pub(super) fn seal(&self, model: &str) -> Result<ProviderState, Error> {
        state::seal(PROVIDER, model, self).map_err(failure::unwritable)
    }

    /// The state, if this adapter gave it for this model.
    pub(super) fn open(state: &ProviderState, model: &str) -> Option<Self> {
        state::open(state, PROVIDER, model)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::{Value, json};

    use super::*;

    fn opened(state: &Value) -> Option<Kept> {
        let sealed = json!({"provider": PROVIDER, "model": "m1", "state": state});
        Kept::open(&ProviderState(Bytes::from(sealed.to_string())), "m1")
    }

    #[test]
    fn only_what_was_given_comes_back() {
        let reasoning = json!({
            "type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "s"}],
            "content": [{"type": "reasoning_text", "text": "t"}], "encrypted_content": "e",
        });
        let good = [
            reasoning.clone(),
            json!({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "e"}),
            json!({"type": "message", "phase": "commentary"}),
            json!({"type": "message", "phase": "final_answer"}),
        ];
        for state in good {
            let kept = opened(&state).unwrap_or_else(|| panic!("{state}"));
            assert_eq!(serde_json::to_value(&kept).unwrap(), state);
            assert_eq!(Kept::open(&kept.seal("m1").unwrap(), "m1"), Some(kept.clone()));
            assert_eq!(Kept::open(&kept.seal("m2").unwrap(), "m1"), None);
        }
        let mut more = reasoning.clone();
        more["role"] = "system".into();
        let mut deeper = reasoning.clone();
        deeper["summary"][0]["file_id"] = "f".into();
        let mut other = reasoning;
        other["content"][0]["type"] = "input_text".into();
        let bad = [
            more,
            deeper,
            other,
            json!({"type": "message", "phase": "commentary", "role": "system", "content": "x"}),
            json!({"type": "message", "phase": "other"}),
            json!({"type": "item_reference", "id": "msg_1"}),
            json!({"type": "function_call_output", "call_id": "c", "output": "x"}),
            json!({"type": "reasoning", "encrypted_content": "e"}),
            json!([]),
        ];
        for state in bad {
            assert_eq!(opened(&state), None, "{state}");
        }
    }
}
