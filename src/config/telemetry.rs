//! The section `telemetry`.

use tracing_subscriber::EnvFilter;

use super::decode::{At, Fields};
use crate::telemetry::{Config, LogFormat};

const KEYS: [&str; 2] = ["logs", "spans"];
const LOGS_KEYS: [&str; 2] = ["format", "filter"];
const FORMATS: [(&str, LogFormat); 2] = [("json", LogFormat::Json), ("pretty", LogFormat::Pretty)];

/// Takes the section.
pub fn decode(root: &Fields<'_>) -> Config {
    let fields = root.fields("telemetry", &KEYS);
    let logs = fields.fields("logs", &LOGS_KEYS);
    let default = Config::default();
    Config {
        format: logs.or("format", |at| at.one_of(&FORMATS), default.format),
        filter: logs.or("filter", filter, default.filter),
        spans: fields.or("spans", At::flag, default.spans),
    }
}

fn filter(at: &At<'_>) -> Option<String> {
    let what = "a level such as info, or directives such as info,runwright=debug";
    let text = at.text_of(what)?;
    let filter = EnvFilter::try_new(text).map_err(|_| at.problem(format!("expected {what}")));
    filter.ok().map(|_| text.to_owned())
}
