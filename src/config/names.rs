//! Names of models, MCP servers and agents, and what refers to them.

use super::decode::At;

/// The longest name of a model or an agent, in characters.
const MAX_NAME_CHARS: usize = 64;
/// The longest name of a tool, in characters.
const MAX_TOOL_CHARS: usize = 128;
/// The longest name that a provider has for a model, in characters.
const MAX_PROVIDER_MODEL_CHARS: usize = 256;
/// The most names that a problem lists.
const MAX_LISTED: usize = 20;

/// The names of one section, for what refers to them.
pub struct Names<'a> {
    /// What has these names.
    what: &'static str,
    /// `None`: they are not all known, since a file could not be read.
    known: Option<Vec<&'a str>>,
}

impl<'a> Names<'a> {
    /// The names of a section; `whole`: whether all files could be read.
    pub fn new(what: &'static str, entries: &[(&'a str, At<'a>)], whole: bool) -> Self {
        let names = || entries.iter().map(|(name, _)| *name).collect();
        Self { what, known: whole.then(names) }
    }

    /// One of the names.
    pub fn resolve(&self, at: &At<'_>) -> Option<String> {
        let name = at.text()?;
        match &self.known {
            Some(known) if !known.contains(&name) => {
                at.problem(unknown(&format!("no such {}", self.what), name, known));
                None
            }
            _ => Some(name.to_owned()),
        }
    }
}

/// What to say of a name that is none of the known ones: what is wrong, which one may be meant, and which ones there are.
pub fn unknown(wrong: &str, name: &str, known: &[&str]) -> String {
    if known.is_empty() {
        return format!("{wrong}; there are none");
    }
    let meant = nearest(name, known).map(|near| format!(" (did you mean {}?)", near.escape_debug()));
    let listed: Vec<String> =
        known.iter().take(MAX_LISTED).map(|name| name.escape_debug().to_string()).collect();
    let more = if known.len() > MAX_LISTED { ", …" } else { "" };
    format!("{wrong}{}; there are {}{more}", meant.unwrap_or_default(), listed.join(", "))
}

/// The name of a model or an agent, from the key that the value stands at.
pub fn name(name: &str, at: &At<'_>) -> Option<String> {
    let right = is_printable(name, MAX_NAME_CHARS);
    if !right {
        at.key_problem(format!("a name has 1 to {MAX_NAME_CHARS} printable characters"));
    }
    right.then(|| name.to_owned())
}

/// A tool's name on its server.
pub fn tool(at: &At<'_>) -> Option<String> {
    value(at, "a tool's name", MAX_TOOL_CHARS)
}

/// A provider's name for a model.
pub fn provider_model(at: &At<'_>) -> Option<String> {
    value(at, "a provider's name for a model", MAX_PROVIDER_MODEL_CHARS)
}

fn value(at: &At<'_>, what: &str, max_chars: usize) -> Option<String> {
    let name = at.text()?;
    let right = is_printable(name, max_chars);
    if !right {
        at.problem(format!("{what} has 1 to {max_chars} printable characters"));
    }
    right.then(|| name.to_owned())
}

/// The candidate that a name is most likely a slip of: at most 2 edits away, and less than half of the name.
fn nearest<'a>(name: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let distances = candidates.iter().map(|candidate| (edits(name, candidate), *candidate));
    let near = distances.filter(|(edits, _)| *edits <= 2 && edits * 2 < name.chars().count());
    near.min_by_key(|(edits, _)| *edits).map(|(_, candidate)| candidate)
}

fn is_printable(name: &str, max_chars: usize) -> bool {
    let right = |c: char| !c.is_control();
    !name.trim().is_empty() && name.chars().all(right) && name.chars().count() <= max_chars
}

/// The Levenshtein distance: how many characters to add, drop or replace.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_name() {
        let names = ["listen", "admin_listen", "url"];
        for (slip, meant) in [
            ("lisen", Some("listen")),
            ("Listen", Some("listen")),
            ("admin-listen", Some("admin_listen")),
            ("port", None),
            ("ur", None),
            ("urls", Some("url")),
            ("", None),
        ] {
            assert_eq!(nearest(slip, &names), meant, "{slip}");
        }
    }

    #[test]
    fn edits_are_counted() {
        for (from, to, count) in [("", "", 0), ("", "ab", 2), ("kitten", "sitting", 3), ("ab", "ba", 2)] {
            assert_eq!(edits(from, to), count, "{from} {to}");
        }
    }
}
