//! Stopping a run from outside.

use std::sync::OnceLock;

use tokio_util::sync::CancellationToken;

use super::Failure;

/// Stops one run. The first cause counts.
pub(super) struct Stop {
    token: CancellationToken,
    cause: OnceLock<Failure>,
}

impl Stop {
    /// A stop that also goes off when `ending` does, as this process ends.
    pub(super) fn new(ending: &CancellationToken) -> Self {
        Self { token: ending.child_token(), cause: OnceLock::new() }
    }

    pub(super) fn stop(&self, cause: Failure) {
        // One that comes second changes nothing.
        let _ = self.cause.set(cause);
        self.token.cancel();
    }

    /// Waits until the run is to stop.
    pub(super) async fn stopped(&self) -> Failure {
        self.token.cancelled().await;
        self.cause.get().cloned().unwrap_or(Failure::ShuttingDown)
    }
}
