//! Many callers at once.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use runwright::grpc::proto::RunRequest;
use tokio::{
    sync::{Semaphore, oneshot, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    caller::{Caller, Ending},
    fate::{self, Plan, numbers},
    line::Line,
};
use crate::{
    Mode, Outcome,
    bench::Bench,
    load::{OPENINGS, Work, request},
    scene::SOAK,
};

/// Runs that are open at a time, each of a caller with a token of its own.
pub const RUNS: usize = 10_000;
/// Runs that are given up at some moment while they begin, beside those.
pub const ABANDONED: usize = 500;
const CONNECTIONS: usize = 100;
/// How long callers leave while the model is silent, before it goes on.
const SILENCE: Duration = Duration::from_millis(500);
/// The longest time after which a run that begins is given up.
const PATIENCE_MICROS: u64 = 15_000;

/// Callers whose runs are open.
pub struct Crowd {
    lines: Vec<Line>,
    callers: JoinSet<Outcome<(String, Ending)>>,
    all_there: watch::Sender<bool>,
    seed: u64,
    wave: usize,
}

/// The runs of a crowd, and how they ended.
pub type Endings = Vec<(String, Ending)>;

impl Crowd {
    /// Opens all runs, and returns when the model speaks in each.
    pub async fn open(address: SocketAddr, seed: u64, wave: usize) -> Outcome<Self> {
        let mut lines = Vec::new();
        for _ in 0..CONNECTIONS {
            lines.push(Line::connect(address).await?);
        }
        let openings = Arc::new(Semaphore::new(OPENINGS));
        let (mut callers, mut opened) = (JoinSet::new(), Vec::new());
        let all_there = watch::Sender::new(false);
        for number in 0..RUNS {
            let permit = openings.clone().acquire_owned().await?;
            let line = lines[number % CONNECTIONS].clone();
            let mut rng = numbers(seed, wave, number);
            if number < 2 * ABANDONED && number % 2 == 0 {
                // Early, so that they do not take the last places.
                let patience = Duration::from_micros(rng.u64(..PATIENCE_MICROS));
                let stranger = soaked(RUNS + number).1;
                let mut client = line.client.clone();
                tokio::spawn(async move {
                    let begun = async { client.run_streamed(stranger).await?.into_inner().message().await };
                    drop(timeout(patience, begun).await);
                });
            }
            let is_cut = fate::cut(seed, wave, number % CONNECTIONS).is_some();
            let (plan, there) = (Plan::of(rng, is_cut), all_there.subscribe());
            let (opens, open) = oneshot::channel();
            opened.push(open);
            callers.spawn(async move {
                let (name, request) = soaked(number);
                let caller = Caller::open(line, plan, name, request).await?;
                drop(permit);
                // Whether somebody waits for it makes no difference here.
                let _ = opens.send(());
                caller.leave(there).await
            });
        }
        for open in opened {
            if open.await.is_err() {
                let why = callers.join_next().await.ok_or("a run was lost")?;
                return Err(why?.err().unwrap_or_else(|| "a run was not held".into()));
            }
        }
        Ok(Self { lines, callers, all_there, seed, wave })
    }

    /// Has all callers leave their runs as they plan to. The model is silent at first.
    pub async fn leave(mut self, bench: &Bench) -> Outcome<Endings> {
        let mut cuts = JoinSet::new();
        for (number, line) in self.lines.iter().cloned().enumerate() {
            if let Some(after) = fate::cut(self.seed, self.wave, number) {
                cuts.spawn(async move {
                    sleep(after).await;
                    line.cut();
                });
            }
        }
        self.all_there.send_replace(true);
        sleep(SILENCE).await;
        bench.post_release(true).await?;
        let mut endings = Vec::with_capacity(RUNS);
        while let Some(ended) = self.callers.join_next().await {
            endings.push(ended??);
        }
        Ok(endings)
    }
}

/// A caller's name, and what it asks.
pub fn soaked(number: usize) -> (String, RunRequest) {
    let work = Work { scene: SOAK, mode: Mode::Streamed, runs: RUNS, identities: usize::MAX };
    let name = crate::load::caller(work, number);
    // The model holds it against what the tool says.
    (name.clone(), RunRequest { input: format!("Who am I? {name}"), ..request(work, number) })
}
