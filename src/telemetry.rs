//! Logs and spans.
mod config;
pub use config::{Config, LogFormat};
