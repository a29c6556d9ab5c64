//! The key `caller_headers` of a registered MCP server: what callers may bring to it, and what they must.

use http::HeaderName;

use super::{
    decode::At,
    key::{Key, Keys, Optional},
    reference::Section,
};
use crate::headers::{CallerRules, rules};

const ALLOWED: Key<Optional> = Key::optional(
    "allowed",
    "The only names that a run may set or remove. Left out: any that is not locked; `[]`: none.",
);
const REQUIRED: Key<Optional> =
    Key::optional("required", "The names that must come with a value of the run's own.");
const LOCKED: Key<Optional> = Key::optional("locked", "The names that a run may neither set nor remove.");
const KEYS: Keys = &[&ALLOWED, &REQUIRED, &LOCKED];

/// What the reference tells.
pub const SECTIONS: &[Section] = &[Section {
    path: "mcp_servers.<name>.caller_headers",
    about: "Lists of at most 64 names, which are compared without case. See [headers](headers.md#rules-of-a-registration).",
    probe: "mcp_servers: { x: { caller_headers: { HERE } } }",
    keys: KEYS,
}];

/// A list's good names, each with its place.
#[derive(Default)]
struct Names<'a> {
    listed: Vec<(HeaderName, At<'a>)>,
    /// Whether there are others: what the list lacks may be meant by one of them.
    broken: bool,
}

/// Takes the rules. They may not contradict each other.
pub fn decode(at: &At<'_>) -> Option<CallerRules> {
    let fields = at.fields(KEYS);
    let allowed = fields.optional(&ALLOWED, names);
    let required = fields.optional(&REQUIRED, names).unwrap_or_default();
    let locked = fields.optional(&LOCKED, names).unwrap_or_default();
    for (name, at) in &locked.listed {
        if allowed.as_ref().is_some_and(|allowed| allowed.has(name)) {
            at.problem("the name stands in `allowed`, too; take it out of one of them");
        }
    }
    for (name, at) in &required.listed {
        if locked.has(name) {
            at.problem("no caller may bring this header, for it is in `locked`; take it out of one of them");
        } else if allowed.as_ref().is_some_and(|allowed| !allowed.broken && !allowed.has(name)) {
            at.problem("no caller may bring this header; put it into `allowed`, too");
        }
    }
    Some(CallerRules::new(allowed.map(Names::into_names), required.into_names(), locked.into_names()))
}

fn names<'a>(at: &At<'a>) -> Option<Names<'a>> {
    let items = at.items()?;
    if items.len() > rules::MAX_HEADERS {
        at.key_problem("a list has at most 64 names");
    }
    let mut names = Names::default();
    for item in items {
        match item.text().map(rules::check_name) {
            Some(Ok(name)) if names.has(&name) => {
                item.problem("the name stands twice in the list; names are compared without case");
            }
            Some(Ok(name)) => names.listed.push((name, item)),
            Some(Err(refusal)) => {
                item.problem(refusal.to_string());
                names.broken = true;
            }
            None => names.broken = true,
        }
    }
    Some(names)
}

impl Names<'_> {
    fn has(&self, name: &HeaderName) -> bool {
        self.listed.iter().any(|(present, _)| present == name)
    }

    fn into_names(self) -> Vec<HeaderName> {
        self.listed.into_iter().map(|(name, _)| name).collect()
    }
}
