//! Which patterns values are held against.
//!
//! They are matched in linear time by what is compiled to a bounded size, for a schema may mean harm. `fancy-regex`, which
//! knows lookarounds and backreferences, can't be bounded so: its limit counts how often it goes back, and each time it
//! may search the rest of the text, as `(a)(?=[^Q]*Q)\1` does. Nor is a larger size an answer: `^.{1,5000}$` takes some 5
//! MiB, as much again where it is matched, and where one as large is not anchored, thousands of its states are looked at
//! for each byte. So common patterns are put in other words where that is exact (see [`super::plain_pattern`]), and the
//! others are left out (see [`super::relaxed`]).

use std::collections::HashSet;

use jsonschema::{Draft, PatternOptions, ValidationError, ValidationOptions, Validator};
use serde_json::{Value, json};

use super::graph::Graph;

/// The most bytes of one compiled pattern: `^.{1,500}$` takes half of it.
const MAX_BYTES: usize = 1024 * 1024;
/// The most bytes of all compiled patterns together.
const MAX_BYTES_TOGETHER: usize = 4 * MAX_BYTES;
/// The most patterns that are tried one by one: each takes some 0.1 ms.
const MAX_TRIED: usize = 500;

/// How large a schema's patterns may be.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    bytes: usize,
}

impl Bounds {
    /// The bounds of each of so many patterns.
    pub(super) fn of(patterns: usize) -> Self {
        Self { bytes: (MAX_BYTES_TOGETHER / patterns.max(1)).min(MAX_BYTES) }
    }

    /// Compiles a schema; an error where one of its patterns can't be matched, too.
    pub(super) fn build(self, root: &Value, draft: Draft) -> Result<Validator, ValidationError<'_>> {
        let patterns = PatternOptions::regex().size_limit(self.bytes).dfa_size_limit(self.bytes);
        options(draft).should_validate_formats(false).with_pattern_options(patterns).build(root)
    }

    /// The patterns of a schema that can't be matched, each once, in the order in which they are found.
    pub(super) fn unmatched(self, graph: &Graph<'_>) -> Vec<String> {
        let mut seen = HashSet::new();
        let distinct = graph.patterns().filter(|pattern| seen.insert(*pattern));
        let unmatched =
            distinct.enumerate().filter(|(at, pattern)| *at >= MAX_TRIED || !self.matches(pattern));
        unmatched.map(|(_, pattern)| pattern.to_owned()).collect()
    }

    fn matches(self, pattern: &str) -> bool {
        self.build(&json!({ "pattern": pattern }), Draft::default()).is_ok()
    }
}

/// The first that is no regular expression of ECMA-262, as JSON Schema wants them.
pub(super) fn invalid(patterns: &[String]) -> Option<&String> {
    let format = json!({ "format": "regex" });
    let validator = options(Draft::default()).should_validate_formats(true).build(&format).ok()?;
    patterns.iter().find(|pattern| !validator.is_valid(&json!(pattern)))
}

fn options(draft: Draft) -> ValidationOptions<'static> {
    jsonschema::options().with_draft(draft).offline()
}
