//! The callers of a service that is about to end.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use fastrand::Rng;
use tokio::{task::JoinSet, time::sleep};

use super::{
    Kind,
    caller::{self, Call, End},
};
use crate::{
    Mode, Outcome,
    load::{Load, Work},
    scene::{HELD, LONG, PLAIN, SLOW, Scene},
};

/// Callers that run one agent after the other.
pub const BUSY: usize = 24;
/// Runs of each kind that are held open.
pub const HELD_RUNS: usize = 16;
const CONNECTIONS: usize = 4;
const IDENTITIES: usize = 100;
/// How many runs have ended when the signal comes, and how much later it comes at most.
const BEFORE: usize = 200;
const LATER_MICROS: u64 = 40_000;

/// What busy callers run, each one of them.
const BUSY_WITH: [(&Scene, Mode); 4] =
    [(SLOW, Mode::Unary), (SLOW, Mode::Streamed), (PLAIN, Mode::Unary), (PLAIN, Mode::Streamed)];

/// The callers.
pub struct Crowd {
    load: Load,
    busy: JoinSet<Vec<Call>>,
    held: JoinSet<Call>,
}

impl Crowd {
    /// Connects, and begins the runs that are held open.
    pub async fn hold(address: SocketAddr, kind: Kind) -> Outcome<Self> {
        let load = Load::connect(&address, CONNECTIONS).await?;
        let kinds: &[(&'static Scene, Mode)] = match kind {
            Kind::Finishing => &[(HELD, Mode::Streamed)],
            Kind::Outlasting => &[(HELD, Mode::Streamed), (LONG, Mode::Unary), (LONG, Mode::Streamed)],
        };
        let mut held = JoinSet::new();
        for (scene, mode) in kinds {
            for number in 0..HELD_RUNS {
                let id = format!("{}-{}-{number}", scene.name, mode.name());
                held.spawn(caller::make(load.client(number), work(scene, *mode), number, id));
            }
        }
        Ok(Self { load, busy: JoinSet::new(), held })
    }

    /// How many runs are held open.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Has the busy callers begin, and returns at some moment of their work.
    pub async fn begin(&mut self, seed: u64, round: usize) -> Outcome<()> {
        let done = Arc::new(AtomicUsize::new(0));
        for number in 0..BUSY {
            let (client, done) = (self.load.client(number), done.clone());
            self.busy.spawn(async move {
                let (scene, mode) = BUSY_WITH[number % BUSY_WITH.len()];
                let mut calls = Vec::new();
                loop {
                    let id = format!("busy-{number}-{}", calls.len());
                    let call = caller::make(client.clone(), work(scene, mode), number, id).await;
                    let goes_on = matches!(call.end, End::Completed);
                    calls.push(call);
                    done.fetch_add(1, Ordering::Relaxed);
                    if !goes_on {
                        return calls;
                    }
                }
            });
        }
        while done.load(Ordering::Relaxed) < BEFORE {
            sleep(Duration::from_millis(1)).await;
        }
        let mut rng = Rng::with_seed(seed ^ ((round as u64) << 8));
        sleep(Duration::from_micros(rng.u64(..LATER_MICROS))).await;
        Ok(())
    }

    /// Waits until all busy callers have been refused. All their calls.
    pub async fn refused(&mut self) -> Outcome<Vec<Call>> {
        let mut calls = Vec::new();
        while let Some(made) = self.busy.join_next().await {
            calls.extend(made?);
        }
        Ok(calls)
    }

    /// Waits for the ends of the runs that were held open.
    pub async fn ended(mut self) -> Outcome<Vec<Call>> {
        let mut calls = Vec::new();
        while let Some(call) = self.held.join_next().await {
            calls.push(call?);
        }
        Ok(calls)
    }
}

fn work(scene: &'static Scene, mode: Mode) -> Work {
    Work { scene, mode, runs: 1, identities: IDENTITIES }
}
