//! Runs call tools, and what the tools say comes back.

use runwright::grpc::proto::{FinishReason, RunResponse, ToolCallStatus, part::Part, run_event::Event};

use crate::support::{
    Caller, World,
    servers::Tool,
    service::{SUBJECT, completed},
};

mod a_unary_run_calls_a_tool {
    against!(super::unary: everything typescript_modern typescript_handshake python_modern python_stateless python_stateful);
}

mod a_streamed_run_calls_a_tool {
    against!(super::streamed: everything typescript_modern typescript_handshake python_modern python_stateless python_stateful);
}

mod a_failing_tool_is_a_tool_error {
    against!(super::failing: everything typescript_modern typescript_handshake python_modern python_stateless python_stateful);
}

async fn unary(world: World) {
    let response = world.service.run("answering", &Caller::without_headers("one")).await.unwrap();
    assert_called(&response, &world.server.kind.answering(), ToolCallStatus::Ok);
}

async fn streamed(world: World) {
    let tool = world.server.kind.answering();
    let events = world.service.events("answering", &Caller::without_headers("one")).await;
    for (event, sequence) in events.iter().zip(1..) {
        assert_eq!(event.sequence, sequence);
    }
    assert_called(completed(&events), &tool, ToolCallStatus::Ok);
    let results: Vec<&str> = events
        .iter()
        .filter_map(|event| match &event.event {
            Some(Event::ToolCallCompleted(completed)) => Some(&*completed.result_text),
            _ => None,
        })
        .collect();
    assert_eq!(results, [tool.result]);
}

async fn failing(world: World) {
    let response = world.service.run("failing", &Caller::without_headers("one")).await.unwrap();
    assert_called(&response, &world.server.kind.failing(), ToolCallStatus::Error);
    let parts = response.new_messages.iter().flat_map(|message| &message.parts);
    let errors: Vec<bool> = parts
        .filter_map(|part| match &part.part {
            Some(Part::ToolResult(result)) => Some(result.is_error),
            _ => None,
        })
        .collect();
    assert_eq!(errors, [true]);
}

/// One call of the tool, whose result the answer repeats.
fn assert_called(response: &RunResponse, tool: &Tool, status: ToolCallStatus) {
    assert!(response.final_output.contains(tool.result), "{}", response.final_output);
    assert_eq!((response.finish_reason(), response.turns), (FinishReason::Stop, 2));
    let [call] = &response.tool_calls[..] else { panic!("{:?}", response.tool_calls) };
    assert_eq!((&*call.mcp_server, &*call.tool, call.status()), (SUBJECT, tool.name, status));
}
