//! What servers tell of a call's progress, and who hears it.

use std::{
    convert::Infallible,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::{StreamExt, stream};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::ProgressNotificationParam,
    service::RequestContext,
    tool, tool_handler, tool_router,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use tokio::sync::{Barrier, Notify};

use super::*;
use crate::event::ToolProgress;
use crate::mcp::progress::Listener;

const LONG: Duration = Duration::from_secs(60);

fn notification(token: &Value, progress: Value, message: &str) -> Value {
    let params = json!({ "progressToken": token, "progress": progress, "total": 10, "message": message });
    json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params })
}

fn done(seen: &Seen) -> Value {
    seen.answer(json!([{ "type": "text", "text": "done" }]))
}

/// What is heard last of a call that the server answers with these events and then with its result.
async fn heard(
    era: Era,
    told: impl Fn(&Value) -> Vec<Value> + Send + Sync + 'static,
) -> Option<ToolProgress> {
    let server = Server::start(era, move |seen| {
        let mut told = told(&seen.token());
        told.push(done(&seen));
        std::future::ready(event_stream(events(&told)))
    })
    .await;
    let servers = server.registered(LONG);
    let (tell, mut told) = watch::channel(ToolProgress::default());
    let outcome =
        call(&connect(&servers, &run_headers("canary-5f0c1d9e77")), "work", json!({}), Some(&tell)).await;
    assert_eq!(outcome.text, "done");
    told.has_changed().unwrap().then(|| told.borrow_and_update().clone())
}

fn said(message: &str) -> Option<ToolProgress> {
    Some(ToolProgress { progress: 1.0, total: Some(10.0), message: message.into() })
}

#[tokio::test]
async fn a_call_asks_for_progress_where_somebody_listens() {
    for era in ERAS {
        let server = Server::start(era, |seen| {
            let text = seen.token().is_null().to_string();
            std::future::ready(json_answer(&seen.answer(json!([{ "type": "text", "text": text }]))))
        })
        .await;
        let servers = server.registered(LONG);
        let connection = connect(&servers, &run_headers("alice-token"));
        let (tell, _told) = watch::channel(ToolProgress::default());
        assert_eq!(call(&connection, "work", json!({}), None).await.text, "true", "{era:?}");
        assert_eq!(call(&connection, "work", json!({}), Some(&tell)).await.text, "false", "{era:?}");
    }
}

#[tokio::test]
async fn progress_is_heard_while_the_call_goes_on() {
    for era in ERAS {
        let heard = Arc::new(Notify::new());
        let gate = heard.clone();
        let server = Server::start(era, move |seen| {
            let told = events(&[notification(&seen.token(), json!(0.5), "half")]);
            let (gate, answer) = (gate.clone(), events(&[done(&seen)]));
            let answer = stream::once(async move {
                gate.notified().await;
                answer
            });
            let body = stream::once(std::future::ready(told)).chain(answer).map(Ok::<_, Infallible>);
            std::future::ready(event_stream(Body::from_stream(body)))
        })
        .await;
        let servers = server.registered(LONG);
        let connection = connect(&servers, &run_headers("alice-token"));
        let (tell, mut told) = watch::channel(ToolProgress::default());
        let (outcome, ()) = tokio::join!(call(&connection, "work", json!({}), Some(&tell)), async {
            tokio::time::timeout(LONG, told.changed()).await.expect("progress is told").unwrap();
            let half = ToolProgress { progress: 0.5, total: Some(10.0), message: "half".into() };
            assert_eq!(*told.borrow(), half, "{era:?}");
            heard.notify_one();
        });
        assert_eq!(outcome.text, "done", "{era:?}");
    }
}

#[tokio::test]
async fn of_two_calls_of_one_client_each_hears_its_own() {
    for era in ERAS {
        let (both, tokens) = (Arc::new(Barrier::new(2)), Arc::new(Mutex::new(Vec::new())));
        let server = Server::start(era, move |seen| {
            let (both, tokens) = (both.clone(), tokens.clone());
            async move {
                let own = seen.token();
                tokens.lock().unwrap().push(own.clone());
                both.wait().await;
                let others = tokens.lock().unwrap().iter().find(|token| **token != own).unwrap().clone();
                let foreign = notification(&others, json!(1), "foreign");
                let name = seen.body["params"]["arguments"]["name"].as_str().unwrap();
                let told = notification(&own, json!(1), name);
                event_stream(events(&[foreign.clone(), told, foreign, done(&seen)]))
            }
        })
        .await;
        let servers = server.registered(LONG);
        let [a, b] = ["a", "b"].map(|_| connect(&servers, &run_headers("alice-token")));
        let ((tell_a, told_a), (tell_b, told_b)) =
            (watch::channel(ToolProgress::default()), watch::channel(ToolProgress::default()));
        tokio::join!(
            call(&a, "work", json!({ "name": "a" }), Some(&tell_a)),
            call(&b, "work", json!({ "name": "b" }), Some(&tell_b)),
        );
        assert_eq!(servers.kept_clients(), 1, "{era:?}");
        let last = |told: watch::Receiver<ToolProgress>| Some(told.borrow().clone());
        assert_eq!((last(told_a), last(told_b)), (said("a"), said("b")), "{era:?}");
    }
}

#[tokio::test]
async fn a_token_that_is_not_the_calls_changes_nothing() {
    for era in ERAS {
        let others = |_: &Value| {
            let tokens = [json!("another"), json!(4_000_000), json!(-1), json!(null), json!({}), json!(1.5)];
            tokens.iter().map(|token| notification(token, json!(1), "foreign")).collect()
        };
        assert_eq!(heard(era, others).await, None, "{era:?}");
        let as_text = |token: &Value| vec![notification(&json!(token.to_string()), json!(1), "as text")];
        assert_eq!(heard(era, as_text).await, said("as text"), "{era:?}");
    }
}

#[tokio::test]
async fn what_is_no_progress_is_dropped() {
    let odd = |token: &Value| {
        let numbers = [json!(null), json!("1"), json!([1])];
        let mut odd: Vec<Value> =
            numbers.into_iter().map(|number| notification(token, number, "odd")).collect();
        odd.push(json!({ "jsonrpc": "2.0", "method": "notifications/progress" }));
        odd.push(json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": [token] }));
        odd
    };
    assert_eq!(heard(Era::Modern, odd).await, None);
}

#[tokio::test]
async fn numbers_that_are_not_finite_are_dropped() {
    for (progress, total) in [("1e400", "10"), ("1", "1e400"), ("NaN", "10"), ("1", "-Infinity")] {
        let server = Server::start(Era::Modern, move |seen| {
            let params =
                format!(r#"{{"progressToken":{},"progress":{progress},"total":{total}}}"#, seen.token());
            let told = format!(r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{params}}}"#);
            let answer = events(&[done(&seen)]);
            std::future::ready(event_stream(format!("data: {told}\n\n{answer}")))
        })
        .await;
        let servers = server.registered(LONG);
        let (tell, told) = watch::channel(ToolProgress::default());
        let connection = connect(&servers, &run_headers("alice-token"));
        assert_eq!(call(&connection, "work", json!({}), Some(&tell)).await.text, "done");
        assert!(!told.has_changed().unwrap(), "{progress} of {total}");
    }
}

#[tokio::test]
async fn a_message_is_without_secrets_and_short() {
    let secret = |token: &Value| vec![notification(token, json!(1), "as canary-5f0c1d9e77 now")];
    assert_eq!(heard(Era::Modern, secret).await, said("as [redacted] now"));
    // Cut first, the rest of the secret would not be found.
    let at_the_end =
        |token: &Value| vec![notification(token, json!(1), &format!("{}canary-5f0c1d9e77", "é".repeat(506)))];
    let message = format!("{}[redacted]", "é".repeat(506));
    assert_eq!(heard(Era::Modern, at_the_end).await, said(&message));
    let long = |token: &Value| vec![notification(token, json!(1), &format!("x{}", "é".repeat(5000)))];
    assert_eq!(heard(Era::Modern, long).await, said(&format!("x{}", "é".repeat(511))));
}

#[tokio::test]
async fn a_number_that_is_a_secret_is_dropped() {
    let server = Server::start(Era::Modern, |seen| {
        let told = notification(&seen.token(), json!(12_345_678), "");
        std::future::ready(event_stream(events(&[told, done(&seen)])))
    })
    .await;
    let servers = server.registered(LONG);
    let (tell, told) = watch::channel(ToolProgress::default());
    call(&connect(&servers, &run_headers("12345678")), "work", json!({}), Some(&tell)).await;
    assert!(!told.has_changed().unwrap());
}

#[tokio::test]
async fn of_a_flood_the_newest_waits() {
    let server = Server::start(Era::Modern, |seen| {
        let flood = events(&[notification(&seen.token(), json!(1), "one of many")]).repeat(99_999);
        let newest = notification(&seen.token(), json!(1), "the newest");
        std::future::ready(event_stream(flood + &events(&[newest, done(&seen)])))
    })
    .await;
    let servers = server.registered(LONG);
    let connection = connect(&servers, &run_headers("alice-token"));
    let (tell, mut told) = watch::channel(ToolProgress::default());
    assert_eq!(call(&connection, "work", json!({}), Some(&tell)).await.text, "done");
    assert_eq!(Some(told.borrow_and_update().clone()), said("the newest"));
    assert!(!told.has_changed().unwrap(), "nothing else waits");
}

#[tokio::test]
async fn progress_gives_a_call_no_more_time() {
    let server = Server::start(Era::Modern, |seen| {
        let told = events(&[notification(&seen.token(), json!(1), "still at it")]);
        let for_ever = stream::repeat(told).then(|told| async {
            tokio::task::yield_now().await;
            Ok::<_, Infallible>(told)
        });
        std::future::ready(event_stream(Body::from_stream(for_ever)))
    })
    .await;
    let servers = server.registered(Duration::from_millis(100));
    let (tell, _told) = watch::channel(ToolProgress::default());
    let connection = connect(&servers, &run_headers("alice-token"));
    let outcome = call(&connection, "work", json!({}), Some(&tell)).await;
    assert_eq!(outcome.status, crate::message::ToolCallStatus::Unknown, "{}", outcome.text);
}

#[tokio::test]
async fn an_answer_that_is_resumed_goes_on_telling() {
    for era in ERAS {
        let first = Arc::new(Mutex::new(None));
        let resumptions = Arc::new(AtomicUsize::new(0));
        let count = resumptions.clone();
        let server = Server::start(era, move |seen| {
            let mut first = first.lock().unwrap();
            let body = if seen.body.is_null() {
                count.fetch_add(1, Ordering::SeqCst);
                let first = first.clone().unwrap();
                events(&[notification(&Seen::token(&first), json!(1), "resumed"), done(&first)])
            } else {
                // The one event that has an id.
                let told = notification(&seen.token(), json!(0), "");
                *first = Some(seen);
                format!("id: e\nretry: 1\ndata: {told}\n\n")
            };
            std::future::ready(event_stream(body))
        })
        .await;
        let servers = server.registered(LONG);
        let (tell, told) = watch::channel(ToolProgress::default());
        let connection = connect(&servers, &run_headers("alice-token"));
        assert_eq!(call(&connection, "work", json!({}), Some(&tell)).await.text, "done", "{era:?}");
        assert_eq!(resumptions.load(Ordering::SeqCst), 1, "{era:?}");
        assert_eq!(Some(told.borrow().clone()), said("resumed"), "{era:?}");
    }
}

#[test]
fn a_listener_does_not_keep_the_runs_headers() {
    let (tell, _told) = watch::channel(ToolProgress::default());
    let headers = run_headers("alice-token");
    let _listener = Listener::new(tell, &headers);
    let headers = Arc::into_inner(headers);
    assert!(headers.is_some(), "an answer that broke off may be kept when its run is over");
}

/// A server of rmcp's own.
#[derive(Clone)]
struct Real;

#[tool_router]
impl Real {
    /// Works, and tells of it.
    #[tool]
    async fn work(&self, context: RequestContext<RoleServer>) -> Result<String, ErrorData> {
        let token = context.meta.get_progress_token().unwrap();
        let progress = ProgressNotificationParam::new(token, 1.0).with_total(10.0).with_message("at it");
        context.peer.notify_progress(progress).await.unwrap();
        Ok("done".to_owned())
    }
}

#[tool_handler]
impl ServerHandler for Real {}

#[tokio::test]
async fn a_real_server_is_understood() {
    let sessions = Arc::new(LocalSessionManager::default());
    let real = StreamableHttpService::new(|| Ok(Real), sessions, StreamableHttpServerConfig::default());
    let server = Server::serve(axum::Router::new().nest_service("/mcp", real)).await;
    let servers = server.registered(LONG);
    let (tell, told) = watch::channel(ToolProgress::default());
    let connection = connect(&servers, &run_headers("alice-token"));
    assert_eq!(call(&connection, "work", json!({}), Some(&tell)).await.text, "done");
    assert_eq!(Some(told.borrow().clone()), said("at it"));
}
