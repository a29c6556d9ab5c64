//! What goes wrong, in words of ours: nothing that a provider wrote is passed on but an error code of a narrow form.
//!
//! Asking again may help where the provider failed or could not be reached, also while it answered. It does not where an
//! answer came that is no good.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use hyper::body::Body as HttpBody;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    egress::{self, BodyError, SendError},
    model::{Error, MAX_CALLS, Outage, Prospect, advice::Advice},
    sse,
};

/// The largest body of a refusal that is searched for a code, in bytes.
const MAX_REFUSAL_BYTES: usize = 64 * 1024;
/// How long the body of a refusal is waited for. Its status is known already.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);
/// The shortest text that is taken for a part of a key, in bytes.
const MIN_SECRET_BYTES: usize = 8;
const CUT: &str = "its answer was cut short";
const REPORTED: &str = "it reported an error instead of an answer";

/// A refusal of a request.
pub(super) struct Refusal {
    /// What it is for the run.
    pub(super) error: Error,
    /// `error.param` of the body: which parameter of the request the provider does not take. It is only ever compared.
    pub(super) param: Option<String>,
}

#[derive(Deserialize)]
struct Body {
    error: Details,
}

#[derive(Default, Deserialize)]
struct Details {
    #[serde(default)]
    code: Value,
    #[serde(default, rename = "type")]
    kind: Value,
    #[serde(default)]
    param: Value,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self { error, param: None }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        refusal.error
    }
}

/// A failure in these words, which asking again does not help.
pub(super) fn unavailable(text: &str) -> Error {
    Error::Unavailable(Outage::lasting(text))
}

/// A failure in these words, which may pass.
fn passing(text: &str) -> Error {
    Error::Unavailable(Outage::new(text, Prospect::Passing { retry_after: None }))
}

/// The answer is not what the API says.
pub(super) fn unreadable() -> Error {
    unavailable("its answer can't be read")
}

/// The answer is over its limit.
pub(super) fn too_large() -> Error {
    unavailable("its answer is too large")
}

/// The provider, or what is between, ends an answer before its end.
pub(super) fn cut() -> Error {
    passing(CUT)
}

/// An answer that says itself that the provider fails at the moment.
pub(super) fn failing() -> Error {
    passing(REPORTED)
}

/// A request that has no answer.
pub(super) fn transport(error: SendError) -> Error {
    match error {
        SendError::Connect => passing("no connection could be made"),
        SendError::Broken => passing("the connection failed before it answered"),
    }
}

/// A whole body that was not read. A connection that breaks while it is may hold the next time.
pub(super) fn body(error: BodyError) -> Error {
    match error {
        BodyError::TooLarge => too_large(),
        BodyError::Transport => passing(CUT),
    }
}

/// An event stream that broke off; see [`body`].
pub(super) fn events(error: sse::Error<hyper::Error>) -> Error {
    match error {
        sse::Error::TooLarge => too_large(),
        sse::Error::Body(_) => passing(CUT),
    }
}

/// An answer, or an event of one, that says itself that it is an error.
pub(super) fn reported() -> Error {
    unavailable(REPORTED)
}

/// The answer asks for more tools than are looked at.
pub(super) fn too_many_calls() -> Error {
    unavailable(&format!("it asks for more than {MAX_CALLS} tools at once"))
}

/// The request can't be written, which no known input causes.
pub(super) fn unwritable(_: serde_json::Error) -> Error {
    unavailable("the request can't be written")
}

/// A response that is no success, to a request with these headers.
pub(super) async fn refusal(response: Response<impl HttpBody<Data = Bytes>>, sent: &HeaderMap) -> Refusal {
    let mut param = None;
    let advice = Advice::of(response.headers(), SystemTime::now());
    let error = match response.status() {
        status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
            Error::Unauthorized { status: status.as_u16() }
        }
        StatusCode::TOO_MANY_REQUESTS => {
            Error::RateLimited { retry_after: advice.retry_after, lasting: advice.again == Some(false) }
        }
        // The provider did not wait for the request, or something is locked: it is not the request that is at fault.
        status @ (StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT) => outage(status, &advice),
        status if status.is_client_error() => {
            let details = details(response).await;
            param = details.param.as_str().map(str::to_owned);
            let code = code(&details).filter(|code| !is_reflected(code, sent));
            Error::Rejected { status: status.as_u16(), code, prospect: advice.prospect(false) }
        }
        status if status.is_redirection() => {
            unavailable("it answered with a redirect, which is never followed")
        }
        status => outage(status, &advice),
    };
    Refusal { error, param }
}

/// A status that is the provider's own failure, and may pass.
fn outage(status: StatusCode, advice: &Advice) -> Error {
    let reason = format!("it answered with HTTP {}", status.as_u16());
    Error::Unavailable(Outage::new(reason, advice.prospect(true)))
}

/// What a refusal's body says; nothing, if that can't be read or does not come.
async fn details(response: Response<impl HttpBody<Data = Bytes>>) -> Details {
    let body = egress::read_capped(response.into_body(), MAX_REFUSAL_BYTES);
    let body = timeout(REFUSAL_TIMEOUT, body).await.ok().and_then(Result::ok).unwrap_or_default();
    serde_json::from_slice(&body).map(|Body { error }| error).unwrap_or_default()
}

/// `error.code`, or else `error.type`, of a refusal's body. Nothing but digits is the HTTP status once more.
fn code(details: &Details) -> Option<String> {
    [&details.code, &details.kind]
        .into_iter()
        .filter_map(Value::as_str)
        .find(|code| is_code(code) && !code.bytes().all(|byte| byte.is_ascii_digit()))
        .map(str::to_owned)
}

/// Whether a code is, or holds, a part of a key that it answers to: keys can have the form of a code.
fn is_reflected(code: &str, sent: &HeaderMap) -> bool {
    let secrets = sent.values().filter(|value| value.is_sensitive()).filter_map(|value| value.to_str().ok());
    secrets.map(|value| value.rsplit_once(' ').map_or(value, |(_, key)| key)).any(|key| {
        key.len() >= MIN_SECRET_BYTES
            && (code.contains(key) || (code.len() >= MIN_SECRET_BYTES && key.contains(code)))
    })
}

fn is_code(text: &str) -> bool {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-');
    (1..=64).contains(&text.len()) && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::{StreamExt, stream};
    use http_body_util::{Full, StreamBody};
    use hyper::body::Frame;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_refusal_whose_body_does_not_end_is_told_without_it() {
        let half = [Ok::<_, Infallible>(Frame::data(Bytes::from_static(br#"{"error":{"code":"c"}"#)))];
        let body = StreamBody::new(stream::iter(half).chain(stream::pending()));
        let response = Response::builder().status(400).body(body).unwrap();
        let sent = HeaderMap::new();
        let refusal = timeout(REFUSAL_TIMEOUT * 2, refusal(response, &sent)).await.unwrap();
        assert_eq!(refusal.error, Error::rejected(400, None));
    }

    #[tokio::test]
    async fn a_code_is_taken_in_a_narrow_form_only() {
        let long = "x".repeat(65);
        let cases = [
            (r#"{"error":{"code":"context_length_exceeded","type":"t"}}"#, Some("context_length_exceeded")),
            (r#"{"error":{"code":null,"type":"invalid_request_error"}}"#, Some("invalid_request_error")),
            (r#"{"error":{"code":400,"type":"a.b-c"}}"#, Some("a.b-c")),
            (r#"{"error":{"code":"Not A Code","type":"t"}}"#, Some("t")),
            (r#"{"error":{"code":"400","type":"invalid_request_error"}}"#, Some("invalid_request_error")),
            (r#"{"error":{"code":"400","type":"None"}}"#, None),
            (r#"{"error":{"message":"m"}}"#, None),
            (r#"{"error":"text"}"#, None),
            (r#"{"code":"top_level"}"#, None),
            (&format!(r#"{{"error":{{"code":"{long}"}}}}"#), None),
            ("<html>", None),
        ];
        for (body, expected) in cases {
            let response = Response::new(Full::new(Bytes::from(body.to_owned())));
            assert_eq!(code(&details(response).await).as_deref(), expected, "{body}");
        }
    }
}
