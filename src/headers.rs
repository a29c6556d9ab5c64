//! HTTP headers for MCP servers: what may be sent, where each one comes from, and which one wins.
//!
//! A run's request to an MCP server carries the headers of several layers, merged. From the lowest to the highest:
//!
//! 1. [`Layer::Server`]: the server's registered defaults,
//! 2. [`Layer::Agent`]: the agent's own for that server,
//! 3. [`Layer::Run`]: the request's `mcp_headers`,
//! 4. [`Layer::RunServer`]: the request's `per_run_mcp_headers` for that server.
//!
//! A name in a higher layer replaces all of that name below it; names are compared without case. [`merge`] does it and
//! nothing else does. What may not be in any layer stands in [`rules`], one closed table; what callers may not bring to one
//! server in its [`CallerRules`]. Values are secrets by type ([`SecretValue`]): they can be sent and digested, and nothing
//! else.

mod caller_rules;
mod digest;
mod merge;
pub mod rules;
mod set;
mod value;

pub use caller_rules::{CallerRules, Denial};
pub use digest::{DigestKey, IdentityDigest};
pub use merge::{Applied, AppliedHeader, Layer, Merged, MergedHeader, merge};
pub use set::{Header, HeaderSet, Problem};
pub use value::SecretValue;
