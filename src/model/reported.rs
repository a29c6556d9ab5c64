//! Errors that come in the place of an answer, or in its midst: the HTTP status had said that all is well.
//!
//! Whoever writes one says what is wrong by a status in `code`, as a number (OpenRouter, vLLM) or as digits (LiteLLM), or by
//! a word in `code` or `type`, with underscores (OpenAI, Anthropic) or in camel case (vLLM). A number is what the HTTP status
//! would have been, and goes first. An error that says nothing known is a failure that asking again does not help.
//!
//! Sources: <https://platform.openai.com/docs/guides/error-codes>, <https://platform.claude.com/docs/en/api/errors>,
//! <https://openrouter.ai/docs/api/reference/errors-and-debugging>.

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{Error, failure};

/// What a word comes to.
#[derive(Clone, Copy)]
enum Kind {
    Limited,
    Failing,
    Unauthorized(u16),
    /// The request is at fault. The word is passed on.
    Rejected(u16),
}

/// The words that are known. An `error` at a word's end may or may not be there, here and in what is read; a word that is passed on
/// is written with it where its provider does so.
const WORDS: [(&str, Kind); 61] = [
    ("rate_limit", Kind::Limited),
    ("rate_limit_exceeded", Kind::Limited),
    ("too_many_requests", Kind::Limited),
    ("throttling", Kind::Limited),
    ("resource_exhausted", Kind::Limited),
    ("insufficient_quota", Kind::Limited),
    ("server", Kind::Failing),
    ("api", Kind::Failing),
    ("api_connection", Kind::Failing),
    ("internal", Kind::Failing),
    ("internal_server", Kind::Failing),
    ("overloaded", Kind::Failing),
    ("unavailable", Kind::Failing),
    ("service_unavailable", Kind::Failing),
    ("timeout", Kind::Failing),
    ("gateway_timeout", Kind::Failing),
    ("bad_gateway", Kind::Failing),
    ("upstream", Kind::Failing),
    ("slow_down", Kind::Failing),
    ("authentication", Kind::Unauthorized(401)),
    ("unauthorized", Kind::Unauthorized(401)),
    ("unauthenticated", Kind::Unauthorized(401)),
    ("invalid_api_key", Kind::Unauthorized(401)),
    ("permission", Kind::Unauthorized(403)),
    ("permission_denied", Kind::Unauthorized(403)),
    ("forbidden", Kind::Unauthorized(403)),
    ("invalid_request_error", Kind::Rejected(400)),
    ("invalid_argument", Kind::Rejected(400)),
    ("bad_request_error", Kind::Rejected(400)),
    ("context_length_exceeded", Kind::Rejected(400)),
    ("context_window_exceeded", Kind::Rejected(400)),
    ("content_filter", Kind::Rejected(400)),
    ("content_policy_violation", Kind::Rejected(400)),
    ("invalid_prompt", Kind::Rejected(400)),
    ("bio_policy", Kind::Rejected(400)),
    ("cyber_policy", Kind::Rejected(400)),
    ("misalignment_policy_violation", Kind::Rejected(400)),
    ("data_residency_mismatch", Kind::Rejected(400)),
    ("empty_image_file", Kind::Rejected(400)),
    ("failed_to_download_image", Kind::Rejected(400)),
    ("image_content_policy_violation", Kind::Rejected(400)),
    ("image_file_not_found", Kind::Rejected(400)),
    ("image_file_too_large", Kind::Rejected(400)),
    ("image_parse_error", Kind::Rejected(400)),
    ("image_too_large", Kind::Rejected(400)),
    ("image_too_small", Kind::Rejected(400)),
    ("invalid_base64_image", Kind::Rejected(400)),
    ("invalid_image", Kind::Rejected(400)),
    ("invalid_image_format", Kind::Rejected(400)),
    ("invalid_image_mode", Kind::Rejected(400)),
    ("invalid_image_url", Kind::Rejected(400)),
    ("unsupported_image_media_type", Kind::Rejected(400)),
    ("unsupported_parameter", Kind::Rejected(400)),
    ("unsupported_value", Kind::Rejected(400)),
    ("billing_error", Kind::Rejected(402)),
    ("insufficient_credits", Kind::Rejected(402)),
    ("not_found_error", Kind::Rejected(404)),
    ("model_not_found", Kind::Rejected(404)),
    ("request_too_large", Kind::Rejected(413)),
    ("unprocessable_entity_error", Kind::Rejected(422)),
    ("unprocessable_content", Kind::Rejected(422)),
];

/// An event of the name or the type `error`: it is the error itself, or has it in a field.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

/// What an error is. Of what it says nothing is passed on but a word that is known.
pub(super) fn error(raw: &RawValue) -> Error {
    let said = said(raw);
    let mut known = said.iter().filter_map(Value::as_str).filter_map(word);
    if let Some(status) = said.iter().find_map(status) {
        let code = known.find_map(|(code, kind)| matches!(kind, Kind::Rejected(_)).then_some(code));
        return of_status(status, code);
    }
    match known.next() {
        Some((_, Kind::Limited)) => Error::limited(None),
        Some((_, Kind::Failing)) => failure::failing(),
        Some((_, Kind::Unauthorized(status))) => Error::Unauthorized { status },
        Some((code, Kind::Rejected(status))) => Error::rejected(status, Some(code)),
        None => failure::reported(),
    }
}

/// What an event is that says by its name or its type that it is an error.
pub(super) fn event(data: &str) -> Error {
    let field = serde_json::from_str::<Event<'_>>(data).ok().and_then(|event| event.error);
    field.or_else(|| serde_json::from_str(data).ok()).map_or_else(failure::reported, error)
}

/// Where an error may say what it is, the most telling first.
fn said(raw: &RawValue) -> [Value; 3] {
    match serde_json::from_str(raw.get()) {
        Ok(Value::Object(mut fields)) => {
            ["code", "type", "status"].map(|name| fields.remove(name).unwrap_or_default())
        }
        Ok(other) => [other, Value::Null, Value::Null],
        Err(_) => Default::default(),
    }
}

/// The HTTP status of an error that a value is.
fn status(value: &Value) -> Option<u16> {
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok())?;
    u16::try_from(number).ok().filter(|status| (400..600).contains(status))
}

fn of_status(status: u16, code: Option<&str>) -> Error {
    match status {
        401 | 403 => Error::Unauthorized { status },
        429 => Error::limited(None),
        408 | 409 | 500.. => failure::failing(),
        _ => Error::rejected(status, code),
    }
}

/// The known word that this is, however it is written.
fn word(text: &str) -> Option<(&'static str, Kind)> {
    let given = plain(text);
    WORDS.into_iter().find(|(known, _)| plain(known) == given)
}

/// A word without case, underscores and `error` at its end.
fn plain(text: &str) -> String {
    let letters = text.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase());
    let mut plain: String = letters.take(64).collect();
    if let Some(stem) = plain.strip_suffix("error") {
        plain.truncate(stem.len());
    }
    plain
}

#[cfg(test)]
mod tests {
    use serde_json::{json, value::to_raw_value};

    use super::*;
    use crate::model::loopback::CANARY;

    fn of(value: &Value) -> Error {
        error(&to_raw_value(value).unwrap())
    }

    #[test]
    fn an_error_is_told_by_its_number_or_else_by_its_word() {
        let rejected = |status, code| Error::rejected(status, code);
        let cases = [
            // OpenRouter
            (
                json!({"code": 429, "message": CANARY, "metadata": {"provider_name": CANARY}}),
                Error::limited(None),
            ),
            (json!({"code": 502, "message": CANARY}), failure::failing()),
            (json!({"code": 402, "message": CANARY}), rejected(402, None)),
            (json!({"code": 408, "message": CANARY}), failure::failing()),
            // vLLM
            (json!({"type": "InternalServerError", "param": null, "code": 500}), failure::failing()),
            (json!({"type": "BadRequestError", "code": 400}), rejected(400, Some("bad_request_error"))),
            (json!({"type": "NotFoundError"}), rejected(404, Some("not_found_error"))),
            // LiteLLM
            (json!({"type": "throttling_error", "param": "None", "code": "429"}), Error::limited(None)),
            (json!({"type": "None", "param": "None", "code": "500"}), failure::failing()),
            (json!({"type": "auth_error", "code": "401"}), Error::Unauthorized { status: 401 }),
            // OpenAI
            (json!({"type": "tokens", "code": "rate_limit_exceeded"}), Error::limited(None)),
            (json!({"type": "server_error", "code": null}), failure::failing()),
            (
                json!({"type": "invalid_request_error", "code": "invalid_api_key"}),
                Error::Unauthorized { status: 401 },
            ),
            (
                json!({"type": "invalid_request_error", "code": "context_length_exceeded"}),
                rejected(400, Some("context_length_exceeded")),
            ),
            (
                json!({"code": "content_filter", "status": 400, "type": null}),
                rejected(400, Some("content_filter")),
            ),
            // Anthropic
            (json!({"type": "overloaded_error"}), failure::failing()),
            (json!({"type": "permission_error"}), Error::Unauthorized { status: 403 }),
            (json!({"type": "request_too_large"}), rejected(413, Some("request_too_large"))),
            // Google, whose status is a word
            (json!({"status": "UNAVAILABLE"}), failure::failing()),
            (json!({"code": 429, "status": "RESOURCE_EXHAUSTED"}), Error::limited(None)),
            // The number goes first.
            (json!({"type": "invalid_request_error", "code": 503}), failure::failing()),
            (json!({"type": "server_error", "status": 418}), rejected(418, None)),
            // What an error is itself
            (json!("rate_limited_by_none"), failure::reported()),
            (json!("overloaded"), failure::failing()),
            (json!(529), failure::failing()),
        ];
        for (value, expected) in cases {
            assert_eq!(of(&value), expected, "{value}");
        }
    }

    #[test]
    fn what_is_not_known_is_a_failure_that_lasts_and_not_passed_on() {
        for value in [
            json!({}),
            json!({"code": CANARY, "type": CANARY}),
            json!({"code": 200}),
            json!({"code": 600}),
            json!({"code": -1, "type": "error"}),
            json!({"code": 1301.5, "type": [], "status": {}}),
            json!({"code": "", "type": "Error"}),
            json!({"code": "rate_limit_error_error"}),
            json!("x".repeat(100_000)),
            json!([429]),
            json!(null),
        ] {
            assert_eq!(of(&value), failure::reported(), "{value:.80}");
        }
        let both = of(&json!({"code": CANARY, "type": "invalid_request_error"}));
        assert_eq!(both, Error::rejected(400, Some("invalid_request_error")));
        assert_eq!(of(&json!({"code": 400, "type": CANARY})), Error::rejected(400, None));
    }

    #[test]
    fn an_event_is_an_error_or_has_one() {
        for data in
            [r#"{"error":{"code":429}}"#, r#"{"code":429}"#, r#"{"type":"error","code":"429"}"#, "429"]
        {
            assert_eq!(event(data), Error::limited(None), "{data}");
        }
        for data in ["", "{", CANARY, r#"{"error":null}"#] {
            assert_eq!(event(data), failure::reported(), "{data}");
        }
    }

    #[test]
    fn the_words_are_told_apart() {
        for (place, (known, _)) in WORDS.iter().enumerate() {
            assert!(WORDS[..place].iter().all(|(other, _)| plain(other) != plain(known)), "{known}");
        }
    }
}
