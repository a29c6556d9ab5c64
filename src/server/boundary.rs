//! What stands between HTTP/2 and the handlers.
//!
//! Coming in, the caller's deadline is stamped: tonic's own timer for `grpc-timeout` sits outside of all layers, ends a
//! unary call without details, and does not end a stream at all. Going out, the three errors that tonic's codec makes by
//! itself are made ours: a request over the size limit, which it calls OUT_OF_RANGE, one that is no protobuf, which
//! it calls INTERNAL, and one that does not arrive, which it calls UNKNOWN. A handler's panic, which would only break the stream, is an error of ours, too.

use std::{
    panic::AssertUnwindSafe,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::{FutureExt, future::CatchUnwind};
use http::{HeaderMap, HeaderValue, Request, Response};
use tonic::{Code, body::Body};
use tower::{Layer, Service};

use crate::{
    grpc::{self, CallDeadline, status},
    id::RequestId,
    metrics::Metrics,
    run::{Error, Failure, Violation},
};

/// Wraps all services.
#[derive(Clone)]
pub(super) struct BoundaryLayer(Metrics);

/// A service behind the boundary.
#[derive(Clone)]
pub(super) struct Boundary<S>(S, Metrics);

impl BoundaryLayer {
    /// A boundary that counts what does not reach the handlers.
    pub(super) fn new(metrics: Metrics) -> Self {
        Self(metrics)
    }
}

impl<S> Layer<S> for BoundaryLayer {
    type Service = Boundary<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Boundary(inner, self.0.clone())
    }
}

/// The answer of a call.
pub(super) struct Answering<F> {
    answer: CatchUnwind<AssertUnwindSafe<F>>,
    request_id: Option<HeaderValue>,
    method: &'static str,
    metrics: Metrics,
}

impl<S> Service<Request<Body>> for Boundary<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Unpin,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if let Some(timeout) = grpc_timeout(request.headers()) {
            request.extensions_mut().insert(CallDeadline::after(timeout));
        }
        let request_id = request.headers().get("x-request-id").cloned();
        let (method, metrics) = (grpc::method_of(request.uri().path()), self.1.clone());
        let answer = AssertUnwindSafe(self.0.call(request)).catch_unwind();
        Answering { answer, request_id, method, metrics }
    }
}

impl<F, E> Future for Answering<F>
where
    F: Future<Output = Result<Response<Body>, E>> + Unpin,
{
    type Output = Result<Response<Body>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let failed: fn(RequestId) -> Error = match ready!(self.answer.poll_unpin(cx)) {
            Ok(answer) => {
                let answer = answer?;
                match codec_error(answer.headers()) {
                    Some(error) => error,
                    None => return Poll::Ready(Ok(answer)),
                }
            }
            Err(_) => |request_id| Error::panicked(request_id, None),
        };
        let request_id = self.request_id.as_ref().and_then(|id| RequestId::parse(id.to_str().ok()?));
        let error = failed(request_id.unwrap_or_else(RequestId::generate));
        if !error.is_admitted() {
            // No handler has heard of it.
            grpc::count_failure(&self.metrics, self.metrics.call(self.method), &error);
        }
        Poll::Ready(Ok(status::status(&error).into_http()))
    }
}

/// Our error, if tonic's codec made this answer: our own statuses have details, and none is OUT_OF_RANGE.
fn codec_error(headers: &HeaderMap) -> Option<fn(RequestId) -> Error> {
    let code = Code::from_bytes(headers.get("grpc-status")?.as_bytes());
    match code {
        Code::OutOfRange => Some(|request_id| Error::refused(request_id, Failure::RequestTooLarge)),
        Code::Unknown if !headers.contains_key("grpc-status-details-bin") => {
            Some(|request_id| Error::refused(request_id, Failure::Timeout))
        }
        Code::Internal if !headers.contains_key("grpc-status-details-bin") => Some(|request_id| {
            let violation = Violation::field("", "the request's bytes are no message of this method");
            Error::refused(request_id, Failure::Invalid(violation.into()))
        }),
        _ => None,
    }
}

/// `grpc-timeout`: at most 8 digits and a unit
/// (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).
fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, io, sync::Arc};

    use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
    use parking_lot::Mutex;
    use tracing::{Dispatch, subscriber::NoSubscriber};

    use super::*;
    use crate::telemetry;

    /// A handler that panics with a secret.
    struct Panics;

    impl Service<Request<Body>> for Panics {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<Body>) -> Self::Future {
            Box::pin(async { panic!("canary-secret") })
        }
    }

    #[tokio::test]
    async fn a_panic_is_an_internal_error_that_may_have_run_and_says_nothing_of_its_text() {
        let request = Request::builder().header("x-request-id", "mine").body(Body::empty()).unwrap();
        let answer = Boundary(Panics, Metrics::default()).call(request).await.unwrap();
        assert_eq!(answer.headers()["grpc-status"], "13");
        let details = &answer.headers()["grpc-status-details-bin"];
        let details = BASE64_STANDARD_NO_PAD.decode(details).unwrap();
        let details = String::from_utf8_lossy(&details);
        for part in ["INTERNAL", "incident_id", "admitted", "true", "mine"] {
            assert!(details.contains(part), "{part}");
        }
        assert!(!format!("{answer:?}").contains("canary"));
    }

    /// Where a test's lines go.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn the_line_of_a_panic_names_the_request_though_no_span_is_written() {
        // With one subscriber alone, tracing asks whichever thread comes to a place of logging first, for all threads.
        let _another = Dispatch::new(NoSubscriber::new());
        let (written, config) = (Written::default(), telemetry::Config::default());
        let config = telemetry::Config { filter: "error".to_owned(), ..config };
        let writer = written.clone();
        let subscriber = telemetry::subscriber(&config, move || writer.clone(), None).unwrap();
        let _guard = tracing::subscriber::set_default(subscriber);
        let request = Request::builder().header("x-request-id", "mine").body(Body::empty()).unwrap();
        Boundary(Panics, Metrics::default()).call(request).await.unwrap();
        let line = String::from_utf8(written.0.lock().clone()).unwrap();
        assert!(line.contains("\"request_id\":\"mine\"") && line.contains("incident_id"), "{line}");
        assert!(!line.contains("canary"), "{line}");
    }

    fn parsed(text: &'static str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-timeout", http::HeaderValue::from_static(text));
        grpc_timeout(&headers)
    }

    #[test]
    fn every_unit_of_grpc_timeout_is_read() {
        let units = [
            ("2H", 7_200_000_000_000),
            ("3M", 180_000_000_000),
            ("4S", 4_000_000_000),
            ("500m", 500_000_000),
            ("7u", 7_000),
            ("99999999n", 99_999_999),
        ];
        for (text, nanos) in units {
            assert_eq!(parsed(text), Some(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn what_is_no_timeout_is_none() {
        for junk in ["", "S", "1", "1X", "+1S", "123456789S", "-1S", "1.5S"] {
            assert_eq!(parsed(junk), None, "{junk}");
        }
    }
}
