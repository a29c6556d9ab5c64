//! Logs, spans and metrics: what is written, who gets it, and what never is.
//!
//! Only this crate's own events go out below `WARN`, and rmcp's never do: libraries print requests, headers and bodies
//! where they debug, and a configured filter must not be able to ask for that.

mod config;
mod filter;
mod lines;
mod meters;

use std::{io, panic};

use thiserror::Error;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::{Layer, Registry, filter::LevelFilter, fmt::MakeWriter, layer::SubscriberExt};

pub use config::{Config, LogFormat};
pub use filter::Filter;
pub use meters::{CONTENT_TYPE, Meters, MetersError};

use crate::trace::SpanMaker;

/// This crate's name, as its events' targets begin.
const OURS: &str = env!("CARGO_CRATE_NAME");

/// Why there can be no logs.
#[derive(Debug, Error)]
pub enum Error {
    /// The filter is not valid.
    #[error("the log filter is not valid: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The process has no logs any more.
    #[error("the log filter can't be changed: {0}")]
    Reload(#[from] tracing_subscriber::reload::Error),
    /// The process has logs already.
    #[error("the process has a tracing subscriber already")]
    Installed(#[from] tracing::subscriber::SetGlobalDefaultError),
}

/// Sends this process's logs to standard output, and makes a panic say where, but not what. With the filter, which can be
/// changed.
///
/// # Errors
/// See [`enum@Error`].
pub fn install(config: &Config) -> Result<Filter, Error> {
    let spans = config.spans.then(SpanMaker::of_ids);
    let (subscriber, filter) = subscriber_and_filter(config, io::stdout, spans)?;
    tracing::subscriber::set_global_default(subscriber)?;
    panic::set_hook(Box::new(|panicked| {
        // The message may hold anything; the place is enough to find it.
        let place = panicked.location().map(ToString::to_string);
        tracing::error!(place, "A panic");
    }));
    Ok(filter)
}

/// What logs go through, with what makes spans. `None`: there are no spans.
///
/// # Errors
/// The filter is not valid.
pub fn subscriber<W>(
    config: &Config,
    writer: W,
    spans: Option<SpanMaker>,
) -> Result<impl Subscriber + Send + Sync, Error>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    Ok(subscriber_and_filter(config, writer, spans)?.0)
}

/// The same, with its filter, which can be changed.
///
/// # Errors
/// The filter is not valid.
pub fn subscriber_and_filter<W>(
    config: &Config,
    writer: W,
    spans: Option<SpanMaker>,
) -> Result<(impl Subscriber + Send + Sync, Filter), Error>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (lines, filter) = lines::lines(config, writer)?;
    // It hears of nothing: it is there to be found by those that begin a trace.
    let spans = spans.map(|spans| spans.with_filter(LevelFilter::OFF));
    Ok((Registry::default().with(spans).with(lines), filter))
}

impl<S: Subscriber> Layer<S> for SpanMaker {}

fn may_be_logged(metadata: &Metadata<'_>) -> bool {
    is_ours(metadata) || (*metadata.level() <= Level::WARN && !metadata.target().starts_with("rmcp"))
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target().split("::").next() == Some(OURS)
}
