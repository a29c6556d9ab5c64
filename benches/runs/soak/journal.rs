//! What the service's log says of the runs' ends: each run has one.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader},
    process::ChildStdout,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde::Deserialize;

use crate::Outcome;

/// How long a run may take to end that nobody waits for.
const END_TIMEOUT: Duration = Duration::from_secs(30);

/// The log, as it is being read.
pub struct Journal {
    seen: Arc<Mutex<Seen>>,
    reader: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    /// How each run ended, by its id.
    ends: HashMap<String, Vec<String>>,
    /// What is no usual line.
    troubles: Vec<String>,
    /// How many runs were live when the service was told to end.
    live_runs: Option<usize>,
}

#[derive(Deserialize)]
struct Line {
    level: String,
    run_id: Option<String>,
    outcome: Option<String>,
    live_runs: Option<usize>,
}

impl Journal {
    /// Reads the log from here on.
    pub fn read(log: BufReader<ChildStdout>) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let noted = seen.clone();
        let reader = thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                lock(&noted).note(&line);
            }
        });
        Self { seen, reader }
    }

    /// Waits until all these runs have ended, and checks that each did so once, and in a way that it may. Then they are
    /// forgotten, and so are those that nobody knew. How many those were.
    pub fn settle(&self, runs: &[String]) -> Outcome<usize> {
        let began = Instant::now();
        loop {
            let mut seen = lock(&self.seen);
            if let Some(trouble) = seen.troubles.first() {
                return Err(format!("the service has trouble: {trouble}").into());
            }
            let lost = runs.iter().filter(|run| !seen.ends.contains_key(*run)).count();
            if lost == 0 {
                let ends = std::mem::take(&mut seen.ends);
                let wrong =
                    ends.iter().find(|(_, outcomes)| !matches!(&outcomes[..], [one] if is_right(one)));
                return match wrong {
                    Some((run, outcomes)) => Err(format!("the run {run} ended so: {outcomes:?}").into()),
                    None => Ok(ends.len() - runs.len()),
                };
            }
            drop(seen);
            if began.elapsed() > END_TIMEOUT {
                return Err(format!("{lost} runs have no end").into());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for the end of the log. How many runs were live when the service was told to end.
    pub fn end(self) -> Outcome<usize> {
        self.reader.join().map_err(|_| "the log was not read")?;
        lock(&self.seen).live_runs.ok_or_else(|| "the service did not say how many runs were live".into())
    }
}

impl Seen {
    fn note(&mut self, text: &str) {
        let Ok(line) = serde_json::from_str::<Line>(text) else {
            self.troubles.push(text.to_owned());
            return;
        };
        if line.level != "INFO" {
            self.troubles.push(text.to_owned());
        }
        if let (Some(run), Some(outcome)) = (line.run_id, line.outcome) {
            self.ends.entry(run).or_default().push(outcome);
        }
        self.live_runs = line.live_runs.or(self.live_runs);
    }
}

fn is_right(outcome: &str) -> bool {
    ["stop", "RUN_CANCELLED"].contains(&outcome)
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
