//! How work is laid out in time: so many at once, or so many a second.

use std::{
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{task::JoinSet, time::sleep_until};

use crate::Outcome;

/// How long the middle one and the 99th of a hundred took.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    pub p50: Duration,
    pub p99: Duration,
}

/// Does something `count` times, `at_once` of it at a time. `work` is given a number.
pub async fn closed<F>(
    count: usize,
    at_once: usize,
    work: impl Fn(usize) -> F + Clone + Send + 'static,
) -> Outcome<()>
where
    F: Future<Output = Outcome<()>> + Send + 'static,
{
    let begun = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..at_once {
        let (begun, work) = (begun.clone(), work.clone());
        workers.spawn(async move {
            loop {
                let number = begun.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Outcome::Ok(());
                }
                work(number).await?;
            }
        });
    }
    while let Some(ended) = workers.join_next().await {
        ended??;
    }
    Ok(())
}

/// Begins something `count` times, `rate` times a second, whether what was begun before has ended or not.
pub async fn open<F>(count: usize, rate: f64, work: impl Fn(usize) -> F) -> Outcome<Latency>
where
    F: Future<Output = Outcome<()>> + Send + 'static,
{
    let began = tokio::time::Instant::now();
    let mut under_way = JoinSet::new();
    for number in 0..count {
        #[allow(clippy::cast_precision_loss, reason = "there are few")]
        sleep_until(began + Duration::from_secs_f64(number as f64 / rate)).await;
        let work = work(number);
        under_way.spawn(async move {
            let began = Instant::now();
            work.await.map(|()| began.elapsed())
        });
    }
    let mut took = Vec::with_capacity(count);
    while let Some(ended) = under_way.join_next().await {
        took.push(ended??);
    }
    took.sort();
    let at = |percent: usize| took.get(took.len() * percent / 100).copied().ok_or("nothing was done");
    Ok(Latency { p50: at(50)?, p99: at(99)? })
}

impl Latency {
    /// As a line that [`FromStr`] reads: nanoseconds.
    pub fn line(self) -> String {
        format!("{} {}", self.p50.as_nanos(), self.p99.as_nanos())
    }
}

impl FromStr for Latency {
    type Err = Box<dyn std::error::Error + Send + Sync>;

    fn from_str(line: &str) -> Outcome<Self> {
        let (p50, p99) = line.split_once(' ').ok_or("a latency has two numbers")?;
        Ok(Self { p50: Duration::from_nanos(p50.parse()?), p99: Duration::from_nanos(p99.parse()?) })
    }
}
