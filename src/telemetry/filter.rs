//! The filter of the log lines, which can be changed while they are written.

use std::sync::Arc;

use tracing_subscriber::{EnvFilter, reload};

use super::Error;

/// The filter of the log lines. What may never be written, it can't ask for.
#[derive(Clone)]
pub struct Filter(Arc<Change>);

type Change = dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync;

impl Filter {
    pub(super) fn new(
        change: impl Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(change))
    }

    /// Has lines be written from now on as this filter says: a level (`info`), or directives of tracing-subscriber's
    /// `EnvFilter`. Each place of logging is asked anew whether anybody cares.
    ///
    /// # Errors
    /// The filter is not valid, or there are no logs any more.
    pub fn set(&self, filter: &str) -> Result<(), Error> {
        Ok((self.0)(EnvFilter::builder().parse(filter)?)?)
    }
}
