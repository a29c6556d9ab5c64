//! Every transition of the machine.

use serde_json::value::RawValue;

use super::*;

const BOUNDS: Bounds =
    Bounds { max_turns: 5, max_total_tokens: None, max_tool_calls: None, max_tool_result_bytes: usize::MAX };

/// A run without input that goes on from a conversation.
fn beginning(history: Vec<Message>) -> Beginning {
    Beginning { history, open: Vec::new(), input: None, bounds: BOUNDS, output: None }
}

fn call(id: &str) -> ToolCall {
    ToolCall { call_id: id.into(), name: "t".into(), tool: None, arguments_json: "{}".into() }
}

fn calls(count: usize) -> Vec<ToolCall> {
    (0..count).map(|n| call(&n.to_string())).collect()
}

fn answered(text: &str, calls: Vec<ToolCall>, stop: Stop) -> Step {
    let usage =
        Usage { input_tokens: 3, output_tokens: 2, total_tokens: 5, model_requests: 1, ..Usage::default() };
    Step::Answered { parts: parts(text, calls), text: text.into(), stop, usage }
}

fn parts(text: &str, calls: Vec<ToolCall>) -> Vec<AssistantPart> {
    let text = Some(text).filter(|text| !text.is_empty()).map(|text| AssistantPart::Text(text.into()));
    text.into_iter().chain(calls.into_iter().map(AssistantPart::Call)).collect()
}

fn called(at: usize, text: &str) -> Step {
    Step::Called {
        at,
        status: ToolCallStatus::Ok,
        text: text.into(),
        images: Vec::new(),
        duration: Duration::from_millis(1),
    }
}

fn user(text: &str) -> Message {
    Message::user(text)
}

fn result(id: &str, text: &str, is_error: bool) -> ToolResult {
    ToolResult { call_id: id.into(), text: text.into(), images: Vec::new(), is_error }
}

/// A machine of this many turns that has asked its first.
fn asking(max_turns: u32) -> Machine {
    asking_within(Bounds { max_turns, ..BOUNDS }, None)
}

/// A machine that has asked its first.
fn asking_within(bounds: Bounds, output: Option<&str>) -> Machine {
    let output = output.map(|schema| Schema::new(RawValue::from_string(schema.to_owned()).unwrap().into()));
    let beginning = Beginning { input: Some("go".into()), bounds, output, ..beginning(vec![user("before")]) };
    let mut machine = Machine::new(beginning);
    assert_eq!((machine.turn(), machine.step(Step::Opened), machine.turn()), (0, Next::Ask, 1));
    machine
}

#[test]
fn an_answer_without_calls_ends_the_run_as_the_model_says() {
    for (stop, reason) in [
        (Stop::End, FinishReason::Stop),
        (Stop::OutputLimit, FinishReason::OutputTokenLimit),
        (Stop::ContentFilter, FinishReason::ContentFilter),
    ] {
        let mut machine = asking(1);
        assert_eq!(machine.step(answered("hello", vec![], stop)), Next::Finish(reason));
        assert_eq!((machine.turns(), machine.usage().total_tokens), (1, 5));
        let Conclusion { final_output: output, new_messages: added, .. } = machine.conclude();
        assert_eq!(output, "hello");
        assert_eq!(added, [user("go"), Message::Assistant { parts: parts("hello", vec![]) }]);
    }
}

#[test]
fn an_empty_answer_adds_no_message() {
    let mut machine = asking(1);
    assert_eq!(machine.step(answered("", vec![], Stop::End)), Next::Finish(FinishReason::Stop));
    assert_eq!(machine.conclude().new_messages, [user("go")]);
}

#[test]
fn the_calls_of_a_cut_answer_are_not_made() {
    for (stop, reason) in [
        (Stop::OutputLimit, FinishReason::OutputTokenLimit),
        (Stop::ContentFilter, FinishReason::ContentFilter),
    ] {
        for (text, added) in [("I wi", 2), ("", 1)] {
            let mut machine = asking(5);
            assert_eq!(machine.step(answered(text, calls(2), stop)), Next::Finish(reason));
            assert!(machine.calls().is_empty());
            assert_eq!(machine.conclude().new_messages.len(), added);
        }
    }
}

#[test]
fn results_stand_in_the_order_of_the_calls_whatever_order_they_come_in() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let mut machine = asking(5);
        assert_eq!(machine.step(answered("", calls(3), Stop::End)), Next::Call(calls(3)));
        let [first, second, third] = order;
        assert_eq!(machine.step(called(first, &format!("of {first}"))), Next::Wait);
        assert_eq!(machine.step(called(second, &format!("of {second}"))), Next::Wait);
        assert!(machine.calls()[third].ended.is_none(), "it is still under way");
        assert_eq!(machine.step(called(third, &format!("of {third}"))), Next::Ask);
        assert_eq!((machine.turn(), machine.turns()), (2, 1));
        let ids: Vec<&str> = machine.calls().iter().map(|record| record.call.call_id.as_str()).collect();
        assert_eq!(ids, ["0", "1", "2"]);
        let results = [("0", "of 0"), ("1", "of 1"), ("2", "of 2")].map(|(id, text)| result(id, text, false));
        assert_eq!(machine.messages().last(), Some(&Message::Tool { results: results.into() }));
    }
}

#[test]
fn a_failed_or_unknown_call_is_an_error_for_the_model() {
    for (status, is_error) in
        [(ToolCallStatus::Ok, false), (ToolCallStatus::Error, true), (ToolCallStatus::Unknown, true)]
    {
        let mut machine = asking(5);
        machine.step(answered("", calls(1), Stop::End));
        let step = Step::Called {
            at: 0,
            status,
            text: "said".into(),
            images: Vec::new(),
            duration: Duration::from_secs(1),
        };
        assert_eq!(machine.step(step), Next::Ask);
        assert_eq!(machine.calls()[0].ended, Some((status, Duration::from_secs(1))));
        let results = vec![result("0", "said", is_error)];
        assert_eq!(machine.messages().last(), Some(&Message::Tool { results }));
    }
}

#[test]
fn the_last_turns_calls_are_answered_and_not_made() {
    let mut machine = asking(2);
    machine.step(answered("", vec![call("a")], Stop::End));
    machine.step(called(0, "ok"));
    let last = answered("more", vec![call("b"), call("c")], Stop::End);
    assert_eq!(machine.step(last), Next::Finish(FinishReason::TurnLimit));
    assert_eq!((machine.turns(), machine.usage().model_requests, machine.history()), (2, 2, 1));
    let statuses: Vec<_> = machine.calls().iter().map(|record| record.ended.unwrap().0).collect();
    assert_eq!(statuses, [ToolCallStatus::Ok, ToolCallStatus::Error, ToolCallStatus::Error]);
    let Conclusion { final_output: output, new_messages: added, .. } = machine.conclude();
    let Some(Message::Tool { results }) = added.last() else { panic!("{added:?}") };
    assert_eq!((output.as_str(), added.len()), ("more", 5));
    let answers: Vec<(&str, bool)> = results.iter().map(|r| (r.call_id.as_str(), r.is_error)).collect();
    assert_eq!(answers, [("b", true), ("c", true)]);
}

#[test]
fn of_very_many_calls_the_first_are_made_and_all_are_answered() {
    let mut machine = asking(5);
    assert_eq!(machine.step(answered("", calls(130), Stop::End)), Next::Call(calls(128)));
    for at in 0..127 {
        assert_eq!(machine.step(called(at, "ok")), Next::Wait);
    }
    assert_eq!(machine.step(called(127, "ok")), Next::Ask);
    let Some(Message::Tool { results }) = machine.messages().last() else { panic!() };
    let errors: Vec<bool> = results.iter().map(|result| result.is_error).collect();
    assert_eq!(errors, [[false; 128].as_slice(), &[true; 2]].concat());
    let refused = machine.take_refused();
    let told: Vec<_> =
        refused.iter().map(|(record, why)| (&*record.call.call_id, record.ended, *why)).collect();
    let ended = Some((ToolCallStatus::Error, Duration::ZERO));
    let why = "The tool was not run: an answer may ask for at most 128 calls.";
    assert_eq!(told, [("128", ended, why), ("129", ended, why)]);
    assert_eq!(machine.take_refused(), [], "they are told once");
}

#[test]
fn results_beyond_a_runs_bound_are_cut_and_say_so() {
    let mut machine = asking(5);
    machine.step(answered("", calls(3), Stop::End));
    let large = "x".repeat(MAX_RESULT_BYTES - 1);
    for (at, text) in [large.as_str(), "é", "more"].into_iter().enumerate() {
        machine.step(called(at, text));
    }
    let Some(Message::Tool { results }) = machine.messages().last() else { panic!() };
    let lengths: Vec<usize> = results.iter().map(|result| result.text.len()).collect();
    assert_eq!(lengths[0], MAX_RESULT_BYTES - 1);
    assert_eq!(results[1].text, " [cut: 2 bytes left out]", "a character is not cut in two");
    assert_eq!(results[2].text, " [cut: 4 bytes left out]");
}

#[test]
fn a_run_without_input_goes_on_from_its_history() {
    let mut machine = Machine::new(beginning(vec![user("before")]));
    assert_eq!(machine.step(Step::Opened), Next::Ask);
    assert_eq!(machine.messages(), [user("before")]);
    machine.step(answered("hello", vec![], Stop::End));
    assert_eq!(machine.conclude().new_messages, [Message::Assistant { parts: parts("hello", vec![]) }]);
}

#[test]
fn a_run_that_has_spent_its_tokens_calls_no_more_tools() {
    let bounds = Bounds { max_total_tokens: Some(10), ..BOUNDS };
    let mut machine = asking_within(bounds, None);
    assert_eq!(machine.step(answered("", vec![call("a")], Stop::End)), Next::Call(vec![call("a")]));
    assert_eq!(machine.step(called(0, "ok")), Next::Ask);
    let finish = machine.step(answered("", vec![call("b")], Stop::End));
    assert_eq!(finish, Next::Finish(FinishReason::RunTokenLimit));
    let Some(Message::Tool { results }) = machine.messages().last() else { panic!() };
    assert!(results[0].is_error && results[0].text.contains("token limit"), "{results:?}");
    // An answer is one, whatever it took.
    let mut machine = asking_within(Bounds { max_total_tokens: Some(1), ..BOUNDS }, None);
    assert_eq!(machine.step(answered("hello", vec![], Stop::End)), Next::Finish(FinishReason::Stop));
}

#[test]
fn of_a_turn_that_asks_for_more_calls_than_are_left_none_is_made() {
    let mut machine = asking_within(Bounds { max_tool_calls: Some(2), ..BOUNDS }, None);
    assert_eq!(machine.step(answered("", vec![call("a")], Stop::End)), Next::Call(vec![call("a")]));
    machine.step(called(0, "ok"));
    let finish = machine.step(answered("", vec![call("b"), call("c")], Stop::End));
    assert_eq!(finish, Next::Finish(FinishReason::ToolCallLimit));
    let Some(Message::Tool { results }) = machine.messages().last() else { panic!() };
    assert_eq!(results.iter().filter(|result| result.is_error).count(), 2);
    let mut machine = asking_within(Bounds { max_tool_calls: Some(2), ..BOUNDS }, None);
    assert_eq!(machine.step(answered("", calls(2), Stop::End)), Next::Call(calls(2)), "exactly as many");
}

#[test]
fn a_result_over_the_agents_bound_is_cut() {
    let mut machine = asking_within(Bounds { max_tool_result_bytes: 4, ..BOUNDS }, None);
    machine.step(answered("", calls(1), Stop::End));
    machine.step(called(0, "12345"));
    let Some(Message::Tool { results }) = machine.messages().last() else { panic!() };
    assert_eq!(results[0].text, "1234 [cut: 1 bytes left out]");
}

#[test]
fn images_beyond_a_runs_bound_are_left_out() {
    let image = |bytes: usize| Image {
        media_type: "image/png".into(),
        source: crate::message::ImageSource::Base64("x".repeat(bytes).into()),
    };
    let mut machine = asking(5);
    machine.step(answered("", calls(1), Stop::End));
    let (large, small) = (image(MAX_RESULT_BYTES - 8), image(8));
    let images = vec![large.clone(), small.clone(), image(1)];
    let (status, duration) = (ToolCallStatus::Ok, Duration::ZERO);
    machine.step(Step::Called { at: 0, status, text: String::new(), images, duration });
    let Some(Message::Tool { results }) = machine.messages().last() else { panic!() };
    assert_eq!(results[0].images, [large, small]);
}

const INTEGER: &str = r#"{"type": "integer"}"#;

#[test]
fn an_answer_that_fits_its_schema_is_structured_output() {
    let mut machine = asking_within(BOUNDS, Some(INTEGER));
    assert_eq!(machine.step(answered(" 12 ", vec![], Stop::End)), Next::Finish(FinishReason::Stop));
    assert_eq!(machine.conclude().structured_output.as_deref(), Some("12"));
}

#[test]
fn an_answer_that_does_not_fit_may_be_mended_once() {
    let mut machine = asking_within(BOUNDS, Some(INTEGER));
    assert_eq!(machine.step(answered("twelve", vec![], Stop::End)), Next::Ask);
    let Some(Message::User { parts }) = machine.messages().last() else { panic!() };
    assert!(
        matches!(&parts[..], [crate::message::UserPart::Text(text)] if text.contains("no JSON")),
        "{parts:?}"
    );
    assert_eq!(machine.step(answered("12", vec![], Stop::End)), Next::Finish(FinishReason::Stop));
    let concluded = machine.conclude();
    assert_eq!((concluded.structured_output.as_deref(), concluded.new_messages.len()), (Some("12"), 4));

    let mut machine = asking_within(BOUNDS, Some(INTEGER));
    assert_eq!(machine.step(answered("1.5", vec![], Stop::End)), Next::Ask);
    let misfits = vec!["the root (/type)".to_owned()];
    assert_eq!(machine.step(answered("1.5", vec![], Stop::End)), Next::Invalid(misfits));
}

#[test]
fn an_answer_is_not_mended_beyond_the_runs_bounds() {
    for bounds in [Bounds { max_turns: 1, ..BOUNDS }, Bounds { max_total_tokens: Some(5), ..BOUNDS }] {
        let mut machine = asking_within(bounds, Some(INTEGER));
        let misfits = vec!["it is no JSON (line 1, column 2)".to_owned()];
        assert_eq!(machine.step(answered("twelve", vec![], Stop::End)), Next::Invalid(misfits));
    }
    // What was cut short is not held against the schema.
    let mut machine = asking_within(BOUNDS, Some(INTEGER));
    let cut = machine.step(answered("1", vec![], Stop::OutputLimit));
    assert_eq!(cut, Next::Finish(FinishReason::OutputTokenLimit));
    assert_eq!(machine.conclude().structured_output, None);
}

#[test]
fn calls_that_wait_stay_open_and_the_others_have_their_results() {
    let mut machine = asking(5);
    machine.step(answered("", calls(3), Stop::End));
    assert_eq!(machine.step(Step::Awaiting { at: 1 }), Next::Wait);
    assert_eq!(machine.step(called(2, "two")), Next::Wait);
    assert_eq!(machine.step(called(0, "zero")), Next::Finish(FinishReason::AwaitingInput));
    assert_eq!(machine.awaiting(), [call("1")]);
    assert!(machine.calls()[1].ended.is_none());
    let added = machine.conclude().new_messages;
    let results = vec![result("0", "zero", false), result("2", "two", false)];
    assert_eq!(added.last(), Some(&Message::Tool { results }));
}

#[test]
fn a_resumed_run_answers_open_calls_before_it_asks_and_the_model_sees_one_message_of_results() {
    let asked = Message::Assistant { parts: parts("", calls(3)) };
    let history = vec![user("before"), asked, Message::Tool { results: vec![result("1", "one", false)] }];
    let open = vec![call("0"), call("2")];
    let mut machine = Machine::new(Beginning { open: open.clone(), ..beginning(history) });
    assert_eq!(machine.step(Step::Opened), Next::Call(open));
    machine.step(called(1, "two"));
    assert_eq!(machine.step(called(0, "zero")), Next::Ask);
    assert_eq!((machine.turn(), machine.calls().len()), (1, 2));
    let all = [("0", "zero"), ("1", "one"), ("2", "two")].map(|(id, text)| result(id, text, false));
    assert_eq!(machine.messages()[2..], [Message::Tool { results: all.into() }]);
    machine.step(answered("done", vec![], Stop::End));
    let new = [("0", "zero"), ("2", "two")].map(|(id, text)| result(id, text, false));
    let answer = Message::Assistant { parts: parts("done", vec![]) };
    assert_eq!(machine.conclude().new_messages, [Message::Tool { results: new.into() }, answer]);
}
