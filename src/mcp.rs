//! MCP servers: registrations, and a run's connections to them. The only module that knows rmcp.
//!
//! An open client belongs to one **identity**: a registration in its revision, and the digest of the merged headers.
//! Two identities never share a client, a session or a tool list. What a run has is a [`Connection`]: a client of its
//! identity ([`pool`]), leased with the run's headers ([`slot`]), through which the backend ([`backend`]) sends every
//! request of that run to that server.

mod answer;
mod backend;
mod call;
mod client;
mod config;
mod connection;
mod direct;
mod dozing;
mod fault;
mod kept_tools;
mod open;
mod plain_post;
mod plain_request;
mod pool;
mod progress;
mod registration;
mod render;
mod run_headers;
mod slot;
mod streamed;
mod tools;
mod transport;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use http::StatusCode;
use thiserror::Error as ThisError;

use crate::{
    egress::{self, Egress},
    event::{AuthChallenge, Challenge, Phase},
    headers::{DigestKey, Layer},
    metrics::Metrics,
    trace::{Correlation, Outgoing},
};
pub use call::CallOutcome;
pub use config::{KeptClients, ServerConfig, SessionScope, Timeouts};
pub use connection::Connection;
use fault::Fault;
use pool::Pool;
use registration::Registration;
use run_headers::SentSet;
pub use run_headers::{RunHeaders, SentOfRun};
pub use tools::{DroppedTool, Tool, ToolList};

/// The registered MCP servers, and the clients that are kept for them.
pub struct Servers {
    registrations: BTreeMap<String, Arc<Registration>>,
    kept_clients: KeptClients,
    common: Arc<Common>,
}

/// What stays the same when servers are registered anew.
struct Common {
    pool: Arc<Pool>,
    /// The number of the next registration: none comes twice in a process.
    next: AtomicU64,
    /// What identities are told apart with.
    key: DigestKey,
    metrics: Metrics,
}

/// Why a server can't be used. The texts are ours: nothing of a server's body is in them.
#[derive(Clone, Debug, ThisError)]
#[error("MCP server `{mcp_server}`: {problem}")]
pub struct Error {
    /// The server's registered name.
    pub mcp_server: String,
    /// What was being done.
    pub phase: Phase,
    /// What is wrong.
    pub problem: Problem,
    /// The revision of the run's headers that was sent.
    pub revision: u64,
}

/// What is wrong with a server.
#[derive(Clone, Debug, ThisError, PartialEq, Eq)]
pub enum Problem {
    /// It answered 401. With the layer of the credential that it refused; `None`: it was sent none that is known as one.
    #[error("{}", unauthorized(*.1))]
    Unauthorized(Box<Challenge>, Option<Layer>),
    /// It answered 403. With the layer of the credential that it refused.
    #[error("it forbids the access (403)")]
    Forbidden(Box<Challenge>, Option<Layer>),
    /// It can't be reached, or fails.
    #[error("{0}")]
    Unavailable(String),
    /// A registered header for it has no value.
    #[error("{0}")]
    CredentialSource(String),
    /// It speaks no MCP that is known here.
    #[error("{0}")]
    Protocol(String),
}

impl Servers {
    /// Registers servers. A client may have as many requests under way as there may be runs.
    ///
    /// # Errors
    /// See [`egress::Error`].
    pub fn new(
        configs: impl IntoIterator<Item = ServerConfig>,
        kept_clients: KeptClients,
        max_concurrent_runs: usize,
        key: DigestKey,
        egress: &Egress,
        metrics: &Metrics,
    ) -> Result<Self, egress::Error> {
        let pool = Arc::new(Pool::new(kept_clients));
        let common = Common { pool, next: AtomicU64::new(0), key, metrics: metrics.clone() };
        let none = Self { registrations: BTreeMap::new(), kept_clients, common: Arc::new(common) };
        none.after(configs, |_| false, kept_clients, max_concurrent_runs, egress)
    }

    /// What is registered after a reload. A server that is `unchanged` keeps its registration, and with it all that was found
    /// out about it and its kept clients. Nothing has happened before [`take_over`](Self::take_over).
    ///
    /// # Errors
    /// See [`egress::Error`].
    pub fn after(
        &self,
        configs: impl IntoIterator<Item = ServerConfig>,
        unchanged: impl Fn(&str) -> bool,
        kept_clients: KeptClients,
        max_concurrent_runs: usize,
        egress: &Egress,
    ) -> Result<Self, egress::Error> {
        let common = &self.common;
        let mut registrations = BTreeMap::new();
        for config in configs {
            let name = config.name.clone();
            let before = self.registrations.get(&name).filter(|_| unchanged(&name));
            // Its open clients were told how many requests they may have under way.
            let before = before.filter(|before| before.max_concurrent_requests >= max_concurrent_runs);
            let registration = match before {
                Some(before) => before.clone(),
                None => {
                    let number = common.next.fetch_add(1, Ordering::Relaxed);
                    let (key, meter) = (common.key.clone(), common.metrics.mcp_server(&name));
                    Arc::new(Registration::new(number, config, egress, max_concurrent_runs, key, meter)?)
                }
            };
            registrations.insert(name, registration);
        }
        Ok(Self { registrations, kept_clients, common: common.clone() })
    }

    /// Takes the place of what was registered before: no client is kept any more of what is not registered now. Those that
    /// runs lease end with the last of these runs.
    pub fn take_over(&self, before: &Self) {
        let current: BTreeSet<u64> = self.registrations.values().map(|registered| registered.key()).collect();
        for gone in before.registrations.values().filter(|gone| !current.contains(&gone.key())) {
            gone.retire();
        }
        self.common.pool.rebound(self.kept_clients, &current);
    }

    /// A server's configuration.
    pub fn get(&self, name: &str) -> Option<&ServerConfig> {
        self.registrations.get(name).map(|registration| &registration.config)
    }

    /// All servers' configurations, by name.
    pub fn iter(&self) -> impl Iterator<Item = &ServerConfig> {
        self.registrations.values().map(|registration| &registration.config)
    }

    /// A run's connection to a registered server. Nothing is sent yet. `outgoing` is what the opening carries.
    pub fn connect(
        &self,
        name: &str,
        headers: Arc<RunHeaders>,
        correlation: Correlation,
        outgoing: Outgoing,
    ) -> Option<Connection> {
        let registration = self.registrations.get(name)?;
        let pool = self.common.pool.clone();
        Some(Connection::new(pool, registration.clone(), headers, correlation, outgoing))
    }

    /// Closes clients that nobody uses, and gives up what stays of them after long, for as long as the process lives.
    /// That goes on when servers are registered anew.
    pub fn sweep(&self) -> impl Future<Output = ()> + Send + use<> {
        let pool = self.common.pool.clone();
        async move { pool.sweep().await }
    }

    /// How many clients are kept, those that doze included.
    pub fn kept_clients(&self) -> usize {
        self.common.pool.len()
    }
}

/// What a 401 means: without a credential the server has refused nothing yet.
fn unauthorized(refused: Option<Layer>) -> &'static str {
    match refused {
        Some(_) => "it refuses the credential (401)",
        None => {
            "it asks for a credential (401), and was sent none that is known as one; bring one in `per_run_mcp_headers` for \
             this server, or register one in its `headers`"
        }
    }
}

impl Error {
    /// A server that has not listed its tools when its caller waits no longer.
    pub fn late(mcp_server: &str) -> Self {
        let problem = Problem::Unavailable("the server did not answer before the deadline".to_owned());
        Self { mcp_server: mcp_server.to_owned(), phase: Phase::Listing, problem, revision: 0 }
    }

    /// Whether another credential may mend it: a 401, or a 403 that asks for more scope (RFC 6750 section 3.1).
    pub fn is_refusal(&self) -> bool {
        match &self.problem {
            Problem::Unauthorized(..) => true,
            Problem::Forbidden(challenge, _) => challenge.error == "insufficient_scope",
            Problem::Unavailable(_) | Problem::CredentialSource(_) | Problem::Protocol(_) => false,
        }
    }

    /// The layer of the credential that the server refused, if it refused one.
    pub fn refused_layer(&self) -> Option<Layer> {
        match self.problem {
            Problem::Unauthorized(_, layer) | Problem::Forbidden(_, layer) => layer,
            Problem::Unavailable(_) | Problem::CredentialSource(_) | Problem::Protocol(_) => None,
        }
    }

    /// What the server said, if it refused a credential or an access.
    pub fn challenge(&self) -> Option<AuthChallenge> {
        let (Problem::Unauthorized(challenge, layer) | Problem::Forbidden(challenge, layer)) = &self.problem
        else {
            return None;
        };
        Some(AuthChallenge {
            mcp_server: self.mcp_server.clone(),
            phase: self.phase,
            challenge: (**challenge).clone(),
            credential_layer: *layer,
        })
    }

    fn new(mcp_server: &str, fault: Fault, phase: Phase, sent: Option<&SentSet>) -> Self {
        let layer = || sent.and_then(SentSet::credential_layer);
        let problem = match fault {
            Fault::Unauthorized(challenge) => Problem::Unauthorized(challenge, layer()),
            Fault::Forbidden(challenge) => Problem::Forbidden(challenge, layer()),
            Fault::ResumptionRefused(StatusCode::UNAUTHORIZED, challenge) => {
                Problem::Unauthorized(challenge, layer())
            }
            Fault::ResumptionRefused(StatusCode::FORBIDDEN, challenge) => {
                Problem::Forbidden(challenge, layer())
            }
            Fault::Source(error) => Problem::CredentialSource(error.to_string()),
            Fault::Status(_) if fault.is_passing_status() => Problem::Unavailable(fault.to_string()),
            Fault::Connect
            | Fault::Broken
            | Fault::Timeout(_)
            | Fault::NoLease
            | Fault::Vacated
            | Fault::SessionExpired
            | Fault::ResumptionRefused(..) => Problem::Unavailable(fault.to_string()),
            Fault::Status(_)
            | Fault::TooLarge(_)
            | Fault::Malformed(_)
            | Fault::Rpc { .. }
            | Fault::Protocol(_) => Problem::Protocol(fault.to_string()),
        };
        let revision = sent.map_or(0, |sent| sent.revision);
        Self { mcp_server: mcp_server.to_owned(), phase, problem, revision }
    }
}
