//! The page about the log lists every event of the service with its level and its fields, and no other; and the line of a
//! run's end has all that is needed to find the rest.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use runwright::grpc::proto::RunRequest;
use serde_json::{Value, json};
use tonic::Request;

use crate::support::{
    headers, logs,
    mcp_server::{Era, McpServer, unauthorized},
    model_server::{ModelServer, calls, has_result, says},
    run_with,
    service::{Service, asking_config},
};

const PAGE: &str = "docs/logging.md";
const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// An event: its level, and its fields' names.
type Logged = BTreeSet<(String, BTreeSet<String>)>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What stands between a macro's parentheses.
fn inside(text: &str) -> &str {
    let (mut depth, mut quoted, mut escaped) = (1, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            '(' | '[' | '{' if !quoted => depth += 1,
            ')' | ']' | '}' if !quoted => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[..at];
        }
    }
    panic!("no end in {text}")
}

/// A macro's arguments.
fn arguments(text: &str) -> Vec<&str> {
    let (mut found, mut rest) = (Vec::new(), text);
    while !rest.trim().is_empty() {
        let (mut depth, mut quoted) = (0, false);
        let end = rest.find(|c| {
            match c {
                '"' => quoted = !quoted,
                '(' | '[' | '{' if !quoted => depth += 1,
                ')' | ']' | '}' if !quoted => depth -= 1,
                _ => {}
            }
            c == ',' && depth == 0 && !quoted
        });
        let (argument, after) = rest.split_at(end.unwrap_or(rest.len()));
        found.push(argument.trim());
        rest = after.trim_start_matches(',');
    }
    found
}

/// The name of a field, or what is no field.
fn field(argument: &str) -> Option<String> {
    let is_setting = argument.starts_with("target:") || argument.starts_with("parent:");
    let name = argument.split(" = ").next().unwrap().trim_start_matches(['%', '?']);
    (!is_setting && !argument.starts_with('"') && !argument.starts_with('$')).then(|| name.to_owned())
}

/// The events that a file's text logs. One macro of its own, `line`, may stand for lines with the same fields.
fn events_of(text: &str, found: &mut BTreeMap<String, Logged>) {
    let served = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let begins = |name: &'static str| {
        let before = |at: usize| served[..at].chars().next_back();
        let alone = move |at: &usize| !before(*at).is_some_and(|c| c.is_alphanumeric() || "_$".contains(c));
        let pattern = format!("{name}!(");
        let places: Vec<usize> = served.match_indices(&pattern).map(|(at, _)| at).filter(alone).collect();
        places.into_iter().map(move |at| arguments(inside(&served[at + pattern.len()..])))
    };
    let mut add = |level: &str, fields: &[&str], message: &str| {
        let message = message.strip_prefix('"').and_then(|m| m.strip_suffix('"'));
        let message = message.unwrap_or_else(|| panic!("an event without a text: {fields:?}"));
        assert!(!message.contains('{'), "a text is to be the same each time: {message}");
        let fields = fields.iter().filter_map(|argument| field(argument)).collect();
        found.entry(message.to_owned()).or_default().insert((level.to_uppercase(), fields));
    };
    for level in LEVELS {
        for arguments in begins(level) {
            let (message, fields) = arguments.split_last().unwrap();
            add(level, fields, message);
        }
    }
    let shared = served.split("$level!(").nth(1).map(|text| arguments(inside(text))).unwrap_or_default();
    for line in begins("line") {
        add(line[0], &shared, line[1]);
    }
}

/// All events of the service.
fn events() -> BTreeMap<String, Logged> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![root().join("src")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("tests") {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") && !path.ends_with("tests.rs") {
                events_of(&fs::read_to_string(path).unwrap(), &mut found);
            }
        }
    }
    found
}

/// What the page lists: a row an event, with its level and its fields.
fn listed() -> BTreeMap<String, Logged> {
    let text = fs::read_to_string(root().join(PAGE)).unwrap();
    let table = text.split("\n## Events\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let mut found: BTreeMap<String, Logged> = BTreeMap::new();
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let fields = cells[2].split(", ").filter(|field| !field.is_empty());
        let fields = fields.map(|field| field.trim_matches('`').to_owned()).collect();
        let logged = (cells[1].to_owned(), fields);
        assert!(found.entry(cells[0].trim_matches('`').to_owned()).or_default().insert(logged), "{row}");
    }
    found
}

#[test]
fn the_page_lists_every_event_and_no_other() {
    let (there, listed) = (events(), listed());
    assert!(there.len() > 10);
    for (message, logged) in &there {
        assert_eq!(listed.get(message), Some(logged), "{PAGE} on `{message}`");
    }
    let gone: Vec<&String> = listed.keys().filter(|message| !there.contains_key(*message)).collect();
    assert!(gone.is_empty(), "{PAGE} lists what nothing logs: {gone:?}");
}

#[test]
fn events_are_found_in_code() {
    let mut found = BTreeMap::new();
    events_of(
        "fn f() { tracing::error!(place, \"One\"); warn!(target: T, a = g(1, \",\"), %b, c.d = ?e, \"Two\") }\n\
         macro_rules! line { () => { $level!(x = 1, $text) } }\nline!(info, \"Three\");\nprintln!(\"No\");",
        &mut found,
    );
    let one = |level: &str, fields: &[&str]| {
        BTreeSet::from([(level.to_owned(), fields.iter().map(ToString::to_string).collect())])
    };
    let expected = [("One", one("ERROR", &["place"])), ("Three", one("INFO", &["x"]))];
    let two = ("Two", one("WARN", &["a", "b", "c.d"]));
    assert_eq!(found, expected.into_iter().chain([two]).map(|(m, l)| (m.to_owned(), l)).collect());
}

/// The line of a run's end.
fn end(logs: &logs::Logs) -> Value {
    let text = logs.text();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut ends = lines.filter(|line| line["message"].as_str().is_some_and(|m| m.starts_with("A run has")));
    let end = ends.next().unwrap_or_else(|| panic!("no run has ended:\n{text}"));
    assert_eq!(ends.next(), None, "one line a run");
    end
}

fn request(input: &str) -> Request<RunRequest> {
    let token = headers([("authorization", "Bearer canary-token")]);
    let request = RunRequest {
        input: input.to_owned(),
        labels: [("tenant".to_owned(), "acme \"one\"".to_owned())].into(),
        ..run_with("a", [("crm", token)])
    };
    let mut request = Request::new(request);
    request.metadata_mut().insert("x-request-id", "req-1".parse().unwrap());
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-00ad6b7169203331-01";
    request.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
    request
}

/// A service whose agent `a` calls the tool that the user names, and has a server that is not there.
async fn service(server: &McpServer) -> (Service, ModelServer) {
    let model = ModelServer::start(|body| {
        let said = body["messages"][0]["content"].as_str().unwrap().to_owned();
        std::future::ready(if has_result(&body) { says("done") } else { calls(&said, "{}") })
    })
    .await;
    let servers = [("crm", &*server.url()), ("gone", "http://127.0.0.1:1/mcp")];
    let yaml =
        asking_config(&model.base_url(), &servers).replace("gone]", "{ name: gone, required: false }]");
    (Service::start(&yaml).await, model)
}

#[tokio::test]
async fn the_line_of_a_runs_end_leads_to_all_the_rest() {
    let server = McpServer::start(Era::Modern).await;
    let (service, _model) = service(&server).await;
    let (logs, _guard) = logs::catch();
    let response = service.agents.clone().run(request("crm__whoami")).await.unwrap().into_inner();
    let line = end(&logs);
    let expected = [
        ("level", json!("INFO")),
        ("message", json!("A run has ended")),
        ("run_id", json!(response.run_id)),
        ("request_id", json!("req-1")),
        ("trace_id", json!("0af7651916cd43dd8448eb211c80319c")),
        ("agent", json!("a")),
        ("model", json!("main")),
        ("mode", json!("unary")),
        ("outcome", json!("stop")),
        ("turns", json!(2)),
        ("usage.model_requests", json!(2)),
        ("usage.input_tokens", json!(6)),
        ("usage.output_tokens", json!(4)),
        ("usage.cached_input_tokens", json!(0)),
        ("usage.reasoning_tokens", json!(0)),
        ("tool_calls", json!(1)),
        ("tool_calls.ok", json!(1)),
        ("tool_calls.error", json!(0)),
        ("tool_calls.unknown", json!(0)),
        ("tool_calls.unended", json!(0)),
        ("mcp_servers.unavailable", json!("gone")),
        ("labels", json!(r#"{"tenant":"acme \"one\""}"#)),
    ];
    for (field, value) in expected {
        assert_eq!(line[field], value, "{field} in {line}");
    }
    for field in ["duration_ms", "opening_ms", "models_ms", "tools_ms"] {
        assert!(line[field].is_u64(), "{field} in {line}");
    }
    assert!(line.get("detail").is_none() && !logs.text().contains("canary-token"));
}

#[tokio::test]
async fn the_line_of_a_failed_run_has_its_reason_and_what_it_had_done() {
    let server = McpServer::with_hook(Era::Modern, |seen| async move {
        (seen.method() == "tools/call").then(|| unauthorized("Bearer"))
    })
    .await;
    let (service, _model) = service(&server).await;
    let (logs, _guard) = logs::catch();
    let (_, failed) = service.events(request("crm__whoami").into_inner()).await;
    failed.unwrap_err();
    let line = end(&logs);
    assert_eq!(line["outcome"], "MCP_UNAUTHORIZED");
    let detail = "MCP server `crm`: it refuses the credential (401)";
    assert_eq!((&line["detail"], &line["mode"]), (&json!(detail), &json!("streamed")));
    assert_eq!((&line["tool_calls"], &line["tool_calls.error"]), (&json!(1), &json!(1)), "it was refused");
    assert_eq!((&line["turns"], &line["mcp_servers.unavailable"]), (&json!(1), &json!("gone")));
}
