//! What runs agents: the catalogue of what may be run, admission, and the live runs.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future;
use tokio::{
    sync::{Semaphore, TryAcquireError},
    time::{Instant, timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument;

use super::{
    Answer, Error, Failure, Limits, Plan, Replacement, Run, RunRequest, Schemas, Violations,
    authorization::Waits,
    driver::{Context, drive},
    handle::{Doing, Sink, Work},
    inputs::Inputs,
    live::{Live, LiveRuns},
    model_headers::{self, AskedModel},
    stop::Stop,
};
use crate::{
    agent::Agent,
    headers::{Applied, DigestKey},
    id::{ControlToken, RunId},
    mcp::{self, Connection, RunHeaders, SentOfRun, Servers, ToolList},
    model::Model,
    trace::{self, Correlation},
};

/// How long a shutdown waits for the reader of a run that has ended.
const READ_TIMEOUT: Duration = Duration::from_secs(1);
/// How long after its deadline a listing may still tell servers of its end.
const FAREWELL: Duration = Duration::from_millis(150);
/// When a refused caller should try again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What may be run, and what is running. Clones share it.
#[derive(Clone)]
pub struct Runner(Arc<Parts>, Arc<State>);

/// What a runner is made of. Names in it are resolved.
pub struct Parts {
    /// The agents, by name.
    pub agents: BTreeMap<String, Arc<Agent>>,
    /// Their models, by configured name.
    pub models: BTreeMap<String, Arc<dyn Model>>,
    /// Their MCP servers.
    pub servers: Servers,
    /// The schemas of tools' arguments.
    pub schemas: Schemas,
    /// Bounds on runs.
    pub limits: Limits,
    /// The key of the digests of header values.
    pub digest_key: DigestKey,
    /// The name of this process.
    pub instance: String,
}

struct State {
    places: Arc<Semaphore>,
    tasks: TaskTracker,
    closing: CancellationToken,
    ending: CancellationToken,
    live: LiveRuns,
}

/// Whether a run says what happens in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Only what it comes to.
    Unary,
    /// All its events.
    Streamed,
}

/// A server's tools for a caller, or why there are none.
pub struct ServerTools {
    /// The server's registered name.
    pub mcp_server: String,
    /// All that the server lists; which of them the agent may use is another matter.
    pub tools: Result<Arc<ToolList>, mcp::Error>,
}

impl Runner {
    /// A runner with nothing running.
    pub fn new(parts: Parts) -> Self {
        let state = State {
            places: Arc::new(Semaphore::new(parts.limits.max_concurrent_runs)),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            ending: CancellationToken::new(),
            live: LiveRuns::default(),
        };
        Self(Arc::new(parts), Arc::new(state))
    }

    /// The catalogue.
    pub fn parts(&self) -> &Parts {
        &self.0
    }

    /// An agent, by its name.
    ///
    /// # Errors
    /// There is none.
    pub fn agent(&self, name: &str) -> Result<Arc<Agent>, Failure> {
        let agent = self.0.agents.get(name).cloned();
        agent.ok_or_else(|| Failure::AgentNotFound(name.chars().take(64).collect()))
    }

    /// Starts a run: from here on it comes to exactly one end, and is told to stop when the [`Run`] is dropped.
    ///
    /// # Errors
    /// There are too many runs, or this process is ending. Nothing was asked of any upstream.
    pub fn start(&self, mut request: RunRequest, mode: Mode) -> Result<Run, Error> {
        let request_id = request.correlation.request_id.clone();
        let refuse = |failure| Error::refused(request_id.clone(), failure);
        let fault = |what| refuse(Failure::incident(what, &request_id));
        let Self(parts, state) = self;
        // Before the place is taken: a shutdown that comes between waits for this run.
        let tracked = state.tasks.token();
        let place = state.places.clone().try_acquire_owned().map_err(|error| {
            refuse(match error {
                TryAcquireError::NoPermits => Failure::Overloaded { retry_after: RETRY_AFTER },
                TryAcquireError::Closed => Failure::ShuttingDown,
            })
        })?;
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
                stop: stop.clone(),
                agent: request.agent.clone(),
                headers: request.headers.clone(),
                model: request.model.clone(),
                model_headers: request.model_headers.clone(),
                inputs: inputs.clone(),
            };
            state.live.enter(run_id, token, live)
        });
        let context = Context {
            run_id,
            request,
            model,
            sink,
            stop: stop.clone(),
            runner: parts.clone(),
            control_token: token,
            waits: Waits::default(),
            inputs,
            closing: state.closing.clone(),
        };
        let (tasks, reader) = (state.tasks.clone(), CancellationToken::new());
        let reading = reader.clone().drop_guard();
        let work = async move {
            let result = drive(context).await;
            // The end may not have reached the run's reader yet: a shutdown waits for it, but not for one that does not read.
            if tasks.is_closed() {
                tasks.spawn(async move { timeout(READ_TIMEOUT, reader.cancelled()).await });
            }
            drop((live, place, tracked));
            result
        };
        let doing: Doing = Box::pin(work.instrument(lines));
        let work = match mode {
            Mode::Unary => Work::Caller(Some(doing)),
            Mode::Streamed => Work::Task(state.tasks.spawn(doing)),
        };
        Ok(Run::new(run_id, request_id, events, work, stop, reading))
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
        let mut violations = Violations::default();
        let names_models = !replacement.for_models.is_empty();
        let for_models = model_headers::check(replacement.for_models, &asked, &mut violations);
        let for_servers = replacement.for_servers;
        if !for_servers.is_empty() || !names_models {
            live.headers.replace(&live.agent, &self.0.servers, for_servers, violations)
        } else if violations.is_empty() {
            Ok(())
        } else {
            Err(violations)
        }
        .map_err(Failure::Invalid)?;
        live.model_headers.replace(for_models);
        Ok(live.headers.applied(&self.0.digest_key))
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
        let run = RunId::parse(run_id).and_then(|id| self.1.live.find(id, control_token));
        run.ok_or_else(|| Failure::RunNotFound { instance: self.0.instance.clone() })
    }

    /// Asks some of an agent's servers for their tools, with a caller's headers. A server that has not answered by the
    /// deadline counts as unavailable; the others' answers stand.
    pub async fn list_tools(
        &self,
        agent: &Agent,
        plan: Plan,
        only: &[String],
        correlation: &Correlation,
        deadline: Instant,
    ) -> Vec<ServerTools> {
        let wanted = agent.mcp_servers.iter().filter(|s| only.is_empty() || only.contains(&s.name));
        let (mut plan, of_run) = (plan, SentOfRun::default());
        let listings = wanted.filter_map(|server| {
            let outgoing = correlation.outgoing(&correlation.span);
            let headers = Arc::new(RunHeaders::new(plan.remove(&server.name)?, of_run.clone()));
            let connection = self.0.servers.connect(&server.name, headers, correlation.clone(), outgoing)?;
            Some(async move {
                let listed = timeout_at(deadline, list(&connection)).await;
                let tools = listed.unwrap_or_else(|_| Err(mcp::Error::late(&server.name)));
                connection.close(deadline + FAREWELL).await;
                ServerTools { mcp_server: server.name.clone(), tools }
            })
        });
        future::join_all(listings).await
    }

    /// Admits no more runs, and has those that wait for their callers' answers end without them.
    pub fn close(&self) {
        self.1.closing.cancel();
        self.1.places.close();
        self.1.tasks.close();
    }

    /// Waits until no run is live. Only after [`close`](Self::close).
    pub async fn drained(&self) {
        self.1.tasks.wait().await;
    }

    /// The number of live runs.
    pub fn live_runs(&self) -> usize {
        self.0.limits.max_concurrent_runs - self.1.places.available_permits()
    }

    /// Ends all live runs.
    pub fn end(&self) {
        self.1.ending.cancel();
    }
}

/// A server's tools. Where it refuses a registered credential that has another value by now, it is asked once more.
async fn list(connection: &Connection) -> Result<Arc<ToolList>, mcp::Error> {
    match connection.tools().await {
        Err(refused) if refused.is_refusal() && connection.renew(&refused).await? => connection.tools().await,
        listed => listed,
    }
}
