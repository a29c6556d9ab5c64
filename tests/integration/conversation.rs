//! What a run makes of its conversation: turns, tool calls, limits, and how to go on.

use axum::{body::Body, http::Response};
use base64::{Engine, prelude::BASE64_STANDARD};
use runwright::grpc::proto::{
    ClientTool, FinishReason, Image, InputAnswer, Message, MessageRole, Part, RunOptions, RunRequest,
    RunResponse, ToolCallStatus, ToolOutput, ToolRef, image::Source, input_answer::Answer, part,
};
use serde_json::{Value, json};
use tonic::Code;

use crate::support::{
    error::decode,
    gate::Gate,
    mcp_server::{Era, McpServer, Seen, json_response, tool},
    model_server::{ModelServer, calls, has_result, says},
    run_as, run_with,
    service::{Service, asking_config},
};

/// A model that first asks for these tools, all at once, and then is done.
async fn calling(asked: &'static [(&'static str, &'static str)]) -> ModelServer {
    ModelServer::start(move |body| async move { if has_result(&body) { says("done") } else { all(asked) } })
        .await
}

fn all(asked: &[(&str, &str)]) -> Response<Body> {
    let calls: Vec<Value> = asked
        .iter()
        .enumerate()
        .map(|(at, (name, arguments))| {
            let function = json!({ "name": name, "arguments": arguments });
            json!({ "id": format!("call_{at}"), "type": "function", "function": function })
        })
        .collect();
    let message = json!({ "role": "assistant", "content": "let me see", "tool_calls": calls });
    json_response(&json!({ "choices": [{ "index": 0, "message": message, "finish_reason": "tool_calls" }] }))
}

/// A server whose tools are these; each answers with its own name.
async fn offering(tools: &'static [&'static str]) -> McpServer {
    McpServer::with_hook(Era::Modern, move |seen| async move { offer(&seen, tools) }).await
}

fn offer(seen: &Seen, tools: &[&str]) -> Option<Response<Body>> {
    match seen.method() {
        "tools/list" => {
            let tools: Vec<Value> = tools.iter().map(|name| tool(name)).collect();
            Some(seen.result(json!({ "resultType": "complete", "tools": tools })))
        }
        "tools/call" => Some(seen.tool_text(&format!("it was {}", seen.tool()))),
        _ => None,
    }
}

/// The tools that a model was offered.
fn offered(body: &Value) -> Vec<&str> {
    let tools = body["tools"].as_array();
    tools.into_iter().flatten().map(|tool| tool["function"]["name"].as_str().unwrap()).collect()
}

/// The texts of the tool results that a model was shown.
fn shown(body: &Value) -> Vec<&str> {
    let messages = body["messages"].as_array().unwrap().iter();
    messages.filter(|message| message["role"] == "tool").map(|m| m["content"].as_str().unwrap()).collect()
}

fn called(server: &McpServer) -> Vec<String> {
    let seen = server.seen();
    seen.iter().filter(|seen| seen.method() == "tools/call").map(|seen| seen.tool().to_owned()).collect()
}

fn user(text: &str) -> Message {
    let part = Some(part::Part::Text(text.to_owned()));
    Message { role: MessageRole::User.into(), parts: vec![Part { part }] }
}

fn options(options: RunOptions) -> RunRequest {
    RunRequest { options: Some(options), ..run_with("a", []) }
}

#[tokio::test]
async fn a_conversation_goes_on_with_what_a_run_added() {
    let model = calling(&[("whoami", "{\"deep\": [1]}")]).await;
    let server = McpServer::start(Era::Modern).await;
    let yaml = asking_config(&model.base_url(), &[("crm", &server.url())])
        .replace("a: { model", "a: { instructions: Be brief., model");
    let service = Service::start(&yaml).await;

    let first = service.run(run_as("a", "alice")).await.unwrap();
    assert_eq!((first.finish_reason(), first.turns, &*first.final_output), (FinishReason::Stop, 2, "done"));
    let [call] = &first.tool_calls[..] else { panic!("{first:?}") };
    assert_eq!((&*call.call_id, &*call.mcp_server, &*call.tool), ("call_0", "crm", "whoami"));
    assert_eq!((&*call.arguments_json, call.status()), ("{\"deep\": [1]}", ToolCallStatus::Ok));
    let roles: Vec<MessageRole> = first.new_messages.iter().map(Message::role).collect();
    assert_eq!(roles, [MessageRole::User, MessageRole::Assistant, MessageRole::Tool, MessageRole::Assistant]);
    assert_eq!(first.new_messages[0], user("go"));

    // The same conversation as the model had it, and the new input.
    let again = RunRequest { messages: first.new_messages.clone(), ..run_as("a", "alice") };
    let again = RunRequest { input: "and now?".to_owned(), ..again };
    let second = service.run(again).await.unwrap();
    assert_eq!(second.new_messages.first(), Some(&user("and now?")));
    let asked = |at: usize| model.seen()[at].1["messages"].clone();
    let mut expected = asked(1).as_array().unwrap().clone();
    expected.push(json!({ "role": "assistant", "content": "done" }));
    expected.push(json!({ "role": "user", "content": "and now?" }));
    assert_eq!(asked(2), Value::Array(expected.clone()));
    assert_eq!(expected[0], json!({ "role": "system", "content": "Be brief." }));
    assert_eq!(expected[3]["content"], "Bearer alice");

    // A conversation that ends with the user needs no input, and none is added.
    let messages = [first.new_messages, vec![user("well?")]].concat();
    let third =
        service.run(RunRequest { messages, input: String::new(), ..run_as("a", "alice") }).await.unwrap();
    assert_eq!(third.new_messages.len(), 1);
    assert_eq!(asked(3).as_array().unwrap().last().unwrap()["content"], "well?");
}

#[tokio::test]
async fn the_turn_limit_ends_a_run_whose_conversation_can_go_on() {
    let model = ModelServer::start(|_| async { calls("whoami", "{}") }).await;
    let server = McpServer::start(Era::Modern).await;
    let plain = asking_config(&model.base_url(), &[("crm", &server.url())]);
    let limited = plain.replace("a: { model", "a: { max_turns: 2, model");
    for (yaml, asked, turns) in
        [(&plain, 0, 10), (&plain, 3, 3), (&limited, 0, 2), (&limited, 1, 1), (&limited, 9, 2)]
    {
        let service = Service::start(yaml).await;
        server.forget();
        let response =
            service.run(options(RunOptions { max_turns: asked, ..Default::default() })).await.unwrap();
        assert_eq!((response.finish_reason(), response.turns), (FinishReason::TurnLimit, turns));
        assert_eq!(response.usage.unwrap().model_requests, turns);
        assert_eq!(response.tool_calls.len(), usize::try_from(turns).unwrap());
        assert_eq!(response.tool_calls.last().unwrap().status(), ToolCallStatus::Error, "it was not made");
        assert_eq!(called(&server).len(), usize::try_from(turns).unwrap() - 1);
        let again = RunRequest { messages: response.new_messages, ..run_with("a", []) };
        service.run(again).await.unwrap();
    }
}

#[tokio::test]
async fn a_model_is_offered_what_agent_and_request_allow() {
    let names = &["one", "two", "three"];
    let (crm, wiki) = (offering(names).await, offering(names).await);
    let model = ModelServer::start(|_| async { says("done") }).await;
    let yaml = asking_config(&model.base_url(), &[("crm", &crm.url()), ("wiki", &wiki.url())])
        .replace("[crm, wiki]", "[{ name: crm, tools: [three, one, never] }, { name: wiki }]");
    let service = Service::start(&yaml).await;
    let allow = |allowed: &[(&str, &str)]| {
        let tool = |&(server, tool): &(&str, &str)| ToolRef { mcp_server: server.into(), tool: tool.into() };
        options(RunOptions { allowed_tools: allowed.iter().map(tool).collect(), ..Default::default() })
    };
    for (allowed, expected) in [
        (&[][..], &["crm__one", "crm__three", "wiki__one", "wiki__two", "wiki__three"][..]),
        (&[("crm", "one"), ("wiki", "two")], &["crm__one", "wiki__two"]),
        // Not the agent's, or not the server's: not offered.
        (&[("crm", "two"), ("wiki", "never")], &[]),
    ] {
        service.run(allow(allowed)).await.unwrap();
        assert_eq!(offered(&model.seen().last().unwrap().1), expected, "{allowed:?}");
    }
}

#[tokio::test]
async fn a_tool_that_is_not_offered_or_bad_arguments_reach_no_server() {
    let server = McpServer::start(Era::Modern).await;
    for asked in [
        &[("nothing", "{}")][..],
        &[("crm__whoami", "{}")],
        &[("WHOAMI", "{}")],
        &[("fail", "{}")],
        &[("whoami", "{")],
        &[("whoami", "[]")],
        &[("whoami", "\"text\"")],
        &[("whoami", "null")],
    ] {
        let model = calling(asked).await;
        let yaml = asking_config(&model.base_url(), &[("crm", &server.url())])
            .replace("[crm]", "[{ name: crm, tools: [whoami] }]");
        let service = Service::start(&yaml).await;
        for streamed in [false, true] {
            let request = run_with("a", []);
            let response =
                if streamed { service.run_streamed(request).await } else { service.run(request).await }
                    .unwrap();
            assert_eq!(response.finish_reason(), FinishReason::Stop);
            assert_eq!(response.tool_calls[0].status(), ToolCallStatus::Error, "{asked:?}");
            assert_eq!(shown(&model.seen().last().unwrap().1).len(), 1, "the model is told");
        }
        assert!(called(&server).is_empty(), "{asked:?}");
    }
}

#[tokio::test]
async fn calls_of_a_turn_go_side_by_side_and_their_results_stand_in_order() {
    let asked = &[("first", "{}"), ("second", ""), ("first", "{\"n\": 2}")];
    let model = calling(asked).await;
    let (gate, both) = (Gate::closed(), Gate::closed());
    let (held, others) = (gate.clone(), both.clone());
    let server = McpServer::with_hook(Era::Modern, move |seen| {
        let (held, others) = (held.clone(), others.clone());
        async move {
            if seen.method() == "tools/call" {
                // The first call is answered last.
                let is_first = seen.tool() == "first" && seen.body["params"]["arguments"].get("n").is_none();
                if is_first { held.pass().await } else { others.pass().await }
            }
            offer(&seen, &["first", "second"])
        }
    })
    .await;
    let service = Service::start(&asking_config(&model.base_url(), &[("crm", &server.url())])).await;
    let mut stream = service.agents.clone().run_streamed(run_with("a", [])).await.unwrap().into_inner();
    gate.entered(1).await;
    both.entered(2).await;
    both.open();
    let mut ended = Vec::new();
    let response = loop {
        use runwright::grpc::proto::run_event::Event;
        match stream.message().await.unwrap().unwrap().event.unwrap() {
            Event::ToolCallCompleted(completed) => {
                ended.push(completed.tool_call.unwrap().call_id);
                if ended.len() == 2 {
                    gate.open();
                }
            }
            Event::RunCompleted(response) => break response,
            _ => {}
        }
    };
    assert_eq!(ended.last().unwrap(), "call_0");
    let ids: Vec<&str> = response.tool_calls.iter().map(|call| call.call_id.as_str()).collect();
    assert_eq!(ids, ["call_0", "call_1", "call_2"]);
    assert_eq!(shown(&model.seen().last().unwrap().1), ["it was first", "it was second", "it was first"]);
}

#[tokio::test]
async fn an_optional_server_that_is_down_is_told_and_the_run_goes_on() {
    let model = calling(&[("crm__whoami", "{}")]).await;
    let crm = McpServer::start(Era::Modern).await;
    let servers = [("crm", &*crm.url()), ("wiki", "http://127.0.0.1:9/mcp")];
    let yaml = asking_config(&model.base_url(), &servers)
        .replace("[crm, wiki]", "[crm, { name: wiki, required: false }]");
    let service = Service::start(&yaml).await;
    let response = service.run(run_with("a", [])).await.unwrap();
    assert_eq!(response.unavailable_mcp_servers, ["wiki"]);
    assert_eq!(response.tool_calls[0].status(), ToolCallStatus::Ok, "names do not depend on who is there");
    assert_eq!(offered(&model.seen()[0].1), ["crm__whoami", "crm__fail"]);

    let (events, end) = service.events(run_with("a", [])).await;
    end.unwrap();
    use runwright::grpc::proto::run_event::Event;
    let Some(Event::McpServerUnavailable(told)) = &events[1].event else { panic!("{:?}", events[1]) };
    assert_eq!((&*told.mcp_server, told.reason.is_empty(), events[1].turn), ("wiki", false, 0));
    assert!(!told.reason.contains("127.0.0.1"), "{}", told.reason);
}

#[tokio::test]
async fn odd_names_of_tools_are_fitted_for_the_model_and_mapped_back() {
    const LONG: &str = "a-name-that-is-longer-than-what-the-providers-of-models-take-by-some-letters";
    const NAMES: &[&str] = &["plain", "files/read", "files.read", "files read", "ünï", LONG, "crm__plain"];
    for servers in [1, 2] {
        let model = ModelServer::start(|body| async move {
            if has_result(&body) {
                return says("done");
            }
            let names = offered(&body);
            all(&names.iter().map(|name| (*name, "{}")).collect::<Vec<_>>())
        })
        .await;
        let (crm, wiki) = (offering(NAMES).await, offering(&[]).await);
        let registered = [("crm", &*crm.url()), ("wiki", &*wiki.url())];
        let service = Service::start(&asking_config(&model.base_url(), &registered[..servers])).await;
        let response = service.run(run_with("a", [])).await.unwrap();
        let tools: Vec<&str> = response.tool_calls.iter().map(|call| call.tool.as_str()).collect();
        assert_eq!(tools, NAMES);
        let mut sent = called(&crm);
        sent.sort();
        let mut expected = NAMES.to_vec();
        expected.sort_unstable();
        assert_eq!(sent, expected);
        let seen = model.seen();
        let names = offered(&seen[0].1);
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        assert!(
            names.iter().all(|name| (1..=64).contains(&name.len()) && name.chars().all(allowed)),
            "{names:?}"
        );
        assert_eq!(names[0], ["plain", "crm__plain"][servers - 1]);
    }
}

fn message(role: MessageRole, parts: Vec<part::Part>) -> Message {
    Message { role: role.into(), parts: parts.into_iter().map(|part| Part { part: Some(part) }).collect() }
}

fn image(media_type: &str, source: Source) -> Image {
    Image { media_type: media_type.into(), source: Some(source) }
}

/// Bytes that no text has.
fn bytes(count: usize) -> Vec<u8> {
    (0..=255).cycle().take(count).collect()
}

/// The URL under which a provider finds an image that was sent as bytes.
fn data_url(media_type: &str, data: &[u8]) -> String {
    format!("data:{media_type};base64,{}", BASE64_STANDARD.encode(data))
}

fn image_url(url: impl Into<String>) -> Value {
    json!({ "type": "image_url", "image_url": { "url": url.into() } })
}

#[tokio::test]
async fn a_users_images_reach_the_model_byte_by_byte_and_in_order() {
    let model = ModelServer::start(|_| async { says("done") }).await;
    let service = Service::start(&asking_config(&model.base_url(), &[])).await;
    for (media_type, size) in
        [("image/png", 1), ("image/jpeg", 2), ("image/gif", 3), ("image/webp", 1_000_001)]
    {
        let url = "https://images.example.com/a.png?x=1&y=%20";
        let parts = vec![
            part::Part::Text("look:".into()),
            part::Part::Image(image(media_type, Source::Data(bytes(size)))),
            part::Part::Image(image("", Source::Url(url.into()))),
            part::Part::Text("and?".into()),
        ];
        let expected = json!([
            { "type": "text", "text": "look:" },
            image_url(data_url(media_type, &bytes(size))),
            image_url(url),
            { "type": "text", "text": "and?" },
        ]);
        for streamed in [false, true] {
            let messages = vec![message(MessageRole::User, parts.clone())];
            let request = RunRequest { messages, input: String::new(), ..run_with("a", []) };
            if streamed {
                service.run_streamed(request).await.unwrap();
            } else {
                service.run(request).await.unwrap();
            }
            assert_eq!(model.seen().pop().unwrap().1["messages"][0]["content"], expected);
        }
    }
}

#[tokio::test]
async fn an_image_or_a_state_that_is_wrong_is_named() {
    use part::Part::{Image as Shown, ProviderState as State};
    let model = ModelServer::start(|_| async { says("done") }).await;
    let service = Service::start(&asking_config(&model.base_url(), &[])).await;
    let data = || Source::Data(bytes(3));
    let url = |url: &str| Source::Url(url.to_owned());
    let (asking, answering) = (MessageRole::User, MessageRole::Assistant);
    let other = br#"{"provider":"p","model":"m","state":{},"more":1}"#.to_vec();
    for (role, part, field) in [
        (asking, Shown(image("", data())), ".image.media_type"),
        (asking, Shown(image("image/svg+xml", data())), ".image.media_type"),
        (asking, Shown(image("IMAGE/PNG", data())), ".image.media_type"),
        (asking, Shown(image("image/png", Source::Data(Vec::new()))), ".image.data"),
        (asking, Shown(Image { media_type: "image/png".into(), source: None }), ".image.source"),
        (asking, Shown(image("", url(""))), ".image.url"),
        (asking, Shown(image("", url("file:///etc/passwd"))), ".image.url"),
        (asking, Shown(image("", url("data:image/png;base64,AAAA"))), ".image.url"),
        (asking, Shown(image("", url(&format!("https://h/{}", "x".repeat(8192))))), ".image.url"),
        (asking, Shown(image("text/html", url("https://h/a.png"))), ".image.media_type"),
        (asking, State(b"{}".to_vec()), ""),
        (answering, Shown(image("image/png", data())), ""),
        (answering, State(Vec::new()), ".provider_state"),
        (answering, State(bytes(100)), ".provider_state"),
        (answering, State(b"{}".to_vec()), ".provider_state"),
        (answering, State(other), ".provider_state"),
    ] {
        let part = vec![part::Part::Text("text".into()), part];
        let messages = vec![user("before"), message(role, part)];
        let status = service.run(RunRequest { messages, ..run_with("a", []) }).await.unwrap_err();
        let decoded = decode(&status);
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert_eq!(decoded.fields(), [format!("messages[1].parts[1]{field}")]);
        assert_eq!(decoded.metadata["admitted"], "false");
    }
    assert!(model.seen().is_empty());
}

#[tokio::test]
async fn a_state_of_another_provider_is_taken_and_not_sent() {
    let model = ModelServer::start(|_| async { says("done") }).await;
    let service = Service::start(&asking_config(&model.base_url(), &[])).await;
    let state = br#"{"provider":"elsewhere","model":"m-1","state":{"signature":"c2ln"}}"#.to_vec();
    let parts = vec![part::Part::ProviderState(state), part::Part::Text("hm".into())];
    let messages = vec![user("before"), message(MessageRole::Assistant, parts)];
    let response = service.run(RunRequest { messages, ..run_with("a", []) }).await.unwrap();
    assert_eq!(response.new_messages.len(), 2, "what the caller sent is not sent back");
    let (_, body) = model.seen().pop().unwrap();
    assert_eq!(body["messages"][1], json!({ "role": "assistant", "content": "hm" }));
    assert!(!body.to_string().contains("c2ln"));
}

/// A run that goes on from one that waits for a tool of the caller's own, which gives these images back.
async fn answered(service: &Service, images: Vec<Image>) -> RunResponse {
    let own = ClientTool { name: "camera".into(), ..ClientTool::default() };
    let asking = || options(RunOptions { client_tools: vec![own.clone()], ..RunOptions::default() });
    let waits = service.run(asking()).await.unwrap();
    assert_eq!(waits.finish_reason(), FinishReason::AwaitingInput);
    let output = ToolOutput { text: "seen".into(), is_error: false, images };
    let input_id = waits.pending[0].input_id.clone();
    let answers = vec![InputAnswer { input_id, answer: Some(Answer::ToolOutput(output)) }];
    let request = RunRequest { messages: waits.new_messages, input: String::new(), answers, ..asking() };
    service.run(request).await.unwrap()
}

/// The one tool result of a response.
fn result(response: &RunResponse) -> (&str, &[Image]) {
    let parts = response.new_messages.iter().flat_map(|message| &message.parts);
    let mut results = parts.filter_map(|part| match &part.part {
        Some(part::Part::ToolResult(result)) => Some((&*result.text, &*result.images)),
        _ => None,
    });
    results.next().unwrap()
}

#[tokio::test]
async fn images_of_results_come_back_as_they_were_unless_the_response_is_too_large_for_them() {
    let model = calling(&[("camera", "{}")]).await;
    let service = Service::start(&asking_config(&model.base_url(), &[])).await;
    let images =
        vec![image("image/png", Source::Data(bytes(257))), image("", Source::Url("https://h/i".into()))];
    let response = answered(&service, images.clone()).await;
    assert_eq!(result(&response), ("seen", &images[..]));
    let (_, body) = model.seen().pop().unwrap();
    let shown = body["messages"].as_array().unwrap().last().unwrap()["content"].clone();
    assert_eq!(
        shown.as_array().unwrap()[1..3],
        [image_url(data_url("image/png", &bytes(257))), image_url("https://h/i")]
    );

    let large = vec![image("image/png", Source::Data(bytes(3 * 1024 * 1024)))];
    let response = answered(&service, large).await;
    assert_eq!(result(&response), ("[images left out: 1] seen", &[][..]));
    let (_, body) = model.seen().pop().unwrap();
    assert!(body.to_string().len() > 4 * 1024 * 1024, "the model was shown it all the same");
}
