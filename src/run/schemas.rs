//! Compiled schemas of tools' arguments.
//!
//! To compile one takes longer than a call. What a schema's text compiles to depends on nothing else, so equal texts share
//! it; who brought the text is not known here.

use std::{num::NonZeroUsize, sync::Arc};

use lru::LruCache;
use parking_lot::Mutex;
use serde_json::value::RawValue;

use crate::schema::Schema;

/// How many are kept.
const MAX_KEPT: NonZeroUsize = NonZeroUsize::new(1024).unwrap();
/// The largest that is kept, in bytes.
const MAX_BYTES: usize = 16 * 1024;

/// The schemas that were used last.
pub struct Schemas(Mutex<LruCache<Box<str>, Schema>>);

impl Schemas {
    /// The schema of this text; the one that others use, too, unless it is large.
    pub(super) fn of(&self, raw: &Arc<RawValue>) -> Schema {
        if raw.get().len() > MAX_BYTES {
            return Schema::new(raw.clone());
        }
        let mut kept = self.0.lock();
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
        Self(Mutex::new(LruCache::new(MAX_KEPT)))
    }
}
