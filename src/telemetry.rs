//! Logs, spans and metrics: what is written, what goes out, and what never does.
//!
//! Only this crate's own events go out below `WARN`, and rmcp's never do: libraries print requests, headers and bodies
//! where they debug, and a configured filter must not be able to ask for that.

mod config;
mod filter;
mod lines;
mod meters;
pub mod otlp;
mod traces;

use std::{io, panic, thread};

use opentelemetry_sdk::metrics::PeriodicReader;
use thiserror::Error;
use tokio::runtime::Handle;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::{Layer, Registry, filter::LevelFilter, fmt::MakeWriter, layer::SubscriberExt};

pub use config::{Config, LogFormat};
pub use filter::Filter;
pub use meters::{CONTENT_TYPE, Meters, MetersError};
pub use otlp::Config as OtlpConfig;
pub use traces::Traces;

use crate::{egress::Egress, trace::SpanMaker};

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
    /// There can be no metrics.
    #[error(transparent)]
    Meters(#[from] MetersError),
    /// Nothing can be exported.
    #[error(transparent)]
    Otlp(#[from] otlp::Error),
}

/// What is to be ended before the process is. What it exports is sent over the runtime that it was begun with.
#[must_use = "what was measured last is exported when it is shut down"]
pub struct Telemetry {
    traces: Option<Traces>,
    meters: Meters,
    filter: Filter,
}

/// What telemetry needs of the rest of the process.
pub struct Surroundings<'a> {
    /// The process's name.
    pub instance: &'a str,
    /// What requests are sent over.
    pub egress: &'a Egress,
    /// Where they are sent.
    pub runtime: &'a Handle,
}

/// Sends this process's logs to standard output and its spans to where they are configured to go, and makes a panic say
/// where, but not what.
///
/// # Errors
/// See [`enum@Error`].
pub fn install(config: &Config, surroundings: &Surroundings<'_>) -> Result<Telemetry, Error> {
    let (traces, meters) = (traces(config, surroundings)?, meters(config, surroundings)?);
    let spans = match &traces {
        Some(traces) => Some(traces.maker()),
        None => config.spans.then(|| SpanMaker::of_ids().sampling(config.sampling)),
    };
    let (subscriber, filter) = subscriber_and_filter(config, io::stdout, spans)?;
    tracing::subscriber::set_global_default(subscriber)?;
    panic::set_hook(Box::new(|panicked| {
        // The message may hold anything; the place is enough to find it.
        let place = panicked.location().map(ToString::to_string);
        tracing::error!(place, "A panic");
    }));
    Ok(Telemetry { traces, meters, filter })
}

/// Metrics, which are exported if they are to be.
fn meters(config: &Config, surroundings: &Surroundings<'_>) -> Result<Meters, Error> {
    let Some(otlp) = config.otlp.as_ref().filter(|otlp| otlp.metrics) else { return Ok(Meters::of_page()?) };
    let exporter = otlp.metric_exporter(surroundings.egress, surroundings.runtime)?;
    let reader = PeriodicReader::builder(exporter).build();
    Ok(Meters::new(traces::resource(config, surroundings.instance), |readers| readers.with_reader(reader))?)
}

/// What exports spans, if they are to be.
///
/// # Errors
/// There is no client for the collector.
pub fn traces(config: &Config, surroundings: &Surroundings<'_>) -> Result<Option<Traces>, otlp::Error> {
    let Some(otlp) = config.otlp.as_ref().filter(|otlp| config.spans && otlp.traces) else { return Ok(None) };
    let exporter = otlp.span_exporter(surroundings.egress, surroundings.runtime)?;
    Ok(Some(Traces::new(exporter, config, surroundings.instance)))
}

impl Telemetry {
    /// The filter of the log, which can be changed.
    pub fn filter(&self) -> Filter {
        self.filter.clone()
    }

    /// What is measured with.
    pub fn meters(&self) -> Meters {
        self.meters.clone()
    }

    /// Exports what is left: see [`Traces::shutdown`], and so with metrics.
    pub fn shutdown(self) {
        let Self { traces, meters, .. } = self;
        thread::scope(|both| {
            both.spawn(|| meters.shutdown());
            if let Some(traces) = traces {
                traces.shutdown();
            }
        });
    }
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
    // It hears of nothing: it is there to be found by those that begin a trace. Without its filter, and so without it, all
    // spans of tracing's that libraries make would be kept in the registry.
    let spans = spans.unwrap_or_else(SpanMaker::off).with_filter(LevelFilter::OFF);
    Ok((Registry::default().with(spans).with(lines), filter))
}

impl<S: Subscriber> Layer<S> for SpanMaker {}

fn may_be_logged(metadata: &Metadata<'_>) -> bool {
    is_ours(metadata) || (*metadata.level() <= Level::WARN && !metadata.target().starts_with("rmcp"))
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target().split("::").next() == Some(OURS)
}

#[cfg(test)]
mod tests {
    use tracing::{info_span, subscriber::with_default};

    use super::*;

    #[test]
    fn spans_of_libraries_are_not_kept_whether_ours_are_on_or_off() {
        for spans in [None, Some(SpanMaker::of_ids())] {
            let subscriber = subscriber(&Config::default(), io::sink, spans).unwrap();
            with_default(subscriber, || {
                assert!(info_span!(target: "h2", "a library's").is_disabled());
                assert!(!info_span!("rpc").is_disabled());
            });
        }
    }
}
