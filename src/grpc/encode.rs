//! Domain to wire. Pure, and never a header's value.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    fit,
    proto::{self, part::Part},
};
use crate::{
    event::{
        AuthChallenge, Challenge, Event, FinishReason, PendingInput, Phase, Progress, Report, ToolProgress,
        Wanted, What,
    },
    headers::{Applied, Layer},
    id::RunId,
    mcp,
    message::{
        self, AssistantPart, Image, ImageSource, Message, ProviderState, ToolCallRecord, ToolCallStatus,
        Usage, UserPart,
    },
    run::{Failure, Violation, Violations},
};

/// An event of a run, numbered.
pub(super) fn event(run_id: RunId, sequence: i32, event: Event) -> proto::RunEvent {
    proto::RunEvent {
        run_id: run_id.to_string(),
        sequence,
        event_time: Some(event.time.into()),
        turn: event.turn.try_into().unwrap_or(i32::MAX),
        event: Some(what(event.what)),
    }
}

/// A run that ended well.
pub(super) fn report(report: Report) -> proto::RunResponse {
    let progress = progress(&report.progress);
    let mut response = proto::RunResponse {
        run_id: report.run_id.to_string(),
        request_id: report.request_id.to_string(),
        agent: report.agent,
        final_output: report.final_output,
        finish_reason: finish_reason(report.finish_reason).into(),
        usage: progress.usage,
        turns: progress.turns,
        tool_calls: progress.tool_calls,
        applied_headers: progress.applied_headers,
        new_messages: report.new_messages.into_iter().map(message).collect(),
        unavailable_mcp_servers: report.unavailable_mcp_servers,
        structured_output_json: report.structured_output.unwrap_or_default(),
        pending: report.pending.into_iter().map(pending_input).collect(),
        model: report.model,
    };
    fit::response(&mut response);
    response
}

/// What a run has done.
pub(super) fn progress(progress: &Progress) -> proto::RunProgress {
    proto::RunProgress {
        usage: Some(usage(progress.usage)),
        turns: progress.turns.try_into().unwrap_or(i32::MAX),
        tool_calls: progress.tool_calls.iter().map(tool_call).collect(),
        applied_headers: applied_headers(&progress.applied_headers),
    }
}

/// What each server is sent.
pub(super) fn applied_headers(
    applied: &BTreeMap<String, Applied>,
) -> BTreeMap<String, proto::AppliedHeaders> {
    applied.iter().map(|(server, applied)| (server.clone(), applied_to_one(applied))).collect()
}

/// The reasons why a run would be refused; where there are very many, a last one says how many are left out.
pub(super) fn header_problems(violations: &Violations) -> Vec<proto::HeaderProblem> {
    let mut problems: Vec<_> = violations.kept().iter().map(header_problem).collect();
    if violations.left_out() > 0 {
        problems.push(proto::HeaderProblem {
            reason: violations.reason().to_owned(),
            description: format!("{} more problems are left out", violations.left_out()),
            ..proto::HeaderProblem::default()
        });
    }
    problems
}

fn header_problem(violation: &Violation) -> proto::HeaderProblem {
    let (mcp_server, header) = violation.subject.clone();
    proto::HeaderProblem {
        mcp_server,
        header,
        reason: violation.kind.reason().to_owned(),
        field: violation.field.clone(),
        description: violation.description.clone(),
    }
}

/// A server's refusal of a credential, if that is what the error is.
pub(super) fn auth_challenge(error: &mcp::Error) -> Option<proto::AuthChallenge> {
    error.challenge().map(challenge)
}

fn challenge(refused: AuthChallenge) -> proto::AuthChallenge {
    let phase = match refused.phase {
        Phase::Opening => proto::AuthPhase::Opening,
        Phase::Listing => proto::AuthPhase::Listing,
        Phase::Calling => proto::AuthPhase::Calling,
    };
    let Challenge { scheme, error, scope, resource_metadata } = refused.challenge;
    let credential_layer = refused.credential_layer.map_or(proto::HeaderLayer::Unspecified, layer);
    proto::AuthChallenge {
        mcp_server: refused.mcp_server,
        phase: phase.into(),
        scheme,
        error,
        scope,
        resource_metadata,
        credential_layer: credential_layer.into(),
    }
}

fn pending_input(pending: PendingInput) -> proto::PendingInput {
    use proto::pending_input::Input;
    proto::PendingInput {
        input_id: pending.input_id,
        expire_time: pending.expire_time.map(Into::into),
        input: Some(match pending.wanted {
            Wanted::Credentials(refused) => Input::Credentials(challenge(refused)),
            Wanted::Approval(asked) => Input::Approval(pending_call(asked)),
            Wanted::ClientTool(asked) => Input::ClientTool(pending_call(asked)),
        }),
    }
}

/// Why a server's tools could not be listed.
pub(super) fn tools_problem(mcp_server: String, error: mcp::Error) -> proto::McpServerTools {
    let auth_challenge = auth_challenge(&error);
    let message = error.problem.to_string();
    let reason = Failure::Mcp(Box::new(error)).reason().to_owned();
    let problem = proto::ToolsProblem { reason, message, auth_challenge };
    proto::McpServerTools { mcp_server, problem: Some(problem), ..proto::McpServerTools::default() }
}

/// A tool.
pub(super) fn tool(tool: &mcp::Tool, schema: bool) -> proto::Tool {
    let schema = if schema { tool.input_schema.get() } else { "" };
    proto::Tool {
        name: tool.name.clone(),
        description: tool.description.to_string(),
        input_schema_json: schema.to_owned(),
    }
}

/// A tool that can't be used.
pub(super) fn dropped_tool(tool: &mcp::DroppedTool) -> proto::DroppedTool {
    proto::DroppedTool { name: tool.name.clone(), reason: tool.reason.to_string() }
}

fn what(what: What) -> proto::run_event::Event {
    use proto::run_event::Event as Wire;
    match what {
        What::Started { request_id, control_token, instance } => Wire::RunStarted(proto::RunStarted {
            request_id: request_id.to_string(),
            control_token: control_token.reveal(),
            instance,
        }),
        What::TurnStarted => Wire::TurnStarted(proto::TurnStarted {}),
        What::TextDelta(text) => Wire::TextDelta(proto::TextDelta { text }),
        What::ReasoningDelta(text) => Wire::ReasoningDelta(proto::ReasoningDelta { text }),
        What::ToolCallStarted(call) => Wire::ToolCallStarted(event_call(&call)),
        What::ToolCallCompleted { call, result_text, truncated } => {
            Wire::ToolCallCompleted(proto::ToolCallCompleted {
                tool_call: Some(event_call(&call)),
                result_text,
                result_truncated: truncated,
            })
        }
        What::McpServerUnavailable { mcp_server, reason } => {
            Wire::McpServerUnavailable(proto::McpServerUnavailable { mcp_server, reason })
        }
        What::ToolCallProgress { call_id, progress } => {
            let ToolProgress { progress, total, message } = *progress;
            Wire::ToolCallProgress(proto::ToolCallProgress { call_id, progress, total, message })
        }
        What::InputRequired(pending) => {
            let event = match pending.wanted {
                Wanted::Credentials(_) => Wire::CredentialsRequired,
                Wanted::Approval(_) => Wire::ApprovalRequired,
                Wanted::ClientTool(_) => Wire::ClientToolRequired,
            };
            event(pending_input(*pending))
        }
        What::TurnCompleted(consumed) => {
            Wire::TurnCompleted(proto::TurnCompleted { usage: Some(usage(consumed)) })
        }
    }
}

/// A call that waits; of long arguments the beginning, since the whole stands in the conversation.
fn pending_call(asked: message::ToolCall) -> proto::ToolCall {
    let mut call = call(asked);
    fit::event_text(&mut call.arguments_json);
    call
}

fn event_call(record: &ToolCallRecord) -> proto::ToolCall {
    let mut call = tool_call(record);
    fit::event_text(&mut call.arguments_json);
    call
}

fn tool_call(record: &ToolCallRecord) -> proto::ToolCall {
    let (status, duration) = match record.ended {
        None => (proto::ToolCallStatus::Unspecified, None),
        Some((status, duration)) => (tool_call_status(status), wire_duration(duration)),
    };
    proto::ToolCall { status: status.into(), duration, ..call(record.call.clone()) }
}

fn call(call: message::ToolCall) -> proto::ToolCall {
    let (mcp_server, tool) = match call.tool {
        Some(tool) => (tool.mcp_server, tool.tool),
        None => (String::new(), call.name),
    };
    proto::ToolCall {
        call_id: call.call_id,
        mcp_server,
        tool,
        arguments_json: call.arguments_json,
        ..proto::ToolCall::default()
    }
}

fn message(message: Message) -> proto::Message {
    let (role, parts): (_, Vec<Part>) = match message {
        Message::User { parts } => (proto::MessageRole::User, parts.into_iter().map(user_part).collect()),
        Message::Assistant { parts } => {
            (proto::MessageRole::Assistant, parts.into_iter().map(assistant_part).collect())
        }
        Message::Tool { results } => {
            (proto::MessageRole::Tool, results.into_iter().map(tool_result).collect())
        }
    };
    let parts = parts.into_iter().map(|part| proto::Part { part: Some(part) });
    proto::Message { role: role.into(), parts: parts.collect() }
}

fn user_part(part: UserPart) -> Part {
    match part {
        UserPart::Text(text) => Part::Text(text),
        UserPart::Image(held) => Part::Image(image(held)),
    }
}

fn assistant_part(part: AssistantPart) -> Part {
    match part {
        AssistantPart::Text(text) => Part::Text(text),
        AssistantPart::Call(asked) => Part::ToolCall(call(asked)),
        AssistantPart::State(ProviderState(state)) => Part::ProviderState(state.into()),
    }
}

fn image(image: Image) -> proto::Image {
    use proto::image::Source;
    let source = match image.source {
        ImageSource::Url(url) => Source::Url(url),
        // It was checked, or made here.
        ImageSource::Base64(base64) => Source::Data(STANDARD.decode(&*base64).unwrap_or_default()),
    };
    proto::Image { media_type: image.media_type, source: Some(source) }
}

fn tool_result(result: message::ToolResult) -> Part {
    Part::ToolResult(proto::ToolResult {
        call_id: result.call_id,
        text: result.text,
        is_error: result.is_error,
        images: result.images.into_iter().map(image).collect(),
    })
}

fn usage(usage: Usage) -> proto::Usage {
    proto::Usage {
        input_tokens: usage.input_tokens,
        output_tokens: usage.output_tokens,
        total_tokens: usage.total_tokens,
        cached_input_tokens: usage.cached_input_tokens,
        reasoning_tokens: usage.reasoning_tokens,
        model_requests: usage.model_requests,
    }
}

fn applied_to_one(applied: &Applied) -> proto::AppliedHeaders {
    let headers = applied.headers.iter().map(|header| proto::AppliedHeader {
        name: header.name.clone(),
        layer: layer(header.layer).into(),
        digest: header.digest.clone(),
    });
    proto::AppliedHeaders { headers: headers.collect(), removed: applied.removed.clone() }
}

fn layer(layer: Layer) -> proto::HeaderLayer {
    match layer {
        Layer::Server => proto::HeaderLayer::Server,
        Layer::Agent => proto::HeaderLayer::Agent,
        Layer::Run => proto::HeaderLayer::Run,
        Layer::RunServer => proto::HeaderLayer::RunServer,
    }
}

fn tool_call_status(status: ToolCallStatus) -> proto::ToolCallStatus {
    match status {
        ToolCallStatus::Ok => proto::ToolCallStatus::Ok,
        ToolCallStatus::Error => proto::ToolCallStatus::Error,
        ToolCallStatus::Unknown => proto::ToolCallStatus::Unknown,
    }
}

fn finish_reason(reason: FinishReason) -> proto::FinishReason {
    match reason {
        FinishReason::Stop => proto::FinishReason::Stop,
        FinishReason::TurnLimit => proto::FinishReason::TurnLimit,
        FinishReason::OutputTokenLimit => proto::FinishReason::OutputTokenLimit,
        FinishReason::ContentFilter => proto::FinishReason::ContentFilter,
        FinishReason::RunTokenLimit => proto::FinishReason::RunTokenLimit,
        FinishReason::ToolCallLimit => proto::FinishReason::ToolCallLimit,
        FinishReason::AwaitingInput => proto::FinishReason::AwaitingInput,
    }
}

fn wire_duration(duration: Duration) -> Option<prost_types::Duration> {
    prost_types::Duration::try_from(duration).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_providers_state_is_given_byte_by_byte() {
        let state: Vec<u8> = (0..=255).collect();
        let parts = vec![AssistantPart::State(ProviderState(state.clone().into()))];
        let given = message(Message::Assistant { parts });
        assert_eq!(given.parts, [proto::Part { part: Some(Part::ProviderState(state)) }]);
    }
}
