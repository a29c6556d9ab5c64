//! One binary for all integration tests: a file a behaviour. The service runs in process, over real sockets on loopback;
//! `support` has the servers that it meets.

mod support;

mod layers;
mod readme;
mod routing;
mod sessions;
