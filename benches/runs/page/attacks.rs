//! Clients that mean ill, as a part of the page.

use std::fmt::{self, Write};

use super::Results;
use crate::{
    attacks::{self, Footing, Harm, PLAIN_P99, SLOW_P99, Siege, Slowest, Window},
    statistics::{median, range},
};

impl Results {
    pub(super) fn write_attacks(&self, page: &mut String) -> fmt::Result {
        if self.sieges.is_empty() {
            return Ok(());
        }
        write!(
            page,
            "
## Clients that mean ill

Good clients begin {rate} unary runs a second with a tool of 20 ms, and {rate} with one that answers at once, for {seconds} s
with nobody else there, and for {seconds} s beside clients of a kind, and so on in turn. Those are one process, which makes
new connections where the service ends some; what comes back is read and thrown away, but by readers that do not read and
callers that have vanished. × is how many times as long the 99th of a hundred good runs took beside them, with the least and
the most of the rounds; the worse of both kinds of good runs is held against the target. CPU is told in cores. No good run failed: else there would be no table.

| of | beside | done, a second | connections | ended by the service | p99 with 20 ms, ms | × | p99 at once, ms | × | CPU of the service, alone and beside them | CPU of the attackers |
|---|---|---|---|---|---|---|---|---|---|---|
",
            rate = attacks::RATE,
            seconds = attacks::SECONDS,
        )?;
        for siege in &self.sieges {
            for harm in &siege.harms {
                harm.write(siege.name, page)?;
            }
        }
        self.write_footings(page)
    }

    fn write_footings(&self, page: &mut String) -> fmt::Result {
        write!(
            page,
            "
Then all kinds attacked at once, and fell silent with all their sockets open. In the end the service held no more than before
them, but for memory, and for {} thread: else there would be no table. The threads that look at files and make metrics take
turns, so that one that was needed once stays.

| of | when | file descriptors | threads | live runs and streams | PSS, MiB | p99 with 20 ms, ms | p99 at once, ms |
|---|---|---|---|---|---|---|---|
",
            attacks::IDLE_THREADS,
        )?;
        for siege in &self.sieges {
            let Siege { name, harms, before, amid, after, recovery, last } = siege;
            let alone = |slowest: Slowest| {
                median(harms.iter().flat_map(|harm| &harm.rounds).map(|round| slowest(&round.without)))
            };
            let mut row = |when: &str, footing: &Footing, slow: f64, plain: f64| {
                let Footing { descriptors, threads, live, memory } = footing;
                let memory = memory.pss / f64::from(1 << 20);
                write!(page, "| {name} | {when} | {descriptors} | {threads} | {live} | {memory:.0} |")?;
                let number = |p99: f64| if p99.is_nan() { String::new() } else { format!(" {p99:.2}") };
                writeln!(page, "{} |{} |", number(slow), number(plain))
            };
            row("before", before, alone(SLOW_P99), alone(PLAIN_P99))?;
            row("all at once", amid, f64::NAN, f64::NAN)?;
            let when = format!("{:.0} s after that", recovery.as_secs_f64());
            row(&when, after, SLOW_P99(last), PLAIN_P99(last))?;
        }
        Ok(())
    }
}

impl Harm {
    #[allow(clippy::cast_precision_loss, reason = "there are few")]
    fn write(&self, name: &str, page: &mut String) -> fmt::Result {
        let middle = |number: &dyn Fn(&attacks::Round) -> f64| median(self.rounds.iter().map(number));
        let (done, opened) =
            (middle(&|round| round.tally.actions as f64), middle(&|round| round.tally.opened as f64));
        // Who only holds connections does nothing more.
        let done = if done > opened { format!("{:.0}", done / attacks::SECONDS) } else { String::new() };
        let cut = middle(&|round| round.tally.cut as f64);
        write!(page, "| {name} | {} | {done} | {opened:.0} | {cut:.0} |", self.kind.title())?;
        for slowest in [SLOW_P99, PLAIN_P99] {
            let (alone, beside) =
                (middle(&|round| slowest(&round.without)), middle(&|round| slowest(&round.with)));
            let (least, most) = range(self.ratios(slowest));
            let ratio = self.ratio(slowest);
            write!(page, " {alone:.2} → {beside:.2} | {ratio:.2} ({least:.2}–{most:.2}) |")?;
        }
        let cpu = |cores: fn(&Window) -> f64, is_beside: bool| {
            middle(&|round| cores(if is_beside { &round.with } else { &round.without }))
        };
        let (alone, beside) = (cpu(|window| window.service, false), cpu(|window| window.service, true));
        let attacker = cpu(|window| window.attacker, true);
        writeln!(page, " {alone:.2} → {beside:.2} | {attacker:.2} |")
    }
}
