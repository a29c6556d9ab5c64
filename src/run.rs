//! Runs.
mod limits;
pub use limits::Limits;
