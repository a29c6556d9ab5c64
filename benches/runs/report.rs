//! What was measured, as a table.

use std::fmt;

use crate::{Mode, child::Measured};

/// All rounds of all that was measured, in the order in which it was first measured.
#[derive(Default)]
pub struct Report(Vec<Row>);

struct Row {
    mode: Mode,
    what: String,
    rounds: Vec<Measured>,
}

impl Report {
    /// Adds a round.
    pub fn add(&mut self, mode: Mode, what: String, measured: Measured) {
        match self.0.iter_mut().find(|row| row.mode == mode && row.what == what) {
            Some(row) => row.rounds.push(measured),
            None => self.0.push(Row { mode, what, rounds: vec![measured] }),
        }
    }

    fn floor(&self, mode: Mode) -> f64 {
        let floor = self.0.iter().find(|row| row.mode == mode && row.what == "floor");
        floor.map_or(f64::NAN, |row| median(row.cpu()))
    }
}

impl Row {
    /// Microseconds of CPU a run.
    fn cpu(&self) -> Vec<f64> {
        self.rounds.iter().map(|round| round.cpu.as_secs_f64() * 1e6).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "                                         CPU a run, µs      × floor   runs/s seen")?;
        for row in &self.0 {
            let cpu = row.cpu();
            let (least, most) =
                (cpu.iter().copied().fold(f64::NAN, f64::min), cpu.iter().copied().fold(f64::NAN, f64::max));
            let middle = median(cpu);
            let rate = median(row.rounds.iter().map(|round| 1.0 / round.wall.as_secs_f64()).collect());
            writeln!(
                f,
                "{:9} {:28} {middle:7.1} ({least:.1}–{most:.1})   {:6.2}   {rate:10.0}",
                row.mode.name(),
                row.what.as_str(),
                middle / self.floor(row.mode),
            )?;
        }
        Ok(())
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
