//! What the service's log says: how each run ended, and whether the service has trouble.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader},
    process::ChildStdout,
    thread::{self, JoinHandle},
};

use serde::Deserialize;

use crate::Outcome;

/// The log, as it is being read.
pub struct Log(JoinHandle<Noted>);

/// What a whole log says.
#[derive(Default)]
pub struct Noted {
    /// How each run ended, by its request's id; a run that has more than one end has them all.
    pub ends: HashMap<String, Vec<String>>,
    /// Lines that tell of a fault of the service, and what is no line of a log.
    pub faults: Vec<String>,
}

#[derive(Deserialize)]
struct Line {
    level: String,
    request_id: Option<String>,
    outcome: Option<String>,
}

impl Log {
    /// Reads the log from here on, so that the service never waits for somebody to.
    pub fn read(log: BufReader<ChildStdout>) -> Self {
        Self(thread::spawn(move || {
            let mut noted = Noted::default();
            log.lines().map_while(Result::ok).for_each(|line| noted.note(line));
            noted
        }))
    }

    /// Waits for its end. A fault of the service is an error.
    pub fn end(self) -> Outcome<Noted> {
        let noted = self.0.join().map_err(|_| "the log was not read")?;
        match noted.faults.first() {
            Some(fault) => Err(format!("the service has trouble: {fault}").into()),
            None => Ok(noted),
        }
    }
}

impl Noted {
    fn note(&mut self, text: String) {
        match serde_json::from_str::<Line>(&text) {
            Ok(Line { request_id: Some(request), outcome: Some(outcome), level }) if level != "ERROR" => {
                self.ends.entry(request).or_default().push(outcome);
            }
            Ok(line) if line.level != "ERROR" => {}
            _ => self.faults.push(text),
        }
    }
}
