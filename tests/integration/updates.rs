//! Headers that are replaced while a run goes on: what may be replaced, by whom, and what is sent then.

use runwright::grpc::proto::{
    ExplainHeadersRequest, HeaderSet, UpdateRunHeadersRequest, pending_input::Input,
};
use serde_json::json;
use tonic::Code;

use crate::support::{
    error::decode,
    gate::Gate,
    headers,
    mcp_server::{Era, McpServer, tool, unauthorized},
    model_server::{ModelServer, calls},
    reader::{Reader, bearer, fresh, waiting},
    run_as, run_with,
    scene::{answering, call_of, reason, script_config},
    service::{Service, asking_config, whoami_config},
};

#[tokio::test]
async fn what_the_caller_brings_before_it_is_asked_is_sent_from_then_on() {
    let gate = Gate::closed();
    let server = McpServer::slow(Era::Modern, &gate).await;
    let turns = [&*call_of("whoami"), &*call_of("whoami")];
    let service = Service::start(&script_config(&server.url(), "", &turns)).await;
    let run = Reader::start(&service, run_as("a", "old")).await;
    gate.entered(1).await;
    run.bring("new").await;
    gate.open();
    let response = run.end().await.unwrap();
    assert_eq!(response.final_output, "Bearer old|Bearer new|", "what is under way goes on with the old");
}

#[tokio::test]
async fn an_update_that_is_refused_replaces_nothing() {
    let gate = Gate::closed();
    let server = McpServer::slow(Era::Modern, &gate).await;
    let turns = [&*call_of("whoami"), &*call_of("whoami")];
    let service = Service::start(&script_config(&server.url(), "", &turns)).await;
    let run = Reader::start(&service, run_as("a", "old")).await;
    gate.entered(1).await;
    let large = "x".repeat(16 * 1024);
    let many: Vec<(String, String)> = (0..5).map(|n| (format!("x-{n}"), large.clone())).collect();
    let too_much = HeaderSet { headers: many.into_iter().collect(), remove: Vec::new() };
    let refused = [
        (UpdateRunHeadersRequest::default(), "INVALID_REQUEST", "per_run_mcp_headers"),
        (fresh("wiki", bearer("new")), "UNKNOWN_MCP_SERVER", "per_run_mcp_headers[\"wiki\"]"),
        (
            fresh("crm", headers([("host", "x")])),
            "INVALID_REQUEST",
            "per_run_mcp_headers[\"crm\"].headers[\"host\"]",
        ),
        (fresh("crm", too_much), "INVALID_REQUEST", "per_run_mcp_headers"),
    ];
    for (request, reason, field) in refused {
        let status = run.update(request).await.unwrap_err();
        let decoded = decode(&status);
        assert_eq!((status.code(), &*decoded.reason), (Code::InvalidArgument, reason));
        assert_eq!(decoded.fields(), [field]);
        assert_eq!(decoded.metadata["admitted"], "false");
    }
    let stranger = UpdateRunHeadersRequest {
        run_id: run.run_id.clone(),
        control_token: "AAAAAAAAAAAAAAAAAAAAAA".into(),
        ..fresh("crm", bearer("mallory"))
    };
    let status = service.agents.clone().update_run_headers(stranger).await.unwrap_err();
    assert_eq!(reason(&status), (Code::NotFound, "RUN_NOT_FOUND".to_owned()));
    gate.open();
    assert_eq!(run.end().await.unwrap().final_output, "Bearer old|Bearer old|");
}

#[tokio::test]
async fn an_update_replaces_the_whole_set_of_the_server_that_it_names_and_no_other() {
    let (gate, wiki) = (Gate::closed(), McpServer::start(Era::Modern).await);
    let crm = McpServer::slow(Era::Modern, &gate).await;
    let call = |server: &str| format!("[{{ mcp_server: {server}, tool: whoami, arguments: {{}} }}]");
    let turns = [&*call_of("whoami"), &*call("crm"), &*call("wiki")];
    let yaml = script_config(&crm.url(), "", &turns)
        .replace("mcp_servers:\n", &format!("mcp_servers:\n  wiki: {{ url: \"{}\" }}\n", wiki.url()))
        .replace("[{ name: crm }]", "[crm, wiki]");
    let service = Service::start(&yaml).await;
    let both = headers([("authorization", "Bearer old"), ("x-team", "red")]);
    let mut request = run_with("a", [("crm", both), ("wiki", bearer("wiki"))]);
    request.mcp_headers = Some(headers([("x-lang", "en")]));
    let run = Reader::start(&service, request).await;
    gate.entered(1).await;
    run.bring("new").await;
    let all = UpdateRunHeadersRequest {
        mcp_headers: Some(headers([("x-lang", "de")])),
        ..UpdateRunHeadersRequest::default()
    };
    let told = run.update(all).await.unwrap().applied_headers;
    gate.open();
    let response = run.end().await.unwrap();
    assert_eq!(response.final_output, "Bearer old|Bearer new|Bearer wiki|");
    assert_eq!(told, response.applied_headers);
    let crm = crm.seen();
    let later = crm.iter().rfind(|seen| seen.method() == "tools/call").unwrap();
    assert_eq!((later.header("x-team"), later.header("x-lang")), ("", "de"));
    let wiki = wiki.seen();
    let later = wiki.iter().rfind(|seen| seen.method() == "tools/call").unwrap();
    assert_eq!((later.header("authorization"), later.header("x-lang")), ("Bearer wiki", "de"));
}

#[tokio::test]
async fn a_tool_that_is_not_listed_for_the_new_headers_is_not_called() {
    let gate = Gate::closed();
    let entered = gate.clone();
    let server = McpServer::with_hook(Era::Modern, move |seen| {
        let gate = entered.clone();
        async move {
            let new = seen.header("authorization") == "Bearer new";
            if seen.method() == "tools/call" {
                gate.pass().await;
            }
            let listed = || seen.result(json!({ "resultType": "complete", "tools": [tool("whoami")] }));
            (new && seen.method() == "tools/list").then(listed)
        }
    })
    .await;
    let turns = [&*call_of("whoami"), &*call_of("fail")];
    let service = Service::start(&script_config(&server.url(), "", &turns)).await;
    let run = Reader::start(&service, run_as("a", "old")).await;
    gate.entered(1).await;
    run.bring("new").await;
    gate.open();
    let output = run.end().await.unwrap().final_output;
    assert!(output.contains("does not list `fail` any more"), "{output}");
    assert_eq!(server.methods().iter().filter(|method| *method == "tools/call").count(), 1);
}

#[tokio::test]
async fn a_response_tells_what_was_sent_and_not_what_came_too_late() {
    let gate = Gate::closed();
    let server = McpServer::slow(Era::Modern, &gate).await;
    let service = Service::start(&whoami_config(&server.url())).await;
    let explain = ExplainHeadersRequest {
        agent: "a".into(),
        per_run_mcp_headers: [("crm".to_owned(), bearer("old"))].into(),
        ..Default::default()
    };
    let sent = service.catalog.clone().explain_headers(explain).await.unwrap().into_inner().applied_headers;
    let run = Reader::start(&service, run_as("a", "old")).await;
    gate.entered(1).await;
    run.bring("new").await;
    gate.open();
    assert_eq!(run.end().await.unwrap().applied_headers, sent);
}

#[tokio::test]
async fn what_a_server_gives_back_of_an_earlier_token_is_scrubbed_too() {
    const OLD: &str = "the-earlier-canary";
    let server = answering(Era::Modern, |seen| {
        let old = seen.header("authorization").ends_with(OLD);
        let mut told = tool("whoami");
        told["description"] = format!("not {OLD}").into();
        match seen.method() {
            "tools/list" if old => Some(unauthorized("Bearer")),
            "tools/list" => Some(seen.result(json!({ "resultType": "complete", "tools": [told] }))),
            "tools/call" => Some(unauthorized(&format!("Bearer error=\"{OLD}\", scope=\"s\""))),
            _ => None,
        }
    })
    .await;
    let model = ModelServer::start(|_| std::future::ready(calls("whoami", "{}"))).await;
    let service = Service::start(&asking_config(&model.base_url(), &[("crm", &server.url())])).await;
    let mut run = Reader::start(&service, waiting(run_as("a", OLD))).await;
    run.asked().await;
    run.bring("the-later-token").await;
    let Some(Input::Credentials(challenge)) = run.asked().await.input else { panic!() };
    assert_eq!((&*challenge.error, &*challenge.scope), ("", "s"));
    let asked = format!("{:?}", model.seen());
    assert!(asked.contains("whoami") && !asked.contains(OLD), "{asked}");
}
