//! Tools that the caller itself runs: how the model is offered them, who is asked for what, and what becomes of the answers.

use axum::http::StatusCode;
use runwright::grpc::proto::{
    ClientTool, FinishReason, Image, InputAnswer, RunOptions, RunRequest, ToolCallStatus, ToolOutput, image,
    input_answer::Answer, pending_input::Input,
};
use serde_json::Value;
use tonic::Code;

use crate::support::{
    error::decode,
    inputs::{Scene, approve, client_tool, failed_output, going_on, open, output, pending, with_tools},
    mcp_server::{Era, McpServer, empty},
    reader::Reader,
    run_as,
    scene::reason,
    service::{Service, whoami_config},
};

const NUMBERED: &str = r#"{"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}"#;

fn offering(tools: Vec<ClientTool>) -> RunRequest {
    let options = RunOptions { client_tools: tools, ..RunOptions::default() };
    RunRequest { options: Some(options), ..run_as("a", "alice") }
}

#[tokio::test]
async fn the_caller_runs_its_own_tool_and_the_model_goes_on_with_the_output() {
    let asked = &[("look_up", r#"{"n": 7}"#), ("crm__whoami", "{}"), ("look_up", r#"{"n": 8}"#)];
    let scene = Scene::start(asked, "", "").await;
    let mut run = Reader::start(&scene.service, offering(vec![client_tool("look_up", NUMBERED)])).await;
    for (id, arguments) in [("call_0", r#"{"n": 7}"#), ("call_2", r#"{"n": 8}"#)] {
        let asked = run.asked().await;
        assert_eq!((&*asked.input_id, asked.expire_time.is_some()), (id, true));
        let Some(Input::ClientTool(call)) = asked.input else { panic!("{:?}", asked.input) };
        assert_eq!((&*call.call_id, &*call.mcp_server, &*call.tool), (id, "", "look_up"));
        assert_eq!((&*call.arguments_json, call.status()), (arguments, ToolCallStatus::Unspecified));
    }
    scene.server.wait_for("the server's call", |seen| seen.tool() == "whoami").await;
    assert_eq!(scene.offered(), ["crm__whoami", "crm__fail", "look_up"]);
    let refused = run.submit([approve("call_0")]).await.unwrap_err();
    assert_eq!(decode(&refused).fields(), ["answers[0]"]);

    run.submit([output("call_2", "eight")]).await.unwrap();
    run.submit([output("call_0", "")]).await.unwrap();
    let response = run.end().await.unwrap();
    assert_eq!(
        (response.finish_reason(), &*response.final_output),
        (FinishReason::Stop, "|Bearer alice|eight|")
    );
    let servers: Vec<&str> = response.tool_calls.iter().map(|call| &*call.mcp_server).collect();
    assert_eq!(servers, ["", "crm", ""]);
    assert!(
        response.tool_calls.iter().all(|call| call.status() == ToolCallStatus::Ok && call.duration.is_some())
    );
}

#[tokio::test]
async fn a_turns_calls_are_asked_about_in_their_order() {
    let scene = Scene::start(&["{}"; 5].map(|arguments| ("look_up", arguments)), "", "").await;
    let mut run = Reader::start(&scene.service, with_tools(run_as("a", "alice"), &["look_up"])).await;
    for id in ["call_0", "call_1", "call_2", "call_3", "call_4"] {
        assert_eq!(run.asked().await.input_id, id);
    }
}

#[tokio::test]
async fn an_outputs_images_reach_the_model_and_wrong_ones_are_refused() {
    let scene = Scene::start(&[("snap", "{}")], "", "").await;
    let mut run = Reader::start(&scene.service, with_tools(run_as("a", "alice"), &["snap"])).await;
    run.asked().await;
    let image = |media_type: &str| Image {
        media_type: media_type.to_owned(),
        source: Some(image::Source::Data(b"pixels".to_vec())),
    };
    let with = |image| {
        let answer = ToolOutput { images: vec![image], ..ToolOutput::default() };
        InputAnswer { input_id: "call_0".into(), answer: Some(Answer::ToolOutput(answer)) }
    };
    let refused = run.submit([with(image("text/html"))]).await.unwrap_err();
    assert_eq!(decode(&refused).fields(), ["answers[0].tool_output.images[0].media_type"]);
    run.submit([with(image("image/png"))]).await.unwrap();
    run.end().await.unwrap();
    assert!(Value::Array(scene.conversation()).to_string().contains("data:image/png;base64,cGl4ZWxz"));
}

#[tokio::test]
async fn arguments_that_do_not_fit_are_for_the_model_and_the_caller_is_not_asked() {
    let asked = &[("look_up", r#"{"n": "7"}"#), ("look_up", "[7]"), ("still", r#"{"n": 7}"#), ("still", "")];
    let scene = Scene::start(asked, "", "").await;
    let tools = vec![client_tool("look_up", NUMBERED), client_tool("still", "")];
    let mut run = Reader::start(&scene.service, offering(tools)).await;
    assert_eq!(run.asked().await.input_id, "call_3", "it has no arguments");
    run.submit([output("call_3", "fits")]).await.unwrap();
    let response = run.end().await.unwrap();
    let results: Vec<&str> = response.final_output.split_terminator('|').collect();
    assert!(results[0].contains("do not fit") && results[2].contains("do not fit"), "{results:?}");
    assert_eq!(results[1..], ["The arguments are no JSON object.", results[2], "fits"]);
}

#[tokio::test]
async fn a_unary_run_leaves_the_call_to_another_run() {
    let scene = Scene::start(&[("look_up", "{}"), ("crm__whoami", "{}")], "", "").await;
    let request = || with_tools(run_as("a", "alice"), &["look_up"]);
    let first = scene.service.run(request()).await.unwrap();
    assert_eq!(first.finish_reason(), FinishReason::AwaitingInput);
    assert_eq!(pending(&first), [("call_0", false)]);
    assert_eq!((open(&first.new_messages), scene.called().len()), (vec!["call_0"], 1));
    let answers = [output("call_0", "found")];
    let second = scene.service.run(going_on(request(), &[&first.new_messages], answers)).await.unwrap();
    assert_eq!((second.finish_reason(), &*second.final_output), (FinishReason::Stop, "found|Bearer alice|"));
    assert_eq!(scene.called().len(), 1, "what is done is not done again");
}

#[tokio::test]
async fn a_run_that_goes_on_needs_its_tools_again() {
    let scene = Scene::start(&[("look_up", "{}")], "", "").await;
    let first = scene.service.run(with_tools(run_as("a", "alice"), &["look_up"])).await.unwrap();
    let answers = [output("call_0", "found")];
    let request = going_on(run_as("a", "alice"), &[&first.new_messages], answers);
    let refused = decode(&scene.service.run(request).await.unwrap_err());
    assert_eq!(refused.fields(), ["answers[0]"]);
    assert!(refused.violations()[0].description.contains("options.client_tools"));
}

#[tokio::test]
async fn an_output_is_taken_whatever_the_tools_schema_says_by_now() {
    let scene = Scene::start(&[("look_up", r#"{"name": "ada"}"#)], "", "").await;
    let first = scene.service.run(with_tools(run_as("a", "alice"), &["look_up"])).await.unwrap();
    // Without a schema a tool has no arguments.
    let client_tools = vec![client_tool("look_up", "")];
    let options = Some(RunOptions { client_tools, ..RunOptions::default() });
    let request = RunRequest { options, ..run_as("a", "alice") };
    let going = going_on(request, &[&first.new_messages], [output("call_0", "found")]);
    assert_eq!(scene.service.run(going).await.unwrap().final_output, "found|");
}

#[tokio::test]
async fn a_conversation_goes_on_with_and_without_tools_of_the_callers_own() {
    let scene = Scene::start(&[("whoami", "{}"), ("crm__whoami", "{}"), ("look_up", "{}")], "", "").await;
    let names = |scene: &Scene| -> Vec<String> {
        let conversation = scene.conversation();
        let calls = conversation.iter().filter_map(|message| message["tool_calls"].as_array()).flatten();
        calls.map(|call| call["function"]["name"].as_str().unwrap().to_owned()).collect()
    };
    let without = scene.service.run(run_as("a", "alice")).await.unwrap();
    assert_eq!(scene.offered(), ["whoami", "fail"]);
    assert_eq!(names(&scene), ["whoami", "crm__whoami", "look_up"]);

    let request = with_tools(run_as("a", "alice"), &["look_up"]);
    let messages = without.new_messages;
    let with = scene.service.run(RunRequest { messages: messages.clone(), ..request.clone() }).await.unwrap();
    assert_eq!(scene.offered(), ["crm__whoami", "crm__fail", "look_up"]);
    assert_eq!(names(&scene), ["crm__whoami", "crm__whoami", "look_up"], "a tool has one name in a run");
    // The ids of the first run are taken.
    let [(id, false)] = pending(&with)[..] else { panic!("{with:?}") };
    let going = going_on(request, &[&messages, &with.new_messages], [output(id, "found")]);
    let ended = scene.service.run(going).await.unwrap();
    assert_eq!(ended.final_output, "There is no tool `whoami`.|Bearer alice|found|");

    let messages = [messages, with.new_messages.clone(), ended.new_messages].concat();
    scene.service.run(RunRequest { messages, ..run_as("a", "alice") }).await.unwrap();
    assert_eq!(scene.offered(), ["whoami", "fail"]);
    assert_eq!(names(&scene)[..3], ["whoami", "crm__whoami", "look_up"]);
    assert_eq!(names(&scene)[3..6], ["whoami", "whoami", "look_up"]);
}

#[tokio::test]
async fn names_that_are_no_good_or_another_tools_are_refused() {
    let scene = Scene::start(&[], "", "").await;
    let long = "x".repeat(65);
    for name in ["", &long, "a b", "ü", "a.b", "crm__", "crm__whoami", "crm___x", "crm__x__y"] {
        let refused = scene.service.run(with_tools(run_as("a", "alice"), &["fine", name])).await.unwrap_err();
        assert_eq!(reason(&refused), (Code::InvalidArgument, "INVALID_REQUEST".to_owned()));
        assert_eq!(decode(&refused).fields(), ["options.client_tools[1].name"], "{name}");
    }
    let twice = scene.service.run(with_tools(run_as("a", "alice"), &["a", "b", "a"])).await.unwrap_err();
    assert_eq!(decode(&twice).fields(), ["options.client_tools[2].name"]);
    // None of them can be taken for a tool of the agent's server.
    let fine = ["whoami", "crm", "crm_x", "crm-2__x", "wiki__x", "__crm", "CRM__x", &long[1..]];
    scene.service.run(with_tools(run_as("a", "alice"), &fine)).await.unwrap();
    assert_eq!(scene.offered()[2..], fine);
}

#[tokio::test]
async fn there_are_at_most_128() {
    let scene = Scene::start(&[], "", "").await;
    let names: Vec<String> = (0..129).map(|number| format!("tool_{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let refused = scene.service.run(with_tools(run_as("a", "alice"), &names)).await.unwrap_err();
    assert_eq!(decode(&refused).fields(), ["options.client_tools"]);
    scene.service.run(with_tools(run_as("a", "alice"), &names[..128])).await.unwrap();
    assert_eq!(scene.offered().len(), 130);
}

#[tokio::test]
async fn a_schema_that_no_arguments_can_be_held_against_is_refused() {
    let scene = Scene::start(&[], "", "").await;
    let deep = format!("{}{{}}{}", r#"{"not":"#.repeat(100), "}".repeat(100));
    for schema in [
        "no JSON",
        "[]",
        "true",
        r#"{"type": "text"}"#,
        r#"{"type": "string"}"#,
        r#"{"type": ["array", "null"]}"#,
        r#"{"properties": {"a": {"$ref": "https://example.com/a.json"}}}"#,
        r#"{"properties": {"a": {"pattern": "("}}}"#,
        &deep,
    ] {
        let refused = scene.service.run(offering(vec![client_tool("t", schema)])).await.unwrap_err();
        assert_eq!(decode(&refused).fields(), ["options.client_tools[0].input_schema_json"], "{schema}");
    }
    let looks_around = r#"{"properties": {"a": {"pattern": "(?<=a)b"}, "b": {"pattern": "^.{1,5000}$"}}}"#;
    let fine = [
        "",
        "{}",
        NUMBERED,
        looks_around,
        r#"{"type": ["object", "null"]}"#,
        r#"{"anyOf": [{"type": "object"}]}"#,
    ];
    let tools = fine.iter().enumerate().map(|(at, schema)| client_tool(&format!("t{at}"), schema));
    scene.service.run(offering(tools.collect())).await.unwrap();
    let large = ClientTool { description: "x".repeat(16 * 1024 + 1), ..client_tool("t", "") };
    let refused = scene.service.run(offering(vec![large])).await.unwrap_err();
    assert_eq!(decode(&refused).fields(), ["options.client_tools[0].description"]);
}

#[tokio::test]
async fn a_failed_output_is_an_error_for_the_model_or_ends_the_run() {
    for (agent, ends) in [("", false), ("on_tool_error: fail_run,", true)] {
        let scene = Scene::start(&[("look_up", "{}")], "", agent).await;
        let request = || with_tools(run_as("a", "alice"), &["look_up"]);
        let mut run = Reader::start(&scene.service, request()).await;
        run.asked().await;
        run.submit([failed_output("call_0", "not there")]).await.unwrap();
        let streamed = run.end().await;
        let open = scene.service.run(request()).await.unwrap();
        let answers = [failed_output("call_0", "not there")];
        let resumed = scene.service.run(going_on(request(), &[&open.new_messages], answers)).await;
        for ended in [streamed, resumed] {
            if ends {
                let failed = ended.unwrap_err();
                assert_eq!(reason(&failed), (Code::Aborted, "TOOL_FAILED".to_owned()));
                let metadata = decode(&failed).metadata;
                assert_eq!((&*metadata["mcp_server"], &*metadata["tool"]), ("", "look_up"));
            } else {
                let response = ended.unwrap();
                assert_eq!(response.tool_calls[0].status(), ToolCallStatus::Error);
                assert_eq!(response.final_output, "not there|");
            }
        }
    }
}

#[tokio::test]
async fn the_callers_tools_are_there_without_the_agents_server() {
    let down = McpServer::with_hook(Era::Modern, |_| async { Some(empty(StatusCode::NOT_FOUND)) }).await;
    let scene = Scene::with(down, &[("look_up", "{}")], "required: false", "").await;
    let mut run = Reader::start(&scene.service, with_tools(run_as("a", "alice"), &["look_up"])).await;
    run.asked().await;
    run.submit([output("call_0", "found")]).await.unwrap();
    assert_eq!(run.end().await.unwrap().final_output, "found|");
}

#[tokio::test]
async fn a_script_calls_tools_of_the_caller_too_and_another_run_goes_on_in_it() {
    let server = McpServer::start(Era::Modern).await;
    let call = "- call: [{ tool: look_up, arguments: { n: 7 } }, { mcp_server: crm, tool: whoami, arguments: {} }]\n";
    let yaml = whoami_config(&server.url())
        .replace("- call: [{ mcp_server: crm, tool: whoami, arguments: {} }]\n", call)
        .replace("{{ results.0.text }}", "{{ results.0.text }}, {{ results.1.text }}");
    let service = Service::start(&yaml).await;
    let request = || with_tools(run_as("a", "alice"), &["look_up"]);
    let mut run = Reader::start(&service, request()).await;
    let asked = run.asked().await;
    run.submit([output(&asked.input_id, "found")]).await.unwrap();
    assert_eq!(run.end().await.unwrap().final_output, "found, Bearer alice");

    let first = service.run(request()).await.unwrap();
    let [(id, false)] = pending(&first)[..] else { panic!("{first:?}") };
    let going = going_on(request(), &[&first.new_messages], [output(id, "found")]);
    let second = Reader::start(&service, going).await.end().await.unwrap();
    assert_eq!((second.finish_reason(), &*second.final_output), (FinishReason::Stop, "found, Bearer alice"));
    assert_eq!(second.turns, 1);
}

#[tokio::test]
async fn a_call_that_was_handed_to_the_caller_has_begun() {
    let scene = Scene::start(&[("look_up", "{}")], "", "").await;
    let mut run = Reader::start(&scene.service, with_tools(run_as("a", "alice"), &["look_up"])).await;
    run.asked().await;
    scene.service.stop();
    scene.service.stop();
    let ended = run.end().await.unwrap_err();
    assert_eq!(reason(&ended), (Code::Aborted, "SHUTTING_DOWN".to_owned()), "the caller may have run it");
    let decoded = decode(&ended);
    assert_eq!(decoded.metadata["tool_calls_started"], "1");
    assert_eq!(decoded.progress.unwrap().tool_calls[0].tool, "look_up");
}
