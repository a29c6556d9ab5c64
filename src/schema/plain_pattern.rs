//! Common patterns in other words: such as can be matched in linear time, and little memory, and mean the same.
//!
//! A lookahead at the very beginning is a pattern of its own: `^(?=.*\d)(?!admin)\w+$` is `^\w+$`, and `^.*\d`, and not
//! `^admin`. And how often one character may stand for the whole text is the text's length: `^.{1,5000}$` is `^.*$` of 1
//! to 5,000 characters.

use std::iter;

use serde_json::{Value, json};

/// The most lookaheads of a pattern.
const MAX_LOOKAHEADS: usize = 16;

/// A pattern, and schemas that apply beside it; none where it can't be put in other words here.
pub(super) fn of(pattern: &str) -> Option<(String, Vec<Value>)> {
    let mut rest = pattern.strip_prefix('^')?;
    // An alternative has a beginning of its own.
    if tops(rest).any(|(_, c)| c == '|') {
        return None;
    }
    let mut beside = Vec::new();
    while let Some((is_there, inner, behind)) = lookahead(rest) {
        let begins = json!({ "pattern": format!("^(?:{inner})") });
        beside.push(if is_there { begins } else { json!({ "not": begins }) });
        rest = behind;
        if beside.len() > MAX_LOOKAHEADS || rest.starts_with(['*', '+', '?', '{']) {
            return None;
        }
    }
    if let Some((character, least, most)) = repeated(rest) {
        beside.push(match most {
            Some(most) => json!({ "minLength": least, "maxLength": most }),
            None => json!({ "minLength": least }),
        });
        return Some((format!("^{character}*$"), beside));
    }
    (!beside.is_empty()).then(|| (format!("^{rest}"), beside))
}

/// The lookahead with which a pattern begins: whether it is a positive one, what is in it, and what is behind it.
fn lookahead(pattern: &str) -> Option<(bool, &str, &str)> {
    let is_there = pattern.starts_with("(?=");
    if !is_there && !pattern.starts_with("(?!") {
        return None;
    }
    let (end, _) = tops(pattern).find(|(_, c)| *c == ')')?;
    Some((is_there, &pattern[3..end], &pattern[end + 1..]))
}

/// One character, as a pattern, that is all the pattern, with the least and the most of it: `.{1,5000}$`.
fn repeated(pattern: &str) -> Option<(&str, u64, Option<u64>)> {
    let (character, count) = pattern.strip_suffix("}$")?.rsplit_once('{')?;
    let number = |text: &str| text.bytes().all(|c| c.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    let (least, most) = match count.split_once(',') {
        None => (number(count)?, Some(number(count)?)),
        Some((least, "")) => (number(least)?, None),
        Some((least, most)) => (number(least)?, Some(number(most)?)),
    };
    let is_meant = is_character(character) && most.is_none_or(|most| least <= most);
    is_meant.then_some((character, least, most))
}

/// Whether a pattern is one character: `.`, a class, or an escape.
fn is_character(pattern: &str) -> bool {
    let end = |c: char| tops(pattern).find(|(_, top)| *top == c).map(|(at, _)| at + 1);
    match pattern.as_bytes() {
        b"." => true,
        [b'\\', escaped] => matches!(escaped, b'd' | b'D' | b's' | b'S' | b'w' | b'W'),
        [b'\\', b'p' | b'P', b'{', inner @ .., b'}'] => {
            inner.iter().all(|c| c.is_ascii_alphanumeric() || b"_=".contains(c))
        }
        // An empty one means another thing to each engine.
        [b'[', b']', ..] | [b'[', b'^', b']', ..] => false,
        [b'[', ..] => end(']') == Some(pattern.len()),
        _ => false,
    }
}

/// A pattern's characters that stand in no group and no class and are not escaped, each with its place; the `)` and the `]`
/// at which the outermost ones end are among them.
fn tops(pattern: &str) -> impl Iterator<Item = (usize, char)> {
    let mut characters = pattern.char_indices();
    let (mut depth, mut in_class) = (0_usize, false);
    iter::from_fn(move || {
        loop {
            let (at, c) = characters.next()?;
            let was_inside = depth > 0 || in_class;
            match c {
                '\\' => drop(characters.next()),
                '[' => in_class = true,
                ']' if in_class => in_class = false,
                '(' if !in_class => depth += 1,
                ')' if !in_class => depth = depth.saturating_sub(1),
                _ if was_inside => {}
                _ => return Some((at, c)),
            }
            let ends = matches!(c, ']' | ')') && depth == 0 && !in_class;
            if ends && was_inside {
                return Some((at, c));
            }
        }
    })
}
