//! How long a tool list is good: as long as the server says, and no longer than the server stands by it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use axum::{
    body::Body,
    http::{Response, StatusCode},
};
use serde_json::json;
use tonic::Status;

use crate::support::{
    mcp_server::{Era, McpServer, Seen, empty, tool, unauthorized},
    run_as,
    scene::{answering, call_of, script_config},
    service::Service,
};

const TWO_TURNS: &str = "[{ mcp_server: crm, tool: whoami, arguments: {} }]";

/// A server whose list says how long it is good.
async fn with_ttl(era: Era, ttl_ms: Option<u64>) -> McpServer {
    answering(era, move |seen| {
        let mut result =
            json!({ "resultType": "complete", "tools": [tool("whoami")], "cacheScope": "private" });
        if let Some(ttl_ms) = ttl_ms {
            result["ttlMs"] = json!(ttl_ms);
        }
        (seen.method() == "tools/list").then(|| seen.result(result))
    })
    .await
}

fn lists(server: &McpServer) -> usize {
    server.methods().iter().filter(|method| *method == "tools/list").count()
}

/// How many lists three runs of two turns take.
async fn lists_in_three_runs(era: Era, ttl_ms: Option<u64>, fields: &str) -> usize {
    let server = with_ttl(era, ttl_ms).await;
    let service = Service::start(&script_config(&server.url(), fields, &[TWO_TURNS, TWO_TURNS])).await;
    for _ in 0..3 {
        let response = service.run(run_as("a", "alice")).await.unwrap();
        assert_eq!(response.final_output, "Bearer alice|Bearer alice|");
    }
    lists(&server)
}

#[tokio::test]
async fn a_list_is_kept_as_long_as_the_server_says_or_else_the_registration() {
    for era in [Era::Modern, Era::Stateless] {
        assert_eq!(lists_in_three_runs(era, Some(3_600_000), "").await, 1, "{era:?}: an hour");
        assert_eq!(
            lists_in_three_runs(era, Some(3_600_000), "tools_ttl: 0s, ").await,
            1,
            "{era:?}: its word"
        );
        assert_eq!(lists_in_three_runs(era, None, "").await, 1, "{era:?}: the default");
        assert_eq!(lists_in_three_runs(era, None, "tools_ttl: 0s, ").await, 3, "{era:?}: the registration");
        assert_eq!(lists_in_three_runs(era, Some(u64::MAX), "").await, 1, "{era:?}: for ever");
    }
}

#[tokio::test]
async fn a_list_that_is_good_for_no_time_is_asked_for_once_a_run_and_not_once_a_turn() {
    for era in [Era::Modern, Era::Stateless] {
        assert_eq!(lists_in_three_runs(era, Some(0), "").await, 3, "{era:?}");
    }
}

#[tokio::test]
async fn a_list_that_is_over_is_asked_for_again() {
    let server = with_ttl(Era::Modern, Some(1)).await;
    let service = Service::start(&script_config(&server.url(), "", &[TWO_TURNS])).await;
    crate::support::soon("a second list", async {
        while lists(&server) < 2 {
            service.run(run_as("a", "alice")).await.unwrap();
        }
    })
    .await;
}

type Answer = fn(&Seen) -> Response<Body>;

/// Three runs against a server that answers the second one's call as told: how the second run went, and the methods of
/// the third.
async fn after(answer: Answer) -> (Result<String, Status>, Vec<String>) {
    let answers = Arc::new(Mutex::new(VecDeque::from([None, Some(answer)])));
    let server = answering(Era::Modern, move |seen| {
        if seen.method() != "tools/call" {
            return None;
        }
        answers.lock().unwrap().pop_front().flatten().map(|answer| answer(seen))
    })
    .await;
    let service = Service::start(&script_config(&server.url(), "", &[&call_of("whoami")])).await;
    service.run(run_as("a", "alice")).await.unwrap();
    server.forget();
    let second = service.run(run_as("a", "alice")).await;
    assert_eq!(server.methods()[0], "tools/call", "the second run finds the list");
    server.forget();
    let third = service.run(run_as("a", "alice")).await.unwrap();
    assert_eq!(third.final_output, "Bearer alice|");
    (second.map(|response| response.final_output), server.methods())
}

#[tokio::test]
async fn a_list_goes_when_the_server_refuses_or_does_not_know_a_tool() {
    let answers: [(&str, Answer); 4] = [
        ("401", |_| unauthorized("Bearer")),
        ("403", |_| empty(StatusCode::FORBIDDEN)),
        ("an unknown tool", |seen| seen.error(-32602, "Unknown tool: whoami")),
        ("no such method", |seen| seen.error(-32601, "no tools any more")),
    ];
    for (what, answer) in answers {
        let (second, third) = after(answer).await;
        assert_eq!(second.is_err(), what == "401", "{what}: {second:?}");
        assert_eq!(third, ["tools/list", "tools/call"], "{what}: the list goes, the client stays");
    }
}

#[tokio::test]
async fn a_list_stays_when_a_tool_only_fails() {
    let answers: [(&str, Answer); 3] = [
        ("the tool's own error", |seen| {
            seen.result(json!({ "content": [{ "type": "text", "text": "no" }], "isError": true }))
        }),
        ("an internal error", |seen| seen.error(-32603, "it crashed")),
        ("HTTP 500", |_| empty(StatusCode::INTERNAL_SERVER_ERROR)),
    ];
    for (what, answer) in answers {
        let (second, third) = after(answer).await;
        assert!(second.is_ok(), "{what}: {second:?}");
        assert_eq!(third, ["tools/call"], "{what}");
    }
}

#[tokio::test]
async fn a_tool_that_disappears_between_list_and_call_is_a_tool_error() {
    let (second, _) = after(|seen| seen.error(-32602, "Unknown tool: whoami")).await;
    assert!(second.unwrap().contains("-32602"));
}
