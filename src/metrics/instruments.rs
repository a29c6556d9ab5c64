//! The instruments: their names, units and buckets. The one place where a metric is named.

use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter, UpDownCounter};

/// From what a run takes whose model is a script, to the longest that a run may take by default.
const RUN_SECONDS: [f64; 14] =
    [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 600.0];
/// The conventions' buckets of an agent's invocation.
const INVOCATION_SECONDS: [f64; 13] =
    [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 102.4, 204.8, 409.6];
/// The conventions' buckets of a model's answer, and two more: one that thinks may take minutes.
const MODEL_SECONDS: [f64; 16] =
    [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84, 327.68];
/// The conventions' buckets of tokens.
const TOKENS: [f64; 14] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16384.0,
    65536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];
/// The conventions' buckets of an MCP request.
const MCP_SECONDS: [f64; 14] =
    [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];
/// The conventions' buckets of a call, and more: a call may be a whole run.
const CALL_SECONDS: [f64; 19] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 60.0, 120.0,
    300.0, 600.0,
];

/// All instruments.
pub(super) struct Instruments {
    pub(super) runs: Counter<u64>,
    pub(super) run_duration: Histogram<f64>,
    pub(super) invocation_duration: Histogram<f64>,
    pub(super) tokens: Counter<u64>,
    pub(super) live_runs: UpDownCounter<i64>,
    pub(super) live_runs_limit: Gauge<u64>,
    pub(super) live_streams: UpDownCounter<i64>,
    pub(super) refusals: Counter<u64>,
    pub(super) caller_waits: Counter<u64>,
    pub(super) waiting: UpDownCounter<i64>,
    pub(super) tool_calls: Counter<u64>,
    pub(super) mcp_clients: UpDownCounter<i64>,
    pub(super) mcp_clients_opened: Counter<u64>,
    pub(super) mcp_clients_evicted: Counter<u64>,
    pub(super) mcp_unauthorized: Counter<u64>,
    pub(super) mcp_duration: Histogram<f64>,
    pub(super) model_duration: Histogram<f64>,
    pub(super) model_first_chunk: Histogram<f64>,
    pub(super) model_tokens: Histogram<u64>,
    pub(super) call_duration: Histogram<f64>,
    pub(super) config_reloads: Counter<u64>,
    pub(super) config_successful: Gauge<u64>,
    pub(super) config_success_time: Gauge<f64>,
    pub(super) build_info: Gauge<u64>,
}

impl Instruments {
    pub(super) fn new(meter: &Meter) -> Self {
        let seconds = |name, what, buckets: &[f64]| seconds(meter, name, what, buckets);
        let count =
            |name: &'static str, what: &'static str| meter.u64_counter(name).with_description(what).build();
        let number = |name: &'static str, what: &'static str| {
            meter.i64_up_down_counter(name).with_description(what).build()
        };
        let value =
            |name: &'static str, what: &'static str| meter.u64_gauge(name).with_description(what).build();
        Self {
            runs: count("runwright.runs", "Runs that have ended."),
            run_duration: seconds("runwright.run.duration", "How long runs took.", &RUN_SECONDS),
            invocation_duration: seconds(
                "gen_ai.invoke_agent.duration",
                "How long runs took, by the name that the conventions have for it.",
                &INVOCATION_SECONDS,
            ),
            tokens: count("runwright.tokens", "Tokens that runs have consumed."),
            live_runs: number("runwright.live_runs", "Runs that are live."),
            live_runs_limit: value("runwright.live_runs.limit", "How many runs may be live at once."),
            live_streams: number("runwright.live_streams", "Streams of runs that callers read."),
            refusals: count("runwright.refusals", "Requests that were refused: nothing ran."),
            caller_waits: count("runwright.caller_waits", "Times that a run has waited for its caller."),
            waiting: number("runwright.waiting_for_caller", "What runs wait for from their callers."),
            tool_calls: count("runwright.tool_calls", "Tool calls that models have asked for."),
            mcp_clients: number("runwright.mcp_clients", "Clients of MCP servers that there are."),
            mcp_clients_opened: count("runwright.mcp_clients.opened", "Clients that were opened."),
            mcp_clients_evicted: count("runwright.mcp_clients.evicted", "Kept clients that were given up."),
            mcp_unauthorized: count("runwright.mcp.unauthorized", "Answers 401 of MCP servers."),
            mcp_duration: seconds(
                "mcp.client.operation.duration",
                "How long requests to MCP servers took.",
                &MCP_SECONDS,
            ),
            model_duration: seconds(
                "gen_ai.client.operation.duration",
                "How long requests to models took, with all that was tried again.",
                &MODEL_SECONDS,
            ),
            model_first_chunk: seconds(
                "gen_ai.client.operation.time_to_first_chunk",
                "How long streamed requests to models took until the first piece came.",
                &MODEL_SECONDS,
            ),
            model_tokens: meter
                .u64_histogram("gen_ai.client.token.usage")
                .with_description("Tokens that requests to models have consumed.")
                .with_unit("{token}")
                .with_boundaries(TOKENS.to_vec())
                .build(),
            call_duration: seconds(
                "rpc.server.call.duration",
                "How long calls of this service took.",
                &CALL_SECONDS,
            ),
            config_reloads: count("runwright.config.reloads", "Times that the configuration was read again."),
            config_successful: value(
                "runwright.config.last_reload_successful",
                "Whether the configuration that was read last is in use.",
            ),
            config_success_time: meter
                .f64_gauge("runwright.config.last_reload_success.timestamp")
                .with_description("When the configuration that is in use was read.")
                .with_unit("s")
                .build(),
            build_info: value("runwright.build_info", "Always 1; the label tells the version."),
        }
    }
}

fn seconds(meter: &Meter, name: &'static str, what: &'static str, buckets: &[f64]) -> Histogram<f64> {
    let histogram = meter.f64_histogram(name).with_description(what).with_unit("s");
    histogram.with_boundaries(buckets.to_vec()).build()
}
