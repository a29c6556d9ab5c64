//! Answers that are to fit a JSON Schema: what is asked of the provider, what is given to the caller, and the one chance to
//! mend an answer.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{body::Body, http::Response};
use runwright::grpc::proto::{
    FinishReason, MessageRole, RunOptions, RunRequest, RunResponse, part::Part, run_event::Event,
};
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::support::{
    error::decode,
    leak::{Sinks, assert_no_leak, canary},
    logs,
    mcp_server::{Era, McpServer, json_response},
    model_server::{ModelServer, calls, has_result, says},
    run_with,
    service::{Service, asking_config},
};

/// Closed, with all it has required: providers can guarantee it.
const SCHEMA: &str = r#"{"type":"object","properties":{"age":{"type":"integer"}},"required":["age"],"additionalProperties":false}"#;

/// A service whose model gives these answers, one after another, and then the first again.
struct World {
    model: ModelServer,
    service: Service,
}

impl World {
    async fn answering(answers: Vec<String>) -> Self {
        Self::start("", move |turn| says(&answers[turn % answers.len()])).await
    }

    async fn saying(answers: &[&str]) -> Self {
        Self::answering(answers.iter().map(ToString::to_string).collect()).await
    }

    /// `fields` are more of the agent; the answer is that to request number `turn`, from 0.
    async fn start(fields: &str, answer: impl Fn(usize) -> Response<Body> + Send + Sync + 'static) -> Self {
        let turns = Arc::new(AtomicUsize::new(0));
        let model =
            ModelServer::start(move |_| std::future::ready(answer(turns.fetch_add(1, Ordering::Relaxed))))
                .await;
        let yaml =
            asking_config(&model.base_url(), &[]).replace("a: { model", &format!("a: {{ {fields}model"));
        Self { service: Service::start(&yaml).await, model }
    }

    async fn run(&self, schema: &str, streamed: bool) -> Result<RunResponse, Status> {
        if streamed {
            self.service.run_streamed(fitting(schema)).await
        } else {
            self.service.run(fitting(schema)).await
        }
    }

    fn bodies(&self) -> Vec<Value> {
        self.model.seen().into_iter().map(|(_, body)| body).collect()
    }
}

fn fitting(schema: &str) -> RunRequest {
    let options = RunOptions { output_schema_json: schema.to_owned(), ..RunOptions::default() };
    RunRequest { options: Some(options), ..run_with("a", []) }
}

/// An answer that ends for this reason.
fn ending(text: &str, finish_reason: &str) -> Response<Body> {
    let message = json!({ "role": "assistant", "content": text });
    json_response(&json!({ "choices": [{ "index": 0, "message": message, "finish_reason": finish_reason }] }))
}

#[tokio::test]
async fn an_answer_that_fits_is_given_as_json_beside_the_text() {
    for streamed in [false, true] {
        for (answer, json) in [
            (r#"{"age": 7}"#, r#"{"age": 7}"#),
            (" {\"age\":7}\n", r#"{"age":7}"#),
            ("```json\n{\"age\": 7}\n```", r#"{"age": 7}"#),
            // Numbers stay as they are written.
            (r#"{"age": 12345678901234567890123}"#, r#"{"age": 12345678901234567890123}"#),
        ] {
            let world = World::saying(&[answer]).await;
            let response = world.run(SCHEMA, streamed).await.unwrap();
            assert_eq!(response.structured_output_json, json);
            assert_eq!((&*response.final_output, response.turns), (answer, 1));
            assert_eq!(response.finish_reason(), FinishReason::Stop);
            let format = &world.bodies()[0]["response_format"];
            let schema: Value = serde_json::from_str(SCHEMA).unwrap();
            assert_eq!(format["json_schema"]["schema"], schema);
            assert_eq!(
                (&format["type"], &format["json_schema"]["strict"]),
                (&json!("json_schema"), &json!(true))
            );
        }
    }
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_mended_once_and_both_are_in_the_conversation() {
    for streamed in [false, true] {
        for (bad, problem) in [(r#"{"age": "seven"}"#, "/age"), ("seven", "no JSON"), ("", "no JSON")] {
            let world = World::saying(&[bad, r#"{"age": 7}"#]).await;
            let response = world.run(SCHEMA, streamed).await.unwrap();
            assert_eq!((&*response.structured_output_json, response.turns), (r#"{"age": 7}"#, 2));
            let bodies = world.bodies();
            assert_eq!(bodies[0]["response_format"], bodies[1]["response_format"]);
            let messages = bodies[1]["messages"].as_array().unwrap();
            let told = messages.last().unwrap();
            assert_eq!(told["role"], "user");
            assert!(told["content"].as_str().unwrap().contains(problem), "{told}");
            // What goes on with the new messages has what the model had.
            let again = RunRequest { messages: response.new_messages.clone(), ..fitting("") };
            world.service.run(again).await.unwrap();
            let going_on = world.bodies().pop().unwrap();
            assert_eq!(going_on["messages"].as_array().unwrap()[..messages.len()], messages[..]);
            let roles: Vec<MessageRole> = response.new_messages.iter().map(|m| m.role()).collect();
            assert_eq!(roles.last(), Some(&MessageRole::Assistant));
        }
    }
}

#[tokio::test]
async fn a_stream_has_the_text_of_both_answers_each_in_its_turn() {
    let world = World::saying(&["seven", r#"{"age": 7}"#]).await;
    let (events, end) = world.service.events(fitting(SCHEMA)).await;
    end.unwrap();
    let mut said = [String::new(), String::new()];
    for event in &events {
        if let Some(Event::TextDelta(delta)) = &event.event {
            said[usize::try_from(event.turn).unwrap() - 1].push_str(&delta.text);
        }
    }
    assert_eq!(said, ["seven", r#"{"age": 7}"#]);
    let Some(Event::RunCompleted(response)) = &events.last().unwrap().event else { panic!() };
    assert_eq!(response.final_output, said[1]);
}

#[tokio::test]
async fn an_answer_that_is_not_mended_fails_the_run_and_is_told_nowhere() {
    let (logs, _guard) = logs::catch();
    for streamed in [false, true] {
        let secret = canary("answer");
        let answer = json!({ "age": secret }).to_string();
        let world = World::answering(vec![answer]).await;
        let status = world.run(SCHEMA, streamed).await.unwrap_err();
        let decoded = decode(&status);
        assert_eq!((status.code(), &*decoded.reason), (Code::FailedPrecondition, "OUTPUT_INVALID"));
        assert_eq!(decoded.metadata["admitted"], "true");
        assert_eq!(decoded.metadata["misfits"], "/age (/properties/age/type)");
        assert!(status.message().contains(&decoded.metadata["misfits"]), "{status:?}");
        let progress = decoded.progress.unwrap();
        assert_eq!((progress.turns, progress.usage.unwrap().model_requests), (2, 2));
        assert_eq!(world.bodies().len(), 2, "it is asked to mend it once");

        let mut sinks = Sinks::default();
        sinks.add_status("the status", &status).add("the log", logs.text());
        assert_no_leak(&secret, &sinks);
        let mut asked = Sinks::default();
        asked.add_model_requests("the model's requests", &world.model);
        let found = std::panic::catch_unwind(|| assert_no_leak(&secret, &asked));
        assert!(found.is_err(), "the model itself was shown its answer, so it would be found");
    }
}

#[tokio::test]
async fn where_an_answer_does_not_fit_is_told_without_a_word_of_it() {
    let secret = canary("name");
    for (schema, answer, misfits) in [
        (SCHEMA, "{}".to_owned(), "/age (/required)"),
        (SCHEMA, "[7]".to_owned(), "the root (/type)"),
        (SCHEMA, json!({ "age": 7, &*secret: 1 }).to_string(), "the root (/additionalProperties)"),
        (SCHEMA, format!("{{\n\"age\": ?{secret}"), "it is no JSON (line 2, column 8)"),
        (
            r#"{"additionalProperties": {"items": {"type": "integer"}}}"#,
            json!({ &*secret: [7, "x"] }).to_string(),
            "/*/1 (/additionalProperties/items/type)",
        ),
        // A name of digits is no index.
        (
            r#"{"additionalProperties": false, "patternProperties": {"": false}}"#,
            json!({ "4111": 1 }).to_string(),
            "/* (/patternProperties/)",
        ),
        (
            r#"{"properties": {"a/b\n": {"enum": [1]}, "c": {"minimum": 3}}}"#,
            json!({ "a/b\n": secret, "c": 2 }).to_string(),
            r"/a~1b\n (/properties/a~1b\n/enum); /c (/properties/c/minimum)",
        ),
    ] {
        let world = World::answering(vec![answer]).await;
        for streamed in [false, true] {
            let status = world.run(schema, streamed).await.unwrap_err();
            assert_eq!(decode(&status).metadata["misfits"], misfits, "{schema}");
            let mut sinks = Sinks::default();
            sinks.add_status("the status", &status);
            assert_no_leak(&secret, &sinks);
        }
    }
}

#[tokio::test]
async fn very_many_misfits_in_very_long_places_are_told_within_bounds() {
    let name = "\u{1}é".repeat(2000);
    let schema = json!({ "additionalProperties": { "properties": { &*name: { "type": "string" } } } });
    let values: serde_json::Map<String, Value> =
        (0..9).map(|n| (n.to_string(), json!({ &*name: n }))).collect();
    let world = World::answering(vec![Value::Object(values).to_string()]).await;
    let status = world.run(&schema.to_string(), false).await.unwrap_err();
    let decoded = decode(&status);
    let misfits: Vec<&str> = decoded.metadata["misfits"].split("; ").collect();
    assert_eq!(misfits.len(), 5);
    assert!(misfits.iter().all(|misfit| misfit.len() <= 220 && !misfit.contains('\u{1}')), "{misfits:?}");
    assert!(decoded.encoded_bytes <= 4096 && status.message().len() <= 512);
}

#[tokio::test]
async fn a_limit_of_the_run_leaves_no_turn_for_mending() {
    for fields in ["max_turns: 1, ", "max_total_tokens: 5, "] {
        let world = World::start(fields, |_| says("seven")).await;
        let status = world.run(SCHEMA, false).await.unwrap_err();
        assert_eq!(decode(&status).reason, "OUTPUT_INVALID", "{fields}");
        assert_eq!(world.bodies().len(), 1, "{fields}");
    }
}

#[tokio::test]
async fn what_is_cut_or_withheld_is_not_held_against_the_schema() {
    for (finish_reason, expected) in
        [("length", FinishReason::OutputTokenLimit), ("content_filter", FinishReason::ContentFilter)]
    {
        for answer in [r#"{"age": 7}"#, r#"{"age": "#] {
            let world = World::start("", move |_| ending(answer, finish_reason)).await;
            for streamed in [false, true] {
                let response = world.run(SCHEMA, streamed).await.unwrap();
                assert_eq!((response.finish_reason(), response.turns), (expected, 1));
                assert_eq!((&*response.structured_output_json, &*response.final_output), ("", answer));
            }
        }
    }
}

#[tokio::test]
async fn only_the_final_answer_is_held_against_the_schema() {
    let model = ModelServer::start(|body| async move {
        if has_result(&body) { says(r#"{"age": 7}"#) } else { calls("whoami", "{}") }
    })
    .await;
    let crm = McpServer::start(Era::Modern).await;
    let service = Service::start(&asking_config(&model.base_url(), &[("crm", &crm.url())])).await;
    let response = service.run(fitting(SCHEMA)).await.unwrap();
    assert_eq!((&*response.structured_output_json, response.turns), (r#"{"age": 7}"#, 2));
    assert_eq!(response.tool_calls.len(), 1);
    assert!(
        response
            .new_messages
            .iter()
            .flat_map(|m| &m.parts)
            .any(|p| matches!(p.part, Some(Part::ToolResult(_))))
    );
}

#[tokio::test]
async fn a_schema_that_cannot_be_used_is_refused_and_nothing_is_asked() {
    let world = World::saying(&["never"]).await;
    let elsewhere = McpServer::start(Era::Modern).await;
    let remote = json!({ "$ref": format!("{}/schema.json", elsewhere.url()) }).to_string();
    let large = json!({ "type": "object", "description": "x".repeat(256 * 1024) }).to_string();
    let deep = format!("{}{{}}{}", r#"{"not":"#.repeat(100), "}".repeat(100));
    let bad = [
        "not JSON",
        "{",
        "[]",
        "true",
        "null",
        "\"object\"",
        r#"{"type": "objekt"}"#,
        r##"{"$ref": "#/$defs/none"}"##,
        r#"{"pattern": "("}"#,
        &remote,
        &large,
        &deep,
    ];
    for schema in bad {
        let shown = &schema[..schema.len().min(60)];
        for streamed in [false, true] {
            let status = world.run(schema, streamed).await.unwrap_err();
            let decoded = decode(&status);
            assert_eq!(
                (status.code(), &*decoded.reason),
                (Code::InvalidArgument, "INVALID_REQUEST"),
                "{shown}"
            );
            assert_eq!(decoded.fields(), ["options.output_schema_json"], "{shown}");
            assert_eq!(decoded.metadata["admitted"], "false");
        }
    }
    assert!(world.model.seen().is_empty() && elsewhere.seen().is_empty());
}

#[tokio::test]
async fn a_schema_that_providers_cannot_guarantee_is_asked_for_without_strictness() {
    let open = r#"{"type":"object","properties":{"age":{"type":"integer"}}}"#;
    let world = World::saying(&[r#"{"age": 7, "more": 1}"#]).await;
    let response = world.run(open, false).await.unwrap();
    assert_eq!(response.structured_output_json, r#"{"age": 7, "more": 1}"#);
    assert_eq!(world.bodies()[0]["response_format"]["json_schema"]["strict"], false);
}

#[tokio::test]
async fn what_a_model_says_on_its_way_is_told_and_is_not_held_against_the_schema() {
    let said = |text: &str, phase: &str| json!({ "type": "message", "phase": phase, "content": text });
    let answer = json!({ "status": "completed",
        "output": [said("I look.", "commentary"), said(r#"{"age":7}"#, "final_answer")] });
    let model = ModelServer::start(move |_| std::future::ready(json_response(&answer))).await;
    let yaml = asking_config(&model.base_url(), &[]).replace("openai_chat", "openai_responses");
    let world = World { service: Service::start(&yaml).await, model };
    for streamed in [false, true] {
        let response = world.run(SCHEMA, streamed).await.unwrap();
        assert_eq!((&*response.final_output, response.turns), (r#"{"age":7}"#, 1));
        assert_eq!(response.structured_output_json, r#"{"age":7}"#);
        let parts = response.new_messages.iter().flat_map(|message| &message.parts);
        let texts = parts.filter_map(|part| match &part.part {
            Some(Part::Text(text)) => Some(text.as_str()),
            _ => None,
        });
        assert!(texts.collect::<Vec<_>>().ends_with(&["I look.", r#"{"age":7}"#]));
    }
}

#[tokio::test]
async fn a_schema_with_any_pattern_is_accepted_and_held_against_the_answer_as_far_as_it_can_be() {
    // The one that is common is matched, and of the other's schema the rest is in force.
    for (pattern, wrong) in [(r"^(?=.*\d)[a-z0-9]{1,5000}$", r#"{"a": "abc"}"#), (r"(a)\1", r#"{"a": 1}"#)] {
        let schema = json!({ "properties": { "a": { "type": "string", "pattern": pattern } } }).to_string();
        for streamed in [false, true] {
            let world = World::saying(&[wrong, r#"{"a": "abc1"}"#]).await;
            let response = world.run(&schema, streamed).await.unwrap();
            assert_eq!(
                (&*response.structured_output_json, response.turns),
                (r#"{"a": "abc1"}"#, 2),
                "{pattern}"
            );
        }
    }
}
