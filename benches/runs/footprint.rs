//! What the service keeps in memory, and how soon it is ready.

use std::{thread, time::Duration};

use crate::{
    Mode, Outcome,
    bench::{Bench, Subject},
    load::Work,
    scene::{HELD, PLAIN},
    usage::{self, Memory},
};

/// Identities whose clients are open, and the runs of each.
pub const CLIENTS: usize = 10_000;
pub const RUNS_OF_A_CLIENT: usize = 4;
/// Runs that are open at a time, whose, and over how many connections: a connection has at most 200 at once.
pub const HELD_RUNS: usize = 10_000;
pub const HELD_IDENTITIES: usize = 100;
const CONNECTIONS: usize = 100;

/// How long clients are idle to see what stays of them: they doze after 60 s, a thousand a second.
pub const IDLE: Duration = Duration::from_secs(80);
/// How long memory that is given back late may take to be.
const SETTLED: Duration = Duration::from_secs(2);
const STARTS: usize = 15;

/// Memory of a service before and after.
pub struct Growth {
    pub name: &'static str,
    pub before: Memory,
    pub after: Memory,
    /// After, and after [`IDLE`] in which nothing was done.
    pub idle: Option<Memory>,
}

/// How long starts took, by service.
pub type Starts = Vec<(&'static str, Vec<Duration>)>;

/// Memory with a client open for each of many identities.
pub fn clients(bench: &Bench) -> Outcome<Vec<Growth>> {
    each(bench, |subject| {
        let work = Work { scene: PLAIN, mode: Mode::Unary, runs: CLIENTS * RUNS_OF_A_CLIENT, identities: 1 };
        // What runs need at all is there before.
        bench.block_on(subject.load.run(work))?;
        let before = settled(subject.service.child.id())?;
        bench.block_on(subject.load.run(Work { identities: CLIENTS, ..work }))?;
        let after = settled(subject.service.child.id())?;
        thread::sleep(IDLE);
        Ok(Growth { name: subject.name, before, after, idle: Some(settled(subject.service.child.id())?) })
    })
}

/// Memory with many streamed runs open, each in the middle of the model's answer.
pub fn held(bench: &Bench) -> Outcome<Vec<Growth>> {
    each(bench, |subject| {
        let runs = HELD_IDENTITIES * RUNS_OF_A_CLIENT;
        let work = Work { scene: HELD, mode: Mode::Streamed, runs, identities: HELD_IDENTITIES };
        bench.release(true)?;
        bench.block_on(subject.load.run(work))?;
        let before = settled(subject.service.child.id())?;
        bench.release(false)?;
        let runs = bench.block_on(subject.load.hold(HELD_RUNS, HELD_IDENTITIES))?;
        let after = settled(subject.service.child.id())?;
        bench.release(true)?;
        bench.block_on(runs.end())?;
        Ok(Growth { name: subject.name, before, after, idle: None })
    })
}

/// Starts each service some times.
pub fn starts(bench: &Bench) -> Outcome<Starts> {
    let mut starts: Starts = bench.programs.iter().map(|(name, _)| (*name, Vec::new())).collect();
    for _ in 0..STARTS {
        for ((_, program), (_, took)) in bench.programs.iter().zip(&mut starts) {
            took.push(bench.start(program)?.took);
        }
    }
    Ok(starts)
}

/// Measures one service after the other, each a new process.
fn each(bench: &Bench, measure: impl Fn(&Subject) -> Outcome<Growth>) -> Outcome<Vec<Growth>> {
    let names = bench.programs.iter().map(|(name, _)| *name);
    names.map(|name| measure(&bench.service(name, CONNECTIONS)?)).collect()
}

/// Memory of a process that has nothing to do any more.
pub fn settled(process: u32) -> Outcome<Memory> {
    thread::sleep(SETTLED);
    usage::memory(process)
}
