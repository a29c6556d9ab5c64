//! The configuration changes while the service runs: runs that begin have the new one, and those that are live keep theirs.

mod broken;
mod clients;
mod files;
mod process;

use runwright::grpc::proto::{ListAgentsRequest, ListMcpServersRequest};
use serde_json::Value;
use tonic::Code;

use crate::support::{
    gate::Gate,
    headers,
    mcp_server::{Era, McpServer},
    model_server::{ModelServer, calls, has_result, says},
    no_run_left,
    reader::{Reader, bearer, fresh},
    reloading::Reloading,
    run_as, run_with,
    scene::reason,
    service::{asking_config, whoami_config},
    soon,
};

/// A model that calls `whoami`, and is done then.
async fn model() -> ModelServer {
    ModelServer::start(|body| {
        std::future::ready(if has_result(&body) { says("done") } else { calls("whoami", "{}") })
    })
    .await
}

/// Agent `a` asks a model over `crm`; all that it has is of a `version`.
fn versioned(model: &ModelServer, crm: &McpServer, version: &str) -> String {
    let servers = [("crm", crm.url())];
    let yaml = asking_config(&model.base_url(), &[("crm", &servers[0].1)]);
    yaml.replace("model: m-1", &format!("model: 'm-{version}'"))
        .replace("a: { model", &format!("a: {{ instructions: 'Be {version}.', description: {version}, model"))
        .replace("crm: { url", &format!("crm: {{ headers: {{ x-version: {version} }}, url"))
        .replace("[crm]", &format!("[{{ name: crm, headers: {{ x-agent: {version} }} }}]"))
}

/// What a model was told that it is, and as what it should answer.
fn asked(body: &Value) -> (&str, &str) {
    (body["model"].as_str().unwrap(), body["messages"][0]["content"].as_str().unwrap())
}

#[tokio::test]
async fn a_run_that_begins_after_a_reload_has_all_that_is_new() {
    let (model, crm) = (model().await, McpServer::start(Era::Modern).await);
    let reloading = Reloading::start(&versioned(&model, &crm, "old")).await;
    for (number, version) in ["old", "new"].into_iter().enumerate() {
        if number > 0 {
            reloading.reload(&versioned(&model, &crm, version)).await;
        }
        crm.forget();
        reloading.service.run(run_as("a", "alice")).await.unwrap();
        let (_, body) = model.seen().pop().unwrap();
        assert_eq!(asked(&body), (&*format!("m-{version}"), &*format!("Be {version}.")));
        assert!(!crm.seen().is_empty());
        for seen in crm.seen() {
            assert_eq!((seen.header("x-version"), seen.header("x-agent")), (version, version));
        }
        let agents = reloading.service.catalog.clone().list_agents(ListAgentsRequest::default()).await;
        assert_eq!(agents.unwrap().into_inner().agents[0].description, version);
    }
}

#[tokio::test]
async fn a_live_run_goes_on_with_what_it_began_with() {
    let gate = Gate::closed();
    let (model, old, new) =
        (model().await, McpServer::slow(Era::Stateful, &gate).await, McpServer::start(Era::Modern).await);
    let reloading = Reloading::start(&versioned(&model, &old, "old")).await;
    let live = Reader::start(&reloading.service, run_as("a", "alice")).await;
    gate.entered(1).await;
    let rules = "crm: { caller_headers: { allowed: [] }, headers";
    let changed = versioned(&model, &new, "new").replace("crm: { headers", rules);
    reloading.reload(&changed).await;

    let refused = reloading.service.run(run_as("a", "alice")).await.unwrap_err();
    assert_eq!(reason(&refused).1, "HEADER_NOT_ALLOWED", "as is registered by now");
    let other = headers([("authorization", "Bearer bob")]);
    let brought = live.update(fresh("crm", other)).await.unwrap();
    assert_eq!(brought.applied_headers["crm"].headers.len(), 3, "what the run may bring has not changed");
    assert!(new.seen().is_empty());

    gate.open();
    let response = live.end().await.unwrap();
    assert_eq!(response.final_output, "done");
    let (_, body) = model.seen().pop().unwrap();
    assert_eq!(asked(&body), ("m-old", "Be old."));
    old.wait_for("the end of its session", |seen| seen.http == "DELETE").await;
    assert!(old.seen().iter().all(|seen| seen.header("x-version") == "old"));
    assert!(new.seen().is_empty());

    reloading.service.run(run_with("a", [])).await.unwrap();
    assert!(new.seen().iter().all(|seen| seen.header("x-version") == "new"));
    assert_eq!(asked(&model.seen().pop().unwrap().1), ("m-new", "Be new."));
}

#[tokio::test]
async fn what_is_gone_is_not_found_and_its_live_runs_go_on() {
    let gate = Gate::closed();
    let crm = McpServer::slow(Era::Modern, &gate).await;
    let reloading = Reloading::start(&whoami_config(&crm.url())).await;
    let live = Reader::start(&reloading.service, run_as("a", "alice")).await;
    gate.entered(1).await;
    let others =
        "models: { m: { provider: scripted, script: [{ say: hi }] } }\nagents: { b: { model: m } }\n";
    reloading.reload(others).await;

    let status = reloading.service.run(run_with("a", [])).await.unwrap_err();
    assert_eq!(reason(&status), (Code::NotFound, "AGENT_NOT_FOUND".to_owned()));
    let mut catalog = reloading.service.catalog.clone();
    let servers = catalog.list_mcp_servers(ListMcpServersRequest::default()).await.unwrap().into_inner();
    assert!(servers.mcp_servers.is_empty());
    assert_eq!(reloading.service.run(run_with("b", [])).await.unwrap().final_output, "hi");

    assert_eq!(live.update(fresh("crm", bearer("bob"))).await.unwrap().applied_headers.len(), 1);
    gate.open();
    let response = live.end().await.unwrap();
    assert_eq!(response.final_output, "Bearer alice", "its call was under way");
    no_run_left(&reloading.service).await;
    assert_eq!(reloading.service.runner.parts().servers.kept_clients(), 0);
}

#[tokio::test]
async fn a_live_run_is_cancelled_after_a_reload_too() {
    let gate = Gate::closed();
    let crm = McpServer::slow(Era::Modern, &gate).await;
    let reloading = Reloading::start(&whoami_config(&crm.url())).await;
    let live = Reader::start(&reloading.service, run_as("a", "alice")).await;
    gate.entered(1).await;
    reloading.reload(&whoami_config("http://127.0.0.1:9/mcp")).await;
    live.cancel().await;
    assert_eq!(reason(&live.end().await.unwrap_err()).1, "RUN_CANCELLED");
    gate.given_up(1).await;
}

#[tokio::test]
async fn limits_that_fall_below_what_is_live_refuse_and_end_nothing() {
    let gate = Gate::closed();
    let crm = McpServer::slow(Era::Modern, &gate).await;
    let yaml = whoami_config(&crm.url());
    let reloading = Reloading::start(&yaml).await;
    let mut live = Vec::new();
    for _ in 0..3 {
        live.push(Reader::start(&reloading.service, run_as("a", "alice")).await);
    }
    gate.entered(3).await;
    reloading.reload(&format!("{yaml}limits: {{ max_concurrent_runs: 2 }}\n")).await;
    for status in [
        reloading.service.run(run_with("a", [])).await.unwrap_err(),
        reloading.service.events(run_with("a", [])).await.1.unwrap_err(),
    ] {
        assert_eq!(reason(&status), (Code::Unavailable, "OVERLOADED".to_owned()));
    }
    assert_eq!(reloading.service.runner.live_runs(), 3);
    gate.open();
    for run in live {
        run.end().await.unwrap();
    }
    no_run_left(&reloading.service).await;
    reloading.service.run(run_with("a", [])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_reloads_under_load_lose_no_run() {
    const RELOADS: usize = 200;
    let crm = McpServer::start(Era::Stateless).await;
    let yaml = |version: usize| {
        let version = format!("crm: {{ headers: {{ x-version: '{version}' }}, url");
        whoami_config(&crm.url()).replace("crm: { url", &version)
    };
    let reloading = Reloading::start(&yaml(0)).await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let callers: Vec<_> = (0..4)
        .map(|caller| {
            let (mut agents, stopped) = (reloading.service.agents.clone(), stopped.clone());
            tokio::spawn(async move {
                let mut runs = 0;
                while !*stopped.borrow() {
                    let response = agents.run(run_as("a", &format!("c-{caller}"))).await.unwrap();
                    assert_eq!(response.into_inner().final_output, format!("Bearer c-{caller}"));
                    runs += 1;
                }
                runs
            })
        })
        .collect();
    for version in 1..=RELOADS {
        reloading.reload(&yaml(version)).await;
    }
    stop.send(true).unwrap();
    for caller in callers {
        let runs: usize = soon("the end of a caller's runs", caller).await.unwrap();
        assert!(runs > 0);
    }
    assert_eq!(reloading.service.reloads.standing().succeeded, RELOADS as u64);
    no_run_left(&reloading.service).await;
    assert!(reloading.service.runner.parts().servers.kept_clients() <= 4, "of the last registration alone");
}
