//! The section `telemetry`.

use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::{
    decode::{At, Fields},
    endpoint,
    source::{self, Tokens},
    units,
};
use crate::telemetry::{Config, LogFormat, OtlpConfig, otlp::Protocol};

const KEYS: [&str; 5] = ["logs", "spans", "sampling", "resource", "otlp"];
const LOGS_KEYS: [&str; 2] = ["format", "filter"];
const OTLP_KEYS: [&str; 7] =
    ["endpoint", "allow_plaintext", "protocol", "headers", "timeout", "traces", "metrics"];
const FORMATS: [(&str, LogFormat); 2] = [("json", LogFormat::Json), ("pretty", LogFormat::Pretty)];
const PROTOCOLS: [(&str, Protocol); 2] = [("http", Protocol::Http), ("grpc", Protocol::Grpc)];
/// The longest time for a batch: others wait meanwhile, and are lost where many do.
const MAX_TIMEOUT: Duration = Duration::from_secs(60);

/// Takes the section.
pub fn decode(root: &Fields<'_>) -> Config {
    let fields = root.fields("telemetry", &KEYS);
    let logs = fields.fields("logs", &LOGS_KEYS);
    let default = Config::default();
    Config {
        format: logs.or("format", |at| at.one_of(&FORMATS), default.format),
        filter: logs.or("filter", filter, default.filter),
        spans: fields.or("spans", At::flag, default.spans),
        sampling: fields.or("sampling", |at| at.decimal(0.0..=1.0), default.sampling),
        resource: fields.entries("resource").iter().filter_map(resource).collect(),
        otlp: fields.optional("otlp", otlp),
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
    let fields = at.fields(&OTLP_KEYS);
    let headers = fields.optional("headers", |at| source::headers(at, Tokens::None));
    // Also where they are wrong: what is wrong with the endpoint then is told at the same time.
    let has_headers = !fields.entries("headers").is_empty();
    Some(OtlpConfig {
        protocol: fields.or("protocol", |at| at.one_of(&PROTOCOLS), Protocol::default()),
        headers: headers.unwrap_or_default(),
        timeout: fields.or("timeout", timeout, OtlpConfig::TIMEOUT),
        traces: fields.or("traces", At::flag, true),
        metrics: fields.or("metrics", At::flag, false),
        // Last, so that what is above is looked at in any case.
        endpoint: endpoint::decode_for(&fields, "endpoint", has_headers)?,
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
