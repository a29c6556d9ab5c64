//! Who gets the metrics: the page that Prometheus reads, and whoever else is added.

use std::{sync::mpsc, thread, time::Duration};

use opentelemetry::metrics::{Meter, MeterProvider as _};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkError,
    metrics::{Instrument, InstrumentKind, MeterProviderBuilder, SdkMeterProvider, Stream},
};
use prometheus::{Registry, TextEncoder};
use thiserror::Error;
use tracing::warn;

/// The most combinations of labels that one histogram tells apart, and one number: what comes beyond has the label
/// `otel_metric_overflow` alone. Each is a line of the page, and of a histogram a line a bucket.
const MAX_HISTOGRAM_SETS: usize = 1_000;
const MAX_SETS: usize = 4_000;

/// How long the last export may take.
const LAST_EXPORT: Duration = Duration::from_secs(2);

/// What the page is made of.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Why there can be no metrics.
#[derive(Debug, Error)]
pub enum MetersError {
    /// The page's collector can't be made.
    #[error("the metrics' page can't be made: {0}")]
    Page(#[from] OTelSdkError),
    /// The process's own metrics can't be added.
    #[error("the process's metrics can't be collected: {0}")]
    Process(#[from] prometheus::Error),
}

/// The metrics of this process. Clones share them.
#[derive(Clone)]
pub struct Meters {
    provider: SdkMeterProvider,
    registry: Registry,
}

impl Meters {
    /// Metrics of the process that `resource` tells of, which the page has, and those readers that `add_readers` adds.
    ///
    /// # Errors
    /// See [`MetersError`].
    pub fn new(
        resource: Resource,
        add_readers: impl FnOnce(MeterProviderBuilder) -> MeterProviderBuilder,
    ) -> Result<Self, MetersError> {
        let registry = Registry::new();
        let page = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            // There is one scope, and what tells processes apart is what Prometheus knows of its target.
            .scope_info_enabled(false)
            .without_target_info()
            .build()?;
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        let provider =
            SdkMeterProvider::builder().with_resource(resource).with_view(bounded).with_reader(page);
        Ok(Self { provider: add_readers(provider).build(), registry })
    }

    /// Metrics that the page alone has.
    ///
    /// # Errors
    /// See [`MetersError`].
    pub fn of_page() -> Result<Self, MetersError> {
        Self::new(Resource::builder_empty().build(), |readers| readers)
    }

    /// Exports what is left, and no more from then on. It blocks the thread, for 2 s at most, and needs the runtime that
    /// exports: so that thread must be none of the runtime's, however many it has.
    pub(super) fn shutdown(self) {
        // The readers' own timeout is none.
        let (ended, ends) = mpsc::channel();
        thread::spawn(move || ended.send(self.provider.shutdown()));
        match ends.recv_timeout(LAST_EXPORT) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "The last metrics could not be exported"),
            Err(_) => warn!("The last metrics could not be exported in time"),
        }
    }

    /// What instruments are made with.
    pub fn meter(&self) -> Meter {
        self.provider.meter("runwright")
    }

    /// The page in Prometheus' text format ([`CONTENT_TYPE`]). It takes a millisecond or some; nobody is asked for it.
    ///
    /// # Errors
    /// A metric has no valid name.
    pub fn page(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

fn bounded(instrument: &Instrument) -> Option<Stream> {
    let max = match instrument.kind() {
        InstrumentKind::Histogram => MAX_HISTOGRAM_SETS,
        _ => MAX_SETS,
    };
    Stream::builder().with_cardinality_limit(max).build().ok()
}
