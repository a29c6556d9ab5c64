//! Which of a run's tool calls have begun: were sent to an MCP server, or handed to the caller to be made.
//!
//! Only these may have done something. One that waits for the caller's word, or for fresh headers before it is sent for
//! the first time, has not begun, nor has one that is refused. A run that fails before any has begun may be sent again.

use std::{collections::BTreeMap, time::Instant};

use parking_lot::Mutex;

/// The calls that have begun, by their places among all of the run's.
#[derive(Default)]
pub(super) struct Begun(Mutex<BTreeMap<usize, Sent>>);

/// A call that has begun.
#[derive(Clone, Copy)]
pub(super) struct Sent {
    pub(super) at: Instant,
    /// Whether the server has refused it since: it did not run.
    pub(super) refused: bool,
}

impl Begun {
    /// A call is sent, once more perhaps, or handed over.
    pub(super) fn note(&self, place: usize) {
        self.0.lock().entry(place).or_insert_with(|| Sent { at: Instant::now(), refused: false }).refused =
            false;
    }

    /// The server refuses a call.
    pub(super) fn note_refused(&self, place: usize) {
        if let Some(sent) = self.0.lock().get_mut(&place) {
            sent.refused = true;
        }
    }

    /// A call turns out not to have been sent.
    pub(super) fn take_back(&self, place: usize) {
        self.0.lock().remove(&place);
    }

    /// All that have begun.
    pub(super) fn calls(&self) -> BTreeMap<usize, Sent> {
        self.0.lock().clone()
    }
}
