//! The live streamed runs, which control calls look up.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;

use super::{ModelHeaders, Parts, Sets, inputs::Inputs, stop::Stop};
use crate::{
    agent::Agent,
    id::{ControlToken, RunId},
};

/// The live runs of this process.
#[derive(Clone, Default)]
pub(super) struct LiveRuns(Arc<Mutex<HashMap<RunId, (ControlToken, Live)>>>);

/// What control calls reach of a run.
#[derive(Clone)]
pub(super) struct Live {
    /// What it began with, which may not be what is configured by now.
    pub(super) parts: Arc<Parts>,
    pub(super) stop: Arc<Stop>,
    pub(super) agent: Arc<Agent>,
    pub(super) headers: Arc<Sets>,
    pub(super) model: String,
    pub(super) model_headers: Arc<ModelHeaders>,
    pub(super) inputs: Arc<Inputs>,
}

/// Keeps a run in the list; dropping it takes the run out.
pub(super) struct Entry {
    runs: LiveRuns,
    run_id: RunId,
}

impl LiveRuns {
    /// Puts a run into the list.
    pub(super) fn enter(&self, run_id: RunId, token: ControlToken, live: Live) -> Entry {
        self.0.lock().insert(run_id, (token, live));
        Entry { runs: self.clone(), run_id }
    }

    /// A run by its id, for who has its token.
    pub(super) fn find(&self, run_id: RunId, token: &str) -> Option<Live> {
        let runs = self.0.lock();
        runs.get(&run_id).filter(|(own, _)| own.matches(token)).map(|(_, live)| live.clone())
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.runs.0.lock().remove(&self.run_id);
    }
}
