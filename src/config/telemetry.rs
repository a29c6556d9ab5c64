//! The section `telemetry`.

use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::{
    decode::{At, Fields},
    endpoint::{self, Plaintext},
    key::{Key, Keys, Optional, Required},
    reference::Section,
    source::{self, Tokens},
    units,
};
use crate::telemetry::{Config, LogFormat, OtlpConfig, otlp::Protocol};

/// The section's own key.
pub const KEY: Key<Optional> = Key::optional("telemetry", "Logs, spans and where they go.");

const FORMATS: [(&str, LogFormat); 2] = [("json", LogFormat::Json), ("pretty", LogFormat::Pretty)];
const PROTOCOLS: [(&str, Protocol); 2] = [("http", Protocol::Http), ("grpc", Protocol::Grpc)];
const LOGS: Key<Optional> = Key::optional("logs", "Log [lines](#telemetrylogs), on standard output.");
const SPANS: Key<bool> = Key::or(
    "spans",
    true,
    "Whether runs have spans; if not, a caller's `traceparent` is passed on as it came.",
);
const SAMPLING: Key<f64> = Key::or(
    "sampling",
    1.0,
    "Which part of new traces is sampled; of a caller's trace its `traceparent` says.",
);
const RESOURCE: Key<Optional> = Key::optional(
    "resource",
    "What is told of the process beside its `service.*`, by attribute: `{ deployment.environment.name: prod }`.",
);
const OTLP: Key<Optional> = Key::optional(
    "otlp",
    "The [collector](#telemetryotlp). Left out: spans go nowhere, but ids are passed on.",
);
const KEYS: Keys = &[&LOGS, &SPANS, &SAMPLING, &RESOURCE, &OTLP];
const FORMAT: Key<(&str, LogFormat)> =
    Key::or("format", FORMATS[0], "`json`: an object a line; `pretty`: for people.");
const FILTER: Key<&str> = Key::or(
    "filter",
    "info",
    "A level, or directives of tracing-subscriber's `EnvFilter`. Libraries' own lines are not written below `warn`.",
);
const LOGS_KEYS: Keys = &[&FORMAT, &FILTER];
const ENDPOINT: Key<Required> =
    Key::required("endpoint", "The collector's base; over `http` `/v1/traces` and `/v1/metrics` are added.");
const PROTOCOL: Key<(&str, Protocol)> =
    Key::or("protocol", PROTOCOLS[0], "`http` (Protobuf), mostly at port 4318, or `grpc`, mostly at 4317.");
const HEADERS: Key<Optional> =
    Key::optional("headers", "What each export carries: [values](#values), but for tokens.");
const TIMEOUT: Key<Duration> =
    Key::or("timeout", OtlpConfig::TIMEOUT, "The longest time for a batch, attempts included; at most `1m`.");
const TRACES: Key<bool> = Key::or("traces", true, "Whether spans are sent.");
const METRICS: Key<bool> = Key::or("metrics", false, "Whether metrics are sent, too, once a minute.");
const OTLP_KEYS: Keys =
    &[&ENDPOINT, &endpoint::ALLOW_PLAINTEXT, &PROTOCOL, &HEADERS, &TIMEOUT, &TRACES, &METRICS];

/// What the reference tells.
pub const SECTIONS: &[Section] = &[
    Section {
        path: "telemetry",
        about: "See [telemetry](telemetry.md) and [logging](logging.md). A change of anything but `logs.filter` needs a \
                restart.",
        probe: "telemetry: { HERE }",
        keys: KEYS,
    },
    Section { path: "telemetry.logs", about: "", probe: "telemetry: { logs: { HERE } }", keys: LOGS_KEYS },
    Section {
        path: "telemetry.otlp",
        about: "Without `headers`, an `http://` URL may lead anywhere.",
        probe: "telemetry: { otlp: { HERE } }",
        keys: OTLP_KEYS,
    },
];

/// The longest time for a batch: others wait meanwhile, and are lost where many do.
const MAX_TIMEOUT: Duration = Duration::from_secs(60);

/// Takes the section.
pub fn decode(root: &Fields<'_>) -> Config {
    let fields = root.fields(&KEY, KEYS);
    let logs = fields.fields(&LOGS, LOGS_KEYS);
    Config {
        format: logs.or(&FORMAT, |at| at.one_of(&FORMATS)),
        filter: logs.or(&FILTER, filter),
        spans: fields.or(&SPANS, At::flag),
        sampling: fields.or(&SAMPLING, |at| at.decimal(0.0..=1.0)),
        resource: fields.entries(&RESOURCE).iter().filter_map(resource).collect(),
        otlp: fields.optional(&OTLP, otlp),
    }
}

fn filter(at: &At<'_>) -> Option<String> {
    let what = "a level such as info, or directives such as info,runwright=debug";
    let text = at.text_of(what)?;
    let filter = EnvFilter::try_new(text).map_err(|_| at.problem(format!("expected {what}")));
    filter.ok().map(|_| text.to_owned())
}

/// An attribute of the process: its name and its value.
fn resource((name, at): &(&str, At<'_>)) -> Option<(String, String)> {
    if name.is_empty() {
        at.key_problem("an attribute has a name, such as deployment.environment.name");
        return None;
    }
    Some(((*name).to_owned(), at.text()?.to_owned()))
}

fn otlp(at: &At<'_>) -> Option<OtlpConfig> {
    let fields = at.fields(OTLP_KEYS);
    let headers = fields.optional(&HEADERS, |at| source::headers(at, Tokens::None));
    // Also where they are wrong: what is wrong with the endpoint then is told at the same time.
    let plaintext = Plaintext::of(&fields).unless(!fields.entries(&HEADERS).is_empty());
    Some(OtlpConfig {
        protocol: fields.or(&PROTOCOL, |at| at.one_of(&PROTOCOLS)),
        headers: headers.unwrap_or_default(),
        timeout: fields.or(&TIMEOUT, timeout),
        traces: fields.or(&TRACES, At::flag),
        metrics: fields.or(&METRICS, At::flag),
        // Last, so that what is above is looked at in any case.
        endpoint: fields.required(&ENDPOINT, |at| endpoint::decode(at, plaintext))?,
    })
}

fn timeout(at: &At<'_>) -> Option<Duration> {
    let timeout = units::duration(at)?;
    if timeout > MAX_TIMEOUT {
        at.problem("the timeout is at most 1m");
        return None;
    }
    Some(timeout)
}
