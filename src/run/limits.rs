//! Bounds on runs.

use std::time::Duration;

/// Bounds on the runs of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most runs at once; one more is refused.
    pub max_concurrent_runs: usize,
    /// The longest time of any run.
    pub run_timeout: Duration,
    /// How long live runs may go on when the process is to end.
    pub drain_timeout: Duration,
    /// The largest request, in bytes.
    pub max_request_bytes: usize,
}

impl Limits {
    /// The bounds where none is configured.
    pub const DEFAULT: Self = Self {
        max_concurrent_runs: 10_000,
        run_timeout: Duration::from_secs(10 * 60),
        drain_timeout: Duration::from_secs(10 * 60),
        max_request_bytes: 4 * 1024 * 1024,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
