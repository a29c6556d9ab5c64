//! A run that is cancelled in a slow tool ends at once, and the server learns of it.

use std::time::{Duration, Instant};

use runwright::grpc::proto::{CancelRunRequest, RunEvent, run_event::Event};
use tonic::{Code, Streaming};

use crate::support::{
    Caller, World,
    servers::{Way, everything},
    within,
};

mod cancel_run_ends_a_slow_call {
    against!(super::cancelled: everything typescript_modern typescript_handshake python_modern python_stateless python_stateful);
}

mod hanging_up_ends_a_slow_call {
    against!(super::hung_up: everything typescript_modern typescript_handshake python_modern python_stateless python_stateful);
}

/// The longest that the end of a cancelled run may take.
const QUICK: Duration = Duration::from_secs(5);

async fn cancelled(world: World) {
    let mut stream = world.service.stream("slow", &Caller::user("ada", "one")).await;
    let cancel = in_slow_tool(&world, &mut stream).await;
    let began = Instant::now();
    world.service.agents().cancel_run(cancel).await.unwrap();
    let end = within("the stream's end", stream.message()).await.unwrap_err();
    assert_eq!(end.code(), Code::Aborted);
    assert!(began.elapsed() < QUICK, "{:?}", began.elapsed());
    assert_server_knows(&world).await;
}

async fn hung_up(world: World) {
    let mut stream = world.service.stream("slow", &Caller::user("ada", "one")).await;
    in_slow_tool(&world, &mut stream).await;
    drop(stream);
    assert_server_knows(&world).await;
    world.service.process.line("the caller ended its call").await;
}

/// Waits until the slow tool runs, and says how to cancel the run.
async fn in_slow_tool(world: &World, stream: &mut Streaming<RunEvent>) -> CancelRunRequest {
    let mut control = None;
    loop {
        let event = stream.message().await.unwrap().expect("the run goes on");
        match event.event {
            Some(Event::RunStarted(started)) => control = Some((event.run_id, started.control_token)),
            Some(Event::ToolCallStarted(_)) => break,
            _ => {}
        }
    }
    match world.server.kind {
        everything => world.proxy.arrival("tools/call").await,
        _ => drop(world.server.process.line("slow began").await),
    }
    let (run_id, control_token) = control.expect("`run_started` comes first");
    CancelRunRequest { run_id, control_token, reason: "the test is over".to_owned() }
}

async fn assert_server_knows(world: &World) {
    let kind = world.server.kind;
    // Where there is a handshake, the client says so; since 2026-07-28 it closes the stream.
    if kind.way() != Way::Modern {
        world.proxy.arrival("notifications/cancelled").await;
    }
    // The reference server's tool goes on all the same, and what has no session can't be told.
    if kind != everything && kind.way() != Way::Handshake {
        world.server.process.line("slow cancelled").await;
    }
    if kind.way() == Way::Session {
        world.proxy.arrival("DELETE").await;
    }
}
