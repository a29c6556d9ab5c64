//! SIGTERM under load, again and again.
//!
//! Each round has a service of its own. Callers run one agent after the other, unary and streamed, until they are refused;
//! other runs are held open; and there are connections that say nothing, that half say that they speak HTTP/2, and one that
//! watches the service's health. Then the service is told to end. In most rounds held runs are let go on once it takes no
//! more; in some they last longer than `drain_timeout`, which is short there.
//!
//! Each call has an id of its own, and the service's log names the end of each run that it has accepted. So a run is lost if
//! the log names it and its caller was told nothing, or something else; or if its caller was told that it began, and no end.
//! One that is lost fails the benchmark.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::{
    Outcome,
    bench::Bench,
    log::{Log, Noted},
    service::{Service, Settings},
};

mod bystanders;
mod caller;
mod crowd;

use bystanders::Bystanders;
use caller::{Call, End};
use crowd::Crowd;

pub use bystanders::{HALF_PREFACES, SILENT};
pub use crowd::{BUSY, HELD_RUNS};

/// One round in so many has runs that last longer than `drain_timeout`.
pub const OUTLASTING: usize = 5;
/// The longest time for callers to begin, and to be done; usually some tenths of a second.
const PATIENCE: Duration = Duration::from_secs(60);
/// How much longer than it may the service may take before it is given up.
const OVERTIME: Duration = Duration::from_secs(20);

/// What becomes of held runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// They go on and come to their own end.
    Finishing,
    /// They would last longer than the service waits.
    Outlasting,
}

/// What came of a service.
pub struct Drains {
    pub name: &'static str,
    pub rounds: Vec<Drain>,
}

/// What came of one end.
pub struct Drain {
    pub kind: Kind,
    /// Runs that were accepted and came to their own end, before or after the signal.
    pub completed: usize,
    /// Runs that were accepted, and ended as `drain_timeout` was over.
    pub ended: usize,
    /// Calls that were refused as the service was ending: nothing ran.
    pub refused: usize,
    /// Calls that did not reach the service, or not as a call.
    pub unreached: usize,
    /// From the signal to the process's end.
    pub took: Duration,
}

/// Tells each service to end, many times.
pub fn measure(bench: &Bench) -> Outcome<Vec<Drains>> {
    let drains = bench.programs.iter().map(|(name, program)| {
        let rounds = (1..=bench.drains).map(|number| {
            let kind = if number.is_multiple_of(OUTLASTING) { Kind::Outlasting } else { Kind::Finishing };
            drain(bench, program, number, kind)
        });
        Ok(Drains { name, rounds: rounds.collect::<Outcome<_>>()? })
    });
    drains.collect()
}

fn drain(bench: &Bench, program: &str, number: usize, kind: Kind) -> Outcome<Drain> {
    let mut service = bench.start_with(program, kind.settings())?;
    let log = Log::read(service.child.take_output()?);
    bench.release(false)?;
    let bystanders = bench.block_on(timely(Bystanders::gather(service.address)))?;
    let mut crowd = bench.block_on(timely(Crowd::hold(service.address, kind)))?;
    wait_for_runs(&service, crowd.held())?;
    bench.block_on(timely(crowd.begin(bench.seed, number)))?;

    let told = Instant::now();
    service.child.tell_to_end()?;
    let mut calls = bench.block_on(timely(crowd.refused()))?;
    if kind == Kind::Finishing {
        bench.release(true)?;
    }
    let status = service.child.wait(kind.drain_timeout() + OVERTIME)?;
    let took = told.elapsed();
    calls.extend(bench.block_on(timely(crowd.ended()))?);
    drop(bystanders);
    if !status.success() {
        return Err(format!("the service ended with {status}").into());
    }
    Drain::of(kind, &calls, took, log.end()?)
}

/// Waits until so many runs are live: a unary one does not tell its caller that it has begun.
fn wait_for_runs(service: &Service, count: usize) -> Outcome<()> {
    let began = Instant::now();
    #[allow(clippy::cast_precision_loss, reason = "there are few")]
    while service.metric("runwright_live_runs")? < count as f64 {
        if began.elapsed() > PATIENCE {
            return Err("runs do not begin".into());
        }
    }
    Ok(())
}

/// Waits for callers, but not for ever.
async fn timely<T>(work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    timeout(PATIENCE, work).await.map_err(|_| "callers wait for what does not come")?
}

impl Kind {
    pub const ALL: [Self; 2] = [Self::Finishing, Self::Outlasting];

    /// How long the service waits for runs.
    pub fn drain_timeout(self) -> Duration {
        match self {
            Self::Finishing => Duration::from_secs(30),
            Self::Outlasting => Duration::from_secs(2),
        }
    }

    fn settings(self) -> Settings {
        let server = match self {
            Self::Finishing => ", drain_timeout: 30s",
            Self::Outlasting => ", drain_timeout: 2s",
        };
        Settings { server, sections: "telemetry: { logs: { format: json, filter: info }, spans: true }" }
    }
}

impl Drain {
    /// Holds what callers were told against what the log says.
    fn of(kind: Kind, calls: &[Call], took: Duration, mut log: Noted) -> Outcome<Self> {
        let mut drain = Self { kind, completed: 0, ended: 0, refused: 0, unreached: 0, took };
        let mut lost = Vec::new();
        for call in calls {
            let outcomes = log.ends.remove(&call.id).unwrap_or_default();
            let outcomes: Vec<&str> = outcomes.iter().map(String::as_str).collect();
            match (&call.end, &outcomes[..]) {
                (End::Completed, ["stop"]) => drain.completed += 1,
                (End::ShutDown, ["SHUTTING_DOWN"]) if kind == Kind::Outlasting => drain.ended += 1,
                (End::Refused, []) => drain.refused += 1,
                (End::Unreached, []) => drain.unreached += 1,
                (End::Wrong(why), outcomes) => {
                    lost.push(format!("{}: {why}; by the log {outcomes:?}", call.id));
                }
                (end, outcomes) => lost.push(format!("{}: {end:?}, by the log {outcomes:?}", call.id)),
            }
        }
        lost.extend(log.ends.into_keys().map(|id| format!("{id}: nobody's")));
        match lost.first() {
            Some(first) => Err(format!("{} runs were lost; {first}", lost.len()).into()),
            None => Ok(drain),
        }
    }
}

impl Drains {
    /// So much of all rounds of a kind.
    pub fn sum(&self, kind: Kind, count: fn(&Drain) -> usize) -> usize {
        self.of(kind).map(count).sum()
    }

    /// The longest time from the signal to the process's end.
    pub fn longest(&self, kind: Kind) -> Option<Duration> {
        self.of(kind).map(|drain| drain.took).max()
    }

    /// The rounds of a kind.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Drain> {
        self.rounds.iter().filter(move |drain| drain.kind == kind)
    }
}
