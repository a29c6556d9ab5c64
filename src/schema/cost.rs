//! What it may take to hold a value against a schema, found out before the schema is compiled.
//!
//! A short schema can be applied to one value exponentially often: `a1` is any of `a2` and `a2`, which is any of `a3` and
//! `a3`, and so on; or a recursive one applies itself to the same child twice. So subschemas are followed as a validator
//! would follow them, but for all values at once. A [`Place`] is what is applied to one place of a value, each subschema
//! with how often. From one place to its children leads one step for each name or index that the schema knows, and one
//! for all others; places with the same subschemas are the same. Of a sound schema, a recursive one too, there are about
//! as many as it has subschemas, and in each few are applied. Where they are more than a bound, or take more than one to
//! list, the schema is refused.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{SchemaError, graph::Graph};

/// The most steps that one place of a value may take: unions of some hundred alternatives in each other take that.
pub(super) const MAX_STEPS: u64 = 10_000;
/// The most that is applied to the same place through each other: each takes several stack frames.
const MAX_IN_PLACE_DEPTH: usize = 32;
/// What it may take to find out, in subschemas looked at: some ten milliseconds.
const MAX_WORK: usize = 500_000;

/// What a schema may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cost {
    /// The most steps that one place of a value takes.
    pub(super) steps: u64,
    /// How many subschemas are applied through each other to the same place.
    pub(super) in_place_depth: usize,
}

/// What is applied to one place of a value: subschemas, each with how often.
type Place = BTreeMap<usize, u64>;

/// All that is applied to the place to which a subschema is.
#[derive(Clone)]
struct Closure {
    applied: Place,
    /// What is applied again by a keyword around it that asks what was evaluated.
    /// Empty where no keyword does.
    again: Place,
    depth: usize,
}

struct Estimate<'g, 's> {
    graph: &'g Graph<'s>,
    closures: HashMap<usize, Closure>,
    /// Whether a keyword anywhere asks what was evaluated.
    unevaluated: bool,
    work: usize,
}

/// The cost of a schema; an error where it is too much.
pub(super) fn of(graph: &Graph<'_>) -> Result<Cost, SchemaError> {
    let unevaluated = graph.nodes.iter().any(|node| node.unevaluated);
    let mut estimate = Estimate { graph, closures: HashMap::new(), unevaluated, work: 0 };
    let mut cost = Cost { steps: 0, in_place_depth: 0 };
    let root = estimate.closure(0, 0)?.applied;
    let mut seen = HashSet::from([root.clone()]);
    let mut waiting = vec![root];
    while let Some(place) = waiting.pop() {
        cost.steps = cost.steps.max(estimate.steps(&place)?);
        for child in estimate.children(&place)? {
            if !seen.contains(&child) {
                seen.insert(child.clone());
                waiting.push(child);
            }
        }
    }
    cost.in_place_depth = estimate.closures.values().map(|closure| closure.depth).max().unwrap_or(0);
    Ok(cost)
}

impl Estimate<'_, '_> {
    /// What a subschema applies to its own place, with itself.
    fn closure(&mut self, index: usize, above: usize) -> Result<Closure, SchemaError> {
        if let Some(known) = self.closures.get(&index).cloned() {
            self.spend(known.applied.len() + known.again.len())?;
            return Ok(known);
        }
        // A loop ends here too.
        if above >= MAX_IN_PLACE_DEPTH {
            return Err(SchemaError::TooCostly);
        }
        let node = &self.graph.nodes[index];
        // What only refers to another is left out, so that all places that refer to the same are the same.
        let own = if node.only_refers() { Place::new() } else { Place::from([(index, 1)]) };
        let mut found = Closure { applied: own.clone(), again: own, depth: 1 };
        for inner in &node.in_place {
            let inner = self.closure(*inner, above + 1)?;
            found.depth = found.depth.max(inner.depth + 1);
            add(&mut found.applied, &inner.applied, 1);
            if self.unevaluated {
                add(&mut found.again, &inner.applied, 1);
                add(&mut found.again, &inner.again, 1);
            }
            self.spend(inner.applied.len() + inner.again.len())?;
            // Before it grows any further.
            self.steps(&found.applied)?;
            self.steps(&found.again)?;
        }
        if node.unevaluated {
            let again = found.again.clone();
            add(&mut found.applied, &again, 1);
        }
        self.steps(&found.applied)?;
        if found.depth > MAX_IN_PLACE_DEPTH {
            return Err(SchemaError::TooCostly);
        }
        self.closures.insert(index, found.clone());
        Ok(found)
    }

    /// The places that a place's children are.
    fn children(&mut self, place: &Place) -> Result<Vec<Place>, SchemaError> {
        let mut names: BTreeMap<&str, Place> = BTreeMap::new();
        let mut items: BTreeMap<usize, Place> = BTreeMap::new();
        // With what is applied to each other name, and each later index.
        let (mut other, mut rest, mut keys) = (Place::new(), Place::new(), Place::new());
        let graph = self.graph;
        for (index, times) in place {
            let node = &graph.nodes[*index];
            for (name, inner) in &node.properties {
                self.apply(names.entry(name).or_default(), *inner, *times)?;
            }
            for (at, inner) in node.prefix.iter().enumerate() {
                self.apply(items.entry(at).or_default(), *inner, *times)?;
            }
            for inner in node.other_properties.iter().chain(&node.any_property) {
                self.apply(&mut other, *inner, *times)?;
            }
            for inner in node.rest.iter().chain(&node.any_item) {
                self.apply(&mut rest, *inner, *times)?;
            }
            for inner in &node.names {
                self.apply(&mut keys, *inner, *times)?;
            }
        }
        for (name, applied) in &mut names {
            for (index, times) in place {
                let node = &graph.nodes[*index];
                if node.other_properties.is_empty() && node.any_property.is_empty() {
                    continue;
                }
                self.spend(1)?;
                let own = node.properties.contains_key(name);
                let others = node.other_properties.iter().filter(|_| !own);
                for inner in others.chain(&node.any_property) {
                    self.apply(applied, *inner, *times)?;
                }
            }
        }
        for (at, applied) in &mut items {
            for (index, times) in place {
                let node = &graph.nodes[*index];
                let rest = node.rest.iter().filter(|_| node.prefix.len() <= *at);
                for inner in rest.chain(&node.any_item) {
                    self.apply(applied, *inner, *times)?;
                }
            }
        }
        let named = names.into_values().chain(items.into_values());
        Ok(named.chain([other, rest, keys]).filter(|place| !place.is_empty()).collect())
    }

    /// Applies a subschema, with all that it applies to the same place.
    fn apply(&mut self, place: &mut Place, index: usize, times: u64) -> Result<(), SchemaError> {
        // The commonest: nothing more is applied.
        if self.graph.nodes[index].in_place.is_empty() {
            self.spend(1)?;
            *place.entry(index).or_default() += times;
            return Ok(());
        }
        let closure = self.closure(index, 0)?;
        add(place, &closure.applied, times);
        self.steps(place).map(drop)
    }

    /// How many steps a place takes.
    fn steps(&mut self, place: &Place) -> Result<u64, SchemaError> {
        self.spend(place.len())?;
        let steps = place.iter().map(|(index, times)| times.saturating_mul(self.graph.nodes[*index].weight));
        let steps = steps.fold(0, u64::saturating_add);
        if steps > MAX_STEPS { Err(SchemaError::TooCostly) } else { Ok(steps) }
    }

    fn spend(&mut self, work: usize) -> Result<(), SchemaError> {
        self.work += work;
        if self.work > MAX_WORK { Err(SchemaError::TooCostly) } else { Ok(()) }
    }
}

fn add(place: &mut Place, applied: &Place, times: u64) {
    for (index, more) in applied {
        let sum = place.entry(*index).or_default();
        *sum = sum.saturating_add(more.saturating_mul(times));
    }
}
