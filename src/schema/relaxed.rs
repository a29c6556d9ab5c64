//! A schema with patterns that can't be matched, as one without them that accepts more, and never less.
//!
//! First what is exact: such a pattern is put in other words, see [`super::plain_pattern`]. Those that are left then go,
//! with what around them would accept less without them: of an `anyOf` a part that accepts more is no harm, of a `not` it
//! is. Which subschemas have such a pattern below them is found by the references, too.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::{graph::Graph, plain_pattern};

/// Puts patterns in other words. What the schema accepts stays the same.
pub(super) fn plain(graph: &Graph<'_>, unmatched: &[String]) -> Value {
    let unmatched: HashSet<&str> = unmatched.iter().map(String::as_str).collect();
    graph.rewritten(&|_, keywords| {
        let pattern = keywords.get("pattern").and_then(Value::as_str);
        let plain = pattern.filter(|pattern| unmatched.contains(pattern)).and_then(plain_pattern::of);
        let Some((pattern, others)) = plain else { return };
        match keywords.entry("allOf").or_insert_with(|| json!([])) {
            Value::Array(all) => all.extend(others),
            // It is no valid schema.
            _ => return,
        }
        keywords.insert("pattern".to_owned(), pattern.into());
    })
}

/// Leaves patterns out.
pub(super) fn weaker(graph: &Graph<'_>, unmatched: &[String]) -> Value {
    let unmatched: HashSet<&str> = unmatched.iter().map(String::as_str).collect();
    let is_weaker = graph.above(|pattern| unmatched.contains(pattern));
    graph.rewritten(&|index, keywords| {
        if is_weaker[index] {
            weaken(graph, index, keywords, &unmatched, &is_weaker);
        }
    })
}

/// Leaves patterns out of a subschema that has some, or has them below it.
fn weaken(
    graph: &Graph<'_>,
    index: usize,
    keywords: &mut Map<String, Value>,
    unmatched: &HashSet<&str>,
    is_weaker: &[bool],
) {
    let is_unmatched = |pattern: &Value| pattern.as_str().is_some_and(|pattern| unmatched.contains(pattern));
    let mut gone: Vec<&str> = Vec::new();
    if keywords.get("pattern").is_some_and(is_unmatched) {
        gone.push("pattern");
    }
    if let Some(Value::Object(named)) = keywords.get_mut("patternProperties") {
        let all = named.len();
        named.retain(|pattern, _| !unmatched.contains(&**pattern));
        // They would be held against what is for names without a pattern.
        if named.len() < all {
            gone.push("additionalProperties");
        }
    }
    let is_weaker = |keyword: &str| graph.under(index, keyword).any(|inner| is_weaker[inner]);
    if is_weaker("not") {
        gone.push("not");
    }
    if is_weaker("if") {
        gone.extend(["if", "then", "else"]);
    }
    if is_weaker("contains") {
        gone.push("maxContains");
    }
    // What is evaluated depends on what is left out anywhere below.
    gone.extend(["unevaluatedProperties", "unevaluatedItems"]);
    // More than one may fit now.
    if is_weaker("oneOf")
        && let Some(one) = keywords.shift_remove("oneOf")
        && !keywords.contains_key("anyOf")
    {
        keywords.insert("anyOf".to_owned(), one);
    }
    for keyword in gone {
        keywords.shift_remove(keyword);
    }
}
