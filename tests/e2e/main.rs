//! The real service over real gRPC, against MCP servers and a model endpoint that nobody here wrote, and with the clients of
//! `examples/`. `make e2e` installs and builds those and runs this; plain `cargo test` leaves it out.
//!
//! One file a behaviour. Each test is made for every server that it applies to, and starts a world of its own: the
//! server, a proxy before it that notes every request, and the service. The model is scripted, but where LiteLLM, which all
//! tests share, stands for it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "tests may panic, read statuses and build clients"
)]

/// Makes a test of a behaviour for each named server.
macro_rules! against {
    ($behaviour:path: $($server:ident)+) => {
        $(
            #[tokio::test]
            async fn $server() {
                let server = crate::support::servers::$server;
                let test = $behaviour(crate::support::World::start(server).await);
                crate::support::within_all(test).await;
            }
        )+
    };
}

mod cancelling;
mod catalogue;
mod checking;
mod clients;
mod grpcurl;
mod headers;
mod keeping;
mod litellm;
mod outliving;
mod refusing;
mod runs;
mod sessions;
mod shutdown;
mod support;
