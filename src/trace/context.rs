//! W3C Trace Context, as it comes in and as it goes out.

use http::HeaderMap;
use opentelemetry::{
    Context,
    propagation::{Extractor, TextMapPropagator},
    trace::{SpanContext, TraceContextExt},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;

use super::Place;

/// W3C Trace Context as headers (<https://www.w3.org/TR/trace-context/>).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceHeaders {
    /// `traceparent`.
    pub traceparent: Option<String>,
    /// `tracestate`.
    pub tracestate: Option<String>,
    /// What they name, for spans of ours below it.
    pub place: Place,
}

impl TraceHeaders {
    /// What requests carry that belong to a span.
    pub(super) fn of(place: &Place) -> Self {
        let span = place.context();
        if !span.is_valid() {
            return Self::default();
        }
        let tracestate = span.trace_state().header();
        Self {
            traceparent: Some(traceparent(span)),
            tracestate: (!tracestate.is_empty()).then_some(tracestate),
            place: place.clone(),
        }
    }
}

/// Reads the caller's context; what is not valid is as good as absent.
pub(super) fn extract(headers: &HeaderMap) -> SpanContext {
    if !headers.contains_key("traceparent") {
        return SpanContext::NONE;
    }
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(headers));
    context.span().span_context().clone()
}

/// `00-{trace id}-{span id}-{flags}`. It is made for each request, which formatting would cost ten times as much.
fn traceparent(span: &SpanContext) -> String {
    let mut text = String::with_capacity(55);
    text.push_str("00-");
    push_hex(&mut text, &span.trace_id().to_bytes());
    text.push('-');
    push_hex(&mut text, &span.span_id().to_bytes());
    text.push('-');
    push_hex(&mut text, &[span.trace_flags().to_u8()]);
    text
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanId, TraceFlags, TraceId, TraceState};

    use super::*;
    use crate::trace::Span;

    fn told(ids: SpanContext) -> TraceHeaders {
        TraceHeaders::of(Span::remote(ids).place())
    }

    #[test]
    fn what_goes_out_is_what_came_in() {
        let traceparent = "00-0af7651916cd43dd8448eb211c80319c-00ad6b7169203331-01";
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", traceparent.parse().unwrap());
        headers.insert("tracestate", "vendor=opaque,other=1".parse().unwrap());
        let sent = told(extract(&headers));
        assert_eq!(sent.traceparent.as_deref(), Some(traceparent));
        assert_eq!(sent.tracestate.as_deref(), Some("vendor=opaque,other=1"));
    }

    #[test]
    fn ids_are_as_long_as_they_must_be() {
        let state = TraceState::NONE;
        let ids = SpanContext::new(TraceId::from(1), SpanId::from(2), TraceFlags::default(), false, state);
        let sent = told(ids).traceparent.unwrap();
        assert_eq!(sent, format!("00-{:032x}-{:016x}-00", 1, 2));
    }

    #[test]
    fn no_context_is_no_header() {
        assert_eq!(told(extract(&HeaderMap::new())), TraceHeaders::default());
    }
}
