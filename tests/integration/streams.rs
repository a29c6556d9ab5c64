//! Streamed runs: their events and their end, and what is left of them when somebody ends them early.

use std::convert::Infallible;

use axum::{body::Body, http::Response};
use futures_util::{StreamExt, future, stream};
use prost::Message;
use runwright::grpc::proto::{
    CancelRunRequest, RunEvent, RunRequest, RunResponse, ToolCallStatus, run_event::Event,
};
use serde_json::{Value, json};
use tonic::{Code, Streaming};

use crate::support::{
    error::decode,
    gate::Gate,
    inputs::Scene,
    mcp_server::{Era, McpServer},
    model_server::{ModelServer, calls, has_result, says},
    no_run_left, run_as, run_with,
    service::{Service, asking_config, whoami_config},
    soon,
};

const ERAS: [Era; 3] = [Era::Modern, Era::Stateless, Era::Stateful];

/// An event's kind.
fn kind(event: &RunEvent) -> &'static str {
    match event.event.as_ref().unwrap() {
        Event::RunStarted(_) => "run_started",
        Event::TurnStarted(_) => "turn_started",
        Event::TextDelta(_) => "text_delta",
        Event::ToolCallStarted(_) => "tool_call_started",
        Event::ToolCallCompleted(_) => "tool_call_completed",
        Event::McpServerUnavailable(_) => "mcp_server_unavailable",
        Event::CredentialsRequired(_) => "credentials_required",
        Event::ReasoningDelta(_) => "reasoning_delta",
        Event::ToolCallProgress(_) => "tool_call_progress",
        Event::ApprovalRequired(_) => "approval_required",
        Event::ClientToolRequired(_) => "client_tool_required",
        Event::TurnCompleted(_) => "turn_completed",
        Event::Heartbeat(_) => "heartbeat",
        Event::RunCompleted(_) => "run_completed",
    }
}

/// A response without what differs from run to run.
fn comparable(mut response: RunResponse) -> RunResponse {
    response.run_id.clear();
    response.request_id.clear();
    for call in &mut response.tool_calls {
        assert!(call.duration.take().is_some());
    }
    response
}

#[tokio::test]
async fn events_come_in_order_and_end_with_what_a_unary_run_gives() {
    let server = McpServer::start(Era::Modern).await;
    let yaml = whoami_config(&server.url()).replace("- say: \"", "- say: \"you are ");
    let service = Service::start(&yaml).await;
    let (events, end) = service.events(run_as("a", "alice")).await;
    end.unwrap();
    let told: Vec<(&str, i32)> = events.iter().map(|event| (kind(event), event.turn)).collect();
    assert_eq!(
        told,
        [
            ("run_started", 0),
            ("turn_started", 1),
            ("turn_completed", 1),
            ("tool_call_started", 1),
            ("tool_call_completed", 1),
            ("turn_started", 2),
            ("text_delta", 2),
            ("text_delta", 2),
            ("text_delta", 2),
            ("text_delta", 2),
            ("turn_completed", 2),
            ("run_completed", 2),
        ]
    );
    let sequences: Vec<i32> = events.iter().map(|event| event.sequence).collect();
    assert_eq!(sequences, (1..=12).collect::<Vec<_>>());
    let times: Vec<_> =
        events.iter().map(|event| event.event_time.unwrap()).map(|t| (t.seconds, t.nanos)).collect();
    assert!(times.is_sorted());
    let Some(Event::RunStarted(started)) = &events[0].event else { panic!() };
    assert_eq!(started.control_token.len(), 22);
    assert!(!started.instance.is_empty());
    for event in &events {
        assert_eq!(event.run_id, events[0].run_id);
        let tells = String::from_utf8_lossy(&event.encode_to_vec()).contains(&started.control_token);
        assert_eq!(tells, event.sequence == 1, "the token is in run_started alone");
    }
    let text: String = events
        .iter()
        .filter_map(|event| match &event.event {
            Some(Event::TextDelta(delta)) => Some(delta.text.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(text, "you are Bearer alice");

    let Some(Event::RunCompleted(streamed)) = events.last().unwrap().event.clone() else { panic!() };
    assert_eq!((&streamed.run_id, &streamed.request_id), (&events[0].run_id, &started.request_id));
    let unary = service.run(run_as("a", "alice")).await.unwrap();
    assert_eq!(comparable(streamed), comparable(unary));
}

#[tokio::test]
async fn the_calls_of_a_turn_begin_in_their_order() {
    let asked = ["{}"; 6].map(|arguments| ("crm__whoami", arguments));
    let scene = Scene::start(&asked, "", "").await;
    let (events, end) = scene.service.events(run_as("a", "alice")).await;
    end.unwrap();
    let began: Vec<&str> = events
        .iter()
        .filter_map(|event| match &event.event {
            Some(Event::ToolCallStarted(call)) => Some(&*call.call_id),
            _ => None,
        })
        .collect();
    assert_eq!(began, ["call_0", "call_1", "call_2", "call_3", "call_4", "call_5"]);
}

#[tokio::test]
async fn a_tool_call_is_told_at_its_start_and_at_its_end() {
    let model = ModelServer::start(|body| async move {
        if has_result(&body) { says("done") } else { calls("fail", "{\"a\": 1}") }
    })
    .await;
    let server = McpServer::start(Era::Modern).await;
    let service = Service::start(&asking_config(&model.base_url(), &[("crm", &server.url())])).await;
    let (events, end) = service.events(run_with("a", [])).await;
    end.unwrap();
    let started = events.iter().find_map(|event| match &event.event {
        Some(Event::ToolCallStarted(call)) => Some(call),
        _ => None,
    });
    let completed = events.iter().find_map(|event| match &event.event {
        Some(Event::ToolCallCompleted(completed)) => Some(completed),
        _ => None,
    });
    let (started, completed) = (started.unwrap(), completed.unwrap());
    assert_eq!((&*started.call_id, &*started.mcp_server, &*started.tool), ("call_1", "crm", "fail"));
    assert_eq!(
        (&*started.arguments_json, started.status(), started.duration),
        ("{\"a\": 1}", ToolCallStatus::Unspecified, None)
    );
    assert_eq!((&*completed.result_text, completed.result_truncated), ("it failed", false));
    let mut call = completed.tool_call.clone().unwrap();
    assert!(call.duration.take().is_some());
    call.set_status(ToolCallStatus::Unspecified);
    assert_eq!(call, *started);
}

#[tokio::test]
async fn a_word_is_passed_on_while_the_model_still_speaks() {
    let gate = Gate::closed();
    let at = gate.clone();
    let model = ModelServer::start(move |_| {
        let gate = at.clone();
        let chunk = |delta: Value, reason: Value| {
            let chunk = json!({ "choices": [{ "delta": delta, "finish_reason": reason }] });
            Ok::<_, Infallible>(format!("data: {chunk}\n\n"))
        };
        let first = chunk(json!({ "content": "first " }), Value::Null);
        let rest = [chunk(json!({ "content": "second" }), Value::Null), chunk(json!({}), json!("stop"))];
        let held =
            stream::once(async move { gate.pass().await }).flat_map(move |()| stream::iter(rest.clone()));
        let body = Body::from_stream(stream::iter([first]).chain(held));
        future::ready(Response::builder().header("content-type", "text/event-stream").body(body).unwrap())
    })
    .await;
    let service = Service::start(&asking_config(&model.base_url(), &[])).await;
    let mut events = service.agents.clone().run_streamed(run_with("a", [])).await.unwrap().into_inner();
    let mut told = Vec::new();
    while let Some(event) = soon("an event", events.message()).await.unwrap() {
        if let Some(Event::TextDelta(delta)) = event.event {
            told.push(delta.text);
            gate.open();
        }
    }
    assert_eq!(told, ["first ", "second"]);
}

/// Starts a run and reads up to a tool call.
async fn up_to_a_call(service: &Service, request: RunRequest) -> (Streaming<RunEvent>, String, String) {
    let mut stream = service.agents.clone().run_streamed(request).await.unwrap().into_inner();
    let mut ids = None;
    loop {
        let event = stream.message().await.unwrap().unwrap();
        match event.event {
            Some(Event::RunStarted(started)) => ids = Some((event.run_id, started.control_token)),
            Some(Event::ToolCallStarted(_)) => break,
            _ => {}
        }
    }
    let (run_id, token) = ids.unwrap();
    (stream, run_id, token)
}

/// What a server is told when a call in its era is abandoned: all that follows the call.
fn farewell(era: Era) -> &'static [&'static str] {
    match era {
        // Closing the connection is the cancellation.
        Era::Modern => &[],
        Era::Stateless => &["notifications/cancelled"],
        Era::Stateful => &["notifications/cancelled", "DELETE"],
    }
}

/// That an abandoned run told its server what its era wants, with its own headers, and then nothing more.
async fn is_gone(era: Era, service: &Service, server: &McpServer, gate: &Gate) {
    gate.given_up(1).await;
    no_run_left(service).await;
    if let Some(last) = farewell(era).last() {
        server.wait_for(last, |seen| seen.method() == *last || seen.http == *last).await;
    }
    // Whatever were still to come would come before another run is through.
    gate.open();
    service.run(run_as("a", "bob")).await.unwrap();
    let seen = server.seen();
    let alices: Vec<_> = seen.iter().filter(|seen| seen.header("authorization") == "Bearer alice").collect();
    let call = alices.iter().position(|seen| seen.method() == "tools/call").unwrap();
    let names: Vec<&str> = alices[call + 1..]
        .iter()
        .map(|seen| if seen.method().is_empty() { seen.http.as_str() } else { seen.method() })
        .collect();
    assert_eq!(names, farewell(era), "{era:?}");
    for told in alices[call + 1..].iter().filter(|seen| seen.method() == "notifications/cancelled") {
        assert_eq!(told.body["params"]["requestId"], alices[call].body["id"], "{era:?}");
    }
    assert!(seen.iter().all(|seen| ["Bearer alice", "Bearer bob"].contains(&seen.header("authorization"))));
}

#[tokio::test]
async fn a_cancelled_run_says_why_tells_its_server_and_leaves_nothing() {
    for era in ERAS {
        let gate = Gate::closed();
        let server = McpServer::slow(era, &gate).await;
        let service = Service::start(&whoami_config(&server.url())).await;
        let (mut stream, run_id, control_token) = up_to_a_call(&service, run_as("a", "alice")).await;
        gate.entered(1).await;
        let reason = "the user went home".to_owned();
        let cancel = CancelRunRequest { run_id, control_token, reason };
        service.agents.clone().cancel_run(cancel.clone()).await.unwrap();
        let status = soon("the end", stream.message()).await.unwrap_err();
        let decoded = decode(&status);
        assert_eq!((status.code(), &*decoded.reason), (Code::Aborted, "RUN_CANCELLED"));
        assert!(status.message().contains("the user went home"), "{status:?}");
        assert_eq!(decoded.metadata["tool_calls_started"], "1");
        assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "-1");
        assert_eq!(decoded.progress.unwrap().tool_calls[0].status(), ToolCallStatus::Unknown);
        is_gone(era, &service, &server, &gate).await;
        let status = service.agents.clone().cancel_run(cancel).await.unwrap_err();
        assert_eq!(decode(&status).reason, "RUN_NOT_FOUND");
    }
}

#[tokio::test]
async fn a_client_that_goes_in_the_midst_of_a_tool_call_ends_its_run() {
    for era in ERAS {
        for streamed in [true, false] {
            let gate = Gate::closed();
            let server = McpServer::slow(era, &gate).await;
            let service = Service::start(&whoami_config(&server.url())).await;
            if streamed {
                let (stream, ..) = up_to_a_call(&service, run_as("a", "alice")).await;
                gate.entered(1).await;
                drop(stream);
            } else {
                let mut agents = service.agents.clone();
                let run = tokio::spawn(async move { agents.run(run_as("a", "alice")).await });
                gate.entered(1).await;
                run.abort();
            }
            is_gone(era, &service, &server, &gate).await;
        }
    }
}

#[tokio::test]
async fn a_client_that_goes_while_the_model_is_asked_ends_its_run() {
    for streamed in [true, false] {
        let gate = Gate::closed();
        let at = gate.clone();
        let model = ModelServer::start(move |_: Value| {
            let gate = at.clone();
            async move {
                gate.pass().await;
                says("done")
            }
        })
        .await;
        let service = Service::start(&asking_config(&model.base_url(), &[])).await;
        let mut agents = service.agents.clone();
        let client = tokio::spawn(async move {
            if !streamed {
                return agents.run(run_with("a", [])).await.map(drop);
            }
            let mut stream = agents.run_streamed(run_with("a", [])).await.unwrap().into_inner();
            while stream.message().await.unwrap().is_some() {}
            Ok(())
        });
        gate.entered(1).await;
        client.abort();
        gate.given_up(1).await;
        no_run_left(&service).await;
        assert_eq!(model.seen().len(), 1);
    }
}
