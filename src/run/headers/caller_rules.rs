//! What the registrations of the agent's servers let a caller bring, and what they require, held against a request.
//!
//! What `mcp_headers` has goes to every server of the agent, so each of them must allow it. A slip is told once: a header
//! that was brought and is refused is not missing, too.

use std::collections::BTreeMap;

use http::HeaderName;

use super::{Check, RawSet, key};
use crate::{
    headers::{CallerRules, Denial, HeaderSet, Problem, rules},
    run::{Violation, ViolationKind},
};

/// A name that a set brings, to set it or to remove it.
struct Brought<'r> {
    name: &'r HeaderName,
    /// The name as it was given.
    given: &'r str,
    in_remove: bool,
}

impl<'a> Check<'a> {
    /// Refuses the names of `mcp_headers` that may not go to each of the agent's servers; the others are left.
    pub(super) fn allowed_for_all(&mut self, mut set: HeaderSet, raw: &RawSet) -> HeaderSet {
        set.retain(|name, in_remove| {
            let brought = Brought::new(name, in_remove, raw);
            let goes = self.goes_to_all(&brought);
            if !goes && !in_remove {
                self.refused.push((String::new(), name.clone()));
            }
            goes
        });
        set
    }

    /// Refuses the names of a server's own set that may not go to it; the others are left.
    pub(super) fn allowed_for(
        &mut self,
        server: &str,
        field: &str,
        mut set: HeaderSet,
        raw: &RawSet,
    ) -> HeaderSet {
        let Some(rules) = self.servers.get(server).map(|config| &config.caller_headers) else { return set };
        set.retain(|name, in_remove| {
            let Some(denial) = rules.denial(name) else { return true };
            let brought = Brought::new(name, in_remove, raw);
            let description = denied(server, rules, denial, "leave it out");
            self.violations.push(brought.violation(field, server, description));
            false
        });
        set
    }

    /// Refuses the request if it lacks a header that a server requires. `asked`: the only servers that count; empty: all.
    pub(super) fn required(
        &mut self,
        asked: &[String],
        all: &HeaderSet,
        by_server: &BTreeMap<&str, HeaderSet>,
    ) {
        for (server, rules) in self.rules() {
            if !asked.is_empty() && !asked.iter().any(|asked| asked == server) {
                continue;
            }
            let own = by_server.get(server);
            let refused =
                |place: &str, name: &HeaderName| self.refused.iter().any(|(at, n)| at == place && n == name);
            let lacks = |name: &&HeaderName| {
                let removed = own.is_some_and(|own| own.removed().contains(name));
                let in_own = own.is_some_and(|own| own.sets(name)) || refused(server, name);
                let in_all = all.sets(name) || refused("", name);
                !in_own && (removed || !in_all)
            };
            let missing: Vec<_> = rules.required().iter().filter(lacks).collect();
            self.violations.extend(missing.into_iter().map(|name| missing_header(server, name)));
        }
    }

    /// Remembers the headers that a set brings and that are refused for what they are.
    pub(super) fn note_refused(&mut self, server: &str, problems: &[Problem]) {
        let brought = problems.iter().filter(|problem| !problem.in_remove);
        let names = brought.filter_map(|problem| rules::check_name(&problem.header).ok());
        self.refused.extend(names.map(|name| (server.to_owned(), name)));
    }

    fn goes_to_all(&mut self, brought: &Brought<'_>) -> bool {
        let several = self.agent.mcp_servers.len() > 1;
        let way_out = if several {
            "bring it in `per_run_mcp_headers` for the servers that take it"
        } else {
            "leave it out"
        };
        let mut goes = true;
        for (server, rules) in self.rules() {
            let Some(denial) = rules.denial(brought.name) else { continue };
            let description = denied(server, rules, denial, way_out);
            self.violations.push(brought.violation("mcp_headers", server, description));
            goes = false;
        }
        let credential = several && !brought.in_remove && rules::is_credential(brought.name.as_str());
        if goes && credential && !self.rules().all(|(_, rules)| rules.allows_by_name(brought.name)) {
            let description = "a credential would go to all of the agent's servers, and not each of them has it in its \
                               `allowed`; put it into `per_run_mcp_headers` for the one that it is for";
            self.violations.push(brought.violation("mcp_headers", "", description.to_owned()));
            goes = false;
        }
        goes
    }

    /// The agent's servers, each with its rules.
    fn rules(&self) -> impl Iterator<Item = (&'a str, &'a CallerRules)> + use<'a> {
        let servers = self.servers;
        self.agent.server_names().filter_map(move |name| Some((name, &servers.get(name)?.caller_headers)))
    }
}

impl<'r> Brought<'r> {
    fn new(name: &'r HeaderName, in_remove: bool, raw: &'r RawSet) -> Self {
        let same = |given: &&String| given.eq_ignore_ascii_case(name.as_str());
        let given = if in_remove { raw.remove.iter().find(same) } else { raw.headers.keys().find(same) };
        Self { name, given: given.map_or(name.as_str(), String::as_str), in_remove }
    }

    /// It is not allowed. `field` is the set's; `server` the one that it is about, empty for all.
    fn violation(&self, field: &str, server: &str, description: String) -> Violation {
        let part = if self.in_remove { "remove" } else { "headers" };
        Violation {
            field: format!("{field}.{part}{}", key(self.given)),
            description,
            kind: ViolationKind::HeaderNotAllowed,
            subject: (server.to_owned(), self.given.chars().take(64).collect()),
            used_servers: String::new(),
        }
    }
}

fn denied(server: &str, rules: &CallerRules, denial: Denial, way_out: &str) -> String {
    let names = listed(rules.allowed().unwrap_or_default());
    match denial {
        Denial::Locked => {
            format!(
                "MCP server `{server}` locks this header: callers may neither set nor remove it; {way_out}"
            )
        }
        Denial::NotAllowed if names.is_empty() => {
            format!("MCP server `{server}` takes no headers from callers; {way_out}")
        }
        Denial::NotAllowed => {
            format!("MCP server `{server}` takes no headers from callers but these: {names}; {way_out}")
        }
    }
}

/// Names for a message: separated by commas, and cut where they are many.
fn listed(names: &[HeaderName]) -> String {
    const MAX_LISTED: usize = 8;
    let listed: Vec<&str> = names.iter().take(MAX_LISTED).map(HeaderName::as_str).collect();
    let more = if names.len() > MAX_LISTED { ", …" } else { "" };
    format!("{}{more}", listed.join(", "))
}

fn missing_header(server: &str, name: &HeaderName) -> Violation {
    Violation {
        field: format!("per_run_mcp_headers{}.headers{}", key(server), key(name.as_str())),
        description: format!(
            "MCP server `{server}` requires a value of this header from the caller of each run; bring it here"
        ),
        kind: ViolationKind::RequiredHeaderMissing,
        subject: (server.to_owned(), name.as_str().chars().take(64).collect()),
        used_servers: String::new(),
    }
}

#[cfg(test)]
mod tests;
