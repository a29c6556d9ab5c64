//! Sources of values: a literal, `{ value: TEXT }`, `{ env: NAME }` or `{ file: PATH }`; of an MCP server's header also a
//! token, see [`token`]. All but the first may have a `prefix`, and a registered header's say whether they are `secret`.

use std::{borrow::Cow, path::PathBuf};

use http::HeaderName;
use url::Url;

use super::{
    decode::{At, Fields},
    key::{Depends, Key, Keys, Optional},
    reference::Section,
    token,
    yaml::Kind,
};
use crate::{
    credential::{FileSource, Headers, Source},
    file::FileError,
    headers::{
        Header,
        rules::{self, Refusal},
    },
};

const VALUE: Key<Optional> = Key::optional("value", "The text itself, where a literal is not enough.");
const ENV: Key<Optional> = Key::optional(
    "env",
    "The environment variable that has it; one that is not set is a problem. White space at its end is left out.",
);
const FILE: Key<Optional> = Key::optional(
    "file",
    "The file that has it, read again when it changes. White space at its end is left out.",
);
/// The key of what stands in front.
pub const PREFIX: Key<Depends> = Key::or(
    "prefix",
    Depends("none; for `api_key` as its provider wants it"),
    "What stands in front, such as `\"Bearer \"`.",
);
const SECRET: Key<Depends> = Key::or(
    "secret",
    Depends("`true`; of a `value` `false`"),
    "Only of a header: whether its values are secrets in every layer, also what a caller puts in their place. \
     See [headers](headers.md#scrubbing).",
);
/// Where text can be; one of them is.
const TEXTS: [&Key<Optional>; 3] = [&VALUE, &ENV, &FILE];
const TEXT_KEYS: Keys = &[&VALUE, &ENV, &FILE];
const KEYS: Keys = &[&VALUE, &ENV, &FILE, &PREFIX];
const HEADER_KEYS: Keys = &[&VALUE, &ENV, &FILE, &token::OAUTH, &token::GOOGLE, &PREFIX, &SECRET];
const HEADER_KEYS_BUT_TOKENS: Keys = &[&VALUE, &ENV, &FILE, &PREFIX, &SECRET];
const WHAT: &str = "text, `{ env: NAME }` or `{ file: PATH }`";
const HEADER_WHAT: &str = "text, `{ env: NAME }`, `{ file: PATH }`, `{ oauth_client_credentials: … }` or \
                           `{ google_id_token: … }`";

/// What the reference tells.
pub const SECTIONS: &[Section] = &[Section {
    path: "mcp_servers.<name>.headers.<name>",
    about: "One of the first five, and what goes with it. Tokens are for the headers of MCP servers alone, in \
            `mcp_servers` and in `agents`.",
    probe: "mcp_servers: { x: { url: \"https://localhost/\", headers: { x: { HERE } } } }",
    keys: HEADER_KEYS,
}];

/// Text that stands in the configuration, in the environment or in a file, and where that is said.
pub enum Written<'a> {
    /// The text.
    Text(At<'a>, Cow<'a, str>),
    /// The path of the file.
    File(At<'a>, PathBuf),
}

/// The source of a value.
pub fn decode(at: &At<'_>) -> Option<Source> {
    decode_with_prefix(at, "")
}

/// The source of a value that `prefix` stands in front of, unless the source has a prefix of its own.
pub fn decode_with_prefix(at: &At<'_>, prefix: &str) -> Option<Source> {
    match &at.node().kind {
        Kind::Mapping(_) => {
            let fields = mapping(at, KEYS, WHAT)?;
            let prefix = fields.or_else(&PREFIX, At::text, prefix);
            one_of_mapping(at, &fields, WHAT)?.source(prefix)
        }
        _ => literal(at, WHAT)?.source(prefix),
    }
}

/// Where text is, without a prefix; `what` is expected.
pub fn written<'a>(at: &At<'a>, what: &str) -> Option<Written<'a>> {
    match &at.node().kind {
        Kind::Mapping(_) => one_of_mapping(at, &mapping(at, TEXT_KEYS, what)?, what),
        _ => literal(at, what),
    }
}

/// Which tokens there may be among registered headers.
#[derive(Clone, Copy)]
pub enum Tokens<'a> {
    /// Those for the MCP server at a URL; without the URL, which is wrong then, they are looked at and not made.
    For(Option<&'a Url>),
    /// None: these are not an MCP server's headers.
    None,
}

/// Registered headers: a mapping from names to sources.
pub fn headers(at: &At<'_>, tokens: Tokens<'_>) -> Option<Headers> {
    let mut headers = Vec::<(HeaderName, Option<(Source, bool)>)>::new();
    for (name, value) in at.entries() {
        let checked = rules::check_name(name);
        if let Err(refusal @ Refusal::NameNotToken) = checked {
            // The name is not shown: it may be a whole header, its value included.
            at.problem_at(value.key_mark, refusal.to_string());
            if !matches!(value.node().kind, Kind::Null) {
                header(&value.under(at), tokens);
            }
            continue;
        }
        let source = header(&value, tokens);
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
        let (value, secret) = source?;
        Some(Header { name, value, secret })
    });
    let headers = Headers::new(good.collect());
    if count > rules::MAX_HEADERS {
        at.key_problem(Refusal::TooManyHeaders.to_string());
    }
    if headers.current().size() > rules::MAX_RUN_BYTES {
        at.key_problem("the headers have at most 64 KiB together");
    }
    Some(headers)
}

/// The path of a file that a configuration names: relative to the folder of the configuration's file.
pub fn path(at: &At<'_>) -> Option<PathBuf> {
    let folder = at.node().mark.file.parent();
    at.text().map(|path| folder.map_or_else(|| PathBuf::from(path), |folder| folder.join(path)))
}

impl Written<'_> {
    /// The source of a value that `prefix` stands in front of.
    fn source(self, prefix: &str) -> Option<Source> {
        match self {
            Self::Text(at, text) => fixed(&at, prefix, &text),
            Self::File(at, path) => {
                let source = FileSource::open(path.clone(), prefix.to_owned()).map_err(|error| {
                    // A good one is read again by itself; this one may be good at the next reload.
                    at.context.note_read(&path);
                    match error {
                        FileError::Refused(refusal) => {
                            at.problem(format!("{path:?}: in the file, {}", text(refusal)));
                        }
                        error => at.problem(format!("{path:?}: {error}")),
                    }
                });
                source.ok().map(Source::File)
            }
        }
    }
}

/// The source of a header's value, and whether its values are secret: all but a literal's are, unless it says otherwise.
fn header(at: &At<'_>, tokens: Tokens<'_>) -> Option<(Source, bool)> {
    let (keys, what) = match tokens {
        Tokens::For(_) => (HEADER_KEYS, HEADER_WHAT),
        Tokens::None => (HEADER_KEYS_BUT_TOKENS, WHAT),
    };
    let Kind::Mapping(_) = at.node().kind else {
        return literal(at, what)?.source("").map(|source| (source, false));
    };
    let fields = mapping(at, keys, what)?;
    let prefix = fields.or_else(&PREFIX, At::text, "");
    let secret = fields.or_else(&SECRET, At::flag, fields.get(&VALUE).is_none());
    let source = match tokens {
        Tokens::For(server) => header_source(at, &fields, server, prefix),
        Tokens::None => one_of_mapping(at, &fields, what)?.source(prefix),
    };
    source.map(|source| (source, secret))
}

fn header_source(at: &At<'_>, fields: &Fields<'_>, server: Option<&Url>, prefix: &str) -> Option<Source> {
    if fields.get(&token::OAUTH).is_none() && fields.get(&token::GOOGLE).is_none() {
        return one_of_mapping(at, fields, HEADER_WHAT)?.source(prefix);
    }
    let is_text_too = TEXTS.iter().any(|key| fields.get(key).is_some());
    if is_text_too {
        at.problem(format!("expected {HEADER_WHAT}"));
        one_of_mapping(at, fields, HEADER_WHAT);
    }
    token::decode(at, fields, server, prefix).map(Source::Token)
}

/// A mapping in which a source is expected; `None` if it has none, which is told.
fn mapping<'a>(at: &At<'a>, keys: Keys<'_>, what: &str) -> Option<Fields<'a>> {
    let (fields, others) = at.known_fields(keys);
    if others.is_empty() {
        return Some(fields);
    }
    let tokens = [&token::OAUTH, &token::GOOGLE];
    at.problem(if others.iter().any(|(name, _)| tokens.iter().any(|key| key.name == *name)) {
        format!("tokens are for the headers of MCP servers; expected {what}")
    } else {
        // The key is not shown: where a source is expected it may be a value that lacks its quotes.
        let names: Vec<_> = keys.iter().map(|key| key.name()).collect();
        format!("a key is unknown; there are {}", names.join(", "))
    });
    let has_source = TEXTS.iter().chain(&tokens).any(|key| fields.get(key).is_some());
    has_source.then_some(fields)
}

fn one_of_mapping<'a>(at: &At<'a>, fields: &Fields<'a>, what: &str) -> Option<Written<'a>> {
    match (fields.get(&VALUE), fields.get(&ENV), fields.get(&FILE)) {
        (Some(value), None, None) => literal(value, "text"),
        (None, Some(env), None) => variable(env),
        (None, None, Some(file)) => path(file).map(|path| Written::File(file.clone(), path)),
        (value, env, file) => {
            at.problem(format!("expected {what}"));
            value.and_then(|at| literal(at, "text"));
            env.and_then(variable);
            file.and_then(path);
            None
        }
    }
}

fn literal<'a>(at: &At<'a>, what: &str) -> Option<Written<'a>> {
    let text = at.node().text();
    if text.is_none() {
        at.expected_text(what);
    }
    Some(Written::Text(at.clone(), text?.into()))
}

/// An environment variable's value, less the white space at its end, as with a file.
fn variable<'a>(at: &At<'a>) -> Option<Written<'a>> {
    let name = at.text()?;
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        at.problem("expected an environment variable's name, such as CRM_TOKEN");
        return None;
    }
    match (at.context.environment)(name) {
        Some(value) => Some(Written::Text(at.clone(), value.trim_end().to_owned().into())),
        None => {
            at.problem(format!("the environment variable {name} is not set"));
            None
        }
    }
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
