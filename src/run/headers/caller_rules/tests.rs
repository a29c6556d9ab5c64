//! The rules, held against a plain model: what is said of a request is said of nothing else, and once.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{
    agent::{Agent, AgentServer, Approval},
    egress::Egress,
    headers::DigestKey,
    mcp::{KeptClients, ServerConfig, Servers, SessionScope, Timeouts},
    metrics::Metrics,
    run::headers::{Requested, plan},
};

const NAMES: [&str; 3] = ["authorization", "x-a", "x-b"];

/// What a set does with a name, and whether it writes it in upper case.
type Action = (What, bool);

#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    Nothing,
    Set,
    SetToNothing,
    Remove,
}

/// A server's rules, name by name, and what its own set does with each.
#[derive(Clone, Debug)]
struct Server {
    allowed: Option<[bool; 3]>,
    locked: [bool; 3],
    required: [bool; 3],
    own: [Action; 3],
}

/// Field, reason and server of a violation.
type Said = (String, &'static str, String);

impl Server {
    fn denies(&self, name: usize) -> bool {
        self.locked[name] || self.allowed.is_some_and(|allowed| !allowed[name])
    }

    fn requires(&self, name: usize) -> bool {
        self.required[name] && !self.denies(name)
    }

    fn rules(&self) -> CallerRules {
        let names = |holds: &dyn Fn(usize) -> bool| {
            (0..3).filter(|&name| holds(name)).map(|name| HeaderName::from_static(NAMES[name])).collect()
        };
        let allowed = self.allowed.map(|allowed| names(&|name| allowed[name]));
        CallerRules::new(allowed, names(&|name| self.requires(name)), names(&|name| self.locked[name]))
    }
}

fn actions() -> impl Strategy<Value = [Action; 3]> {
    use What::{Nothing, Remove, Set, SetToNothing};
    let what = prop::sample::select(vec![Nothing, Nothing, Set, Set, Set, SetToNothing, Remove]);
    prop::array::uniform3((what, any::<bool>()))
}

fn server() -> impl Strategy<Value = Server> {
    let flags = prop::array::uniform3(any::<bool>());
    let server = (prop::option::of(flags), flags, flags, actions());
    server.prop_map(|(allowed, locked, required, own)| Server { allowed, locked, required, own })
}

fn given((_, upper): Action, name: usize) -> String {
    if upper { NAMES[name].to_uppercase() } else { NAMES[name].to_owned() }
}

fn raw(actions: &[Action; 3]) -> RawSet {
    let mut raw = RawSet::default();
    for (name, action) in actions.iter().enumerate() {
        let given = given(*action, name);
        match action.0 {
            What::Nothing => {}
            What::Set => drop(raw.headers.insert(given, "value".to_owned())),
            What::SetToNothing => drop(raw.headers.insert(given, String::new())),
            What::Remove => raw.remove.push(given),
        }
    }
    raw
}

/// What must be said of a request.
fn expected(servers: &[Server], all: &[Action; 3]) -> Vec<Said> {
    let mut said = Vec::new();
    let mut say = |set: &str, part, name: String, reason, at: &str| {
        said.push((format!("{set}.{part}[\"{name}\"]"), reason, at.to_owned()));
    };
    for name in 0..3 {
        let (what, given) = (all[name].0, given(all[name], name));
        let part = if what == What::Remove { "remove" } else { "headers" };
        let denying: Vec<usize> = (0..servers.len()).filter(|&at| servers[at].denies(name)).collect();
        let named = servers.iter().all(|server| server.allowed.is_some_and(|allowed| allowed[name]));
        match what {
            What::Nothing => {}
            What::SetToNothing => say("mcp_headers", part, given, "INVALID_REQUEST", ""),
            _ if !denying.is_empty() => {
                for at in denying {
                    say("mcp_headers", part, given.clone(), "HEADER_NOT_ALLOWED", &format!("s{at}"));
                }
            }
            What::Set if name == 0 && servers.len() > 1 && !named => {
                say("mcp_headers", part, given, "HEADER_NOT_ALLOWED", "");
            }
            What::Set | What::Remove => {}
        }
    }
    for (at, server) in servers.iter().enumerate() {
        let (at, set) = (format!("s{at}"), format!("per_run_mcp_headers[\"s{at}\"]"));
        for name in 0..3 {
            let (what, given) = (server.own[name].0, given(server.own[name], name));
            let part = if what == What::Remove { "remove" } else { "headers" };
            if what == What::SetToNothing {
                say(&set, part, given, "INVALID_REQUEST", &at);
            } else if what != What::Nothing && server.denies(name) {
                say(&set, part, given, "HEADER_NOT_ALLOWED", &at);
            }
            let for_all = matches!(all[name].0, What::Set | What::SetToNothing);
            let missing = what == What::Remove || (what == What::Nothing && !for_all);
            if server.requires(name) && missing {
                say(&set, "headers", NAMES[name].to_owned(), "REQUIRED_HEADER_MISSING", &at);
            }
        }
    }
    said.sort();
    said
}

/// What is said of a request.
fn said(servers: &[Server], all: &[Action; 3], egress: &Egress) -> Vec<Said> {
    let named = || servers.iter().enumerate().map(|(at, server)| (format!("s{at}"), server));
    let configs = named().map(|(name, server)| ServerConfig {
        name,
        url: "https://h/".parse().unwrap(),
        route: Default::default(),
        headers: Default::default(),
        caller_headers: server.rules(),
        session_scope: SessionScope::Auto,
        tools_ttl: Duration::ZERO,
        max_body_bytes: 1,
        timeouts: Timeouts::default(),
    });
    let key = DigestKey::from_secret(b"key");
    let registered =
        Servers::new(configs, KeptClients::default(), 1, key, egress, &Metrics::default()).unwrap();
    let uses = named().map(|(name, _)| AgentServer {
        name,
        required: true,
        tools: None,
        approval: Approval::Never,
        headers: Default::default(),
    });
    let agent =
        Agent { mcp_servers: uses.collect(), ..Agent::new("a".to_owned(), String::new(), Duration::ZERO) };
    let requested = Requested {
        all: raw(all),
        by_server: named().map(|(name, server)| (name, raw(&server.own))).collect(),
        ..Requested::default()
    };
    let (_, violations) = plan(&agent, &registered, &requested, 0);
    let said = violations.kept().iter();
    let mut said: Vec<Said> = said
        .map(|violation| (violation.field.clone(), violation.kind.reason(), violation.subject.0.clone()))
        .collect();
    said.sort();
    said
}

#[test]
fn all_that_is_wrong_is_said_and_nothing_else() {
    let egress = Egress::default();
    // Enough for what few servers and actions make of each other: some need several flags at once.
    proptest!(ProptestConfig::with_cases(2048), |(servers in prop::collection::vec(server(), 1..4), all in actions())| {
        prop_assert_eq!(said(&servers, &all, &egress), expected(&servers, &all));
    });
}
