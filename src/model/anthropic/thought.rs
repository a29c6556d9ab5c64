//! Thinking blocks, which the API wants back as they were: it checks their signatures.

use serde::{Deserialize, Serialize};

use super::PROVIDER;
use crate::{
    message::ProviderState,
    model::{Error, failure, state},
};

/// A thinking block. What a caller brings back is read by this type, too: no other block can pass for one.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Thought {
    /// What the model thought; the text may be empty, as the signature holds it.
    Thinking {
        /// What is shown of it.
        thinking: String,
        /// The signature.
        signature: String,
    },
    /// What the model thought, encrypted.
    RedactedThinking {
        /// The ciphertext.
        data: String,
    },
}

impl Thought {
    /// The block as it travels through the caller.
    ///
    /// # Errors
    /// It can't be written, which no known block causes.
    pub(super) fn seal(&self, model: &str) -> Result<ProviderState, Error> {
        state::seal(PROVIDER, model, self).map_err(failure::unwritable)
    }

    /// The block, if this model made it.
    pub(super) fn open(state: &ProviderState, model: &str) -> Option<Self> {
        state::open(state, PROVIDER, model)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn only_thinking_blocks_come_back() {
        let open = |block: Value| Thought::open(&state::seal(PROVIDER, "m1", &block).unwrap(), "m1");
        let (thinking, signature) = ("Hm.\n".to_owned(), "c2ln".to_owned());
        let block = json!({"type": "thinking", "thinking": "Hm.\n", "signature": "c2ln"});
        assert_eq!(open(block.clone()), Some(Thought::Thinking { thinking, signature }));
        let redacted = json!({"type": "redacted_thinking", "data": "x"});
        assert_eq!(open(redacted), Some(Thought::RedactedThinking { data: "x".to_owned() }));
        let others = [
            json!({"type": "text", "text": "x"}),
            json!({"type": "thinking", "thinking": "x", "signature": "y", "cache_control": {"type": "ephemeral"}}),
            json!({"type": "redacted_thinking", "data": ["x"]}),
            json!([block]),
        ];
        for other in others {
            assert_eq!(open(other.clone()), None, "{other}");
        }
    }
}
