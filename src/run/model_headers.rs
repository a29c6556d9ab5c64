//! What a run's caller sends to the providers of models: above what is configured with a model, its key included.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;

use super::{
    RawSet, Violation, Violations,
    headers::{key, violation},
    sets::MAX_SENT,
};
use crate::{
    agent::Agent,
    headers::{HeaderSet, rules},
};

/// A run's sets for models' providers, by the models' configured names. They hold secrets: there is no `Debug`.
pub struct ModelHeaders(Mutex<State>);

struct State {
    current: Current,
    /// All sets that were sent, in their order, each with its model's name.
    sent: Vec<(String, Arc<HeaderSet>)>,
}

type Current = BTreeMap<String, Arc<HeaderSet>>;

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

/// Where they stand in a request.
pub(super) const FIELD: &str = "per_run_model_headers";

impl ModelHeaders {
    /// Takes a request's sets: what is right of them. What is wrong goes to `violations`.
    pub fn new(given: RequestedForModels, asked: &AskedModel<'_>, violations: &mut Violations) -> Self {
        Self(Mutex::new(State { current: check(given, asked, violations), sent: Vec::new() }))
    }

    /// Their bytes: those for models and for MCP servers have one limit together.
    pub fn size(&self) -> usize {
        size(&self.0.lock().current)
    }

    /// What would go to a model's provider now.
    pub(super) fn of(&self, model: &str) -> Arc<HeaderSet> {
        self.0.lock().current.get(model).cloned().unwrap_or_default()
    }

    /// Whether the caller brings a credential for a model's provider, or takes the configured one away.
    pub(super) fn changes_credential(&self, model: &str) -> bool {
        let set = self.of(model);
        let mut names = set.headers().iter().map(|header| &header.name).chain(set.removed());
        names.any(|name| rules::is_credential(name.as_str()))
    }

    /// What goes to a model's provider now. It counts as sent.
    pub(super) fn send(&self, model: &str) -> Arc<HeaderSet> {
        let mut state = self.0.lock();
        let Some(set) = state.current.get(model).cloned() else { return Arc::default() };
        let is_last = state.sent.last().is_some_and(|(_, last)| Arc::ptr_eq(last, &set));
        if !is_last && set.size() > 0 {
            state.sent.push((model.to_owned(), set.clone()));
        }
        set
    }

    /// All sets that were sent, in their order, each with its model's name. One that has nothing is not among them.
    pub(super) fn sent(&self) -> Vec<(String, Arc<HeaderSet>)> {
        self.0.lock().sent.clone()
    }

    /// Replaces the sets of the models that are named, if `others` succeeds, which is told what is wrong with them and how many
    /// bytes there would be then.
    ///
    /// # Errors
    /// What `others` fails with. Nothing is replaced.
    pub(super) fn replace(
        &self,
        given: RequestedForModels,
        asked: &AskedModel<'_>,
        others: impl FnOnce(Violations, usize) -> Result<(), Violations>,
    ) -> Result<(), Violations> {
        let mut violations = Violations::default();
        let mut state = self.0.lock();
        if !given.is_empty() && state.sent.len() >= MAX_SENT {
            let description = "the run has sent too many sets to its model; start another run";
            violations.push(Violation::field(FIELD, description));
        }
        let mut current = state.current.clone();
        current.extend(check(given, asked, &mut violations));
        others(violations, size(&current))?;
        state.current = current;
        Ok(())
    }
}

fn size(sets: &Current) -> usize {
    sets.values().map(|set| set.size()).sum()
}

/// The sets that are right; what is wrong goes to `violations`.
fn check(given: RequestedForModels, asked: &AskedModel<'_>, violations: &mut Violations) -> Current {
    let mut checked = BTreeMap::new();
    for (model, raw) in given {
        let field = format!("{FIELD}{}", key(&model));
        if model != asked.model {
            let allowed = asked.agent.models().any(|name| name == model);
            if !(allowed && asked.ignore_unused) {
                violations.push(Violation::field(field.clone(), unused(asked, allowed)));
                let (_, problems) = raw.parse();
                violations.extend(problems.into_iter().map(|problem| violation(&field, "", problem)));
            }
            continue;
        }
        let (set, problems) = raw.parse();
        violations.extend(problems.into_iter().map(|problem| violation(&field, "", problem)));
        checked.insert(model, Arc::new(set));
    }
    checked
}

fn unused(asked: &AskedModel<'_>, allowed: bool) -> String {
    let AskedModel { agent, model, .. } = asked;
    let hint = if allowed { " (`ignore_unused_headers` allows it)" } else { "" };
    format!("this run of agent `{}` does not ask that model{hint}; it asks `{model}`", agent.name)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_a_run_remembers_to_have_sent_is_bounded() {
        let agent = Agent::new("a".into(), "main".into(), Duration::MAX);
        let asked = AskedModel { agent: &agent, model: "main", ignore_unused: false };
        let bringing = |value: usize| -> RequestedForModels {
            let headers = [("x-a".to_owned(), value.to_string())].into();
            [("main".to_owned(), RawSet { headers, remove: Vec::new() })].into()
        };
        let right = |violations: Violations, _| if violations.is_empty() { Ok(()) } else { Err(violations) };
        let sets = ModelHeaders::new(bringing(0), &asked, &mut Violations::default());
        for count in 1..=MAX_SENT {
            sets.send("main");
            // Another turn with the same headers.
            sets.send("main");
            assert_eq!(sets.sent().len(), count);
            let replaced = sets.replace(bringing(count), &asked, right);
            assert_eq!(replaced.is_ok(), count < MAX_SENT, "{count}");
        }
        assert!(sets.replace(RequestedForModels::new(), &asked, right).is_ok(), "others may be replaced");
    }
}
