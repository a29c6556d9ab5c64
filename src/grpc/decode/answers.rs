//! What a caller answers to calls that wait for it.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::images::images;
use crate::{
    agent::Agent,
    grpc::proto::{self, input_answer::Answer as Wire},
    message::{ToolCall, ToolRef},
    run::{Answer, Kind, Violation, Violations},
};

const MAX_ANSWERS: usize = 256;

/// The answers with the ids of their inputs, in order; what is wrong goes to `violations`, and is `None` here.
pub(super) fn decode(
    answers: Vec<proto::InputAnswer>,
    violations: &mut Violations,
) -> Vec<(String, Option<Answer>)> {
    if answers.len() > MAX_ANSWERS {
        violations.push(Violation::field("answers", "there are at most 256 answers"));
        return Vec::new();
    }
    let mut decoded = Vec::with_capacity(answers.len());
    for (at, given) in answers.into_iter().enumerate() {
        match given.answer {
            Some(Wire::Approval(proto::ApprovalAnswer { approved: true, .. })) => {
                decoded.push((given.input_id, Some(Answer::Approved)));
            }
            Some(Wire::Approval(denied)) => {
                decoded.push((given.input_id, Some(Answer::Denied(denied.reason))));
            }
            Some(Wire::ToolOutput(output)) => {
                let images = images(&format!("answers[{at}].tool_output"), output.images, violations);
                let answer = Answer::Output { text: output.text, images, is_error: output.is_error };
                decoded.push((given.input_id, Some(answer)));
            }
            None => {
                violations.push(Violation::field(
                    format!("answers[{at}].answer"),
                    "answer with `approval` or with `tool_output`",
                ));
                decoded.push((given.input_id, None));
            }
        }
    }
    decoded
}

/// Holds a request's answers against the calls at the conversation's end that have no result. A call that is neither
/// answered, nor can wait for an answer, should have its result in the conversation: then it is `None`.
pub(super) fn match_open(
    answers: Vec<(String, Option<Answer>)>,
    open: &[ToolCall],
    agent: &Agent,
    violations: &mut Violations,
) -> Option<BTreeMap<String, Answer>> {
    let open_calls: HashMap<&str, &ToolCall> = open.iter().map(|call| (&*call.call_id, call)).collect();
    let (mut matched, mut named) = (BTreeMap::new(), HashSet::new());
    for (at, (input_id, answer)) in answers.into_iter().enumerate() {
        let call = open_calls.get(&*input_id).filter(|_| named.insert(input_id.clone()));
        let refusal = match (call, &answer) {
            (None, _) => Some((
                ".input_id",
                "no call at the end of `messages` waits for it, or it has its answer already",
            )),
            (Some(call), Some(answer)) => refusal(call, answer, agent).map(|why| ("", why)),
            (Some(_), None) => None,
        };
        violations.extend(refusal.map(|(name, why)| Violation::field(format!("answers[{at}]{name}"), why)));
        matched.extend(answer.map(|answer| (input_id, answer)));
    }
    let lacks = |call: &ToolCall| !named.contains(&call.call_id) && !may_wait(call, agent);
    if open.iter().any(lacks) {
        let description =
            "a tool call of the last message has no result; send one for each call, or `answers`";
        violations.push(Violation::field("messages", description));
        return None;
    }
    Some(matched)
}

/// What is wrong with an answer to an open call.
fn refusal(call: &ToolCall, answer: &Answer, agent: &Agent) -> Option<&'static str> {
    match (&call.tool, answer) {
        // No run waits for such a word: with it a caller could have any tool called, by a conversation that was never held.
        (Some(tool), Answer::Approved) if is_free(tool, agent) => Some(
            "the tool needs no approval; answer with `approved: false`, and the model may ask for it anew, or send a result",
        ),
        (None, Answer::Output { .. }) => {
            Some("`options.client_tools` has no such tool; send them as in the run before")
        }
        _ => Kind::of(call).refusal(answer),
    }
}

/// Whether a tool is one of the agent's servers', and called without anybody's approval.
fn is_free(tool: &ToolRef, agent: &Agent) -> bool {
    agent.server(&tool.mcp_server).is_some_and(|server| !server.approval.is_needed(&tool.tool))
}

/// Whether a run would wait for its caller with a call.
fn may_wait(call: &ToolCall, agent: &Agent) -> bool {
    let Some(tool) = &call.tool else { return false };
    let needs_approval =
        || agent.server(&tool.mcp_server).is_some_and(|server| server.approval.is_needed(&tool.tool));
    tool.is_callers() || needs_approval()
}
