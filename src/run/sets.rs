//! A run's header sets, which its caller may replace while it runs.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;

use super::{Plan, Requested, RequestedForModels, Violation, Violations, plan};
use crate::{
    agent::Agent,
    headers::{Applied, DigestKey},
    mcp::{RunHeaders, SentOfRun, Servers},
};

/// The most sets that a run may come to send to one server: it remembers them, to scrub what that gives back.
pub(super) const MAX_SENT: usize = 256;

/// What a run sends to each of its servers, and what its caller asked for. It holds secrets: there is no `Debug`.
pub struct Sets {
    requested: Mutex<Requested>,
    by_server: BTreeMap<String, Arc<RunHeaders>>,
}

/// Header sets that replace those of a run.
pub struct Replacement {
    /// Those for MCP servers.
    pub for_servers: ForServers,
    /// Those for models' providers.
    pub for_models: RequestedForModels,
}

/// Header sets that replace those of a run for MCP servers.
pub struct ForServers {
    /// The sets of the servers that it names, and `mcp_headers` if `replaces_all`.
    pub requested: Requested,
    /// Whether `mcp_headers` is given.
    pub replaces_all: bool,
}

impl ForServers {
    /// Whether nothing is to be replaced.
    pub(super) fn is_empty(&self) -> bool {
        self.requested.by_server.is_empty() && !self.replaces_all
    }
}

impl Sets {
    /// What is asked for at a run's start, and what it comes to.
    pub fn new(mut requested: Requested, plan: Plan) -> Self {
        requested.by_server.retain(|name, _| plan.contains_key(name));
        let of_run = SentOfRun::default();
        let headers = |planned| Arc::new(RunHeaders::new(planned, of_run.clone()));
        let by_server = plan.into_iter().map(|(name, planned)| (name, headers(planned)));
        Self { requested: Mutex::new(requested), by_server: by_server.collect() }
    }

    /// What each server is sent, by name.
    pub fn by_server(&self) -> &BTreeMap<String, Arc<RunHeaders>> {
        &self.by_server
    }

    /// Forgets what was asked for, where it can't be replaced.
    pub(super) fn forget_requested(&self) {
        *self.requested.lock() = Requested::default();
    }

    /// What may be shown of what each server was sent last.
    pub fn sent_last(&self, key: &DigestKey) -> BTreeMap<String, Applied> {
        self.by_server.iter().map(|(name, headers)| (name.clone(), headers.sent_last(key))).collect()
    }

    /// What may be shown of what is sent now.
    pub fn applied(&self, key: &DigestKey) -> BTreeMap<String, Applied> {
        self.by_server.iter().map(|(name, headers)| (name.clone(), headers.applied(key))).collect()
    }

    /// Replaces the sets of the servers that are named; `mcp_headers` those of all. What results is held against all rules;
    /// `others` is what else is wrong with the request, and `for_models` are the bytes of what models' providers are sent.
    ///
    /// # Errors
    /// It breaks them. Nothing is replaced.
    pub(super) fn replace(
        &self,
        agent: &Agent,
        servers: &Servers,
        replacement: ForServers,
        others: Violations,
        for_models: usize,
    ) -> Result<(), Violations> {
        let is_empty = replacement.is_empty();
        let ForServers { requested: given, replaces_all } = replacement;
        let mut current = self.requested.lock();
        let mut requested = current.clone();
        let named: Vec<String> = given.by_server.keys().cloned().collect();
        requested.by_server.extend(given.by_server);
        if replaces_all {
            requested.all = given.all;
        }
        let (plan, mut violations) = plan(agent, servers, &requested, for_models);
        violations.append(others);
        if !is_empty && self.by_server.values().any(|headers| headers.times_sent() >= MAX_SENT) {
            let description = "the run has sent too many sets to one server; start another run";
            violations.push(Violation::field("per_run_mcp_headers", description));
        }
        if !violations.is_empty() {
            return Err(violations);
        }
        *current = requested;
        for (name, planned) in plan {
            if let Some(headers) = self.by_server.get(&name).filter(|_| replaces_all || named.contains(&name))
            {
                headers.replace(planned);
            }
        }
        Ok(())
    }
}
