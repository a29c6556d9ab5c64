//! Ten thousand open streams, which end in all ways that there are, and again.
//!
//! Each caller has a token of its own. The MCP server says whose it saw, the model repeats that in each piece of a long
//! answer, and the caller holds every byte against its own name. The service's log must name one end for each run, and no
//! run must be live when the service is told to end. Whatever is not so fails the benchmark.

use std::{thread, time::Duration};

use tokio::time::timeout;

use crate::{
    Mode, Outcome,
    bench::Bench,
    footprint::settled,
    load::{Load, Work},
    scene::PLAIN,
    service::Settings,
    usage::Memory,
};

mod caller;
mod crowd;
mod fate;
mod heard;
mod journal;
mod line;

pub use caller::Ending;
pub use crowd::{ABANDONED, RUNS, soaked};
use crowd::{Crowd, Endings};
use journal::Journal;

const WAVES: usize = 3;
/// The longest time for all runs of a wave to begin, and to end; usually some seconds.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long the service keeps connections to upstreams, and clients, that nobody uses any more: 4 to 8 s, and with so many
/// clients some 4 s.
const CALM: Duration = Duration::from_secs(10);
/// Runs before the first wave.
const WARMING: usize = 400;
/// Runs after the last one.
pub const LATER: usize = 4000;
/// Clients are not kept for long: they would be most of what is left when the runs are over.
const SETTINGS: Settings = Settings {
    server: "",
    sections: "\
telemetry: { logs: { format: json, filter: info }, spans: true }
kept_clients: { idle: 1s }",
};

/// What came of a service.
pub struct Soak {
    pub name: &'static str,
    pub before: Memory,
    pub waves: Vec<Wave>,
    /// After [`LATER`] more runs, a few at a time: the allocator gives back what it keeps only as it goes on.
    pub later: Memory,
}

/// What came of all runs that were open at a time.
pub struct Wave {
    /// With all of them open.
    pub open: Memory,
    /// When all of them had ended, and what is kept for a while was given up.
    pub after: Memory,
    pub endings: Endings,
    /// How many of those that were given up had begun.
    pub abandoned: usize,
}

/// Soaks each service.
pub fn measure(bench: &Bench) -> Outcome<Vec<Soak>> {
    bench.programs.iter().map(|(name, program)| soak(bench, name, program)).collect()
}

fn soak(bench: &Bench, name: &'static str, program: &str) -> Outcome<Soak> {
    let mut service = bench.start_with(program, SETTINGS)?;
    let journal = Journal::read(service.child.take_output()?);
    let process = service.child.id();
    let plain = Work { scene: PLAIN, mode: Mode::Streamed, runs: WARMING, identities: WARMING };
    bench.block_on(async { Load::connect(&service.address, 4).await?.run(plain).await })?;
    let before = settled(process)?;
    journal.settle(&[])?;
    let mut waves = Vec::new();
    for wave in 0..WAVES {
        bench.release(false)?;
        let crowd = bench.block_on(timely(Crowd::open(service.address, bench.seed, wave)))?;
        let open = settled(process)?;
        let endings = bench.block_on(timely(crowd.leave(bench)))?;
        let runs: Vec<String> = endings.iter().map(|(run, _)| run.clone()).collect();
        let abandoned = journal.settle(&runs)?;
        thread::sleep(CALM);
        waves.push(Wave { open, after: settled(process)?, endings, abandoned });
    }
    let later = Work { runs: LATER, ..plain };
    bench.block_on(async { Load::connect(&service.address, 4).await?.run(later).await })?;
    let later = settled(process)?;
    let status = service.child.terminate()?;
    let live = journal.end()?;
    if live > 0 || !status.success() {
        return Err(format!("{live} runs were live at the end, and the service ended with {status}").into());
    }
    Ok(Soak { name, before, waves, later })
}

/// Waits for callers, but not for ever.
async fn timely<T>(work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    timeout(PATIENCE, work).await.map_err(|_| "callers wait for what does not come")?
}

impl Wave {
    /// How many runs ended so for their callers.
    pub fn count(&self, ending: Ending) -> usize {
        self.endings.iter().filter(|(_, one)| *one == ending).count()
    }
}
