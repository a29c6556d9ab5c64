//! An agent's configuration that names tools which its server does not list: the operator is told, once a list.

use runwright::grpc::proto::ListToolsRequest;
use serde_json::{Value, json};

use crate::support::{
    headers, logs,
    mcp_server::{Era, McpServer},
    run_as,
    scene::list_as,
    service::{Service, whoami_config},
};

/// A service whose agent `a` has this entry for server `crm`, which lists `whoami` and `fail`.
async fn service(server: &McpServer, uses: &str) -> Service {
    let yaml = whoami_config(&server.url()).replace("{ name: crm }", &format!("{{ name: crm, {uses} }}"));
    Service::start(&yaml).await
}

/// What was logged of names that are not listed: the agent, the server, and the names.
fn warnings(logs: &logs::Logs) -> Vec<Value> {
    let text = logs.text();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let told =
        lines.filter(|line| line["message"].as_str().is_some_and(|text| text.contains("does not list")));
    told.map(|line| {
        assert_eq!(line["level"], "WARN");
        json!([line["agent"], line["mcp_server"], line["unlisted.tools"], line["unlisted.approval"]])
    })
    .collect()
}

#[tokio::test]
async fn a_slip_is_told_once_a_client_by_whoever_lists_first() {
    let server = McpServer::start(Era::Modern).await;
    let service = service(&server, "tools: [whoami, whomai, fial], approval: [fial]").await;
    let (logs, _guard) = logs::catch();
    let slip = json!(["a", "crm", "whomai, fial", "fial"]);
    service.run(run_as("a", "alice")).await.unwrap();
    assert_eq!(warnings(&logs), std::slice::from_ref(&slip));
    service.run_streamed(run_as("a", "alice")).await.unwrap();
    list_as(&service, "alice").await;
    assert_eq!(warnings(&logs).len(), 1, "once a client, and not once a run");
    list_as(&service, "bob").await;
    service.run(run_as("a", "bob")).await.unwrap();
    assert_eq!(warnings(&logs), [slip.clone(), slip], "another identity has a list of its own");
}

#[tokio::test]
async fn a_list_that_is_scrubbed_for_each_run_is_told_of_once() {
    let (server, wiki) = (McpServer::start(Era::Modern).await, McpServer::start(Era::Modern).await);
    let yaml = whoami_config(&server.url())
        .replace("agents:", &format!("  wiki: {{ url: \"{}\" }}\nagents:", wiki.url()))
        .replace("{ name: crm }", "{ name: crm, approval: [fial] }, { name: wiki, approval: [fail] }");
    let service = Service::start(&yaml).await;
    let (logs, _guard) = logs::catch();
    let wikis = headers([("authorization", "Bearer a-secret-of-the-wiki")]);
    for _ in 0..3 {
        let mut request = run_as("a", "alice-and-her-secret");
        request.per_run_mcp_headers.insert("wiki".into(), wikis.clone());
        service.run(request).await.unwrap();
    }
    assert_eq!(warnings(&logs), [json!(["a", "crm", null, "fial"])]);
}

#[tokio::test]
async fn names_that_are_listed_are_told_to_nobody() {
    let server = McpServer::start(Era::Modern).await;
    let (logs, _guard) = logs::catch();
    for uses in ["approval: [fail]", "approval: all", "tools: [whoami, fail], approval: [fail]", "tools: []"]
    {
        let service = service(&server, uses).await;
        let request = ListToolsRequest { agent: "a".into(), ..ListToolsRequest::default() };
        service.catalog.clone().list_tools(request).await.unwrap();
        service.run(run_as("a", "alice")).await.unwrap();
    }
    assert_eq!(warnings(&logs), Vec::<Value>::new());
}
