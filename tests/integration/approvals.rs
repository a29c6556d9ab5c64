//! Tools that are called only if the caller approves: what a streamed run waits for, what it takes for an answer, and how
//! the wait ends.

use std::time::Duration;

use runwright::grpc::proto::{
    ApprovalAnswer, FinishReason, InputAnswer, RunOptions, RunRequest, SubmitRunInputRequest, ToolCallStatus,
    ToolChoice, ToolChoiceMode, input_answer::Answer, part, pending_input::Input, run_event::Event,
    tool_choice,
};
use tokio::time;
use tonic::{Code, Request};

use crate::support::{
    error::decode,
    inputs::{Asked, Scene, approve, deny, open, output, pending},
    mcp_server::{Era, McpServer, unauthorized},
    no_run_left,
    reader::{Reader, waiting},
    run_as,
    scene::reason,
    soon,
};

const WHOAMI: &Asked = &[("whoami", "{}")];
const APPROVAL: &str = "approval: [whoami]";

/// `whoami` of `crm` by alice, which must be approved.
fn called(count: usize) -> Vec<(String, String)> {
    vec![("whoami".to_owned(), "alice".to_owned()); count]
}

fn within(request: RunRequest, input_timeout: Option<Duration>, timeout: Option<Duration>) -> RunRequest {
    let wire = |time: Duration| prost_types::Duration::try_from(time).unwrap();
    let options = RunOptions {
        input_timeout: input_timeout.map(wire),
        timeout: timeout.map(wire),
        ..request.options.unwrap_or_default()
    };
    RunRequest { options: Some(options), ..request }
}

#[tokio::test]
async fn a_call_waits_for_its_approval_and_is_then_made_once() {
    let scene = Scene::start(&[("whoami", r#"{"a":1}"#)], APPROVAL, "").await;
    let mut run = Reader::start(&scene.service, run_as("a", "alice")).await;
    let asked = run.asked().await;
    assert_eq!(asked.input_id, "call_0");
    assert!(asked.expire_time.is_some());
    let Some(Input::Approval(call)) = asked.input else { panic!("{:?}", asked.input) };
    assert_eq!((&*call.call_id, &*call.mcp_server, &*call.tool), ("call_0", "crm", "whoami"));
    assert_eq!((&*call.arguments_json, call.status()), (r#"{"a":1}"#, ToolCallStatus::Unspecified));
    assert_eq!((call.duration, scene.called().len()), (None, 0));

    run.submit([approve("call_0")]).await.unwrap();
    assert!(
        matches!(run.next().await.unwrap(), Some(Event::ToolCallStarted(started)) if started.call_id == "call_0")
    );
    let response = run.end().await.unwrap();
    assert_eq!((response.finish_reason(), &*response.final_output), (FinishReason::Stop, "Bearer alice|"));
    assert_eq!(response.tool_calls[0].status(), ToolCallStatus::Ok);
    assert!(response.pending.is_empty() && open(&response.new_messages).is_empty());
    assert_eq!(scene.called(), called(1));
}

#[tokio::test]
async fn a_denial_reaches_the_model_and_no_server() {
    for on_tool_error in ["", "on_tool_error: fail_run,"] {
        for (reason, told) in
            [("too risky", "The call was not approved: too risky|"), ("", "The call was not approved.|")]
        {
            let scene = Scene::start(WHOAMI, "approval: all", on_tool_error).await;
            let mut run = Reader::start(&scene.service, run_as("a", "alice")).await;
            let input_id = run.asked().await.input_id;
            run.submit([deny(&input_id, reason)]).await.unwrap();
            let response = run.end().await.unwrap();
            assert_eq!((response.finish_reason(), &*response.final_output), (FinishReason::Stop, told));
            assert_eq!(response.tool_calls[0].status(), ToolCallStatus::Error);
            assert_eq!(scene.called(), []);
        }
    }
}

#[tokio::test]
async fn what_is_no_answer_is_refused_and_nothing_of_its_request_is_taken() {
    let scene = Scene::start(&[WHOAMI, WHOAMI].concat(), APPROVAL, "").await;
    let mut run = Reader::start(&scene.service, run_as("a", "alice")).await;
    run.asked().await;
    run.asked().await;
    let nothing = || InputAnswer { input_id: "call_1".into(), answer: None };
    for (answers, field) in [
        (vec![], "answers"),
        (vec![approve("call_0"), approve("call_2")], "answers[1].input_id"),
        (vec![approve("call_0"), deny("call_0", "")], "answers[1].input_id"),
        (vec![approve("call_0"), output("call_1", "done")], "answers[1]"),
        (vec![approve("call_0"), nothing()], "answers[1].answer"),
        (vec![approve("call_0"); 257], "answers"),
        (vec![approve("")], "answers[0].input_id"),
        // An index counts all answers.
        (vec![InputAnswer::default(), output("call_1", "")], "answers[0].answer"),
    ] {
        let refused = run.submit(answers).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        let decoded = decode(&refused);
        assert_eq!((&*decoded.reason, &decoded.fields()[0]), ("INVALID_REQUEST", &field));
        assert_eq!(decoded.metadata["admitted"], "false");
    }
    let all = run.submit([nothing(), approve("call_2"), output("call_0", "")]).await.unwrap_err();
    assert_eq!(decode(&all).fields(), ["answers[0].answer", "answers[1].input_id", "answers[2]"]);
    run.submit([approve("call_0")]).await.unwrap();
    let again = run.submit([approve("call_0"), approve("call_1")]).await.unwrap_err();
    assert_eq!(decode(&again).fields(), ["answers[0].input_id"], "it has its answer");
    run.submit([deny("call_1", "")]).await.unwrap();
    let response = run.end().await.unwrap();
    assert_eq!(response.final_output, "Bearer alice|The call was not approved.|");
    assert_eq!(scene.called(), called(1));
}

#[tokio::test]
async fn who_has_not_the_runs_token_answers_nothing() {
    let scene = Scene::start(WHOAMI, APPROVAL, "").await;
    let mut run = Reader::start(&scene.service, run_as("a", "alice")).await;
    // It has a call of the same id.
    let mut other = Reader::start(&scene.service, run_as("a", "bob")).await;
    run.asked().await;
    other.asked().await;
    for (run_id, control_token) in [
        (&run.run_id, &other.control_token),
        (&other.run_id, &run.control_token),
        (&run.run_id, &String::new()),
        (&"no id".to_owned(), &run.control_token),
        (&String::new(), &String::new()),
    ] {
        // It does not matter to them whether the answers are right.
        for answers in [vec![approve("call_0")], vec![InputAnswer::default()], vec![]] {
            let (run_id, control_token) = (run_id.clone(), control_token.clone());
            let request = SubmitRunInputRequest { run_id, control_token, answers };
            let refused = scene.service.agents.clone().submit_run_input(request).await.unwrap_err();
            assert_eq!(reason(&refused), (Code::NotFound, "RUN_NOT_FOUND".to_owned()));
        }
    }
    assert_eq!(scene.called(), []);
    run.submit([approve("call_0")]).await.unwrap();
    assert_eq!(run.end().await.unwrap().final_output, "Bearer alice|");
    assert_eq!(scene.called(), called(1), "the other one still waits");
    other.submit([deny("call_0", "")]).await.unwrap();
    other.end().await.unwrap();
}

#[tokio::test]
async fn other_calls_go_on_meanwhile_and_results_stand_in_order_whatever_is_answered_first() {
    let asked = &[("whoami", "{}"), ("fail", "{}"), ("whoami", "{}"), ("nothing", "{}"), ("whoami", "{}")];
    for order in [[0, 2, 4], [4, 2, 0], [2, 4, 0]] {
        let scene = Scene::start(asked, APPROVAL, "").await;
        let mut run = Reader::start(&scene.service, run_as("a", "alice")).await;
        // All calls of a turn have begun when the first is sent: nobody has read what is asked of the caller.
        scene.server.wait_for("the other call", |seen| seen.tool() == "fail").await;
        let answer = |at| match at {
            2 => deny("call_2", "no"),
            at => approve(&format!("call_{at}")),
        };
        for at in order {
            run.submit([answer(at)]).await.unwrap();
        }
        let mut asked = Vec::new();
        let response = loop {
            match run.next().await.unwrap().unwrap() {
                Event::ApprovalRequired(pending) => asked.push(pending.input_id),
                Event::RunCompleted(response) => break response,
                _ => {}
            }
        };
        asked.sort();
        assert_eq!(asked, ["call_0", "call_2", "call_4"]);
        let results =
            "Bearer alice|it failed|The call was not approved: no|There is no tool `nothing`.|Bearer alice|";
        assert_eq!(response.final_output, results, "{order:?}");
    }
}

#[tokio::test]
async fn a_run_that_waited_long_enough_ends_with_what_it_waits_for() {
    let asked = &[("whoami", "{}"), ("fail", "{}"), ("whoami", "{}")];
    let scene = Scene::start(asked, APPROVAL, "").await;
    for (input_timeout, timeout) in [
        (Some(Duration::from_millis(20)), None),
        (None, Some(Duration::from_millis(1500))),
        (Some(Duration::MAX), Some(Duration::from_millis(1500))),
    ] {
        let input_timeout = input_timeout.map(|time| time.min(Duration::from_secs(1 << 40)));
        let mut run =
            Reader::start(&scene.service, within(run_as("a", "alice"), input_timeout, timeout)).await;
        run.asked().await;
        run.asked().await;
        let late = (run.run_id.clone(), run.control_token.clone());
        let response = run.end().await.unwrap();
        assert_eq!(response.finish_reason(), FinishReason::AwaitingInput);
        assert_eq!(pending(&response), [("call_0", true), ("call_2", true)]);
        assert_eq!(open(&response.new_messages), ["call_0", "call_2"]);
        let statuses: Vec<_> = response.tool_calls.iter().map(|call| call.status()).collect();
        let waits = ToolCallStatus::Unspecified;
        assert_eq!(statuses, [waits, ToolCallStatus::Error, waits]);
        assert!(!format!("{response:?}").contains("alice"));
        // Nothing of it is left that could be answered.
        no_run_left(&scene.service).await;
        let (run_id, control_token) = late;
        let request = SubmitRunInputRequest { run_id, control_token, answers: vec![approve("call_0")] };
        let refused = scene.service.agents.clone().submit_run_input(request).await.unwrap_err();
        assert_eq!(reason(&refused).1, "RUN_NOT_FOUND");
    }
    let tools: Vec<_> = scene.called().into_iter().map(|(tool, _)| tool).collect();
    assert_eq!(tools, ["fail"; 3]);
}

#[tokio::test]
async fn a_process_that_was_busy_till_after_the_end_still_says_what_the_run_waited_for() {
    let scene = Scene::start(&[WHOAMI; 128].concat(), APPROVAL, "").await;
    let timeout = Duration::from_secs(25);
    let mut run = Reader::start(&scene.service, within(run_as("a", "alice"), None, Some(timeout))).await;
    for _ in 0..128 {
        run.asked().await;
    }
    // All is on this thread, and nothing of it gets its turn meanwhile: the end of the waits comes with that of the run.
    time::pause();
    time::advance(timeout).await;
    time::resume();
    let response = run.end().await.unwrap();
    assert_eq!((response.finish_reason(), response.pending.len()), (FinishReason::AwaitingInput, 128));
}

#[tokio::test]
async fn the_wait_ends_before_the_callers_own_timer_does() {
    let scene = Scene::start(WHOAMI, APPROVAL, "").await;
    let mut request = Request::new(run_as("a", "alice"));
    request.set_timeout(Duration::from_secs(2));
    let mut stream = scene.service.agents.clone().run_streamed(request).await.unwrap().into_inner();
    let mut last = None;
    while let Some(event) = soon("an event", stream.message()).await.unwrap() {
        last = event.event;
    }
    let Some(Event::RunCompleted(response)) = last else { panic!("{last:?}") };
    assert_eq!(response.finish_reason(), FinishReason::AwaitingInput);
}

#[tokio::test]
async fn a_run_that_does_not_wait_ends_when_the_other_calls_are_done() {
    let scene = Scene::start(&[("whoami", "{}"), ("fail", "{}")], APPROVAL, "").await;
    let unary = scene.service.run(run_as("a", "alice")).await.unwrap();
    let (events, end) = scene.service.events(within(run_as("a", "alice"), Some(Duration::ZERO), None)).await;
    end.unwrap();
    let asked = |event: &Option<Event>| matches!(event, Some(Event::ApprovalRequired(_)));
    assert!(!events.iter().any(|event| asked(&event.event)), "nobody could answer");
    let Some(Event::RunCompleted(streamed)) = events.last().unwrap().event.clone() else { panic!() };
    for response in [unary, streamed] {
        assert_eq!(response.finish_reason(), FinishReason::AwaitingInput);
        assert_eq!(pending(&response), [("call_0", true)]);
        assert_eq!(open(&response.new_messages), ["call_0"]);
        assert_eq!(response.tool_calls[1].status(), ToolCallStatus::Error, "it failed, and so it was called");
    }
    let tools: Vec<_> = scene.called().into_iter().map(|(tool, _)| tool).collect();
    assert_eq!(tools, ["fail", "fail"]);
    no_run_left(&scene.service).await;
}

#[tokio::test]
async fn a_run_that_is_cancelled_waits_no_more() {
    for shutdown in [false, true] {
        let scene = Scene::start(WHOAMI, APPROVAL, "").await;
        let mut gone = Reader::start(&scene.service, run_as("a", "alice")).await;
        gone.asked().await;
        drop(gone);
        no_run_left(&scene.service).await;
        let mut run = Reader::start(&scene.service, run_as("a", "alice")).await;
        run.asked().await;
        let (code, expected) = if shutdown {
            scene.service.stop();
            scene.service.stop();
            (Code::Unavailable, "SHUTTING_DOWN")
        } else {
            run.cancel().await;
            (Code::Aborted, "RUN_CANCELLED")
        };
        let ended = run.end().await.unwrap_err();
        assert_eq!(reason(&ended), (code, expected.to_owned()));
        let decoded = decode(&ended);
        assert_eq!(decoded.metadata["tool_calls_started"], "0", "it only waited");
        assert_eq!(decoded.progress.unwrap().tool_calls, []);
        assert_eq!(scene.called(), []);
    }
}

#[tokio::test]
async fn very_many_calls_wait_at_once_and_are_answered_at_once() {
    let scene = Scene::start(&[WHOAMI; 128].concat(), APPROVAL, "").await;
    let mut run = Reader::start(&scene.service, run_as("a", "alice")).await;
    let mut answers = Vec::new();
    for _ in 0..128 {
        answers.push(approve(&run.asked().await.input_id));
    }
    run.submit(answers).await.unwrap();
    let response = run.end().await.unwrap();
    assert_eq!(response.final_output, "Bearer alice|".repeat(128));
    assert_eq!(scene.called(), called(128));
}

/// A server whose tool `fail` refuses every token but `new`, and `whoami`, too, if `both`.
async fn refusing(both: bool) -> McpServer {
    McpServer::with_hook(Era::Modern, move |seen| async move {
        let refuses = seen.method() == "tools/call" && (both || seen.tool() == "fail");
        (refuses && seen.header("authorization") != "Bearer new").then(|| unauthorized("Bearer"))
    })
    .await
}

#[tokio::test]
async fn an_approved_call_goes_with_the_headers_that_the_run_has_by_then() {
    let asked = &[("whoami", "{}"), ("fail", "{}")];
    let scene = Scene::with(refusing(false).await, asked, APPROVAL, "").await;
    let mut run = Reader::start(&scene.service, waiting(run_as("a", "alice"))).await;
    let (mut approval, mut credentials) = (0, 0);
    for _ in 0..2 {
        match run.asked().await.input.unwrap() {
            Input::Approval(_) => approval += 1,
            Input::Credentials(_) => credentials += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((approval, credentials), (1, 1), "it waits for both at once");
    run.bring("new").await;
    run.submit([approve("call_0")]).await.unwrap();
    assert_eq!(run.end().await.unwrap().final_output, "Bearer new|it failed|");
    let mut called = scene.called();
    called.sort();
    let expected = [("fail", "alice"), ("fail", "new"), ("whoami", "new")];
    assert_eq!(called, expected.map(|(tool, token)| (tool.to_owned(), token.to_owned())));
}

#[tokio::test]
async fn an_approval_holds_for_the_call_that_is_sent_again_with_fresh_headers() {
    let scene = Scene::with(refusing(true).await, WHOAMI, APPROVAL, "").await;
    let mut run = Reader::start(&scene.service, waiting(run_as("a", "alice"))).await;
    assert!(matches!(run.asked().await.input, Some(Input::Approval(_))));
    run.submit([approve("call_0")]).await.unwrap();
    assert!(matches!(run.asked().await.input, Some(Input::Credentials(_))));
    run.bring("new").await;
    assert_eq!(run.end().await.unwrap().final_output, "Bearer new|");
}

#[tokio::test]
async fn a_call_that_waits_for_fresh_headers_before_it_is_sent_has_not_begun() {
    // The token that it has when it was approved is not even let in.
    let server = McpServer::with_hook(Era::Modern, |seen| async move {
        (seen.header("authorization") == "Bearer stale").then(|| unauthorized("Bearer"))
    })
    .await;
    let scene = Scene::with(server, WHOAMI, APPROVAL, "").await;
    let mut run = Reader::start(&scene.service, waiting(run_as("a", "alice"))).await;
    run.asked().await;
    run.bring("stale").await;
    run.submit([approve("call_0")]).await.unwrap();
    assert!(matches!(run.asked().await.input, Some(Input::Credentials(_))));
    scene.service.stop();
    scene.service.stop();
    let ended = run.end().await.unwrap_err();
    assert_eq!(reason(&ended), (Code::Unavailable, "SHUTTING_DOWN".to_owned()));
    assert_eq!(decode(&ended).metadata["tool_calls_started"], "0");
    assert_eq!(scene.called(), []);
}

#[tokio::test]
async fn a_run_that_lacks_credentials_at_its_end_fails_though_it_waits_for_an_approval_too() {
    let asked = &[("whoami", "{}"), ("fail", "{}")];
    let scene = Scene::with(refusing(false).await, asked, APPROVAL, "").await;
    let request = within(waiting(run_as("a", "alice")), None, Some(Duration::from_millis(1500)));
    let mut run = Reader::start(&scene.service, request).await;
    run.asked().await;
    run.asked().await;
    let failed = run.end().await.unwrap_err();
    assert_eq!(reason(&failed), (Code::FailedPrecondition, "CREDENTIALS_TIMEOUT".to_owned()));
    assert_eq!(scene.called(), [("fail".to_owned(), "alice".to_owned())]);
}

#[tokio::test]
async fn a_tool_that_fails_ends_the_run_of_an_agent_that_wants_it_so() {
    let scene =
        Scene::start(&[("whoami", "{}"), ("fail", "{}")], "approval: all", "on_tool_error: fail_run,").await;
    let mut run = Reader::start(&scene.service, run_as("a", "alice")).await;
    run.asked().await;
    run.asked().await;
    let approval = ApprovalAnswer { approved: true, reason: "a reason says nothing here".into() };
    let approved = InputAnswer { input_id: "call_1".into(), answer: Some(Answer::Approval(approval)) };
    run.submit([deny("call_0", ""), approved]).await.unwrap();
    let failed = run.end().await.unwrap_err();
    assert_eq!(reason(&failed), (Code::Aborted, "TOOL_FAILED".to_owned()));
    let failed = decode(&failed);
    assert_eq!((&*failed.metadata["mcp_server"], &*failed.metadata["tool"]), ("crm", "fail"));
    let calls = failed.progress.unwrap().tool_calls;
    assert_eq!(calls[1].status(), ToolCallStatus::Error, "how it ended is known");
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_callers_and_loses_nothing() {
    let scene = Scene::start(WHOAMI, APPROVAL, "").await;
    let mut run = Reader::start(&scene.service, run_as("a", "alice")).await;
    run.asked().await;
    scene.service.stop();
    let response = run.end().await.unwrap();
    assert_eq!(response.finish_reason(), FinishReason::AwaitingInput);
    assert_eq!((pending(&response), open(&response.new_messages)), (vec![("call_0", true)], vec!["call_0"]));
    assert!(scene.called().is_empty());
}

#[tokio::test]
async fn nobody_is_asked_about_arguments_that_can_not_be_shown_whole() {
    let arguments: &str = Box::leak(format!(r#"{{"a":"{}"}}"#, "x".repeat(512 * 1024)).into_boxed_str());
    let scene = Scene::start(&[("whoami", arguments)], APPROVAL, "").await;
    let response = scene.service.run(run_as("a", "alice")).await.unwrap();
    assert_eq!(response.finish_reason(), FinishReason::Stop);
    assert!(response.final_output.contains("too large to be shown"), "{}", response.final_output);
    assert!(scene.called().is_empty());
}

#[tokio::test]
async fn a_model_that_was_told_to_call_nothing_calls_nothing() {
    let scene = Scene::start(&[("whoami", "{}")], "", "").await;
    let choice = ToolChoice { choice: Some(tool_choice::Choice::Mode(ToolChoiceMode::None.into())) };
    let options = RunOptions { tool_choice: Some(choice), ..RunOptions::default() };
    let request = RunRequest { options: Some(options), ..run_as("a", "alice") };
    let response = scene.service.run(request).await.unwrap();
    assert_eq!(response.final_output, "No tool may be called in this run.|");
    assert!(scene.called().is_empty());
}

#[tokio::test]
async fn a_name_that_the_model_makes_up_goes_back_to_it_in_a_form_that_providers_take() {
    let scene = Scene::start(&[("functions.who am i", "{}")], "", "").await;
    let response = scene.service.run(run_as("a", "alice")).await.unwrap();
    assert!(response.final_output.starts_with("There is no tool"), "{}", response.final_output);
    let conversation = scene.conversation();
    let name = conversation.iter().find_map(|message| message["tool_calls"][0]["function"]["name"].as_str());
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    assert!(name.unwrap().bytes().all(allowed), "{name:?}");
}

#[tokio::test]
async fn what_a_caller_is_to_see_at_once_comes_whole_or_not_at_all() {
    let arguments: &'static str =
        Box::leak(format!(r#"{{"a":"{}"}}"#, "x".repeat(400 * 1024)).into_boxed_str());
    let asked: &'static [(&str, &str)] = Box::leak([("whoami", arguments); 3].into());
    let scene = Scene::start(&asked[..2], APPROVAL, "").await;
    let response = scene.service.run(run_as("a", "alice")).await.unwrap();
    assert_eq!(response.finish_reason(), FinishReason::AwaitingInput);
    let open = response.new_messages.iter().flat_map(|message| &message.parts);
    let open = open.filter_map(|part| match part.part.as_ref()? {
        part::Part::ToolCall(call) => Some(call),
        _ => None,
    });
    let pending = response.pending.iter().map(|pending| match pending.input.as_ref().unwrap() {
        Input::Approval(call) => call,
        other => panic!("{other:?}"),
    });
    assert!(open.chain(pending).all(|call| call.arguments_json == arguments));

    let scene = Scene::start(asked, APPROVAL, "").await;
    let response = scene.service.run(run_as("a", "alice")).await.unwrap();
    assert_eq!(response.finish_reason(), FinishReason::Stop);
    assert!(response.final_output.contains("at most 1 MiB at once"), "{}", response.final_output);
}
