//! `Mcp-Param-*`: arguments that a tool's schema wants in headers, and what happens when they do not fit (-32020).

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use axum::{
    body::Body,
    http::{Response, StatusCode},
};
use runwright::grpc::proto::ToolCallStatus;
use serde_json::{Value, json};

use crate::support::{
    mcp_server::{Era, McpServer, Seen, raw, tool},
    run_as,
    scene::{answering, list_as, script_config},
    service::Service,
};

const CALL: &str =
    "[{ mcp_server: crm, tool: find, arguments: { region: eu, limit: 3, all: true, note: Grüße, free: x } }]";

fn find_tool(header: &str) -> Value {
    let property = |kind: &str, header: &str| json!({ "type": kind, "x-mcp-header": header });
    let properties = json!({
        "region": property("string", header), "limit": property("integer", "Limit"),
        "all": property("boolean", "All"), "note": property("string", "Note"),
        "absent": property("string", "Absent"), "free": { "type": "string" },
    });
    json!({ "name": "find", "inputSchema": { "type": "object", "properties": properties } })
}

fn mismatch(seen: &Seen) -> Response<Body> {
    let error = json!({ "code": -32020, "message": "header mismatch" });
    let body = json!({ "jsonrpc": "2.0", "id": seen.body["id"], "error": error }).to_string();
    raw(StatusCode::BAD_REQUEST, "application/json", body)
}

/// A server with tool `find`, whose header for `region` is named by the lists in turn; the last name stays. It refuses
/// calls without the last name.
async fn server(names: &[&'static str]) -> McpServer {
    let last = format!("mcp-param-{}", names.last().unwrap().to_lowercase());
    let names = Arc::new(Mutex::new(VecDeque::from(names.to_vec())));
    answering(Era::Modern, move |seen| match seen.method() {
        "tools/list" => {
            let mut names = names.lock().unwrap();
            let name = if names.len() > 1 { names.pop_front().unwrap() } else { names[0] };
            Some(seen.result(json!({ "resultType": "complete", "tools": [find_tool(name)] })))
        }
        "tools/call" if seen.header(&last) == "eu" => Some(seen.tool_text("found")),
        "tools/call" => Some(mismatch(seen)),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn annotated_arguments_go_into_headers_also_for_a_run_that_lists_nothing() {
    let server = server(&["Region"]).await;
    let service = Service::start(&script_config(&server.url(), "", &[CALL])).await;
    for expected in [&["server/discover", "tools/list", "tools/call"][..], &["tools/call"]] {
        server.forget();
        let response = service.run(run_as("a", "alice")).await.unwrap();
        assert_eq!(response.final_output, "found|");
        assert_eq!(server.methods(), expected);
        let call = server.seen().pop().unwrap();
        let params = ["region", "limit", "all", "note", "absent", "free"]
            .map(|name| call.header(&format!("mcp-param-{name}")).to_owned());
        // What is not ASCII is wrapped (base64 of its UTF-8).
        assert_eq!(params, ["eu", "3", "true", "=?base64?R3LDvMOfZQ==?=", "", ""]);
        assert_eq!(call.body["params"]["arguments"]["region"], "eu", "the body says the same");
    }
}

#[tokio::test]
async fn after_a_mismatch_the_tools_are_listed_and_the_call_repeated_once() {
    let server = server(&["Area", "Region"]).await;
    let service = Service::start(&script_config(&server.url(), "", &[CALL])).await;
    let response = service.run(run_as("a", "alice")).await.unwrap();
    assert_eq!(response.final_output, "found|");
    let expected = ["server/discover", "tools/list", "tools/call", "tools/list", "tools/call"];
    assert_eq!(server.methods(), expected);
    server.forget();
    service.run(run_as("a", "alice")).await.unwrap();
    assert_eq!(server.methods(), ["tools/call"], "the new list is kept");
}

#[tokio::test]
async fn a_mismatch_that_stays_is_a_tool_error_after_exactly_two_calls() {
    let server = answering(Era::Modern, |seen| match seen.method() {
        "tools/list" => {
            Some(seen.result(json!({ "resultType": "complete", "tools": [find_tool("Region")] })))
        }
        "tools/call" => Some(mismatch(seen)),
        _ => None,
    })
    .await;
    let service = Service::start(&script_config(&server.url(), "", &[CALL])).await;
    let response = service.run(run_as("a", "alice")).await.unwrap();
    assert_eq!(response.tool_calls[0].status(), ToolCallStatus::Error);
    assert!(response.final_output.contains("-32020"), "{}", response.final_output);
    let calls = server.methods().iter().filter(|method| *method == "tools/call").count();
    assert_eq!(calls, 2);
    server.forget();
    service.run(run_as("a", "alice")).await.unwrap();
    assert_eq!(server.methods()[0], "tools/list", "the list was given up");
}

#[tokio::test]
async fn a_tool_with_an_invalid_annotation_is_dropped_and_told() {
    let annotated = |name: &str, annotation: Value| {
        let properties = json!({ "x": { "type": "string", "x-mcp-header": annotation } });
        json!({ "name": name, "inputSchema": { "type": "object", "properties": properties } })
    };
    let tools = json!([
        annotated("good", json!("Region")),
        annotated("empty", json!("")),
        annotated("spaced", json!("a b")),
        annotated("split", json!("a\r\nX-Evil: 1")),
        annotated("number", json!(1)),
        tool("plain"),
    ]);
    let server = answering(Era::Modern, move |seen| {
        let result = json!({ "resultType": "complete", "tools": tools });
        (seen.method() == "tools/list").then(|| seen.result(result))
    })
    .await;
    let service = Service::start(&script_config(&server.url(), "", &[CALL])).await;
    let list = list_as(&service, "alice").await;
    let names: Vec<&str> = list.tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["good", "plain"]);
    let dropped: Vec<&str> = list.dropped_tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(dropped, ["empty", "spaced", "split", "number"]);
}
