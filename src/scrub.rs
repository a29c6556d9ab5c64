//! Secret values in what MCP servers return: found in whatever form, and taken out.
//!
//! A server may give back what it was sent: in a result, in an error's text, in a challenge; quoted, encoded, or both.
//! Each header value is taken apart into the [`secrets`] that it holds, such as a token without its scheme. Each of
//! them may stand in a text in several [`form`]s, and each byte of a form in several spellings.
//!
//! All of them are looked for in one pass. An [`index`] has the first few bytes of every form in every spelling; where
//! a text has those, and there alone, it is compared with the whole form, which is spelled out meanwhile and stored
//! nowhere. So time hangs on the text's length and memory on the secrets', and on the number of forms neither does.
//!
//! What is found is taken out together with what overlaps or touches it. Two rules make that safe where secrets are made
//! to be awkward: a text that takes too long to compare, and one whose rest would make a secret again, go whole.
//!
//! Not found is what does not stand there whole and in one such form: a part of a secret, one with line breaks in it, one
//! that is encoded in another way or twice in different ones.

mod form;
mod index;
mod secrets;

use std::{borrow::Cow, mem, ops::Range};

use serde_json::{Map, Value};

use index::Index;

/// The shortest secret that is looked for, in bytes: shorter ones stand in many texts by chance. No form of one is shorter.
pub const MIN_BYTES: usize = 8;
/// What stands where a secret stood.
pub const REDACTED: &str = "[redacted]";

/// How much is compared for each byte of a text, in bytes, before it is given up. A text full of other tokens that begin
/// as a secret does takes less than ten; one of `aaaa…` with a secret of the same takes as many as the secret has.
const MAX_COMPARED_PER_BYTE: usize = 64;
/// How much is compared for any text, however short.
const MIN_COMPARED: usize = 64 * 1024;

/// Finds one identity's secret values. It holds them, so it has no `Debug`.
pub struct Scrubber {
    secrets: Vec<Vec<u8>>,
    index: Index,
    /// Whether a secret reads as a number, so that numbers have to be looked at.
    in_numbers: bool,
}

impl Scrubber {
    /// Takes whole header values, such as `Bearer abc…`. What is shorter than 8 bytes is not looked for.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut found = Vec::new();
        for value in values {
            secrets::take_apart(value, &mut found);
        }
        // They are in every text that was scrubbed.
        found.retain(|secret| !REDACTED.as_bytes().windows(secret.len()).any(|part| part == secret));
        found.sort_unstable();
        found.dedup();
        Self {
            index: Index::new(&found),
            in_numbers: found.iter().any(|secret| is_numeric(secret)),
            secrets: found,
        }
    }

    /// Whether there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }

    /// Whether a text, or what else is of bytes, holds a secret.
    pub fn finds(&self, content: impl AsRef<[u8]>) -> bool {
        let mut found = false;
        self.search(content.as_ref(), |_| {
            found = true;
            false
        });
        found
    }

    /// The text with [`REDACTED`] in place of each secret; the text itself where it holds none.
    pub fn scrub<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut spans = Vec::new();
        self.search(text.as_bytes(), |span| {
            // A secret need not be UTF-8, and may begin or end within a character of a text.
            add(&mut spans, text.floor_char_boundary(span.start)..text.ceil_char_boundary(span.end));
            true
        });
        if spans.is_empty() {
            return Cow::Borrowed(text);
        }
        let scrubbed = without(text, &spans);
        // What stood before and behind a secret, and what stands in its place, may be another.
        Cow::Owned(if self.finds(&scrubbed) { REDACTED.to_owned() } else { scrubbed })
    }

    /// Scrubs all strings of a JSON value, and its numbers: one that holds a secret becomes the string [`REDACTED`]. Of
    /// an object's names that become the same, the last one's value stays.
    pub fn scrub_json(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Cow::Owned(scrubbed) = self.scrub(text) {
                    *text = scrubbed;
                }
            }
            Value::Number(number) if self.in_numbers && self.finds(number.to_string()) => {
                *value = Value::from(REDACTED);
            }
            Value::Array(values) => values.iter_mut().for_each(|value| self.scrub_json(value)),
            Value::Object(members) => {
                members.values_mut().for_each(|value| self.scrub_json(value));
                self.scrub_names(members);
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn scrub_names(&self, members: &mut Map<String, Value>) {
        if members.keys().any(|name| self.finds(name)) {
            let named = mem::take(members).into_iter();
            *members = named.map(|(name, value)| (self.scrub(&name).into_owned(), value)).collect();
        }
    }

    /// Gives where secrets stand to `found`, in the order of their first bytes, until that says no.
    fn search(&self, bytes: &[u8], mut found: impl FnMut(Range<usize>) -> bool) {
        let mut left = (bytes.len() * MAX_COMPARED_PER_BYTE).max(MIN_COMPARED);
        for (at, secret, form) in self.index.candidates(bytes) {
            let secret = &self.secrets[secret];
            let compared = form.read(secret, &bytes[at..]);
            if let Ok(length) = compared
                && !found(form.extended(secret, bytes, at..at + length))
            {
                return;
            }
            left = left.saturating_sub(compared.unwrap_or_else(|differs| differs));
            if left == 0 {
                found(0..bytes.len());
                return;
            }
        }
    }
}

fn is_numeric(secret: &[u8]) -> bool {
    secret.iter().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(byte))
}

/// Adds a span that ends behind where the last one begins; those that overlap or touch become one.
fn add(spans: &mut Vec<Range<usize>>, mut span: Range<usize>) {
    while let Some(last) = spans.pop_if(|last| span.start <= last.end) {
        span = last.start.min(span.start)..last.end.max(span.end);
    }
    spans.push(span);
}

fn without(text: &str, spans: &[Range<usize>]) -> String {
    let mut rest = String::with_capacity(text.len());
    let mut end = 0;
    for span in spans {
        rest.push_str(&text[end..span.start]);
        rest.push_str(REDACTED);
        end = span.end;
    }
    rest.push_str(&text[end..]);
    rest
}

#[cfg(test)]
mod tests;
