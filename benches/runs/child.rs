//! Child processes, and the CPU time that they take.

use std::{
    env,
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Write},
    process::{self, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use crate::Outcome;

/// A child process. It is told to end by the end of its standard input, and killed when this is dropped.
pub struct Child {
    process: process::Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// What some runs took.
#[derive(Clone, Copy)]
pub struct Measured {
    /// CPU time a run.
    pub cpu: Duration,
    /// Wall time a run.
    pub wall: Duration,
}

impl Child {
    /// This program once more, with arguments that say what it is to be.
    pub fn ourselves(arguments: &[&str]) -> Outcome<Self> {
        Self::start(env::current_exe()?, arguments)
    }

    /// A program.
    pub fn start(program: impl AsRef<OsStr>, arguments: &[&str]) -> Outcome<Self> {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn()?;
        let (input, output) = (process.stdin.take(), process.stdout.take());
        let (Some(input), Some(output)) = (input, output) else { return Err("a child has no pipes".into()) };
        Ok(Self { process, input, output: BufReader::new(output) })
    }

    /// The next line that the child writes.
    pub fn line(&mut self) -> Outcome<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            return Err("a child has ended early".into());
        }
        Ok(line.trim_end().to_owned())
    }

    /// Gives the child an order, and waits until it says that it is done.
    pub fn ask(&mut self, order: &str) -> Outcome<()> {
        writeln!(self.input, "{order}")?;
        self.line().map(drop)
    }

    /// The child's process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Whether the child still runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
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
fn cpu_time(process: u32) -> Outcome<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The second field, the program's name in parentheses, may hold spaces; utime and stime are the 14th and 15th.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: Vec<u64> = fields.skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(Duration::from_millis(10 * ticks.iter().sum::<u64>()))
}
