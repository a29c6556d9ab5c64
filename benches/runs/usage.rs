//! What a process takes: CPU time and memory, as the kernel counts them.

use std::{
    fs,
    time::{Duration, Instant},
};

use crate::Outcome;

/// What some runs took.
#[derive(Clone, Copy)]
pub struct Measured {
    /// CPU time a run.
    pub cpu: Duration,
    /// Wall time a run.
    pub wall: Duration,
}

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// What is resident.
    pub rss: f64,
    /// The same, with what is shared counted in part.
    pub pss: f64,
}

/// What `work`, which makes the process do `runs` runs, takes of that process.
pub fn measure(process: u32, runs: usize, work: impl FnOnce() -> Outcome<()>) -> Outcome<Measured> {
    let (began, before) = (Instant::now(), cpu_time(process)?);
    work()?;
    let (wall, cpu) = (began.elapsed(), cpu_time(process)?.saturating_sub(before));
    let runs = u32::try_from(runs)?;
    Ok(Measured { cpu: cpu / runs, wall: wall / runs })
}

/// CPU time of a process and all its threads, user and system, in steps of 10 ms: `man 5 proc_pid_stat`. The kernel
/// counts exactly and only shows it in ticks, of which there are 100 a second on every Linux.
pub fn cpu_time(process: u32) -> Outcome<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The second field, the program's name in parentheses, may hold spaces; utime and stime are the 14th and 15th.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: Vec<u64> = fields.skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(Duration::from_millis(10 * ticks.iter().sum::<u64>()))
}

/// How many file descriptors a process has open.
pub fn descriptors(process: u32) -> Outcome<usize> {
    Ok(fs::read_dir(format!("/proc/{process}/fd"))?.count())
}

/// How many threads a process has.
pub fn threads(process: u32) -> Outcome<usize> {
    Ok(fs::read_dir(format!("/proc/{process}/task"))?.count())
}

/// Memory of a process: `man 5 proc_pid_smaps`.
pub fn memory(process: u32) -> Outcome<Memory> {
    let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let bytes = |field: &str| {
        let line = rollup.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let kibibytes: f64 =
            line.and_then(|line| line.split_whitespace().next()).ok_or("no such field")?.parse()?;
        Outcome::Ok(kibibytes * 1024.0)
    };
    Ok(Memory { rss: bytes("Rss")?, pss: bytes("Pss")? })
}
