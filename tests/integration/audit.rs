//! The audit record of a run: what each server was sent and where it came from, and never a value.

use runwright::grpc::proto::{AppliedHeaders, HeaderSet};
use serde_json::{Value, json};

use crate::support::{
    headers, logs,
    mcp_server::{Era, McpServer},
    run_with,
    service::{Service, whoami_config},
};

/// The audit records, each with its headers read.
fn records(logs: &logs::Logs) -> Vec<(Value, Value)> {
    let text = logs.text();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let records = lines.filter(|line| line["target"] == "runwright::audit");
    records
        .map(|record| {
            let headers = serde_json::from_str(record["mcp_headers"].as_str().unwrap()).unwrap();
            (record, headers)
        })
        .collect()
}

fn digest<'a>(applied: &'a AppliedHeaders, name: &str) -> &'a str {
    &applied.headers.iter().find(|header| header.name == name).unwrap().digest
}

#[tokio::test]
async fn a_run_has_one_record_of_what_each_server_was_sent() {
    let server = McpServer::start(Era::Modern).await;
    let defaults = "headers: { X-Plan: gold, X-Old: gone }, ";
    let yaml = whoami_config(&server.url()).replace("crm: { url", &format!("crm: {{ {defaults}url"));
    let service = Service::start(&yaml).await;
    let (logs, _guard) = logs::catch();
    let set = HeaderSet {
        remove: vec!["X-OLD".into()],
        ..headers([("Authorization", "Bearer audit-canary-1"), ("X-Plan", "silver-canary")])
    };
    let response = service.run(run_with("a", [("crm", set)])).await.unwrap();
    let [(record, sent)] = &records(&logs)[..] else { panic!("{}", logs.text()) };
    assert_eq!((&record["run_id"], &record["agent"]), (&json!(response.run_id), &json!("a")));
    assert_eq!(record["request_id"], json!(response.request_id));
    let applied = &response.applied_headers["crm"];
    let header = |name: &str| json!({ "name": name, "layer": "run_server", "digest": digest(applied, name) });
    let expected = json!({ "headers": [header("authorization"), header("x-plan")], "removed": ["x-old"] });
    assert_eq!(*sent, json!({ "crm": [expected] }));
    assert!(!logs.text().contains("canary"));
}

#[tokio::test]
async fn a_server_that_was_sent_nothing_is_in_no_record() {
    let server = McpServer::start(Era::Modern).await;
    let service = Service::start(&whoami_config(&server.url())).await;
    let (logs, _guard) = logs::catch();
    service.run(run_with("a", [("wiki", headers([("x-a", "b")]))])).await.unwrap_err();
    assert_eq!(records(&logs), [], "a refused run sends nothing");
}
