//! Spans, and who makes them.
//!
//! As long as nobody gets the spans, they are ids and nothing else: what goes out with a request are their ids, and to put
//! together and throw away what they measure would cost as much again. The same goes for a trace that is not sampled.

use std::{borrow::Cow, fmt, ops::Deref, sync::Arc};

use opentelemetry::{
    Context, KeyValue, Value,
    global::BoxedTracer,
    trace::{
        SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer,
    },
};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, Sampler, SamplingDecision, ShouldSample};
use tracing::dispatcher;

use super::names;

/// Makes the spans of this process. The subscriber has it; where there is none, spans are off.
#[derive(Clone, Debug)]
pub struct SpanMaker {
    maker: Maker,
    new_traces: Sampler,
}

/// What makes spans below one.
#[derive(Clone, Debug, Default)]
enum Maker {
    /// Nothing: spans are off, or it is the caller's.
    #[default]
    Off,
    /// They are ids alone.
    Ids,
    /// Somebody gets them.
    Tracer(Arc<BoxedTracer>),
}

/// A place in a trace: where spans can begin, and what requests name. It keeps no span open.
#[derive(Clone)]
pub struct Place {
    ids: SpanContext,
    maker: Maker,
}

/// A span: its ids, and what it measures, if anybody gets it. It ends when its last clone is dropped.
#[derive(Clone)]
pub struct Span {
    place: Place,
    /// What it measures.
    kept: Option<Context>,
    /// What stands in the log lines below it.
    lines: tracing::Span,
}

/// A span of work that may be broken off at any time: what is dropped before it was said how it ended was cancelled, and
/// must not look like a success.
#[derive(Debug)]
pub struct OpenSpan {
    span: Span,
    has_ended: bool,
}

/// A span's name, its kind and its first attributes.
pub(super) type Described = (Cow<'static, str>, SpanKind, Vec<KeyValue>);

/// What `error.type` says of work that was broken off.
pub(super) const CANCELLED: &str = "cancelled";

impl SpanMaker {
    /// No spans at all.
    pub fn off() -> Self {
        Self { maker: Maker::Off, new_traces: Sampler::AlwaysOff }
    }

    /// Spans of ids alone: in their parent's trace, with its flags, or in a new one.
    ///
    /// A new trace has the flag `sampled` like one that is exported, though nobody gets these spans: a server that samples
    /// as its parent says, which is OpenTelemetry's default, would else record nothing of what it did before Runwright
    /// stood in front of it. Where its own ratio is to hold instead, [`sampling`](Self::sampling) gives it.
    pub fn of_ids() -> Self {
        Self { maker: Maker::Ids, new_traces: Sampler::AlwaysOn }
    }

    /// Spans that a tracer gets. Its sampler is asked about new traces.
    pub fn of_tracer(tracer: BoxedTracer) -> Self {
        Self { maker: Maker::Tracer(Arc::new(tracer)), new_traces: Sampler::AlwaysOn }
    }

    /// The same, of whose new traces this ratio is sampled, 0 to 1. Of spans of ids alone: a tracer has its own sampler.
    pub fn sampling(self, ratio: f64) -> Self {
        Self { new_traces: Sampler::TraceIdRatioBased(ratio), ..self }
    }

    fn begin(&self, parent: &SpanContext, describe: impl FnOnce() -> Described) -> Span {
        match &self.maker {
            Maker::Off => Span::remote(parent.clone()),
            Maker::Ids if parent.is_valid() => of_ids(parent),
            Maker::Ids => self.new_trace(),
            Maker::Tracer(tracer) => kept(tracer, parent, describe),
        }
    }

    fn new_trace(&self) -> Span {
        let random = RandomIdGenerator::default();
        let trace_id = random.new_trace_id();
        let sampled = self.samples(trace_id);
        let flags = TraceFlags::default().with_sampled(sampled);
        Span::of_ids(SpanContext::new(trace_id, random.new_span_id(), flags, false, TraceState::NONE))
    }

    fn samples(&self, trace_id: TraceId) -> bool {
        let asked = self.new_traces.should_sample(None, trace_id, "", &SpanKind::Server, &[], &[]);
        asked.decision == SamplingDecision::RecordAndSample
    }
}

impl Place {
    /// Its ids.
    pub(super) fn context(&self) -> &SpanContext {
        &self.ids
    }

    /// A span below it.
    pub(super) fn child(&self, describe: impl FnOnce() -> Described) -> Span {
        match &self.maker {
            Maker::Off => Span { place: self.clone(), kept: None, lines: tracing::Span::none() },
            Maker::Ids => of_ids(&self.ids),
            Maker::Tracer(tracer) => kept(tracer, &self.ids, describe),
        }
    }
}

impl Default for Place {
    /// A place in no trace.
    fn default() -> Self {
        Self { ids: SpanContext::NONE, maker: Maker::Off }
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.ids == other.ids
    }
}

impl Eq for Place {}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ids.fmt(f)
    }
}

impl Span {
    /// A span of another process.
    pub(super) fn remote(ids: SpanContext) -> Self {
        Self { place: Place { ids, maker: Maker::Off }, kept: None, lines: tracing::Span::none() }
    }

    fn of_ids(ids: SpanContext) -> Self {
        Self { place: Place { ids, maker: Maker::Ids }, kept: None, lines: tracing::Span::none() }
    }

    /// A first span of this process, below one of another. Where spans are off it is that one.
    pub(super) fn begin(&self, describe: impl FnOnce() -> Described) -> Self {
        let maker = dispatcher::get_default(|subscriber| subscriber.downcast_ref::<SpanMaker>().cloned());
        match maker {
            Some(maker) => maker.begin(&self.place.ids, describe),
            None => self.clone(),
        }
    }

    /// A span below this one.
    pub(super) fn child(&self, describe: impl FnOnce() -> Described) -> Self {
        self.place.child(describe)
    }

    pub(super) fn with_lines(mut self, lines: tracing::Span) -> Self {
        self.lines = lines;
        self
    }

    /// Its ids.
    pub(super) fn context(&self) -> &SpanContext {
        &self.place.ids
    }

    /// Its place in its trace.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Its trace's id, in hexadecimal; `None` where there is no trace.
    pub fn trace_id(&self) -> Option<String> {
        self.place.ids.is_valid().then(|| self.place.ids.trace_id().to_string())
    }

    /// The span of tracing's that stands in the log lines below it. A span of a request has none.
    pub fn lines(&self) -> &tracing::Span {
        &self.lines
    }

    /// Whether anybody gets what is recorded. What is dear to make need not be made for nobody.
    pub fn is_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// Sets an attribute.
    pub fn record(&self, key: &'static str, value: impl Into<Value>) {
        if let Some(kept) = &self.kept {
            kept.span().set_attribute(KeyValue::new(key, value));
        }
    }

    /// Sets attributes, which are not made for nobody.
    pub fn record_all<I: IntoIterator<Item = KeyValue>>(&self, attributes: impl FnOnce() -> I) {
        if let Some(kept) = &self.kept {
            kept.span().set_attributes(attributes());
        }
    }

    /// Notes that it failed. `error_type` is one of few names of ours, never another's words. It is described on the span
    /// in which it happened, and on no other.
    pub fn fail(&self, error_type: impl Into<Cow<'static, str>>) {
        if let Some(kept) = &self.kept {
            let error_type = error_type.into();
            kept.span().set_attribute(KeyValue::new(names::ERROR_TYPE, error_type.clone()));
            kept.span().set_status(Status::error(error_type));
        }
    }

    /// Notes that it failed because something in a span below did, which has described it.
    pub fn fail_by_child(&self, error_type: &'static str) {
        if let Some(kept) = &self.kept {
            kept.span().set_attribute(KeyValue::new(names::ERROR_TYPE, error_type));
            kept.span().set_status(Status::error(""));
        }
    }

    /// Links it to a place in another trace.
    pub fn link(&self, place: &Place) {
        if let Some(kept) = &self.kept
            && place.ids.is_valid()
            && place.ids.trace_id() != self.place.ids.trace_id()
        {
            kept.span().add_link(place.ids.clone(), Vec::new());
        }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)
    }
}

impl OpenSpan {
    pub(super) fn new(span: Span) -> Self {
        Self { span, has_ended: false }
    }

    /// Ends it: the work was done.
    pub fn end(mut self) {
        self.has_ended = true;
    }

    /// Ends it: the work failed, see [`Span::fail`].
    pub fn end_failed(mut self, error_type: impl Into<Cow<'static, str>>) {
        self.span.fail(error_type);
        self.has_ended = true;
    }

    /// Ends it: the work failed because something in a span below did, see [`Span::fail_by_child`].
    pub fn end_failed_by_child(mut self, error_type: &'static str) {
        self.span.fail_by_child(error_type);
        self.has_ended = true;
    }
}

impl Deref for OpenSpan {
    type Target = Span;

    fn deref(&self) -> &Span {
        &self.span
    }
}

impl Drop for OpenSpan {
    fn drop(&mut self) {
        if !self.has_ended {
            self.span.fail(CANCELLED);
        }
    }
}

fn of_ids(parent: &SpanContext) -> Span {
    let span_id = RandomIdGenerator::default().new_span_id();
    let state = parent.trace_state().clone();
    Span::of_ids(SpanContext::new(parent.trace_id(), span_id, parent.trace_flags(), false, state))
}

fn kept(tracer: &Arc<BoxedTracer>, parent: &SpanContext, describe: impl FnOnce() -> Described) -> Span {
    // As the caller says, and as is said of all in a trace.
    if parent.is_valid() && !parent.is_sampled() {
        return of_ids(parent);
    }
    let (name, kind, attributes) = describe();
    let builder = SpanBuilder::from_name(name).with_kind(kind).with_attributes(attributes);
    let mut below = Context::new();
    // A parent without ids would count as one that is not sampled.
    if parent.is_valid() {
        below = below.with_remote_span_context(parent.clone());
    }
    let span = Context::new().with_span(tracer.build_with_context(builder, &below));
    let ids = span.span().span_context().clone();
    match (ids.is_valid(), ids.is_sampled()) {
        (true, true) => {
            let place = Place { ids, maker: Maker::Tracer(tracer.clone()) };
            Span { place, kept: Some(span), lines: tracing::Span::none() }
        }
        (true, false) => Span::of_ids(ids),
        // The process ends, and the tracer has ended before.
        (false, _) => Span::remote(parent.clone()),
    }
}
