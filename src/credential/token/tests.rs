use std::{collections::VecDeque, future, pin::pin};

use futures_util::{FutureExt, future::join_all, poll};
use tokio::{
    sync::Semaphore,
    task::yield_now,
    time::{advance, sleep},
};

use super::*;

const HOUR: Duration = Duration::from_secs(3600);
const ERROR: SourceError = Asked::TokenEndpoint.failed(Fault::Status(503));

/// Issues `t1`, `t2`, …, each when the test lets it.
#[derive(Clone)]
struct Issuer(Arc<Issuing>);

struct Issuing {
    /// How many may be issued.
    allowed: Semaphore,
    lives: Mutex<VecDeque<Result<Option<Duration>, SourceError>>>,
    asked: Mutex<usize>,
}

impl Issuer {
    /// These lives and failures one after the other, the last again and again; the first `allowed` at once.
    fn new<const N: usize>(
        allowed: usize,
        lives: [Result<Option<Duration>, SourceError>; N],
    ) -> (Self, TokenSource) {
        let issuing = Issuing {
            allowed: Semaphore::new(allowed),
            lives: Mutex::new(lives.into()),
            asked: Mutex::default(),
        };
        let issuer = Self(Arc::new(issuing));
        (issuer.clone(), TokenSource::new("here".into(), "Bearer ".into(), issuer))
    }

    /// Tokens of one life, as many as are asked for.
    fn of_life(life: Duration) -> (Self, TokenSource) {
        Self::new(Semaphore::MAX_PERMITS, [Ok(Some(life))])
    }

    fn asked(&self) -> usize {
        *self.0.asked.lock()
    }

    fn allow(&self, more: usize) {
        self.0.allowed.add_permits(more);
    }
}

impl Fetch for Issuer {
    fn fetch(&self) -> BoxFuture<'_, Result<Fetched, SourceError>> {
        let number = {
            let mut asked = self.0.asked.lock();
            *asked += 1;
            *asked
        };
        async move {
            self.0.allowed.acquire().await.unwrap().forget();
            let mut lives = self.0.lives.lock();
            let life = if lives.len() > 1 { lives.pop_front().unwrap() } else { lives[0] };
            Ok(Fetched { token: format!("t{number}"), life: life? })
        }
        .boxed()
    }
}

/// A token's text.
fn text(value: SecretValue) -> String {
    String::from_utf8(value.as_bytes().to_vec()).unwrap()
}

async fn value(source: &TokenSource) -> Result<String, SourceError> {
    source.value().await.map(text)
}

fn ready(source: &TokenSource) -> Option<String> {
    source.ready().map(text)
}

/// Lets everything go on that can.
async fn settle() {
    for _ in 0..8 {
        yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_fetched_before_it_is_needed_and_then_it_is_kept() {
    let (issuer, source) = Issuer::of_life(HOUR);
    assert_eq!(ready(&source), None);
    settle().await;
    assert_eq!(issuer.asked(), 0, "to look is not to need");
    assert_eq!(value(&source).await.unwrap(), "Bearer t1");
    assert_eq!(
        (value(&source.clone()).await.unwrap(), ready(&source)),
        ("Bearer t1".into(), Some("Bearer t1".into()))
    );
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn all_wait_for_one_fetch() {
    let (issuer, source) = Issuer::new(0, [Ok(Some(HOUR))]);
    let waiting = join_all((0..100).map(|_| value(&source)));
    let mut waiting = pin!(waiting);
    assert!(poll!(&mut waiting).is_pending());
    issuer.allow(1);
    assert!(waiting.await.iter().all(|value| value.as_deref() == Ok("Bearer t1")));
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_takes_nothing_from_the_others() {
    let (issuer, source) = Issuer::new(0, [Ok(Some(HOUR))]);
    {
        let mut first = pin!(value(&source));
        assert!(poll!(&mut first).is_pending());
        settle().await;
    }
    let mut second = pin!(value(&source));
    assert!(poll!(&mut second).is_pending());
    issuer.allow(1);
    assert_eq!(second.await.unwrap(), "Bearer t1");
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_in_the_background_before_it_expires() {
    for (life, renewed) in [(1000, 800), (100, 80), (1500, 1200), (3600, 3300), (36_000, 35_700)] {
        let (issuer, source) = Issuer::new(1, [Ok(Some(Duration::from_secs(life)))]);
        assert_eq!(value(&source).await.unwrap(), "Bearer t1");
        advance(Duration::from_secs(renewed - 1)).await;
        assert_eq!(ready(&source).as_deref(), Some("Bearer t1"));
        settle().await;
        assert_eq!(issuer.asked(), 1, "{life}: not yet");

        advance(Duration::from_secs(1)).await;
        for _ in 0..10 {
            assert_eq!(ready(&source).as_deref(), Some("Bearer t1"), "{life}");
            assert_eq!(value(&source).await.unwrap(), "Bearer t1", "{life}: nobody waits");
            settle().await;
        }
        assert_eq!(issuer.asked(), 2, "{life}");
        issuer.allow(1);
        settle().await;
        assert_eq!(ready(&source).as_deref(), Some("Bearer t2"), "{life}");
        assert_eq!(issuer.asked(), 2, "{life}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_is_not_used() {
    let (issuer, source) = Issuer::of_life(HOUR);
    assert_eq!(value(&source).await.unwrap(), "Bearer t1");
    advance(HOUR).await;
    assert_eq!(ready(&source), None);
    assert_eq!(value(&source).await.unwrap(), "Bearer t2");
    assert_eq!(issuer.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_takes_long_is_waited_for_once_the_token_has_expired() {
    let (issuer, source) = Issuer::new(1, [Ok(Some(Duration::from_secs(10)))]);
    assert_eq!(value(&source).await.unwrap(), "Bearer t1");
    advance(Duration::from_secs(9)).await;
    assert_eq!(ready(&source).as_deref(), Some("Bearer t1"));
    advance(Duration::from_secs(1)).await;
    let mut waiting = pin!(value(&source));
    assert!(poll!(&mut waiting).is_pending());
    issuer.allow(1);
    assert_eq!(waiting.await.unwrap(), "Bearer t2");
    assert_eq!(issuer.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_issuers_say_of_a_life_is_kept_within_bounds() {
    let day = Duration::from_secs(24 * 3600);
    let cases =
        [(None, Duration::from_secs(300)), (Some(Duration::MAX), day), (Some(Duration::ZERO), LEAST_USE)];
    for (said, used) in cases {
        let (issuer, source) = Issuer::new(1, [Ok(said)]);
        assert_eq!(value(&source).await.unwrap(), "Bearer t1");
        advance(used - Duration::from_millis(1)).await;
        assert_eq!(ready(&source).as_deref(), Some("Bearer t1"), "{said:?}");
        advance(Duration::from_millis(1)).await;
        assert_eq!(ready(&source), None, "{said:?}");
        drop(issuer);
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_arrives_expired_serves_those_who_wait_for_it() {
    let (issuer, source) = Issuer::new(0, [Ok(Some(Duration::from_secs(2)))]);
    let mut waiting = pin!(join_all((0..100).map(|_| value(&source))));
    assert!(poll!(&mut waiting).is_pending());
    settle().await;
    advance(Duration::from_secs(5)).await;
    issuer.allow(1);
    assert!(waiting.await.iter().all(|value| value.as_deref() == Ok("Bearer t1")));
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failed_fetch_is_an_error_to_all_who_wait_and_is_not_repeated_at_once() {
    let (issuer, source) = Issuer::new(0, [Err(ERROR), Ok(Some(HOUR))]);
    let mut waiting = pin!(join_all((0..100).map(|_| value(&source))));
    assert!(poll!(&mut waiting).is_pending());
    issuer.allow(1);
    assert!(waiting.await.iter().all(|value| *value == Err(ERROR)));
    advance(Duration::from_millis(999)).await;
    assert_eq!(value(&source).await, Err(ERROR));
    assert_eq!(issuer.asked(), 1);

    advance(Duration::from_millis(1)).await;
    issuer.allow(1);
    assert_eq!(value(&source).await.unwrap(), "Bearer t2");
}

#[tokio::test(start_paused = true)]
async fn a_failed_renewal_leaves_the_token_in_use_and_is_tried_again() {
    let (issuer, source) =
        Issuer::new(usize::MAX >> 4, [Ok(Some(HOUR)), Err(ERROR), Err(ERROR), Ok(Some(HOUR))]);
    assert_eq!(value(&source).await.unwrap(), "Bearer t1");
    advance(Duration::from_secs(3300)).await;
    for asked in [2, 3] {
        for _ in 0..10 {
            assert_eq!(ready(&source).as_deref(), Some("Bearer t1"));
            settle().await;
        }
        assert_eq!(issuer.asked(), asked);
        advance(Duration::from_secs(10)).await;
    }
    assert_eq!(ready(&source).as_deref(), Some("Bearer t1"));
    settle().await;
    assert_eq!(ready(&source).as_deref(), Some("Bearer t4"));
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_never_ends_is_given_up() {
    let (issuer, source) = Issuer::new(0, [Ok(Some(HOUR))]);
    let begun = Instant::now();
    let error = value(&source).await.unwrap_err();
    assert_eq!(error.to_string(), "the source of a token took too long");
    assert_eq!(begun.elapsed(), FETCH_TIMEOUT);
    sleep(RETRY_AFTER).await;
    issuer.allow(1);
    assert_eq!(value(&source).await.unwrap(), "Bearer t2");
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_given_up_once_in_a_while() {
    let (issuer, source) = Issuer::of_life(HOUR);
    let first = source.value().await.unwrap();
    source.refused(&SecretValue::parse("Bearer t0").unwrap());
    assert_eq!(ready(&source).as_deref(), Some("Bearer t1"), "another was refused");

    source.refused(&first);
    assert_eq!(ready(&source), None);
    let second = source.value().await.unwrap();
    assert_eq!(text(second.clone()), "Bearer t2");
    source.refused(&first);
    assert_eq!(ready(&source).as_deref(), Some("Bearer t2"), "the old one was refused once more");

    advance(REFUSED_AGAIN_AFTER - Duration::from_millis(1)).await;
    source.refused(&second);
    assert_eq!(value(&source).await.unwrap(), "Bearer t2", "lately");
    advance(Duration::from_millis(1)).await;
    source.refused(&second);
    assert_eq!(value(&source).await.unwrap(), "Bearer t3");
    assert_eq!(issuer.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_was_given_up_is_used_on_where_there_is_no_other() {
    let (_, source) = Issuer::new(Semaphore::MAX_PERMITS, [Ok(Some(HOUR)), Err(ERROR)]);
    let first = source.value().await.unwrap();
    source.refused(&first);
    assert_eq!(value(&source).await, Err(ERROR), "who needed another is told");
    assert_eq!(value(&source).await.unwrap(), "Bearer t1", "the others are not harmed");
}

/// Issues what no header may hold, or breaks.
struct Broken(Option<&'static str>);

impl Fetch for Broken {
    fn fetch(&self) -> BoxFuture<'_, Result<Fetched, SourceError>> {
        let token = self.0.expect("the test's own panic").to_owned();
        future::ready(Ok(Fetched { token, life: None })).boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn what_no_header_may_hold_is_an_error_that_does_not_show_it() {
    for token in ["", "canary\n", "canary\u{e9}", " "] {
        let source = TokenSource::new("here".into(), "Bearer ".into(), Broken(Some(token)));
        let error = value(&source).await.unwrap_err();
        assert_eq!(error.to_string(), "the source of a token gave a token that can't be sent");
        assert!(!format!("{error:?}").contains("canary"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_an_error_and_blocks_nobody() {
    let source = TokenSource::new("here".into(), String::new(), Broken(None));
    for _ in 0..2 {
        assert_eq!(value(&source).await.unwrap_err().to_string(), "the source of a token was given up");
    }
}

#[test]
fn to_look_needs_no_runtime() {
    let (issuer, source) = Issuer::of_life(HOUR);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    assert_eq!(runtime.block_on(value(&source)).unwrap(), "Bearer t1");
    drop(runtime);
    source.0.state.lock().token.as_mut().unwrap().renew = Instant::now();
    assert_eq!(ready(&source).as_deref(), Some("Bearer t1"), "it is to be renewed, and nobody can");
    assert_eq!(issuer.asked(), 1);
}
