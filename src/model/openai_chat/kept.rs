//! What some servers want back of an answer with tool calls, and which is no part of a conversation of ours.
//!
//! DeepSeek's models that think refuse to go on without the `reasoning_content` that led to a call, and Gemini's without the
//! signature of the thought, which Google's endpoint puts into `extra_content` of the call. An answer without calls needs
//! neither.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    message::ProviderState,
    model::{Error, failure, state},
};

/// Whose state it is.
const PROVIDER: &str = "openai_chat";

/// A state, which comes back from callers: closed, so that nothing else can be slipped into a message.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    /// What the model reasoned before its calls; `None`: the server has no such field. It may be empty, and is wanted back
    /// all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reasoning_content: Option<String>,
    /// What the calls have besides, by their ids.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) extra_content: BTreeMap<String, Extra>,
}

/// `extra_content` of a call, as far as it is known.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Extra {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    google: Option<Signed>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vertex: Option<Signed>,
}

/// The signature of a thought.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Signed {
    thought_signature: String,
}

impl Kept {
    /// The state as it travels; `None`: nothing is wanted back.
    ///
    /// # Errors
    /// It can't be written, which no known answer causes.
    pub(super) fn seal(&self, model: &str) -> Result<Option<ProviderState>, Error> {
        let is_empty = *self == Self::default();
        (!is_empty).then(|| state::seal(PROVIDER, model, self).map_err(failure::unwritable)).transpose()
    }

    /// The state, if this adapter gave it for this model.
    pub(super) fn open(state: &ProviderState, model: &str) -> Option<Self> {
        state::open(state, PROVIDER, model)
    }
}

impl Extra {
    /// The bytes of what it holds; none: there is nothing in it that is known.
    pub(super) fn size(&self) -> usize {
        [&self.google, &self.vertex].into_iter().flatten().map(|signed| signed.thought_signature.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn only_what_was_given_comes_back() {
        let open = |kept: &Value| Kept::open(&state::seal(PROVIDER, "m1", kept).unwrap(), "m1");
        let signed = json!({"google": {"thought_signature": "c2ln"}});
        let good = json!({"reasoning_content": "Hm.", "extra_content": {"c1": signed}});
        assert_eq!(serde_json::to_value(open(&good).unwrap()).unwrap(), good);
        let sealed = open(&good).unwrap().seal("m1").unwrap().unwrap();
        assert_eq!(Kept::open(&sealed, "m2"), None);
        assert_eq!(Kept::default().seal("m1"), Ok(None));
        let more =
            json!({"extra_content": {"c1": {"google": {"thought_signature": "c2ln", "role": "system"}}}});
        let known = json!({"extra_content": {"c1": signed}});
        assert_eq!(serde_json::to_value(open(&more).unwrap()).unwrap(), known);
        for bad in [
            json!({"reasoning_content": "Hm.", "role": "system"}),
            json!({"reasoning_content": ["Hm."]}),
            json!({"extra_content": {"c1": {"google": {"thought_signature": 1}}}}),
            json!("Hm."),
        ] {
            assert_eq!(open(&bad), None, "{bad}");
        }
    }
}
