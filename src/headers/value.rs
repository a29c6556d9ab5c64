//! Header values as secrets.

use http::HeaderValue;

use super::rules::{self, Refusal};

/// A header's value. It has no `Debug`, no `Display` and no `Serialize`, and is marked sensitive for HTTP, so that HPACK
/// does not index it (RFC 7541 section 7.1.3) and `http`'s own `Debug` hides it.
#[derive(Clone)]
pub struct SecretValue(HeaderValue);

impl SecretValue {
    /// Takes a value that may be sent.
    ///
    /// # Errors
    /// The value is refused by [`rules::check_value`].
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        rules::check_value(text)?;
        let mut value = HeaderValue::from_str(text).map_err(|_| Refusal::ValueCharacter)?;
        value.set_sensitive(true);
        Ok(Self(value))
    }

    /// The value for an HTTP request.
    pub fn as_header(&self) -> &HeaderValue {
        &self.0
    }

    /// The value's bytes, to be digested or compared.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}
