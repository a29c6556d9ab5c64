//! What is counted and measured: the instruments, and what records in them.
//!
//! Names are those of OpenTelemetry's conventions for generative AI, MCP and RPC where they have one; `runwright.*` is ours.
//! `docs/metrics.md` lists them all. Who gets the numbers is not known here (see `telemetry::meters`).
//!
//! Nothing that a caller writes is ever an attribute: agents, models and servers are named as the configuration names them,
//! reasons are of closed lists, and of a server's tools no more are told apart than [`tools`] allows.
//!
//! What is usual is bound to its series once ([`named`]); what is not is looked up by its attributes, which are sorted by
//! their keys, as the SDK wants them. What ends is a guard: what is dropped before its end is recorded all the same.

mod instruments;
mod mcp;
mod model;
mod named;
mod rpc;
mod run;
mod tools;

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use opentelemetry::{
    KeyValue,
    metrics::{Meter, MeterProvider, NoopMeterProvider, UpDownCounter},
};

use instruments::Instruments;
pub use mcp::{McpClient, McpServer, Method, Operation, State};
pub use model::ModelRequest;
use named::Named;
pub use rpc::Call;
pub use run::{CallerWait, End, Run, Tokens, ToolCall};
use tools::Tools;

/// The `error.type` of what was given up before it came to an end.
const ABORTED: &str = "aborted";

/// Where everything is recorded. Clones share it.
#[derive(Clone)]
pub struct Metrics(Arc<Shared>);

struct Shared {
    instruments: Instruments,
    methods: Named<rpc::Method>,
    agents: Named<run::Agent>,
    /// By their providers.
    models: Named<Named<model::Model>>,
    tools: Tools,
}

/// One more that there is, until it is dropped.
pub struct Held {
    counter: UpDownCounter<i64>,
    attributes: Vec<KeyValue>,
}

impl Metrics {
    /// Makes the instruments. `max_live_runs` is the limit that is told beside the number of live runs.
    pub fn new(meter: &Meter, max_live_runs: usize) -> Self {
        let metrics = Self(Arc::new(Shared {
            instruments: Instruments::new(meter),
            methods: Named::default(),
            agents: Named::default(),
            models: Named::default(),
            tools: Tools::default(),
        }));
        metrics.begin(max_live_runs);
        metrics
    }

    /// What counts from its start has a value before anything happens, so that its first rise is seen.
    fn begin(&self, max_live_runs: usize) {
        let of = &self.0.instruments;
        of.build_info.record(1, &[KeyValue::new("version", env!("CARGO_PKG_VERSION"))]);
        self.limited_to(max_live_runs);
        of.live_runs.add(0, &[]);
        of.live_streams.add(0, &[]);
        for outcome in ["success", "failure"] {
            of.config_reloads.add(0, &[KeyValue::new("outcome", outcome)]);
        }
        self.note_config(true);
    }

    /// Notes how many runs may be live from now on.
    pub fn limited_to(&self, max_live_runs: usize) {
        self.0.instruments.live_runs_limit.record(max_live_runs.try_into().unwrap_or(u64::MAX), &[]);
    }

    /// Notes that the configuration was read again: whether it is in use now. Where it is not, the one before it still is.
    pub fn config_reloaded(&self, ok: bool) {
        let outcome = if ok { "success" } else { "failure" };
        self.0.instruments.config_reloads.add(1, &[KeyValue::new("outcome", outcome)]);
        self.note_config(ok);
    }

    fn note_config(&self, ok: bool) {
        let of = &self.0.instruments;
        of.config_successful.record(u64::from(ok), &[]);
        if let Some(now) = SystemTime::now().duration_since(UNIX_EPOCH).ok().filter(|_| ok) {
            of.config_success_time.record(now.as_secs_f64(), &[]);
        }
    }

    /// Counts a request that was refused: nothing ran. `reason` is the one that its caller is told.
    pub fn refused(&self, reason: &'static str) {
        self.0.instruments.refusals.add(1, &[KeyValue::new("reason", reason)]);
    }

    /// One more stream that a caller reads.
    pub fn stream(&self) -> Held {
        Held::new(&self.0.instruments.live_streams, Vec::new())
    }
}

impl Default for Metrics {
    /// Nobody gets these.
    fn default() -> Self {
        Self::new(&NoopMeterProvider::new().meter("runwright"), 0)
    }
}

impl Held {
    fn new(counter: &UpDownCounter<i64>, attributes: Vec<KeyValue>) -> Self {
        counter.add(1, &attributes);
        Self { counter: counter.clone(), attributes }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.counter.add(-1, &self.attributes);
    }
}
