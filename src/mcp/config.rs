//! A registered MCP server, as it is configured.

use std::time::Duration;

use url::Url;

use crate::{credential, egress::Route, headers::CallerRules};

/// A registered MCP server.
#[derive(Clone)]
pub struct ServerConfig {
    /// `[a-z0-9-]{1,32}`.
    pub name: String,
    /// The endpoint, `http` or `https`. Its query may be a secret: only [`ServerConfig::origin`] is ever shown.
    pub url: Url,
    /// The way there.
    pub route: Route,
    /// The registered default headers.
    pub headers: credential::Headers,
    /// What callers may bring, and what they must.
    pub caller_headers: CallerRules,
    /// How long an open client is kept.
    pub session_scope: SessionScope,
    /// How long a tool list is good where the server does not say.
    pub tools_ttl: Duration,
    /// The largest body, and the largest SSE event, that is read from the server, in bytes.
    pub max_body_bytes: usize,
    /// How long the server may take.
    pub timeouts: Timeouts,
}

/// How long an open client is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SessionScope {
    /// For the identity where the server gives no session id, for the run where it does.
    #[default]
    Auto,
    /// For the run.
    Run,
    /// For the identity, with its session.
    Identity,
}

/// How long an MCP server may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// For each request that opens a client or lists its tools, its answer included.
    pub startup: Duration,
    /// For a tool call, its answer included.
    pub call: Duration,
}

/// Bounds on the open clients that are kept for the next run of their identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptClients {
    /// The most that are kept.
    pub max: usize,
    /// The longest time without a run.
    pub idle: Duration,
    /// The longest time since it was opened.
    pub age: Duration,
}

impl ServerConfig {
    /// Scheme, host and port.
    pub fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }
}

impl Timeouts {
    /// The times where none is configured.
    pub const DEFAULT: Self = Self {
        connect: Duration::from_secs(5),
        startup: Duration::from_secs(10),
        call: Duration::from_secs(60),
    };
}

impl KeptClients {
    /// The bounds where none is configured.
    pub const DEFAULT: Self =
        Self { max: 10_000, idle: Duration::from_secs(5 * 60), age: Duration::from_secs(60 * 60) };
}

impl Default for Timeouts {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Default for KeptClients {
    fn default() -> Self {
        Self::DEFAULT
    }
}
