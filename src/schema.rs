//! JSON Schemas that others wrote, and whether a value fits one.
//!
//! A schema may come from an MCP server that means harm. Nothing that it refers to is fetched, `format` asserts nothing, and
//! its [`patterns`] are matched in linear time; values are held against the rest of it where one can't be. Before it is
//! compiled it is found out what it may [`cost`] to hold a value against it; where that is too much, it is not done at
//! all. Together with the value's own size that bounds the steps, the memory and the stack of each validation.
//!
//! A `$schema` names the draft, from 4 to 2020-12; without one that is known it is 2020-12.

mod cost;
mod document;
mod graph;
mod patterns;
mod plain_pattern;
mod problems;
mod relaxed;
mod strict;

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use jsonschema::{ValidationError, Validator, error::ValidationErrorKind};
use serde_json::{Value, value::RawValue};

use cost::Cost;
use document::Document;
use graph::Graph;
use patterns::Bounds;

/// The most problems that are told.
const MAX_PROBLEMS: usize = 5;
/// The most steps of one validation, a schema's at one place times a value's places: about 50 ms, for which nothing else
/// runs on the thread.
const MAX_STEPS: u64 = 500_000;
/// The most steps of one in which all that does not fit is collected: each may keep a problem of some 200 bytes.
const MAX_COLLECTED_STEPS: u64 = 100_000;
/// The most levels of a validation, a value's times what is applied to one place through each other. Each takes some
/// stack, and a thread has two MiB of it.
const MAX_LEVELS: usize = 512;
/// How many bytes of a text count as one place of a value.
const TEXT_BYTES_PER_PLACE: usize = 64;

/// A JSON Schema, as it was written. It is compiled when it is first needed, and once; clones share that.
#[derive(Clone)]
pub struct Schema(Arc<Inner>);

struct Inner {
    raw: Arc<RawValue>,
    compiled: OnceLock<Result<Compiled, SchemaError>>,
}

struct Compiled {
    validator: Validator,
    cost: Cost,
    strict: bool,
    /// How many patterns were left out.
    unmatched: usize,
    /// What is wrong with one of these, if it is no pattern at all.
    invalid: Option<SchemaError>,
}

/// Why a schema can't be validated against.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// It is no JSON object.
    #[error("a schema must be a JSON object")]
    NotAnObject,
    /// It has more than 256 KiB.
    #[error("the schema is larger than 256 KiB")]
    TooLarge,
    /// It is nested in more than 64 levels, or has a number that can't be read.
    #[error("the schema is nested deeper than 64 levels, or has a number out of range")]
    TooDeep,
    /// A reference leads to another document.
    #[error("the schema refers outside itself at {at:?}; move what is meant to its own `$defs`")]
    Outside {
        /// Where in the schema, as a JSON Pointer.
        at: String,
    },
    /// A part of it is a document of its own, with an own address or draft.
    #[error("a part of the schema has its own `{keyword}`; take it off, and refer to `#/$defs/…`")]
    Embedded {
        /// The keyword by which it is one.
        keyword: &'static str,
    },
    /// It is no valid schema of its draft.
    #[error("the schema is invalid at {at:?}: {why}")]
    Invalid {
        /// Where in the schema, as a JSON Pointer.
        at: String,
        /// What is wrong there, cut to 200 bytes.
        why: String,
    },
    /// Too much is applied to one place of a value.
    #[error(
        "the schema is too costly: some value's place would be held against it too often; refer to fewer alternatives"
    )]
    TooCostly,
}

impl Schema {
    /// Takes a schema as it is. Whether it can be used is found out later: see [`Schema::check`].
    pub fn new(raw: Arc<RawValue>) -> Self {
        Self(Arc::new(Inner { raw, compiled: OnceLock::new() }))
    }

    /// The schema's text.
    pub fn raw(&self) -> &Arc<RawValue> {
        &self.0.raw
    }

    /// Whether it is valid, and can be validated against but for patterns. It is compiled now if it was not: some 50 µs
    /// for a usual tool's schema, tens of milliseconds for one as large as may be.
    pub fn check(&self) -> Result<(), SchemaError> {
        let compiled = self.compiled().as_ref().map_err(Clone::clone)?;
        compiled.invalid.clone().map_or(Ok(()), Err)
    }

    /// How many of its patterns values are not held against, nor against what can't do without them; none where they are
    /// not held against any of it.
    pub fn unmatched_patterns(&self) -> Option<usize> {
        self.compiled().as_ref().ok().map(|compiled| compiled.unmatched)
    }

    /// Whether it is compiled already.
    pub fn is_compiled(&self) -> bool {
        self.0.compiled.get().is_some()
    }

    /// What of a value does not fit, at most five places of it, each in at most 200 bytes, such as `at /customer/id: 12
    /// is not of type "string"`. Empty where it fits; none where this schema can't be validated against, or would cost
    /// too much with a value this large.
    pub fn problems(&self, value: &Value) -> Option<Vec<String>> {
        let unknown = || "it does not fit the schema, and is too large to find out where".to_owned();
        self.found(value, problems::told, unknown)
    }

    /// Where a value does not fit, at most five places, each with the keyword of the schema that says so, such as
    /// `/customer/id (/properties/customer/properties/id/type)`: JSON Pointers, escaped, each cut to 100 bytes. Nothing
    /// of the value is in them: a name that the schema does not have is `*`.
    pub fn misfits(&self, value: &Value) -> Vec<String> {
        let names = document::names(&self.0.raw);
        let unknown = || "it is too large to find out where".to_owned();
        let found = self.found(value, |error| problems::place(error, value, &names), unknown);
        found.unwrap_or_else(|| vec!["it is too large, or nested too deep".to_owned()])
    }

    /// What `tell` makes of what does not fit.
    fn found(
        &self,
        value: &Value,
        tell: impl Fn(&ValidationError<'_>) -> String,
        unknown: impl FnOnce() -> String,
    ) -> Option<Vec<String>> {
        let compiled = self.compiled().as_ref().ok()?;
        let places = places(value);
        let steps = compiled.cost.steps.saturating_mul(places as u64);
        let levels = (1 + document::depth(value)) * compiled.cost.in_place_depth;
        if steps > MAX_STEPS || levels > MAX_LEVELS {
            return None;
        }
        if compiled.validator.is_valid(value) {
            return Some(Vec::new());
        }
        if steps > MAX_COLLECTED_STEPS {
            return Some(vec![unknown()]);
        }
        let errors = compiled.validator.iter_errors(value).take(MAX_PROBLEMS);
        Some(errors.map(|error| tell(&error)).collect())
    }

    /// Whether OpenAI's strict mode takes it: each object is closed and all its properties are required, and no keyword is
    /// in it that this mode refuses. No where it is in doubt, or can't be validated against.
    pub fn is_strict(&self) -> bool {
        self.compiled().as_ref().is_ok_and(|compiled| compiled.strict)
    }

    fn compiled(&self) -> &Result<Compiled, SchemaError> {
        self.0.compiled.get_or_init(|| compile(&self.0.raw))
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Schema").field(&self.0.raw.get()).finish()
    }
}

fn compile(raw: &RawValue) -> Result<Compiled, SchemaError> {
    let document = Document::read(raw)?;
    let graph = Graph::read(&document)?;
    let cost = cost::of(&graph)?;
    let bounds = Bounds::of(graph.patterns);
    let refused = match bounds.build(&document.root, document.draft) {
        Ok(validator) => {
            // Sent is what was written, with the references by its own address, which strict mode does not follow.
            let strict = !document.is_addressed && strict::takes(&document.root);
            return Ok(Compiled { validator, cost, strict, unmatched: 0, invalid: None });
        }
        Err(error) => refused(&error),
    };
    let unmatched = bounds.unmatched(&graph);
    if unmatched.is_empty() { Err(refused) } else { compile_relaxed(&document, &graph, &unmatched) }
}

/// Compiles a schema with patterns that can't be matched as they are.
fn compile_relaxed(
    document: &Document,
    graph: &Graph<'_>,
    unmatched: &[String],
) -> Result<Compiled, SchemaError> {
    let invalid = patterns::invalid(unmatched).map(|pattern| SchemaError::Invalid {
        at: graph.place_of(pattern).unwrap_or_default(),
        why: problems::no_pattern(pattern),
    });
    let plain = Document {
        root: relaxed::plain(graph, unmatched),
        draft: document.draft,
        is_addressed: document.is_addressed,
    };
    let graph = Graph::read(&plain)?;
    let bounds = Bounds::of(graph.patterns);
    let unmatched = bounds.unmatched(&graph);
    let weaker = Document {
        root: relaxed::weaker(&graph, &unmatched),
        draft: document.draft,
        is_addressed: document.is_addressed,
    };
    let cost = cost::of(&Graph::read(&weaker)?)?;
    let validator = bounds.build(&weaker.root, weaker.draft).map_err(|error| refused(&error))?;
    // Strict mode's own engine may take no more than this one.
    Ok(Compiled { validator, cost, strict: false, unmatched: unmatched.len(), invalid })
}

/// What the validator's own refusal means.
fn refused(error: &ValidationError<'_>) -> SchemaError {
    let at = error.instance_path().as_str().to_owned();
    match error.kind() {
        ValidationErrorKind::Referencing(_) => SchemaError::Outside { at },
        _ => SchemaError::Invalid { at, why: problems::why(error) },
    }
}

/// How many places a value has that are held against a schema: its values, its names, and more for long texts.
fn places(value: &Value) -> usize {
    let text = |text: &str| 1 + text.len() / TEXT_BYTES_PER_PLACE;
    match value {
        Value::String(value) => text(value),
        Value::Array(values) => 1 + values.iter().map(places).sum::<usize>(),
        Value::Object(object) => {
            1 + object.iter().map(|(name, value)| text(name) + places(value)).sum::<usize>()
        }
        _ => 1,
    }
}

#[cfg(test)]
mod tests;
