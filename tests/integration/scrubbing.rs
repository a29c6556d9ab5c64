//! What a server gives back of what it was sent reaches neither the model, nor the caller, nor the log.

use std::{
    future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    body::Body,
    http::{Response, StatusCode},
};
use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use runwright::{
    grpc::proto::{HeaderSet, ListToolsRequest, RunRequest, run_event::Event},
    scrub::REDACTED,
};
use serde_json::{Value, json};

use crate::support::{
    headers,
    leak::{Sinks, assert_no_leak, canary},
    logs,
    mcp_server::{Era, McpServer, Seen, empty},
    model_server::{ModelServer, calls, has_result, says},
    run_with,
    scene::{answering, call_of, script_config},
    service::{Service, asking_config},
};

/// A form that a server may give a secret back in.
type Form = fn(&str) -> String;

const FORMS: [(&str, Form); 10] = [
    ("raw", str::to_owned),
    ("base64", |secret| BASE64_STANDARD.encode(secret)),
    ("base64 for URLs", |secret| BASE64_URL_SAFE_NO_PAD.encode(secret)),
    ("base64 of more", |secret| BASE64_STANDARD.encode(format!("authorization: Bearer {secret}\r\n"))),
    ("hexadecimal", |secret| secret.bytes().map(|byte| format!("{byte:02x}")).collect()),
    ("HEXADECIMAL", |secret| secret.bytes().map(|byte| format!("{byte:02X}")).collect()),
    ("percent-encoded", |secret| url::form_urlencoded::byte_serialize(secret.as_bytes()).collect()),
    ("JSON", |secret| json!({ "sent": secret }).to_string()),
    ("JSON in JSON", |secret| json!(json!({ "sent": secret }).to_string()).to_string()),
    ("a sentence", |secret| format!("Authorization: Bearer {secret}, and so on.")),
];

/// Where in its answer to a call a server may put it.
type Place = fn(&Seen, &str) -> Response<Body>;

const PLACES: [(&str, Place); 6] = [
    ("text", |seen, sent| seen.tool_text(sent)),
    ("an error of the tool", |seen, sent| {
        seen.result(json!({ "content": [{ "type": "text", "text": sent }], "isError": true }))
    }),
    ("a resource", |seen, sent| {
        let resource = json!({ "uri": "file:///x", "mimeType": "text/plain", "text": sent });
        seen.result(json!({ "content": [{ "type": "resource", "resource": resource }] }))
    }),
    ("a link", |seen, sent| {
        seen.result(
            json!({ "content": [{ "type": "resource_link", "name": sent, "uri": format!("x:{sent}") }] }),
        )
    }),
    ("structured content", |seen, sent| {
        seen.result(json!({ "content": [], "structuredContent": { "sent": [sent], (sent): 1 } }))
    }),
    ("a JSON-RPC error", |seen, sent| seen.error(-32000, sent)),
];

/// A model that calls `whoami` and then says a word.
async fn model() -> ModelServer {
    ModelServer::start(|body| {
        future::ready(if has_result(&body) { says("done") } else { calls("whoami", "{}") })
    })
    .await
}

fn request(secret: &str) -> RunRequest {
    run_with("a", [("crm", headers([("authorization", &format!("Bearer {secret}"))]))])
}

/// What the model was shown of the tool's result.
fn shown(model: &ModelServer) -> String {
    let seen = model.seen();
    let messages = seen.last().unwrap().1["messages"].as_array().unwrap().clone();
    let result = messages.iter().find(|message| message["role"] == "tool").unwrap();
    result["content"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_secret_is_taken_out_in_whatever_form_and_place_it_comes_back() {
    let (logs, _guard) = logs::catch();
    for (form_name, form) in FORMS {
        for (place_name, place) in PLACES {
            let secret = canary("caller");
            let sent = Arc::new(form(&secret));
            let crm = answering(Era::Modern, move |seen| {
                (seen.method() == "tools/call").then(|| place(seen, &sent))
            })
            .await;
            let model = model().await;
            let service = Service::start(&asking_config(&model.base_url(), &[("crm", &crm.url())])).await;
            let (events, end) = service.events(request(&secret)).await;
            end.unwrap();
            let mut sinks = Sinks::default();
            for event in &events {
                sinks.add_message("an event", event);
            }
            sinks.add_message("the response", &service.run(request(&secret)).await.unwrap());
            sinks.add_model_requests("the model's requests", &model);
            sinks.add("the log", logs.text());
            assert_no_leak(&secret, &sinks);
            assert!(shown(&model).contains(REDACTED), "{form_name} in {place_name}: {}", shown(&model));
            let told = events.iter().find_map(|event| match &event.event {
                Some(Event::ToolCallCompleted(completed)) => Some(&completed.result_text),
                _ => None,
            });
            assert!(told.unwrap().contains(REDACTED), "{form_name} in {place_name}");
        }
    }
}

#[tokio::test]
async fn a_tool_list_is_scrubbed_and_a_tool_whose_name_is_a_secret_is_dropped() {
    let secret = canary("caller");
    let sent = secret.clone();
    let crm = answering(Era::Modern, move |seen| {
        let schema =
            json!({ "type": "object", "properties": { (&sent): { "description": sent, "default": 12 } } });
        let tools = json!([
            { "name": "whoami", "description": format!("is {sent}"), "inputSchema": schema },
            { "name": sent, "inputSchema": { "type": "object" } },
            { "name": format!("bad {sent}") },
        ]);
        (seen.method() == "tools/list")
            .then(|| seen.result(json!({ "resultType": "complete", "tools": tools })))
    })
    .await;
    let model = model().await;
    let service = Service::start(&asking_config(&model.base_url(), &[("crm", &crm.url())])).await;
    let request = ListToolsRequest {
        agent: "a".into(),
        include_schemas: true,
        per_run_mcp_headers: self::request(&secret).per_run_mcp_headers,
        ..ListToolsRequest::default()
    };
    let listed = service.catalog.clone().list_tools(request).await.unwrap().into_inner();
    let tools = &listed.servers[0];
    assert_eq!((tools.tools.len(), tools.dropped_tools.len()), (1, 2));
    assert_eq!(tools.tools[0].description, format!("is {REDACTED}"));
    let schema: Value = serde_json::from_str(&tools.tools[0].input_schema_json).unwrap();
    assert_eq!(schema["properties"][REDACTED], json!({ "description": REDACTED, "default": 12 }));
    service.run(self::request(&secret)).await.unwrap();
    let mut sinks = Sinks::default();
    sinks.add_message("ListTools", &listed).add_model_requests("the model's requests", &model);
    assert_no_leak(&secret, &sinks);
}

/// What comes back of a header of the run's, or of the registration's, and whether it is taken out.
async fn comes_back(registered: &str, set: HeaderSet, name: &'static str) -> String {
    let crm = answering(Era::Modern, move |seen| {
        (seen.method() == "tools/call").then(|| seen.tool_text(seen.header(name)))
    })
    .await;
    let model = model().await;
    let yaml = asking_config(&model.base_url(), &[("crm", &crm.url())])
        .replace("crm: { url", &format!("crm: {{ headers: {registered}, url"));
    Service::start(&yaml).await.run(run_with("a", [("crm", set)])).await.unwrap();
    shown(&model)
}

#[tokio::test]
async fn what_is_secret_is_said_by_its_name_its_source_or_its_registration() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("value");
    std::fs::write(&file, "of-a-file").unwrap();
    let from_file = |more: &str| format!("{{ X-Plan: {{ file: {file:?}{more} }} }}");
    let brought = || headers([("x-plan", "brought-by-the-run")]);
    let cases = [
        ("{ X-Plan: a-literal-plan }", HeaderSet::default(), "x-plan", "a-literal-plan"),
        ("{ X-Plan: { value: a-literal-plan, secret: true } }", HeaderSet::default(), "x-plan", REDACTED),
        ("{ X-Api-Key: a-literal-key }", HeaderSet::default(), "x-api-key", REDACTED),
        (&from_file(""), HeaderSet::default(), "x-plan", REDACTED),
        (&from_file(", secret: false"), HeaderSet::default(), "x-plan", "of-a-file"),
        ("{}", brought(), "x-plan", "brought-by-the-run"),
        ("{ X-Plan: { value: p, secret: true } }", brought(), "x-plan", REDACTED),
        ("{}", headers([("x-user-token", "shorter")]), "x-user-token", "shorter"),
    ];
    for (registered, set, name, expected) in cases {
        assert_eq!(comes_back(registered, set, name).await, expected, "{registered}");
    }
}

#[tokio::test]
async fn the_callers_own_words_and_the_models_are_not_changed() {
    let secret = canary("caller");
    let said = secret.clone();
    let model = ModelServer::start(move |body| {
        future::ready(if has_result(&body) { says(&said) } else { calls("whoami", "{}") })
    })
    .await;
    let crm = McpServer::start(Era::Modern).await;
    let service = Service::start(&asking_config(&model.base_url(), &[("crm", &crm.url())])).await;
    let response = service.run(RunRequest { input: secret.clone(), ..request(&secret) }).await.unwrap();
    assert_eq!(response.final_output, secret);
    let user = model.seen()[0].1["messages"].as_array().unwrap().last().unwrap()["content"].clone();
    assert_eq!(user, json!(secret));
}

#[tokio::test]
async fn what_keeps_a_call_from_being_made_is_scrubbed_too() {
    let secret = canary("caller");
    let sent = secret.clone();
    let calls = AtomicUsize::new(0);
    let crm = answering(Era::Stateful, move |seen| match seen.method() {
        // The session ends, and the next one can't be opened.
        "tools/call" => {
            calls.fetch_add(1, Ordering::SeqCst);
            Some(empty(StatusCode::NOT_FOUND))
        }
        "initialize" if calls.load(Ordering::SeqCst) > 0 => Some(seen.error(-32000, &sent)),
        _ => None,
    })
    .await;
    let turns = [&*call_of("whoami"), &*call_of("whoami")];
    let service = Service::start(&script_config(&crm.url(), "", &turns)).await;
    let response = service.run(request(&secret)).await.unwrap();
    assert!(response.final_output.contains(REDACTED), "{}", response.final_output);
    let mut sinks = Sinks::default();
    assert_no_leak(&secret, sinks.add_message("the response", &response));
}

#[tokio::test]
async fn what_one_server_gives_back_of_anothers_secret_is_scrubbed_too() {
    let secret = canary("caller");
    let sent = secret.clone();
    let crm = McpServer::start(Era::Modern).await;
    let logs = answering(Era::Modern, move |seen| {
        (seen.method() == "tools/call").then(|| seen.tool_text(&format!("crm was sent {sent}")))
    })
    .await;
    let model = ModelServer::start(|body| {
        future::ready(if has_result(&body) { says("done") } else { calls("logs__whoami", "{}") })
    })
    .await;
    let servers = [("crm", &*crm.url()), ("logs", &*logs.url())];
    let service = Service::start(&asking_config(&model.base_url(), &servers)).await;
    service.run(request(&secret)).await.unwrap();
    assert_eq!(shown(&model), format!("crm was sent {REDACTED}"));
}
