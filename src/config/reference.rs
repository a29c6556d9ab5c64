//! The reference of the configuration, `docs/configuration.md`, made from what decodes it.
//!
//! Name, default and meaning stand with each [`Key`](super::key::Key). What its value may be is told in the decoder's own words: it is given a value
//! that is right nowhere, and says what it expected in its place. A key that nothing decodes would say nothing.

use std::path::Path;

use super::{
    KEYS, agents, caller_headers,
    decode::{At, Context},
    kept_clients,
    key::{Keys, Listed},
    limits,
    loader::Common,
    mcp_servers, models, route, server, source, telemetry, token,
    versions::Versions,
    yaml,
};

/// A mapping, and what the reference tells of it.
pub struct Section {
    /// The keys that lead to it; `<name>` stands for any, and `[]` for an item of a list.
    pub path: &'static str,
    /// What is told of it beside its keys, in Markdown.
    pub about: &'static str,
    /// A document in YAML with this mapping, `HERE` one of its keys with its value. Names in it are `x`.
    pub probe: &'static str,
    /// Its keys.
    pub keys: Keys<'static>,
}

/// What no key takes.
const WRONG: &str = "-7.5";
const ROOT: Section = Section { path: "", about: "", probe: "{ HERE }", keys: KEYS };
const SECTIONS: [&[Section]; 9] = [
    server::SECTIONS,
    limits::SECTIONS,
    kept_clients::SECTIONS,
    models::SECTIONS,
    mcp_servers::SECTIONS,
    caller_headers::SECTIONS,
    route::SECTIONS,
    agents::SECTIONS,
    telemetry::SECTIONS,
];
const SOURCES: [&[Section]; 2] = [source::SECTIONS, token::SECTIONS];
const INTRODUCTION: &str = "\
# Configuration

<!-- `make docs` writes this page from src/config; a test holds it to that. -->

`runwright serve --config PATH` reads a file, or the `.yaml`, `.yml` and `.json` files of a folder: YAML, of which JSON is a
part. The files of a folder may have parts of the same section, but not the same key in it. `runwright check --config PATH`
prints every problem as `file:line:column: path: message` and exits with 64. Unknown keys are problems, and so is what is
named and not there: a variable, a file, a model. What happens when a file changes: [operations](operations.md#reload).

- A **duration** is above zero and at most a year: `500ms`, `30s`, `1m30s`, `2h`.
- A **size** is `512B`, `64KiB`, `4MiB`, `1GiB`, or a number of bytes.
- The **path** of a file is relative to the folder of the file that names it.
- Numbers and flags are no text: put them in quotes where text is expected.

";
const VALUES: &str = "
## Values

Where a value may be a secret, it is text or a mapping that says where the text is. `api_key`, `digest_key`, `client_secret`
and `authorization` take `value`, `env` and `file`, with a `prefix`; `private_key` takes them without one. What the headers of
MCP servers take besides stands below. None of it is ever logged.
";

/// The page, in Markdown.
pub fn reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    table(&mut page, &ROOT);
    let mut before = "";
    for section in SECTIONS.into_iter().flatten() {
        tell(&mut page, section, before);
        before = section.path;
    }
    page += VALUES;
    for section in SOURCES.into_iter().flatten() {
        tell(&mut page, section, "");
    }
    page
}

/// A mapping's part of the page; one of the same path as the one `before` has no heading of its own.
fn tell(page: &mut String, section: &Section, before: &str) {
    let level = if section.path.trim_end_matches(".<name>").contains('.') { "###" } else { "##" };
    if section.path != before {
        *page += &format!("\n{level} `{}`\n", section.path);
    }
    if !section.about.is_empty() {
        *page += &format!("\n{}\n", section.about);
    }
    page.push('\n');
    table(page, section);
}

fn table(page: &mut String, section: &Section) {
    *page += "| key | value | default | meaning |\n|---|---|---|---|\n";
    for key in section.keys {
        let value = expected(section, *key).unwrap_or_default();
        let value = match value.strip_prefix("one of ") {
            Some(words) => format!("one of `{}`", words.replace(", ", "`, `")),
            None => value,
        };
        *page += &format!("| `{}` | {value} | {} | {} |\n", key.name(), key.default(), key.means());
    }
}

/// What a key's decoder says that it expects; `None` if nothing decodes the key.
fn expected(section: &Section, key: &dyn Listed) -> Option<String> {
    let text = section.probe.replace("HERE", &format!("{}: {WRONG}", key.name()));
    let mut problems = Vec::new();
    let document = yaml::parse(Path::new("reference"), &text, &mut problems).ok()?.pop()?;
    let common = Common::default();
    let context = Context::new(&|_| None, &common, problems, Versions::default());
    super::decode(&At::root(&context, &document), false);
    let path = section.path.replace("<name>", "x").replace("[]", "[0]");
    let path = if path.is_empty() { key.name().to_owned() } else { format!("{path}.{}", key.name()) };
    let said = context.end().0.into_iter().filter(|problem| problem.path == path);
    let mut expected: Vec<_> =
        said.filter_map(|problem| Some(problem.message.strip_prefix("expected ")?.to_owned())).collect();
    // What is wrong with the type says so, and comes before what is missing for that.
    expected.sort_by_key(|what| !what.contains(", found "));
    expected.first().map(|what| what.split(", found ").next().unwrap_or(what).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sections() -> impl Iterator<Item = &'static Section> {
        std::iter::once(&ROOT).chain(SECTIONS.into_iter().chain(SOURCES).flatten())
    }

    #[test]
    fn every_key_is_decoded_and_told() {
        for section in sections() {
            for key in section.keys {
                let place = format!("{}.{}", section.path, key.name());
                assert!(expected(section, *key).is_some(), "nothing decodes {place}");
                assert!(key.means().ends_with('.'), "{place}: {}", key.means());
            }
        }
    }

    #[test]
    fn a_key_that_nothing_decodes_is_found() {
        static STRAY: super::super::key::Key<bool> = super::super::key::Key::or("stray", true, "Nothing.");
        for section in sections() {
            assert_eq!(expected(section, &STRAY), None, "{}", section.path);
        }
    }

    #[test]
    fn every_mapping_has_its_keys_told() {
        /// Mappings whose keys are names, or told elsewhere: those of models are as those of MCP servers.
        const ELSEWHERE: [&str; 5] = ["headers", "resource", "arguments", "tls", "proxy"];
        for section in sections() {
            for key in section.keys.iter().filter(|key| !ELSEWHERE.contains(&key.name())) {
                let path = format!("{}.{}", section.path, key.name());
                let path = path.trim_start_matches('.');
                let is_mapping = expected(section, *key).is_some_and(|what| what == "a mapping");
                let told = sections().any(|other| other.path.trim_end_matches(".<name>") == path);
                assert_eq!(is_mapping, told, "{path}");
            }
        }
    }
}
