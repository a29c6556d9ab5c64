//! The live streamed runs, which control calls look up.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;

use super::stop::Stop;
use crate::id::{ControlToken, RunId};

/// The live runs of this process.
#[derive(Clone, Default)]
pub(super) struct LiveRuns(Arc<Mutex<HashMap<RunId, Live>>>);

struct Live {
    token: ControlToken,
    stop: Arc<Stop>,
}

/// Keeps a run in the list; dropping it takes the run out.
pub(super) struct Entry {
    runs: LiveRuns,
    run_id: RunId,
}

impl LiveRuns {
    /// Puts a run into the list.
    pub(super) fn enter(&self, run_id: RunId, token: ControlToken, stop: Arc<Stop>) -> Entry {
        self.0.lock().insert(run_id, Live { token, stop });
        Entry { runs: self.clone(), run_id }
    }

    /// A run by its id, for who has its token.
    pub(super) fn find(&self, run_id: RunId, token: &str) -> Option<Arc<Stop>> {
        let runs = self.0.lock();
        runs.get(&run_id).filter(|live| live.token.matches(token)).map(|live| live.stop.clone())
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.runs.0.lock().remove(&self.run_id);
    }
}
