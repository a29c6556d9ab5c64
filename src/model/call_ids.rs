//! Ids of tool calls, which providers and their imitations make with more or less care.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::Request;

/// The longest id of a call that is taken over, in bytes.
const MAX_ID_BYTES: usize = 256;

/// An id in place of one that a provider does not take, the same for the same always: the prefix, and 32 hexadecimal digits.
pub(super) fn instead_of(id: &str, prefix: &str) -> String {
    let digest = Sha256::digest(id);
    let half = digest.iter().take(16).fold(0_u128, |half, byte| half << 8 | u128::from(*byte));
    format!("{prefix}{half:032x}")
}

/// Gives the calls of an answer ids that no other call of the conversation has.
pub(super) struct CallIds<'a> {
    request: &'a Request<'a>,
    given: Vec<String>,
}

impl<'a> CallIds<'a> {
    /// Ids for the answer to a request.
    pub(super) fn new(request: &'a Request<'a>) -> Self {
        Self { request, given: Vec::new() }
    }

    /// The provider's id, if it is a good one and not taken; else a new one. Ids stand in spans, and so have a narrow form.
    pub(super) fn own(&mut self, id: String) -> String {
        let good = (1..=MAX_ID_BYTES).contains(&id.len()) && id.bytes().all(is_allowed);
        let taken = || self.request.has_call(&id) || self.given.contains(&id);
        let id = if good && !taken() { id } else { format!("call_{}", Uuid::now_v7().simple()) };
        self.given.push(id.clone());
        id
    }
}

/// Visible ASCII that JSON has no escapes for.
fn is_allowed(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::asked::Asked;

    #[test]
    fn an_id_is_the_providers_own_if_its_form_is_narrow() {
        let asked = Asked::saying("hi");
        let request = asked.request();
        let mut ids = CallIds::new(&request);
        for good in ["call_Ab-9", "functions.t:0", "call|fc_1", "call_1__thought__CiQB+/==", &"x".repeat(256)]
        {
            assert_eq!(ids.own(good.to_owned()), good);
            let again = ids.own(good.to_owned());
            assert!(again != good && again.starts_with("call_"), "{again}");
        }
        for bad in ["", " ", "a b", "a\n", "\0", "\u{FC}", "a\"b", "a\\b", &"x".repeat(257)] {
            let own = ids.own(bad.to_owned());
            assert!(own != bad && own.bytes().all(is_allowed), "{own}");
        }
    }
}
