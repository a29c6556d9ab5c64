//! How a request to an MCP server fails, as the HTTP backend sees it.
//!
//! rmcp carries errors through several layers and loses some on the way, so the backend notes each fault in the
//! [`Exchange`](super::slot::Exchange) that the request belongs to. Nothing here holds a body, a URL or a header value.

use std::{borrow::Cow, fmt, time::Duration};

use http::{HeaderMap, StatusCode, header::WWW_AUTHENTICATE};
use http_auth::{ChallengeRef, parser::ChallengeParser};
use thiserror::Error;

use super::RunHeaders;
use crate::{credential::SourceError, event::Challenge, scrub::Scrubber};

/// Why a request to an MCP server has no answer.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Fault {
    /// 401.
    #[error("the server answered 401")]
    Unauthorized(Box<Challenge>),
    /// 403.
    #[error("the server answered 403")]
    Forbidden(Box<Challenge>),
    /// 401, 403 or 404 to the resumption of an answer that broke off: the request itself was taken, and may have done all.
    #[error("the server answered {} when its answer was to be resumed", .0.as_u16())]
    ResumptionRefused(StatusCode, Box<Challenge>),
    /// 404 to a request of a session.
    #[error("the server does not know the session any more")]
    SessionExpired,
    /// Another status that is no answer.
    #[error("the server answered HTTP {}", .0.as_u16())]
    Status(StatusCode),
    /// No connection could be made: the request was not sent.
    #[error("no connection to the server could be made")]
    Connect,
    /// The connection broke after the request may have been sent.
    #[error("the connection to the server broke")]
    Broken,
    /// The server did not answer in time.
    #[error("the server did not answer within {0:?}")]
    Timeout(Duration),
    /// The answer is over the registration's `max_body_bytes`.
    #[error("the server's answer is over {0} bytes")]
    TooLarge(usize),
    /// The answer is no MCP message, or answers another request.
    #[error("the server's answer is no MCP message: {0}")]
    Malformed(&'static str),
    /// A JSON-RPC error.
    #[error("the server answered JSON-RPC error {code}")]
    Rpc {
        /// Its code.
        code: i32,
        /// The server's words. They are for the model alone.
        message: UpstreamText,
    },
    /// The server speaks no revision of MCP that is known here.
    #[error("{0}")]
    Protocol(String),
    /// A registered header has no value: the request was not sent.
    #[error("a credential of the configuration is not to be had: {0}")]
    Source(#[from] SourceError),
    /// No run leases the client: the request was not sent.
    #[error("the run has ended")]
    NoLease,
    /// The last lease ended while the request was under way: it may have been sent.
    #[error("the run ended meanwhile")]
    Vacated,
}

/// A server's own words: they may be passed on to the model, and are never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct UpstreamText(pub String);

impl fmt::Debug for UpstreamText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UpstreamText(..)")
    }
}

impl Fault {
    /// The same without the secrets that the server was sent.
    pub(super) fn scrubbed(self, sent: &RunHeaders) -> Self {
        match self {
            Self::Rpc { code, message } => Self::Rpc { code, message: UpstreamText(sent.scrub(message.0)) },
            Self::Unauthorized(challenge) => Self::Unauthorized(sent.scrub_challenge(challenge)),
            Self::Forbidden(challenge) => Self::Forbidden(sent.scrub_challenge(challenge)),
            Self::ResumptionRefused(status, challenge) => {
                Self::ResumptionRefused(status, sent.scrub_challenge(challenge))
            }
            fault => fault,
        }
    }

    /// What it is, of a closed list, for metrics.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Unauthorized(_) | Self::ResumptionRefused(StatusCode::UNAUTHORIZED, _) => "401",
            Self::Forbidden(_) | Self::ResumptionRefused(StatusCode::FORBIDDEN, _) => "403",
            Self::SessionExpired | Self::ResumptionRefused(..) => "session_expired",
            Self::Status(status) if status.is_server_error() => "http_5xx",
            Self::Status(_) => "http_other",
            Self::Connect => "connect",
            Self::Broken => "broken",
            Self::Timeout(_) => "timeout",
            Self::TooLarge(_) => "too_large",
            Self::Malformed(_) | Self::Protocol(_) => "protocol",
            Self::Rpc { .. } => "jsonrpc_error",
            Self::Source(_) => "credential_source",
            Self::NoLease | Self::Vacated => "aborted",
        }
    }

    /// What `error.type` of a span says: a status, the code of a JSON-RPC error, or a word of ours.
    pub(super) fn error_type(&self) -> Cow<'static, str> {
        match self {
            Self::Unauthorized(_) => "401".into(),
            Self::Forbidden(_) => "403".into(),
            Self::SessionExpired => "404".into(),
            Self::Status(status) | Self::ResumptionRefused(status, _) => {
                Cow::Owned(status.as_u16().to_string())
            }
            Self::Rpc { code, .. } => Cow::Owned(code.to_string()),
            Self::Connect => "connect".into(),
            Self::Broken => "connection_broken".into(),
            Self::Timeout(_) => "timeout".into(),
            Self::TooLarge(_) => "answer_too_large".into(),
            Self::Malformed(_) | Self::Protocol(_) => "protocol".into(),
            Self::Source(_) => "credential_source".into(),
            Self::NoLease | Self::Vacated => "cancelled".into(),
        }
    }

    /// Whether the request surely never reached the server.
    pub fn is_unsent(&self) -> bool {
        matches!(self, Self::Connect | Self::NoLease | Self::Source(_))
    }

    /// Whether it is a status that says nothing of the request: the same one may be answered the next time.
    pub(super) fn is_passing_status(&self) -> bool {
        matches!(self, Self::Status(status)
            if status.is_server_error() || matches!(status.as_u16(), 408 | 429))
    }
}

/// The longest parameter of a challenge that is passed on, in bytes.
const MAX_PARAMETER_BYTES: usize = 512;

/// Reads the challenge of an answer; what holds one of the secrets that the server was sent is left out. Of several, the first Bearer one counts.
pub(super) fn read_challenge(answer: &HeaderMap, scrubber: &Scrubber) -> Challenge {
    let texts: Vec<&str> =
        answer.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()).collect();
    let challenges: Vec<ChallengeRef<'_>> =
        texts.iter().flat_map(|text| ChallengeParser::new(text).map_while(Result::ok)).collect();
    let bearer = challenges.iter().find(|challenge| challenge.scheme.eq_ignore_ascii_case("bearer"));
    bearer.or(challenges.first()).map(|challenge| parameters(challenge, scrubber)).unwrap_or_default()
}

fn parameters(challenge: &ChallengeRef<'_>, scrubber: &Scrubber) -> Challenge {
    let parameter = |name: &str| {
        let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| presentable(&value.to_unescaped(), scrubber)).unwrap_or_default()
    };
    Challenge {
        scheme: presentable(challenge.scheme, scrubber),
        error: parameter("error"),
        scope: parameter("scope"),
        resource_metadata: parameter("resource_metadata"),
    }
}

/// A server's text, unless it is long, odd, or holds a value that it was sent.
fn presentable(text: &str, scrubber: &Scrubber) -> String {
    let plain = text.len() <= MAX_PARAMETER_BYTES && text.bytes().all(|b| (b' '..=b'~').contains(&b));
    if plain && !scrubber.finds(text) { text.to_owned() } else { String::new() }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn challenge(text: &'static str) -> Challenge {
        let mut answer = HeaderMap::new();
        answer.insert(WWW_AUTHENTICATE, HeaderValue::from_static(text));
        read_challenge(&answer, &Scrubber::new([&b"Bearer canary-12345678"[..]]))
    }

    #[test]
    fn a_bearer_challenge_is_read() {
        let read = challenge(
            r#"Basic realm="x", Bearer error="invalid_token", scope="a b", resource_metadata="https://r/x""#,
        );
        let expected = Challenge {
            scheme: "Bearer".into(),
            error: "invalid_token".into(),
            scope: "a b".into(),
            resource_metadata: "https://r/x".into(),
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn a_reflected_value_is_left_out() {
        let read = challenge(r#"Bearer error="canary-12345678 is bad", scope="ok""#);
        assert_eq!((read.error.as_str(), read.scope.as_str()), ("", "ok"));
    }

    #[test]
    fn only_what_surely_never_left_is_unsent() {
        assert!(Fault::Connect.is_unsent() && Fault::NoLease.is_unsent());
        for sent in [Fault::Vacated, Fault::Broken, Fault::Timeout(Duration::ZERO)] {
            assert!(!sent.is_unsent(), "{sent}");
        }
    }

    #[test]
    fn junk_is_no_challenge() {
        for junk in ["", "=", "Bearer error=\"unterminated", ",,,", "Bearer"] {
            assert_eq!(challenge(junk).error, "", "{junk}");
        }
    }
}
