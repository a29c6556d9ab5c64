//! SIGTERM under load: each run comes to its end or never began, and connections are told to go.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::future;
use tokio::net::TcpStream;
use tonic::Status;

use crate::support::{
    error::decode,
    http2::{GOAWAY, Wire},
    mcp_server::{Era, McpServer},
    run_as,
    service::{Service, whoami_config},
    soon,
};

const ROUNDS: usize = 20;
const CALLERS: usize = 24;
/// How many runs have ended when the signal comes.
const BEFORE: usize = 100;

/// How many calls each token's run made.
fn calls(server: &McpServer) -> HashMap<String, usize> {
    let mut calls = HashMap::new();
    for seen in server.seen().iter().filter(|seen| seen.method() == "tools/call") {
        *calls.entry(seen.header("authorization").to_owned()).or_default() += 1;
    }
    calls
}

/// Runs agents until one is refused; each run's token, and how it ended.
async fn runs_until_refused(
    service: &Service,
    caller: usize,
    done: &AtomicUsize,
) -> Vec<(String, Result<(), Status>)> {
    let mut runs = Vec::new();
    for number in 0.. {
        let token = format!("token-{caller}-{number}");
        let request = run_as("a", &token);
        let result = match number % 2 {
            0 => service.run(request).await.map(drop),
            _ => service.events(request).await.1,
        };
        done.fetch_add(1, Ordering::Relaxed);
        let refused = result.is_err();
        runs.push((format!("Bearer {token}"), result));
        if refused {
            break;
        }
    }
    runs
}

#[tokio::test]
async fn no_run_that_was_taken_is_lost() {
    for era in [Era::Modern, Era::Stateful] {
        let server = McpServer::start(era).await;
        for _ in 0..ROUNDS / 2 {
            server.forget();
            let service = Arc::new(Service::start(&whoami_config(&server.url())).await);
            let silent = TcpStream::connect(service.grpc).await.unwrap();
            let done = Arc::new(AtomicUsize::new(0));
            let callers = (0..CALLERS).map(|caller| {
                let (service, done) = (service.clone(), done.clone());
                tokio::spawn(async move { runs_until_refused(&service, caller, &done).await })
            });
            let callers: Vec<_> = callers.collect();
            soon("some runs", async {
                while done.load(Ordering::Relaxed) < BEFORE {
                    tokio::task::yield_now().await;
                }
            })
            .await;
            service.stop();
            let ended = soon("the callers' ends", future::join_all(callers)).await;
            let calls = calls(&server);
            for (token, result) in ended.into_iter().flat_map(Result::unwrap) {
                let made = calls.get(&token).copied().unwrap_or_default();
                match result {
                    Ok(()) => assert_eq!(made, 1, "{token}"),
                    Err(status) => {
                        assert_eq!(made, 0, "{token}: {status:?}");
                        // Else the connection was over before the run began.
                        if !status.details().is_empty() {
                            let error = decode(&status);
                            assert_eq!(
                                (&*error.reason, &*error.metadata["admitted"]),
                                ("SHUTTING_DOWN", "false")
                            );
                        }
                    }
                }
            }
            Arc::into_inner(service).unwrap().ended().await;
            drop(silent);
        }
    }
}

#[tokio::test]
async fn a_connection_without_runs_is_told_to_go_at_once() {
    let service = Service::start(&whoami_config("http://127.0.0.1:9/mcp")).await;
    let mut wire = Wire::connect(service.grpc).await;
    // It has been taken once its settings have come.
    wire.next().await.unwrap();
    service.stop();
    soon("GOAWAY", async { while wire.next().await.unwrap().kind != GOAWAY {} }).await;
    service.ended().await;
}
