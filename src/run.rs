//! Runs: what a request for one comes to, from its admission to its end.
//!
//! [`Runner::start`] admits a run. Its caller's call, or a task once nobody polls it, performs in [`driver`] what the state machine
//! ([`machine`]) says: it opens the agent's MCP servers with the run's headers, asks the model, calls tools, and so on.
//! When the run is stopped (by `CancelRun`, by its deadline, because the caller is gone, or because this process ends)
//! all that is under way is dropped, and that aborts it; then the servers are told.

mod arguments;
mod attended;
mod audit;
mod authorization;
mod begun;
mod calls;
mod choice;
mod content;
mod driver;
mod error;
mod handle;
mod headers;
mod inputs;
mod limits;
mod live;
mod machine;
mod model_headers;
mod output;
mod parts;
mod places;
mod record;
mod request;
mod runner;
mod schemas;
mod sets;
mod stop;
mod tools;
mod unlisted;
mod violation;

pub use authorization::OnUnauthorized;
pub use error::{Error, Failure, Standing};
pub use handle::Run;
pub use headers::{Plan, RawSet, Requested, key, plan};
pub use inputs::{Answer, Kind};
pub use limits::Limits;
pub use model_headers::{AskedModel, ModelHeaders, RequestedForModels};
pub use parts::{Parts, ServerTools};
pub use request::{Bounds, RunRequest, ToolChoice};
pub use runner::{Mode, Place, Runner};
pub use schemas::Schemas;
pub use sets::{ForServers, Replacement, Sets};
pub use tools::Naming;
pub use violation::{Violation, ViolationKind, Violations};
