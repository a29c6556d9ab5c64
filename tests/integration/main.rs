//! One binary for all integration tests: a file a behaviour. The service runs in process, over real sockets on loopback;
//! `support` has the servers that it meets.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_types,
    reason = "what stands beside the tests may panic, and reads statuses, too"
)]

mod support;

mod approvals;
mod audit;
mod caller_headers;
mod catalog;
mod client_tools;
mod configuration;
mod conversation;
mod docs;
mod egress;
mod egress_tls;
mod errors;
mod healthcheck;
mod http2_attacks;
mod ids;
mod ill_models;
mod isolation;
mod layers;
mod leak;
mod lifecycle;
mod limits;
mod logging;
mod mcp_answers;
mod mcp_cancel;
mod mcp_eras;
mod mcp_faults;
mod mcp_limits;
mod mcp_list_keeping;
mod mcp_lists;
mod mcp_opening;
mod mcp_params;
mod mcp_requests;
mod mcp_start;
mod mcp_streams;
mod metrics;
mod model_headers;
mod network_faults;
mod options;
mod otlp;
mod overload;
mod panics;
mod printing;
mod providers;
mod proxy;
mod readme;
mod refresh;
mod refusals;
mod reload;
mod resuming;
mod routing;
mod scrubbing;
mod sessions;
mod shutdown_load;
mod sizes;
mod slow_readers;
mod spans;
mod spending;
mod streams;
mod structured_output;
mod tls;
mod token_sources;
mod unlisted_tools;
mod updates;
mod upstream_errors;
mod versions;
mod violations;
