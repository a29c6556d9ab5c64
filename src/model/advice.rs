//! What a refusal's headers say of asking again.
//!
//! They are read as OpenAI's and Anthropic's own clients read them: `x-should-retry` says whether, `retry-after-ms` when, and
//! `Retry-After` likewise (RFC 9110 section 10.2.3), where fractions of a second are taken, too.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue};

use super::Prospect;

/// The longest time that a provider may ask to wait.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);
const SHOULD_RETRY: &str = "x-should-retry";
const MILLISECOND: f64 = 0.001;
const SECOND: f64 = 1.0;
/// Where a time may stand, and in which unit, in seconds. The first that has one counts. LiteLLM passes on what the provider
/// behind it says by names of its own.
const TIMES: [(&str, f64); 4] = [
    ("retry-after-ms", MILLISECOND),
    ("retry-after", SECOND),
    ("llm_provider-retry-after-ms", MILLISECOND),
    ("llm_provider-retry-after", SECOND),
];

/// What a provider says of asking again.
pub(super) struct Advice {
    /// Whether it may help, as far as it said so.
    pub(super) again: Option<bool>,
    /// When, as far as it said so; at most an hour.
    pub(super) retry_after: Option<Duration>,
}

impl Advice {
    /// What these headers say.
    pub(super) fn of(headers: &HeaderMap, now: SystemTime) -> Self {
        let again = match headers.get(SHOULD_RETRY).map(HeaderValue::as_bytes) {
            Some(b"true") => Some(true),
            Some(b"false") => Some(false),
            _ => None,
        };
        let retry_after = TIMES.iter().find_map(|(name, unit)| delay(headers.get(*name)?, *unit, now));
        Self { again, retry_after }
    }

    /// What may come of asking again, where the status alone says whether it may help.
    pub(super) fn prospect(&self, by_status: bool) -> Prospect {
        if self.again.unwrap_or(by_status) {
            Prospect::Passing { retry_after: self.retry_after }
        } else {
            Prospect::Lasting
        }
    }
}

/// A number of units, or a date; a time gone by is zero, a long one is cut to an hour. `None`: it is neither.
fn delay(said: &HeaderValue, unit: f64, now: SystemTime) -> Option<Duration> {
    let text = said.to_str().ok()?.trim();
    let delay = if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        // What is more than a `Duration` holds is long, too.
        Duration::try_from_secs_f64(text.parse::<f64>().ok()? * unit).unwrap_or(MAX_RETRY_AFTER)
    } else {
        httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default()
    };
    Some(delay.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, header::RETRY_AFTER};

    use super::*;

    fn said(headers: &[(&'static str, &'static str)]) -> Advice {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        Advice::of(&headers.collect(), now)
    }

    #[test]
    fn a_retry_after_is_seconds_or_a_date_of_at_most_an_hour() {
        let cases = [
            ("0", Some(0.0)),
            ("7", Some(7.0)),
            (" 7 ", Some(7.0)),
            ("1.5", Some(1.5)),
            ("3601", Some(3600.0)),
            ("99999999999999999999999999", Some(3600.0)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60.0)),
            ("Sunday, 06-Nov-94 08:50:37 GMT", Some(60.0)),
            ("Sun Nov  6 08:50:37 1994", Some(60.0)),
            ("Sun, 06 Nov 1994 08:49:36 GMT", Some(0.0)),
            ("Sat, 06 Nov 2094 08:49:37 GMT", Some(3600.0)),
            ("", None),
            (".", None),
            ("-1", None),
            ("1.5.2", None),
            ("1e2", None),
            ("NaN", None),
            ("inf", None),
            ("soon", None),
            ("Sun, 66 Nov 1994 08:49:37 GMT", None),
        ];
        for (text, seconds) in cases {
            let retry_after = said(&[("retry-after", text)]).retry_after;
            assert_eq!(retry_after, seconds.map(Duration::from_secs_f64), "{text:?}");
        }
        let opaque = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_bytes(b"\xff").unwrap())]);
        assert_eq!(Advice::of(&opaque, SystemTime::now()).retry_after, None);
        assert_eq!(said(&[]).retry_after, None);
    }

    #[test]
    fn milliseconds_come_first_and_a_gateways_word_before_that_of_the_provider_behind_it() {
        let names =
            ["retry-after-ms", "retry-after", "llm_provider-retry-after-ms", "llm_provider-retry-after"];
        let values = ["1500", "7", "2500", "8"];
        let all: Vec<_> = names.into_iter().zip(values).collect();
        for (from, expected) in [1.5, 7.0, 2.5, 8.0].into_iter().enumerate() {
            assert_eq!(said(&all[from..]).retry_after, Some(Duration::from_secs_f64(expected)), "{from}");
        }
        for junk in ["", "soon", "-1"] {
            let both = said(&[("retry-after-ms", junk), ("retry-after", "7")]);
            assert_eq!(both.retry_after, Some(Duration::from_secs(7)), "{junk:?}");
        }
        let long = said(&[("retry-after-ms", "99999999999999999999999999")]).retry_after;
        assert_eq!(long, Some(MAX_RETRY_AFTER));
    }

    #[test]
    fn the_provider_knows_better_than_the_status_whether_to_ask_again() {
        let passing = Prospect::Passing { retry_after: None };
        let cases = [
            ("true", passing, passing),
            ("false", Prospect::Lasting, Prospect::Lasting),
            ("TRUE", Prospect::Lasting, passing),
            ("1", Prospect::Lasting, passing),
            ("", Prospect::Lasting, passing),
        ];
        for (text, where_lasting, where_passing) in cases {
            let advice = said(&[("x-should-retry", text)]);
            assert_eq!(
                [advice.prospect(false), advice.prospect(true)],
                [where_lasting, where_passing],
                "{text}"
            );
        }
        let advice = said(&[("x-should-retry", "true"), ("retry-after", "7")]);
        assert_eq!(advice.prospect(false), Prospect::Passing { retry_after: Some(Duration::from_secs(7)) });
    }
}
