//! The section `server`.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use super::{
    decode::{At, Fields},
    key::{Depends, Key, Keys, Optional},
    reference::Section,
    source, tls, units,
};
use crate::{
    credential::Source,
    run::Limits,
    server::{Config, Tls},
};

/// The section's own key.
pub const KEY: Key<Optional> = Key::optional("server", "Where and how the process serves.");

const LISTEN: Key<SocketAddr> = Key::or(
    "listen",
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 50051),
    "Where gRPC is served: `AgentService`, `CatalogService`, health and reflection.",
);
const ADMIN_LISTEN: Key<SocketAddr> = Key::or(
    "admin_listen",
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464),
    "Where `/livez`, `/readyz` and `/metrics` are served, over HTTP without TLS.",
);
const WORKER_THREADS: Key<Depends> = Key::or(
    "worker_threads",
    Depends("one less than there are cores, at least 1"),
    "How many threads serve. More than that pays where the machine does nothing else. \
     See [operations](operations.md#threads).",
);
const TLS: Key<Optional> =
    Key::optional("tls", "[TLS](#servertls) for `listen`; left out: plain text (h2c).");
const MAX_CONNECTION_AGE: Key<Duration> = Key::or(
    "max_connection_age",
    Duration::from_secs(30 * 60),
    "How old a connection becomes, a tenth more or less, before it is told to go. \
     See [operations](operations.md#connections).",
);
const DRAIN_TIMEOUT: Key<Depends> = Key::or(
    "drain_timeout",
    Depends("`limits.run_timeout`"),
    "How long live runs may go on when the process is to end.",
);
const DIGEST_KEY: Key<Optional> = Key::optional(
    "digest_key",
    "A [value](#values) of at least 16 bytes: the key of the digests of header values. It is read at the start only. \
     Left out: a random one, so that digests of two processes can't be compared.",
);
const KEYS: Keys =
    &[&LISTEN, &ADMIN_LISTEN, &WORKER_THREADS, &TLS, &MAX_CONNECTION_AGE, &DRAIN_TIMEOUT, &DIGEST_KEY];
const CLIENT_CA: Key<Optional> = Key::optional(
    "client_ca",
    "The roots of certificates that callers must show, in PEM. Left out: they are asked for none.",
);
const TLS_KEYS: Keys = &[&tls::CERTIFICATE, &tls::PRIVATE_KEY, &CLIENT_CA];

/// What the reference tells.
pub const SECTIONS: &[Section] = &[
    Section {
        path: "server",
        about: "A change of anything here but `drain_timeout` needs a restart.",
        probe: "server: { HERE }",
        keys: KEYS,
    },
    Section {
        path: "server.tls",
        about: "See [security](security.md#transport). The files are read again when they change.",
        probe: "server: { tls: { HERE } }",
        keys: TLS_KEYS,
    },
];

/// The most threads; each has memory of its own.
const MAX_WORKER_THREADS: u64 = 1024;
/// The shortest key of digests, in bytes.
const MIN_DIGEST_KEY_BYTES: usize = 16;

/// Takes the section; its `drain_timeout` is one of the `limits`.
pub fn decode(root: &Fields<'_>, limits: &mut Limits) -> Config {
    let fields = root.fields(&KEY, KEYS);
    limits.drain_timeout = fields.or_else(&DRAIN_TIMEOUT, units::duration, limits.run_timeout);
    let (listen, admin_listen) = addresses(&fields);
    Config {
        listen,
        admin_listen,
        worker_threads: fields.or_else(
            &WORKER_THREADS,
            |at| at.number(1..=MAX_WORKER_THREADS),
            Config::usual_worker_threads(),
        ),
        tls: fields.optional(&TLS, server_tls),
        max_connection_age: fields.or(&MAX_CONNECTION_AGE, units::duration),
        digest_key: fields.optional(&DIGEST_KEY, digest_key),
    }
}

/// The two addresses, which can't be the same one, unless the system chooses their ports.
fn addresses(fields: &Fields<'_>) -> (SocketAddr, SocketAddr) {
    let mut are_read = true;
    let mut read = |at: &At<'_>| {
        let address = address(at);
        are_read &= address.is_some();
        address
    };
    let (listen, admin_listen) = (fields.or(&LISTEN, &mut read), fields.or(&ADMIN_LISTEN, &mut read));
    // A default that stands in for what is wrong is nobody's address.
    if are_read && listen == admin_listen && listen.port() != 0 {
        let (at, other) = match fields.get(&ADMIN_LISTEN) {
            Some(at) => (at.clone(), LISTEN.name),
            None => (fields.place(&LISTEN), ADMIN_LISTEN.name),
        };
        at.problem(format!("`{other}` has this address, too; give one of them another port"));
    }
    (listen, admin_listen)
}

fn address(at: &At<'_>) -> Option<SocketAddr> {
    let what = "an IP address and a port, such as 127.0.0.1:50051";
    let address = at.text_of(what)?.parse();
    address.map_err(|_| at.problem(format!("expected {what}"))).ok()
}

fn server_tls(at: &At<'_>) -> Option<Tls> {
    let fields = at.fields(TLS_KEYS);
    let client_roots = fields.optional(&CLIENT_CA, tls::roots);
    Some(Tls { identity: tls::identity(&fields)?, client_roots })
}

fn digest_key(at: &At<'_>) -> Option<Source> {
    let source = source::decode(at)?;
    if source.ready().is_some_and(|key| key.as_bytes().len() < MIN_DIGEST_KEY_BYTES) {
        at.problem(format!("the key has under {MIN_DIGEST_KEY_BYTES} bytes"));
        return None;
    }
    Some(source)
}
