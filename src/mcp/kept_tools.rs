//! The tool list of one open client, while it is good.
//!
//! Runs that want it at the same time wait for one listing. It belongs to all of them: it goes on while one of them lives,
//! and where it fails, it fails for all that waited.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use parking_lot::Mutex;

use super::{Fault, ToolList, tools::Listed};

/// The tool list of one client, while it is good.
#[derive(Default)]
pub(super) struct KeptTools(Mutex<State>);

#[derive(Default)]
enum State {
    #[default]
    None,
    Listing(WeakShared<Listing>),
    Kept(Kept),
}

/// A list, and until when it is good.
#[derive(Clone)]
struct Kept {
    list: Arc<ToolList>,
    until: Instant,
}

type Listing = BoxFuture<'static, Result<Kept, Fault>>;

impl KeptTools {
    /// The longest time that a list is kept, whatever a server says.
    const MAX_TTL: Duration = Duration::from_secs(24 * 60 * 60);

    /// The kept list, or what the listing under way comes to, or else what `list` does. `ttl` says how long a list is
    /// good that does not say itself.
    pub(super) async fn get_or_list(
        &self,
        list: impl FnOnce() -> BoxFuture<'static, Result<Listed, Fault>>,
        ttl: Duration,
    ) -> Result<Arc<ToolList>, Fault> {
        let listing = match self.kept_or_listing(list, ttl) {
            Ok(list) => return Ok(list),
            Err(listing) => listing,
        };
        let kept = listing.clone().await?;
        let list = kept.list.clone();
        let mut state = self.0.lock();
        // It may have been forgotten meanwhile, and another listing may have begun.
        let current = match &*state {
            State::Listing(current) => current.upgrade().is_some_and(|current| current.ptr_eq(&listing)),
            _ => false,
        };
        if current {
            *state = State::Kept(kept);
        }
        Ok(list)
    }

    /// Forgets the list.
    pub(super) fn forget(&self) {
        *self.0.lock() = State::None;
    }

    /// What is kept, for a client that never listed them: without a list that it would have to have read itself, as rmcp
    /// needs one whose tools have arguments that are sent as headers (`x-mcp-header`).
    pub(super) fn handed_on(&self) -> Self {
        let state = self.0.lock();
        let State::Kept(kept) = &*state else { return Self::default() };
        if kept.list.tools.iter().any(|tool| tool.input_schema.get().contains("x-mcp-header")) {
            return Self::default();
        }
        Self(Mutex::new(State::Kept(kept.clone())))
    }

    fn kept_or_listing(
        &self,
        list: impl FnOnce() -> BoxFuture<'static, Result<Listed, Fault>>,
        ttl: Duration,
    ) -> Result<Arc<ToolList>, Shared<Listing>> {
        let mut state = self.0.lock();
        match &*state {
            State::Kept(kept) if Instant::now() < kept.until => return Ok(kept.list.clone()),
            State::Listing(listing) => {
                if let Some(listing) = listing.upgrade() {
                    return Err(listing);
                }
            }
            _ => {}
        }
        let listing = list().map(move |listed| listed.map(|listed| keep(listed, ttl))).boxed().shared();
        // It has not been polled, so it can be weakened.
        *state = listing.downgrade().map_or(State::None, State::Listing);
        Err(listing)
    }
}

fn keep(listed: Listed, ttl: Duration) -> Kept {
    let ttl = listed.ttl.unwrap_or(ttl).min(KeptTools::MAX_TTL);
    Kept { list: Arc::new(listed.list), until: Instant::now() + ttl }
}
