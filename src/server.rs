//! The process's two listeners.
mod config;
pub use config::Config;
