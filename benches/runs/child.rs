//! Child processes.

use std::{
    env,
    ffi::OsStr,
    io::{BufRead, BufReader, Write},
    process::{self, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::Outcome;

/// A child process. It is told to end by the end of its standard input, and killed when this is dropped.
pub struct Child {
    process: process::Child,
    input: ChildStdin,
    /// Until somebody takes it.
    output: Option<BufReader<ChildStdout>>,
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
        Ok(Self { process, input, output: Some(BufReader::new(output)) })
    }

    /// The next line that the child writes.
    pub fn line(&mut self) -> Outcome<String> {
        let mut line = String::new();
        let output = self.output.as_mut().ok_or("a child's output is read elsewhere")?;
        if output.read_line(&mut line)? == 0 {
            return Err("a child has ended early".into());
        }
        Ok(line.trim_end().to_owned())
    }

    /// Gives the child an order, and waits for what it says when it is done.
    pub fn ask(&mut self, order: &str) -> Outcome<String> {
        writeln!(self.input, "{order}")?;
        self.line()
    }

    /// All that the child writes from now on.
    pub fn take_output(&mut self) -> Outcome<BufReader<ChildStdout>> {
        self.output.take().ok_or_else(|| "a child's output is read elsewhere".into())
    }

    /// Tells the child to end, and waits until it has.
    pub fn terminate(&mut self) -> Outcome<ExitStatus> {
        self.tell_to_end()?;
        Ok(self.process.wait()?)
    }

    /// Sends SIGTERM.
    pub fn tell_to_end(&self) -> Outcome<()> {
        let told = Command::new("kill").args(["-TERM", &self.id().to_string()]).status()?;
        if told.success() { Ok(()) } else { Err("a child can't be told to end".into()) }
    }

    /// Waits until the child has ended, but not for ever.
    pub fn wait(&mut self, patience: Duration) -> Outcome<ExitStatus> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait()? {
                return Ok(status);
            }
            if began.elapsed() > patience {
                return Err(format!("a child has not ended after {patience:?}").into());
            }
            thread::sleep(Duration::from_millis(1));
        }
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
