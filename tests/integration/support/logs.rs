//! What is logged while a test runs, at TRACE, and what our spans hold, those of the log lines and those of the trace. Only
//! for tests on one thread: the subscriber is the thread's.

use std::{
    fmt,
    io::{self, Write},
    sync::{Arc, LazyLock, Mutex},
};

use opentelemetry_sdk::trace::SpanData;
use runwright::telemetry::{Config, Filter, LogFormat, subscriber, subscriber_and_filter};
use tracing::{
    Dispatch, Metadata, Subscriber,
    field::{Field, Visit},
    span,
    subscriber::{DefaultGuard, NoSubscriber},
};
use tracing_subscriber::{Layer, fmt::MakeWriter, layer::Context, layer::SubscriberExt};

use crate::support::spans;

/// Where there is one subscriber only, tracing asks the thread that comes to a place of logging first whether anybody
/// cares, and keeps its answer for all threads. With this one there are always two.
static ANOTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::new()));

/// Everything that was logged.
#[derive(Clone, Default)]
pub struct Logs(Arc<Mutex<Vec<u8>>>);

/// Catches this thread's logs until the guard is dropped. Everything is asked for; what comes is what may.
pub fn catch() -> (Logs, DefaultGuard) {
    LazyLock::force(&ANOTHER);
    let logs = Logs::default();
    let config = Config { format: LogFormat::Json, filter: "trace".to_owned(), ..Config::default() };
    let mut written = logs.clone();
    let spans = spans::told(move |span| written.note_span(&span));
    let subscriber = subscriber(&config, logs.clone(), Some(spans)).unwrap().with(SpanFields(logs.clone()));
    (logs, tracing::subscriber::set_default(subscriber))
}

/// Catches only what a filter lets through, which can be changed.
pub fn catch_filtered(filter: &str) -> (Logs, Filter, DefaultGuard) {
    LazyLock::force(&ANOTHER);
    let logs = Logs::default();
    let config = Config { filter: filter.to_owned(), ..Config::default() };
    let (subscriber, filter) = subscriber_and_filter(&config, logs.clone(), None).unwrap();
    (logs, filter, tracing::subscriber::set_default(subscriber))
}

impl Logs {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn note_span(&mut self, span: &SpanData) {
        writeln!(self, "span {}: {span:?}", span.name).unwrap();
    }
}

/// Writes down all fields of this crate's spans.
struct SpanFields(Logs);

impl SpanFields {
    fn note(&self, metadata: Option<&Metadata<'_>>, record: impl FnOnce(&mut dyn Visit)) {
        if metadata.is_none_or(|metadata| metadata.target().starts_with("runwright")) {
            record(&mut self.0.clone());
        }
    }
}

impl<S: Subscriber> Layer<S> for SpanFields {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, _: &span::Id, _: Context<'_, S>) {
        self.note(Some(attributes.metadata()), |visit| attributes.record(visit));
    }

    fn on_record(&self, _: &span::Id, values: &span::Record<'_>, _: Context<'_, S>) {
        self.note(None, |visit| values.record(visit));
    }
}

impl Visit for Logs {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        writeln!(self, "span field {field}: {value:?}").unwrap();
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        writeln!(self, "span field {field}: {value}").unwrap();
    }
}

impl Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Logs {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
