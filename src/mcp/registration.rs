//! A registered MCP server at run time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use http::Uri;
use parking_lot::Mutex;

use super::{ServerConfig, pool::Identity};
use crate::{
    egress::{self, Client, Egress, Profile},
    headers::{DigestKey, Merged},
    metrics::McpServer,
};

/// A registered MCP server: its configuration, the connections to it, and what was found out about it.
pub(super) struct Registration {
    pub(super) config: ServerConfig,
    /// What it is measured with.
    pub(super) meter: McpServer,
    /// The endpoint, as rmcp wants it.
    pub(super) endpoint: Arc<str>,
    /// The endpoint, as HTTP wants it.
    pub(super) uri: Uri,
    /// Tells this registration, in this revision, from all others of the process.
    key: u64,
    /// What identities are told apart with.
    digest_key: DigestKey,
    /// The connections; they are shared with all registrations of the same profile.
    pub(super) http: Client,
    /// The most requests of one client at once: as many as there may be runs.
    pub(super) max_concurrent_requests: usize,
    era: AtomicU8,
    silence: Mutex<Silence>,
    sessions: AtomicBool,
    retired: AtomicBool,
}

/// How long a server that falls silent is believed not to know `server/discover`.
const BELIEVE_SILENCE: Duration = Duration::from_secs(10 * 60);

/// How often a server of unknown era did not answer `server/discover`, and what is believed of it for that.
#[derive(Default)]
struct Silence {
    times: u32,
    believed_until: Option<Instant>,
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
    /// See [`egress::Error`].
    pub(super) fn new(
        key: u64,
        config: ServerConfig,
        egress: &Egress,
        max_concurrent_requests: usize,
        digest_key: DigestKey,
        meter: McpServer,
    ) -> Result<Self, egress::Error> {
        let profile = Profile { connect_timeout: config.timeouts.connect, route: config.route.clone() };
        let http = egress.client(profile)?;
        Ok(Self {
            endpoint: config.url.as_str().into(),
            uri: egress::uri(&config.url)?,
            config,
            meter,
            key,
            digest_key,
            http,
            max_concurrent_requests,
            era: AtomicU8::new(Era::Unknown as u8),
            silence: Mutex::default(),
            sessions: AtomicBool::new(false),
            retired: AtomicBool::new(false),
        })
    }

    /// Notes that another one has taken its place: from now on it is only for runs that began before.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// Whether another one has taken its place, so that no client of it is kept.
    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    /// Its number.
    pub(super) fn key(&self) -> u64 {
        self.key
    }

    /// Whose a client with these headers is.
    pub(super) fn identity(&self, headers: &Merged) -> Identity {
        Identity { registration: self.key, headers: self.digest_key.identity(headers) }
    }

    /// The era that was found last. What a server's silence made believe holds for a time only.
    pub(super) fn era(&self) -> Era {
        match self.era.load(Ordering::Relaxed) {
            1 => Era::Discover,
            2 => Era::Initialize,
            _ if self.silence.lock().believed_until.is_some_and(|until| Instant::now() < until) => {
                Era::Initialize
            }
            _ => Era::Unknown,
        }
    }

    /// Remembers an era for the next client. That the handshake works again makes nothing surer that is only believed.
    pub(super) fn remember_era(&self, era: Era) {
        if era == Era::Initialize && self.era() == Era::Initialize {
            return;
        }
        *self.silence.lock() = Silence::default();
        self.era.store(era as u8, Ordering::Relaxed);
    }

    /// Notes that the server did not answer `server/discover`, and then took `initialize`. Once may be a bad moment of a
    /// server that knows both; from the second time on it is believed not to know the first, or each client would wait
    /// in vain.
    pub(super) fn note_silence(&self) {
        let mut silence = self.silence.lock();
        silence.times += 1;
        if silence.times > 1 {
            silence.believed_until = Some(Instant::now() + BELIEVE_SILENCE);
        }
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
