//! Runs, their calls of tools, and their waits for their callers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use opentelemetry::KeyValue;

use super::{
    ABORTED, Held, Metrics, ModelRequest,
    named::{Count, Spread},
    tools::Tool,
};

/// A live run.
pub struct Run {
    metrics: Metrics,
    agent: Arc<Agent>,
    mode: &'static str,
    began: Instant,
    ended: AtomicBool,
    _live: Held,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By a rule of its own: its finish reason.
    Finished(&'static str),
    /// With an error.
    Failed {
        /// The reason that its caller is told.
        reason: &'static str,
        /// Whose fault it is: `caller`, `deadline`, `upstream` or `service`.
        fault: &'static str,
    },
}

/// Tokens that were consumed. Cached ones are among the input, those of reasoning among the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Of what the model was shown.
    pub input: u64,
    /// Of what the model said.
    pub output: u64,
    /// Of the input, those that the provider had kept.
    pub cached_input: u64,
    /// Of the output, those that the caller is not shown.
    pub reasoning: u64,
}

/// A call of an MCP server's tool, until it ends.
pub struct ToolCall {
    metrics: Metrics,
    tool: Option<Arc<Tool>>,
}

/// A wait for a run's caller, until it ends.
pub struct CallerWait {
    metrics: Metrics,
    kind: &'static str,
    answered: bool,
    _waiting: Held,
}

/// An agent.
pub(super) struct Agent {
    name: Arc<str>,
    unary: OfMode,
    streamed: OfMode,
    invocation: Spread<f64>,
    tokens: [Count; 4],
}

/// An agent's runs that are unary, or streamed.
#[derive(Default)]
struct OfMode {
    duration: Spread<f64>,
    stopped: Count,
}

/// How most runs end.
const STOP: &str = "stop";

impl Metrics {
    /// A run begins; `streamed` says whether it tells what happens in it.
    pub fn run(&self, agent: &str, streamed: bool) -> Run {
        let agent = self.0.agents.of(agent, |name| Agent {
            name,
            unary: OfMode::default(),
            streamed: OfMode::default(),
            invocation: Spread::default(),
            tokens: Default::default(),
        });
        Run {
            metrics: self.clone(),
            agent,
            mode: if streamed { "streamed" } else { "unary" },
            began: Instant::now(),
            ended: AtomicBool::new(false),
            _live: Held::new(&self.0.instruments.live_runs, Vec::new()),
        }
    }
}

impl Run {
    /// The run has ended, after this time.
    pub fn end(&self, end: End, took: Duration, tokens: Tokens) {
        self.ended.store(true, Ordering::Relaxed);
        let (of, agent, took) = (&self.metrics.0.instruments, &self.agent, took.as_secs_f64());
        let of_mode = if self.mode == "streamed" { &agent.streamed } else { &agent.unary };
        let mode = || KeyValue::new("mode", self.mode);
        of_mode.duration.record(&of.run_duration, took, || [agent.key(), mode()]);
        let named = || KeyValue::new("gen_ai.agent.name", agent.name.clone());
        match end {
            End::Finished(reason) => {
                let attributes = || [agent.key(), KeyValue::new("finish_reason", reason), mode()];
                if reason == STOP {
                    of_mode.stopped.add(&of.runs, 1, attributes);
                } else {
                    of.runs.add(1, &attributes());
                }
                agent.invocation.record(&of.invocation_duration, took, || [named()]);
            }
            End::Failed { reason, fault } => {
                let error = KeyValue::new("error.type", reason);
                of.runs.add(1, &[agent.key(), error.clone(), KeyValue::new("fault", fault), mode()]);
                of.invocation_duration.record(took, &[error, named()]);
            }
        }
        self.count_tokens(tokens);
    }

    fn count_tokens(&self, tokens: Tokens) {
        let Tokens { input, output, cached_input, reasoning } = tokens;
        let kinds =
            [("input", input), ("output", output), ("cached_input", cached_input), ("reasoning", reasoning)];
        let (agent, counter) = (&self.agent, &self.metrics.0.instruments.tokens);
        for ((kind, tokens), count) in kinds.into_iter().zip(&agent.tokens).filter(|((_, n), _)| *n > 0) {
            count.add(counter, tokens, || [agent.key(), KeyValue::new("type", kind)]);
        }
    }

    /// Asks a model: its provider, and its name there, both as they are configured.
    pub fn model_request(&self, provider: &'static str, model: &str) -> ModelRequest {
        self.metrics.model_request(provider, model)
    }

    /// Calls a tool of a registered server.
    pub fn tool_call(&self, mcp_server: &str, tool: &str) -> ToolCall {
        ToolCall { metrics: self.metrics.clone(), tool: Some(self.metrics.0.tools.of(mcp_server, tool)) }
    }

    /// The caller has run a tool of its own, whose name is the caller's.
    pub fn caller_tool(&self, outcome: &'static str) {
        Tool::new("_caller".into(), "_caller").count(&self.metrics.0.instruments, outcome);
    }

    /// A call that reached nobody: there is no such tool, its arguments do not fit, or it was not approved.
    pub fn refused_call(&self, tool: Option<(&str, &str)>) {
        let tool = match tool {
            Some((mcp_server, tool)) => self.metrics.0.tools.of(mcp_server, tool),
            None => Arc::new(Tool::new("_none".into(), "_none")),
        };
        tool.count(&self.metrics.0.instruments, "refused");
    }

    /// Waits for the caller: `credentials`, `approval` or `client_tool`.
    pub fn wait(&self, kind: &'static str) -> CallerWait {
        let waiting = Held::new(&self.metrics.0.instruments.waiting, vec![KeyValue::new("kind", kind)]);
        CallerWait { metrics: self.metrics.clone(), kind, answered: false, _waiting: waiting }
    }
}

impl Drop for Run {
    /// A run that nobody ended panicked, or the process ends.
    fn drop(&mut self) {
        if !self.ended.load(Ordering::Relaxed) {
            let reason = if thread::panicking() { "INTERNAL" } else { "SHUTTING_DOWN" };
            self.end(End::Failed { reason, fault: "service" }, self.began.elapsed(), Tokens::default());
        }
    }
}

impl Agent {
    fn key(&self) -> KeyValue {
        KeyValue::new("agent", self.name.clone())
    }
}

impl ToolCall {
    /// The call has ended: `ok`, `error` or `unknown`.
    pub fn end(mut self, outcome: &'static str) {
        self.count(outcome);
    }

    fn count(&mut self, outcome: &'static str) {
        if let Some(tool) = self.tool.take() {
            tool.count(&self.metrics.0.instruments, outcome);
        }
    }
}

impl Drop for ToolCall {
    fn drop(&mut self) {
        self.count(ABORTED);
    }
}

impl CallerWait {
    /// The caller has answered.
    pub fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for CallerWait {
    fn drop(&mut self) {
        let outcome = if self.answered { "answered" } else { "unanswered" };
        let attributes = [KeyValue::new("kind", self.kind), KeyValue::new("outcome", outcome)];
        self.metrics.0.instruments.caller_waits.add(1, &attributes);
    }
}
