//! A run, and what it asks of models, tools and its caller.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use opentelemetry::KeyValue;

use super::{ABORTED, Held, Metrics, tools::Named};

/// A live run.
pub struct Run {
    metrics: Metrics,
    agent: Arc<str>,
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

/// A request to a model, until it ends.
pub struct ModelRequest {
    metrics: Metrics,
    provider: &'static str,
    model: Arc<str>,
    began: Instant,
    ended: bool,
}

/// A call of an MCP server's tool, until it ends.
pub struct ToolCall {
    metrics: Metrics,
    named: Option<Named>,
}

/// A wait for a run's caller, until it ends.
pub struct CallerWait {
    metrics: Metrics,
    kind: &'static str,
    answered: bool,
    _waiting: Held,
}

impl Metrics {
    /// A run begins. `mode` is `unary` or `streamed`.
    pub fn run(&self, agent: &str, mode: &'static str) -> Run {
        Run {
            metrics: self.clone(),
            agent: agent.into(),
            mode,
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
        let of = &self.metrics.0.instruments;
        let agent = || KeyValue::new("agent", self.agent.clone());
        let mode = || KeyValue::new("mode", self.mode);
        let named = KeyValue::new("gen_ai.agent.name", self.agent.clone());
        let took = took.as_secs_f64();
        of.run_duration.record(took, &[agent(), mode()]);
        match end {
            End::Finished(reason) => {
                of.runs.add(1, &[agent(), KeyValue::new("finish_reason", reason), mode()]);
                of.invocation_duration.record(took, &[named]);
            }
            End::Failed { reason, fault } => {
                let error = KeyValue::new("error.type", reason);
                of.runs.add(1, &[agent(), error.clone(), KeyValue::new("fault", fault), mode()]);
                of.invocation_duration.record(took, &[error, named]);
            }
        }
        let Tokens { input, output, cached_input, reasoning } = tokens;
        let kinds =
            [("input", input), ("output", output), ("cached_input", cached_input), ("reasoning", reasoning)];
        for (kind, count) in kinds.into_iter().filter(|(_, count)| *count > 0) {
            of.tokens.add(count, &[agent(), KeyValue::new("type", kind)]);
        }
    }

    /// Asks a model: its provider, and its name there, both as they are configured.
    pub fn model_request(&self, provider: &'static str, model: &str) -> ModelRequest {
        let metrics = self.metrics.clone();
        ModelRequest { metrics, provider, model: model.into(), began: Instant::now(), ended: false }
    }

    /// Calls a tool of a registered server.
    pub fn tool_call(&self, mcp_server: &str, tool: &str) -> ToolCall {
        let named = self.metrics.0.tools.of(mcp_server, tool);
        ToolCall { metrics: self.metrics.clone(), named: Some(named) }
    }

    /// The caller has run a tool of its own, whose name is the caller's.
    pub fn caller_tool(&self, outcome: &'static str) {
        count_call(&self.metrics, ("_caller".into(), "_caller".into()), outcome);
    }

    /// A call that reached nobody: there is no such tool, its arguments do not fit, or it was not approved.
    pub fn refused_call(&self, tool: Option<(&str, &str)>) {
        let named = match tool {
            Some((mcp_server, tool)) => self.metrics.0.tools.of(mcp_server, tool),
            None => ("_none".into(), "_none".into()),
        };
        count_call(&self.metrics, named, "refused");
    }

    /// Waits for the caller: `credentials`, `approval` or `client_tool`.
    pub fn wait(&self, kind: &'static str) -> CallerWait {
        let waiting = Held::new(&self.metrics.0.instruments.waiting, vec![KeyValue::new("kind", kind)]);
        CallerWait { metrics: self.metrics.clone(), kind, answered: false, _waiting: waiting }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if self.ended.load(Ordering::Relaxed) {
            return;
        }
        let reason = if thread::panicking() { "INTERNAL" } else { "SHUTTING_DOWN" };
        self.end(End::Failed { reason, fault: "service" }, self.began.elapsed(), Tokens::default());
    }
}

impl ModelRequest {
    /// The first piece of a streamed answer has come.
    pub fn first_chunk(&self) {
        let took = self.began.elapsed().as_secs_f64();
        self.metrics.0.instruments.model_first_chunk.record(took, &self.attributes());
    }

    /// The answer is there.
    pub fn answered(mut self, tokens: Tokens) {
        self.record(None);
        let [operation, provider, model] = self.attributes();
        let histogram = &self.metrics.0.instruments.model_tokens;
        let mut attributes = [operation, provider, model, KeyValue::new("gen_ai.token.type", "input")];
        histogram.record(tokens.input, &attributes);
        attributes[3] = KeyValue::new("gen_ai.token.type", "output");
        histogram.record(tokens.output, &attributes);
    }

    /// There is no answer; `reason` is the one that the run would fail with.
    pub fn failed(mut self, reason: &'static str) {
        self.record(Some(reason));
    }

    fn record(&mut self, error: Option<&'static str>) {
        self.ended = true;
        let took = self.began.elapsed().as_secs_f64();
        let histogram = &self.metrics.0.instruments.model_duration;
        let [operation, provider, model] = self.attributes();
        match error {
            Some(error) => {
                histogram.record(took, &[KeyValue::new("error.type", error), operation, provider, model]);
            }
            None => histogram.record(took, &[operation, provider, model]),
        }
    }

    fn attributes(&self) -> [KeyValue; 3] {
        [
            KeyValue::new("gen_ai.operation.name", "chat"),
            KeyValue::new("gen_ai.provider.name", self.provider),
            KeyValue::new("gen_ai.request.model", self.model.clone()),
        ]
    }
}

impl Drop for ModelRequest {
    fn drop(&mut self) {
        if !self.ended {
            self.record(Some(ABORTED));
        }
    }
}

impl ToolCall {
    /// The call has ended: `ok`, `error` or `unknown`.
    pub fn end(mut self, outcome: &'static str) {
        self.record(outcome);
    }

    fn record(&mut self, outcome: &'static str) {
        if let Some(named) = self.named.take() {
            count_call(&self.metrics, named, outcome);
        }
    }
}

impl Drop for ToolCall {
    fn drop(&mut self) {
        self.record(ABORTED);
    }
}

fn count_call(metrics: &Metrics, (mcp_server, tool): Named, outcome: &'static str) {
    let server = KeyValue::new("mcp_server", mcp_server);
    let attributes = [server, KeyValue::new("outcome", outcome), KeyValue::new("tool", tool)];
    metrics.0.instruments.tool_calls.add(1, &attributes);
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
