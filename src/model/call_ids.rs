//! Ids of tool calls, which providers and their imitations make with more or less care.

use uuid::Uuid;

use super::Request;

/// The longest id of a call that is taken over, in bytes.
const MAX_ID_BYTES: usize = 256;

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

    /// The provider's id, if it is a good one and not taken; else a new one.
    pub(super) fn own(&mut self, id: String) -> String {
        let good = (1..=MAX_ID_BYTES).contains(&id.len());
        let taken = || self.request.has_call(&id) || self.given.contains(&id);
        let id = if good && !taken() { id } else { format!("call_{}", Uuid::now_v7().simple()) };
        self.given.push(id.clone());
        id
    }
}
