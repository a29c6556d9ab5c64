//! What comes of a server's tool list: bounded, the good tools kept, the bad ones told, and each identity's own.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::StatusCode;
use runwright::grpc::proto::McpServerTools;
use serde_json::{Value, json};
use tonic::Code;

use crate::support::{
    mcp_server::{Era, Seen, empty, raw, sse, tool},
    run_as,
    scene::{answering, call_of, crm_config, list_as, reason, run_against, script_config},
    service::{Service, whoami_config},
};

fn names(list: &McpServerTools) -> Vec<&str> {
    list.tools.iter().map(|tool| tool.name.as_str()).collect()
}

fn list_of(seen: &Seen, tools: &[Value]) -> axum::http::Response<axum::body::Body> {
    seen.result(json!({ "resultType": "complete", "tools": tools }))
}

fn is_list(seen: &Seen) -> bool {
    seen.method() == "tools/list"
}

#[tokio::test]
async fn a_list_is_read_to_its_end() {
    let server = answering(Era::Modern, |seen| {
        let page: u32 = seen.body["params"]["cursor"].as_str().map_or(0, |cursor| cursor.parse().unwrap());
        let mut result = json!({ "resultType": "complete", "tools": [tool(&format!("t{page}"))] });
        if page < 4 {
            result["nextCursor"] = json!((page + 1).to_string());
        }
        is_list(seen).then(|| seen.result(result))
    })
    .await;
    let service = Service::start(&whoami_config(&server.url())).await;
    let list = list_as(&service, "alice").await;
    assert_eq!(names(&list), ["t0", "t1", "t2", "t3", "t4"]);
    assert!(list.dropped_tools.is_empty());
}

#[tokio::test]
async fn an_endless_list_is_cut_after_64_pages() {
    let pages = AtomicUsize::new(0);
    let server = answering(Era::Modern, move |seen| {
        let page = || pages.fetch_add(1, Ordering::SeqCst);
        is_list(seen).then(|| {
            let tools = [tool("whoami"), tool(&format!("t{}", page()))];
            seen.result(json!({ "resultType": "complete", "tools": tools, "nextCursor": "again" }))
        })
    })
    .await;
    let service = Service::start(&whoami_config(&server.url())).await;
    let list = list_as(&service, "alice").await;
    assert_eq!(server.methods().iter().filter(|method| *method == "tools/list").count(), 64);
    assert_eq!(list.tools.len(), 65, "`whoami` once, and one of each page");
    assert_eq!(list.dropped_tools.len(), 1);
    assert!(list.dropped_tools[0].reason.contains("beyond"), "{:?}", list.dropped_tools);
    assert_eq!(service.run(run_as("a", "alice")).await.unwrap().final_output, "Bearer alice");
}

#[tokio::test]
async fn of_ten_thousand_tools_1024_are_used() {
    for page_size in [10_000, 1000] {
        let server = answering(Era::Modern, move |seen| {
            let first: usize = seen.body["params"]["cursor"].as_str().map_or(0, |c| c.parse().unwrap());
            let tools: Vec<Value> =
                (first..first + page_size).map(|number| tool(&format!("t{number}"))).collect();
            let mut result = json!({ "resultType": "complete", "tools": tools });
            if first + page_size < 10_000 {
                result["nextCursor"] = json!((first + page_size).to_string());
            }
            is_list(seen).then(|| seen.result(result))
        })
        .await;
        let service = Service::start(&whoami_config(&server.url())).await;
        let list = list_as(&service, "alice").await;
        assert_eq!(list.tools.len(), 1024);
        assert_eq!(list.tools[1023].name, "t1023", "in the server's order");
        assert!(!list.dropped_tools.is_empty(), "it is told that there are more");
    }
}

#[tokio::test]
async fn of_ten_thousand_bad_tools_256_are_named_and_the_others_counted() {
    let server = answering(Era::Modern, |seen| {
        let bad: Vec<Value> = (0..10_000).map(|number| json!({ "name": format!("t{number}") })).collect();
        is_list(seen).then(|| list_of(seen, &bad))
    })
    .await;
    let service = Service::start(&whoami_config(&server.url())).await;
    let list = list_as(&service, "alice").await;
    assert!(list.tools.is_empty());
    assert_eq!(list.dropped_tools.len(), 257);
    assert_eq!(list.dropped_tools[255].name, "t255");
    assert_eq!(list.dropped_tools[256].name, "");
    assert!(list.dropped_tools[256].reason.contains("and 9744 more"), "{:?}", list.dropped_tools[256]);
}

/// How many pages are asked for of a list without end whose pages are as told.
async fn pages_of_endless(tools: impl Fn(usize) -> Vec<Value> + Send + Sync + 'static) -> usize {
    let pages = AtomicUsize::new(0);
    let server = answering(Era::Modern, move |seen| {
        is_list(seen).then(|| {
            let tools = tools(pages.fetch_add(1, Ordering::SeqCst));
            seen.result(json!({ "resultType": "complete", "tools": tools, "nextCursor": "again" }))
        })
    })
    .await;
    let service = Service::start(&whoami_config(&server.url())).await;
    let list = list_as(&service, "alice").await;
    assert!(list.dropped_tools.iter().any(|tool| tool.reason.contains("beyond")), "{:?}", list.dropped_tools);
    server.methods().iter().filter(|method| *method == "tools/list").count()
}

#[tokio::test]
async fn bad_tools_count_against_the_bound_of_a_list() {
    assert_eq!(pages_of_endless(|_| vec![json!({ "name": "bad" }); 600]).await, 2);
}

#[tokio::test]
async fn a_list_is_read_up_to_eight_mebibytes_of_tools() {
    let large = |page| {
        let mut large = tool(&format!("t{page}"));
        large["description"] = json!("x".repeat(1024 * 1024));
        vec![large]
    };
    assert_eq!(pages_of_endless(large).await, 8, "seven of a little over 1 MiB fit");
}

#[tokio::test]
async fn a_list_whose_answer_breaks_off_is_asked_for_once_more() {
    for era in [Era::Modern, Era::Stateless, Era::Stateful] {
        for broken in [1, 2] {
            let asked = AtomicUsize::new(0);
            let server = answering(era, move |seen| {
                let breaks = is_list(seen) && asked.fetch_add(1, Ordering::SeqCst) < broken;
                breaks.then(|| raw(StatusCode::OK, "text/event-stream", ""))
            })
            .await;
            let ended = run_against(&server, "").await;
            let lists: Vec<Value> = server
                .seen()
                .iter()
                .filter(|seen| is_list(seen))
                .map(|seen| seen.body["id"].clone())
                .collect();
            assert_eq!(lists.len(), 2, "{era:?}");
            assert_ne!(lists[0], lists[1], "{era:?}: by a request of its own");
            match ended {
                Ok(response) => assert_eq!((broken, response.final_output.as_str()), (1, "Bearer alice")),
                Err(status) => assert_eq!((broken, reason(&status).1.as_str()), (2, "MCP_UNAVAILABLE")),
            }
        }
    }
}

#[tokio::test]
async fn a_list_whose_session_is_gone_is_asked_for_once_more_in_a_new_one() {
    for gone in [1, 2] {
        let server = answering(Era::Stateful, move |seen| {
            let session = seen.header("mcp-session-id").trim_start_matches("session-").parse::<u32>();
            (is_list(seen) && session.is_ok_and(|number| number < gone)).then(|| empty(StatusCode::NOT_FOUND))
        })
        .await;
        let ended = run_against(&server, "").await;
        let lists: Vec<String> = server
            .seen()
            .iter()
            .filter(|seen| is_list(seen))
            .map(|seen| seen.header("mcp-session-id").to_owned())
            .collect();
        assert_eq!(lists, ["session-0", "session-1"]);
        match ended {
            Ok(response) => assert_eq!((gone, response.final_output.as_str()), (1, "Bearer alice")),
            Err(status) => assert_eq!((gone, reason(&status).1.as_str()), (2, "MCP_UNAVAILABLE")),
        }
    }
}

#[tokio::test]
async fn one_bad_tool_is_told_and_the_good_ones_stay() {
    let bad = || {
        [
            tool("first"),
            json!({ "name": "schemaless", "description": "no inputSchema" }),
            json!({ "name": "listed", "inputSchema": [] }),
            json!({ "inputSchema": { "type": "object" } }),
            json!(7),
            tool("last"),
        ]
    };
    for as_stream in [false, true] {
        let server = answering(Era::Modern, move |seen| {
            let result = json!({ "resultType": "complete", "tools": bad() });
            let whole = json!({ "jsonrpc": "2.0", "id": seen.body["id"], "result": result.clone() });
            is_list(seen).then(|| if as_stream { sse(&[whole]) } else { seen.result(result) })
        })
        .await;
        let service = Service::start(&whoami_config(&server.url())).await;
        let list = list_as(&service, "alice").await;
        assert_eq!(names(&list), ["first", "last"], "as a stream: {as_stream}");
        let dropped: Vec<&str> = list.dropped_tools.iter().map(|tool| tool.name.as_str()).collect();
        assert_eq!(dropped, ["schemaless", "listed", "", ""], "as a stream: {as_stream}");
        assert!(list.dropped_tools.iter().all(|tool| tool.reason.contains("inputSchema")));
    }
}

#[tokio::test]
async fn a_name_that_is_listed_twice_counts_once_and_the_first_is_it() {
    let server = answering(Era::Modern, |seen| {
        let mut second = tool("whoami");
        second["description"] = json!("an impostor");
        let last_page = seen.body["params"]["cursor"].is_string();
        let mut result =
            json!({ "resultType": "complete", "tools": [tool("whoami"), second.clone(), tool("fail")] });
        if last_page {
            result["tools"] = json!([second]);
        } else {
            result["nextCursor"] = json!("2");
        }
        is_list(seen).then(|| seen.result(result))
    })
    .await;
    let service = Service::start(&whoami_config(&server.url())).await;
    let list = list_as(&service, "alice").await;
    assert_eq!(names(&list), ["whoami", "fail"]);
    assert_eq!(list.tools[0].description, "whoami");
}

#[tokio::test]
async fn a_server_without_tools_has_none_and_is_no_failure() {
    for era in [Era::Modern, Era::Stateful] {
        let server =
            answering(era, |seen| is_list(seen).then(|| seen.error(-32601, "Method not found"))).await;
        let service = Service::start(&whoami_config(&server.url())).await;
        let list = list_as(&service, "alice").await;
        assert!(list.tools.is_empty() && list.problem.is_none());
        let response = service.run(run_as("a", "alice")).await.unwrap();
        assert!(response.final_output.contains("no tool"), "{}", response.final_output);
        assert!(!server.methods().contains(&"tools/call".to_owned()), "an unlisted tool is not called");
    }
}

#[tokio::test]
async fn a_refused_list_is_told_by_its_phase_and_any_other_failure_as_what_it_is() {
    for (status, code, expected) in [
        (StatusCode::UNAUTHORIZED, Code::FailedPrecondition, "MCP_UNAUTHORIZED"),
        (StatusCode::FORBIDDEN, Code::FailedPrecondition, "MCP_FORBIDDEN"),
        (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, "MCP_UNAVAILABLE"),
        (StatusCode::BAD_REQUEST, Code::FailedPrecondition, "MCP_PROTOCOL_ERROR"),
    ] {
        let server = answering(Era::Modern, move |seen| is_list(seen).then(|| empty(status))).await;
        let failure = run_against(&server, "").await.unwrap_err();
        assert_eq!(reason(&failure), (code, expected.into()), "{status}");
        if let Some(challenge) = crate::support::error::decode(&failure).challenge {
            assert_eq!(challenge.phase(), runwright::grpc::proto::AuthPhase::Listing);
        }
    }
}

#[tokio::test]
async fn a_list_that_depends_on_the_token_is_shared_with_nobody() {
    for era in [Era::Modern, Era::Stateless, Era::Stateful] {
        let server = answering(era, |seen| {
            let own = seen.header("authorization").trim_start_matches("Bearer ").to_owned();
            is_list(seen).then(|| list_of(seen, &[tool(&format!("for-{own}"))]))
        })
        .await;
        let calls = [call_of("for-alice")];
        let yaml = script_config(&server.url(), "", &[&calls[0]]);
        let service = Service::start(&yaml).await;
        for round in 0..2 {
            assert_eq!(names(&list_as(&service, "alice").await), ["for-alice"], "{era:?} {round}");
            assert_eq!(names(&list_as(&service, "bob").await), ["for-bob"], "{era:?} {round}");
        }
        server.forget();
        let bob = service.run(run_as("a", "bob")).await.unwrap();
        assert!(bob.final_output.contains("no tool"), "{era:?}: alice's tool is not bob's");
        assert!(!server.methods().contains(&"tools/call".to_owned()), "{era:?}");
    }
}

#[tokio::test]
async fn what_a_schema_says_is_passed_on_as_it_is() {
    let schema = r#"{"type":"object","$schema":"https://json-schema.org/draft/2020-12/schema","properties":{"z":{"type":"integer","minimum":1.0},"a":{"$ref":"https://elsewhere.example/s.json"}},"$defs":{}}"#;
    let server = answering(Era::Modern, move |seen| {
        let schema: Value = serde_json::from_str(schema).unwrap();
        is_list(seen).then(|| list_of(seen, &[json!({ "name": "t", "inputSchema": schema })]))
    })
    .await;
    let service = Service::start(&crm_config(&server.url(), "")).await;
    let request = runwright::grpc::proto::ListToolsRequest {
        agent: "a".into(),
        include_schemas: true,
        ..Default::default()
    };
    let answer = service.catalog.clone().list_tools(request).await.unwrap().into_inner();
    let told: Value = serde_json::from_str(&answer.servers[0].tools[0].input_schema_json).unwrap();
    assert_eq!(told, serde_json::from_str::<Value>(schema).unwrap());
}
