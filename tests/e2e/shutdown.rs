//! SIGTERM lets a live run finish; then the service ends well. A second one ends the run.

use runwright::grpc::proto::{FinishReason, run_event::Event};
use tonic::Code;

use crate::support::{Caller, World, service::completed};

mod a_live_run_finishes_after_sigterm {
    against!(super::sigterm: typescript_modern typescript_handshake python_modern python_stateless python_stateful);
}

mod a_second_sigterm_ends_the_live_run {
    against!(super::sigterm_twice: typescript_modern python_stateful);
}

async fn sigterm(mut world: World) {
    let ada = Caller::user("ada", "one");
    let mut stream = world.service.stream("slow", &ada).await;
    world.server.process.line("slow began").await;

    world.service.process.terminate().await;
    world.service.process.line("Shutting down").await;
    let refused = world.service.run("answering", &ada.again("two")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);

    world.server.release().await;
    let mut events = Vec::new();
    while let Some(event) = stream.message().await.unwrap() {
        assert!(!matches!(event.event, Some(Event::Heartbeat(_))));
        events.push(event);
    }
    let response = completed(&events);
    assert_eq!(response.finish_reason(), FinishReason::Stop);
    assert_eq!(response.final_output, "It says slow is done.");
    assert_eq!(world.service.process.ended().await.code(), Some(0), "{}", world.service.process.output());
}

async fn sigterm_twice(mut world: World) {
    let ada = Caller::user("ada", "one");
    let mut stream = world.service.stream("slow", &ada).await;
    world.server.process.line("slow began").await;

    world.service.process.terminate().await;
    world.service.process.line("Shutting down").await;
    world.service.process.terminate().await;
    let status = loop {
        if let Err(status) = stream.message().await {
            break status;
        }
    };
    assert_eq!(status.code(), Code::Aborted, "a tool call has begun");
    assert_eq!(world.service.process.ended().await.code(), Some(0), "{}", world.service.process.output());
}
