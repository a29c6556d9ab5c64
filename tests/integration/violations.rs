//! Requests that are refused for what is not a header's form: servers, credentials for all of them, options, labels,
//! messages; and how many violations at once arrive.

use runwright::grpc::proto::{
    HeaderSet, Message, MessageRole, Part, RunOptions, RunRequest, ToolCall, ToolRef, ToolResult, part,
};
use tonic::{Code, Request};

use crate::support::{
    error::{Decoded, decode},
    headers,
    mcp_server::{Era, McpServer},
    run_with,
    service::Service,
};

const CREDENTIALS: [&str; 9] = [
    "Authorization",
    "cookie",
    "X-Api-Key",
    "X-Auth-Token",
    "Client-Secret",
    "x-PASSWORD-x",
    "X-Credential-Id",
    "Keyring",
    "x-tokens",
];

/// The most parts of a message.
const MAX_PARTS: usize = 2048;

/// A service with agent `one`, which has server `crm`, and agent `two`, which has `wiki`, too. Nobody has `spare`.
struct World {
    crm: McpServer,
    wiki: McpServer,
    spare: McpServer,
    service: Service,
}

impl World {
    async fn start() -> Self {
        let start = || McpServer::start(Era::Modern);
        let (crm, wiki, spare) = (start().await, start().await, start().await);
        let yaml = format!(
            r#"
models: {{ scripted: {{ provider: scripted, script: [{{ say: done }}] }} }}
mcp_servers: {{ crm: {{ url: "{}" }}, wiki: {{ url: "{}" }}, spare: {{ url: "{}" }} }}
agents:
  one: {{ model: scripted, mcp_servers: [crm] }}
  two: {{ model: scripted, mcp_servers: [crm, wiki] }}
"#,
            crm.url(),
            wiki.url(),
            spare.url()
        );
        Self { service: Service::start(&yaml).await, crm, wiki, spare }
    }

    /// A run that is refused with INVALID_ARGUMENT; nothing has run.
    async fn refused(&self, request: RunRequest) -> (String, Decoded) {
        let status = self.service.run(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        let decoded = decode(&status);
        assert_eq!(decoded.metadata["admitted"], "false");
        assert!(decoded.violations().iter().all(|violation| !violation.reason.is_empty()), "{decoded:?}");
        for server in [&self.crm, &self.wiki, &self.spare] {
            assert!(server.seen().is_empty(), "an MCP server was asked");
        }
        (status.message().to_owned(), decoded)
    }

    /// A run of agent `two` with these options that is refused for these fields.
    async fn refused_options(&self, options: RunOptions, fields: &[&str]) {
        let request = RunRequest { options: Some(options), ..run_with("two", []) };
        let (_, decoded) = self.refused(request).await;
        assert_eq!((&*decoded.reason, decoded.fields()), ("INVALID_REQUEST", fields.to_vec()));
    }

    /// A run of agent `two` with this conversation that is refused for these fields.
    async fn refused_messages(&self, messages: Vec<Message>, fields: &[&str]) {
        let (_, decoded) = self.refused(RunRequest { messages, ..run_with("two", []) }).await;
        assert_eq!((&*decoded.reason, decoded.fields()), ("INVALID_REQUEST", fields.to_vec()));
    }
}

#[tokio::test]
async fn a_server_that_the_agent_does_not_use_is_refused_and_those_that_it_uses_are_named() {
    let world = World::start().await;
    for server in ["nobody", "spare", "CRM", ""] {
        let (message, decoded) = world.refused(run_with("two", [(server, headers([("x-a", "1")]))])).await;
        assert_eq!(decoded.reason, "UNKNOWN_MCP_SERVER");
        assert_eq!(decoded.fields(), [format!("per_run_mcp_headers[\"{server}\"]")]);
        assert_eq!(decoded.violations()[0].reason, "UNKNOWN_MCP_SERVER");
        assert!(message.contains("crm, wiki"), "{message}");
        let listed: Vec<&str> = decoded.metadata["mcp_servers"].split(", ").collect();
        assert_eq!(listed, ["crm", "wiki"]);
    }
    let sets = [("nobody", headers([])), ("spare", headers([])), ("wiki", headers([]))];
    let (_, decoded) = world.refused(run_with("one", sets)).await;
    assert_eq!((&*decoded.reason, decoded.fields().len()), ("UNKNOWN_MCP_SERVER", 3));
}

#[tokio::test]
async fn what_is_wrong_with_the_headers_for_such_a_server_is_told_with_it() {
    let world = World::start().await;
    let long = "n".repeat(100_000);
    for server in ["nobody", "spare", &long] {
        let set = || HeaderSet { remove: vec!["te".into()], ..headers([("x-a", "canary\n"), ("x-b", "1")]) };
        let sets = [(server, set()), ("crm", headers([("Host", "canary")]))];
        let (message, decoded) = world.refused(run_with("two", sets)).await;
        let shown = if server == long { format!("{}…", "n".repeat(64)) } else { server.to_owned() };
        let mut fields = decoded.fields();
        fields.sort_unstable();
        assert_eq!(
            fields,
            [
                "per_run_mcp_headers[\"crm\"].headers[\"Host\"]".to_owned(),
                format!("per_run_mcp_headers[\"{shown}\"]"),
                format!("per_run_mcp_headers[\"{shown}\"].headers[\"x-a\"]"),
                format!("per_run_mcp_headers[\"{shown}\"].remove[\"te\"]"),
            ]
        );
        assert_eq!((&*decoded.reason, &*decoded.metadata["mcp_servers"]), ("INVALID_REQUEST", "crm, wiki"));
        assert!(!format!("{message} {decoded:?}").contains("canary"), "{message}");
    }
}

#[tokio::test]
async fn headers_for_an_unused_server_can_be_ignored_but_not_for_an_unknown_one() {
    let world = World::start().await;
    let ignoring = |server| RunRequest {
        options: Some(RunOptions { ignore_unused_headers: true, ..Default::default() }),
        ..run_with(
            "two",
            [("crm", headers([("x-a", "1")])), (server, headers([("authorization", "Bearer x")]))],
        )
    };
    let (_, decoded) = world.refused(ignoring("nobody")).await;
    assert_eq!(decoded.reason, "UNKNOWN_MCP_SERVER");

    let response = world.service.run(ignoring("spare")).await.unwrap();
    assert_eq!(response.applied_headers.keys().collect::<Vec<_>>(), ["crm", "wiki"]);
    assert!(world.spare.seen().is_empty());
    assert!(world.crm.seen().iter().all(|seen| seen.header("x-a") == "1"));
    for seen in [world.crm.seen(), world.wiki.seen()].concat() {
        assert_eq!(seen.header("authorization"), "");
    }
}

#[tokio::test]
async fn a_credential_for_all_servers_needs_an_agent_with_one() {
    let world = World::start().await;
    for name in CREDENTIALS {
        let set = headers([(name, "canary-91aa")]);
        let request = RunRequest { mcp_headers: Some(set.clone()), ..run_with("two", []) };
        let (message, decoded) = world.refused(request).await;
        assert_eq!(decoded.reason, "HEADER_NOT_ALLOWED", "{name}");
        assert_eq!(decoded.fields(), [format!("mcp_headers.headers[\"{name}\"]")]);
        assert!(message.contains("per_run_mcp_headers"), "{message}");
        assert!(!format!("{message} {decoded:?}").contains("canary"), "{message}");
    }
    for name in CREDENTIALS {
        let set = headers([(name, "secret")]);
        let request = RunRequest { mcp_headers: Some(set), ..run_with("one", []) };
        world.service.run(request).await.unwrap();
        assert_eq!(world.crm.seen().last().unwrap().header(name), "secret");
    }
    // What is no credential is for all servers; and a credential may be taken away from all.
    let set = HeaderSet { remove: vec!["authorization".into()], ..headers([("x-tenant", "7")]) };
    world.service.run(RunRequest { mcp_headers: Some(set), ..run_with("two", []) }).await.unwrap();
    assert!(
        [&world.crm, &world.wiki]
            .iter()
            .all(|server| server.seen().last().unwrap().header("x-tenant") == "7")
    );
}

#[tokio::test]
async fn several_kinds_at_once_are_an_invalid_request_with_all_of_them() {
    let world = World::start().await;
    let mut request =
        run_with("two", [("nobody", headers([])), ("crm", headers([("Host", "x"), ("x-a", "")]))]);
    request.mcp_headers = Some(headers([("authorization", "Bearer x"), ("x-b", " ")]));
    request.options = Some(RunOptions { max_turns: -1, ..Default::default() });
    request.input = String::new();
    request.labels = [("l".repeat(257), String::new())].into();
    let (message, decoded) = world.refused(request).await;
    let mut expected = [
        "input".to_owned(),
        format!("labels[\"{}…\"]", "l".repeat(64)),
        "mcp_headers.headers[\"authorization\"]".to_owned(),
        "mcp_headers.headers[\"x-b\"]".to_owned(),
        "options.max_turns".to_owned(),
        "per_run_mcp_headers[\"crm\"].headers[\"Host\"]".to_owned(),
        "per_run_mcp_headers[\"crm\"].headers[\"x-a\"]".to_owned(),
        "per_run_mcp_headers[\"nobody\"]".to_owned(),
    ];
    expected.sort();
    let mut fields = decoded.fields();
    fields.sort_unstable();
    assert_eq!(
        (&*decoded.reason, fields),
        ("INVALID_REQUEST", expected.iter().map(String::as_str).collect())
    );
    assert!(message.contains("7 more"), "{message}");
    let reason = |field: &str| {
        let found = decoded.violations().iter().find(|violation| violation.field.contains(field));
        found.unwrap().reason.clone()
    };
    assert_eq!(reason("nobody"), "UNKNOWN_MCP_SERVER");
    assert_eq!(reason("authorization"), "HEADER_NOT_ALLOWED");
    assert_eq!(reason("Host"), "INVALID_REQUEST");
}

#[tokio::test]
async fn a_hundred_and_twenty_violations_arrive() {
    let world = World::start().await;
    for name_bytes in [10, 250, 300] {
        let set = |prefix: &str| HeaderSet {
            headers: (0..60).map(|n| (format!("{prefix}{n:0>name_bytes$}"), "\n".to_owned())).collect(),
            remove: Vec::new(),
        };
        let mut request = run_with("two", [("crm", set("c-"))]);
        request.mcp_headers = Some(set("a-"));
        let (message, decoded) = world.refused(request).await;
        assert_eq!(decoded.reason, "INVALID_REQUEST");
        assert!(decoded.encoded_bytes <= 4096, "{}", decoded.encoded_bytes);
        assert!(message.len() <= 512, "{message}");
        let (last, shown) = decoded.violations().split_last().unwrap();
        assert!(shown.len() > 5, "{decoded:?}");
        let left_out = 120 - shown.len();
        assert!(last.description.contains(&left_out.to_string()), "{last:?}");
        assert!(message.contains("119 more"), "{message}");
    }
}

#[tokio::test]
async fn wrong_options_and_labels_are_named() {
    let world = World::start().await;
    let options = RunOptions::default;
    let duration = |seconds, nanos| Some(prost_types::Duration { seconds, nanos });
    let tool = |mcp_server: &str, tool: &str| ToolRef { mcp_server: mcp_server.into(), tool: tool.into() };
    world.refused_options(RunOptions { max_turns: -1, ..options() }, &["options.max_turns"]).await;
    for timeout in [
        duration(0, 0),
        duration(-1, 0),
        duration(0, -1),
        duration(i64::MIN, 0),
        duration(1, -1),
        duration(1, 1_000_000_000),
    ] {
        world.refused_options(RunOptions { timeout, ..options() }, &["options.timeout"]).await;
    }
    let allowed_tools = vec![tool("crm", "whoami"), tool("nobody", "t"), tool("crm", ""), tool("spare", "t")];
    let fields = [
        "options.allowed_tools[1].mcp_server",
        "options.allowed_tools[2].tool",
        "options.allowed_tools[3].mcp_server",
    ];
    world.refused_options(RunOptions { allowed_tools, ..options() }, &fields).await;
    let allowed_tools = vec![tool("crm", "whoami"); 1025];
    world.refused_options(RunOptions { allowed_tools, ..options() }, &["options.allowed_tools"]).await;

    for labels in [
        (0..17).map(|n| (n.to_string(), String::new())).collect(),
        [("name".to_owned(), "v".repeat(257))].into(),
        [(String::new(), "value".to_owned())].into(),
    ] {
        let (_, decoded) = world.refused(RunRequest { labels, ..run_with("two", []) }).await;
        assert!(decoded.fields()[0].starts_with("labels"), "{decoded:?}");
    }
    let labels = (0..16).map(|n| (format!("{n:0>256}"), "v".repeat(256))).collect();
    world.service.run(RunRequest { labels, ..run_with("two", []) }).await.unwrap();
}

#[tokio::test]
async fn a_wrong_conversation_is_named_place_by_place() {
    use MessageRole::{Assistant, Tool, Unspecified, User};
    let world = World::start().await;
    let (_, decoded) = world.refused(RunRequest { agent: "two".into(), ..Default::default() }).await;
    assert_eq!(decoded.fields(), ["input"]);

    let user = || message(User, vec![text("hi")]);
    world.refused_messages(vec![message(Unspecified, vec![text("hi")])], &["messages[0].role"]).await;
    world.refused_messages(vec![Message { role: 9, ..user() }], &["messages[0].role"]).await;
    world.refused_messages(vec![user(), message(User, vec![])], &["messages[1].parts"]).await;
    world.refused_messages(vec![message(User, vec![call("1", "t")])], &["messages[0].parts[0]"]).await;
    let parts = vec![text("hi"), result("1"), None];
    let fields = ["messages[0].parts[1]", "messages[0].parts[2]"];
    world.refused_messages(vec![message(User, parts.clone())], &fields).await;
    world.refused_messages(vec![message(Assistant, parts)], &fields).await;
    world.refused_messages(vec![message(Tool, vec![text("hi")])], &["messages[0].parts[0]"]).await;

    let asked = |parts| message(Assistant, parts);
    let answered = |parts| message(Tool, parts);
    let [call_id, answers] =
        ["messages[0].parts[0].tool_call.call_id", "messages[1].parts[0].tool_result.call_id"];
    world.refused_messages(vec![asked(vec![call("", "t")])], &[call_id]).await;
    world
        .refused_messages(
            vec![asked(vec![call("1", "")]), answered(vec![result("1")])],
            &["messages[0].parts[0].tool_call.tool"],
        )
        .await;
    world
        .refused_messages(
            vec![asked(vec![call("1", "t"), call("1", "t")]), answered(vec![result("1")])],
            &["messages[0].parts[1].tool_call.call_id"],
        )
        .await;
    // A result answers a call of the message before, once; and each call has one.
    world.refused_messages(vec![user(), answered(vec![result("1")])], &[answers]).await;
    let two = || vec![asked(vec![call("1", "t")]), answered(vec![result("1"), result("1")])];
    world.refused_messages(two(), &["messages[1].parts[1].tool_result.call_id"]).await;
    world.refused_messages(vec![asked(vec![call("1", "t")])], &["messages"]).await;
    world.refused_messages(vec![asked(vec![call("1", "t")]), user()], &["messages[1]"]).await;
    let half = vec![asked(vec![call("1", "t"), call("2", "t")]), answered(vec![result("2")]), user()];
    world.refused_messages(half, &["messages[2]"]).await;
}

#[tokio::test]
async fn the_parts_of_a_message_are_bounded() {
    let world = World::start().await;
    let message = |count| message(MessageRole::User, vec![text("hi"); count]);
    for count in [MAX_PARTS + 1, 200_000] {
        world.refused_messages(vec![message(1), message(count)], &["messages[1].parts"]).await;
    }
    let messages = vec![message(MAX_PARTS)];
    world.service.run(RunRequest { messages, ..run_with("two", []) }).await.unwrap();
}

#[tokio::test]
async fn an_id_of_a_call_is_not_used_twice_in_a_conversation() {
    use MessageRole::{Assistant, Tool, User};
    let world = World::start().await;
    let turn = |id: &str| [message(Assistant, vec![call(id, "t")]), message(Tool, vec![result(id)])];
    let said = |text_of: &str| [message(User, vec![text(text_of)])];
    let repeated = [turn("1").to_vec(), said("hi").to_vec(), turn("2").to_vec(), turn("1").to_vec()].concat();
    let request = RunRequest { messages: repeated, ..run_with("two", []) };
    let (text_of, decoded) = world.refused(request).await;
    // Only the later call: its result is that call's.
    assert_eq!(decoded.fields(), ["messages[5].parts[0].tool_call.call_id"]);
    assert!(text_of.contains("give each call an id of its own, and its result the same"), "{text_of}");

    let messages = [turn("1"), turn("2")].concat();
    world.service.run(RunRequest { messages, ..run_with("two", []) }).await.unwrap();
}

#[tokio::test]
async fn a_request_id_is_visible_ascii_of_bounded_length() {
    let world = World::start().await;
    for id in ["", "two words", "tab\tbed", &"x".repeat(129)] {
        let mut request = Request::new(run_with("two", []));
        request.metadata_mut().insert("x-request-id", id.parse().unwrap());
        let status = world.service.agents.clone().run(request).await.unwrap_err();
        let decoded = decode(&status);
        assert_eq!((status.code(), &*decoded.reason), (Code::InvalidArgument, "INVALID_REQUEST"), "{id:?}");
        assert!(decoded.fields()[0].contains("x-request-id"), "{decoded:?}");
        assert!(world.crm.seen().is_empty());
    }
    let mut request = Request::new(run_with("two", []));
    request.metadata_mut().insert("x-request-id", "~".repeat(128).parse().unwrap());
    world.service.agents.clone().run(request).await.unwrap();
}

fn message(role: MessageRole, parts: Vec<Option<part::Part>>) -> Message {
    let parts = parts.into_iter().map(|part| Part { part });
    Message { role: role.into(), parts: parts.collect() }
}

fn text(text: &str) -> Option<part::Part> {
    Some(part::Part::Text(text.to_owned()))
}

fn call(call_id: &str, tool: &str) -> Option<part::Part> {
    let (call_id, tool, mcp_server) = (call_id.to_owned(), tool.to_owned(), "crm".to_owned());
    Some(part::Part::ToolCall(ToolCall { call_id, tool, mcp_server, ..Default::default() }))
}

fn result(call_id: &str) -> Option<part::Part> {
    Some(part::Part::ToolResult(ToolResult { call_id: call_id.to_owned(), ..Default::default() }))
}

#[tokio::test]
async fn a_request_that_is_wrong_in_a_hundred_thousand_places_is_refused_all_the_same() {
    let world = World::start().await;
    let many: HeaderSet = HeaderSet {
        headers: (0..60_000).map(|n| (format!("x-{n}"), "v".to_owned())).collect(),
        remove: (0..60_000).map(|n| format!("y-{n}")).collect(),
    };
    let request = RunRequest { mcp_headers: Some(many.clone()), ..run_with("two", [("crm", many)]) };
    let (_, decoded) = world.refused(request).await;
    assert_eq!(decoded.fields(), ["mcp_headers", "per_run_mcp_headers[\"crm\"]"]);

    let mut request = run_with("one", []);
    request.per_run_mcp_headers = (0..50_000).map(|n| (format!("s{n}"), HeaderSet::default())).collect();
    let bad = Message { role: MessageRole::User.into(), parts: vec![Part { part: None }; 1_000] };
    request.messages = vec![bad; 100];
    let (_, decoded) = world.refused(request).await;
    assert!(decoded.violations().last().unwrap().description.ends_with("more violations are left out"));
}
