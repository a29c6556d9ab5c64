//! Readers that do not read, and runs that say nothing. No socket is in the way, so that time can stand still: it goes on
//! only when nothing else does.

use std::{
    future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{
    FutureExt, Stream, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use runwright::{
    agent::Agent,
    egress::Egress,
    grpc::{
        AgentHandlers,
        proto::{RunEvent, agent_service_server::AgentService, run_event::Event},
    },
    headers::DigestKey,
    mcp::{KeptClients, Servers},
    metrics::Metrics,
    model::{Answer, Error, Model, Piece, Request},
    run::{Limits, Parts, Runner, Schemas},
};
use tokio::task::yield_now;
use tonic::{Code, Status};

use crate::support::{error::decode, run_with};

/// A model that says a word for ever, and counts; or that says nothing.
struct Endless {
    said: Arc<AtomicUsize>,
    silent: bool,
}

impl Model for Endless {
    fn provider(&self) -> &'static str {
        "endless"
    }

    fn model(&self) -> &str {
        "endless"
    }

    fn complete<'a>(&'a self, _: Request<'a>) -> BoxFuture<'a, Result<Answer, Error>> {
        future::pending().boxed()
    }

    fn stream<'a>(&'a self, _: Request<'a>) -> BoxStream<'a, Result<Piece, Error>> {
        if self.silent {
            return stream::pending().boxed();
        }
        let said = self.said.clone();
        let say = move || {
            said.fetch_add(1, Ordering::Relaxed);
            Ok(Piece::Text("word ".to_owned()))
        };
        // One after the other: what comes together is told together.
        let say = move || {
            let word = say();
            yield_now().map(|()| word)
        };
        stream::repeat_with(say).then(|word| word).boxed()
    }
}

/// A runner with agent `a` and no MCP server.
fn runner(model: Endless) -> Runner {
    let agent = Agent::new("a".to_owned(), "m".to_owned(), Duration::from_secs(3600));
    let limits = Limits { run_timeout: Duration::from_secs(3600), ..Limits::default() };
    let (key, metrics) = (DigestKey::from_secret(b"key"), Metrics::default());
    let model: Arc<dyn Model> = Arc::new(model);
    Runner::new(Parts {
        agents: [("a".to_owned(), Arc::new(agent))].into(),
        models: [("m".to_owned(), model)].into(),
        servers: Servers::new([], KeptClients::default(), 1, key.clone(), &Egress::default(), &metrics)
            .unwrap(),
        schemas: Arc::new(Schemas::default()),
        limits,
        digest_key: key,
        instance: "test".to_owned(),
        metrics,
    })
}

async fn start(runner: &Runner) -> impl Stream<Item = Result<RunEvent, Status>> + Unpin + use<> {
    let handlers = AgentHandlers::new(runner.clone());
    let started = handlers.run_streamed(tonic::Request::new(run_with("a", []))).await;
    started.unwrap().into_inner()
}

/// Lets everything go as far as it can in this time.
async fn pass(time: Duration) {
    let _ = tokio::time::timeout(time, future::pending::<()>()).await;
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_no_more_events_holds_few_and_is_given_up() {
    let said = Arc::new(AtomicUsize::new(0));
    let runner = runner(Endless { said: said.clone(), silent: false });
    let mut stream = start(&runner).await;
    assert_eq!(stream.next().await.unwrap().unwrap().sequence, 1);
    pass(Duration::from_secs(29)).await;
    assert_eq!(runner.live_runs(), 1);
    let waiting = said.load(Ordering::Relaxed);
    assert!((2..=100).contains(&waiting), "{waiting}");
    pass(Duration::from_secs(2)).await;
    assert_eq!((runner.live_runs(), said.load(Ordering::Relaxed)), (0, waiting));

    let events: Vec<_> = stream.collect().await;
    let (last, events) = events.split_last().unwrap();
    for (number, event) in (2..).zip(events) {
        assert_eq!(event.as_ref().unwrap().sequence, number);
    }
    let status = last.as_ref().unwrap_err();
    let decoded = decode(status);
    assert_eq!((status.code(), &*decoded.reason), (Code::Aborted, "STREAM_STALLED"));
    assert_eq!(decoded.metadata["admitted"], "true");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_an_event_now_and_then_is_served() {
    let runner = runner(Endless { said: Arc::default(), silent: false });
    let mut stream = start(&runner).await;
    for number in 1..200 {
        pass(Duration::from_secs(25)).await;
        match stream.next().await.unwrap() {
            Ok(event) => assert_eq!(event.sequence, number),
            // Its hour is over, and the events that were waiting are told.
            Err(status) => {
                assert_eq!(decode(&status).reason, "RUN_TIMEOUT");
                assert!(number > 3600 / 25, "{number}");
                return;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_run_beats_until_its_reader_goes() {
    let runner = runner(Endless { said: Arc::default(), silent: true });
    let mut stream = start(&runner).await;
    let began = tokio::time::Instant::now();
    for number in 1..=10 {
        let event = stream.next().await.unwrap().unwrap();
        assert_eq!(event.sequence, number);
        assert_eq!(event.turn, i32::from(number > 1));
        assert_eq!(matches!(event.event, Some(Event::Heartbeat(_))), number > 2, "{number}");
    }
    assert_eq!(began.elapsed().as_secs(), 8 * 20);
    drop(stream);
    pass(Duration::from_millis(1)).await;
    assert_eq!(runner.live_runs(), 0);
}
