//! Services that are told to end, as a part of the page.

use std::fmt::{self, Write};

use super::Results;
use crate::{
    drains::{self, Drain, Kind},
    statistics::{median, millis, range},
};

impl Results {
    pub(super) fn write_drains(&self, page: &mut String) -> fmt::Result {
        if self.drains.is_empty() {
            return Ok(());
        }
        write!(
            page,
            "
## SIGTERM under load

A service of its own each time, with {} callers that run one agent after the other, unary and streamed, with a tool of 20 ms and
with one that answers at once, until they are refused; with {} silent connections, {} half-sent prefaces, and a connection
that watches the service's health. {} streamed runs are held open, and go on when no more runs are taken; one time in {}
these, as many unary and as many streamed ones more last longer than `drain_timeout`. No run that the service's log names was
lost to its caller, each ended once, and each time the service exited with 0: else there would be no table.

| of | held runs | `drain_timeout`, s | times | accepted and completed | accepted, ended at `drain_timeout` | refused, nothing ran | not reached | SIGTERM to exit, ms |
|---|---|---|---|---|---|---|---|---|
",
            drains::BUSY,
            drains::SILENT,
            drains::HALF_PREFACES,
            drains::HELD_RUNS,
            drains::OUTLASTING,
        )?;
        for drains in &self.drains {
            for kind in Kind::ALL {
                let took = || drains.of(kind).map(|drain| millis(drain.took));
                let times = took().count();
                if times == 0 {
                    continue;
                }
                let what = match kind {
                    Kind::Finishing => "go on",
                    Kind::Outlasting => "last too long",
                };
                let counts: [fn(&Drain) -> usize; 4] = [
                    |drain| drain.completed,
                    |drain| drain.ended,
                    |drain| drain.refused,
                    |drain| drain.unreached,
                ];
                let seconds = kind.drain_timeout().as_secs();
                write!(page, "| {} | {what} | {seconds} | {times} |", drains.name)?;
                for count in counts {
                    write!(page, " {} |", drains.sum(kind, count))?;
                }
                let (least, most) = range(took());
                writeln!(page, " {:.0} ({least:.0}–{most:.0}) |", median(took()))?;
            }
        }
        Ok(())
    }
}
