//! What a run may do otherwise than its agent is configured: what of it a model's provider is sent, and what is refused.

use runwright::grpc::proto::{
    ListAgentsRequest, ReasoningEffort, RunOptions, RunRequest, ToolChoice, ToolChoiceMode, ToolRef,
    run_event::Event, tool_choice::Choice,
};
use serde_json::{Value, json};
use tonic::Code;

use crate::support::{
    error::{Decoded, decode},
    logs,
    mcp_server::{Era, McpServer},
    model_server::{ModelServer, calls, has_result, says},
    run_with,
    service::{Service, asking_config},
};

/// Agent `a` over server `crm`, with a model that notes what it is asked.
struct World {
    model: ModelServer,
    crm: McpServer,
    service: Service,
}

impl World {
    /// `fields` are more of the agent, such as `temperature: 0.5, `.
    async fn start(fields: &str) -> Self {
        let model = calling_once().await;
        let crm = McpServer::start(Era::Modern).await;
        let yaml = asking_config(&model.base_url(), &[("crm", &crm.url())])
            .replace("a: { model", &format!("a: {{ {fields}model"));
        let service = Service::start(&yaml).await;
        Self { model, crm, service }
    }

    /// What the model is asked in a run's turns, beside the conversation and the tools.
    async fn asked(&self, options: &RunOptions, streamed: bool) -> Vec<Value> {
        let before = self.model.seen().len();
        let request = run(options);
        let ended =
            if streamed { self.service.run_streamed(request).await } else { self.service.run(request).await };
        assert_eq!(ended.unwrap().final_output, "done");
        self.model.seen()[before..].iter().map(|(_, body)| settings(body)).collect()
    }

    /// A run that is refused before anything is asked.
    async fn refused(&self, options: &RunOptions) -> Decoded {
        let status = self.service.run(run(options)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        let (_, end) = self.service.events(run(options)).await;
        let (decoded, streamed) = (decode(&status), decode(&end.unwrap_err()));
        assert_eq!(decoded.fields(), streamed.fields());
        assert_eq!((&*decoded.reason, &*decoded.metadata["admitted"]), ("INVALID_REQUEST", "false"));
        assert!(self.model.seen().is_empty() && self.crm.seen().is_empty(), "nothing was asked");
        decoded
    }
}

/// A model that asks for the first of its tools, if it has one, and then is done.
async fn calling_once() -> ModelServer {
    ModelServer::start(|body| {
        let tool = body["tools"][0]["function"]["name"].as_str().map(str::to_owned);
        let answer = match tool.filter(|_| !has_result(&body)) {
            Some(tool) => calls(&tool, "{}"),
            None => says("done"),
        };
        std::future::ready(answer)
    })
    .await
}

fn run(options: &RunOptions) -> RunRequest {
    RunRequest { options: Some(options.clone()), ..run_with("a", []) }
}

/// A request to a model without what each has.
fn settings(body: &Value) -> Value {
    let mut body = body.as_object().unwrap().clone();
    for each in ["model", "messages", "tools", "stream", "stream_options"] {
        body.remove(each);
    }
    body.into()
}

fn tool(mcp_server: &str, tool: &str) -> ToolRef {
    ToolRef { mcp_server: mcp_server.into(), tool: tool.into() }
}

fn choosing(choice: Choice) -> RunOptions {
    let tool_choice = Some(ToolChoice { choice: Some(choice) });
    RunOptions { tool_choice, ..RunOptions::default() }
}

fn mode(mode: ToolChoiceMode) -> RunOptions {
    choosing(Choice::Mode(mode.into()))
}

#[tokio::test]
async fn what_a_run_says_is_sent_in_every_turn_and_nothing_else() {
    let world = World::start("").await;
    let none = RunOptions::default;
    let schema = r#"{"type":"string"}"#;
    let cases = [
        (none(), json!({})),
        (RunOptions { temperature: Some(0.0), ..none() }, json!({ "temperature": 0.0 })),
        (RunOptions { temperature: Some(2.0), ..none() }, json!({ "temperature": 2.0 })),
        (RunOptions { top_p: Some(1e-9), ..none() }, json!({ "top_p": 1e-9 })),
        (RunOptions { top_p: Some(1.0), ..none() }, json!({ "top_p": 1.0 })),
        (RunOptions { max_output_tokens: i32::MAX, ..none() }, json!({ "max_completion_tokens": i32::MAX })),
        (RunOptions { parallel_tool_calls: Some(false), ..none() }, json!({ "parallel_tool_calls": false })),
        (RunOptions { parallel_tool_calls: Some(true), ..none() }, json!({ "parallel_tool_calls": true })),
        (
            RunOptions { temperature: Some(0.5), top_p: Some(0.25), max_output_tokens: 7, ..none() },
            json!({ "temperature": 0.5, "top_p": 0.25, "max_completion_tokens": 7 }),
        ),
        (RunOptions { max_total_tokens: 1_000, max_tool_calls: 10, max_turns: 3, ..none() }, json!({})),
    ];
    for streamed in [false, true] {
        for (options, expected) in &cases {
            let asked = world.asked(options, streamed).await;
            assert_eq!(asked, [expected.clone(), expected.clone()], "{options:?}");
        }
        let (_, body) = world.model.seen().pop().unwrap();
        assert_eq!((&body["stream"], &body["model"]), (&json!(streamed), &json!("m-1")));
    }
    // A schema for the answer, with a word of this service's own for its name.
    let options = RunOptions { output_schema_json: schema.into(), ..none() };
    let _ = world.service.run(run(&options)).await;
    let format = json!({ "name": "output", "schema": { "type": "string" }, "strict": false });
    let format = json!({ "type": "json_schema", "json_schema": format });
    let asked = settings(&world.model.seen().last().unwrap().1);
    assert_eq!(asked, json!({ "response_format": format }));
}

#[tokio::test]
async fn each_effort_has_the_providers_word() {
    let world = World::start("").await;
    for (effort, word) in [
        (ReasoningEffort::None, "none"),
        (ReasoningEffort::Minimal, "minimal"),
        (ReasoningEffort::Low, "low"),
        (ReasoningEffort::Medium, "medium"),
        (ReasoningEffort::High, "high"),
        (ReasoningEffort::Max, "xhigh"),
    ] {
        let options = RunOptions { reasoning_effort: effort.into(), ..RunOptions::default() };
        assert_eq!(world.asked(&options, false).await[0], json!({ "reasoning_effort": word }));
    }
}

#[tokio::test]
async fn a_run_goes_above_its_agent_option_by_option() {
    let agent = "temperature: 0.5, top_p: 0.9, max_output_tokens: 100, reasoning_effort: low, \
                 parallel_tool_calls: false, ";
    let world = World::start(agent).await;
    let own = json!({
        "temperature": 0.5, "top_p": 0.9, "max_completion_tokens": 100, "reasoning_effort": "low",
        "parallel_tool_calls": false,
    });
    let none = RunOptions::default;
    for (options, key, value) in [
        (none(), "temperature", json!(0.5)),
        (RunOptions { temperature: Some(0.0), ..none() }, "temperature", json!(0.0)),
        (RunOptions { top_p: Some(0.1), ..none() }, "top_p", json!(0.1)),
        // A limit of one answer is no limit of the run: it may be higher than the agent's.
        (RunOptions { max_output_tokens: 200, ..none() }, "max_completion_tokens", json!(200)),
        (
            RunOptions { reasoning_effort: ReasoningEffort::High.into(), ..none() },
            "reasoning_effort",
            json!("high"),
        ),
        (RunOptions { parallel_tool_calls: Some(true), ..none() }, "parallel_tool_calls", json!(true)),
    ] {
        let mut expected = own.clone();
        expected[key] = value;
        for streamed in [false, true] {
            assert_eq!(world.asked(&options, streamed).await[0], expected, "{options:?}");
        }
    }
}

#[tokio::test]
async fn what_is_out_of_range_is_named_and_nothing_is_asked() {
    let world = World::start("").await;
    let none = RunOptions::default;
    let temperature = |t: f64| RunOptions { temperature: Some(t), ..none() };
    let top_p = |p: f64| RunOptions { top_p: Some(p), ..none() };
    let mut cases = vec![
        (RunOptions { max_output_tokens: -1, ..none() }, "options.max_output_tokens"),
        (RunOptions { max_turns: i32::MIN, ..none() }, "options.max_turns"),
        (RunOptions { max_total_tokens: i64::MIN, ..none() }, "options.max_total_tokens"),
        (RunOptions { max_tool_calls: -1, ..none() }, "options.max_tool_calls"),
        (RunOptions { reasoning_effort: 7, ..none() }, "options.reasoning_effort"),
        (RunOptions { reasoning_effort: -1, ..none() }, "options.reasoning_effort"),
        (RunOptions { tool_choice: Some(ToolChoice { choice: None }), ..none() }, "options.tool_choice"),
        (choosing(Choice::Mode(4)), "options.tool_choice.mode"),
        (choosing(Choice::Mode(-1)), "options.tool_choice.mode"),
        (choosing(Choice::Tool(tool("", "whoami"))), "options.tool_choice.tool"),
        (choosing(Choice::Tool(tool("wiki", "find"))), "options.tool_choice.tool.mcp_server"),
        (choosing(Choice::Tool(tool("crm", ""))), "options.tool_choice.tool.tool"),
        (RunOptions { model: "m-1".into(), ..none() }, "options.model"),
        (
            RunOptions { input_timeout: Some(prost_types::Duration { seconds: -1, nanos: 0 }), ..none() },
            "options.input_timeout",
        ),
    ];
    let not_numbers = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    for bad in not_numbers.into_iter().chain([-0.001, 2.001]) {
        cases.push((temperature(bad), "options.temperature"));
    }
    for bad in not_numbers.into_iter().chain([0.0, -0.1, 1.001]) {
        cases.push((top_p(bad), "options.top_p"));
    }
    for (options, field) in cases {
        assert_eq!(world.refused(&options).await.fields(), [field], "{options:?}");
    }
}

#[tokio::test]
async fn all_that_is_wrong_comes_at_once() {
    let world = World::start("").await;
    let options = RunOptions {
        max_turns: -1,
        model: "other".into(),
        output_schema_json: "[]".into(),
        temperature: Some(f64::NAN),
        top_p: Some(2.0),
        max_output_tokens: -1,
        reasoning_effort: 99,
        max_total_tokens: -1,
        max_tool_calls: -1,
        ..choosing(Choice::Mode(99))
    };
    let mut decoded = world.refused(&options).await;
    let mut violations = decoded.bad_request.take().unwrap().field_violations;
    violations.sort_by(|a, b| a.field.cmp(&b.field));
    let fields: Vec<&str> = violations.iter().map(|violation| violation.field.as_str()).collect();
    let expected = [
        "max_output_tokens",
        "max_tool_calls",
        "max_total_tokens",
        "max_turns",
        "model",
        "output_schema_json",
        "reasoning_effort",
        "temperature",
        "tool_choice.mode",
        "top_p",
    ];
    assert_eq!(fields, expected.map(|field| format!("options.{field}")));
    assert!(violations[4].description.contains("main"), "what is allowed is told: {violations:?}");
}

#[tokio::test]
async fn a_run_chooses_among_the_models_that_its_agent_allows_and_is_told_which_it_was() {
    let (logs, _guard) = logs::catch();
    let (main, small) = (calling_once().await, calling_once().await);
    let yaml = format!(
        r#"
models:
  main: {{ provider: openai_chat, base_url: "{}", model: big-1 }}
  small: {{ provider: openai_chat, base_url: "{}", model: small-1 }}
  spare: {{ provider: openai_chat, base_url: "{}", model: spare-1 }}
agents:
  a: {{ model: main, allowed_models: [small, main] }}
  plain: {{ model: main }}
"#,
        main.base_url(),
        small.base_url(),
        small.base_url()
    );
    let service = Service::start(&yaml).await;
    let choosing = |model: &str| RunOptions { model: model.into(), ..RunOptions::default() };
    for (asked, ran, server, provider_model) in [
        ("", "main", &main, "big-1"),
        ("main", "main", &main, "big-1"),
        ("small", "small", &small, "small-1"),
    ] {
        let before = main.seen().len() + small.seen().len();
        assert_eq!(service.run(run(&choosing(asked))).await.unwrap().model, ran);
        assert_eq!(service.run_streamed(run(&choosing(asked))).await.unwrap().model, ran);
        assert_eq!(server.seen().last().unwrap().1["model"], provider_model);
        assert_eq!(main.seen().len() + small.seen().len(), before + 2, "no other model was asked");
        let text = logs.text();
        assert!(text.contains(&format!("\"model\":\"{ran}\"")), "{text}");
        assert!(text.contains(&format!("chat {provider_model}")), "the span is named: {text}");
    }
    for (agent, model) in [("a", "spare"), ("a", "small-1"), ("a", "MAIN"), ("plain", "small")] {
        let request = RunRequest { agent: agent.into(), ..run(&choosing(model)) };
        let decoded = decode(&service.run(request).await.unwrap_err());
        assert_eq!((decoded.fields(), &*decoded.metadata["admitted"]), (vec!["options.model"], "false"));
    }
    let listed = service.catalog.clone().list_agents(ListAgentsRequest::default()).await.unwrap();
    assert_eq!(listed.into_inner().agents[0].models, ["main", "small"]);
}

#[tokio::test]
async fn what_is_appended_stands_behind_the_agents_instructions() {
    for (fields, append, expected) in [
        ("instructions: Be brief., ", "Say you.", Some("Be brief.\n\nSay you.")),
        ("instructions: Be brief., ", "", Some("Be brief.")),
        ("", "Say you.", Some("Say you.")),
        ("", "", None),
    ] {
        let world = World::start(fields).await;
        let options = RunOptions { instructions_append: append.into(), ..RunOptions::default() };
        world.asked(&options, false).await;
        for (_, body) in world.model.seen() {
            let system: Vec<&str> = body["messages"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|message| message["role"] == "system")
                .map(|message| message["content"].as_str().unwrap())
                .collect();
            assert_eq!(system, expected.into_iter().collect::<Vec<_>>());
        }
    }
}

#[tokio::test]
async fn a_tool_must_be_asked_for_in_the_first_turn_alone_and_none_in_all() {
    let world = World::start("").await;
    let named = json!({ "type": "function", "function": { "name": "whoami" } });
    for (options, first, second) in [
        (mode(ToolChoiceMode::Required), json!({ "tool_choice": "required" }), json!({})),
        (choosing(Choice::Tool(tool("crm", "whoami"))), json!({ "tool_choice": named }), json!({})),
        (mode(ToolChoiceMode::None), json!({ "tool_choice": "none" }), json!({ "tool_choice": "none" })),
        (mode(ToolChoiceMode::Auto), json!({}), json!({})),
        (mode(ToolChoiceMode::Unspecified), json!({}), json!({})),
    ] {
        for streamed in [false, true] {
            let asked = world.asked(&options, streamed).await;
            assert_eq!(asked, [first.clone(), second.clone()], "{options:?}");
        }
    }
}

#[tokio::test]
async fn a_tool_that_the_run_turns_out_not_to_have_is_refused_before_the_model_is_asked() {
    let world = World::start("").await;
    let bare = Service::start(&asking_config(&world.model.base_url(), &[])).await;
    let cases = [
        (&world.service, choosing(Choice::Tool(tool("crm", "never"))), "options.tool_choice.tool"),
        (&bare, mode(ToolChoiceMode::Required), "options.tool_choice.mode"),
    ];
    for (service, options, field) in cases {
        let (_, end) = service.events(run(&options)).await;
        for status in [service.run(run(&options)).await.unwrap_err(), end.unwrap_err()] {
            let decoded = decode(&status);
            assert_eq!((status.code(), &*decoded.reason), (Code::InvalidArgument, "INVALID_REQUEST"));
            assert_eq!(decoded.fields(), [field]);
            // The servers were asked for their tools by then.
            assert_eq!(decoded.metadata["admitted"], "true");
            assert_eq!(decoded.metadata["tool_calls_started"], "0");
            assert_eq!(decoded.progress.unwrap().turns, 0);
        }
    }
    assert!(world.model.seen().is_empty());
}

#[tokio::test]
async fn a_tool_that_agent_or_request_leave_out_is_refused_with_the_request() {
    let model = calling_once().await;
    let crm = McpServer::start(Era::Modern).await;
    let yaml = asking_config(&model.base_url(), &[("crm", &crm.url())])
        .replace("[crm]", "[{ name: crm, tools: [whoami, other] }]");
    let world = World { service: Service::start(&yaml).await, model, crm };
    let fail = choosing(Choice::Tool(tool("crm", "fail")));
    let other = RunOptions {
        allowed_tools: vec![tool("crm", "whoami")],
        ..choosing(Choice::Tool(tool("crm", "other")))
    };
    for options in [fail, other] {
        assert_eq!(world.refused(&options).await.fields(), ["options.tool_choice.tool"], "{options:?}");
    }
}

#[tokio::test]
async fn a_tool_of_an_optional_server_that_is_down_can_not_be_asked_for_and_the_caller_did_nothing_wrong() {
    let model = calling_once().await;
    let yaml = asking_config(&model.base_url(), &[("crm", "http://127.0.0.1:9/mcp")])
        .replace("[crm]", "[{ name: crm, required: false }]");
    let service = Service::start(&yaml).await;
    for options in [choosing(Choice::Tool(tool("crm", "whoami"))), mode(ToolChoiceMode::Required)] {
        let (events, end) = service.events(run(&options)).await;
        assert!(events.iter().any(|event| matches!(event.event, Some(Event::McpServerUnavailable(_)))));
        for status in [service.run(run(&options)).await.unwrap_err(), end.unwrap_err()] {
            let decoded = decode(&status);
            assert_eq!((status.code(), &*decoded.reason), (Code::Unavailable, "MCP_UNAVAILABLE"));
            assert_eq!((&*decoded.metadata["mcp_server"], decoded.fields().len()), ("crm", 0));
            assert_eq!(
                (&*decoded.metadata["admitted"], &*decoded.metadata["tool_calls_started"]),
                ("true", "0")
            );
        }
    }
    assert!(model.seen().is_empty());
    // Without such a choice the run goes on.
    let response = service.run(run(&mode(ToolChoiceMode::Auto))).await.unwrap();
    assert_eq!((response.unavailable_mcp_servers, &*response.final_output), (vec!["crm".to_owned()], "done"));
}
