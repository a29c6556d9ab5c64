//! What is made once, and found by its name.
//!
//! To find a series by its attributes costs some 1,500 instructions, most of them for hashing, and a run records some
//! twenty times. So what runs record most often is bound once to its series, and kept with the agent, the model, the tool
//! or the server that it belongs to.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use opentelemetry::{
    KeyValue,
    metrics::{BoundCounter, BoundHistogram, Counter, Histogram},
};
use parking_lot::RwLock;

/// Things by their names. There are as many as the configuration has.
pub(super) struct Named<T>(RwLock<HashMap<Arc<str>, Arc<T>>>);

/// A number of one series. The series begins with its first value.
#[derive(Default)]
pub(super) struct Count(OnceLock<BoundCounter<u64>>);

/// A histogram of one series.
pub(super) struct Spread<T>(OnceLock<BoundHistogram<T>>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<T> Named<T> {
    /// The thing of a name. It is made the first time.
    pub(super) fn of(&self, name: &str, make: impl FnOnce(Arc<str>) -> T) -> Arc<T> {
        if let Some(found) = self.0.read().get(name) {
            return found.clone();
        }
        let name: Arc<str> = name.into();
        self.0.write().entry(name.clone()).or_insert_with(|| Arc::new(make(name))).clone()
    }
}

impl Count {
    /// Adds to it; `attributes` are the same each time.
    pub(super) fn add<const N: usize>(
        &self,
        counter: &Counter<u64>,
        value: u64,
        attributes: impl FnOnce() -> [KeyValue; N],
    ) {
        self.0.get_or_init(|| counter.bind(&attributes())).add(value);
    }
}

impl<T> Default for Spread<T> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<T> Spread<T> {
    /// Records a value; `attributes` are the same each time.
    pub(super) fn record<const N: usize>(
        &self,
        histogram: &Histogram<T>,
        value: T,
        attributes: impl FnOnce() -> [KeyValue; N],
    ) {
        self.0.get_or_init(|| histogram.bind(&attributes())).record(value);
    }
}
