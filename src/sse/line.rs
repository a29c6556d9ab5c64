//! One line of an event stream, as the specification interprets it: what it does not know it ignores.

/// What a stream may begin with.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// What a line says to its event. A value is what the line ends with.
#[derive(Debug, PartialEq)]
pub(super) enum Field<'a> {
    Data(&'a [u8]),
    Name(&'a [u8]),
    Id(&'a [u8]),
    /// Milliseconds.
    Retry(u64),
}

/// Reads a line. `None`: it says nothing, as a comment, whose field has no name.
pub(super) fn read(line: &[u8]) -> Option<Field<'_>> {
    let (name, value) = match memchr::memchr(b':', line) {
        Some(colon) => (&line[..colon], &line[colon + 1..]),
        None => (line, &line[line.len()..]),
    };
    let value = value.strip_prefix(b" ").unwrap_or(value);
    match name {
        b"data" => Some(Field::Data(value)),
        b"event" => Some(Field::Name(value)),
        b"id" => (!value.contains(&b'\0')).then_some(Field::Id(value)),
        b"retry" => milliseconds(value).map(Field::Retry),
        _ => None,
    }
}

/// A number as it is in the specification: digits, and nothing else.
fn milliseconds(value: &[u8]) -> Option<u64> {
    let digits = str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_with_one_space_less() {
        assert_eq!(read(b"event: add"), Some(Field::Name(b"add")));
        assert_eq!(read(b"data:  two"), Some(Field::Data(b" two")));
        assert_eq!(read(b"id:7"), Some(Field::Id(b"7")));
        assert_eq!(read(b"retry: 10"), Some(Field::Retry(10)));
    }

    #[test]
    fn a_line_without_a_colon_is_a_field_without_a_value() {
        assert_eq!(read(b"data"), Some(Field::Data(b"")));
        assert_eq!(read(b"id"), Some(Field::Id(b"")));
        assert_eq!(read(b"event"), Some(Field::Name(b"")));
        assert_eq!(read(b"retry"), None);
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
            assert_eq!(read(line), None, "{}", String::from_utf8_lossy(line));
        }
    }
}
