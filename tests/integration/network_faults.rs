//! What networks do, between the service and its upstreams, at any byte: a run ends well or says what is wrong, no tool is
//! called twice, no answer reaches another run, and when the network is well again, so is the service.

use std::collections::HashMap;

use runwright::grpc::proto::{ListAgentsRequest, RunOptions, RunRequest, RunResponse};
use tonic::Status;

use crate::support::{
    dice::Dice,
    error::decode,
    fault_proxy::{
        Direction::{Answers, Requests},
        Fault, FaultProxy,
    },
    gate::Gate,
    headers,
    mcp_server::{Era, McpServer},
    model_server::{ModelServer, says},
    no_run_left, run_with,
    scene::{answering, crm_config},
    service::{Service, asking_config},
    soon,
};

/// About as many bytes as a run's whole conversation with a server has, each way.
const CONVERSATION: usize = 4000;
const ROUNDS: usize = 40;

fn any_fault(dice: &Dice) -> (String, Fault) {
    let (direction, after) = (dice.pick(&[Requests, Answers]), dice.place(CONVERSATION));
    let (name, fault) = match dice.roll(5) {
        0 => ("refuse", Fault::Refuse),
        1 => ("trickle", Fault::Trickle),
        2 => ("half-open", Fault::HalfOpen(direction, after)),
        3 => ("drop", Fault::Drop(direction, after)),
        _ => ("reset", Fault::Reset(direction, after)),
    };
    (format!("{name}, {direction:?}, {after}"), fault)
}

/// A run of somebody, who is no secret.
fn run_of(user: &str) -> RunRequest {
    let mut request = run_with("a", [("crm", headers([("x-user-id", user)]))]);
    request.options = Some(RunOptions {
        timeout: Some(prost_types::Duration { seconds: 2, nanos: 0 }),
        ..RunOptions::default()
    });
    request
}

/// A server whose tool says who asks.
async fn who_asks(era: Era) -> McpServer {
    answering(era, |seen| {
        (seen.method() == "tools/call").then(|| seen.tool_text(&format!("<{}>", seen.header("x-user-id"))))
    })
    .await
}

/// How often each user's tool was called.
fn calls(server: &McpServer) -> HashMap<String, usize> {
    let mut calls = HashMap::new();
    for seen in server.seen().iter().filter(|seen| seen.method() == "tools/call") {
        *calls.entry(seen.header("x-user-id").to_owned()).or_default() += 1;
    }
    calls
}

/// A run, unary or streamed.
async fn ended(service: &Service, request: RunRequest, streamed: bool) -> Result<RunResponse, Status> {
    let run =
        async { if streamed { service.run_streamed(request).await } else { service.run(request).await } };
    soon("the run's end", run).await
}

/// Has the network be well, and the service see that its connections are closed.
async fn healed(proxy: &FaultProxy, service: &Service) {
    proxy.heal().await;
    // What a socket heard before this comes is known once it is answered.
    service.catalog.clone().list_agents(ListAgentsRequest::default()).await.unwrap();
}

async fn whatever_the_way_does_no_tool_is_called_twice_and_no_answer_crosses(era: Era) {
    let dice = Dice::new(20_261_121);
    let server = who_asks(era).await;
    let proxy = FaultProxy::start(server.address).await;
    let url = format!("http://{}/mcp", proxy.address);
    let fields = "timeouts: { connect: 1s, startup: 1s, call: 500ms }, ";
    let service = Service::start(&crm_config(&url, fields)).await;
    for round in 0..ROUNDS {
        let (what, fault) = any_fault(&dice);
        proxy.set(fault);
        let users = [0, 1, 2].map(|number| format!("user-{}", round * 3 + number));
        let runs = users.each_ref().map(|user| ended(&service, run_of(user), round % 2 == 1));
        for (user, result) in users.iter().zip(futures_util::future::join_all(runs).await) {
            match result {
                Ok(response) => {
                    let output = &response.final_output;
                    let crossed = output.contains("<user-") && *output != format!("<{user}>");
                    assert!(!crossed, "{era:?}, {what}: {user} got {output}");
                }
                Err(status) => {
                    let reason = decode(&status).reason;
                    let typed = ["MCP_UNAVAILABLE", "MCP_PROTOCOL_ERROR", "RUN_TIMEOUT"];
                    assert!(typed.contains(&&*reason), "{era:?}, {what}: {reason}: {}", status.message());
                }
            }
        }
    }
    for (user, calls) in calls(&server) {
        assert_eq!(calls, 1, "{era:?}: {user}");
    }
    no_run_left(&service).await;
    healed(&proxy, &service).await;
    let response = service.run(run_of("well-again")).await.unwrap();
    assert_eq!(response.final_output, "<well-again>", "{era:?}");
}

#[tokio::test]
async fn the_way_to_a_server_without_a_handshake() {
    whatever_the_way_does_no_tool_is_called_twice_and_no_answer_crosses(Era::Modern).await;
}

#[tokio::test]
async fn the_way_to_a_server_with_a_handshake() {
    whatever_the_way_does_no_tool_is_called_twice_and_no_answer_crosses(Era::Stateless).await;
}

#[tokio::test]
async fn the_way_to_a_server_with_sessions() {
    whatever_the_way_does_no_tool_is_called_twice_and_no_answer_crosses(Era::Stateful).await;
}

#[tokio::test]
async fn whatever_the_way_to_a_model_does_a_run_ends_well_or_says_what_is_wrong() {
    let dice = Dice::new(4711);
    let model = ModelServer::start(|_| async { says("done") }).await;
    let proxy = FaultProxy::start(model.address).await;
    let url = format!("http://{}/v1", proxy.address);
    let service = Service::start(&asking_config(&url, &[])).await;
    for round in 0..ROUNDS {
        let (what, fault) = any_fault(&dice);
        proxy.set(fault);
        let mut request = run_of("anybody");
        request.per_run_mcp_headers.clear();
        match ended(&service, request, round % 2 == 1).await {
            Ok(response) => assert_eq!(response.final_output, "done", "{what}"),
            Err(status) => {
                let reason = decode(&status).reason;
                let typed = ["MODEL_UNAVAILABLE", "RUN_TIMEOUT"];
                assert!(typed.contains(&&*reason), "{what}: {reason}: {}", status.message());
            }
        }
    }
    no_run_left(&service).await;
    healed(&proxy, &service).await;
    assert_eq!(service.run(run_with("a", [])).await.unwrap().final_output, "done");
}

#[tokio::test]
async fn a_slow_way_holds_up_its_own_run_and_no_other() {
    let server = who_asks(Era::Modern).await;
    let proxy = FaultProxy::start(server.address).await;
    let url = format!("http://{}/mcp", proxy.address);
    let service = Service::start(&crm_config(&url, "")).await;
    let gate = Gate::closed();
    proxy.set(Fault::Delay(gate.clone()));
    let mut agents = service.agents.clone();
    let slow =
        tokio::spawn(
            async move { agents.run(run_with("a", [("crm", headers([("x-user-id", "slow")]))])).await },
        );
    gate.entered(1).await;
    proxy.set(Fault::None);
    assert_eq!(service.run(run_of("quick")).await.unwrap().final_output, "<quick>");
    gate.open();
    let slow = soon("the slow run's end", slow).await.unwrap().unwrap().into_inner();
    assert_eq!(slow.final_output, "<slow>");
}
