//! One line of an event stream, as the specification interprets it: what it does not know it ignores.

use std::borrow::Cow;

use sse_stream::Sse;

/// What a stream may begin with.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Adds what a line says to its event. `false`: it says nothing, as a comment, whose field has no name.
pub(super) fn read(line: &[u8], event: &mut Option<Sse>) -> bool {
    let (name, value) = match memchr::memchr(b':', line) {
        Some(colon) => (&line[..colon], &line[colon + 1..]),
        None => (line, &b""[..]),
    };
    let value = value.strip_prefix(b" ").unwrap_or(value);
    // To look for what is no UTF-8, and where, takes ten times as long as to see that there is nothing.
    let value = str::from_utf8(value).map_or_else(|_| String::from_utf8_lossy(value), Cow::Borrowed);
    match name {
        b"data" => add_data(&mut event.get_or_insert_default().data, &value),
        b"event" => event.get_or_insert_default().event = Some(value.into_owned()),
        b"id" if !value.contains('\0') => event.get_or_insert_default().id = Some(value.into_owned()),
        b"retry" => match milliseconds(&value) {
            Some(retry) => event.get_or_insert_default().retry = Some(retry),
            None => return false,
        },
        _ => return false,
    }
    true
}

fn add_data(data: &mut Option<String>, line: &str) {
    match data {
        Some(data) => {
            data.push('\n');
            data.push_str(line);
        }
        None => *data = Some(line.to_owned()),
    }
}

/// A number as it is in the specification: digits, and nothing else.
fn milliseconds(value: &str) -> Option<u64> {
    value.bytes().all(|byte| byte.is_ascii_digit()).then(|| value.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What lines say together: event, data, id and retry.
    fn said(lines: &[&[u8]]) -> (Option<String>, Option<String>, Option<String>, Option<u64>) {
        let mut event = None;
        for line in lines {
            read(line, &mut event);
        }
        let Sse { event, data, id, retry } = event.unwrap_or_default();
        (event, data, id, retry)
    }

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn fields_are_read_with_one_space_less() {
        let lines: [&[u8]; 4] = [b"event: add", b"data:  two", b"id:7", b"retry: 10"];
        assert_eq!(said(&lines), (text("add"), text(" two"), text("7"), Some(10)));
    }

    #[test]
    fn a_line_without_a_colon_is_a_field_without_a_value() {
        assert_eq!(
            said(&[b"data", b"data", b"id", b"event", b"retry"]),
            (text(""), text("\n"), text(""), None)
        );
    }

    #[test]
    fn the_last_of_a_field_counts_but_data_adds_up() {
        let lines: [&[u8]; 8] =
            [b"id: 1", b"id: 2", b"event: a", b"event: b", b"retry: 1", b"retry: 2", b"data: x", b"data: y"];
        assert_eq!(said(&lines), (text("b"), text("x\ny"), text("2"), Some(2)));
    }

    #[test]
    fn what_the_specification_does_not_know_is_ignored() {
        let ignored: [&[u8]; 10] = [
            b": comment",
            b"nonsense",
            b"nonsense: 1",
            b"Data: 1",
            b" data: 1",
            b"id: a\0b",
            b"retry: soon",
            b"retry: -1",
            b"retry: 1 ",
            b"retry: 99999999999999999999999",
        ];
        for line in ignored {
            let mut event = None;
            assert!(!read(line, &mut event) && event.is_none(), "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn bytes_that_are_no_utf_8_are_replaced() {
        assert_eq!(said(&[b"data: a\xFFb", b"id: \xC3"]), (None, text("a\u{FFFD}b"), text("\u{FFFD}"), None));
    }
}
