//! What a run may come to, and what a model asks for that is not done: token and call limits, arguments that do not fit, and
//! results that are too long.

use runwright::grpc::proto::{
    ClientTool, FinishReason, RunOptions, RunRequest, RunResponse, ToolCall, ToolCallStatus, part::Part,
    run_event::Event,
};
use serde_json::{Value, json};
use tonic::Code;

use crate::support::{
    error::decode,
    logs,
    mcp_server::{Era, McpServer, empty},
    model_server::{ModelServer, calls, has_result, says},
    run_with,
    scene::{Full, answering, reason},
    service::{Service, asking_config},
};

/// A model that asks for `whoami` for ever; each answer takes 5 tokens.
async fn insatiable() -> ModelServer {
    ModelServer::start(|_| async { calls("whoami", "{}") }).await
}

/// A model that makes one call and says what came of it.
async fn calling(tool: &'static str, arguments: &str) -> ModelServer {
    let arguments = arguments.to_owned();
    ModelServer::start(move |body| {
        let answer = if has_result(&body) { says("done") } else { calls(tool, &arguments) };
        std::future::ready(answer)
    })
    .await
}

/// A server with tool `find`, which has this schema and answers with this text.
async fn finding(schema: Value, text: String) -> McpServer {
    answering(Era::Modern, move |seen| match seen.method() {
        "tools/list" => {
            let tool = json!({ "name": "find", "description": "Finds.", "inputSchema": schema });
            Some(seen.result(json!({ "resultType": "complete", "tools": [tool] })))
        }
        "tools/call" => Some(seen.tool_text(&text)),
        _ => None,
    })
    .await
}

/// Agent `a` over `crm`; `fields` are more of the agent.
async fn service(model: &ModelServer, crm: &McpServer, fields: &str) -> Service {
    let yaml = asking_config(&model.base_url(), &[("crm", &crm.url())]);
    Service::start(&yaml.replace("a: { model", &format!("a: {{ {fields}model"))).await
}

fn run(options: RunOptions) -> RunRequest {
    RunRequest { options: Some(options), ..run_with("a", []) }
}

async fn either(service: &Service, request: RunRequest, streamed: bool) -> RunResponse {
    if streamed { service.run_streamed(request).await } else { service.run(request).await }.unwrap()
}

fn calls_made(server: &McpServer) -> usize {
    server.seen().iter().filter(|seen| seen.method() == "tools/call").count()
}

/// The tool results that a model was shown last.
fn shown(model: &ModelServer) -> Vec<String> {
    let (_, body) = model.seen().pop().unwrap();
    let messages = body["messages"].as_array().unwrap();
    let results = messages.iter().filter(|message| message["role"] == "tool");
    results.map(|result| result["content"].as_str().unwrap().to_owned()).collect()
}

/// Whether each call in a request to a model has its result in the next messages, as providers want it.
fn is_whole(body: &Value) -> bool {
    let messages = body["messages"].as_array().unwrap();
    messages.iter().enumerate().all(|(at, message)| {
        let calls = message["tool_calls"].as_array().map_or(0, Vec::len);
        let results = messages[at + 1..].iter().take_while(|message| message["role"] == "tool").count();
        calls == 0 || calls == results
    })
}

/// A run goes on from what another one added.
async fn goes_on(service: &Service, model: &ModelServer, response: RunResponse) {
    let again = RunRequest { messages: response.new_messages, ..run_with("a", []) };
    service.run(again).await.unwrap();
    let (_, body) = model.seen().pop().unwrap();
    assert!(is_whole(&body), "{body}");
}

#[tokio::test]
async fn a_run_that_has_spent_its_tokens_says_so_and_can_be_gone_on_from() {
    for (agent, asked, turns) in [
        ("max_total_tokens: 10, ", 0, 2),
        ("max_total_tokens: 10, ", 5, 1),
        ("max_total_tokens: 5, ", 100, 1),
        ("", 6, 2),
        ("", 1, 1),
    ] {
        let (model, crm) = (insatiable().await, McpServer::start(Era::Modern).await);
        let service = service(&model, &crm, agent).await;
        for streamed in [false, true] {
            crm.forget();
            let options = RunOptions { max_total_tokens: asked, ..RunOptions::default() };
            let response = either(&service, run(options), streamed).await;
            assert_eq!(
                (response.finish_reason(), response.turns),
                (FinishReason::RunTokenLimit, turns),
                "{agent}{asked}"
            );
            assert_eq!(response.usage.unwrap().total_tokens, i64::from(turns) * 5);
            let statuses: Vec<ToolCallStatus> =
                response.tool_calls.iter().map(|call| call.status()).collect();
            assert_eq!(statuses.last(), Some(&ToolCallStatus::Error), "it was not made");
            assert_eq!(calls_made(&crm) + 1, statuses.len());
            goes_on(&service, &model, response).await;
        }
    }
}

#[tokio::test]
async fn an_answer_is_one_whatever_it_took() {
    let model = ModelServer::start(|_| async { says("done") }).await;
    let service = Service::start(&asking_config(&model.base_url(), &[])).await;
    let options = RunOptions { max_total_tokens: 1, max_tool_calls: 1, ..RunOptions::default() };
    let response = service.run(run(options)).await.unwrap();
    assert_eq!((response.finish_reason(), &*response.final_output), (FinishReason::Stop, "done"));
}

#[tokio::test]
async fn a_run_makes_no_more_calls_than_it_may() {
    for (agent, asked, made) in [
        ("max_tool_calls: 2, ", 0, 2),
        ("max_tool_calls: 2, ", 1, 1),
        ("max_tool_calls: 1, ", 100, 1),
        ("", 3, 3),
    ] {
        let (model, crm) = (insatiable().await, McpServer::start(Era::Modern).await);
        let service = service(&model, &crm, agent).await;
        for streamed in [false, true] {
            crm.forget();
            let options = RunOptions { max_tool_calls: asked, ..RunOptions::default() };
            let response = either(&service, run(options), streamed).await;
            assert_eq!(response.finish_reason(), FinishReason::ToolCallLimit, "{agent}{asked}");
            assert_eq!((calls_made(&crm), response.tool_calls.len()), (made, made + 1));
            assert_eq!(response.tool_calls[made].status(), ToolCallStatus::Error);
            goes_on(&service, &model, response).await;
        }
    }
}

#[tokio::test]
async fn the_limit_that_ends_a_run_is_the_one_that_it_names() {
    let (model, crm) = (insatiable().await, McpServer::start(Era::Modern).await);
    let service = service(&model, &crm, "max_turns: 3, max_total_tokens: 100, max_tool_calls: 50, ").await;
    let none = RunOptions::default;
    for (options, expected, turns) in [
        (none(), FinishReason::TurnLimit, 3),
        (RunOptions { max_total_tokens: 10, ..none() }, FinishReason::RunTokenLimit, 2),
        (RunOptions { max_tool_calls: 1, ..none() }, FinishReason::ToolCallLimit, 2),
        (RunOptions { max_turns: 1, ..none() }, FinishReason::TurnLimit, 1),
    ] {
        let response = service.run(run(options)).await.unwrap();
        assert_eq!((response.finish_reason(), response.turns), (expected, turns));
        let told = &response.new_messages.last().unwrap().parts[0].part;
        let Some(Part::ToolResult(result)) = told else { panic!("{told:?}") };
        assert!(result.is_error && result.text.starts_with("The tool was not run"), "{result:?}");
    }
}

#[tokio::test]
async fn arguments_that_do_not_fit_reach_no_server_and_the_model_is_told_why() {
    let schema = json!({
        "type": "object", "properties": { "id": { "type": "integer" } }, "required": ["id"],
        "additionalProperties": false,
    });
    let crm = finding(schema, "found".into()).await;
    for (arguments, problem) in [
        (r#"{"id": "7"}"#, "/id"),
        (r#"{"id": 7, "more": 1}"#, "more"),
        ("{}", "id"),
        ("", "id"),
        ("[7]", "no JSON object"),
    ] {
        let model = calling("find", arguments).await;
        // Nor does it end a run that ends when a tool fails: the tool did not.
        for fields in ["", "on_tool_error: fail_run, "] {
            let service = service(&model, &crm, fields).await;
            for streamed in [false, true] {
                let response = either(&service, run_with("a", []), streamed).await;
                assert_eq!(response.finish_reason(), FinishReason::Stop);
                assert_eq!(response.tool_calls[0].status(), ToolCallStatus::Error, "{arguments}");
                assert!(shown(&model)[0].contains(problem), "{arguments}: {:?}", shown(&model));
            }
        }
    }
    assert_eq!(calls_made(&crm), 0);
    let model = calling("find", r#"{"id": 7}"#).await;
    let response = service(&model, &crm, "").await.run(run_with("a", [])).await.unwrap();
    assert_eq!((response.tool_calls[0].status(), calls_made(&crm)), (ToolCallStatus::Ok, 1));
}

#[tokio::test]
async fn a_pattern_that_cannot_be_matched_leaves_the_rest_of_a_tools_schema_in_force() {
    // Not even one that is no pattern.
    for pattern in [r"(a)\1", "("] {
        let schema = json!({
            "type": "object", "required": ["id"], "additionalProperties": false,
            "properties": { "id": { "type": "string", "pattern": pattern }, "n": { "type": "integer" } },
        });
        let crm = finding(schema, "found".into()).await;
        for arguments in [r#"{"id": 7}"#, r#"{"id": "b", "n": "1"}"#, r#"{"id": "b", "more": 1}"#, "{}"] {
            let model = calling("find", arguments).await;
            let response = service(&model, &crm, "").await.run(run_with("a", [])).await.unwrap();
            assert_eq!(response.tool_calls[0].status(), ToolCallStatus::Error, "{arguments}");
            assert!(shown(&model)[0].contains("do not fit"), "{arguments}: {:?}", shown(&model));
        }
        assert_eq!(calls_made(&crm), 0);
        let model = calling("find", r#"{"id": "b", "n": 1}"#).await;
        let response = service(&model, &crm, "").await.run(run_with("a", [])).await.unwrap();
        assert_eq!((response.tool_calls[0].status(), calls_made(&crm)), (ToolCallStatus::Ok, 1));
    }
}

#[tokio::test]
async fn a_tool_whose_arguments_are_not_wholly_checked_is_told_of_once() {
    let with = |id: Value| json!({ "type": "object", "properties": { "id": id } });
    for (schema, told) in [
        (with(json!({ "pattern": r"(canary)\1" })), Some(json!(["WARN", "crm", "find", 1]))),
        (with(json!({ "type": "canary" })), Some(json!(["WARN", "crm", "find", null]))),
        (with(json!({ "pattern": "^(?=.*a)b" })), None),
    ] {
        let crm = finding(schema.clone(), "found".into()).await;
        let model = calling("find", "{}").await;
        let service = service(&model, &crm, "").await;
        let (logs, _guard) = logs::catch();
        for streamed in [false, true] {
            either(&service, run_with("a", []), streamed).await;
        }
        let text = logs.text();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let warnings =
            lines.filter(|line| line["message"].as_str().is_some_and(|it| it.contains("not wholly held")));
        let fields = ["level", "mcp_server", "tool", "schema.unmatched_patterns"];
        let warnings: Vec<Value> =
            warnings.map(|line| fields.map(|field| line[field].clone()).into()).collect();
        assert_eq!(warnings, Vec::from_iter(told), "{schema}");
        assert!(!text.contains("canary"), "what the schema says is not logged");
    }
}

#[tokio::test]
async fn a_schema_that_cannot_be_used_keeps_no_tool_from_being_called() {
    let elsewhere = McpServer::start(Era::Modern).await;
    let deep = (0..100).fold(json!({}), |inner, _| json!({ "not": inner }));
    for schema in [
        json!({ "type": "object", "$ref": format!("{}/schema", elsewhere.url()) }),
        json!({ "type": "object", "properties": { "id": { "$ref": "file:///etc/passwd" } } }),
        json!({ "type": "object", "properties": { "id": { "type": "no such type" } } }),
        json!({ "type": "object", "properties": { "id": deep } }),
        json!({ "type": "object", "description": "x".repeat(300_000) }),
    ] {
        let crm = finding(schema.clone(), "found".into()).await;
        let model = calling("find", r#"{"id": "7"}"#).await;
        let response = service(&model, &crm, "").await.run(run_with("a", [])).await.unwrap();
        let shown_schema: String = schema.to_string().chars().take(80).collect();
        assert_eq!(response.tool_calls[0].status(), ToolCallStatus::Ok, "{shown_schema}");
        assert_eq!((calls_made(&crm), shown(&model)), (1, vec!["found".to_owned()]));
    }
    assert!(elsewhere.seen().is_empty(), "nothing is fetched");
}

#[tokio::test]
async fn a_result_is_cut_at_the_agents_limit_with_a_mark() {
    let (model, crm) =
        (calling("find", "{}").await, finding(json!({ "type": "object" }), "é".repeat(1000)).await);
    let service = service(&model, &crm, "max_tool_result_bytes: 1KiB, ").await;
    let expected = format!("{} [cut: 976 bytes left out]", "é".repeat(512));
    let (events, end) = service.events(run_with("a", [])).await;
    end.unwrap();
    assert_eq!(shown(&model), [&*expected]);
    let completed = events.iter().find_map(|event| match &event.event {
        Some(Event::ToolCallCompleted(completed)) => Some(completed),
        _ => None,
    });
    let completed = completed.unwrap();
    assert_eq!((&*completed.result_text, completed.result_truncated), (&*"é".repeat(512), true));
    let Some(Event::RunCompleted(response)) = &events.last().unwrap().event else { panic!() };
    let results = response.new_messages.iter().flat_map(|message| &message.parts);
    let results: Vec<_> = results
        .filter_map(|part| match &part.part {
            Some(Part::ToolResult(result)) => Some(result.text.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(results, [expected]);
}

#[tokio::test]
async fn a_request_that_there_is_no_place_for_is_refused_unread_and_a_bad_one_gives_its_place_back() {
    let full = Full::start().await;
    let service = &full.service;
    let tool = ClientTool { name: "t".into(), input_schema_json: "[]".into(), ..ClientTool::default() };
    let bad = || {
        run(RunOptions {
            output_schema_json: "[]".into(),
            client_tools: vec![tool.clone()],
            ..RunOptions::default()
        })
    };
    let unary = service.run(bad()).await.unwrap_err();
    let (_, streamed) = service.events(bad()).await;
    for status in [unary, streamed.unwrap_err()] {
        assert_eq!(reason(&status), (Code::Unavailable, "OVERLOADED".to_owned()));
        assert_eq!(decode(&status).metadata["admitted"], "false");
    }
    // Its agent may have a limit of its own, so that is looked up first.
    let none = service.run(RunRequest { agent: "none".into(), ..run_with("a", []) }).await.unwrap_err();
    assert_eq!(reason(&none), (Code::NotFound, "AGENT_NOT_FOUND".to_owned()));
    let service = full.clear().await;
    for _ in 0..2 {
        let status = service.run(bad()).await.unwrap_err();
        assert_eq!(reason(&status), (Code::InvalidArgument, "INVALID_REQUEST".to_owned()));
        let decoded = decode(&status);
        let fields = ["options.client_tools[0].input_schema_json", "options.output_schema_json"];
        assert_eq!((decoded.fields(), &*decoded.metadata["admitted"]), (fields.to_vec(), "false"));
        assert_eq!(service.runner.live_runs(), 0);
    }
    service.run(run_with("a", [])).await.unwrap();
}

/// The calls that a stream says have started, and those that have completed, by id.
async fn told(service: &Service, request: RunRequest) -> (Vec<ToolCall>, Vec<ToolCall>, RunResponse) {
    let (events, end) = service.events(request).await;
    end.unwrap();
    let (mut started, mut completed, mut response) = (Vec::new(), Vec::new(), None);
    for event in events {
        match event.event.unwrap() {
            Event::ToolCallStarted(call) => started.push(call),
            Event::ToolCallCompleted(ended) => {
                let call = ended.tool_call.unwrap();
                assert!(started.iter().any(|started| started.call_id == call.call_id));
                let refused = call.status() == ToolCallStatus::Error;
                assert!(!refused || !ended.result_text.is_empty(), "why, as the model is told");
                completed.push(call);
            }
            Event::RunCompleted(ended) => response = Some(ended),
            _ => {}
        }
    }
    (started, completed, response.unwrap())
}

#[tokio::test]
async fn a_stream_tells_of_each_call_that_its_response_has_though_it_was_not_made() {
    let crm = McpServer::start(Era::Modern).await;
    for (tool, arguments, options, expected) in [
        ("whoami", "{}", RunOptions { max_turns: 2, ..RunOptions::default() }, FinishReason::TurnLimit),
        (
            "whoami",
            "{}",
            RunOptions { max_tool_calls: 1, ..RunOptions::default() },
            FinishReason::ToolCallLimit,
        ),
        (
            "whoami",
            "{}",
            RunOptions { max_total_tokens: 5, ..RunOptions::default() },
            FinishReason::RunTokenLimit,
        ),
        ("nothing", "{}", RunOptions { max_turns: 2, ..RunOptions::default() }, FinishReason::TurnLimit),
        ("whoami", "[]", RunOptions { max_turns: 2, ..RunOptions::default() }, FinishReason::TurnLimit),
    ] {
        let model = ModelServer::start(move |_| async move { calls(tool, arguments) }).await;
        let service = service(&model, &crm, "").await;
        let (started, completed, response) = told(&service, run(options)).await;
        assert_eq!(response.finish_reason(), expected);
        assert_eq!(response.tool_calls.last().unwrap().status(), ToolCallStatus::Error);
        assert_eq!(completed, response.tool_calls, "{tool} {arguments} {expected:?}");
        let ids = |calls: &[ToolCall]| calls.iter().map(|call| call.call_id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&started), ids(&response.tool_calls));
    }
}

#[tokio::test]
async fn a_call_that_reached_nobody_keeps_no_run_from_being_sent_again() {
    let crm = McpServer::start(Era::Modern).await;
    for (tool, arguments, code, begun) in [
        ("whoami", "{}", Code::Aborted, "1"),
        ("nothing", "{}", Code::Unavailable, "0"),
        ("whoami", "[]", Code::Unavailable, "0"),
    ] {
        // A redirect is a failure that is not tried again.
        let model = ModelServer::start(move |body| {
            let gone = empty(axum::http::StatusCode::TEMPORARY_REDIRECT);
            std::future::ready(if has_result(&body) { gone } else { calls(tool, arguments) })
        })
        .await;
        let service = service(&model, &crm, "").await;
        let (_, streamed) = service.events(run_with("a", [])).await;
        for status in [service.run(run_with("a", [])).await.unwrap_err(), streamed.unwrap_err()] {
            assert_eq!(reason(&status), (code, "MODEL_UNAVAILABLE".to_owned()), "{tool} {arguments}");
            let decoded = decode(&status);
            assert_eq!(decoded.metadata["tool_calls_started"], begun, "{tool} {arguments}");
            assert_eq!(decoded.progress.unwrap().tool_calls.len(), 1, "how it ended is told");
        }
    }
}
