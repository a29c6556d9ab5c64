//! What runs agents: admission, and the live runs.

use std::{collections::BTreeMap, mem, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use parking_lot::RwLock;
use tokio::time::timeout;
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};
use tracing::Instrument;

use super::{
    Answer, Error, Failure, Parts, Replacement, Run, RunRequest, Violation, Violations,
    authorization::Waits,
    begun::Begun,
    driver::{Context, drive},
    handle::{Doing, Sink, Telling, Work},
    inputs::Inputs,
    live::{Live, LiveRuns},
    model_headers::AskedModel,
    places::{self, Places},
    stop::Stop,
};
use crate::{
    agent::Agent,
    headers::Applied,
    id::{ControlToken, RunId},
    metrics::Metrics,
    trace,
};

/// How long a shutdown waits for the reader of a run that has ended.
const READ_TIMEOUT: Duration = Duration::from_secs(1);

/// What may be run, and what is running. Clones share it.
#[derive(Clone)]
pub struct Runner(Arc<State>);

struct State {
    parts: RwLock<Arc<Parts>>,
    places: Places,
    tasks: TaskTracker,
    closing: CancellationToken,
    ending: CancellationToken,
    live: LiveRuns,
    metrics: Metrics,
}

/// Whether a run says what happens in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Only what it comes to.
    Unary,
    /// All its events.
    Streamed,
}

/// A place among the runs of this process, and among those of an agent. Dropping it gives it back, with nothing done.
pub struct Place {
    _place: places::Place,
    /// A shutdown waits for it.
    _tracked: TaskTrackerToken,
}

impl Mode {
    /// The name for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unary => "unary",
            Self::Streamed => "streamed",
        }
    }
}

impl Runner {
    /// A runner with nothing running.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(State {
            metrics: parts.metrics.clone(),
            parts: RwLock::new(Arc::new(parts)),
            places: Places::default(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            ending: CancellationToken::new(),
            live: LiveRuns::default(),
        }))
    }

    /// What may be run as of now. A request takes it once, and goes on with it.
    pub fn parts(&self) -> Arc<Parts> {
        self.0.parts.read().clone()
    }

    /// What is counted and measured in this process.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Has what may be run be this from now on, and gives what was before. Live runs go on with what they began with, and
    /// count as before.
    pub fn replace(&self, parts: Arc<Parts>) -> Arc<Parts> {
        mem::replace(&mut *self.0.parts.write(), parts)
    }

    /// Takes a place for a run of an agent.
    ///
    /// # Errors
    /// There are too many runs, or this process is ending.
    pub fn admit(&self, parts: &Parts, agent: &Arc<Agent>) -> Result<Place, Failure> {
        // Before the place is taken: a shutdown that comes between waits for this run.
        let tracked = self.0.tasks.token();
        let place = self.0.places.take(agent, parts.limits.max_concurrent_runs)?;
        Ok(Place { _place: place, _tracked: tracked })
    }

    /// Starts a run of a request that was decoded with these parts: from here on it comes to exactly one end, and is told to
    /// stop when the [`Run`] is dropped.
    ///
    /// # Errors
    /// A fault of ours. Nothing was asked of any upstream.
    pub fn start(
        &self,
        place: Place,
        parts: Arc<Parts>,
        mut request: RunRequest,
        mode: Mode,
    ) -> Result<Run, Error> {
        let request_id = request.correlation.request_id.clone();
        let fault = |what| Error::refused(request_id.clone(), Failure::incident(what, &request_id));
        let state = &self.0;
        let model = parts.models.get(&request.model).cloned();
        let model = model.ok_or_else(|| fault("the run's model is not there"))?;
        // A unary caller cancels its own RPC.
        let token = (mode == Mode::Streamed).then(ControlToken::generate).transpose();
        let token = token.map_err(|_| fault("no random bits"))?;
        if token.is_none() {
            request.headers.forget_requested();
        }

        let run_id = RunId::generate();
        request.correlation.span =
            trace::invoke_agent(&request.agent.name, &request.model, run_id, &request.correlation);
        let lines = request.correlation.span.lines().clone();
        let stop = Arc::new(Stop::new(&state.ending));
        let (sink, events) = Sink::new(mode);
        let inputs = Arc::new(Inputs::default());
        let live = token.clone().map(|token| {
            let live = Live {
                parts: parts.clone(),
                stop: stop.clone(),
                agent: request.agent.clone(),
                headers: request.headers.clone(),
                model: request.model.clone(),
                model_headers: request.model_headers.clone(),
                inputs: inputs.clone(),
            };
            state.live.enter(run_id, token, live)
        });
        let meter = parts.metrics.run(&request.agent.name, mode == Mode::Streamed);
        let context = Box::new(Context {
            run_id,
            meter,
            request,
            model,
            sink,
            stop: stop.clone(),
            runner: parts,
            control_token: token,
            waits: Waits::default(),
            inputs,
            begun: Begun::default(),
            closing: state.closing.clone(),
        });
        let (tasks, reader) = (state.tasks.clone(), CancellationToken::new());
        let reading = reader.clone().drop_guard();
        let work = async move {
            let result = drive(context).await;
            // The end may not have reached the run's reader yet: a shutdown waits for it, but not for one that does not read.
            if tasks.is_closed() {
                tasks.spawn(async move { timeout(READ_TIMEOUT, reader.cancelled()).await });
            }
            drop((live, place));
            result
        };
        let work = AssertUnwindSafe(work.instrument(lines)).catch_unwind();
        let doing: Doing = Box::pin(work.map(Result::ok));
        let work = match events {
            None => Work::Silent(Some(doing)),
            Some(events) => Work::Told(Telling::new(events, doing).into()),
        };
        Ok(Run::new(run_id, request_id, work, stop, reading))
    }

    /// Ends a live streamed run.
    ///
    /// # Errors
    /// This process holds no such run, or the token is not its own.
    pub fn cancel(&self, run_id: &str, control_token: &str, reason: String) -> Result<(), Failure> {
        self.live(run_id, control_token)?.stop.stop(Failure::Cancelled(reason));
        Ok(())
    }

    /// Replaces header sets of a live streamed run. What may be shown of what it sends from now on.
    ///
    /// # Errors
    /// This process holds no such run, or the token is not its own; or the sets break the rules, and nothing is replaced.
    pub fn update_headers(
        &self,
        run_id: &str,
        control_token: &str,
        replacement: Replacement,
    ) -> Result<BTreeMap<String, Applied>, Failure> {
        let live = self.live(run_id, control_token)?;
        let asked = AskedModel { agent: &live.agent, model: &live.model, ignore_unused: false };
        let Replacement { for_servers, for_models } = replacement;
        if for_servers.is_empty() && for_models.is_empty() {
            let description =
                "name the sets to replace, here, in `mcp_headers` or in `per_run_model_headers`";
            return Err(Failure::Invalid(Violation::field("per_run_mcp_headers", description).into()));
        }
        let with_servers = |violations, bytes| {
            live.headers.replace(&live.agent, &live.parts.servers, for_servers, violations, bytes)
        };
        live.model_headers.replace(for_models, &asked, with_servers).map_err(Failure::Invalid)?;
        Ok(live.headers.applied(&live.parts.digest_key))
    }

    /// Answers calls of a live streamed run that wait for its caller. `others` is what is wrong with the request already; an
    /// answer that it is about is `None`.
    ///
    /// # Errors
    /// This process holds no such run, or the token is not its own; or the run waits for no such answers, and takes none.
    pub fn submit_input(
        &self,
        run_id: &str,
        control_token: &str,
        answers: Vec<(String, Option<Answer>)>,
        others: Violations,
    ) -> Result<(), Failure> {
        self.live(run_id, control_token)?.inputs.submit(answers, others).map_err(Failure::Invalid)
    }

    fn live(&self, run_id: &str, control_token: &str) -> Result<Live, Failure> {
        let run = RunId::parse(run_id).and_then(|id| self.0.live.find(id, control_token));
        run.ok_or_else(|| Failure::RunNotFound { instance: self.parts().instance.clone() })
    }

    /// Admits no more runs, and has those that wait for their callers' answers end without them.
    pub fn close(&self) {
        self.0.closing.cancel();
        self.0.places.close();
        self.0.tasks.close();
    }

    /// Whether no more runs are admitted.
    pub fn is_closed(&self) -> bool {
        self.0.places.are_closed()
    }

    /// Waits until no run is live. Only after [`close`](Self::close).
    pub async fn drained(&self) {
        self.0.tasks.wait().await;
    }

    /// The number of live runs.
    pub fn live_runs(&self) -> usize {
        self.0.places.taken()
    }

    /// Ends all live runs.
    pub fn end(&self) {
        self.0.ending.cancel();
    }
}
