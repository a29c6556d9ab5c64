//! Logs and spans: what is written, and what never is.
//!
//! Only this crate's own events go out below `WARN`, and rmcp's never do: libraries print requests, headers and bodies
//! where they debug, and a configured filter must not be able to ask for that.

mod config;
mod ids;
mod lines;

use std::{io, panic};

use thiserror::Error;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::{
    Layer, Registry, filter::filter_fn, fmt::MakeWriter, layer::SubscriberExt, registry::LookupSpan,
};

pub use config::{Config, LogFormat};

/// This crate's name, as its events' targets begin.
const OURS: &str = env!("CARGO_CRATE_NAME");

/// Why there can be no logs.
#[derive(Debug, Error)]
pub enum Error {
    /// The filter is not valid.
    #[error("the log filter is not valid: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The process has logs already.
    #[error("the process has a tracing subscriber already")]
    Installed(#[from] tracing::subscriber::SetGlobalDefaultError),
}

/// Sends this process's logs to standard output, and makes a panic say where, but not what.
///
/// # Errors
/// See [`enum@Error`].
pub fn install(config: &Config) -> Result<(), Error> {
    tracing::subscriber::set_global_default(subscriber(config, io::stdout)?)?;
    panic::set_hook(Box::new(|panicked| {
        // The message may hold anything; the place is enough to find it.
        let place = panicked.location().map(ToString::to_string);
        tracing::error!(place, "A panic");
    }));
    Ok(())
}

/// What logs and spans go through.
///
/// # Errors
/// The filter is not valid.
pub fn subscriber<W>(config: &Config, writer: W) -> Result<impl Subscriber + Send + Sync, Error>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = lines::lines(config, writer)?;
    Ok(Registry::default().with(config.spans.then(spans)).with(lines))
}

/// Spans with trace and span ids of their own. Nothing exports them yet; their context goes out with each request.
fn spans<S>() -> impl Layer<S> + Send + Sync
where
    S: Subscriber + for<'s> LookupSpan<'s> + Send + Sync,
{
    tracing_opentelemetry::layer()
        .with_tracer(ids::IdTracer::default())
        .with_context_activation(false)
        .with_location(false)
        .with_threads(false)
        .with_level(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(filter_fn(|metadata| metadata.is_span() && is_ours(metadata)))
}

fn may_be_logged(metadata: &Metadata<'_>) -> bool {
    is_ours(metadata) || (*metadata.level() <= Level::WARN && !metadata.target().starts_with("rmcp"))
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target().split("::").next() == Some(OURS)
}
