//! Headers that are refused: all of DESIGN's closed table, by form, by name and by size, before anything is asked of
//! anybody; and what is allowed arrives as it was given.

use runwright::grpc::proto::{HeaderSet, ListToolsRequest, RunRequest};
use tonic::{Code, Status};

use crate::support::{
    error::{Decoded, decode},
    headers,
    mcp_server::{Era, McpServer},
    model_server::{ModelServer, says},
    run_with,
    service::Service,
};

/// Part of every value that is refused; no answer may hold it.
const CANARY: &str = "canary-4b1d07";

/// Names that may never be set, one of each kind and more of the prefixes.
const RESERVED: [&str; 42] = [
    "Host",
    "Connection",
    "Keep-Alive",
    "Proxy-Authorization",
    "Proxy-Connection",
    "Proxy-Anything",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "Expect",
    "Content-Type",
    "Content-Length",
    "Content-Encoding",
    "Content-Anything",
    "Accept",
    "Accept-Encoding",
    "Accept-Anything",
    "Acceptable",
    "Range",
    "If-Match",
    "If-None-Match",
    "If-Anything",
    "Via",
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Anything",
    "User-Agent",
    "Last-Event-Id",
    "Mcp-Session-Id",
    "Mcp-Protocol-Version",
    "Mcp-Method",
    "Mcp-Anything",
    "Sec-Fetch-Site",
    "Sec-Anything",
    "traceparent",
    "tracestate",
    "baggage",
    "X-Request-Id",
    // HTTP/2's own: no name of a header at all.
    ":authority",
    ":path",
];

/// A service with agent `one`, which has server `crm`, and agent `two`, which has `wiki`, too. Nobody has `spare`.
struct World {
    model: ModelServer,
    crm: McpServer,
    wiki: McpServer,
    service: Service,
}

impl World {
    async fn start() -> Self {
        let model = ModelServer::start(|_| async { says("done") }).await;
        let (crm, wiki) = (McpServer::start(Era::Modern).await, McpServer::start(Era::Modern).await);
        let yaml = format!(
            r#"
models: {{ main: {{ provider: openai_chat, base_url: "{}", model: m-1 }} }}
mcp_servers: {{ crm: {{ url: "{}" }}, wiki: {{ url: "{}" }}, spare: {{ url: "http://127.0.0.1:9/mcp" }} }}
agents:
  one: {{ model: main, mcp_servers: [crm] }}
  two: {{ model: main, mcp_servers: [crm, wiki] }}
"#,
            model.base_url(),
            crm.url(),
            wiki.url()
        );
        Self { service: Service::start(&yaml).await, model, crm, wiki }
    }

    /// A run that is refused: nothing has run.
    async fn refused(&self, request: RunRequest) -> (Status, Decoded) {
        let status = self.service.run(request).await.unwrap_err();
        self.check(status)
    }

    fn check(&self, status: Status) -> (Status, Decoded) {
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        let decoded = decode(&status);
        assert_eq!(decoded.metadata["admitted"], "false");
        assert!(status.metadata().get("grpc-retry-pushback-ms").is_none());
        assert!(decoded.violations().iter().all(|violation| !violation.reason.is_empty()));
        assert!(!format!("{status:?} {decoded:?}").contains(CANARY), "{status:?}");
        assert!(!String::from_utf8_lossy(status.details()).contains(CANARY), "{status:?}");
        assert!(self.crm.seen().is_empty() && self.wiki.seen().is_empty(), "an MCP server was asked");
        assert!(self.model.seen().is_empty(), "the model was asked");
        (status, decoded)
    }

    /// A set that is refused for one reason, wherever it stands; the field that is named ends as given.
    async fn refused_everywhere(&self, set: &HeaderSet, field: &str) {
        for (request, place) in both_places(set) {
            let (status, decoded) = self.refused(request).await;
            assert_eq!(decoded.reason, "INVALID_REQUEST");
            assert_eq!(decoded.fields(), [format!("{place}{field}")], "{status:?}");
            assert!(status.message().contains(place), "{status:?}");
        }
    }
}

/// A run of agent `one` with a set in each place that takes one.
fn both_places(set: &HeaderSet) -> [(RunRequest, &'static str); 2] {
    let all = RunRequest { mcp_headers: Some(set.clone()), ..run_with("one", []) };
    [(run_with("one", [("crm", set.clone())]), "per_run_mcp_headers[\"crm\"]"), (all, "mcp_headers")]
}

/// A name with every other letter in the other case.
fn odd_case(name: &str) -> String {
    let letter = |(at, letter): (usize, char)| match at % 2 {
        0 => letter.to_ascii_lowercase(),
        _ => letter.to_ascii_uppercase(),
    };
    name.chars().enumerate().map(letter).collect()
}

fn removing<const N: usize>(set: HeaderSet, names: [&str; N]) -> HeaderSet {
    HeaderSet { remove: names.map(str::to_owned).into(), ..set }
}

#[tokio::test]
async fn a_value_of_a_wrong_form_is_refused() {
    let world = World::start().await;
    world.refused_everywhere(&headers([("x-a", "")]), ".headers[\"x-a\"]").await;
    for (before, after) in [
        ("", "\r"),
        ("", "\n"),
        ("", "\r\nX-Injected: 1"),
        ("", "\0"),
        ("", "\t"),
        ("a\tb", ""),
        ("", "\u{1b}"),
        ("", "\u{7f}"),
        ("", "é"),
        ("", "\u{a0}"),
        ("", "🦀"),
        (" ", ""),
        ("", " "),
    ] {
        let value = format!("{before}{CANARY}{after}");
        world.refused_everywhere(&headers([("x-a", &value)]), ".headers[\"x-a\"]").await;
    }
}

#[tokio::test]
async fn a_name_of_a_wrong_form_is_refused() {
    let world = World::start().await;
    for (name, shown) in [
        ("", ""),
        ("x a", "x a"),
        // What follows may be a value that slipped into the name.
        ("x-a: Bearer canary", "x-a"),
        ("x-a=canary", "x-a"),
        ("x\na", "x"),
        ("x\0a", "x\\0a"),
        ("x\"a", "x\\\"a"),
        ("x(a)", "x(a)"),
        ("xé", "xé"),
        ("x-a ", "x-a "),
    ] {
        let set = headers([(name, CANARY)]);
        world.refused_everywhere(&set, &format!(".headers[\"{shown}\"]")).await;
        let set = removing(HeaderSet::default(), [name]);
        world.refused_everywhere(&set, &format!(".remove[\"{shown}\"]")).await;
    }
}

#[tokio::test]
async fn a_name_stands_once() {
    let world = World::start().await;
    let twice = headers([("Authorization", CANARY), ("authorization", "other")]);
    world.refused_everywhere(&twice, ".headers[\"authorization\"]").await;
    for removed in ["x-a", "X-A"] {
        let set = removing(headers([("x-a", CANARY)]), [removed]);
        world.refused_everywhere(&set, &format!(".remove[\"{removed}\"]")).await;
    }
}

#[tokio::test]
async fn a_reserved_name_is_refused_in_any_case() {
    let world = World::start().await;
    for name in RESERVED {
        for name in [name.to_owned(), name.to_lowercase(), name.to_uppercase(), odd_case(name)] {
            world.refused_everywhere(&headers([(&name, CANARY)]), &format!(".headers[\"{name}\"]")).await;
            let set = removing(HeaderSet::default(), [&*name]);
            world.refused_everywhere(&set, &format!(".remove[\"{name}\"]")).await;
        }
    }
}

#[tokio::test]
async fn what_is_over_a_size_is_refused() {
    let world = World::start().await;
    let name = "n".repeat(257);
    world
        .refused_everywhere(&headers([(&name, CANARY)]), &format!(".headers[\"{}…\"]", "n".repeat(64)))
        .await;
    let value = format!("{CANARY}{}", "v".repeat(16 * 1024 + 1 - CANARY.len()));
    world.refused_everywhere(&headers([("x-a", &value)]), ".headers[\"x-a\"]").await;
    world.refused_everywhere(&many(65), "").await;

    // The bounds of a run count all its sets.
    let mut request = run_with("two", [("crm", large(0..2)), ("wiki", large(2..3))]);
    request.mcp_headers = Some(large(3..4));
    request.mcp_headers.as_mut().unwrap().headers.insert("x".into(), "1".into());
    let (status, decoded) = world.refused(request).await;
    assert_eq!((&*decoded.reason, decoded.violations().len()), ("INVALID_REQUEST", 1), "{status:?}");
    assert!(status.message().contains("64 KiB"), "{status:?}");
}

#[tokio::test]
async fn what_is_just_within_a_size_arrives() {
    let world = World::start().await;
    let name = "n".repeat(256);
    let value = "v".repeat(16 * 1024);
    for set in [headers([(&name, "1")]), headers([("x-a", &value)]), many(64), large(0..4)] {
        world.crm.forget();
        for (request, _) in both_places(&set) {
            world.service.run(request).await.unwrap();
        }
        assert!(!world.crm.seen().is_empty());
        for seen in world.crm.seen() {
            for (name, value) in &set.headers {
                assert_eq!(seen.header(name), value, "{}", seen.method());
            }
        }
    }
}

#[tokio::test]
async fn what_is_no_reserved_name_arrives_byte_for_byte() {
    let all: String = (' '..='~').collect();
    let odd = [
        ("x-foo-bin", "AAECAw"),
        ("X-Bar-Bin", "not base64: \u{7e}!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}"),
        ("x-all", all.trim()),
        ("Hosts", "1"),
        ("X-Host", "1"),
        ("Teapot", "1"),
        ("Vial", "1"),
        ("Contents", "1"),
        ("Iffy", "1"),
        ("Proxies", "1"),
        ("Sector", "1"),
        ("Mcpx", "1"),
        ("X-Forwarded", "1"),
        ("X-Request-Id-2", "1"),
        ("!#$%&'*+-.^_`|~0", "1"),
    ];
    for (request, _) in both_places(&headers(odd)) {
        let world = World::start().await;
        world.service.run(request).await.unwrap();
        assert!(!world.crm.seen().is_empty());
        for seen in world.crm.seen() {
            for (name, value) in odd {
                assert_eq!(seen.header(name), value, "{name} of {}", seen.method());
            }
        }
    }
}

#[tokio::test]
async fn streams_and_tool_lists_refuse_alike() {
    let world = World::start().await;
    let sets = [
        (headers([("x-a", &*format!("{CANARY}\n"))]), ".headers[\"x-a\"]"),
        (headers([("Mcp-Session-Id", CANARY)]), ".headers[\"Mcp-Session-Id\"]"),
        (many(65), ""),
    ];
    for (set, field) in sets {
        for (request, place) in both_places(&set) {
            let (events, end) = world.service.events(request.clone()).await;
            assert!(events.is_empty());
            let (_, decoded) = world.check(end.unwrap_err());
            assert_eq!(decoded.fields(), [format!("{place}{field}")]);

            let request = ListToolsRequest {
                agent: request.agent,
                per_run_mcp_headers: request.per_run_mcp_headers,
                mcp_headers: request.mcp_headers,
                ..Default::default()
            };
            let status = world.service.catalog.clone().list_tools(request).await.unwrap_err();
            let (_, decoded) = world.check(status);
            assert_eq!(decoded.fields(), [format!("{place}{field}")]);
        }
    }
}

/// A set of so many headers.
fn many(count: usize) -> HeaderSet {
    let headers = (0..count).map(|n| (format!("x-{n}"), "1".to_owned()));
    HeaderSet { headers: headers.collect(), remove: Vec::new() }
}

/// A set of headers with these numbers, of 16 KiB each, names included.
fn large(numbers: std::ops::Range<usize>) -> HeaderSet {
    let headers = numbers.map(|n| (format!("x-{n}"), "v".repeat(16 * 1024 - 3)));
    HeaderSet { headers: headers.collect(), remove: Vec::new() }
}
