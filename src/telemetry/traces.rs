//! Spans on their way out.
//!
//! A span that has ended is put into a queue and forgotten by the run; a thread takes them from there in batches. A
//! collector that is slow or gone costs spans, never a run's time: what finds no room in the queue is dropped.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use opentelemetry::{
    Context, InstrumentationScope, Key, KeyValue, global::BoxedTracer, trace::TracerProvider,
};
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    trace::{
        BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, Span, SpanData, SpanExporter,
        SpanProcessor,
    },
};
use tracing::{info, warn};

use super::Config;
use crate::trace::SpanMaker;

/// The most spans that wait to be exported: a second of some thousand runs.
const MAX_QUEUED: usize = 4096;
/// The most spans that are sent at once. So many that wait are sent without delay.
const MAX_BATCH: usize = 512;
/// How long a span waits at most, where few do.
const DELAY: Duration = Duration::from_secs(1);
/// How long the last batches may take.
const LAST_BATCHES: Duration = Duration::from_secs(2);

const SERVICE_NAME: &str = "service.name";

/// Spans that are exported, until they are shut down.
pub struct Traces {
    provider: SdkTracerProvider,
    queue: Arc<Queue>,
}

/// What became of the spans that have ended.
#[derive(Debug, Default)]
struct Queue {
    ended: AtomicUsize,
    taken: AtomicUsize,
    /// Whether it was told that some are lost.
    told: AtomicBool,
}

impl Traces {
    /// Begins to export.
    pub fn new<E: SpanExporter + 'static>(exporter: E, config: &Config, instance: &str) -> Self {
        let queue = Arc::new(Queue::default());
        let exporter = Watched { exporter, queue: queue.clone(), failing: AtomicBool::new(false) };
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(MAX_QUEUED)
            .with_max_export_batch_size(MAX_BATCH)
            .with_scheduled_delay(DELAY)
            .build();
        let batches = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
        let ratio = Sampler::TraceIdRatioBased(config.sampling);
        let provider = SdkTracerProvider::builder()
            .with_resource(resource(config, instance))
            .with_sampler(Sampler::ParentBased(Box::new(ratio)))
            .with_span_processor(Counted { batches, queue: queue.clone() })
            .build();
        Self { provider, queue }
    }

    /// What makes the spans.
    pub fn maker(&self) -> SpanMaker {
        let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME"));
        let scope = scope.with_version(env!("CARGO_PKG_VERSION")).build();
        SpanMaker::of_tracer(BoxedTracer::new(Box::new(self.provider.tracer_with_scope(scope))))
    }

    /// Exports what is left, and no more from then on. It blocks the thread, for 2 s at most, and needs the runtime that
    /// exports: so that thread must be none of the runtime's, however many it has.
    pub fn shutdown(self) {
        let ended = self.provider.shutdown_with_timeout(LAST_BATCHES);
        let lost = self.queue.ended.load(Relaxed).saturating_sub(self.queue.taken.load(Relaxed));
        if let Err(error) = ended {
            warn!(%error, spans = lost, "The last spans could not be exported");
        } else if lost > 0 {
            warn!(spans = lost, "Spans were lost, as more ended than the collector took");
        }
    }
}

/// What is said of this process. What is configured counts before what the environment says (`OTEL_SERVICE_NAME`,
/// `OTEL_RESOURCE_ATTRIBUTES`), and that before what we say.
pub(super) fn resource(config: &Config, instance: &str) -> Resource {
    let detected = Resource::builder().build();
    let ours = [
        (SERVICE_NAME, env!("CARGO_PKG_NAME")),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("service.instance.id", instance),
    ];
    // The SDK makes up a service's name where there is none.
    let is_said = |name: &'static str| {
        let said = detected.get(&Key::from_static_str(name));
        said.is_some_and(|said| name != SERVICE_NAME || !said.as_str().starts_with("unknown_service"))
    };
    let ours = ours.into_iter().filter(|(name, _)| !is_said(name));
    let ours = ours.map(|(name, value)| KeyValue::new(name, value.to_owned()));
    let configured = config.resource.iter().map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
    Resource::builder().with_attributes(ours).with_attributes(configured).build()
}

/// Counts the spans that have ended: what drops some of them does not tell.
#[derive(Debug)]
struct Counted {
    batches: BatchSpanProcessor,
    queue: Arc<Queue>,
}

impl SpanProcessor for Counted {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.batches.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        self.queue.ended.fetch_add(1, Relaxed);
        self.batches.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.batches.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.batches.set_resource(resource);
    }
}

/// An exporter whose failures are logged: the first, and that it works again, but not each batch.
#[derive(Debug)]
struct Watched<E> {
    exporter: E,
    queue: Arc<Queue>,
    failing: AtomicBool,
}

impl<E: SpanExporter> SpanExporter for Watched<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.queue.take(batch.len());
        let result = self.exporter.export(batch).await;
        self.note(result.as_ref().err());
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl<E> Watched<E> {
    fn note(&self, error: Option<&OTelSdkError>) {
        let failed = self.failing.swap(error.is_some(), Relaxed);
        match error {
            // Its text has a status at most, and nothing that the collector said.
            Some(error) if !failed => {
                warn!(%error, "Spans can't be exported, and are lost until the collector takes them");
            }
            None if failed => info!("Spans are exported again"),
            _ => {}
        }
    }
}

impl Queue {
    /// Notes that a batch was taken. That spans must have been dropped is told once; how many, at the end.
    fn take(&self, spans: usize) {
        let taken = self.taken.fetch_add(spans, Relaxed) + spans;
        let lost = self.ended.load(Relaxed) > taken + MAX_QUEUED;
        if lost && !self.told.swap(true, Relaxed) {
            warn!("Spans are lost: more end than the collector takes");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::FutureExt;
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    /// An exporter that is told whether it fails.
    #[derive(Debug)]
    struct Told(Mutex<Vec<bool>>);

    impl SpanExporter for Told {
        async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
            let fails = self.0.lock().unwrap().pop().unwrap();
            if fails { Err(OTelSdkError::InternalFailure("HTTP 503".to_owned())) } else { Ok(()) }
        }
    }

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Written {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    fn logged(work: impl FnOnce()) -> Vec<String> {
        let written = Written::default();
        let subscriber = crate::telemetry::subscriber(&Config::default(), written.clone(), None).unwrap();
        tracing::subscriber::with_default(subscriber, work);
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_failure_is_told_once_and_again_after_a_success() {
        let lines = logged(|| {
            let outcomes = [true, false, false, true, true, true];
            let (exporter, queue) = (Told(Mutex::new(outcomes.to_vec())), Arc::default());
            let watched = Watched { exporter, queue, failing: AtomicBool::new(false) };
            for _ in outcomes {
                let _ = watched.export(Vec::new()).now_or_never().unwrap();
            }
        });
        let told: Vec<bool> = lines.iter().map(|line| line.contains("can't be exported")).collect();
        assert_eq!(told, [true, false, true], "{lines:?}");
        assert!(lines[1].contains("exported again"));
    }

    #[test]
    fn that_spans_are_lost_is_told_once() {
        let queue = Queue::default();
        let lines = logged(|| {
            queue.ended.store(MAX_QUEUED + MAX_BATCH, Relaxed);
            queue.take(MAX_BATCH);
            queue.ended.fetch_add(2 * MAX_BATCH, Relaxed);
            queue.take(MAX_BATCH);
            queue.ended.fetch_add(2 * MAX_BATCH, Relaxed);
            queue.take(MAX_BATCH);
        });
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("Spans are lost"));
    }

    #[test]
    fn what_is_configured_of_the_process_goes_before_what_we_say() {
        let said = |configured: &[(&str, &str)]| {
            let configured = configured.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            let config = Config { resource: configured.collect(), ..Config::default() };
            let resource = resource(&config, "here-1");
            ["service.name", "service.instance.id", "team"].map(|name| {
                resource.get(&Key::from_static_str(name)).map(|value| value.as_str().into_owned())
            })
        };
        let ours = [Some("runwright".to_owned()), Some("here-1".to_owned())];
        assert_eq!(said(&[])[..2], ours);
        let configured = said(&[("service.name", "other"), ("team", "blue")]);
        assert_eq!(
            configured,
            [Some("other".to_owned()), Some("here-1".to_owned()), Some("blue".to_owned())]
        );
    }
}
