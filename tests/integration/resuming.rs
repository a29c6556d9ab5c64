//! A run that goes on with calls that an earlier one left open: from the conversation alone, with headers of its own.

use runwright::grpc::proto::{
    FinishReason, InputAnswer, Message, MessageRole, Part, RunOptions, RunRequest, RunResponse, ToolCall,
    ToolCallStatus, ToolChoice, ToolChoiceMode, ToolRef, ToolResult, part, run_event::Event, tool_choice,
};
use serde_json::json;
use tonic::{Code, Status};

use crate::support::{
    error::decode,
    inputs::{Asked, Scene, approve, deny, going_on, open, output, pending, with_tools},
    mcp_server::{Era, McpServer, json_response, tool},
    no_run_left,
    reader::Reader,
    run_as,
    scene::reason,
};

const WHOAMI: &Asked = &[("whoami", "{}")];
const APPROVAL: &str = "approval: [whoami]";

/// What alice's run left open.
async fn left_open(scene: &Scene) -> RunResponse {
    let response = scene.service.run(run_as("a", "alice")).await.unwrap();
    assert_eq!(response.finish_reason(), FinishReason::AwaitingInput);
    response
}

/// A conversation in which the model asks for tools, and nothing has answered.
fn asking(calls: impl IntoIterator<Item = ToolCall>) -> Vec<Message> {
    let parts = calls.into_iter().map(|call| Part { part: Some(part::Part::ToolCall(call)) }).collect();
    let text = Part { part: Some(part::Part::Text("go".to_owned())) };
    vec![
        Message { role: MessageRole::User.into(), parts: vec![text] },
        Message { role: MessageRole::Assistant.into(), parts },
    ]
}

fn call(call_id: &str, mcp_server: &str, tool: &str, arguments_json: &str) -> ToolCall {
    ToolCall {
        call_id: call_id.to_owned(),
        mcp_server: mcp_server.to_owned(),
        tool: tool.to_owned(),
        arguments_json: arguments_json.to_owned(),
        ..ToolCall::default()
    }
}

fn results<const N: usize>(results: [(&str, &str); N]) -> Message {
    let part = |(call_id, text): (&str, &str)| {
        let (call_id, text) = (call_id.to_owned(), text.to_owned());
        Part { part: Some(part::Part::ToolResult(ToolResult { call_id, text, ..ToolResult::default() })) }
    };
    Message { role: MessageRole::Tool.into(), parts: results.map(part).into() }
}

/// A run that goes on, unary and streamed; they come to the same.
async fn both(scene: &Scene, request: &RunRequest) -> [Result<RunResponse, Status>; 2] {
    [scene.service.run(request.clone()).await, scene.service.run_streamed(request.clone()).await]
}

#[tokio::test]
async fn an_approved_call_is_made_with_the_new_runs_headers_alone() {
    for era in [Era::Modern, Era::Stateful] {
        let scene = Scene::with(McpServer::start(era).await, WHOAMI, APPROVAL, "").await;
        let first = left_open(&scene).await;
        assert!(!format!("{first:?}").contains("alice"), "no credential comes back");
        no_run_left(&scene.service).await;
        scene.server.forget();
        let going = going_on(run_as("a", "fresh"), &[&first.new_messages], [approve("call_0")]);
        for response in both(&scene, &going).await {
            let response = response.unwrap();
            assert_eq!(
                (response.finish_reason(), &*response.final_output),
                (FinishReason::Stop, "Bearer fresh|")
            );
            assert_eq!((response.turns, response.tool_calls.len()), (1, 1));
            assert_eq!(response.tool_calls[0].status(), ToolCallStatus::Ok);
        }
        let seen = scene.server.seen();
        assert!(seen.iter().all(|seen| seen.header("authorization") == "Bearer fresh"), "{era:?}");
        assert!(!format!("{seen:?}").contains("alice"), "{era:?}");
        assert_eq!(scene.called(), vec![("whoami".to_owned(), "fresh".to_owned()); 2]);
    }
}

#[tokio::test]
async fn a_denied_call_is_told_to_the_model() {
    let scene = Scene::start(WHOAMI, APPROVAL, "on_tool_error: fail_run,").await;
    let first = left_open(&scene).await;
    let going = going_on(run_as("a", "fresh"), &[&first.new_messages], [deny("call_0", "not now")]);
    for response in both(&scene, &going).await {
        assert_eq!(response.unwrap().final_output, "The call was not approved: not now|");
    }
    assert_eq!(scene.called(), []);
}

#[tokio::test]
async fn a_denial_holds_though_the_call_would_not_be_made_anyway() {
    let scene = Scene::start(WHOAMI, APPROVAL, "").await;
    let never_made = [call("1", "crm", "whoami", "[]"), call("2", "crm", "gone", "{}")];
    let answers = [deny("1", "not now"), deny("2", "")];
    let going = going_on(run_as("a", "alice"), &[&asking(never_made)], answers);
    for response in both(&scene, &going).await {
        let said = "The call was not approved: not now|The call was not approved.|";
        assert_eq!(response.unwrap().final_output, said);
    }
}

#[tokio::test]
async fn what_has_no_answer_is_asked_for_again() {
    let scene = Scene::start(WHOAMI, APPROVAL, "").await;
    let first = left_open(&scene).await;
    let going = going_on(run_as("a", "fresh"), &[&first.new_messages], []);
    let unary = scene.service.run(going.clone()).await.unwrap();
    assert_eq!((unary.finish_reason(), unary.turns), (FinishReason::AwaitingInput, 0));
    assert_eq!((unary.new_messages.len(), pending(&unary)), (0, vec![("call_0", true)]));
    assert_eq!(scene.model.seen().len(), 1, "the model is not asked");

    let mut run = Reader::start(&scene.service, going).await;
    assert_eq!(run.asked().await.input_id, "call_0");
    run.submit([approve("call_0")]).await.unwrap();
    let response = run.end().await.unwrap();
    assert_eq!(response.final_output, "Bearer fresh|");
    assert_eq!(scene.called().len(), 1);
}

#[tokio::test]
async fn over_several_runs_the_conversation_is_what_the_model_saw() {
    let asked = &[("crm__whoami", "{}"), ("crm__fail", "{}"), ("look_up", "{}"), ("crm__whoami", "{}")];
    let scene = Scene::start(asked, APPROVAL, "").await;
    let request = || with_tools(run_as("a", "alice"), &["look_up"]);
    let first = scene.service.run(request()).await.unwrap();
    assert_eq!(pending(&first), [("call_0", true), ("call_2", false), ("call_3", true)]);
    let mut messages = first.new_messages;
    // The last one first, then none, then the others.
    for (answers, left) in [
        (vec![approve("call_3")], vec![("call_0", true), ("call_2", false)]),
        (vec![], vec![("call_0", true), ("call_2", false)]),
        (vec![output("call_2", "found")], vec![("call_0", true)]),
        (vec![deny("call_0", "")], vec![]),
    ] {
        let going = going_on(request(), &[&messages], answers.clone());
        let response = scene.service.run(going).await.unwrap();
        assert_eq!(pending(&response), left);
        let added = open(&messages).len() - left.len();
        assert_eq!(added, answers.len());
        messages.extend(response.new_messages);
        assert_eq!(open(&messages), left.iter().map(|(id, _)| *id).collect::<Vec<_>>());
    }
    let last = scene.conversation();
    let shown: Vec<_> = last.iter().filter_map(|message| message["tool_call_id"].as_str()).collect();
    assert_eq!(shown, ["call_0", "call_1", "call_2", "call_3"], "in the order of the calls");
    let said = "The call was not approved.|it failed|found|Bearer alice|";
    assert_eq!(scene.called().len(), 2);

    // And the next run begins with exactly that.
    scene.service.run(RunRequest { messages, input: "and?".into(), ..request() }).await.unwrap();
    let said = json!({ "role": "assistant", "content": said });
    let input = json!({ "role": "user", "content": "and?" });
    assert_eq!(scene.conversation(), [last, vec![said, input]].concat());
}

#[tokio::test]
async fn what_answers_no_open_call_is_refused() {
    let scene = Scene::start(&[("whoami", "{}"), ("fail", "{}")], APPROVAL, "").await;
    let messages = left_open(&scene).await.new_messages;
    scene.server.forget();
    let models = scene.model.seen().len();
    let nothing = InputAnswer { input_id: "call_0".into(), answer: None };
    for (answers, field) in [
        (vec![approve("call_1")], "answers[0].input_id"),
        (vec![approve("call_0"), approve("")], "answers[1].input_id"),
        (vec![approve("call_0"), approve("call_0")], "answers[1].input_id"),
        (vec![approve("call_0"), deny("call_0", "")], "answers[1].input_id"),
        (vec![output("call_0", "alice")], "answers[0]"),
        (vec![nothing.clone()], "answers[0].answer"),
        (vec![approve("call_0"); 257], "answers"),
    ] {
        for refused in both(&scene, &going_on(run_as("a", "fresh"), &[&messages], answers)).await {
            let refused = refused.unwrap_err();
            assert_eq!(reason(&refused), (Code::InvalidArgument, "INVALID_REQUEST".to_owned()));
            assert_eq!(decode(&refused).fields(), [field]);
        }
    }
    // Each by its own place.
    let answers = vec![nothing, approve("call_7"), output("call_8", "")];
    let refused = scene.service.run(going_on(run_as("a", "fresh"), &[&messages], answers)).await.unwrap_err();
    let fields = ["answers[0].answer", "answers[1].input_id", "answers[2].input_id"];
    assert_eq!(decode(&refused).fields(), fields);
    // Nothing is open here.
    let answered = RunRequest { answers: vec![approve("call_0")], ..run_as("a", "fresh") };
    assert_eq!(decode(&scene.service.run(answered).await.unwrap_err()).fields(), ["answers[0].input_id"]);
    assert_eq!((scene.server.seen().len(), scene.model.seen().len()), (0, models));
}

#[tokio::test]
async fn an_input_beside_open_calls_is_refused() {
    let scene = Scene::start(WHOAMI, APPROVAL, "").await;
    let messages = left_open(&scene).await.new_messages;
    for answers in [vec![], vec![approve("call_0")], vec![deny("call_0", "")]] {
        let going = going_on(run_as("a", "fresh"), &[&messages], answers);
        let request = RunRequest { input: "never mind".into(), ..going };
        assert_eq!(decode(&scene.service.run(request).await.unwrap_err()).fields(), ["input"]);
    }
    let text = Part { part: Some(part::Part::Text("never mind".to_owned())) };
    let user = Message { role: MessageRole::User.into(), parts: vec![text] };
    let going = going_on(run_as("a", "fresh"), &[&messages, &[user]], [approve("call_0")]);
    let refused = scene.service.run(going).await.unwrap_err();
    assert_eq!(decode(&refused).fields()[0], "messages[2]");
    assert_eq!(scene.called(), []);
}

/// A server whose tool `whoami` takes a number.
async fn numbered() -> McpServer {
    McpServer::with_hook(Era::Modern, |seen| async move {
        let mut whoami = tool("whoami");
        whoami["inputSchema"]["properties"] = json!({ "n": { "type": "integer" } });
        let tools = json!([whoami, tool("fail"), tool("secret")]);
        let listed = json!({ "resultType": "complete", "tools": tools });
        (seen.method() == "tools/list").then(|| seen.result(listed))
    })
    .await
}

#[tokio::test]
async fn a_call_that_the_run_would_not_make_reaches_no_server_whatever_the_conversation_says() {
    let uses = "tools: [whoami, fail], approval: all";
    let scene = Scene::with(numbered().await, &[], uses, "").await;
    for (tampered, told) in [
        (call("c", "crm", "nothing", "{}"), "There is no tool"),
        (call("c", "crm", "secret", "{}"), "There is no tool"),
        (call("c", "crm", "fail", "{}"), "There is no tool"),
        (call("c", "crm", "crm__whoami", "{}"), "There is no tool"),
        (call("c", "wiki", "whoami", "{}"), "There is no tool"),
        // No server's, though the name is that of a tool that the model is offered.
        (call("c", "", "whoami", "{}"), "There is no tool"),
        (call("c", "", "crm__whoami", "{}"), "There is no tool"),
        (call("c", "crm", "whoami", "{\"n\": \"1\"}"), "do not fit"),
        (call("c", "crm", "whoami", "[1]"), "no JSON object"),
        (call("c", "crm", "whoami", "{\"n\": 1} [cut: 9 bytes left out]"), "no JSON object"),
    ] {
        let going = going_on(run_as("a", "alice"), &[&asking([tampered.clone()])], [approve("c")]);
        let crm = |tool: &str| ToolRef { mcp_server: "crm".into(), tool: tool.into() };
        let options = RunOptions { allowed_tools: vec![crm("whoami")], ..RunOptions::default() };
        let going = RunRequest { options: Some(options), ..going };
        for response in both(&scene, &going).await {
            let response = response.unwrap();
            assert_eq!(response.tool_calls[0].status(), ToolCallStatus::Error, "{tampered:?}");
            let conversation = scene.conversation();
            let shown = conversation.last().unwrap()["content"].as_str().unwrap();
            assert!(shown.contains(told), "{tampered:?}: {shown}");
        }
    }
    assert_eq!(scene.called(), []);
    // The same call as it should be.
    let fine = call("c", "crm", "whoami", "{\"n\": 1}");
    let going = going_on(run_as("a", "alice"), &[&asking([fine])], [approve("c")]);
    scene.service.run(going).await.unwrap();
    assert_eq!(scene.called().len(), 1);
}

#[tokio::test]
async fn a_tools_name_is_never_taken_for_that_of_another() {
    // `a.b` is not valid for a model: its name there is that of another tool, which the server lists, too.
    let fitted = |scene: &Scene| scene.offered().into_iter().find(|name| name.starts_with("a_b_")).unwrap();
    let listing = |names: Vec<String>| {
        McpServer::with_hook(Era::Modern, move |seen| {
            let tools: Vec<_> = names.iter().map(|name| tool(name)).collect();
            let listed = json!({ "resultType": "complete", "tools": tools });
            let answer = match seen.method() {
                "tools/list" => Some(seen.result(listed)),
                "tools/call" => Some(seen.tool_text("it ran")),
                _ => None,
            };
            async move { answer }
        })
    };
    let probe = Scene::with(listing(vec!["a.b".into()]).await, &[], "", "").await;
    probe.service.run(run_as("a", "alice")).await.unwrap();
    let taken = fitted(&probe);
    // The first tool has the name; the second is needed by nobody's approval, and is another.
    let uses = "approval: [a.b]";
    let scene = Scene::with(listing(vec![taken.clone(), "a.b".into()]).await, &[], uses, "").await;
    let going = going_on(run_as("a", "alice"), &[&asking([call("c", "crm", "a.b", "{}")])], [approve("c")]);
    let response = scene.service.run(going).await.unwrap();
    assert_eq!((response.tool_calls[0].status(), scene.called().len()), (ToolCallStatus::Error, 0));
}

#[tokio::test]
async fn an_open_call_that_nobody_would_be_asked_about_needs_a_word_all_the_same() {
    let scene = Scene::start(&[], APPROVAL, "").await;
    let messages = asking([call("c", "crm", "fail", "{}")]);
    for (messages, request) in [
        (&messages, run_as("a", "alice")),
        (&asking([call("c", "wiki", "whoami", "{}")]), run_as("a", "alice")),
        (&asking([call("c", "", "look_up", "{}")]), with_tools(run_as("a", "alice"), &["other"])),
    ] {
        let refused = scene.service.run(going_on(request, &[messages], [])).await.unwrap_err();
        assert_eq!(decode(&refused).fields(), ["messages"]);
    }
    let denied = going_on(run_as("a", "alice"), &[&messages], [deny("c", "")]);
    for response in both(&scene, &denied).await {
        assert_eq!(response.unwrap().final_output, "The call was not approved.|");
    }
    assert_eq!(scene.called(), [], "a denial holds");
    // Else who may bring a conversation could have any tool called, with the registered credentials.
    let asked = scene.model.seen().len();
    let approved = going_on(run_as("a", "alice"), &[&messages], [approve("c")]);
    for refused in both(&scene, &approved).await {
        let refused = refused.unwrap_err();
        assert_eq!(reason(&refused), (Code::InvalidArgument, "INVALID_REQUEST".to_owned()));
        let decoded = decode(&refused);
        assert_eq!((decoded.fields(), &*decoded.metadata["admitted"]), (vec!["answers[0]"], "false"));
        assert!(decoded.violations()[0].description.contains("approved: false"), "{refused:?}");
    }
    assert_eq!((scene.called().len(), scene.model.seen().len()), (0, asked));
}

#[tokio::test]
async fn an_id_that_stands_twice_is_refused_and_an_answer_is_for_no_earlier_call() {
    let scene = Scene::start(WHOAMI, APPROVAL, "").await;
    let twice = asking([call("c", "crm", "whoami", "{}"), call("c", "crm", "fail", "{}")]);
    let refused =
        scene.service.run(going_on(run_as("a", "alice"), &[&twice], [approve("c")])).await.unwrap_err();
    assert_eq!(decode(&refused).fields()[0], "messages[1].parts[1].tool_call.call_id");

    // An earlier turn had the same id.
    let earlier = [asking([call("c", "crm", "fail", "{}")]), vec![results([("c", "done")])]].concat();
    let again = asking([call("c", "crm", "whoami", "{}")]);
    let going = going_on(run_as("a", "alice"), &[&earlier, &again], [approve("c")]);
    let refused = scene.service.run(going).await.unwrap_err();
    assert_eq!(decode(&refused).fields()[0], "messages[4].parts[0].tool_call.call_id");

    // The earlier call has its result: it can't be answered, and is not made again.
    let later = asking([call("d", "crm", "whoami", "{}")]);
    let going = |id| going_on(run_as("a", "alice"), &[&earlier, &later], [approve(id)]);
    let refused = scene.service.run(going("c")).await.unwrap_err();
    assert_eq!(decode(&refused).fields(), ["answers[0].input_id"]);
    assert_eq!(scene.called(), []);
    let response = scene.service.run(going("d")).await.unwrap();
    assert_eq!(response.final_output, "Bearer alice|");
    assert_eq!(scene.called(), [("whoami".to_owned(), "alice".to_owned())]);
}

#[tokio::test]
async fn an_answer_holds_for_its_own_call_and_not_for_one_that_the_model_asks_for_later() {
    // The model asks for `call_0` again in each turn, whatever was answered.
    let model = crate::support::model_server::ModelServer::start(|_| async {
        let function = json!({ "name": "whoami", "arguments": "{}" });
        let calls = json!([{ "id": "call_0", "type": "function", "function": function }]);
        let message = json!({ "role": "assistant", "content": null, "tool_calls": calls });
        json_response(
            &json!({ "choices": [{ "index": 0, "message": message, "finish_reason": "tool_calls" }] }),
        )
    })
    .await;
    let server = McpServer::start(Era::Modern).await;
    let yaml = crate::support::service::asking_config(&model.base_url(), &[("crm", &server.url())])
        .replace("[crm]", "[{ name: crm, approval: all }]");
    let service = crate::support::service::Service::start(&yaml).await;
    let first = service.run(run_as("a", "alice")).await.unwrap();
    let going = going_on(run_as("a", "alice"), &[&first.new_messages], [approve("call_0")]);
    let second = service.run(going).await.unwrap();
    assert_eq!(second.finish_reason(), FinishReason::AwaitingInput);
    let [(id, true)] = pending(&second)[..] else { panic!("{second:?}") };
    assert_ne!(id, "call_0");
    assert_eq!(server.methods().iter().filter(|method| *method == "tools/call").count(), 1);
}

#[tokio::test]
async fn of_very_many_open_calls_the_first_are_asked_for_and_the_others_are_not_made() {
    let scene = Scene::start(&[], "approval: all", "").await;
    let ids: Vec<String> = (0..2_048).map(|number| format!("c{number}")).collect();
    let messages = asking(ids.iter().map(|id| call(id, "crm", "whoami", "")));
    let done = results([("c0", "done")]);
    let going = going_on(run_as("a", "alice"), &[&messages, &[done]], [approve("c2")]);
    let response = scene.service.run(going).await.unwrap();
    assert_eq!((response.finish_reason(), response.pending.len()), (FinishReason::AwaitingInput, 127));
    assert_eq!(scene.called().len(), 1);
}

#[tokio::test]
async fn a_streamed_run_tells_of_what_it_makes_before_it_asks_the_model() {
    let scene = Scene::start(WHOAMI, APPROVAL, "").await;
    let first = left_open(&scene).await;
    let going = going_on(run_as("a", "fresh"), &[&first.new_messages], [approve("call_0")]);
    let (events, end) = scene.service.events(going).await;
    end.unwrap();
    let told: Vec<_> = events
        .iter()
        .filter_map(|event| match event.event.as_ref()? {
            Event::ToolCallStarted(_) => Some(("call started", event.turn)),
            Event::ToolCallCompleted(_) => Some(("call completed", event.turn)),
            Event::TurnStarted(_) => Some(("turn", event.turn)),
            Event::ApprovalRequired(_) => Some(("approval", event.turn)),
            _ => None,
        })
        .collect();
    assert_eq!(told, [("call started", 0), ("call completed", 0), ("turn", 1)]);
}

#[tokio::test]
async fn a_tool_that_was_forced_is_not_forced_again() {
    let scene = Scene::start(WHOAMI, APPROVAL, "").await;
    let choice = ToolChoice { choice: Some(tool_choice::Choice::Mode(ToolChoiceMode::Required.into())) };
    let options = RunOptions { tool_choice: Some(choice), ..RunOptions::default() };
    let request = || RunRequest { options: Some(options.clone()), ..run_as("a", "alice") };
    let first = scene.service.run(request()).await.unwrap();
    let going = going_on(request(), &[&first.new_messages], [approve("call_0")]);
    assert_eq!(scene.service.run(going).await.unwrap().finish_reason(), FinishReason::Stop);
    let choices: Vec<_> = scene.model.seen().iter().map(|(_, body)| body["tool_choice"].clone()).collect();
    assert_eq!(choices, [json!("required"), json!(null)]);
}
