//! A run outlives its token: the server's own guard refuses the old one in mid-run, and its sessions to the new one.

use runwright::grpc::proto::{
    HeaderSet, OnUnauthorized, RunOptions, UpdateRunHeadersRequest, run_event::Event,
};

use crate::support::{Caller, World, proxy::methods, service::SUBJECT, within};

mod the_caller_brings_a_fresh_token {
    against!(super::outlived: python_bound);
}

async fn outlived(world: World) {
    let (old, new) = (Caller::user("ada", "run"), Caller::user("ada", "run"));
    let mut request = old.request("slow_then_answering");
    let on_unauthorized = OnUnauthorized::Wait.into();
    request.get_mut().options = Some(RunOptions { on_unauthorized, ..RunOptions::default() });
    let mut agents = world.service.agents();
    let mut stream = agents.run_streamed(request).await.unwrap().into_inner();
    let (mut run_id, mut control_token, mut asked) = (String::new(), String::new(), 0);
    let output = loop {
        let event = within("an event", stream.message()).await.unwrap().expect("the run's end");
        match event.event.unwrap() {
            Event::RunStarted(started) => (run_id, control_token) = (event.run_id, started.control_token),
            Event::ToolCallStarted(call) if call.tool == "slow" => {
                world.server.process.line("slow began").await;
                world.server.release().await;
            }
            Event::CredentialsRequired(_) => {
                asked += 1;
                let request = UpdateRunHeadersRequest {
                    run_id: run_id.clone(),
                    control_token: control_token.clone(),
                    per_run_mcp_headers: [(SUBJECT.to_owned(), set(&new))].into(),
                    mcp_headers: None,
                    per_run_model_headers: [].into(),
                };
                agents.update_run_headers(request).await.unwrap();
            }
            Event::RunCompleted(response) => break response.final_output,
            _ => {}
        }
    };
    assert_eq!((output.as_str(), asked), ("It says slow is done, ada.", 1));

    let seen = world.proxy.seen_of("run");
    let of = |caller: &Caller| {
        let of = seen.iter().filter(|seen| seen.authorization == caller.authorization);
        of.cloned().collect::<Vec<_>>()
    };
    let opening = ["server/discover", "initialize", "notifications/initialized", "tools/list"];
    assert_eq!(methods(&of(&old)), [&opening[..], &["tools/call", "tools/call", "DELETE"]].concat());
    assert_eq!(methods(&of(&new)), [&opening[1..], &["tools/call", "DELETE"]].concat());
    let session = |caller: &Caller| of(caller).last().unwrap().session.clone().expect("a session");
    assert_ne!(session(&old), session(&new), "a session stays with the token that opened it");
    let refused: Vec<_> =
        seen.iter().filter(|seen| seen.status == Some(401)).map(|seen| &*seen.method).collect();
    assert_eq!(refused, ["tools/call", "DELETE"], "what the expired token was refused");
}

fn set(caller: &Caller) -> HeaderSet {
    let header = ("authorization".to_owned(), caller.authorization.clone().unwrap());
    HeaderSet { headers: [header].into(), remove: Vec::new() }
}
