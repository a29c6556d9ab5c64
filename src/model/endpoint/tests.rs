use http::HeaderName;

use super::*;
use crate::{
    credential::Source,
    headers::{Header, HeaderSet, SecretValue},
    id::RequestId,
    model::{
        asked::Asked,
        loopback::{self, Loopback},
    },
    trace::TraceHeaders,
};

static FIXED: [(HeaderName, HeaderValue); 2] = [
    (HeaderName::from_static("x-version"), HeaderValue::from_static("fixed")),
    (HeaderName::from_static("x-beta"), HeaderValue::from_static("fixed")),
];

/// An endpoint with two headers of the provider's and these registered ones.
fn endpoint(base_url: &str, registered: &[(&'static str, &str)]) -> Endpoint {
    let source = |(name, value): &(&'static str, &str)| (*name, Source::fixed(value).unwrap());
    let registered: Vec<_> = registered.iter().map(source).collect();
    let (Config { base_url, headers, .. }, client) = loopback::endpoint(base_url, &registered);
    Endpoint::new(base_url, "/ask", &FIXED, headers, client).unwrap()
}

/// A question whose caller brings these headers and takes away these names.
fn asked<'a>(
    headers: impl IntoIterator<Item = (&'a str, &'a str)>,
    remove: impl IntoIterator<Item = &'a str>,
) -> Asked {
    let (headers, problems) = HeaderSet::parse(headers, remove);
    assert_eq!(problems, []);
    Asked { headers, ..Asked::saying("hi") }
}

/// What goes out under some names; `""` where there is nothing.
fn sent<const N: usize>(endpoint: &Endpoint, asked: &Asked, names: [&str; N]) -> [String; N] {
    let headers = endpoint.headers(&asked.request(), false);
    names.map(|name| {
        let values: Vec<_> = headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect();
        values.join(", ")
    })
}

#[tokio::test]
async fn all_that_is_registered_and_brought_arrives() {
    let mut server = Loopback::answering(200, &[], "").await;
    let endpoint = endpoint(&server.base_url, &[("authorization", "Bearer key"), ("x-team", "a")]);
    let asked = asked([("X-User", "alice")], []);
    let sent = endpoint.send(&asked.request(), b"{}".to_vec(), false).await;
    assert!(sent.is_ok());
    let seen = server.seen.recv().await.unwrap().headers;
    for (name, value) in [
        ("authorization", "Bearer key"),
        ("x-team", "a"),
        ("x-user", "alice"),
        ("x-version", "fixed"),
        ("content-type", "application/json"),
        ("x-request-id", "request-1"),
    ] {
        assert_eq!(seen.get_all(name).iter().collect::<Vec<_>>(), [value], "{name}");
    }
}

#[tokio::test]
async fn a_byte_order_mark_is_no_part_of_an_answer() {
    for (body, expected) in [("\u{FEFF}{}", "{}"), ("{}\u{FEFF}", "{}\u{FEFF}"), ("\u{FEFF}", ""), ("", "")] {
        let server = Loopback::answering(200, &[], body).await;
        let asked = asked([], []);
        let answering = endpoint(&server.base_url, &[]).send(&asked.request(), b"{}".to_vec(), false).await;
        let Ok(Answering { response, .. }) = answering else { panic!("{body}") };
        assert_eq!(read(response).await.unwrap(), expected);
    }
}

#[test]
fn each_layer_is_above_the_one_before() {
    let names = ["x-version", "x-team", "authorization"];
    let base = "http://127.0.0.1:9";
    let bare = endpoint(base, &[]);
    let nothing = asked([], []);
    assert_eq!(sent(&bare, &nothing, names), ["fixed", "", ""]);
    let registered =
        endpoint(base, &[("x-version", "registered"), ("x-team", "a"), ("authorization", "Bearer key")]);
    assert_eq!(sent(&registered, &nothing, names), ["registered", "a", "Bearer key"]);
    let theirs = asked([("X-Version", "2"), ("X-Team", "b"), ("Authorization", "Bearer own")], []);
    assert_eq!(sent(&registered, &theirs, names), ["2", "b", "Bearer own"]);
    assert_eq!(sent(&bare, &theirs, names), ["2", "b", "Bearer own"]);
    let without = asked([], ["X-Version", "x-team", "AUTHORIZATION", "x-none"]);
    assert_eq!(sent(&registered, &without, names), ["", "", ""]);
    // Nothing else is touched.
    assert_eq!(sent(&registered, &without, ["x-beta", "content-type"]), ["fixed", "application/json"]);
}

#[test]
fn values_stay_marked_as_secret() {
    let endpoint = endpoint("http://127.0.0.1:9", &[("authorization", "Bearer key"), ("x-team", "a")]);
    let headers = endpoint.headers(&asked([("x-user", "alice")], []).request(), false);
    for name in ["authorization", "x-team", "x-user"] {
        assert!(headers[name].is_sensitive(), "{name}");
    }
}

#[test]
fn the_ids_are_the_services_own() {
    let names = ["x-request-id", "traceparent", "tracestate"];
    // Neither a configuration nor a request may have such names; were one to, the ids would win.
    let others = names.map(|name| Header {
        name: HeaderName::from_static(name),
        value: SecretValue::parse("theirs").unwrap(),
        secret: false,
    });
    let mut asked = Asked { headers: HeaderSet::from_checked(others), ..Asked::saying("hi") };
    asked.outgoing.request_id = RequestId::parse("request-7").unwrap();
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    asked.outgoing.trace = TraceHeaders {
        traceparent: Some(traceparent.to_owned()),
        tracestate: Some("vendor=1".to_owned()),
        ..TraceHeaders::default()
    };
    let endpoint = endpoint("http://127.0.0.1:9", &names.map(|name| (name, "registered")));
    assert_eq!(sent(&endpoint, &asked, names), ["request-7", traceparent, "vendor=1"]);
    let (_, problems) = HeaderSet::parse(names.map(|name| (name, "theirs")), []);
    assert_eq!(problems.len(), names.len());
}
