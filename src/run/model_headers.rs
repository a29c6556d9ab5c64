//! What a run's caller sends to the providers of models: above what is configured with a model, its key included.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;

use super::{
    RawSet, Violation, Violations,
    headers::{key, violation},
};
use crate::{
    agent::Agent,
    headers::{HeaderSet, rules, rules::Refusal},
};

/// A run's sets for models' providers, by the models' configured names. They hold secrets: there is no `Debug`.
pub struct ModelHeaders(Mutex<BTreeMap<String, Arc<HeaderSet>>>);

/// Sets for models' providers as they came, by the models' configured names.
pub type RequestedForModels = BTreeMap<String, RawSet>;

/// Which model a run asks.
pub struct AskedModel<'a> {
    /// The run's agent.
    pub agent: &'a Agent,
    /// The run's model.
    pub model: &'a str,
    /// Whether sets for the agent's other models are left aside; else they are wrong.
    pub ignore_unused: bool,
}

const FIELD: &str = "per_run_model_headers";

impl ModelHeaders {
    /// Takes a request's sets: what is right of them. What is wrong goes to `violations`.
    pub fn new(given: RequestedForModels, asked: &AskedModel<'_>, violations: &mut Violations) -> Self {
        Self(Mutex::new(check(given, asked, violations)))
    }

    /// What goes to a model's provider now.
    pub(super) fn of(&self, model: &str) -> Arc<HeaderSet> {
        self.0.lock().get(model).cloned().unwrap_or_default()
    }

    /// Replaces the sets of the models that are named.
    pub(super) fn replace(&self, sets: BTreeMap<String, Arc<HeaderSet>>) {
        self.0.lock().extend(sets);
    }
}

/// The sets that are right; what is wrong goes to `violations`.
pub(super) fn check(
    given: RequestedForModels,
    asked: &AskedModel<'_>,
    violations: &mut Violations,
) -> BTreeMap<String, Arc<HeaderSet>> {
    let (mut checked, mut bytes) = (BTreeMap::new(), 0);
    for (model, raw) in given {
        let field = format!("{FIELD}{}", key(&model));
        if model != asked.model {
            let allowed = asked.agent.models().any(|name| name == model);
            if !(allowed && asked.ignore_unused) {
                violations.push(Violation::field(field, unused(asked, allowed)));
            }
            continue;
        }
        let (set, problems) = raw.parse();
        bytes += set.size();
        violations.extend(problems.into_iter().map(|problem| violation(&field, "", problem)));
        checked.insert(model, Arc::new(set));
    }
    if bytes > rules::MAX_RUN_BYTES {
        violations.push(Violation::field(FIELD, Refusal::RunTooLarge.to_string()));
    }
    checked
}

fn unused(asked: &AskedModel<'_>, allowed: bool) -> String {
    let AskedModel { agent, model, .. } = asked;
    let hint = if allowed { " (`ignore_unused_headers` allows it)" } else { "" };
    format!("this run of agent `{}` does not ask that model{hint}; it asks `{model}`", agent.name)
}
