//! One line of an event stream.

use sse_stream::Sse;

/// What a stream may begin with.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Whether a line says nothing.
pub(super) fn is_comment(line: &[u8]) -> bool {
    line.first() == Some(&b':')
}

/// Adds what a line says to its event; `None`: the line is malformed.
pub(super) fn read(line: &[u8], event: &mut Option<Sse>) -> Option<()> {
    let colon = memchr::memchr(b':', line)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let value = std::str::from_utf8(value.strip_prefix(b" ").unwrap_or(value)).ok()?;
    match name {
        b"data" => add_data(&mut event.get_or_insert_default().data, value),
        b"event" => set_once(&mut event.get_or_insert_default().event, value.to_owned())?,
        // The specification has such an id ignored.
        b"id" if value.contains('\0') => {}
        b"id" => set_once(&mut event.get_or_insert_default().id, value.to_owned())?,
        b"retry" => set_once(&mut event.get_or_insert_default().retry, value.trim_ascii().parse().ok()?)?,
        _ => return None,
    }
    Some(())
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

/// `None`: the field stands twice.
fn set_once<T>(field: &mut Option<T>, value: T) -> Option<()> {
    field.replace(value).is_none().then_some(())
}
