//! Spans, and who makes them.
//!
//! As long as nobody gets the spans, they are ids and nothing else: what goes out with a request are their ids, and to put
//! together and throw away what they measure would cost as much again.

use std::{fmt, sync::Arc};

use opentelemetry::{
    Context, KeyValue, Value,
    global::BoxedTracer,
    trace::{SpanBuilder, SpanContext, SpanKind, TraceContextExt, TraceFlags, TraceState, Tracer},
};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};
use tracing::dispatcher;

/// Makes the spans of this process. The subscriber has it, and where it has none, spans are off.
#[derive(Clone, Debug, Default)]
pub struct SpanMaker(Option<Arc<BoxedTracer>>);

/// A span: its ids, and what it measures, if anybody gets it. It ends when its last clone is dropped.
#[derive(Clone)]
pub struct Span {
    ids: SpanContext,
    kind: Kind,
    /// What stands in the log lines below it.
    lines: tracing::Span,
}

#[derive(Clone)]
enum Kind {
    /// Another's, or none: spans are off, or it is the caller's.
    Remote,
    /// Ids alone.
    Ids,
    /// One that somebody gets. Whether it is sampled is the tracer's to say.
    Kept(Context, Arc<BoxedTracer>),
}

/// A span's name, its kind and its first attributes.
type Described = (String, SpanKind, Vec<KeyValue>);

impl SpanMaker {
    /// Spans of ids alone: in their parent's trace, with its flags, or in a new one that is sampled.
    pub fn of_ids() -> Self {
        Self(None)
    }

    /// Spans that a tracer gets.
    pub fn of_tracer(tracer: BoxedTracer) -> Self {
        Self(Some(Arc::new(tracer)))
    }

    fn make(&self, parent: &SpanContext, describe: impl FnOnce() -> Described) -> Span {
        match &self.0 {
            Some(tracer) => kept(tracer, parent, describe()),
            None => of_ids(parent),
        }
    }
}

impl Span {
    /// A span of another process.
    pub(super) fn remote(ids: SpanContext) -> Self {
        Self { ids, kind: Kind::Remote, lines: tracing::Span::none() }
    }

    /// A first span of this process, below one of another. Where spans are off it is that one.
    pub(super) fn begin(&self, describe: impl FnOnce() -> Described) -> Self {
        let maker = dispatcher::get_default(|subscriber| subscriber.downcast_ref::<SpanMaker>().cloned());
        match maker {
            Some(maker) => maker.make(&self.ids, describe),
            None => self.clone(),
        }
    }

    /// A span below this one.
    pub(super) fn child(&self, describe: impl FnOnce() -> Described) -> Self {
        match &self.kind {
            Kind::Remote => Self::remote(self.ids.clone()),
            Kind::Ids => of_ids(&self.ids),
            Kind::Kept(_, tracer) => kept(tracer, &self.ids, describe()),
        }
    }

    pub(super) fn with_lines(mut self, lines: tracing::Span) -> Self {
        self.lines = lines;
        self
    }

    /// Its ids.
    pub(super) fn context(&self) -> &SpanContext {
        &self.ids
    }

    /// Its trace's id, in hexadecimal; `None` where there is no trace.
    pub fn trace_id(&self) -> Option<String> {
        self.ids.is_valid().then(|| self.ids.trace_id().to_string())
    }

    /// The span of tracing's that stands in the log lines below it. A span of a request has none.
    pub fn lines(&self) -> &tracing::Span {
        &self.lines
    }

    /// Sets an attribute.
    pub fn record(&self, key: &'static str, value: impl Into<Value>) {
        if let Kind::Kept(span, _) = &self.kind {
            span.span().set_attribute(KeyValue::new(key, value));
        }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ids.fmt(f)
    }
}

fn of_ids(parent: &SpanContext) -> Span {
    let random = RandomIdGenerator::default();
    let (trace_id, flags, state) = if parent.is_valid() {
        (parent.trace_id(), parent.trace_flags(), parent.trace_state().clone())
    } else {
        (random.new_trace_id(), TraceFlags::SAMPLED, TraceState::NONE)
    };
    let ids = SpanContext::new(trace_id, random.new_span_id(), flags, false, state);
    Span { ids, kind: Kind::Ids, lines: tracing::Span::none() }
}

fn kept(tracer: &Arc<BoxedTracer>, parent: &SpanContext, (name, kind, attributes): Described) -> Span {
    let builder = SpanBuilder::from_name(name).with_kind(kind).with_attributes(attributes);
    let mut below = Context::new();
    // A parent without ids would count as one that is not sampled.
    if parent.is_valid() {
        below = below.with_remote_span_context(parent.clone());
    }
    let span = Context::new().with_span(tracer.build_with_context(builder, &below));
    let ids = span.span().span_context().clone();
    Span { ids, kind: Kind::Kept(span, tracer.clone()), lines: tracing::Span::none() }
}
