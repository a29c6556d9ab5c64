//! The only place that builds HTTP clients.
//!
//! A client here follows no redirect: reqwest would hand `X-Api-Key`, `Mcp-Session-Id` and the body to the target. It
//! sends no referer, keeps no cookie and asks no proxy of the environment. Clients share connections, never headers:
//! each request brings its own.

use std::{collections::HashMap, time::Duration};

use parking_lot::Mutex;
use reqwest::{Client, redirect::Policy};

mod body;

pub use body::{BodyError, read_capped};

/// What makes connections differ. Registrations with the same profile share a client and its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Profile {
    /// The longest time for a connection to be made, TLS included.
    pub connect_timeout: Duration,
}

/// The clients, one for each profile.
#[derive(Default)]
pub struct Egress {
    clients: Mutex<HashMap<Profile, Client>>,
}

impl Egress {
    /// The client of a profile.
    ///
    /// # Errors
    /// The TLS backend can't be set up.
    pub fn client(&self, profile: Profile) -> Result<Client, reqwest::Error> {
        let mut clients = self.clients.lock();
        if let Some(client) = clients.get(&profile) {
            return Ok(client.clone());
        }
        let client = build(profile)?;
        clients.insert(profile, client.clone());
        Ok(client)
    }
}

#[allow(clippy::disallowed_methods, reason = "this is the place")]
fn build(profile: Profile) -> Result<Client, reqwest::Error> {
    Client::builder()
        .redirect(Policy::none())
        .referer(false)
        .no_proxy()
        // Node.js and uvicorn close idle connections after 5 s; a request must not meet that.
        .pool_idle_timeout(Duration::from_secs(4))
        .connect_timeout(profile.connect_timeout)
        .user_agent(concat!("runwright/", env!("CARGO_PKG_VERSION")))
        .build()
}
