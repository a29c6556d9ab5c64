//! Compiled schemas of the arguments of MCP servers' tools. Those of a caller's own tools end with its run.
//!
//! To compile one takes longer than a call. What a schema's text compiles to depends on nothing else, so equal texts share
//! it; who brought the text is not known here.
//!
//! Patterns are what compiled schemas are large with: those of one take up to 4 MiB, and while they are matched as much
//! again. So fewer of the schemas that have some are kept.

use std::{num::NonZeroUsize, sync::Arc, thread::available_parallelism};

use lru::LruCache;
use parking_lot::Mutex;
use serde_json::value::RawValue;
use tokio::{sync::Semaphore, task::spawn_blocking};
use tracing::warn;

use crate::{message::ToolRef, schema::Schema};

/// How many without patterns are kept.
const MAX_KEPT: NonZeroUsize = NonZeroUsize::new(256).unwrap();
/// How many with patterns are kept.
const MAX_WITH_PATTERNS: NonZeroUsize = NonZeroUsize::new(16).unwrap();
/// How many tools are remembered that were told of.
const MAX_TOLD: NonZeroUsize = NonZeroUsize::new(256).unwrap();
/// The largest that is kept, in bytes.
const MAX_BYTES: usize = 64 * 1024;
/// The most bytes that are compiled where they are needed, those of all schemas at once: some 0.2 ms.
const MAX_BYTES_AT_ONCE: usize = 4 * 1024;

type Kept = Mutex<LruCache<Box<str>, Schema>>;

/// The schemas that were used last.
pub struct Schemas {
    plain: Kept,
    with_patterns: Kept,
    /// How many requests' schemas may be compiled at once on threads of their own: what serves everybody has the other cores.
    compiling: Arc<Semaphore>,
    /// The tools of which it was told that their arguments are not wholly checked.
    told: Mutex<LruCache<ToolRef, ()>>,
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

    /// Has schemas compiled that were not: here where that is quick, else on another thread, so that nobody else waits for
    /// it. Whether they can be used, they say themselves then.
    pub async fn compile(&self, schemas: &[Schema]) {
        let waiting: Vec<Schema> = schemas.iter().filter(|schema| !schema.is_compiled()).cloned().collect();
        if is_quick(&waiting) {
            check(&waiting);
        } else {
            // Seldom, and so not in every caller's future.
            Box::pin(self.compile_elsewhere(waiting)).await;
        }
    }

    /// Logs once of an MCP server's tool that arguments are not, or not wholly, held against its schema. What the schema
    /// says is its server's, and no word for a log.
    pub(super) fn tell_unchecked(&self, tool: &ToolRef, schema: &Schema) {
        let unmatched = schema.unmatched_patterns();
        if unmatched == Some(0) || tool.is_callers() || self.told.lock().put(tool.clone(), ()).is_some() {
            return;
        }
        warn!(
            mcp_server = tool.mcp_server,
            tool = tool.tool,
            schema.unmatched_patterns = unmatched,
            "Arguments are not wholly held against the schema of an MCP server's tool"
        );
    }

    async fn compile_elsewhere(&self, schemas: Vec<Schema>) {
        let turn = self.compiling.clone().acquire_owned().await;
        let compiled = spawn_blocking(move || {
            check(&schemas);
            // It goes on, and has its turn, also where nobody waits for it any more.
            drop(turn);
        });
        // What panicked there panics again where it is asked for.
        let _ = compiled.await;
    }
}

impl Default for Schemas {
    fn default() -> Self {
        let kept = |most| Mutex::new(LruCache::new(most));
        let cores = available_parallelism().map_or(1, NonZeroUsize::get);
        Self {
            plain: kept(MAX_KEPT),
            with_patterns: kept(MAX_WITH_PATTERNS),
            compiling: Arc::new(Semaphore::new((cores / 2).max(1))),
            told: Mutex::new(LruCache::new(MAX_TOLD)),
        }
    }
}

/// Whether schemas are compiled in no time. One without patterns and references takes as long as it is.
fn is_quick(schemas: &[Schema]) -> bool {
    let bytes: usize = schemas.iter().map(|schema| schema.raw().get().len()).sum();
    let is_plain = |json: &str| !may_have_patterns(json) && !json.contains("ef\"");
    bytes <= MAX_BYTES_AT_ONCE && schemas.iter().all(|schema| is_plain(schema.raw().get()))
}

/// Compiles them. What is wrong with one, it keeps.
fn check(schemas: &[Schema]) {
    for schema in schemas {
        let _ = schema.check();
    }
}

/// Whether `pattern` or `patternProperties` may be in a text: as it is, or with characters that are escaped.
fn may_have_patterns(json: &str) -> bool {
    json.contains("pattern") || json.contains("\\u")
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

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

    #[tokio::test]
    async fn what_takes_long_is_compiled_on_another_thread_and_the_rest_at_once() {
        let schemas = Schemas::default();
        let large = format!(r#"{{"title":"{}"}}"#, "x".repeat(MAX_BYTES_AT_ONCE));
        for (text, at_once) in [
            (r#"{"type":"object"}"#, true),
            (r#"{"pattern":"a{1000}"}"#, false),
            (r##"{"$ref":"#/$defs/a","$defs":{"a":{}}}"##, false),
            (&large, false),
            // It can't be used, and says so as fast as others.
            ("[]", true),
        ] {
            let schema = [Schema::new(raw(text.to_owned()))];
            // Nobody else has a turn: what waits for one is not done by chance.
            let all = u32::try_from(schemas.compiling.available_permits()).unwrap();
            let turns = schemas.compiling.clone().try_acquire_many_owned(all).unwrap();
            let polled = schemas.compile(&schema).now_or_never();
            drop(turns);
            assert_eq!((polled.is_some(), schema[0].is_compiled()), (at_once, at_once), "{text}");
            schemas.compile(&schema).await;
            assert!(schema[0].is_compiled(), "{text}");
            assert!(schemas.compile(&schema).now_or_never().is_some(), "{text}");
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
