//! A registered MCP server at run time.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU8, Ordering},
};

use reqwest::Client;

use super::ServerConfig;
use crate::egress::{Egress, Profile};

/// A registered MCP server: its configuration, the connections to it, and what was found out about it.
pub(super) struct Registration {
    pub(super) config: ServerConfig,
    /// The endpoint, as rmcp wants it.
    pub(super) uri: Arc<str>,
    /// Tells this registration, in this revision, from all others of the process.
    pub(super) key: u64,
    /// The connections; they are shared with all registrations of the same profile.
    pub(super) http: Client,
    /// The most requests of one client at once: as many as there may be runs.
    pub(super) max_concurrent_requests: usize,
    era: AtomicU8,
    sessions: AtomicBool,
}

/// Which way of starting a conversation a server understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Era {
    /// Not known yet.
    Unknown = 0,
    /// `server/discover`, from revision 2026-07-28.
    Discover = 1,
    /// `initialize`, up to revision 2025-11-25.
    Initialize = 2,
}

impl Registration {
    /// Registers a server.
    ///
    /// # Errors
    /// The HTTP client can't be built.
    pub(super) fn new(
        key: u64,
        config: ServerConfig,
        egress: &Egress,
        max_concurrent_requests: usize,
    ) -> Result<Self, reqwest::Error> {
        let http = egress.client(Profile { connect_timeout: config.timeouts.connect })?;
        Ok(Self {
            uri: config.url.as_str().into(),
            config,
            key,
            http,
            max_concurrent_requests,
            era: AtomicU8::new(Era::Unknown as u8),
            sessions: AtomicBool::new(false),
        })
    }

    /// The era that was found last.
    pub(super) fn era(&self) -> Era {
        match self.era.load(Ordering::Relaxed) {
            1 => Era::Discover,
            2 => Era::Initialize,
            _ => Era::Unknown,
        }
    }

    /// Remembers an era for the next client.
    pub(super) fn remember_era(&self, era: Era) {
        self.era.store(era as u8, Ordering::Relaxed);
    }

    /// Whether the last client that was opened was given a session.
    pub(super) fn gives_sessions(&self) -> bool {
        self.sessions.load(Ordering::Relaxed)
    }

    /// Remembers whether a client was given a session.
    pub(super) fn remember_sessions(&self, given: bool) {
        self.sessions.store(given, Ordering::Relaxed);
    }
}
