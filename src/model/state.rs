//! What a provider gives with an answer and wants back as it was, such as encrypted reasoning or its signature.
//!
//! It travels through the caller as opaque bytes: JSON that says whose it is. An adapter gives its provider back only what
//! that provider gave for the same model; another's is left out, and the conversation goes on without it. What comes from
//! a caller is read by the same types as what comes from the provider, so nothing else can be slipped into a request.

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::message::ProviderState;

#[derive(Serialize)]
struct Sealed<'a, T> {
    provider: &'a str,
    model: &'a str,
    state: T,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Opened<'a> {
    #[serde(borrow)]
    provider: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    model: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    state: &'a RawValue,
}

/// The state that a provider gave for a model.
///
/// # Errors
/// It can't be written as JSON.
pub(super) fn seal(
    provider: &str,
    model: &str,
    state: &impl Serialize,
) -> Result<ProviderState, serde_json::Error> {
    let sealed = Sealed { provider, model, state };
    Ok(ProviderState(Bytes::from(serde_json::to_vec(&sealed)?)))
}

/// The state, if this provider gave it for this model.
pub(super) fn open<T: DeserializeOwned>(state: &ProviderState, provider: &str, model: &str) -> Option<T> {
    let opened: Opened<'_> = serde_json::from_slice(&state.0).ok()?;
    let own = opened.provider == provider && opened.model == model;
    own.then(|| serde_json::from_str(opened.state.get()).ok())?
}

/// Whether bytes are a state that some provider gave, as far as that can be seen from outside.
pub fn is_state(bytes: &[u8]) -> bool {
    serde_json::from_slice::<Opened<'_>>(bytes).is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_state_goes_back_to_its_own_provider_and_model_alone() {
        let given = json!({"signature": "c2ln", "thinking": "Hm, \"so\"."});
        let state = seal("anthropic", "m\u{FC}1", &given).unwrap();
        assert_eq!(open::<Value>(&state, "anthropic", "m\u{FC}1"), Some(given));
        assert_eq!(open::<Value>(&state, "openai", "m\u{FC}1"), None);
        assert_eq!(open::<Value>(&state, "anthropic", "m2"), None);
        assert!(is_state(&state.0));
    }

    #[test]
    fn what_no_provider_gave_is_no_state() {
        let cases: [&[u8]; 4] = [b"", b"{}", b"\xff", br#"{"provider":"p","model":"m","state":1,"more":2}"#];
        for bytes in cases {
            assert!(!is_state(bytes), "{bytes:?}");
            assert_eq!(open::<Value>(&ProviderState(Bytes::from_static(bytes)), "p", "m"), None);
        }
    }
}
