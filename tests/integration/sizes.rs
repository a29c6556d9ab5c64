//! What is too large for a message is cut, and says so; and a reader that does not read harms nobody else.

use axum::{body::Body, http::StatusCode};
use futures_util::stream;
use prost::Message;
use runwright::grpc::proto::{ListToolsRequest, RunEvent, RunResponse, part::Part, run_event::Event};
use serde_json::json;
use tonic::Status;

use crate::support::{
    gate::Gate,
    mcp_server::{Era, McpServer, raw, tool},
    model_server::{ModelServer, calls, has_result, says},
    no_run_left, run_with,
    service::{Service, asking_config, whoami_config},
};

const MIB: usize = 1024 * 1024;

/// A server whose every tool answers with this text.
async fn telling(text: String) -> McpServer {
    McpServer::with_hook(Era::Modern, move |seen| {
        let answer = (seen.method() == "tools/call").then(|| seen.tool_text(&text));
        async move { answer }
    })
    .await
}

/// The tool result of a stream.
fn result(events: &[RunEvent]) -> (&str, bool) {
    let result = events.iter().find_map(|event| match &event.event {
        Some(Event::ToolCallCompleted(completed)) => Some(completed),
        _ => None,
    });
    let result = result.unwrap();
    (&result.result_text, result.result_truncated)
}

/// The tool results in a response's new messages.
fn results(response: &RunResponse) -> Vec<&str> {
    let parts = response.new_messages.iter().flat_map(|message| &message.parts);
    parts
        .filter_map(|part| match &part.part {
            Some(Part::ToolResult(result)) => Some(result.text.as_str()),
            _ => None,
        })
        .collect()
}

fn completed(events: &[RunEvent], end: Result<(), Status>) -> RunResponse {
    end.unwrap();
    match &events.last().unwrap().event {
        Some(Event::RunCompleted(response)) => response.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_long_tool_result_is_cut_in_its_event_alone() {
    for (text, kept, truncated) in [
        ("x".repeat(64 * 1024), 64 * 1024, false),
        ("x".repeat(64 * 1024 + 1), 64 * 1024, true),
        // A character is not cut in two.
        (format!("x{}", "é".repeat(40_000)), 64 * 1024 - 1, true),
    ] {
        let server = telling(text.clone()).await;
        let yaml = whoami_config(&server.url()).replace("{{ results.0.text }}", "done");
        let service = Service::start(&yaml).await;
        let (events, end) = service.events(run_with("a", [])).await;
        assert_eq!(result(&events), (&text[..kept], truncated));
        assert_eq!(results(&completed(&events, end)), [text]);
    }
}

#[tokio::test]
async fn a_large_response_gives_up_tool_results_first_and_stays_within_its_size() {
    // 1.9 MiB twice, and once more in what the model says of it.
    let server = telling("x".repeat(19 * MIB / 10)).await;
    let twice = "[{ mcp_server: crm, tool: whoami, arguments: {} }, { mcp_server: crm, tool: whoami, arguments: {} }]";
    let one = "[{ mcp_server: crm, tool: whoami, arguments: {} }]";
    for (says, whole) in [("done", true), ("{{ results.0.text }}{{ results.1.text }}", false)] {
        let yaml = whoami_config(&server.url()).replace(one, twice).replace("{{ results.0.text }}", says);
        let service = Service::start(&yaml).await;
        let unary = service.run(run_with("a", [])).await.unwrap();
        let (events, end) = service.events(run_with("a", [])).await;
        assert!(events.iter().all(|event| event.encoded_len() <= 3 * MIB));
        for response in [unary, completed(&events, end)] {
            assert!(response.encoded_len() <= 3 * MIB, "{}", response.encoded_len());
            for text in results(&response) {
                assert!(text.starts_with("xxx") && text.ends_with("left out]"), "a cut says so");
            }
            assert_eq!(response.final_output == "done", whole);
        }
    }
}

#[tokio::test]
async fn a_large_answer_of_a_model_is_streamed_in_pieces() {
    // It was asked for a stream and gives all at once, as some do.
    let text = "word ".repeat(MIB);
    let answer = text.clone();
    let model = ModelServer::start(move |_| {
        let response = says(&answer);
        async move { response }
    })
    .await;
    let service = Service::start(&asking_config(&model.base_url(), &[])).await;
    let (events, end) = service.events(run_with("a", [])).await;
    end.unwrap();
    assert!(events.iter().all(|event| event.encoded_len() <= 3 * MIB));
    let deltas = events.iter().filter_map(|event| match &event.event {
        Some(Event::TextDelta(delta)) => Some(delta.text.as_str()),
        _ => None,
    });
    assert!(deltas.collect::<String>() == text);
}

#[tokio::test]
async fn long_arguments_and_names_of_a_model_stay_within_the_size() {
    let long = "x".repeat(3 * MIB + 1);
    for (name, arguments) in
        [("whoami".to_owned(), format!("{{\"a\":\"{long}\"}}")), (long.clone(), "{}".to_owned())]
    {
        let model = ModelServer::start(move |body| {
            let response = if has_result(&body) { says("done") } else { calls(&name, &arguments) };
            async move { response }
        })
        .await;
        let server = McpServer::start(Era::Modern).await;
        let service = Service::start(&asking_config(&model.base_url(), &[("crm", &server.url())])).await;
        let (events, end) = service.events(run_with("a", [])).await;
        assert!(events.iter().all(|event| event.encoded_len() <= 3 * MIB));
        assert_eq!(completed(&events, end).final_output, "done");
        assert_eq!(service.run(run_with("a", [])).await.unwrap().final_output, "done");
    }
}

#[tokio::test]
async fn a_large_list_of_tools_stays_within_its_size() {
    let server = McpServer::with_hook(Era::Modern, |seen| async move {
        if seen.method() != "tools/list" {
            return None;
        }
        let page = seen.body["params"]["cursor"].as_str().unwrap_or("0").parse::<usize>().unwrap();
        let mut listed = tool(&format!("tool-{page}"));
        listed["inputSchema"]["description"] = "s".repeat(MIB).into();
        let next = (page < 5).then(|| (page + 1).to_string());
        Some(seen.result(json!({ "resultType": "complete", "tools": [listed], "nextCursor": next })))
    })
    .await;
    let service = Service::start(&whoami_config(&server.url())).await;
    let request = ListToolsRequest { agent: "a".into(), include_schemas: true, ..Default::default() };
    let response = service.catalog.clone().list_tools(request).await.unwrap().into_inner();
    assert!(response.encoded_len() <= 3 * MIB);
    let [crm] = &response.servers[..] else { panic!() };
    assert_eq!(crm.tools.len() + crm.dropped_tools.len(), 6, "what is left out is named");
}

#[tokio::test]
async fn a_reader_that_does_not_read_harms_no_other() {
    let gate = Gate::closed();
    let at = gate.clone();
    let model = ModelServer::start(move |_| {
        let held = at.hold();
        async move {
            let words = stream::repeat_with(move || {
                let _held = &held;
                let delta = json!({ "choices": [{ "delta": { "content": "w".repeat(8192) } }] });
                Ok::<_, std::io::Error>(format!("data: {delta}\n\n"))
            });
            raw(StatusCode::OK, "text/event-stream", Body::from_stream(words))
        }
    })
    .await;
    let yaml = format!(
        r#"
models:
  endless: {{ provider: openai_chat, base_url: "{}", model: m-1 }}
  scripted: {{ provider: scripted, script: [{{ say: hello }}] }}
agents: {{ endless: {{ model: endless }}, a: {{ model: scripted }} }}
"#,
        model.base_url()
    );
    let service = Service::start(&yaml).await;
    let mut unread = Vec::new();
    for _ in 0..2 {
        unread.push(service.agents.clone().run_streamed(run_with("endless", [])).await.unwrap());
    }
    gate.entered(2).await;
    // Over the same connection.
    for _ in 0..20 {
        assert_eq!(service.run(run_with("a", [])).await.unwrap().final_output, "hello");
        assert_eq!(service.run_streamed(run_with("a", [])).await.unwrap().final_output, "hello");
    }
    assert_eq!(service.runner.live_runs(), 2);
    drop(unread);
    gate.given_up(2).await;
    no_run_left(&service).await;
}
