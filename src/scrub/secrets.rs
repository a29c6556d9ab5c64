//! What of a header's value is secret.

use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};

use super::MIN_BYTES;

/// Schemes, which are no secret, however short the credential behind is.
const SCHEMES: [&[u8]; 5] = [b"basic", b"bearer", b"digest", b"dpop", b"token"];

/// Adds what of a value is secret, as far as it is long enough: all of it; the credential without its scheme (RFC 9110
/// section 11.4), alone where that is a scheme that is known; of `Basic` the password, and the pair with the user (RFC 7617 section 2); of cookies (RFC 6265 section
/// 4.2) and of a scheme's parameters each one's value.
pub(super) fn take_apart(value: &[u8], secrets: &mut Vec<Vec<u8>>) {
    let mut add = |secret: &[u8]| {
        if secret.len() >= MIN_BYTES {
            secrets.push(secret.to_owned());
        }
    };
    let (scheme, credential) = without_scheme(value);
    if !SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        add(value);
    }
    add(credential);
    if scheme.eq_ignore_ascii_case(b"basic")
        && let Ok(pair) = BASE64_STANDARD_NO_PAD.decode(unpadded(credential))
    {
        if let Some(colon) = memchr::memchr(b':', &pair) {
            add(&pair[colon + 1..]);
        }
        add(&pair);
    }
    for separator in [b';', b','] {
        for parameter in credential.split(|byte| *byte == separator) {
            if let Some(equals) = memchr::memchr(b'=', parameter) {
                add(unquoted(parameter[equals + 1..].trim_ascii()));
            }
        }
    }
}

/// A scheme and what stands behind it; an empty scheme and all of the value where it has none.
fn without_scheme(value: &[u8]) -> (&[u8], &[u8]) {
    let is_scheme =
        |word: &[u8]| word.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(byte));
    match memchr::memchr(b' ', value) {
        Some(space) if is_scheme(&value[..space]) => (&value[..space], value[space..].trim_ascii_start()),
        _ => (b"", value),
    }
}

fn unpadded(base64: &[u8]) -> &[u8] {
    let padding = base64.iter().rev().take_while(|byte| **byte == b'=').count();
    &base64[..base64.len() - padding]
}

fn unquoted(value: &[u8]) -> &[u8] {
    match value {
        [b'"', quoted @ .., b'"'] => quoted,
        _ => value,
    }
}
