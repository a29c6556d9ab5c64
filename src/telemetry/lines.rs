//! The lines of the log, and what of a run's spans stands in them.

use std::{
    fmt,
    io::{self, IsTerminal},
};

use tracing::{Metadata, Subscriber, span::Record};
use tracing_subscriber::{
    EnvFilter, Layer,
    field::RecordFields,
    filter::{FilterExt, ParseError, filter_fn},
    fmt::{
        FormatFields, FormattedFields, MakeWriter,
        format::{JsonFields, Writer},
    },
    registry::LookupSpan,
    reload,
};

use super::{Config, Filter, LogFormat, is_ours, may_be_logged};

/// The spans whose fields stand in each line below them. They have all ids; what the others hold is not kept as text.
const SHOWN_SPANS: [&str; 2] = ["rpc", "invoke_agent"];

/// Writes lines as they are configured. The filter can be changed; what may never be written is decided behind it.
///
/// # Errors
/// The filter is not valid.
pub(super) fn lines<S, W>(
    config: &Config,
    writer: W,
) -> Result<(impl Layer<S> + Send + Sync, Filter), ParseError>
where
    S: Subscriber + for<'s> LookupSpan<'s> + Send + Sync,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(EnvFilter::builder().parse(&config.filter)?);
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines = match config.format {
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).with_current_span(false);
            lines.fmt_fields(AppendedJson(JsonFields::new())).boxed()
        }
        LogFormat::Pretty => lines.with_ansi(io::stdout().is_terminal()).boxed(),
    };
    let lines = lines.with_filter(filter.and(filter_fn(is_shown)));
    Ok((lines, Filter::new(move |filter| handle.reload(filter))))
}

fn is_shown(metadata: &Metadata<'_>) -> bool {
    if metadata.is_span() {
        is_ours(metadata) && SHOWN_SPANS.contains(&metadata.name())
    } else {
        may_be_logged(metadata)
    }
}

/// A span's fields as a JSON object, to which later ones are appended: [`JsonFields`] would read and write all fields anew
/// for each. A name that comes twice stands twice; the line has its last value.
struct AppendedJson(JsonFields);

impl<'w> FormatFields<'w> for AppendedJson {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        self.0.format_fields(writer, fields)
    }

    fn add_fields(&self, current: &'w mut FormattedFields<Self>, fields: &Record<'_>) -> fmt::Result {
        let mut added = String::new();
        self.0.format_fields(Writer::new(&mut added), fields)?;
        let present = &mut current.fields;
        if present.len() > "{}".len() && added.len() > "{}".len() {
            present.pop();
            present.push(',');
            present.push_str(&added[1..]);
        } else if added.len() > "{}".len() {
            *present = added;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};
    use tracing::{field::Empty, info, info_span};
    use tracing_subscriber::{Registry, layer::SubscriberExt};

    use super::*;

    /// Where a test's lines go.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The spans in the one line that is logged.
    fn spans_in_line(log: impl FnOnce()) -> Value {
        let written = Written::default();
        let config = Config::default();
        let writer = written.clone();
        let (lines, _) = lines(&config, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(Registry::default().with(lines), log);
        let line: Value = serde_json::from_slice(&written.0.lock().unwrap()).unwrap();
        line["spans"].clone()
    }

    #[test]
    fn a_line_has_what_its_call_and_its_run_hold_and_no_other_span() {
        let spans = spans_in_line(|| {
            let rpc = info_span!("rpc", request_id = "r\"1", run_id = Empty).entered();
            rpc.record("run_id", "1").record("run_id", "2");
            let _run = info_span!("invoke_agent", agent = "a").entered();
            let chat = info_span!("chat", model = "m", usage = Empty).entered();
            chat.record("usage", 1);
            let _other = info_span!(target: "other", "rpc", secret = 1).entered();
            info!("A line");
        });
        let call = json!({ "name": "rpc", "request_id": "r\"1", "run_id": "2" });
        assert_eq!(spans, json!([call, { "name": "invoke_agent", "agent": "a" }]));
    }

    #[test]
    fn a_span_without_fields_at_first_has_those_that_come() {
        let spans = spans_in_line(|| {
            let rpc = info_span!("rpc", a = Empty, b = Empty).entered();
            rpc.record("a", 1).record("b", "two");
            info!("A line");
        });
        assert_eq!(spans, json!([{ "name": "rpc", "a": 1, "b": "two" }]));
    }
}
