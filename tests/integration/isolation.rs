//! Runs that are cancelled at any moment, beside each other: no request ever carries another's headers, and nothing of
//! them is left.

use std::{collections::HashMap, sync::Arc};

use axum::{
    body::Body,
    http::{Method, Response, StatusCode},
};
use futures_util::future;
use serde_json::{Value, json};
use tokio::task::yield_now;
use tokio_util::sync::CancellationToken;

use crate::support::{
    dice::Dice,
    mcp_server::{Era, McpServer, Seen, raw, sse},
    run_as, run_with,
    scene::script_config,
    service::{Service, whoami_config},
    soon,
};

const RUNS: usize = 200;

/// A server that takes its time, breaks off some answers, and resumes them by an id that holds the token and the request.
async fn dawdling(era: Era, dice: Arc<Dice>) -> McpServer {
    McpServer::with_hook(era, move |seen| {
        let dice = dice.clone();
        async move {
            dice.dawdle(50).await;
            if seen.http == Method::GET {
                return Some(resumed(&seen));
            }
            let breaks_off = seen.method() == "tools/call" && dice.roll(3) == 0;
            breaks_off.then(|| {
                let id = json!([seen.header("authorization"), seen.body["id"]]);
                raw(StatusCode::OK, "text/event-stream", format!("id: {id}\nretry: 1\ndata:\n\n"))
            })
        }
    })
    .await
}

fn resumed(seen: &Seen) -> Response<Body> {
    let id: Value = serde_json::from_str(seen.header("last-event-id")).unwrap();
    let content = json!([{ "type": "text", "text": seen.header("authorization") }]);
    sse(&[
        json!({ "jsonrpc": "2.0", "id": id[1], "result": { "resultType": "complete", "content": content } }),
    ])
}

/// What is wrong in requests that came in: a session, a run's request id or a resumption with another run's token. A
/// cancellation has its run's request id; it may be of a call that the server never got.
fn crossings(seen: &[Seen]) -> Vec<String> {
    let mut owners = HashMap::<String, &str>::new();
    let mut wrong = Vec::new();
    for request in seen {
        let token = request.header("authorization");
        let owned = [("session", "mcp-session-id"), ("request id", "x-request-id")];
        for (what, header) in owned.map(|(what, name)| (what, request.header(name))) {
            let owner = *owners.entry(format!("{what} {header}")).or_insert(token);
            if owner != token && !header.is_empty() {
                wrong.push(format!("{} {}: {what} of {owner} by {token}", request.http, request.method()));
            }
        }
        if request.http == Method::GET && !request.header("last-event-id").contains(&format!("{token:?}")) {
            wrong.push(format!("{token} resumes {}", request.header("last-event-id")));
        }
    }
    wrong
}

/// Sessions that were given and not deleted.
fn left_sessions(server: &McpServer) -> Vec<String> {
    let seen = server.seen();
    let with = |method: &str| -> Vec<String> {
        let of = seen.iter().filter(|seen| seen.http == method);
        of.map(|seen| seen.header("mcp-session-id").to_owned()).filter(|id| !id.is_empty()).collect()
    };
    let deleted = with("DELETE");
    let mut left: Vec<String> = with("POST").into_iter().filter(|id| !deleted.contains(id)).collect();
    left.sort();
    left.dedup();
    left
}

async fn run_and_cancel_at_random(service: &Service, dice: &Arc<Dice>, token: String) -> Option<String> {
    let (mut agents, request) = (service.agents.clone(), run_as("a", &token));
    let streamed = dice.roll(2) == 0;
    let run = tokio::spawn(async move {
        if !streamed {
            return agents.run(request).await.map(|response| response.into_inner().final_output);
        }
        let mut stream = agents.run_streamed(request).await?.into_inner();
        let mut output = String::new();
        while let Some(event) = stream.message().await? {
            if let Some(runwright::grpc::proto::run_event::Event::RunCompleted(response)) = event.event {
                output = response.final_output;
            }
        }
        Ok(output)
    });
    if dice.roll(2) == 0 {
        dice.dawdle(1500).await;
        run.abort();
    }
    match run.await {
        Ok(result) => Some(result.unwrap()),
        Err(cancelled) => {
            assert!(cancelled.is_cancelled());
            None
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_that_are_cancelled_at_any_moment_cross_with_no_other() {
    let turn = "[{ mcp_server: crm, tool: whoami, arguments: {} }, { mcp_server: crm, tool: whoami, arguments: {} }]";
    for (era, seed) in [(Era::Modern, 1), (Era::Stateless, 2), (Era::Stateful, 3)] {
        let dice = Arc::new(Dice::new(seed));
        let server = dawdling(era, dice.clone()).await;
        let service = Service::start(&script_config(&server.url(), "", &[turn])).await;
        // Five runs of each identity, so that clients are shared and taken over.
        let runs = (0..RUNS).map(|number| {
            let token = format!("user-{}", number % (RUNS / 5));
            let run = run_and_cancel_at_random(&service, &dice, token.clone());
            async move { (run.await, token) }
        });
        let outputs = soon("all runs", future::join_all(runs)).await;
        let whole = outputs.iter().filter(|(output, _)| output.is_some()).count();
        assert!(whole > 0 && whole < RUNS, "{era:?}: {whole} of {RUNS} were not cancelled");
        for (output, token) in outputs {
            let expected = format!("Bearer {token}|").repeat(2);
            assert!(output.is_none_or(|output| output == expected), "{era:?} {token}");
        }
        soon("the cancelled runs' ends", async {
            while service.runner.live_runs() > 0 {
                yield_now().await;
            }
        })
        .await;
        soon("the end of all sessions", async {
            while !left_sessions(&server).is_empty() {
                yield_now().await;
            }
        })
        .await;
        assert_eq!(crossings(&server.seen()), Vec::<String>::new(), "{era:?}");

        server.forget();
        service.run(run_with("a", [])).await.unwrap();
        let bare = server.seen();
        assert!(bare.iter().all(|seen| seen.headers.get("authorization").is_none()), "{era:?}");
    }
}

#[tokio::test]
async fn a_burst_of_cancelled_calls_leaves_the_other_runs_of_its_connection_alone() {
    let open = CancellationToken::new();
    let gate = open.clone();
    let server = McpServer::with_hook(Era::Modern, move |seen| {
        let gate = gate.clone();
        async move {
            if seen.method() == "tools/call" {
                gate.cancelled().await;
            }
            None
        }
    })
    .await;
    let service = Service::start(&whoami_config(&server.url())).await;
    let mut agents = service.agents.clone();
    let run = tokio::spawn(async move { agents.run(run_as("a", "alice")).await });
    server.wait_for("the call", |seen| seen.method() == "tools/call").await;
    // Given up after more and more steps: some bursts arrive at the service as a whole, call and cancellation together.
    for steps in 1..30 {
        let burst: Vec<_> = (0..100)
            .map(|_| {
                let mut agents = service.agents.clone();
                tokio::spawn(async move { agents.run(run_as("a", "bob")).await })
            })
            .collect();
        for _ in 0..steps {
            yield_now().await;
        }
        burst.iter().for_each(tokio::task::JoinHandle::abort);
        future::join_all(burst).await;
    }
    open.cancel();
    let response = soon("the run", run).await.unwrap().unwrap().into_inner();
    assert_eq!(response.final_output, "Bearer alice");
}

#[test]
fn a_crossing_would_be_seen() {
    let request = |token: &str, http: Method, session: &str, body: Value| {
        let mut headers = axum::http::HeaderMap::new();
        headers.insert("authorization", token.parse().unwrap());
        headers.insert("mcp-session-id", session.parse().unwrap());
        headers.insert("x-request-id", format!("of-{token}").parse().unwrap());
        headers.insert("last-event-id", json!([token, 1]).to_string().parse().unwrap());
        Seen { http, headers, body }
    };
    let call = json!({ "id": 1, "method": "tools/call" });
    let cancelled = json!({ "method": "notifications/cancelled", "params": { "requestId": 1 } });
    let good = [
        request("a", Method::POST, "1", call.clone()),
        request("b", Method::POST, "2", json!({ "id": 7, "method": "tools/call" })),
        request("a", Method::POST, "1", cancelled.clone()),
        request("a", Method::GET, "1", Value::Null),
        request("b", Method::DELETE, "2", Value::Null),
    ];
    assert!(crossings(&good).is_empty());
    let with = |mut request: Seen, header: &'static str, value: String| {
        request.headers.insert(header, value.parse().unwrap());
        request
    };
    for bad in [
        request("b", Method::POST, "1", Value::Null),
        request("b", Method::DELETE, "1", Value::Null),
        with(request("b", Method::POST, "2", cancelled), "x-request-id", "of-a".into()),
        with(request("b", Method::GET, "2", Value::Null), "last-event-id", json!(["a", 1]).to_string()),
    ] {
        let seen: Vec<Seen> = good.iter().cloned().chain([bad.clone()]).collect();
        assert!(!crossings(&seen).is_empty(), "{bad:?}");
    }
}
