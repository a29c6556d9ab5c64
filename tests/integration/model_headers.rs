//! Headers that a run's caller brings for its model's provider: above the configured key, to nobody else.

use futures_util::future;
use runwright::grpc::proto::{HeaderSet, RunOptions, RunRequest, UpdateRunHeadersRequest, run_event::Event};
use serde_json::{Value, json};
use tonic::Code;

use crate::support::{
    error::decode,
    gate::Gate,
    headers,
    leak::{Sinks, assert_no_leak, canary},
    logs,
    mcp_server::{Era, McpServer, raw},
    model_server::{ModelServer, calls, has_result, says},
    reader::Reader,
    run_with,
    service::Service,
    soon,
};

const RUNS: usize = 200;

/// Agent `a` over `crm`, whose model `main` has a key and a header of its own; it may run `small`, too.
struct World {
    main: ModelServer,
    small: ModelServer,
    crm: McpServer,
    service: Service,
}

impl World {
    async fn start() -> Self {
        let crm = McpServer::start(Era::Modern).await;
        Self::over(calling_once().await, crm).await
    }

    async fn over(main: ModelServer, crm: McpServer) -> Self {
        let small = calling_once().await;
        let yaml = format!(
            r#"
models:
  main: {{ provider: openai_chat, base_url: "{}", model: m-1, api_key: configured, headers: {{ X-Team: blue }} }}
  small: {{ provider: openai_chat, base_url: "{}", model: s-1, api_key: of-small }}
  spare: {{ provider: openai_chat, base_url: "{}", model: s-2 }}
mcp_servers: {{ crm: {{ url: "{}" }} }}
agents:
  a: {{ model: main, allowed_models: [small], mcp_servers: [crm] }}
"#,
            main.base_url(),
            small.base_url(),
            small.base_url(),
            crm.url()
        );
        Self { service: Service::start(&yaml).await, main, small, crm }
    }

    fn nothing_was_asked(&self) -> bool {
        self.main.seen().is_empty() && self.small.seen().is_empty() && self.crm.seen().is_empty()
    }
}

/// A model that asks for `whoami`, and then is done.
async fn calling_once() -> ModelServer {
    ModelServer::start(
        |body| async move { if has_result(&body) { says("done") } else { calls("whoami", "{}") } },
    )
    .await
}

fn bringing<const N: usize>(sets: [(&str, HeaderSet); N]) -> RunRequest {
    let per_run_model_headers = sets.map(|(model, set)| (model.to_owned(), set)).into();
    RunRequest { per_run_model_headers, ..run_with("a", []) }
}

fn key(key: &str) -> HeaderSet {
    headers([("Authorization", &format!("Bearer {key}"))])
}

fn removing(names: &[&str]) -> HeaderSet {
    HeaderSet { remove: names.iter().map(ToString::to_string).collect(), ..HeaderSet::default() }
}

/// What a model was sent of a header, request by request; empty where it was sent none.
fn sent(model: &ModelServer, name: &str) -> Vec<String> {
    let value = |headers: &axum::http::HeaderMap| {
        let values: Vec<&str> = headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect();
        values.join(" and ")
    };
    model.seen().iter().map(|(headers, _)| value(headers)).collect()
}

#[tokio::test]
async fn a_callers_headers_replace_the_configured_ones_of_that_name_alone() {
    for (set, authorization, team, extra) in [
        (HeaderSet::default(), "Bearer configured", "blue", ""),
        (key("mine"), "Bearer mine", "blue", ""),
        (headers([("x-team", "red"), ("X-Extra", "1")]), "Bearer configured", "red", "1"),
        (removing(&["AUTHORIZATION"]), "", "blue", ""),
        (HeaderSet { remove: vec!["x-team".into()], ..key("mine") }, "Bearer mine", "", ""),
    ] {
        let world = World::start().await;
        world.service.run(bringing([("main", set.clone())])).await.unwrap();
        world.service.run_streamed(bringing([("main", set)])).await.unwrap();
        assert_eq!(sent(&world.main, "authorization"), [authorization; 4], "every turn, each once");
        assert_eq!(sent(&world.main, "x-team"), [team; 4]);
        assert_eq!(sent(&world.main, "x-extra"), [extra; 4]);
        // The next run has nothing of it.
        world.service.run(run_with("a", [])).await.unwrap();
        assert_eq!(sent(&world.main, "authorization")[4..], ["Bearer configured"; 2]);
        assert!(world.crm.seen().iter().all(|seen| seen.header("authorization").is_empty()));
    }
}

#[tokio::test]
async fn headers_are_for_the_model_that_runs() {
    let world = World::start().await;
    let choosing = |model: &str, ignore_unused_headers| {
        Some(RunOptions { model: model.into(), ignore_unused_headers, ..RunOptions::default() })
    };
    for (set, options, hint) in [
        ("small", None, true),
        ("main", choosing("small", false), true),
        ("spare", None, false),
        ("spare", choosing("", true), false),
        ("m-1", choosing("", true), false),
        ("", choosing("", true), false),
    ] {
        let request = RunRequest { options, ..bringing([(set, key("mine"))]) };
        let (_, end) = world.service.events(request.clone()).await;
        for status in [world.service.run(request).await.unwrap_err(), end.unwrap_err()] {
            let decoded = decode(&status);
            assert_eq!((status.code(), &*decoded.reason), (Code::InvalidArgument, "INVALID_REQUEST"));
            assert_eq!(decoded.fields(), [format!("per_run_model_headers[\"{set}\"]")]);
            assert_eq!(decoded.metadata["admitted"], "false");
            assert_eq!(status.message().contains("ignore_unused_headers"), hint, "{status:?}");
        }
    }
    assert!(world.nothing_was_asked());

    let both = || bringing([("main", key("for-main")), ("small", key("for-small"))]);
    world.service.run(RunRequest { options: choosing("", true), ..both() }).await.unwrap();
    world.service.run(RunRequest { options: choosing("small", true), ..both() }).await.unwrap();
    assert_eq!(sent(&world.main, "authorization"), ["Bearer for-main"; 2]);
    assert_eq!(sent(&world.small, "authorization"), ["Bearer for-small"; 2]);
}

#[tokio::test]
async fn the_closed_table_of_headers_holds_for_models_too() {
    let world = World::start().await;
    let long = "x".repeat(16 * 1024 + 1);
    for (name, value) in [
        ("Host", "x"),
        ("content-length", "5"),
        ("Accept", "x"),
        ("X-Request-Id", "x"),
        ("traceparent", "x"),
        ("mcp-session-id", "x"),
        ("x-forwarded-for", "x"),
        ("x y", "x"),
        (":authority", "x"),
        ("x-a", ""),
        ("x-a", " x"),
        ("x-a", "a\r\nb"),
        ("x-a", "ü"),
        ("x-a", &long),
    ] {
        let status = world.service.run(bringing([("main", headers([(name, value)]))])).await.unwrap_err();
        let decoded = decode(&status);
        assert_eq!(decoded.fields(), [format!("per_run_model_headers[\"main\"].headers[\"{name}\"]")]);
        assert_eq!(decoded.metadata["admitted"], "false");
    }
    for (set, field) in [
        (removing(&["host"]), "per_run_model_headers[\"main\"].remove[\"host\"]"),
        (
            HeaderSet { remove: vec!["authorization".into()], ..key("mine") },
            "per_run_model_headers[\"main\"].remove[\"authorization\"]",
        ),
        (headers([("X-A", "1"), ("x-a", "2")]), "per_run_model_headers[\"main\"].headers[\"x-a\"]"),
    ] {
        let status = world.service.run(bringing([("main", set)])).await.unwrap_err();
        assert_eq!(decode(&status).fields(), [field]);
    }
    // Those for a model that is not asked are looked at, too.
    for model in ["small", "nobody"] {
        let status = world.service.run(bringing([(model, headers([("x-a", " ")]))])).await.unwrap_err();
        let set = format!("per_run_model_headers[\"{model}\"]");
        assert_eq!(decode(&status).fields(), [set.clone(), format!("{set}.headers[\"x-a\"]")]);
    }
    let large: Vec<(String, String)> = (0..5).map(|n| (format!("x-{n}"), "x".repeat(16 * 1024))).collect();
    let many: Vec<(String, String)> = (0..65).map(|n| (format!("x-{n}"), "x".to_owned())).collect();
    for (set, field) in [(large, "per_run_model_headers"), (many, "per_run_model_headers[\"main\"]")] {
        let set = HeaderSet { headers: set.into_iter().collect(), remove: Vec::new() };
        let status = world.service.run(bringing([("main", set)])).await.unwrap_err();
        assert_eq!(decode(&status).fields(), [field]);
    }
    assert!(world.nothing_was_asked());
}

#[tokio::test]
async fn a_callers_key_reaches_its_provider_and_nobody_else() {
    let (logs, _guard) = logs::catch();
    let world = World::start().await;
    let secret = canary("key");
    let request = || {
        bringing([("main", headers([("authorization", &format!("Bearer {secret}")), ("x-org", &secret)]))])
    };
    let response = world.service.run(request()).await.unwrap();
    let (events, end) = world.service.events(request()).await;
    end.unwrap();
    let refused = bringing([("small", headers([("authorization", &secret)]))]);
    let refused = world.service.run(refused).await.unwrap_err();
    let slipped = bringing([("main", headers([(&format!("Authorization: Bearer {secret}"), "x")]))]);
    let slipped = world.service.run(slipped).await.unwrap_err();

    let mut sinks = Sinks::default();
    sinks.add_message("the response", &response).add_requests("the server's requests", &world.crm);
    events.iter().for_each(|event| {
        sinks.add_message("an event", event);
    });
    sinks.add_status("a refusal", &refused).add_status("another", &slipped).add("the log", logs.text());
    assert_no_leak(&secret, &sinks);
    assert!(logs.text().contains("A run has ended"));
    let mut at_model = Sinks::default();
    at_model.add_model_requests("the model's requests", &world.main);
    let found = std::panic::catch_unwind(|| assert_no_leak(&secret, &at_model));
    assert!(found.is_err(), "it was sent, and would be found");
}

#[tokio::test]
async fn a_provider_that_gives_a_callers_key_back_gives_it_to_nobody() {
    let (logs, _guard) = logs::catch();
    for status in [400, 401, 403, 404, 429, 500] {
        // As many providers' keys are made.
        let secret = canary("sk").replace(['"', '+', '~', '%', '/'], "-");
        let body = json!({ "error": { "message": secret, "code": secret, "type": secret } }).to_string();
        let main = ModelServer::start(move |_| {
            let status = axum::http::StatusCode::from_u16(status).unwrap();
            std::future::ready(raw(status, "application/json", body.clone()))
        })
        .await;
        let world = World::over(main, McpServer::start(Era::Modern).await).await;
        let request = || {
            bringing([(
                "main",
                headers([("authorization", &format!("Bearer {secret}")), ("api-key", &secret)]),
            )])
        };
        let (_, end) = world.service.events(request()).await;
        let mut sinks = Sinks::default();
        sinks
            .add_status("the status", &world.service.run(request()).await.unwrap_err())
            .add_status("the stream's status", &end.unwrap_err())
            .add("the log", logs.text());
        assert_no_leak(&secret, &sinks);
    }
}

#[tokio::test]
async fn headers_that_are_replaced_are_sent_from_the_next_request_on() {
    let gate = Gate::closed();
    let world = World::over(calling_once().await, McpServer::slow(Era::Modern, &gate).await).await;
    let run = Reader::start(&world.service, bringing([("main", key("old"))])).await;
    gate.entered(1).await;
    let update = |model: &str, set| UpdateRunHeadersRequest {
        per_run_model_headers: [(model.to_owned(), set)].into(),
        ..UpdateRunHeadersRequest::default()
    };
    for (request, field) in [
        (update("small", key("new")), "per_run_model_headers[\"small\"]"),
        (update("spare", key("new")), "per_run_model_headers[\"spare\"]"),
        (update("main", headers([("host", "x")])), "per_run_model_headers[\"main\"].headers[\"host\"]"),
    ] {
        let decoded = decode(&run.update(request).await.unwrap_err());
        assert_eq!(decoded.fields(), [field]);
        assert_eq!(decoded.metadata["admitted"], "false");
    }
    // What is wrong in one part keeps the other from being replaced.
    let mut half = update("main", key("half"));
    half.per_run_mcp_headers = [("wiki".to_owned(), key("half"))].into();
    assert_eq!(decode(&run.update(half).await.unwrap_err()).fields(), ["per_run_mcp_headers[\"wiki\"]"]);
    // It replaces the whole set.
    let applied = run.update(update("main", headers([("x-new", "1")]))).await.unwrap();
    assert!(applied.applied_headers["crm"].headers.is_empty(), "{applied:?}");
    gate.open();
    run.end().await.unwrap();
    assert_eq!(sent(&world.main, "authorization"), ["Bearer old", "Bearer configured"]);
    assert_eq!(sent(&world.main, "x-new"), ["", "1"]);
}

#[tokio::test]
async fn an_update_of_model_and_server_takes_both() {
    let gate = Gate::closed();
    let world = World::over(calling_once().await, McpServer::slow(Era::Modern, &gate).await).await;
    let run = Reader::start(&world.service, run_with("a", [])).await;
    gate.entered(1).await;
    let request = UpdateRunHeadersRequest {
        per_run_model_headers: [("main".to_owned(), key("model"))].into(),
        per_run_mcp_headers: [("crm".to_owned(), key("server"))].into(),
        ..UpdateRunHeadersRequest::default()
    };
    let applied = run.update(request).await.unwrap();
    assert_eq!(applied.applied_headers["crm"].headers[0].name, "authorization");
    gate.open();
    run.end().await.unwrap();
    assert_eq!(sent(&world.main, "authorization"), ["Bearer configured", "Bearer model"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_at_once_never_mix_their_keys() {
    let world = World::start().await;
    let runs = (0..RUNS).map(|number| {
        let mut request = bringing([("main", key(&format!("user-{number}")))]);
        request.input = format!("user-{number}");
        let service = &world.service;
        async move {
            if number % 2 == 0 {
                service.run(request).await.map(drop)
            } else {
                let (events, end) = service.events(request).await;
                assert!(matches!(events.last().unwrap().event, Some(Event::RunCompleted(_))));
                end
            }
        }
    });
    for ended in soon("all runs", future::join_all(runs)).await {
        ended.unwrap();
    }
    let seen = world.main.seen();
    assert_eq!(seen.len(), 2 * RUNS);
    for (headers, body) in seen {
        let user = body["messages"][0]["content"].as_str().unwrap();
        assert_eq!(headers["authorization"], format!("Bearer {user}"));
    }
}

/// A set of about so many KiB.
fn of_kib(kib: usize) -> HeaderSet {
    let headers = (0..kib / 8).map(|n| (format!("x-{n}"), "x".repeat(8 * 1024))).collect();
    HeaderSet { headers, remove: Vec::new() }
}

#[tokio::test]
async fn what_a_run_brings_for_model_and_servers_has_one_limit() {
    let world = World::start().await;
    let with_crm = |model, crm| {
        let mut request = bringing([("main", of_kib(model))]);
        request.per_run_mcp_headers = [("crm".to_owned(), of_kib(crm))].into();
        request
    };
    for (model, crm, field) in [
        (40, 32, Some("per_run_model_headers")),
        (32, 40, Some("per_run_mcp_headers")),
        (32, 24, None),
        (24, 32, None),
    ] {
        let ended = world.service.run(with_crm(model, crm)).await;
        match field {
            Some(field) => assert_eq!(decode(&ended.unwrap_err()).fields(), [field], "{model} {crm}"),
            None => drop(ended.unwrap()),
        }
    }
    assert_eq!(world.main.seen().len(), 4);
}

#[tokio::test]
async fn the_limit_holds_for_what_an_update_comes_to() {
    let gate = Gate::closed();
    let world = World::over(calling_once().await, McpServer::slow(Era::Modern, &gate).await).await;
    let mut request = bringing([("main", of_kib(24))]);
    request.per_run_mcp_headers = [("crm".to_owned(), of_kib(32))].into();
    let run = Reader::start(&world.service, request).await;
    gate.entered(1).await;
    let update = |model: Option<usize>, crm: Option<usize>| {
        let set = |name: &str, kib: Option<usize>| kib.map(|kib| (name.to_owned(), of_kib(kib)));
        UpdateRunHeadersRequest {
            per_run_model_headers: set("main", model).into_iter().collect(),
            per_run_mcp_headers: set("crm", crm).into_iter().collect(),
            ..UpdateRunHeadersRequest::default()
        }
    };
    for (model, crm, field) in [
        (Some(40), None, Some("per_run_model_headers")),
        (None, Some(48), Some("per_run_mcp_headers")),
        (Some(40), Some(40), Some("per_run_mcp_headers")),
        (Some(8), Some(48), None),
        (None, Some(8), None),
        (Some(48), None, None),
        (None, None, Some("per_run_mcp_headers")),
    ] {
        let updated = run.update(update(model, crm)).await;
        match field {
            Some(field) => assert_eq!(decode(&updated.unwrap_err()).fields(), [field], "{model:?} {crm:?}"),
            None => drop(updated.unwrap()),
        }
    }
    gate.open();
    run.end().await.unwrap();
}

/// What the audit record of the one run says of headers for models.
fn audited(logs: &logs::Logs) -> Option<Value> {
    let text = logs.text();
    let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let record = lines.find(|line| line["target"] == "runwright::audit").unwrap();
    record["model_headers"].as_str().map(|sets| serde_json::from_str(sets).unwrap())
}

#[tokio::test]
async fn what_was_sent_for_a_caller_is_in_the_audit_record_and_no_value() {
    let gate = Gate::closed();
    let world = World::over(calling_once().await, McpServer::slow(Era::Modern, &gate).await).await;
    let (logs, _guard) = logs::catch();
    let (first, second) = (canary("first"), canary("second"));
    let set = HeaderSet { remove: vec!["X-Team".into()], ..key(&first) };
    let run = Reader::start(&world.service, bringing([("main", set)])).await;
    gate.entered(1).await;
    let update = |value: &str| UpdateRunHeadersRequest {
        per_run_model_headers: [("main".to_owned(), headers([("x-org", value), ("Authorization", value)]))]
            .into(),
        ..UpdateRunHeadersRequest::default()
    };
    // The first of these is never sent.
    run.update(update("never-sent")).await.unwrap();
    run.update(update(&second)).await.unwrap();
    gate.open();
    run.end().await.unwrap();
    let sets = audited(&logs).unwrap();
    let [before, after] = &sets["main"].as_array().unwrap()[..] else { panic!("{sets}") };
    let named = |set: &Value| -> Vec<(String, String)> {
        let text = |header: &Value, key: &str| header[key].as_str().unwrap().to_owned();
        let headers = set["headers"].as_array().unwrap().iter();
        headers
            .map(|header| {
                assert_eq!(text(header, "digest").len(), 16);
                (text(header, "name"), text(header, "layer"))
            })
            .collect()
    };
    let of_model = |name: &str| (name.to_owned(), "run_model".to_owned());
    assert_eq!((named(before), &before["removed"]), (vec![of_model("authorization")], &json!(["x-team"])));
    assert_eq!(named(after), [of_model("authorization"), of_model("x-org")]);
    assert_ne!(before["headers"][0]["digest"], after["headers"][0]["digest"]);
    let mut sinks = Sinks::default();
    sinks.add("the log", logs.text());
    assert_no_leak(&first, &sinks);
    assert_no_leak(&second, &sinks);
}

#[tokio::test]
async fn a_run_that_brings_nothing_for_its_model_has_nothing_of_it_in_its_record() {
    let world = World::start().await;
    let (logs, _guard) = logs::catch();
    world.service.run(bringing([("main", HeaderSet::default())])).await.unwrap();
    assert_eq!(audited(&logs), None);
}
