//! The chunk that a streamed answer mostly consists of.
//!
//! A server says a word in a chunk of some hundred bytes, and from one chunk to the next only the word differs. To read
//! them all as JSON is what takes longest of a streamed run. So of a chunk that has been read, and that said a text and
//! nothing else, what stands before the text and behind it is kept; a chunk that begins and ends so, and between has
//! nothing but characters that stand for themselves, says what stands there.

use super::{answer::Chunk, assembly::Assembly};

/// How often the usual chunk must have come for another one to be looked at.
const WORTH: usize = 4;
/// Stands in the text's place, to see whether it is the text's place.
const PROBE: &str = "the text's place";

/// What all chunks of an answer have alike that say a text and nothing else.
#[derive(Default)]
pub(super) struct Usual {
    before: Box<str>,
    behind: Box<str>,
    /// How often it was looked for.
    sought: usize,
    /// How often it came.
    came: usize,
}

impl Usual {
    /// The text of a chunk; `None`: it is another kind of chunk.
    pub(super) fn text<'a>(&mut self, chunk: &'a str) -> Option<&'a str> {
        if self.before.is_empty() {
            return None;
        }
        let text = chunk.strip_prefix(&*self.before)?.strip_suffix(&*self.behind)?;
        let is_text = !text.is_empty() && is_plain(text);
        self.came += usize::from(is_text);
        is_text.then_some(text)
    }

    /// Looks at a chunk that was read, and said this text.
    pub(super) fn look_at(&mut self, chunk: &str, text: &str) {
        // Some servers fill each chunk up with something else; then there is no usual one.
        if self.came + WORTH < self.sought * WORTH || text.is_empty() || !is_plain(text) {
            return;
        }
        self.sought += 1;
        let Some(at) = chunk.rfind(&format!("\"{text}\"")) else { return };
        let (before, rest) = chunk.split_at(at + 1);
        let behind = &rest[text.len()..];
        if says(&format!("{before}{PROBE}{behind}"), PROBE) {
            (self.before, self.behind) = (before.into(), behind.into());
        }
    }
}

/// Whether a chunk says this text and nothing else.
fn says(chunk: &str, text: &str) -> bool {
    let Ok(chunk) = serde_json::from_str::<Chunk<'_>>(chunk) else { return false };
    let mut assembly = Assembly::default();
    let Ok(shown) = assembly.add(chunk) else { return false };
    shown.reasoning.is_empty() && assembly.is_text_alone() && shown.text == text
}

/// Whether a text stands for itself in a JSON string.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\')
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn chunk(content: &str) -> String {
        json!({ "id": "c", "choices": [{ "delta": { "content": content }, "finish_reason": null }] })
            .to_string()
    }

    /// What is told of chunks, the second after the first was looked at.
    fn after(first: &str, text: &str, second: &str) -> Option<String> {
        let mut usual = Usual::default();
        assert_eq!(usual.text(first), None);
        usual.look_at(first, text);
        usual.text(second).map(str::to_owned)
    }

    #[test]
    fn a_chunk_that_differs_in_its_text_alone_is_told() {
        for text in ["word ", "ein Wört", "日本", "'{}[],:", "c"] {
            assert_eq!(after(&chunk("first"), "first", &chunk(text)).as_deref(), Some(text));
            assert_eq!(after(&chunk(text), text, &chunk("second")).as_deref(), Some("second"));
        }
    }

    #[test]
    fn what_does_not_stand_for_itself_is_read() {
        for text in ["", "a\nb", "a\"b", "a\\b", "\u{1}"] {
            assert_eq!(after(&chunk("first"), "first", &chunk(text)), None, "{text:?}");
            assert_eq!(after(&chunk(text), text, &chunk("second")), None, "{text:?}");
        }
        let injected =
            chunk("first").replace("first", "a\"},\"finish_reason\":\"length\"},{\"delta\":{\"content\":\"b");
        assert_eq!(after(&chunk("first"), "first", &injected), None);
    }

    #[test]
    fn a_chunk_that_says_more_than_text_is_not_the_usual_one() {
        let base: Value = serde_json::from_str(&chunk("first")).unwrap();
        let more = [
            ("/choices/0/finish_reason", json!("stop")),
            ("/choices/0/delta", json!({ "content": "first", "reasoning": "because" })),
            ("/choices/0/delta", json!({ "content": "", "refusal": "first" })),
            (
                "/choices/0/delta",
                json!({ "content": [{ "text": "fir" }, { "text": "st" }], "name": "first" }),
            ),
            (
                "/choices/0/delta",
                json!({ "content": "first", "tool_calls": [{ "function": { "name": "t" } }] }),
            ),
        ];
        for (place, what) in more {
            let mut first = base.clone();
            *first.pointer_mut(place).unwrap() = what;
            let first = first.to_string();
            assert_eq!(after(&first, "first", &first.replace("first", "second")), None, "{first}");
        }
        let first = chunk("first").replace("\"id\":\"c\"", "\"usage\":{\"total_tokens\":1}");
        assert_eq!(after(&first, "first", &first.replace("first", "second")), None);
    }

    #[test]
    fn where_no_chunk_is_like_another_it_is_not_looked_for_for_ever() {
        let mut usual = Usual::default();
        for number in 0..100 {
            let chunk = chunk("word").replace("\"c\"", &format!("\"{number}\""));
            assert_eq!(usual.text(&chunk), None);
            usual.look_at(&chunk, "word");
        }
        assert_eq!(usual.sought, 2);
    }
}
