//! Too many runs: the process has a limit, and each agent may have one. What is refused has done nothing, and a run that
//! ends, however it ends, gives its place to the next.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{
    FutureExt, StreamExt,
    future::{self, BoxFuture},
    stream::{self, BoxStream},
};
use runwright::{
    agent::Agent,
    egress::Egress,
    grpc::{
        AgentHandlers,
        proto::{agent_service_server::AgentService, run_event::Event},
    },
    headers::DigestKey,
    mcp::{KeptClients, Servers},
    message::Usage,
    metrics::Metrics,
    model::{Answer, AnswerPart, Error, Model, Outage, Piece, Request, Stop},
    run::{Limits, Parts, Runner, Schemas},
};
use tokio::sync::Semaphore;
use tonic::{Code, Status};

use crate::support::{error::decode, run_with, soon};

/// How a run comes to its end, as far as its model has to do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Answers,
    Fails,
    Panics,
    /// Not before it is stopped from outside.
    Never,
}

/// A model that ends its run when it may.
#[derive(Clone)]
struct Ending {
    end: End,
    may_end: Arc<Semaphore>,
    /// How often it was asked.
    asked: Arc<AtomicUsize>,
}

impl Ending {
    fn new(end: End) -> Self {
        Self { end, may_end: Arc::new(Semaphore::new(0)), asked: Arc::default() }
    }

    async fn asked(&self, times: usize) {
        let asked = async {
            while self.asked.load(Ordering::Relaxed) < times {
                tokio::task::yield_now().await;
            }
        };
        soon("a request to the model", asked).await;
        assert_eq!(self.asked.load(Ordering::Relaxed), times);
    }

    async fn end(&self) -> Result<Answer, Error> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.may_end.acquire().await.unwrap().forget();
        match self.end {
            End::Answers => {
                let parts = vec![AnswerPart::Text("done".to_owned())];
                Ok(Answer { parts, stop: Stop::End, usage: Usage::default() })
            }
            End::Fails => Err(Error::Unavailable(Outage::lasting("it is down"))),
            End::Panics => panic!("the model's fault"),
            End::Never => future::pending().await,
        }
    }
}

impl Model for Ending {
    fn provider(&self) -> &'static str {
        "test"
    }

    fn model(&self) -> &str {
        "ending"
    }

    fn complete<'a>(&'a self, _: Request<'a>) -> BoxFuture<'a, Result<Answer, Error>> {
        self.end().boxed()
    }

    fn stream<'a>(&'a self, _: Request<'a>) -> BoxStream<'a, Result<Piece, Error>> {
        stream::once(async { self.end().await.map(Piece::Done) }).boxed()
    }
}

/// A runner with agent `one`, which may have one run, and agent `free`, with the same model.
fn runner(model: &Ending) -> Runner {
    let agent = |name: &str, most| {
        let agent = Agent::new(name.to_owned(), "m".to_owned(), Duration::from_secs(3600));
        (name.to_owned(), Arc::new(Agent { max_concurrent_runs: most, ..agent }))
    };
    let model: Arc<dyn Model> = Arc::new(model.clone());
    let (key, metrics) = (DigestKey::from_secret(b"key"), Metrics::default());
    Runner::new(Parts {
        agents: [agent("one", Some(1)), agent("free", None)].into(),
        models: [("m".to_owned(), model)].into(),
        servers: Servers::new([], KeptClients::default(), 2, key.clone(), &Egress::default(), &metrics)
            .unwrap(),
        schemas: Arc::new(Schemas::default()),
        limits: Limits { max_concurrent_runs: 2, ..Limits::default() },
        digest_key: key,
        instance: "test".to_owned(),
        metrics,
    })
}

/// A refusal for too many runs; whose limit it is.
fn refused(status: &Status) -> Option<String> {
    let decoded = decode(status);
    assert_eq!((status.code(), &*decoded.reason), (Code::Unavailable, "OVERLOADED"), "{status:?}");
    assert_eq!(decoded.metadata["admitted"], "false");
    assert!(decoded.retry_info.unwrap().retry_delay.unwrap().seconds > 0);
    let agent = decoded.metadata.get("agent").cloned();
    assert!(agent.as_ref().is_none_or(|agent| status.message().contains(agent)), "{status:?}");
    agent
}

/// A run, unary or streamed, in a task.
fn start(runner: &Runner, agent: &str, streamed: bool) -> tokio::task::JoinHandle<Result<(), Status>> {
    let (handlers, request) = (AgentHandlers::new(runner.clone()), tonic::Request::new(run_with(agent, [])));
    tokio::spawn(async move {
        if !streamed {
            return handlers.run(request).await.map(|_| ());
        }
        let mut events = handlers.run_streamed(request).await?.into_inner();
        while let Some(event) = events.next().await {
            event?;
        }
        Ok(())
    })
}

async fn idle(runner: &Runner) {
    let idle = async {
        while runner.live_runs() > 0 {
            tokio::task::yield_now().await;
        }
    };
    soon("the end of all runs", idle).await;
}

#[tokio::test]
async fn a_run_gives_its_place_back_however_it_ends() {
    for (end, streamed) in
        [End::Answers, End::Fails, End::Panics, End::Never].map(|end| [(end, false), (end, true)]).concat()
    {
        let model = Ending::new(end);
        let runner = runner(&model);
        for times in 1..=3 {
            let run = start(&runner, "one", streamed);
            model.asked(times).await;
            for streamed in [false, true] {
                let status = start(&runner, "one", streamed).await.unwrap().unwrap_err();
                assert_eq!(refused(&status).as_deref(), Some("one"));
            }
            model.asked(times).await;
            model.may_end.add_permits(1);
            if end == End::Never {
                // Its caller goes.
                run.abort();
                let _ = run.await;
            } else {
                let result = soon("the run's end", run).await.unwrap();
                assert_eq!(result.is_ok(), end == End::Answers, "{end:?}: {result:?}");
            }
            idle(&runner).await;
        }
    }
}

#[tokio::test]
async fn a_run_that_is_cancelled_gives_its_place_back() {
    let model = Ending::new(End::Never);
    let runner = runner(&model);
    for times in 1..=3 {
        let handlers = AgentHandlers::new(runner.clone());
        let events = handlers.run_streamed(tonic::Request::new(run_with("one", []))).await;
        let mut events = events.unwrap().into_inner();
        let first = soon("the first event", events.next()).await.unwrap().unwrap();
        let Some(Event::RunStarted(started)) = first.event else { panic!() };
        model.asked(times).await;
        runner.cancel(&first.run_id, &started.control_token, String::new()).unwrap();
        let last =
            soon("the end", events.by_ref().filter(|event| future::ready(event.is_err())).next()).await;
        assert_eq!(decode(&last.unwrap().unwrap_err()).reason, "RUN_CANCELLED");
        idle(&runner).await;
    }
}

#[tokio::test]
async fn the_process_is_full_before_an_agent_without_a_limit_is() {
    let model = Ending::new(End::Answers);
    let runner = runner(&model);
    let live = [start(&runner, "free", true), start(&runner, "one", false)];
    model.asked(2).await;
    for agent in ["free", "one"] {
        let status = start(&runner, agent, false).await.unwrap().unwrap_err();
        assert_eq!(refused(&status), None, "{agent}");
    }
    model.may_end.add_permits(3);
    for run in live {
        soon("a run's end", run).await.unwrap().unwrap();
    }
    idle(&runner).await;
    soon("a run", start(&runner, "one", true)).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_process_that_ends_takes_no_run_even_where_there_is_room() {
    let model = Ending::new(End::Answers);
    let runner = runner(&model);
    runner.close();
    let status = start(&runner, "free", false).await.unwrap().unwrap_err();
    assert_eq!(decode(&status).reason, "SHUTTING_DOWN");
    model.asked(0).await;
    soon("the drain", runner.drained()).await;
}
