//! Whole documents: what a good one gives, and every line of what is said of a bad one.

use std::{fs, path::Path};

use super::{Config, load};

mod accepted;
mod caller_headers;
mod files;
mod hidden;
mod loading;
mod model_headers;
mod refused;
mod secrets;
mod settings;
mod tokens;
mod transport;

/// The least that can be served.
const AGENT: &str =
    "models: { m: { provider: scripted, script: [{ say: hi }] } }\nagents: { first: { model: m } }\n";

/// Loads `path` in a folder of these files. The variables that are set are those of [`variable`].
fn load_in(files: &[(&str, &str)], path: &str) -> Result<Config, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    }
    load_path(&folder.path().join(path), folder.path())
}

/// Loads `path`; the problems' lines are shown without the folder.
fn load_path(path: &Path, folder: &Path) -> Result<Config, Vec<String>> {
    let prefix = format!("{}/", folder.display());
    load(path, &variable)
        .map_err(|problems| problems.iter().map(|problem| problem.to_string().replace(&prefix, "")).collect())
}

/// Loads a single document.
fn load_text(text: &str) -> Result<Config, Vec<String>> {
    load_in(&[("c.yaml", text)], "c.yaml")
}

/// A single document's configuration.
#[track_caller]
fn good(text: &str) -> Config {
    load_text(text).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

/// The problems' lines.
#[track_caller]
fn problems(loaded: Result<Config, Vec<String>>) -> Vec<String> {
    loaded.err().expect("the configuration was taken")
}

fn variable(name: &str) -> Option<String> {
    let value = match name {
        "OPENAI_API_KEY" => "sk-from-the-environment",
        "TRAILING_NEWLINE" => "trimmed\n",
        "EMPTY" => "",
        "TWO_LINES" => "one\ntwo",
        _ => return None,
    };
    Some(value.to_owned())
}

/// A value's text as of now.
fn shown(source: &crate::credential::Source) -> String {
    String::from_utf8(source.ready().unwrap().as_bytes().to_vec()).unwrap()
}

/// Headers as they would be sent.
fn sent(headers: &crate::credential::Headers) -> Vec<(String, String)> {
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
    let current = headers.current();
    let headers = current.headers().iter();
    headers.map(|header| (header.name.to_string(), text(header.value.as_bytes()))).collect()
}

/// Names of headers.
fn names(names: &[http::HeaderName]) -> Vec<&str> {
    names.iter().map(http::HeaderName::as_str).collect()
}
