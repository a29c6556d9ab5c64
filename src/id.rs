//! Identifiers: what names a run, a request, a tool call, and what allows to control a run.

use std::{fmt, sync::Arc};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use subtle::ConstantTimeEq;
use uuid::Uuid;

/// A run's name, a UUIDv7 (RFC 9562). It is logged and is no capability; see [`ControlToken`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RunId(Uuid);

impl RunId {
    /// A new id.
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// Reads the hyphenated form.
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().map(Self)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of a caller's request, `x-request-id`: 1 to 128 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// The longest id, in bytes.
    pub const MAX_BYTES: usize = 128;

    /// A new id, a UUIDv7.
    pub fn generate() -> Self {
        Self((&*Uuid::now_v7().hyphenated().encode_lower(&mut Uuid::encode_buffer())).into())
    }

    /// Takes a caller's id; `None` where it is empty, too long or not visible ASCII.
    pub fn parse(text: &str) -> Option<Self> {
        let valid = (1..=Self::MAX_BYTES).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        valid.then(|| Self(text.into()))
    }

    /// The id as it goes into headers.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The capability to control a run: 128 random bits. It has no `Debug` and no `Display`, and is never logged.
#[derive(Clone)]
pub struct ControlToken([u8; 16]);

impl ControlToken {
    /// A new token, from the operating system's random source.
    ///
    /// # Errors
    /// The source fails.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bits = [0; 16];
        getrandom::fill(&mut bits)?;
        Ok(Self(bits))
    }

    /// The token as it is sent to the run's reader: base64url without padding, 22 characters.
    pub fn reveal(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.0)
    }

    /// Whether `text` is this token, in time that does not depend on where they differ.
    pub fn matches(&self, text: &str) -> bool {
        let mut presented = [0; 16];
        let decoded = BASE64_URL_SAFE_NO_PAD.decode_slice(text, &mut presented);
        matches!(decoded, Ok(16)) && bool::from(self.0.ct_eq(&presented))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_visible_ascii_of_bounded_length() {
        assert!(RequestId::parse("abc-1").is_some());
        assert!(RequestId::parse(&"x".repeat(128)).is_some());
        for bad in ["", "a b", "a\n", "ü", &"x".repeat(129)] {
            assert!(RequestId::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn a_control_token_matches_itself_alone() {
        let token = ControlToken::generate().unwrap();
        let revealed = token.reveal();
        assert_eq!(revealed.len(), 22);
        assert!(token.matches(&revealed));
        assert!(!ControlToken::generate().unwrap().matches(&revealed));
        for bad in ["", &revealed[..21], &format!("{revealed}A"), "!"] {
            assert!(!token.matches(bad), "{bad}");
        }
    }
}
