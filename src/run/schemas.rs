//! Compiled schemas of the arguments of MCP servers' tools. Those of a caller's own tools end with its run.
//!
//! To compile one takes longer than a call. What a schema's text compiles to depends on nothing else, so equal texts share
//! it; who brought the text is not known here.
//!
//! Patterns are what compiled schemas are large with: those of one take up to 4 MiB, and while they are matched as much
//! again. So fewer of the schemas that have some are kept.

use std::{num::NonZeroUsize, sync::Arc};

use lru::LruCache;
use parking_lot::Mutex;
use serde_json::value::RawValue;

use crate::schema::Schema;

/// How many without patterns are kept.
const MAX_KEPT: NonZeroUsize = NonZeroUsize::new(256).unwrap();
/// How many with patterns are kept.
const MAX_WITH_PATTERNS: NonZeroUsize = NonZeroUsize::new(16).unwrap();
/// The largest that is kept, in bytes.
const MAX_BYTES: usize = 64 * 1024;

type Kept = Mutex<LruCache<Box<str>, Schema>>;

/// The schemas that were used last.
pub struct Schemas {
    plain: Kept,
    with_patterns: Kept,
}

impl Schemas {
    /// The schema of this text; the one that others use, too, unless it is large.
    pub(super) fn of(&self, raw: &Arc<RawValue>) -> Schema {
        if raw.get().len() > MAX_BYTES {
            return Schema::new(raw.clone());
        }
        let kept = if may_have_patterns(raw.get()) { &self.with_patterns } else { &self.plain };
        let mut kept = kept.lock();
        if let Some(schema) = kept.get(raw.get()) {
            return schema.clone();
        }
        let schema = Schema::new(raw.clone());
        kept.put(raw.get().into(), schema.clone());
        schema
    }
}

impl Default for Schemas {
    fn default() -> Self {
        let kept = |most| Mutex::new(LruCache::new(most));
        Self { plain: kept(MAX_KEPT), with_patterns: kept(MAX_WITH_PATTERNS) }
    }
}

/// Whether `pattern` or `patternProperties` may be in a text: as it is, or with characters that are escaped.
fn may_have_patterns(json: &str) -> bool {
    json.contains("pattern") || json.contains("\\u")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: String) -> Arc<RawValue> {
        RawValue::from_string(text).unwrap().into()
    }

    /// Whether a text has the same schema as before.
    fn is_kept(schemas: &Schemas, first: &Arc<RawValue>) -> bool {
        let equal = raw(first.get().to_owned());
        Arc::ptr_eq(schemas.of(&equal).raw(), first)
    }

    #[test]
    fn of_each_sort_the_last_ones_are_kept_and_no_more() {
        for (schema, most) in [
            (r#"{"title":"#, MAX_KEPT.get()),
            (r#"{"pattern":"#, MAX_WITH_PATTERNS.get()),
            (r#"{"\u0070attern":"#, MAX_WITH_PATTERNS.get()),
        ] {
            let schemas = Schemas::default();
            let texts: Vec<_> = (0..=most).map(|n| raw(format!("{schema}\"{n}\"}}"))).collect();
            texts.iter().for_each(|text| drop(schemas.of(text)));
            assert!(texts[1..].iter().all(|text| is_kept(&schemas, text)), "{schema}");
            assert!(!is_kept(&schemas, &texts[0]), "{schema}");
        }
    }

    #[test]
    fn a_large_one_is_not_kept() {
        let schemas = Schemas::default();
        for (bytes, kept) in [(MAX_BYTES, true), (MAX_BYTES + 1, false)] {
            let text = raw(format!("{{\"title\":\"{}\"}}", "x".repeat(bytes - 12)));
            assert_eq!(text.get().len(), bytes);
            schemas.of(&text);
            assert_eq!(is_kept(&schemas, &text), kept);
        }
    }
}
