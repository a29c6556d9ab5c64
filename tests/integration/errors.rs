//! What a run that is not taken, or that runs out of time, is told.

use std::time::Duration;

use runwright::grpc::proto::{
    CancelRunRequest, ListAgentsRequest, RunOptions, RunRequest, RunResponse, ToolCallStatus,
    run_event::Event,
};
use tonic::{Code, Request, Status, client::Grpc};
use tonic_prost::ProstCodec;

use crate::support::{
    error::{Decoded, decode},
    gate::Gate,
    mcp_server::{Era, McpServer},
    no_run_left, run_with,
    scene::Full,
    service::{Service, whoami_config},
};

fn refused(status: &Status, code: Code, reason: &str) -> Decoded {
    let decoded = decode(status);
    assert_eq!((status.code(), &*decoded.reason), (code, reason), "{status:?}");
    assert_eq!(decoded.metadata["admitted"], "false");
    assert!(!decoded.metadata.contains_key("run_id") && decoded.progress.is_none());
    assert!(status.metadata().get("grpc-retry-pushback-ms").is_none());
    decoded
}

#[tokio::test]
async fn an_agent_that_is_not_there_is_not_found_whatever_else_is_wrong() {
    let service = Service::start(&whoami_config("http://127.0.0.1:9/mcp")).await;
    for agent in ["nobody", "A", "", "x\ny", &"🦀".repeat(1000)] {
        let wrong = RunRequest {
            options: Some(RunOptions { max_turns: -1, ..Default::default() }),
            ..run_with(agent, [("nobody", Default::default())])
        };
        let status = service.run(wrong.clone()).await.unwrap_err();
        let decoded = refused(&status, Code::NotFound, "AGENT_NOT_FOUND");
        let shown: String = agent.chars().take(64).collect();
        assert_eq!(decoded.metadata["agent"], shown);
        let says = if agent.is_empty() { "`agent` is required" } else { "there is no agent `" };
        let message = status.message();
        assert!(!message.contains('\n'), "{message}");
        assert!(
            message.starts_with(says) && message.ends_with("CatalogService.ListAgents lists them"),
            "{message}"
        );
        let (events, end) = service.events(wrong).await;
        assert!(events.is_empty());
        refused(&end.unwrap_err(), Code::NotFound, "AGENT_NOT_FOUND");
    }
}

#[tokio::test]
async fn a_run_is_found_by_its_id_and_its_own_token_while_it_streams() {
    let gate = Gate::closed();
    let server = McpServer::slow(Era::Modern, &gate).await;
    let service = Service::start(&whoami_config(&server.url())).await;
    let mut streams = Vec::new();
    let mut started = Vec::new();
    for _ in 0..2 {
        let mut stream = service.agents.clone().run_streamed(run_with("a", [])).await.unwrap().into_inner();
        let first = stream.message().await.unwrap().unwrap();
        let Some(Event::RunStarted(run)) = first.event else { panic!("{first:?}") };
        started.push((first.run_id, run.control_token, run.instance));
        streams.push(stream);
    }
    let unary = tokio::spawn({
        let mut agents = service.agents.clone();
        async move { agents.run(run_with("a", [])).await }
    });
    gate.entered(3).await;

    let [(run, token, instance), (_, others, _)] = &started[..] else { panic!() };
    let cancel = async |run_id: &str, control_token: &str| {
        let request = CancelRunRequest {
            run_id: run_id.to_owned(),
            control_token: control_token.to_owned(),
            reason: String::new(),
        };
        service.agents.clone().cancel_run(request).await
    };
    let strange = "0190a000-0000-7000-8000-000000000000";
    for (run_id, token) in [
        (run.as_str(), others.as_str()),
        (run, ""),
        (run, "!"),
        (strange, token),
        ("", token),
        ("no id", token),
    ] {
        let status = cancel(run_id, token).await.unwrap_err();
        let decoded = refused(&status, Code::NotFound, "RUN_NOT_FOUND");
        assert_eq!(decoded.metadata["instance"], *instance);
        assert!(status.message().contains(instance), "{status:?}");
        assert!(!status.message().contains(token) || token.is_empty());
    }
    gate.open();
    for mut stream in streams {
        while stream.message().await.unwrap().is_some() {}
    }
    let unary = unary.await.unwrap().unwrap().into_inner();
    for run_id in [run, &unary.run_id] {
        refused(&cancel(run_id, token).await.unwrap_err(), Code::NotFound, "RUN_NOT_FOUND");
    }
}

#[tokio::test]
async fn a_request_over_the_limit_is_too_large_and_keeps_its_id() {
    let server = McpServer::start(Era::Modern).await;
    let yaml = format!("{}limits: {{ max_request_bytes: 64KiB }}\n", whoami_config(&server.url()));
    let service = Service::start(&yaml).await;
    let sized = |bytes| {
        let mut request = Request::new(RunRequest { input: "x".repeat(bytes), ..run_with("a", []) });
        request.metadata_mut().insert("x-request-id", "too-large-1".parse().unwrap());
        request
    };
    for status in [
        service.agents.clone().run(sized(64 * 1024)).await.unwrap_err(),
        service.agents.clone().run_streamed(sized(5 * 1024 * 1024)).await.unwrap_err(),
    ] {
        let decoded = refused(&status, Code::ResourceExhausted, "REQUEST_TOO_LARGE");
        assert_eq!(decoded.metadata["request_id"], "too-large-1");
        assert_eq!(status.metadata().get("x-request-id").unwrap(), "too-large-1");
    }
    service.agents.clone().run(sized(63 * 1024)).await.unwrap();
}

#[tokio::test]
async fn bytes_that_are_no_message_are_an_invalid_request() {
    let service = Service::start(&whoami_config("http://127.0.0.1:9/mcp")).await;
    // Where a run's request has a text, this one has a number.
    let mut request = Request::new(ListAgentsRequest { page_size: 1, ..Default::default() });
    request.metadata_mut().insert("x-request-id", "no-message-1".parse().unwrap());
    let mut client = Grpc::new(service.channel.clone());
    client.ready().await.unwrap();
    let codec = ProstCodec::<ListAgentsRequest, RunResponse>::default();
    let path = "/runwright.v1.AgentService/Run".parse().unwrap();
    let status = client.unary(request, path, codec).await.unwrap_err();
    let decoded = refused(&status, Code::InvalidArgument, "INVALID_REQUEST");
    assert_eq!((decoded.violations().len(), &*decoded.metadata["request_id"]), (1, "no-message-1"));
}

#[tokio::test]
async fn a_timeout_that_is_none_is_refused_and_not_passed_over() {
    let mut service = Service::start(&whoami_config("http://127.0.0.1:9/mcp")).await;
    // A client that computes in fractions of a millisecond sends the first.
    for junk in ["19999.999097m", "5", "123456789S", "soon"] {
        let mut request = Request::new(run_with("a", []));
        request.metadata_mut().insert("grpc-timeout", junk.parse().unwrap());
        let status = service.agents.run(request).await.unwrap_err();
        let decoded = refused(&status, Code::InvalidArgument, "INVALID_REQUEST");
        assert_eq!(decoded.fields(), ["metadata.grpc-timeout"], "{junk}");
    }
}

#[tokio::test]
async fn one_run_too_many_is_refused_and_taken_when_there_is_room() {
    let full = Full::start().await;
    let (server, service) = (&full.server, &full.service);
    let asked = server.seen().len();
    let unary = service.run(run_with("a", [])).await.unwrap_err();
    let (events, streamed) = service.events(run_with("a", [])).await;
    assert!(events.is_empty());
    for status in [unary, streamed.unwrap_err()] {
        let decoded = refused(&status, Code::Unavailable, "OVERLOADED");
        let delay = decoded.retry_info.unwrap().retry_delay.unwrap();
        assert!(Duration::try_from(delay).unwrap() > Duration::ZERO);
    }
    assert_eq!(server.seen().len(), asked, "a refused run asks nobody");
    full.clear().await.run(run_with("a", [])).await.unwrap();
}

/// A run that hangs in a tool and has little time, unary and streamed: it ends with our own report.
async fn runs_out_of_time(change: impl Fn(String) -> String, request: impl Fn() -> Request<RunRequest>) {
    let gate = Gate::closed();
    let server = McpServer::slow(Era::Modern, &gate).await;
    let service = Service::start(&change(whoami_config(&server.url()))).await;
    let unary = service.agents.clone().run(request()).await.unwrap_err();
    let mut stream = service.agents.clone().run_streamed(request()).await.unwrap().into_inner();
    let streamed = loop {
        match stream.message().await {
            Ok(event) => assert!(event.is_some(), "the stream ended well"),
            Err(status) => break status,
        }
    };
    for status in [unary, streamed] {
        let decoded = decode(&status);
        assert_eq!((status.code(), &*decoded.reason), (Code::DeadlineExceeded, "RUN_TIMEOUT"), "{status:?}");
        assert_eq!((&*decoded.metadata["admitted"], &*decoded.metadata["tool_calls_started"]), ("true", "1"));
        assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "-1");
        let progress = decoded.progress.unwrap();
        assert_eq!((progress.turns, progress.tool_calls.len()), (1, 1));
        let call = &progress.tool_calls[0];
        assert!(call.status() == ToolCallStatus::Unknown && call.duration.is_some(), "{call:?}");
    }
    gate.given_up(2).await;
    no_run_left(&service).await;
}

#[tokio::test]
async fn each_limit_of_time_ends_a_run_with_its_report() {
    let plain = || Request::new(run_with("a", []));
    runs_out_of_time(
        |yaml| yaml,
        || {
            let timeout = Some(prost_types::Duration { seconds: 1, nanos: 0 });
            let options = RunOptions { timeout, ..Default::default() };
            Request::new(RunRequest { options: Some(options), ..run_with("a", []) })
        },
    )
    .await;
    runs_out_of_time(|yaml| yaml.replace("a: { model", "a: { timeout: 1s, model"), plain).await;
    runs_out_of_time(|yaml| format!("{yaml}limits: {{ run_timeout: 1s }}\n"), plain).await;
    // The client's own timer goes off later, unary or streamed.
    runs_out_of_time(
        |yaml| yaml,
        || {
            let mut request = plain();
            request.set_timeout(Duration::from_millis(1250));
            request
        },
    )
    .await;
}

#[tokio::test]
async fn a_request_can_only_lower_a_limit_of_time() {
    runs_out_of_time(
        |yaml| yaml.replace("a: { model", "a: { timeout: 1s, model"),
        || {
            let timeout = Some(prost_types::Duration { seconds: 3600, nanos: 0 });
            let options = RunOptions { timeout, ..Default::default() };
            let mut request = Request::new(RunRequest { options: Some(options), ..run_with("a", []) });
            request.set_timeout(Duration::from_secs(3600));
            request
        },
    )
    .await;
}

#[tokio::test]
async fn a_server_that_hears_no_goodbye_does_not_keep_the_report_from_its_reader() {
    let gate = Gate::closed();
    let hold = gate.clone();
    // It opens and lists, and then answers nothing more: no call, no cancellation, no DELETE.
    let server = McpServer::with_hook(Era::Stateful, move |seen| {
        let gate = hold.clone();
        async move {
            if matches!(seen.method(), "tools/call" | "notifications/cancelled" | "") {
                gate.pass().await;
            }
            None
        }
    })
    .await;
    let service = Service::start(&whoami_config(&server.url())).await;
    let mut request = Request::new(run_with("a", []));
    request.set_timeout(Duration::from_millis(800));
    let status = service.agents.clone().run(request).await.unwrap_err();
    let decoded = decode(&status);
    assert_eq!((status.code(), &*decoded.reason), (Code::DeadlineExceeded, "RUN_TIMEOUT"), "{status:?}");
    server.wait_for("the cancellation", |seen| seen.method() == "notifications/cancelled").await;
    no_run_left(&service).await;
}
