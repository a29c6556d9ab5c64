//! What the tests share: a world to act in, and waiting with a deadline.

use std::time::Duration;

use tokio::time::timeout;

/// The same as in the integration tests, which also take from it what is not needed here.
#[allow(dead_code, reason = "the integration tests take the rest")]
#[path = "../integration/support/collector.rs"]
pub mod collector;
pub mod demo;
pub mod litellm;
pub mod process;
pub mod proxy;
pub mod relay;
pub mod servers;
pub mod service;
pub mod upstream;

use proxy::Proxy;
// So shared code calls it.
use servers::{Server, Started};
pub use service::{Caller, Service};
use within as soon;

/// The longest that anything here may take; far more than it does on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);
/// The longest that a whole test may take: some wait had no end of its own.
const TEST_DEADLINE: Duration = Duration::from_secs(180);

/// A server, a proxy before it, and the service, which knows the server by the name `subject`.
pub struct World {
    pub server: Started,
    pub proxy: Proxy,
    pub service: Service,
}

impl World {
    pub async fn start(server: Server) -> Self {
        let server = Started::start(server).await;
        let proxy = Proxy::start(server.port).await;
        let service = Service::start(&server.kind, &proxy.url()).await;
        Self { server, proxy, service }
    }
}

/// Waits for something that must happen.
pub async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    timeout(DEADLINE, work).await.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}

/// Runs a test's body, which may not hang.
pub async fn within_all(test: impl Future<Output = ()>) {
    timeout(TEST_DEADLINE, test).await.unwrap_or_else(|_| panic!("not within {TEST_DEADLINE:?}"));
}
