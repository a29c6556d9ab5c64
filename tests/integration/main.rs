//! One binary for all integration tests: a file a behaviour. The service runs in process, over real sockets on loopback;
//! `support` has the servers that it meets.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_types,
    reason = "what stands beside the tests may panic, and reads statuses, too"
)]

mod support;

mod catalog;
mod conversation;
mod errors;
mod ids;
mod layers;
mod lifecycle;
mod readme;
mod refusals;
mod routing;
mod sessions;
mod sizes;
mod slow_readers;
mod streams;
mod upstream_errors;
mod violations;
