//! Logs and spans, as they are configured.

/// Logs and spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How a log line looks.
    pub format: LogFormat,
    /// Which log lines of the service are written: a level (`info`), or directives of tracing-subscriber's `EnvFilter`.
    pub filter: String,
    /// Whether runs have spans.
    pub spans: bool,
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
        Self { format: LogFormat::Json, filter: "info".to_owned(), spans: true }
    }
}
