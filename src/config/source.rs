//! Sources of values: a literal, `{ value: TEXT }`, `{ env: NAME }` or `{ file: PATH }`, all but the first with a `prefix`,
//! and a registered header's with `secret`, too.

use std::path::PathBuf;

use http::HeaderName;

use super::{decode::At, yaml::Kind};
use crate::{
    credential::{FileError, FileSource, Header, Headers, Source},
    headers::rules::{self, Refusal},
};

const KEYS: [&str; 4] = ["value", "env", "file", "prefix"];
const HEADER_KEYS: [&str; 5] = ["value", "env", "file", "prefix", "secret"];
const WHAT: &str = "text, `{ env: NAME }` or `{ file: PATH }`";

/// The source of a value.
pub fn decode(at: &At<'_>) -> Option<Source> {
    decode_with_prefix(at, "")
}

/// The source of a value that `prefix` stands in front of, unless the source has a prefix of its own.
pub fn decode_with_prefix(at: &At<'_>, prefix: &str) -> Option<Source> {
    with_secrecy(at, prefix, &KEYS).map(|(source, _)| source)
}

/// Registered headers: a mapping from names to sources.
pub fn headers(at: &At<'_>) -> Option<Headers> {
    let mut headers = Vec::<(HeaderName, Option<(Source, bool)>)>::new();
    for (name, value) in at.entries() {
        let checked = rules::check_name(name);
        if let Err(refusal @ Refusal::NameNotToken) = checked {
            // The name is not shown: it may be a whole header, its value included.
            at.problem_at(value.key_mark, refusal.to_string());
            continue;
        }
        let source = with_secrecy(&value, "", &HEADER_KEYS);
        match checked {
            Ok(name) if headers.iter().any(|(present, _)| *present == name) => {
                value.key_problem(Refusal::RepeatedName.to_string());
            }
            Ok(name) => headers.push((name, source)),
            Err(refusal) => value.key_problem(refusal.to_string()),
        }
    }
    let count = headers.len();
    let good = headers.into_iter().filter_map(|(name, source)| {
        let (source, secret) = source?;
        Some(Header { name, source, secret })
    });
    let headers = Headers::new(good.collect());
    if count > rules::MAX_HEADERS {
        at.key_problem(Refusal::TooManyHeaders.to_string());
    } else if headers.current().size() > rules::MAX_RUN_BYTES {
        at.key_problem("the headers have at most 64 KiB together");
    }
    Some(headers)
}

/// The path of a file that a configuration names: relative to the folder of the configuration's file.
pub fn path(at: &At<'_>) -> Option<PathBuf> {
    let folder = at.node().mark.file.parent();
    at.text().map(|path| folder.map_or_else(|| PathBuf::from(path), |folder| folder.join(path)))
}

/// A source, and whether its values are secret: all but a literal's are, unless it says otherwise.
fn with_secrecy(at: &At<'_>, prefix: &str, keys: &[&str]) -> Option<(Source, bool)> {
    match &at.node().kind {
        Kind::Text(literal) => fixed(at, prefix, literal).map(|source| (source, false)),
        Kind::Mapping(_) => from_mapping(at, prefix, keys),
        _ => {
            at.expected_text(WHAT);
            None
        }
    }
}

fn from_mapping(at: &At<'_>, prefix: &str, keys: &[&str]) -> Option<(Source, bool)> {
    let entries = at.entries();
    if entries.iter().any(|(name, _)| !keys.contains(name)) {
        // The key is not shown: where a source is expected it may be a value that lacks its quotes.
        at.problem(format!("a key is unknown; there are {}", keys.join(", ")));
        return None;
    }
    let fields = at.fields(keys);
    let prefix = fields.or("prefix", At::text, prefix);
    let secret = fields.or("secret", At::flag, fields.get("value").is_none());
    let source = match (fields.get("value"), fields.get("env"), fields.get("file")) {
        (Some(value), None, None) => value.text().and_then(|literal| fixed(value, prefix, literal)),
        (None, Some(env), None) => variable(env, prefix),
        (None, None, Some(file)) => from_file(file, prefix),
        _ => {
            at.problem(format!("expected {WHAT}"));
            None
        }
    };
    source.map(|source| (source, secret))
}

/// An environment variable's value, less the white space at its end, as with a file.
fn variable(at: &At<'_>, prefix: &str) -> Option<Source> {
    let name = at.text()?;
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        at.problem("expected an environment variable's name, such as CRM_TOKEN");
        return None;
    }
    match (at.context.environment)(name) {
        Some(value) => fixed(at, prefix, value.trim_end()),
        None => {
            at.problem(format!("the environment variable {name} is not set"));
            None
        }
    }
}

fn from_file(at: &At<'_>, prefix: &str) -> Option<Source> {
    let path = path(at)?;
    let source = FileSource::open(path.clone(), prefix.to_owned()).map_err(|error| match error {
        FileError::Refused(refusal) => at.problem(format!("{path:?}: in the file, {}", text(refusal))),
        error => at.problem(format!("{path:?}: {error}")),
    });
    source.ok().map(Source::File)
}

fn fixed(at: &At<'_>, prefix: &str, value: &str) -> Option<Source> {
    let value = if value.is_empty() { String::new() } else { format!("{prefix}{value}") };
    let source = Source::fixed(&value).map_err(|refusal| at.problem(text(refusal)));
    source.ok()
}

/// A refusal's text for what is no request: there is no `remove` here.
fn text(refusal: Refusal) -> String {
    match refusal {
        Refusal::EmptyValue => "the value is empty".to_owned(),
        refusal => refusal.to_string(),
    }
}
