//! What is consumed for a turn, also where nothing comes of it: a provider is paid for an answer that broke off or can't be
//! read, as far as it got, and counts a request that it refuses.
//!
//! A request notes what it consumed when it is dropped. So it is noted whatever ends it: a failure, or the end of a run whose
//! model is still being waited for.

use parking_lot::Mutex;

use crate::message::Usage;

#[cfg(test)]
mod tests;

/// What was consumed for a turn so far.
#[derive(Debug, Default)]
pub struct Spent(Mutex<Usage>);

impl Spent {
    /// Notes what was consumed.
    pub fn add(&self, usage: Usage) {
        self.0.lock().add(usage);
    }

    /// All that was noted.
    pub fn so_far(&self) -> Usage {
        *self.0.lock()
    }

    /// All that was noted, which is forgotten here.
    pub fn take(&self) -> Usage {
        std::mem::take(&mut self.0.lock())
    }
}

/// A request on its way, which notes what it consumed unless it is settled.
pub(super) struct Attempt<'a> {
    spent: &'a Spent,
    /// `None`: there is nothing to be noted.
    consumed: Option<Usage>,
}

impl<'a> Attempt<'a> {
    /// One more request.
    pub(super) fn new(spent: &'a Spent) -> Self {
        Self { spent, consumed: Some(Usage { model_requests: 1, ..Usage::default() }) }
    }

    /// Takes what the provider has said so far that it consumed.
    pub(super) fn tell(&mut self, usage: Usage) {
        self.consumed = Some(usage);
    }

    /// Notes nothing: its answer tells what it consumed, or it was not sent.
    pub(super) fn settle(mut self) {
        self.consumed = None;
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if let Some(usage) = self.consumed.take() {
            self.spent.add(usage);
        }
    }
}
