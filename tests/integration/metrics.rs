//! What is counted and measured, as Prometheus reads it.

mod everything;
mod promql;
mod rules;

use std::future;

use axum::http::StatusCode;
use runwright::grpc::proto::{CancelRunRequest, HeaderSet, ListAgentsRequest, RunOptions, RunRequest};
use serde_json::{Value, json};
use tonic::{Code, Request};

use crate::support::{
    error::decode,
    gate::Gate,
    headers,
    inputs::{Scene, client_tool},
    leak::{Sinks, assert_no_leak, canary},
    mcp_server::{Era, McpServer, empty, json_response, tool, unauthorized},
    metrics::{Page, get, page, page_where},
    model_server::{ModelServer, calls, has_result, says},
    reader::{Reader, waiting},
    run_as, run_with,
    scene::{answering, reason},
    service::{Service, asking_config, whoami_config},
};
use everything::Everything;

const RUN: &str = "runwright.v1.AgentService/Run";
const RUN_STREAMED: &str = "runwright.v1.AgentService/RunStreamed";

fn calls_of(page: &Page, method: &str, code: &str, error: Option<&str>) -> Option<f64> {
    let name = "rpc_server_call_duration_seconds_count";
    let (method, system) = (("rpc_method", method), ("rpc_system_name", "grpc"));
    let code = ("rpc_response_status_code", code);
    match error {
        Some(error) => page.find(name, [method, system, code, ("error_type", error)]),
        None => page.find(name, [method, system, code]),
    }
}

/// A model that asks for all these tools, as many at once as it may.
async fn calling_all(names: Vec<String>) -> ModelServer {
    ModelServer::start(move |body| {
        let messages = body["messages"].as_array().unwrap();
        let done = messages.iter().filter(|message| message["role"] == "tool").count();
        let call = |(at, name): (usize, &String)| {
            let function = json!({ "name": name, "arguments": "{}" });
            json!({ "id": format!("call_{at}"), "type": "function", "function": function })
        };
        let calls: Vec<Value> = names.iter().enumerate().skip(done).take(100).map(call).collect();
        let message = json!({ "role": "assistant", "content": null, "tool_calls": calls });
        let asks = json_response(&json!({ "choices": [{ "index": 0, "message": message }] }));
        future::ready(if calls.is_empty() { says("done") } else { asks })
    })
    .await
}

#[tokio::test]
async fn what_runs_come_to_is_counted() {
    let all = Everything::start().await;
    let before = (all.crm.seen().len(), all.model.seen().len());
    let page = page(&all.service).await;
    assert_eq!((all.crm.seen().len(), all.model.seen().len()), before, "nobody is asked for the page");

    let runs = "runwright_runs_total";
    let of_a = ("agent", "a");
    assert_eq!(page.value(runs, [of_a, ("finish_reason", "stop"), ("mode", "unary")]), 3.0);
    assert_eq!(page.value(runs, [of_a, ("finish_reason", "stop"), ("mode", "streamed")]), 1.0);
    for (error, fault) in [("MODEL_REJECTED", "upstream"), ("MCP_UNAUTHORIZED", "caller")] {
        let labels = [of_a, ("error_type", error), ("fault", fault), ("mode", "unary")];
        assert_eq!(page.value(runs, labels), 1.0);
    }
    assert_eq!(page.value("runwright_run_duration_seconds_count", [of_a, ("mode", "unary")]), 5.0);
    let longest = [of_a, ("mode", "unary"), ("le", "600")];
    assert_eq!(page.value("runwright_run_duration_seconds_bucket", longest), 5.0);
    assert_eq!(page.value("gen_ai_invoke_agent_duration_seconds_count", [("gen_ai_agent_name", "a")]), 4.0);
    assert_eq!(
        (page.value("runwright_live_runs", []), page.value("runwright_live_runs_limit", [])),
        (0.0, 7.0)
    );
    // Of 9 answers: two of each run that ended well, and the first of the one that was refused.
    assert_eq!(page.value("runwright_tokens_total", [of_a, ("type", "input")]), 27.0);
    assert_eq!(page.value("runwright_tokens_total", [of_a, ("type", "output")]), 18.0);
    assert_eq!(page.value("runwright_build_info", [("version", env!("CARGO_PKG_VERSION"))]), 1.0);
    assert!(page.value("process_start_time_seconds", []) > 0.0 && page.value("process_open_fds", []) > 3.0);
}

#[tokio::test]
async fn a_refused_credential_is_the_fault_of_whoever_brought_it() {
    let crm = answering(Era::Modern, |_| Some(unauthorized("Bearer"))).await;
    let model = ModelServer::start(|_| future::ready(empty(StatusCode::UNAUTHORIZED))).await;
    let server = |headers: &str| format!("{{ url: \"{}\", headers: {headers} }}", crm.url());
    let yaml = format!(
        r#"
models: {{ main: {{ provider: openai_chat, base_url: "{}", model: m-1, api_key: expired }} }}
mcp_servers: {{ registered: {}, open: {} }}
agents:
  of_server: {{ model: main, mcp_servers: [registered] }}
  of_agent: {{ model: main, mcp_servers: [{{ name: open, headers: {{ Authorization: Bearer expired }} }}] }}
  of_caller: {{ model: main, mcp_servers: [open] }}
  keyed: {{ model: main }}
"#,
        model.base_url(),
        server("{ Authorization: Bearer expired }"),
        server("{ X-Team: blue }"),
    );
    let service = Service::start(&yaml).await;
    let set = || headers([("Authorization", "Bearer expired")]);
    let for_model = |set| RunRequest {
        per_run_model_headers: [("main".to_owned(), set)].into(),
        ..run_with("keyed", [])
    };
    let removal = HeaderSet { remove: vec!["authorization".into()], ..HeaderSet::default() };
    let without_key = headers([("x-team", "red")]);
    for (request, error, fault) in [
        (run_with("of_server", []), "MCP_UNAUTHORIZED", "upstream"),
        (run_with("of_agent", []), "MCP_UNAUTHORIZED", "upstream"),
        (run_with("of_agent", [("open", set())]), "MCP_UNAUTHORIZED", "caller"),
        (RunRequest { mcp_headers: Some(set()), ..run_with("of_caller", []) }, "MCP_UNAUTHORIZED", "caller"),
        // Nobody brought one, and only the caller can.
        (run_with("of_caller", []), "MCP_UNAUTHORIZED", "caller"),
        (run_with("keyed", []), "MODEL_UNAUTHORIZED", "upstream"),
        (for_model(without_key), "MODEL_UNAUTHORIZED", "upstream"),
        (for_model(set()), "MODEL_UNAUTHORIZED", "caller"),
        (for_model(removal), "MODEL_UNAUTHORIZED", "caller"),
    ] {
        let agent = request.agent.clone();
        let counted = async || {
            let labels = [("agent", &*agent), ("error_type", error), ("fault", fault), ("mode", "unary")];
            page(&service).await.find("runwright_runs_total", labels).unwrap_or_default()
        };
        let before = counted().await;
        assert_eq!(reason(&service.run(request).await.unwrap_err()).1, error, "{agent}");
        assert_eq!(counted().await, before + 1.0, "{agent}: {fault}");
    }
}

#[tokio::test]
async fn what_models_and_tools_come_to_is_counted() {
    let all = Everything::start().await;
    let page = page(&all.service).await;
    let asked = [
        ("gen_ai_operation_name", "chat"),
        ("gen_ai_provider_name", "openai"),
        ("gen_ai_request_model", "m-1"),
    ];
    let [operation, provider, model] = asked;
    let requests = "gen_ai_client_operation_duration_seconds_count";
    assert_eq!(page.value(requests, asked), 11.0);
    assert_eq!(page.value(requests, [operation, provider, model, ("error_type", "MODEL_REJECTED")]), 1.0);
    let used = |kind| {
        page.value("gen_ai_client_token_usage_sum", [operation, provider, model, ("gen_ai_token_type", kind)])
    };
    assert_eq!((used("input"), used("output")), (33.0, 22.0));
    assert_eq!(page.value("gen_ai_client_operation_time_to_first_chunk_seconds_count", asked), 2.0);

    let called = |server, tool, outcome| {
        page.find(
            "runwright_tool_calls_total",
            [("mcp_server", server), ("tool", tool), ("outcome", outcome)],
        )
    };
    assert_eq!(called("crm", "whoami", "ok"), Some(3.0));
    assert_eq!(called("crm", "fail", "error"), Some(1.0));
    assert_eq!(called("crm", "whoami", "error"), Some(1.0), "401");
    assert_eq!(called("_none", "_none", "refused"), Some(1.0));
    let operations = |method, error: Option<&str>| {
        let name = "mcp_client_operation_duration_seconds_count";
        let (server, method) = (("mcp_server", "crm"), ("mcp_method_name", method));
        match error {
            Some(error) => page.find(name, [server, method, ("error_type", error)]),
            None => page.find(name, [server, method]),
        }
    };
    assert_eq!(operations("tools/call", None), Some(3.0));
    assert_eq!(operations("tools/call", Some("tool_error")), Some(1.0));
    assert_eq!(operations("tools/call", Some("401")), Some(1.0));
    assert_eq!(page.value("runwright_mcp_unauthorized_total", [("mcp_server", "crm")]), 1.0);
    let opened = page.value("runwright_mcp_clients_opened_total", [("mcp_server", "crm")]);
    assert_eq!(operations("server/discover", None), Some(opened));
    let evicted = [("mcp_server", "crm"), ("reason", "capacity")];
    assert_eq!(page.value("runwright_mcp_clients_evicted_total", evicted), opened - 1.0);
    assert_eq!(page.value("runwright_mcp_clients", [("mcp_server", "crm"), ("state", "open")]), 1.0);
}

#[tokio::test]
async fn calls_and_refusals_are_counted_by_reasons_and_not_by_what_was_asked_for() {
    let all = Everything::start().await;
    let long = RunRequest { input: "x".repeat(2 << 20), ..run_as("a", "alice") };
    assert_eq!(reason(&all.service.run(long).await.unwrap_err()).1, "REQUEST_TOO_LARGE");
    let mut odd = Request::new(ListAgentsRequest::default());
    odd.metadata_mut().insert("x-request-id", "with space".parse().unwrap());
    assert_eq!(reason(&all.service.catalog.clone().list_agents(odd).await.unwrap_err()).1, "INVALID_REQUEST");

    let page = page(&all.service).await;
    let refused = |reason| page.find("runwright_refusals_total", [("reason", reason)]);
    for reason in ["AGENT_NOT_FOUND", "RUN_NOT_FOUND", "REQUEST_TOO_LARGE", "INVALID_REQUEST"] {
        assert_eq!(refused(reason), Some(1.0), "{reason}");
    }
    assert_eq!(refused("MODEL_REJECTED"), None, "it was admitted");
    assert_eq!(calls_of(&page, RUN, "OK", None), Some(3.0));
    assert_eq!(calls_of(&page, RUN, "NOT_FOUND", Some("AGENT_NOT_FOUND")), Some(1.0));
    assert_eq!(calls_of(&page, RUN, "RESOURCE_EXHAUSTED", Some("REQUEST_TOO_LARGE")), Some(1.0));
    assert_eq!(calls_of(&page, RUN, "FAILED_PRECONDITION", Some("MODEL_REJECTED")), Some(1.0));
    assert_eq!(calls_of(&page, RUN_STREAMED, "OK", None), Some(2.0));
    let list = "runwright.v1.CatalogService/ListAgents";
    assert_eq!(calls_of(&page, list, "INVALID_ARGUMENT", Some("INVALID_REQUEST")), Some(1.0));
    assert!(!page.text.contains("no-such-agent"), "a name that nobody configured is no label");
}

#[tokio::test]
async fn live_runs_and_streams_are_told_while_they_are_live_and_one_that_is_left_is_counted() {
    let gate = Gate::closed();
    let server = McpServer::slow(Era::Modern, &gate).await;
    let yaml = format!("limits: {{ max_concurrent_runs: 1 }}\n{}", whoami_config(&server.url()));
    let service = Service::start(&yaml).await;
    let run = Reader::start(&service, run_as("a", "alice")).await;
    gate.entered(1).await;
    let live = page(&service).await;
    assert_eq!((live.value("runwright_live_runs", []), live.value("runwright_live_streams", [])), (1.0, 1.0));
    let full = service.run(run_as("a", "bob")).await.unwrap_err();
    assert_eq!(reason(&full), (Code::Unavailable, "OVERLOADED".to_owned()));

    drop(run);
    let left = page_where(&service, "the end of the stream", |page| {
        page.value("runwright_live_runs", []) == 0.0 && page.value("runwright_live_streams", []) == 0.0
    })
    .await;
    let labels = [("agent", "a"), ("mode", "streamed"), ("error_type", "RUN_CANCELLED"), ("fault", "caller")];
    assert_eq!(left.value("runwright_runs_total", labels), 1.0);
    assert_eq!(calls_of(&left, RUN_STREAMED, "CANCELLED", Some("RUN_CANCELLED")), Some(1.0));
    assert_eq!(left.value("runwright_refusals_total", [("reason", "OVERLOADED")]), 1.0);
    let aborted = [("mcp_server", "crm"), ("tool", "whoami"), ("outcome", "aborted")];
    assert_eq!(left.value("runwright_tool_calls_total", aborted), 1.0);
}

#[tokio::test]
async fn waits_for_callers_are_told_while_they_last_and_counted_when_they_end() {
    let server = answering(Era::Modern, |seen| {
        (seen.header("authorization") == "Bearer old").then(|| unauthorized("Bearer error=\"invalid_token\""))
    })
    .await;
    let scene = Scene::with(server, &[("whoami", "{}")], "approval: [whoami]", "").await;
    let service = &scene.service;
    let waits = |kind, outcome| [("kind", kind), ("outcome", outcome)];
    let total = "runwright_caller_waits_total";

    let mut run = Reader::start(service, waiting(run_as("a", "old"))).await;
    run.asked().await;
    assert_eq!(page(service).await.value("runwright_waiting_for_caller", [("kind", "credentials")]), 1.0);
    run.bring("new").await;
    run.asked().await;
    let now = page(service).await;
    assert_eq!(now.value("runwright_waiting_for_caller", [("kind", "credentials")]), 0.0);
    assert_eq!(now.value("runwright_waiting_for_caller", [("kind", "approval")]), 1.0);
    assert_eq!(now.value(total, waits("credentials", "answered")), 1.0);
    run.cancel().await;
    assert_eq!(reason(&run.end().await.unwrap_err()).1, "RUN_CANCELLED");
    let ended = page(service).await;
    assert_eq!(ended.value("runwright_waiting_for_caller", [("kind", "approval")]), 0.0);
    assert_eq!(ended.value(total, waits("approval", "unanswered")), 1.0);
}

#[tokio::test]
async fn nothing_that_a_caller_writes_is_in_the_page() {
    let words =
        ["header", "label", "label-key", "agent", "tool", "argument", "reason", "request"].map(canary);
    let [header, label, label_key, agent, own_tool, argument, why, request_id] = &words;
    let own_tool = own_tool.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    let names = [own_tool.clone(), "crm__whoami".to_owned(), "made_up_by_the_model".to_owned()];
    let (server, model) = (McpServer::start(Era::Modern).await, calling_all(names.to_vec()).await);
    let service = Service::start(&asking_config(&model.base_url(), &[("crm", &server.url())])).await;
    let request = RunRequest {
        labels: [(label_key.clone(), label.clone())].into(),
        input: argument.clone(),
        options: Some(RunOptions {
            client_tools: vec![client_tool(&own_tool, "{}")],
            ..RunOptions::default()
        }),
        ..run_with("a", [("crm", headers([("authorization", header.as_str())]))])
    };
    let mut named = Request::new(request.clone());
    named.metadata_mut().insert("x-request-id", request_id.parse().unwrap());
    service.agents.clone().run(named).await.unwrap();
    service.run(RunRequest { agent: agent.clone(), ..request }).await.unwrap_err();
    let cancel = CancelRunRequest { run_id: label.clone(), reason: why.clone(), ..Default::default() };
    service.agents.clone().cancel_run(cancel).await.unwrap_err();

    let page = page(&service).await;
    assert_eq!(page.sum("runwright_runs_total"), 1.0);
    let mut sinks = Sinks::default();
    sinks.add("the metrics", page.text.clone());
    for word in words.iter().chain([&own_tool, request_id]) {
        assert_no_leak(word, &sinks);
    }
    for word in ["made_up_by_the_model", &server.url(), &model.base_url()] {
        assert!(!page.text.contains(word), "{word}");
    }
}

#[tokio::test]
async fn a_server_of_many_tools_has_no_more_lines_than_are_told_apart() {
    let name = |n: usize| format!("tool_{n}_{}", "x".repeat(100));
    let server = answering(Era::Modern, move |seen| match seen.method() {
        "tools/list" => {
            let tools: Vec<_> = (0..300).map(|n| tool(&name(n))).collect();
            Some(seen.result(json!({ "resultType": "complete", "tools": tools })))
        }
        "tools/call" => Some(seen.tool_text("done")),
        _ => None,
    })
    .await;
    let model = calling_all((0..300).map(name).collect()).await;
    let service = Service::start(&asking_config(&model.base_url(), &[("crm", &server.url())])).await;
    service.run(run_as("a", "alice")).await.unwrap();
    let page = page(&service).await;
    let lines = page.samples.iter().filter(|sample| sample.name == "runwright_tool_calls_total");
    let lines: Vec<_> = lines.collect();
    assert_eq!(lines.len(), 201);
    assert_eq!(page.sum("runwright_tool_calls_total"), 300.0);
    assert!(lines.iter().all(|line| line.labels["tool"].len() <= 64));
}

#[tokio::test]
async fn a_model_that_is_given_up_is_measured_to_that_moment() {
    let gate = Gate::closed();
    let held = gate.clone();
    let model = ModelServer::start(move |body| {
        let gate = held.clone();
        async move {
            gate.pass().await;
            if has_result(&body) { says("done") } else { calls("whoami", "{}") }
        }
    })
    .await;
    let server = McpServer::start(Era::Modern).await;
    let service = Service::start(&asking_config(&model.base_url(), &[("crm", &server.url())])).await;
    let run = Reader::start(&service, run_as("a", "alice")).await;
    gate.entered(1).await;
    run.cancel().await;
    assert_eq!(decode(&run.end().await.unwrap_err()).reason, "RUN_CANCELLED");
    let labels = [
        ("error_type", "aborted"),
        ("gen_ai_operation_name", "chat"),
        ("gen_ai_provider_name", "openai"),
        ("gen_ai_request_model", "m-1"),
    ];
    let page = page(&service).await;
    assert_eq!(page.value("gen_ai_client_operation_duration_seconds_count", labels), 1.0);
}

#[tokio::test]
async fn only_the_path_itself_is_there() {
    let server = McpServer::start(Era::Modern).await;
    let service = Service::start(&whoami_config(&server.url())).await;
    for path in ["/metrics/", "/metrics/x", "/"] {
        assert!(get(&service, path).await.0.starts_with("HTTP/1.1 404 "), "{path}");
    }
    assert_eq!(page(&service).await.value("runwright_live_runs", []), 0.0, "before anything has happened");
}
