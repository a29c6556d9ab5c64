use std::{
    collections::VecDeque,
    time::{Duration, SystemTime},
};

use axum::{body::Body, http::Response};
use futures_util::{
    FutureExt, StreamExt, future,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use super::{MAX_BACKOFF, Retrying, backoff};
use crate::{
    egress::{BodyError, SendError},
    message::Usage,
    model::{
        Answer, Error, Model, Outage, Piece, Prospect, Request,
        asked::Asked,
        failure,
        loopback::{Loopback, endpoint},
        openai_chat::OpenAiChat,
    },
};

/// A model whose tries end as told, one after the other.
struct Fake {
    tries: Mutex<VecDeque<Vec<Result<Piece, Error>>>>,
    asked_at: Mutex<Vec<Instant>>,
}

impl Fake {
    fn failing<const N: usize>(failures: [Error; N]) -> Retrying<Self> {
        let failures = failures.map(|error| vec![Err(error)]);
        Self::new(failures.into_iter().chain([vec![done()]]))
    }

    fn new(tries: impl IntoIterator<Item = Vec<Result<Piece, Error>>>) -> Retrying<Self> {
        Retrying(Self { tries: Mutex::new(tries.into_iter().collect()), asked_at: Mutex::default() })
    }

    fn next(&self) -> Vec<Result<Piece, Error>> {
        self.asked_at.lock().push(Instant::now());
        self.tries.lock().pop_front().expect("a try that was not expected")
    }
}

impl Model for Fake {
    fn provider(&self) -> &'static str {
        "fake"
    }

    fn model(&self) -> &str {
        "m1"
    }

    fn complete<'a>(&'a self, _: Request<'a>) -> BoxFuture<'a, Result<Answer, Error>> {
        let end = self.next().pop().unwrap();
        let answer = |piece| if let Piece::Done(answer) = piece { answer } else { panic!("{piece:?}") };
        future::ready(end.map(answer)).boxed()
    }

    fn stream<'a>(&'a self, _: Request<'a>) -> BoxStream<'a, Result<Piece, Error>> {
        stream::iter(self.next()).boxed()
    }
}

impl Retrying<Fake> {
    /// How long each retry came after what was before it.
    fn waits(&self) -> Vec<Duration> {
        self.0.asked_at.lock().windows(2).map(|pair| pair[1] - pair[0]).collect()
    }
}

fn answer() -> Answer {
    Answer { usage: Usage { model_requests: 1, total_tokens: 5, ..Usage::default() }, ..Answer::default() }
}

fn done() -> Result<Piece, Error> {
    Ok(Piece::Done(answer()))
}

fn limited(seconds: u64) -> Error {
    Error::limited(Some(Duration::from_secs(seconds)))
}

fn passing(retry_after: Option<Duration>) -> Error {
    Error::Unavailable(Outage::new("it answered with HTTP 529", Prospect::Passing { retry_after }))
}

fn passing_ones() -> [Error; 7] {
    [
        Error::limited(None),
        Error::Rejected { status: 422, code: None, prospect: Prospect::Passing { retry_after: None } },
        failure::transport(SendError::Connect),
        failure::transport(SendError::Broken),
        failure::body(BodyError::Transport),
        passing(None),
        passing(Some(Duration::ZERO)),
    ]
}

/// Asks for a whole answer and for a stream, each of its own model.
async fn both(model: impl Fn() -> Retrying<Fake>) -> [(Result<Answer, Error>, Vec<Duration>); 2] {
    let asked = Asked::saying("hi");
    let (whole, streamed) = (model(), model());
    let answer = whole.complete(asked.request()).await;
    let mut pieces: Vec<_> = streamed.stream(asked.request()).collect().await;
    let end = match pieces.pop().unwrap() {
        Ok(Piece::Done(answer)) => Ok(answer),
        Ok(piece) => panic!("{piece:?}"),
        Err(error) => Err(error),
    };
    assert!(pieces.is_empty(), "{pieces:?}");
    [(answer, whole.waits()), (end, streamed.waits())]
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_may_pass_is_asked_again_twice_at_most() {
    for error in passing_ones() {
        for (got, waits) in both(|| Fake::failing([error.clone()])).await {
            assert_eq!((got, waits.len()), (Ok(answer()), 1), "{error}");
        }
        for (got, waits) in both(|| Fake::failing([error.clone(), error.clone()])).await {
            assert_eq!((got, waits.len()), (Ok(answer()), 2), "{error}");
        }
        let last = || Error::limited(None);
        for (got, waits) in both(|| Fake::failing([error.clone(), error.clone(), last()])).await {
            assert_eq!((got, waits.len()), (Err(last()), 2), "{error}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_lasts_is_given_back_at_once() {
    for error in [
        Error::Unauthorized { status: 401 },
        Error::Unauthorized { status: 403 },
        Error::rejected(400, None),
        Error::rejected(404, None),
        failure::unavailable("it answered with a redirect, which is never followed"),
        failure::unreadable(),
        failure::too_large(),
        failure::body(BodyError::TooLarge),
        failure::reported(),
        failure::too_many_calls(),
        Error::RateLimited { retry_after: Some(Duration::ZERO), lasting: true },
    ] {
        for (got, waits) in both(|| Fake::failing([error.clone()])).await {
            assert_eq!((got, waits.len()), (Err(error.clone()), 0));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_provider_says_how_long_to_wait() {
    for seconds in [0, 1, 7, 58] {
        let wait = Duration::from_secs(seconds);
        for error in [limited(seconds), passing(Some(wait))] {
            for (got, waits) in both(|| Fake::failing([error.clone()])).await {
                assert_eq!((got, waits), (Ok(answer()), vec![wait]));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_too_long_or_leaves_no_time_is_not_begun() {
    let mut asked = Asked::saying("hi");
    for (budget, seconds, waits) in [
        (3600, 60, true),
        (3600, 61, false),
        (3600, 3600, false),
        (8, 7, true),
        (7, 7, false),
        (6, 7, false),
        (1, 0, true),
        (0, 0, false),
    ] {
        let model = Fake::failing([limited(seconds)]);
        asked.budget = Duration::from_secs(budget);
        let (begun, got) = (Instant::now(), model.complete(asked.request()).await);
        if waits {
            assert_eq!(got, Ok(answer()), "{seconds} of {budget}");
        } else {
            assert_eq!(
                (got, begun.elapsed()),
                (Err(limited(seconds)), Duration::ZERO),
                "{seconds} of {budget}"
            );
        }
    }
    // Nor is a wait of our own choice.
    asked.budget = Duration::from_millis(999);
    let model = Fake::failing([Error::limited(None)]);
    assert_eq!(model.complete(asked.request()).await, Err(Error::limited(None)));
}

#[tokio::test(start_paused = true)]
async fn without_word_from_the_provider_the_wait_is_random_and_grows() {
    let mut seen = [Duration::ZERO; 2];
    for _ in 0..200 {
        for (got, waits) in both(|| Fake::failing([passing(None), passing(None)])).await {
            assert_eq!(got, Ok(answer()));
            // A timer ends with a millisecond.
            assert!(
                waits[0] <= Duration::from_millis(501) && waits[1] <= Duration::from_millis(1001),
                "{waits:?}"
            );
            seen = [seen[0].max(waits[0]), seen[1].max(waits[1])];
        }
    }
    assert!(seen[1] > Duration::from_millis(501), "400 times in the lower half: {seen:?}");
}

#[test]
fn backoff_doubles_up_to_eight_seconds() {
    let longest = |retries| backoff(retries, 1.0).as_millis();
    assert_eq!([0, 1, 2, 3, 4].map(longest), [500, 1000, 2000, 4000, 8000]);
    assert_eq!([5, 31, 32, u32::MAX].map(|retries| backoff(retries, 1.0)), [MAX_BACKOFF; 4]);
    assert_eq!(backoff(1, 0.25), Duration::from_millis(250));
    assert_eq!(backoff(9, 0.0), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn what_was_passed_on_is_not_begun_again() {
    let asked = Asked::saying("hi");
    for piece in [Piece::Text("a".to_owned()), Piece::Reasoning("r".to_owned())] {
        let pieces = vec![Ok(piece.clone()), Err(passing(None))];
        let model = Fake::new([vec![Err(limited(0))], pieces.clone()]);
        let got: Vec<_> = model.stream(asked.request()).collect().await;
        assert_eq!(got, pieces);
        assert_eq!(model.waits().len(), 1);
    }
    let text = || Ok(Piece::Text("a".to_owned()));
    let model = Fake::new([vec![Err(limited(0))], vec![Err(limited(0))], vec![text(), text(), done()]]);
    let got: Vec<_> = model.stream(asked.request()).collect().await;
    assert_eq!(got, [text(), text(), Ok(Piece::Done(answer()))]);
}

#[tokio::test(start_paused = true)]
async fn to_drop_it_in_a_wait_is_to_end_it() {
    let asked = Asked::saying("hi");
    let model = Fake::failing([limited(30)]);
    let short = Duration::from_secs(29);
    assert!(timeout(short, model.complete(asked.request())).await.is_err());
    assert_eq!(model.0.asked_at.lock().len(), 1);
    let model = Fake::failing([limited(30)]);
    assert!(timeout(short, model.stream(asked.request()).next()).await.is_err());
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(model.0.asked_at.lock().len(), 1);
}

/// A model of a provider that fails once with these headers.
async fn recovering(status: u16, headers: &[(&'static str, &str)]) -> (Retrying<OpenAiChat>, Loopback) {
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    let tries = Mutex::new(0);
    let server = Loopback::start(move || {
        *tries.lock() += 1;
        let response = if *tries.lock() == 1 {
            let refused = Response::builder().status(status);
            let refused = headers.iter().fold(refused, |refused, (name, value)| refused.header(*name, value));
            refused.body(Body::from("{}"))
        } else {
            Response::builder().body(Body::from(r#"{"choices":[{"message":{"content":"a"}}]}"#))
        };
        future::ready(response.unwrap())
    })
    .await;
    let (config, client) = endpoint(&server.base_url, &[]);
    (Retrying(OpenAiChat::new(config, client).unwrap()), server)
}

#[tokio::test]
async fn a_providers_refusal_that_passes() {
    let past = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH);
    let retry_after = |text| [("retry-after", text), ("x-other", "")];
    let at_once = [("retry-after-ms", "0"), ("retry-after", "61")];
    let unusual = [("x-should-retry", "true"), ("retry-after", "0")];
    for (status, headers) in [
        (408, retry_after("0")),
        (409, retry_after(&past)),
        (429, retry_after("0")),
        (429, retry_after(&past)),
        (429, at_once),
        (500, retry_after("0")),
        (503, retry_after(&past)),
        (503, at_once),
        (529, retry_after("0")),
        (400, unusual),
        (422, unusual),
    ] {
        let (model, mut server) = recovering(status, &headers).await;
        let asked = Asked::saying("hi");
        let answer = model.complete(asked.request()).await.unwrap();
        let requests = [answer.usage, asked.spent.take()].map(|usage| usage.model_requests);
        assert_eq!((&*answer.text(), requests), ("a", [1, 1]), "{status}");
        let first = server.seen.recv().await.unwrap();
        assert_eq!(first.body, server.seen.recv().await.unwrap().body);
        assert!(server.seen.try_recv().is_err());
    }
    for headers in [("retry-after", "61"), ("retry-after-ms", "60001"), ("x-should-retry", "false")] {
        for status in [408, 409, 429, 500, 503, 529] {
            let (model, mut server) = recovering(status, &[headers]).await;
            model.complete(Asked::saying("hi").request()).await.unwrap_err();
            assert!(server.seen.recv().await.is_some() && server.seen.try_recv().is_err(), "{status}");
        }
    }
    for status in [302, 401, 403] {
        let (model, mut server) = recovering(status, &unusual).await;
        model.complete(Asked::saying("hi").request()).await.unwrap_err();
        assert!(server.seen.recv().await.is_some() && server.seen.try_recv().is_err(), "{status}");
    }
}
