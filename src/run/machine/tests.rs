//! Every transition of the machine.

use super::*;

fn call(id: &str) -> ToolCall {
    ToolCall { call_id: id.into(), name: "t".into(), tool: None, arguments_json: "{}".into() }
}

fn calls(count: usize) -> Vec<ToolCall> {
    (0..count).map(|n| call(&n.to_string())).collect()
}

fn answered(text: &str, calls: Vec<ToolCall>, stop: Stop) -> Step {
    let usage =
        Usage { input_tokens: 3, output_tokens: 2, total_tokens: 5, model_requests: 1, ..Usage::default() };
    Step::Answered { parts: parts(text, calls), stop, usage }
}

fn parts(text: &str, calls: Vec<ToolCall>) -> Vec<AssistantPart> {
    let text = Some(text).filter(|text| !text.is_empty()).map(|text| AssistantPart::Text(text.into()));
    text.into_iter().chain(calls.into_iter().map(AssistantPart::Call)).collect()
}

fn called(at: usize, text: &str) -> Step {
    Step::Called { at, status: ToolCallStatus::Ok, text: text.into(), duration: Duration::from_millis(1) }
}

fn user(text: &str) -> Message {
    Message::user(text)
}

fn result(id: &str, text: &str, is_error: bool) -> ToolResult {
    ToolResult { call_id: id.into(), text: text.into(), images: Vec::new(), is_error }
}

/// A machine of this many turns that has asked its first.
fn asking(max_turns: u32) -> Machine {
    let mut machine = Machine::new(vec![user("before")], Some("go".into()), max_turns);
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
        let (output, added) = machine.into_result();
        assert_eq!(output, "hello");
        assert_eq!(added, [user("go"), Message::Assistant { parts: parts("hello", vec![]) }]);
    }
}

#[test]
fn an_empty_answer_adds_no_message() {
    let mut machine = asking(1);
    assert_eq!(machine.step(answered("", vec![], Stop::End)), Next::Finish(FinishReason::Stop));
    assert_eq!(machine.into_result(), (String::new(), vec![user("go")]));
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
            assert_eq!(machine.into_result().1.len(), added);
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
        let step = Step::Called { at: 0, status, text: "said".into(), duration: Duration::from_secs(1) };
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
    let (output, added) = machine.into_result();
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
    let mut machine = Machine::new(vec![user("before")], None, 1);
    assert_eq!(machine.step(Step::Opened), Next::Ask);
    assert_eq!(machine.messages(), [user("before")]);
    machine.step(answered("hello", vec![], Stop::End));
    assert_eq!(machine.into_result().1, [Message::Assistant { parts: parts("hello", vec![]) }]);
}
