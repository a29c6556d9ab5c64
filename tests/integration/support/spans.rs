//! The spans of a trace, as whoever exports them gets them.

use std::{fmt, time::Duration};

use opentelemetry::{Context, global::BoxedTracer, trace::TracerProvider};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{SdkTracerProvider, Span, SpanData, SpanProcessor},
};
use runwright::trace::SpanMaker;

/// Makes spans, and tells each that has ended.
pub fn told(tell: impl FnMut(SpanData) + Send + Sync + Clone + 'static) -> SpanMaker {
    let provider = SdkTracerProvider::builder().with_span_processor(Telling(tell)).build();
    SpanMaker::of_tracer(BoxedTracer::new(Box::new(provider.tracer("tests"))))
}

struct Telling<F>(F);

impl<F: FnMut(SpanData) + Send + Sync + Clone + 'static> SpanProcessor for Telling<F> {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.0.clone()(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl<F> fmt::Debug for Telling<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Telling")
    }
}
