//! The section `mcp_servers`.

use std::{collections::BTreeMap, time::Duration};

use super::{
    caller_headers,
    decode::{At, Fields},
    endpoint::{self, Plaintext},
    key::{Bytes, Key, Keys, Optional, Required},
    reference::Section,
    route,
    source::{self, Tokens},
    units::{self, KIB, MIB},
};
use crate::mcp::{ServerConfig, SessionScope, Timeouts};

/// The section's own key.
pub const KEY: Key<Optional> = Key::optional("mcp_servers", "The registered MCP servers, by name.");

const SCOPES: [(&str, SessionScope); 3] =
    [("auto", SessionScope::Auto), ("run", SessionScope::Run), ("identity", SessionScope::Identity)];
const URL: Key<Required> = Key::required("url", "The server's MCP endpoint (Streamable HTTP).");
const HEADERS: Key<Optional> = Key::optional(
    "headers",
    "What every request carries, unless a higher layer says otherwise: [values](#values), by name. \
     See [headers](headers.md#precedence).",
);
const CALLER_HEADERS: Key<Optional> = Key::optional(
    "caller_headers",
    "[Rules](#mcp_serversnamecaller_headers) of what a run may bring to this server.",
);
const SESSION_SCOPE: Key<(&str, SessionScope)> = Key::or(
    "session_scope",
    SCOPES[0],
    "How long an open client is kept: `auto`: for its identity where the server gives no session id, for the run where it \
     does; `run`: for the run; `identity`: for its identity, with its session.",
);
const TOOLS_TTL: Key<Duration> = Key::or(
    "tools_ttl",
    Duration::from_secs(5 * 60),
    "How long a tool list is good where the server does not say; `0s`: for one run.",
);
const MAX_BODY_BYTES: Key<Bytes> = Key::or(
    "max_body_bytes",
    Bytes(2 * 1024 * 1024),
    "The largest body, and the largest event of a stream, that is read from the server.",
);
const TIMEOUTS: Key<Optional> =
    Key::optional("timeouts", "How long it [may take](#mcp_serversnametimeouts).");
const KEYS: Keys = &[
    &URL,
    &endpoint::ALLOW_PLAINTEXT,
    &route::TLS,
    &route::PROXY,
    &HEADERS,
    &CALLER_HEADERS,
    &SESSION_SCOPE,
    &TOOLS_TTL,
    &MAX_BODY_BYTES,
    &TIMEOUTS,
];
const CONNECT: Key<Duration> =
    Key::or("connect", Timeouts::DEFAULT.connect, "The longest time for a connection, TLS included.");
const STARTUP: Key<Duration> = Key::or(
    "startup",
    Timeouts::DEFAULT.startup,
    "The longest time for each request that opens a client or lists its tools.",
);
const CALL: Key<Duration> =
    Key::or("call", Timeouts::DEFAULT.call, "The longest time for a tool call, its answer included.");
const TIMEOUTS_KEYS: Keys = &[&CONNECT, &STARTUP, &CALL];

/// What the reference tells.
pub const SECTIONS: &[Section] = &[
    Section {
        path: "mcp_servers.<name>",
        about: "A name has 1 to 32 characters of `a-z`, `0-9` and `-`.",
        probe: "mcp_servers: { x: { HERE } }",
        keys: KEYS,
    },
    Section {
        path: "mcp_servers.<name>.timeouts",
        about: "",
        probe: "mcp_servers: { x: { timeouts: { HERE } } }",
        keys: TIMEOUTS_KEYS,
    },
];

/// The longest name of a server.
const MAX_NAME_BYTES: usize = 32;

/// Takes the section's entries.
pub fn decode(entries: &[(&str, At<'_>)]) -> BTreeMap<String, ServerConfig> {
    let servers = entries.iter().filter_map(|(name, at)| server(name, at));
    servers.map(|server| (server.name.clone(), server)).collect()
}

fn server(name: &str, at: &At<'_>) -> Option<ServerConfig> {
    let fields = at.fields(KEYS);
    let name = server_name(name, at);
    let plaintext = Plaintext::of(&fields);
    let url = fields.required(&URL, |at| endpoint::decode(at, plaintext));
    Some(ServerConfig {
        route: route::decode(&fields, url.as_ref()),
        headers: fields
            .optional(&HEADERS, |at| source::headers(at, Tokens::For(url.as_ref())))
            .unwrap_or_default(),
        caller_headers: fields.optional(&CALLER_HEADERS, caller_headers::decode).unwrap_or_default(),
        session_scope: fields.or(&SESSION_SCOPE, |at| at.one_of(&SCOPES)),
        tools_ttl: fields.or(&TOOLS_TTL, units::duration_or_zero),
        max_body_bytes: fields.or(&MAX_BODY_BYTES, |at| units::size(at, KIB..=64 * MIB)),
        timeouts: timeouts(&fields),
        // Last, so that what is above is looked at in any case.
        name: name?,
        url: url?,
    })
}

fn server_name(name: &str, at: &At<'_>) -> Option<String> {
    let right = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let right = (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(right);
    if !right {
        at.key_problem("an MCP server's name has 1 to 32 characters of a-z, 0-9 and -");
    }
    right.then(|| name.to_owned())
}

fn timeouts(server: &Fields<'_>) -> Timeouts {
    let fields = server.fields(&TIMEOUTS, TIMEOUTS_KEYS);
    Timeouts {
        connect: fields.or(&CONNECT, units::duration),
        startup: fields.or(&STARTUP, units::duration),
        call: fields.or(&CALL, units::duration),
    }
}
