//! Spans that are ids and nothing else, for as long as nobody gets them: what goes out with a request are their ids, and to
//! put together and throw away what they measure would cost as much again.

use std::{borrow::Cow, time::SystemTime};

use opentelemetry::{
    Context, KeyValue,
    trace::{Span, SpanBuilder, SpanContext, Status, TraceContextExt, TraceFlags, TraceState, Tracer},
};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};

/// Makes spans with ids of their own: in their parent's trace, with its flags, or in a new one that is sampled.
#[derive(Debug, Default)]
pub(super) struct IdTracer(RandomIdGenerator);

/// A span that has ids and keeps nothing.
#[derive(Debug)]
pub(super) struct IdSpan(SpanContext);

impl Tracer for IdTracer {
    type Span = IdSpan;

    fn build_with_context(&self, _: SpanBuilder, parent: &Context) -> IdSpan {
        let parent = parent.span();
        let parent = parent.span_context();
        let (trace_id, flags, state) = if parent.is_valid() {
            (parent.trace_id(), parent.trace_flags(), parent.trace_state().clone())
        } else {
            (self.0.new_trace_id(), TraceFlags::SAMPLED, TraceState::NONE)
        };
        IdSpan(SpanContext::new(trace_id, self.0.new_span_id(), flags, false, state))
    }
}

impl Span for IdSpan {
    fn add_event_with_timestamp<T>(&mut self, _: T, _: SystemTime, _: Vec<KeyValue>)
    where
        T: Into<Cow<'static, str>>,
    {
    }

    fn span_context(&self) -> &SpanContext {
        &self.0
    }

    fn is_recording(&self) -> bool {
        false
    }

    fn set_attribute(&mut self, _: KeyValue) {}

    fn set_status(&mut self, _: Status) {}

    fn update_name<T>(&mut self, _: T)
    where
        T: Into<Cow<'static, str>>,
    {
    }

    fn add_link(&mut self, _: SpanContext, _: Vec<KeyValue>) {}

    fn end_with_timestamp(&mut self, _: SystemTime) {}
}
