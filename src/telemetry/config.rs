//! Logs and spans, as they are configured.

use super::OtlpConfig;

/// Logs and spans.
#[derive(Clone)]
pub struct Config {
    /// How a log line looks.
    pub format: LogFormat,
    /// Which log lines of the service are written: a level (`info`), or directives of tracing-subscriber's `EnvFilter`.
    pub filter: String,
    /// Whether runs have spans.
    pub spans: bool,
    /// Which part of the traces that begin here is sampled, 0 to 1. Of a caller's trace its caller says.
    pub sampling: f64,
    /// What is said of this process beside its name, version and instance, by attribute.
    pub resource: Vec<(String, String)>,
    /// Where what is measured goes; `None`: nowhere.
    pub otlp: Option<OtlpConfig>,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// For people.
    Pretty,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            format: LogFormat::Json,
            filter: "info".to_owned(),
            spans: true,
            sampling: 1.0,
            resource: Vec::new(),
            otlp: None,
        }
    }
}
