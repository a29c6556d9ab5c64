//! The closed table of what no header may be, in a request or in the configuration.
//!
//! It is the only gate: the MCP library refuses three names, and `http` accepts what servers read in different ways. A
//! `Content-Length: 5` would cut the body; a `Host` would choose another tenant; a `Mcp-Session-Id` another session.

use std::fmt;

use http::HeaderName;

/// The most headers of one set.
pub const MAX_HEADERS: usize = 64;
/// The longest name, in bytes.
pub const MAX_NAME_BYTES: usize = 256;
/// The longest value, in bytes.
pub const MAX_VALUE_BYTES: usize = 16 * 1024;
/// The most bytes of names and values in all of a run's sets together.
pub const MAX_RUN_BYTES: usize = 64 * 1024;

/// Names that the service, HTTP or MCP owns on the wire, in lower case.
const RESERVED_NAMES: [&str; 17] = [
    "baggage",
    "connection",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "last-event-id",
    "range",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "x-request-id",
];

/// Beginnings of such names, in lower case.
const RESERVED_PREFIXES: [&str; 7] = ["accept", "content-", "if-", "mcp-", "proxy-", "sec-", "x-forwarded-"];

/// Parts of a name that make its value a credential.
const CREDENTIAL_PARTS: [&str; 5] = ["credential", "key", "password", "secret", "token"];

/// Why a header is refused. The text names the way out and never a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The value is empty.
    EmptyValue,
    /// The value has a control or non-ASCII character.
    ValueCharacter,
    /// The value begins or ends with a space.
    SurroundingSpace,
    /// The value is over [`MAX_VALUE_BYTES`].
    ValueTooLong,
    /// The name is no token (RFC 9110 section 5.6.2).
    NameNotToken,
    /// The name is over [`MAX_NAME_BYTES`].
    NameTooLong,
    /// The name is one of those that the service, HTTP or MCP owns.
    ReservedName,
    /// The set has the name already, in another case.
    RepeatedName,
    /// The set has the name in `headers` and in `remove`.
    SetAndRemoved,
    /// The set has more than [`MAX_HEADERS`] names.
    TooManyHeaders,
    /// The run's sets together are over [`MAX_RUN_BYTES`].
    RunTooLarge,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EmptyValue => "the value is empty; name the header in `remove` to send none",
            Self::ValueCharacter => "the value may hold only printable ASCII characters",
            Self::SurroundingSpace => "the value may not begin or end with a space",
            Self::ValueTooLong => "the value is over 16 KiB",
            Self::NameNotToken => "the name is no HTTP token (RFC 9110 section 5.6.2)",
            Self::NameTooLong => "the name is over 256 bytes",
            Self::ReservedName => "the name is reserved: HTTP, MCP or Runwright itself sets that header",
            Self::RepeatedName => "the name stands twice in the set; names are compared without case",
            Self::SetAndRemoved => "the name stands in `headers` and in `remove`; keep one",
            Self::TooManyHeaders => "a set has at most 64 names",
            Self::RunTooLarge => "the header sets of a run have at most 64 KiB together",
        })
    }
}

/// Checks a name and brings it into lower case.
///
/// # Errors
/// The name is refused.
pub fn check_name(name: &str) -> Result<HeaderName, Refusal> {
    if name.len() > MAX_NAME_BYTES {
        return Err(Refusal::NameTooLong);
    }
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Refusal::NameNotToken)?;
    if is_reserved(name.as_str()) {
        return Err(Refusal::ReservedName);
    }
    Ok(name)
}

/// Checks a value.
///
/// # Errors
/// The value is refused.
pub fn check_value(value: &str) -> Result<(), Refusal> {
    if value.is_empty() {
        return Err(Refusal::EmptyValue);
    }
    if value.len() > MAX_VALUE_BYTES {
        return Err(Refusal::ValueTooLong);
    }
    if !value.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        return Err(Refusal::ValueCharacter);
    }
    if value.starts_with(' ') || value.ends_with(' ') {
        return Err(Refusal::SurroundingSpace);
    }
    Ok(())
}

/// Whether a header of this lower-case name holds a credential.
pub fn is_credential(name: &str) -> bool {
    matches!(name, "authorization" | "cookie") || CREDENTIAL_PARTS.iter().any(|part| name.contains(part))
}

fn is_reserved(name: &str) -> bool {
    RESERVED_NAMES.contains(&name) || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    /// A name in another case.
    fn recased(name: &str, upper: &[bool]) -> String {
        let upper = upper.iter().chain(std::iter::repeat(&false));
        name.chars().zip(upper).map(|(c, up)| if *up { c.to_ascii_uppercase() } else { c }).collect()
    }

    fn any_name() -> impl Strategy<Value = String> {
        let known: Vec<String> =
            RESERVED_NAMES.iter().chain(&RESERVED_PREFIXES).map(ToString::to_string).collect();
        prop_oneof![
            prop::sample::select(known.clone()),
            (prop::sample::select(known), "[a-z-]{1,8}").prop_map(|(known, more)| known + &more),
            "[!#$%&'*+.^_`|~0-9a-z-]{1,40}",
            "\\PC{0,20}",
        ]
    }

    proptest! {
        #[test]
        fn the_case_of_a_name_changes_nothing(
            name in any_name(),
            upper in prop::collection::vec(any::<bool>(), 0..64),
        ) {
            prop_assert_eq!(check_name(&name), check_name(&recased(&name, &upper)));
        }

        #[test]
        fn a_name_that_passes_is_a_token_that_nobody_owns(name in any_name()) {
            if let Ok(checked) = check_name(&name) {
                let lower = name.to_ascii_lowercase();
                prop_assert_eq!(checked.as_str(), &lower);
                prop_assert!(lower.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)));
                prop_assert!(!RESERVED_NAMES.contains(&&*lower));
                prop_assert!(!RESERVED_PREFIXES.iter().any(|prefix| lower.starts_with(prefix)));
            }
        }

        #[test]
        fn a_value_passes_exactly_if_it_is_printable_and_has_no_space_around(
            value in prop_oneof!["[ -~]{0,40}", "\\PC{0,20}", any::<String>()],
        ) {
            let printable = value.bytes().all(|b| (0x20..0x7f).contains(&b));
            let right = printable && !value.is_empty() && value.trim_matches(' ') == value;
            prop_assert_eq!(check_value(&value).is_ok(), right);
            if right {
                let sent = HeaderValue::from_str(&value).unwrap();
                prop_assert_eq!(sent.as_bytes(), value.as_bytes());
            }
        }
    }
}
