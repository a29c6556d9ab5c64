//! What a run sends to one server. Its caller may replace it while the run goes on.
//!
//! A run that outlives its token gets fresh headers: from its caller, who replaces the plan, or from a registered source
//! that has another value by now. Each set that is sent has an identity, and so a client, of its own; what is under way
//! with an older one goes on with that.

use std::{
    borrow::Cow,
    sync::{Arc, OnceLock},
};

use http::HeaderMap;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::Notify;

use super::{ToolList, pool::Identity, registration::Registration};
use crate::{
    credential::{self, Planned, SourceError},
    event::Challenge,
    headers::{Applied, DigestKey, Layer, Merged, SecretValue},
    scrub::{self, Scrubber},
};

/// The headers of one run for one server, which may be replaced.
pub struct RunHeaders {
    state: Mutex<State>,
    replaced: Notify,
    of_run: SentOfRun,
}

/// All sets that a run has sent, to whichever server: what any of them gives back is searched for the secrets of all.
#[derive(Clone, Default)]
pub struct SentOfRun(Arc<Mutex<Vec<Arc<SentSet>>>>);

struct State {
    /// Goes up with each set that is another one.
    revision: u64,
    planned: Arc<Planned>,
    /// The plan's headers with their values, from when they were first needed.
    current: Option<Arc<SentSet>>,
    /// All sets that were sent, the newest last.
    sent: Vec<Arc<SentSet>>,
}

/// A set of headers with its values: what is sent.
pub(super) struct SentSet {
    pub(super) map: HeaderMap,
    pub(super) identity: Identity,
    pub(super) revision: u64,
    merged: Merged,
    /// Made when the first answer comes.
    scrubber: OnceLock<Scrubber>,
}

impl RunHeaders {
    /// What a run sends, as it is planned at its start.
    pub fn new(planned: Planned, of_run: SentOfRun) -> Self {
        let state = State { revision: 0, planned: Arc::new(planned), current: None, sent: Vec::new() };
        Self { state: Mutex::new(state), replaced: Notify::new(), of_run }
    }

    /// Replaces what is sent from now on.
    pub fn replace(&self, planned: Planned) {
        let mut state = self.state.lock();
        state.revision += 1;
        state.planned = Arc::new(planned);
        state.current = None;
        self.replaced.notify_waiters();
    }

    /// Whether what is sent was replaced since this revision of it.
    pub fn is_replaced_since(&self, revision: u64) -> bool {
        self.state.lock().revision > revision
    }

    /// Waits until what is sent is replaced by something later than this revision.
    pub async fn replaced_since(&self, revision: u64) {
        loop {
            let replaced = self.replaced.notified();
            if self.is_replaced_since(revision) {
                return;
            }
            replaced.await;
        }
    }

    /// What may be shown of the headers as they are now.
    pub fn applied(&self, key: &DigestKey) -> Applied {
        let state = self.state.lock();
        match &state.current {
            Some(current) => current.merged.applied(key),
            None => credential::applied(&state.planned, key),
        }
    }

    /// What may be shown of the headers that were sent last; of those as they are now, where none were sent.
    pub fn sent_last(&self, key: &DigestKey) -> Applied {
        let last = self.state.lock().sent.last().cloned();
        last.map_or_else(|| self.applied(key), |last| last.merged.applied(key))
    }

    /// How many sets were sent.
    pub fn times_sent(&self) -> usize {
        self.state.lock().sent.len()
    }

    /// What may be shown of all sets that were sent, in their order.
    pub fn sent(&self, key: &DigestKey) -> Vec<Applied> {
        self.state.lock().sent.iter().map(|set| set.merged.applied(key)).collect()
    }

    /// What finds the secrets of what is to be sent, as far as they are there without waiting.
    pub fn planned_scrubber(&self) -> Scrubber {
        let planned = self.state.lock().planned.clone();
        let secret = planned.headers().iter().filter(|header| header.secret);
        let values: Vec<SecretValue> = secret.filter_map(|header| header.value.ready()).collect();
        Scrubber::new(values.iter().map(SecretValue::as_bytes))
    }

    /// A text, such as a server's, without the secrets of any set that the run has sent.
    pub fn scrub(&self, text: String) -> String {
        if text.len() < scrub::MIN_BYTES {
            return text;
        }
        self.of_run.all().iter().fold(text, |text, set| match set.scrubber().scrub(&text) {
            Cow::Borrowed(_) => text,
            Cow::Owned(scrubbed) => scrubbed,
        })
    }

    /// The same of JSON: what is escaped in it is at its own level.
    pub(super) fn scrub_json(&self, mut value: Value) -> Value {
        self.of_run.all().iter().for_each(|set| set.scrubber().scrub_json(&mut value));
        value
    }

    /// Whether something of a server's holds such a secret.
    pub(super) fn finds(&self, content: impl AsRef<[u8]>) -> bool {
        self.of_run.all().iter().any(|set| set.scrubber().finds(content.as_ref()))
    }

    /// A challenge without the parameters that hold such a secret.
    pub(super) fn scrub_challenge(&self, mut challenge: Box<Challenge>) -> Box<Challenge> {
        let sent = self.of_run.all();
        let Challenge { scheme, error, scope, resource_metadata } = &mut *challenge;
        for parameter in [scheme, error, scope, resource_metadata] {
            if sent.iter().any(|set| set.scrubber().finds(&*parameter)) {
                parameter.clear();
            }
        }
        challenge
    }

    /// A tool list without such secrets. It has none of the set that it was listed with.
    pub(super) fn scrub_list(&self, list: Arc<ToolList>, listed_with: &Arc<SentSet>) -> Arc<ToolList> {
        let sent = self.of_run.all();
        let others = sent.iter().filter(|set| !Arc::ptr_eq(set, listed_with));
        others.fold(list, |list, set| Arc::new(list.scrubbed(set.scrubber())))
    }

    /// The set to send now. A source's value may have to be waited for.
    pub(super) async fn current(&self, registration: &Registration) -> Result<Arc<SentSet>, SourceError> {
        loop {
            let (planned, revision) = {
                let state = self.state.lock();
                if let Some(current) = &state.current {
                    return Ok(current.clone());
                }
                (state.planned.clone(), state.revision)
            };
            let merged = credential::resolve(&planned).await?;
            let mut state = self.state.lock();
            if state.revision == revision {
                return Ok(state.set_current(merged, registration));
            }
        }
    }

    /// Remembers that a set is sent.
    pub(super) fn note_sent(&self, set: &Arc<SentSet>) {
        let mut state = self.state.lock();
        if !state.sent.iter().any(|sent| Arc::ptr_eq(sent, set)) {
            state.sent.push(set.clone());
            self.of_run.0.lock().push(set.clone());
        }
    }

    /// After a server refused the credential of the set of this revision: looks at the registered sources anew. Whether
    /// the set to send is another one now.
    ///
    /// # Errors
    /// A source fails.
    pub(super) async fn renew(
        &self,
        revision: u64,
        registration: &Registration,
    ) -> Result<bool, SourceError> {
        {
            let mut state = self.state.lock();
            if state.revision != revision {
                return Ok(true);
            }
            state.current = None;
            if let Some(refused) = state.sent.last().filter(|sent| sent.revision == revision) {
                refused.tell_sources(&state.planned);
            }
        }
        Ok(self.current(registration).await?.revision != revision)
    }
}

impl SentOfRun {
    fn all(&self) -> Vec<Arc<SentSet>> {
        self.0.lock().clone()
    }
}

impl State {
    /// Takes the plan's headers with their values: the set that was sent last, if they are the same.
    fn set_current(&mut self, merged: Merged, registration: &Registration) -> Arc<SentSet> {
        if let Some(current) = &self.current {
            return current.clone();
        }
        let identity = registration.identity(&merged);
        let last = self.sent.last().filter(|last| last.revision == self.revision);
        let current = match last {
            Some(last) if last.identity == identity => last.clone(),
            last => {
                self.revision += u64::from(last.is_some());
                Arc::new(SentSet::new(merged, identity, self.revision))
            }
        };
        self.current = Some(current.clone());
        current
    }
}

impl SentSet {
    pub(super) fn new(merged: Merged, identity: Identity, revision: u64) -> Self {
        Self { map: merged.to_header_map(), identity, revision, merged, scrubber: OnceLock::new() }
    }

    /// What finds the secrets of the set in what the server gives back.
    pub(super) fn scrubber(&self) -> &Scrubber {
        self.scrubber.get_or_init(|| {
            let secret = self.merged.headers().iter().filter(|header| header.secret);
            Scrubber::new(secret.map(|header| header.value.as_bytes()))
        })
    }

    /// Tells the registered sources that a server refused their values. A token is given up only where the caller brought no
    /// secret, which may be what was refused: else one caller could have everybody's token given up.
    fn tell_sources(&self, planned: &Planned) {
        let registered = |layer| matches!(layer, Layer::Server | Layer::Agent);
        let brought = self.merged.headers().iter().any(|header| header.secret && !registered(header.layer));
        for (header, sent) in planned.headers().iter().zip(self.merged.headers()) {
            if registered(header.layer) && header.secret && !(brought && header.value.is_token()) {
                header.value.refused(&sent.value);
            }
        }
    }

    /// The layer of the credential that a server refused: Authorization's, else that of the first secret.
    pub(super) fn credential_layer(&self) -> Option<Layer> {
        let first = || self.merged.headers().iter().find(|header| header.secret);
        self.merged.get("authorization").or_else(first).map(|header| header.layer)
    }

    /// A set without headers.
    #[cfg(test)]
    pub(super) fn empty() -> Self {
        let merged = Merged::default();
        let headers = DigestKey::from_secret(b"k").identity(&merged);
        Self::new(merged, Identity { registration: 0, headers }, 0)
    }
}
