//! Kept clients: an open client serves the next run of its identity, and no other.
//!
//! A cold identity opens once: the runs that want it at the same time wait for one opening ([`Shared`]). What they
//! await belongs to all of them, so it goes on while one of them lives, and ends with the last. If it turns out that the
//! server gives sessions, the first of them takes the client for its own, and the others open their own.
//!
//! A kept client that nobody uses for a while dozes ([`dozing`](super::dozing)): it is opened again for the next run.

use std::{collections::BTreeSet, num::NonZeroUsize, sync::Arc, time::Duration};

use futures_util::{
    FutureExt,
    future::{self, BoxFuture, Shared, WeakShared},
};
use lru::LruCache;
use parking_lot::Mutex;
use tokio::time::sleep;

use super::{
    Fault, KeptClients, SentSet, SessionScope,
    client::Client,
    dozing::{DOZE_AFTER, Dozing},
    open::{open, wake},
    registration::Registration,
};
use crate::{headers::IdentityDigest, trace::Outgoing};

#[cfg(test)]
mod tests;

/// Whose a client is: a registration in its revision, and the digest of the merged headers.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    pub(super) registration: u64,
    pub(super) headers: IdentityDigest,
}

/// The kept clients, and those that are being opened to be kept.
pub(super) struct Pool {
    entries: Mutex<LruCache<Identity, Entry>>,
    bounds: Mutex<KeptClients>,
}

/// A client, and whether it is one run's own.
pub(super) struct Acquired {
    pub(super) client: Arc<Client>,
    pub(super) own: bool,
}

/// Where a client is wanted from, for whom, and in whose name it is opened.
#[derive(Clone)]
pub(super) struct Wanted {
    pub(super) registration: Arc<Registration>,
    pub(super) headers: Arc<SentSet>,
    pub(super) outgoing: Outgoing,
}

enum Entry {
    Opening(WeakShared<Opening>),
    Kept(Arc<Client>),
    Dozing(Arc<Dozing>),
}

type Opening = BoxFuture<'static, Result<Opened, Fault>>;

/// What an opening that several runs wait for came to.
#[derive(Clone)]
enum Opened {
    /// A client for all of them.
    Kept(Arc<Client>),
    /// A client for the first that takes it.
    Own(Arc<Mutex<Option<Client>>>),
}

impl Pool {
    pub(super) fn new(bounds: KeptClients) -> Self {
        Self { entries: Mutex::new(LruCache::new(most(bounds))), bounds: Mutex::new(bounds) }
    }

    /// Takes other bounds, and keeps nothing more of other registrations than the `current` ones. What is being opened is
    /// for runs that wait for it: [`Pool::keep`] sees that it is not kept.
    pub(super) fn rebound(&self, bounds: KeptClients, current: &BTreeSet<u64>) {
        *self.bounds.lock() = bounds;
        // Dropped last, when nobody has to wait for it.
        let mut closed = Vec::new();
        let mut entries = self.entries.lock();
        let is_over = |identity: &Identity, entry: &Entry| {
            !matches!(entry, Entry::Opening(_)) && !current.contains(&identity.registration)
        };
        let over: Vec<Identity> =
            entries.iter().filter(|(id, entry)| is_over(id, entry)).map(|(id, _)| *id).collect();
        for entry in over.iter().filter_map(|identity| entries.pop(identity)) {
            entry.note_evicted("reload");
            closed.push(entry);
        }
        while entries.len() > most(bounds).get()
            && let Some((_, entry)) = entries.pop_lru()
        {
            entry.note_evicted("capacity");
            closed.push(entry);
        }
        entries.resize(most(bounds));
        drop(entries);
    }

    /// A client for an identity: a kept one, or one that is opened. To open one takes a large future; it is boxed, so that
    /// those that find a kept client do not carry it about.
    pub(super) async fn acquire(self: &Arc<Self>, wanted: &Wanted) -> Result<Acquired, Fault> {
        let scope = wanted.registration.config.session_scope;
        if let Some(client) = self.kept(&wanted.headers.identity) {
            return Ok(Acquired { client, own: false });
        }
        let own = scope == SessionScope::Run
            || (scope == SessionScope::Auto && wanted.registration.gives_sessions());
        if own {
            return Box::pin(self.open_own(wanted)).await;
        }
        let unclaimed = match self.opening(wanted).await? {
            Opened::Kept(client) => return Ok(Acquired { client, own: false }),
            Opened::Own(unclaimed) => unclaimed,
        };
        let claimed = unclaimed.lock().take();
        match claimed {
            Some(client) => Ok(Acquired { client: Arc::new(client), own: true }),
            None => Box::pin(self.open_own(wanted)).await,
        }
    }

    /// Gives up a client that can't be used any more.
    pub(super) fn forget(&self, identity: &Identity, client: &Arc<Client>) {
        let mut entries = self.entries.lock();
        if matches!(entries.peek(identity), Some(Entry::Kept(kept)) if Arc::ptr_eq(kept, client)) {
            entries.pop(identity);
            client.meter().evicted("broken");
        }
    }

    /// Closes clients that nobody uses, and gives up what was idle for too long, for as long as the process lives.
    pub(super) async fn sweep(&self) {
        loop {
            let idle = self.bounds.lock().idle;
            sleep((idle / 4).clamp(MIN_SWEEP, MAX_SWEEP)).await;
            self.sweep_once();
        }
    }

    /// How many clients are kept.
    pub(super) fn len(&self) -> usize {
        self.entries.lock().len()
    }

    fn sweep_once(&self) {
        // Dropped last, when nobody has to wait for it.
        let mut closed = Vec::new();
        let bounds = self.bounds();
        let mut entries = self.entries.lock();
        let mut over = Vec::new();
        // Not only from the end: who was used last may have ended first.
        for (identity, entry) in entries.iter_mut() {
            if entry.is_over(bounds) {
                over.push(*identity);
            } else if closed.len() < MAX_CLOSED
                && let Some(dozing) = entry.doze()
            {
                closed.push(std::mem::replace(entry, Entry::Dozing(Arc::new(dozing))));
            }
        }
        for entry in over.iter().filter_map(|identity| entries.pop(identity)) {
            entry.note_evicted("idle");
            closed.push(entry);
        }
        drop(entries);
    }

    fn bounds(&self) -> KeptClients {
        *self.bounds.lock()
    }

    fn kept(&self, identity: &Identity) -> Option<Arc<Client>> {
        self.kept_of(&mut self.entries.lock(), identity)
    }

    fn kept_of(&self, entries: &mut LruCache<Identity, Entry>, identity: &Identity) -> Option<Arc<Client>> {
        let Entry::Kept(client) = entries.get(identity)? else { return None };
        let bounds = self.bounds();
        let bad = if !client.is_open() {
            "broken"
        } else if client.opened.elapsed() >= bounds.age {
            "age"
        } else if is_idle(client, bounds) {
            "idle"
        } else {
            return Some(client.clone());
        };
        if let Some(entry) = entries.pop(identity) {
            entry.note_evicted(bad);
        }
        None
    }

    /// The opening that is under way for an identity, or a new one.
    fn opening(self: &Arc<Self>, wanted: &Wanted) -> Shared<Opening> {
        let mut entries = self.entries.lock();
        if let Some(Entry::Opening(opening)) = entries.get(&wanted.headers.identity)
            && let Some(opening) = opening.upgrade()
        {
            return opening;
        }
        // Somebody may have opened one since it was looked for.
        if let Some(client) = self.kept_of(&mut entries, &wanted.headers.identity) {
            return future::ready(Ok(Opened::Kept(client))).boxed().shared();
        }
        let dozing = match entries.peek(&wanted.headers.identity) {
            Some(Entry::Dozing(dozing)) if is_good(dozing, self.bounds()) => Some(dozing.clone()),
            _ => None,
        };
        let opening = self.clone().open_for_all(wanted.clone(), dozing).boxed().shared();
        // It has not been polled, so it can be weakened.
        if let Some(weak) = opening.downgrade() {
            put(&mut entries, wanted.headers.identity, Entry::Opening(weak));
        }
        opening
    }

    async fn open_for_all(
        self: Arc<Self>,
        wanted: Wanted,
        dozing: Option<Arc<Dozing>>,
    ) -> Result<Opened, Fault> {
        let Wanted { registration, headers, outgoing } = &wanted;
        let opened = match dozing {
            Some(dozing) => wake(registration, headers, outgoing, &dozing).await,
            None => open(registration, headers, outgoing).await,
        };
        let Ok(client) = opened else {
            self.entries.lock().pop(&wanted.headers.identity);
            return opened.map(|client| Opened::Kept(Arc::new(client)));
        };
        if is_own(&client, &wanted) {
            self.entries.lock().pop(&wanted.headers.identity);
            return Ok(Opened::Own(Arc::new(Mutex::new(Some(client)))));
        }
        Ok(Opened::Kept(self.keep(&wanted, client)))
    }

    async fn open_own(&self, wanted: &Wanted) -> Result<Acquired, Fault> {
        let client = open(&wanted.registration, &wanted.headers, &wanted.outgoing).await?;
        if is_own(&client, wanted) {
            return Ok(Acquired { client: Arc::new(client), own: true });
        }
        Ok(Acquired { client: self.keep(wanted, client), own: false })
    }

    fn keep(&self, wanted: &Wanted, client: Client) -> Arc<Client> {
        let (client, identity) = (Arc::new(client), wanted.headers.identity);
        let mut entries = self.entries.lock();
        // Looked at under the lock: what retires it looks for its clients after that.
        let replaced = if wanted.registration.is_retired() {
            entries.pop(&identity)
        } else {
            put(&mut entries, identity, Entry::Kept(client.clone()))
        };
        drop(entries);
        drop(replaced);
        client
    }
}

fn most(bounds: KeptClients) -> NonZeroUsize {
    NonZeroUsize::new(bounds.max).unwrap_or(NonZeroUsize::MIN)
}

/// Whether no run has leased a client for too long.
fn is_idle(client: &Client, bounds: KeptClients) -> bool {
    client.slot.idle_since().is_some_and(|since| since.elapsed() >= bounds.idle)
}

fn is_good(dozing: &Dozing, bounds: KeptClients) -> bool {
    dozing.opened.elapsed() < bounds.age && dozing.idle_since.elapsed() < bounds.idle
}

const MIN_SWEEP: Duration = Duration::from_millis(100);
/// To look at 10,000 clients takes some 10 ms, in which no run gets one.
const MAX_SWEEP: Duration = Duration::from_secs(5);
/// The most clients that one sweep closes because they are not used: each ends two tasks, and runs are not to wait for that.
const MAX_CLOSED: usize = 1000;

impl Entry {
    fn is_over(&self, bounds: KeptClients) -> bool {
        match self {
            Self::Opening(opening) => opening.upgrade().is_none(),
            Self::Kept(client) => is_idle(client, bounds),
            Self::Dozing(dozing) => !is_good(dozing, bounds),
        }
    }

    /// Counts a client that is given up, and why. What is being opened is none yet.
    fn note_evicted(&self, reason: &'static str) {
        match self {
            Self::Opening(_) => {}
            Self::Kept(client) => client.meter().evicted(reason),
            Self::Dozing(dozing) => dozing.meter.server().evicted(reason),
        }
    }

    /// What stays of a client that is not used. One that somebody has just got, and has not leased yet, is.
    fn doze(&self) -> Option<Dozing> {
        let Self::Kept(client) = self else { return None };
        let is_unused = client.slot.idle_since()?.elapsed() >= DOZE_AFTER && Arc::strong_count(client) == 1;
        is_unused.then(|| client.doze()).flatten()
    }
}

/// Puts an entry in, for which the one that was used longest ago may have to go.
/// What is not there any more is given back, to be dropped when nobody waits for it.
fn put(entries: &mut LruCache<Identity, Entry>, identity: Identity, entry: Entry) -> Option<Entry> {
    let (gone, entry) = entries.push(identity, entry)?;
    if gone != identity {
        entry.note_evicted("capacity");
    }
    Some(entry)
}

/// Whether a client is one run's own, to be closed with it.
fn is_own(client: &Client, wanted: &Wanted) -> bool {
    match wanted.registration.config.session_scope {
        SessionScope::Auto => client.session,
        SessionScope::Run => true,
        SessionScope::Identity => false,
    }
}
