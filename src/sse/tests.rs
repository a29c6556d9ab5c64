use std::io;

use futures_util::{FutureExt, StreamExt, stream};
use proptest::prelude::*;

use super::*;

/// Event, data, id and retry.
type Fields = (Option<String>, Option<String>, Option<String>, Option<u64>);

async fn read(chunks: &[&[u8]], max: usize) -> Vec<Result<String, String>> {
    let chunks: Vec<_> = chunks.iter().map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    read_all(chunks, max).await
}

async fn read_all(chunks: Vec<Result<Bytes, io::Error>>, max: usize) -> Vec<Result<String, String>> {
    let events = read_fields(chunks, max).await;
    events.into_iter().map(|event| event.map(|(_, data, ..)| data.unwrap_or_default())).collect()
}

async fn read_fields(chunks: Vec<Result<Bytes, io::Error>>, max: usize) -> Vec<Result<Fields, String>> {
    let fields = |Sse { event, data, id, retry }| (event, data, id, retry);
    events(stream::iter(chunks), max).map(|event| event.map(fields).map_err(name)).collect().await
}

fn name(error: Error<io::Error>) -> String {
    match error {
        Error::TooLarge => "too large".to_owned(),
        Error::Body(error) => error.to_string(),
    }
}

fn ok(data: &str) -> Result<String, String> {
    Ok(data.to_owned())
}

fn err(name: &str) -> Result<String, String> {
    Err(name.to_owned())
}

#[tokio::test]
async fn events_are_read_whatever_their_line_ends_and_chunks() {
    for end in ["\n", "\r\n", "\r"] {
        let text = format!(": hello{end}data: a{end}{end}{end}data:b{end}data:c{end}{end}");
        let expected = vec![ok("a"), ok("b\nc")];
        assert_eq!(read(&[text.as_bytes()], 64).await, expected, "{end:?} in one chunk");
        let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(read(&bytes, 64).await, expected, "{end:?} byte by byte");
    }
}

#[tokio::test]
async fn an_event_may_be_exactly_as_large_as_allowed() {
    assert_eq!(read(&[b"data: 1234\n\ndata: 1234\n\n"], 10).await, [ok("1234"), ok("1234")]);
    assert_eq!(read(&[b"data: 1234\n\ndata: 12345\n\n"], 10).await, [ok("1234"), err("too large")]);
    assert_eq!(read(&[b"data: 1\ndata: 2\n\n"], 13).await, [err("too large")]);
}

#[tokio::test]
async fn a_line_without_end_is_too_large_even_as_a_comment() {
    assert_eq!(read(&[b"data: 12", b"34", b"5"], 10).await, [err("too large")]);
    assert_eq!(read(&[b": 345678", b"90", b"1"], 10).await, [err("too large")]);
}

#[tokio::test]
async fn comments_go_on_for_ever() {
    let mut chunks: Vec<&[u8]> = vec![b"data: 1\r\n"];
    chunks.resize(10_000, b": still here\r\n");
    chunks.push(b"\r\n");
    assert_eq!(read(&chunks, 20).await, [ok("1")]);
}

#[tokio::test]
async fn what_says_nothing_is_no_event_and_goes_on_for_ever() {
    let text = format!("data: 1\n{}\nnonsense\n\ndata: 2\n\n", "nonsense: 1\nnonsense\nid: \0\n".repeat(100));
    assert_eq!(read(&[text.as_bytes()], 20).await, [ok("1"), ok("2")]);
}

#[tokio::test]
async fn an_error_comes_after_the_events_before_it_and_ends_the_stream() {
    let chunks = vec![
        Ok(Bytes::from_static(b"data: 1\n\ndata: 2")),
        Err(io::Error::other("reset")),
        Ok(Bytes::from_static(b"\n\n")),
    ];
    assert_eq!(read_all(chunks, 64).await, [ok("1"), err("reset")]);
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[tokio::test]
async fn the_last_of_a_field_counts_but_data_adds_up() {
    let body = "id: 1\nid: 2\nevent: a\nevent: b\nretry: 1\nretry: 2\ndata: x\ndata: y\ndata\n\ndata: z\n\n";
    let expected = [Ok((text("b"), text("x\ny\n"), text("2"), Some(2))), Ok((None, text("z"), None, None))];
    assert_eq!(read_fields(vec![Ok(Bytes::from(body))], 100).await, expected);
}

#[tokio::test]
async fn an_event_needs_no_data() {
    let expected = [
        Ok((None, None, None, Some(5))),
        Ok((None, None, text(""), None)),
        Ok((text("a"), None, None, None)),
    ];
    assert_eq!(read_fields(vec![Ok(Bytes::from("retry: 5\n\nid\n\nevent: a\n\n"))], 100).await, expected);
}

#[tokio::test]
async fn bytes_that_are_no_utf_8_are_replaced() {
    let chunks = vec![Ok(Bytes::from_static(b"data: a\xFFb\ndata: \xE2\x82\ndata: \xAC\nid: \xC3\n\n"))];
    let expected = [Ok((None, text("a\u{FFFD}b\n\u{FFFD}\n\u{FFFD}"), text("\u{FFFD}"), None))];
    assert_eq!(read_fields(chunks, 100).await, expected);
}

/// What a body's bytes come to when they arrive in pieces of these sizes, one after the other, and the rest at once.
fn read_in_pieces(mut bytes: &[u8], sizes: &[usize]) -> Vec<Result<Fields, String>> {
    let mut chunks = Vec::new();
    for size in sizes {
        let (piece, rest) = bytes.split_at((*size).min(bytes.len()));
        chunks.push(Ok(Bytes::copy_from_slice(piece)));
        bytes = rest;
    }
    chunks.push(Ok(Bytes::copy_from_slice(bytes)));
    read_fields(chunks, 64).now_or_never().unwrap()
}

proptest! {
    #[test]
    fn how_bytes_are_cut_into_chunks_changes_nothing(
        lines in prop::collection::vec("(data|id|event|retry|x|)(:| : |)[a-z:\\u{e9} ]{0,40}(\n|\r|\r\n|\n\n|\r\n\r\n)", 0..12),
        sizes in prop::collection::vec(0_usize..24, 0..40),
    ) {
        let body = lines.concat();
        prop_assert_eq!(read_in_pieces(body.as_bytes(), &sizes), read_in_pieces(body.as_bytes(), &[]));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic_and_nothing_that_is_kept_is_over_the_bound(
        bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b':'), any::<u8>()], 0..400),
        sizes in prop::collection::vec(0_usize..24, 0..40),
    ) {
        for (event, data, id, _) in read_in_pieces(&bytes, &sizes).into_iter().flatten() {
            // A byte that is no UTF-8 is replaced by three.
            prop_assert!([event, data, id].into_iter().flatten().map(|text| text.len()).sum::<usize>() <= 3 * 64);
        }
    }

    #[test]
    fn what_is_written_as_data_is_read(texts in prop::collection::vec("[^\r\n]{1,20}(\n[^\r\n]{1,20}){0,1}", 1..6)) {
        let body: String = texts
            .iter()
            .map(|text| text.split('\n').map(|line| format!("data: {line}\n")).collect::<String>() + "\n")
            .collect();
        let expected: Vec<_> = texts.iter().map(|text| ok(text)).collect();
        let events = events(stream::iter([Ok::<_, io::Error>(Bytes::from(body))]), 1024);
        let read: Vec<_> = events.map(|e| e.map(|sse| sse.data.unwrap_or_default()).map_err(name)).collect().now_or_never().unwrap();
        prop_assert_eq!(read, expected);
    }
}
