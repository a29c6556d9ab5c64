//! MCP servers.
mod config;
pub use config::{KeptClients, ServerConfig, SessionScope, Timeouts};
