//! What was measured, as a page.

use std::fmt::{self, Write};

use crate::{
    attacks::Siege,
    costs::Cost,
    drains::Drains,
    footprint::{self, Growth, Starts},
    latency::Delay,
    soak::{self, Ending, Soak},
    statistics::{median, micros, millis, range},
    targets,
    usage::Memory,
};

mod attacks;
mod drains;

/// What was measured; what was not is empty.
#[derive(Default)]
pub struct Results {
    pub costs: Vec<Cost>,
    pub delays: Vec<Delay>,
    pub clients: Vec<Growth>,
    pub held: Vec<Growth>,
    pub soaks: Vec<Soak>,
    pub sieges: Vec<Siege>,
    pub drains: Vec<Drains>,
    pub starts: Starts,
}

impl Results {
    /// The page.
    pub fn page(&self, machine: &str) -> String {
        let mut page = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut page, machine);
        page
    }

    fn write(&self, page: &mut String, machine: &str) -> fmt::Result {
        write!(
            page,
            "\
# Benchmarks

`make bench` writes this page. It was written on {machine}; everything ran there at once: the
service, the upstream (models and MCP servers) and the callers. Machines differ, so mind the ratios.

The **floor** is a loop over one `reqwest` client that sends a run's upstream requests, byte for byte, and nothing else. It
is measured in the same rounds. Numbers are the middle of the rounds, with the least and the most in parentheses. Spans are
on, nothing exports them. The service is the one that is released, which is compiled by a profile of its runs (`make
optimized`); a plain build is `cargo build --release`, as the floor is.

## Targets

| what | target | measured | met |
|---|---|---|---|
"
        )?;
        for target in targets::targets(self) {
            let met = if target.met { "yes" } else { "**no**" };
            writeln!(page, "| {} | {} | {} | {met} |", target.what, target.target, target.measured)?;
        }
        self.write_costs(page)?;
        self.write_delays(page)?;
        self.write_clients(page)?;
        self.write_held(page)?;
        self.write_soaks(page)?;
        self.write_attacks(page)?;
        self.write_drains(page)?;
        self.write_starts(page)
    }

    fn write_costs(&self, page: &mut String) -> fmt::Result {
        if self.costs.is_empty() {
            return Ok(());
        }
        page.write_str(
            "
## CPU of a run

User and system time of the measured process, with 8 runs at a time. A run asks the model, makes its tool calls, all at
once, and asks the model again, which answers with 32 words. MCP servers are stateless (2026-07-28), but for the one that
gives each run a session of its own (2025-11-25): its runs also initialize, list tools and delete the session, and so does
their floor. What is said to be over TLS is so for the model and for the MCP server, both by HTTP/2. Each identity is a caller
with a token of its own, who was there a moment ago.

| run | tools | identities | of | CPU, µs | × floor | runs a second |
|---|---|---|---|---|---|---|
",
        )?;
        for cost in &self.costs {
            let what = format!("{} | {} | {}", cost.mode.name(), cost.scene.title, cost.identities);
            let of = |rounds: &[crate::usage::Measured]| {
                let cpu = || rounds.iter().map(|round| micros(round.cpu));
                let (least, most) = range(cpu());
                let rate = median(rounds.iter().map(|round| 1.0 / round.wall.as_secs_f64()));
                (format!("{:.0} ({least:.0}–{most:.0})", median(cpu())), rate)
            };
            let (cpu, rate) = of(&cost.floor);
            writeln!(page, "| {what} | floor | {cpu} | 1 | {rate:.0} |")?;
            for (number, (name, rounds)) in cost.services.iter().enumerate() {
                let (cpu, rate) = of(rounds);
                writeln!(page, "| {what} | {name} | {cpu} | {:.2} | {rate:.0} |", cost.ratio(number))?;
            }
        }
        Ok(())
    }

    fn write_delays(&self, page: &mut String) -> fmt::Result {
        if self.delays.is_empty() {
            return Ok(());
        }
        page.write_str(
            "
## Latency

A tool takes 20 ms. Runs begin at an even rate, half of what the service managed on this machine beside its callers and its
upstream. A caller's way to the service and back is a part of what is added.

| run | runs a second | of | p50, ms | p99, ms | added p50, ms | added p99, ms |
|---|---|---|---|---|---|---|
",
        )?;
        for delay in &self.delays {
            let what = format!("{} | {:.0}", delay.mode.name(), delay.rate);
            let middle = |rounds: &[crate::pace::Latency]| {
                let p50 = median(rounds.iter().map(|round| millis(round.p50)));
                let p99 = median(rounds.iter().map(|round| millis(round.p99)));
                format!("{p50:.2} | {p99:.2}")
            };
            writeln!(page, "| {what} | floor | {} | | |", middle(&delay.floor))?;
            for (name, rounds) in &delay.services {
                let (p50, p99) = delay.added(rounds);
                writeln!(page, "| {what} | {name} | {} | {p50:.2} | {p99:.2} |", middle(rounds))?;
            }
        }
        Ok(())
    }

    fn write_clients(&self, page: &mut String) -> fmt::Result {
        if self.clients.is_empty() {
            return Ok(());
        }
        write!(
            page,
            "
## Memory of open MCP clients

Before, and with a client open for each of {} identities, each of which has had {} runs; before, as many runs of one. In
the second row of a service, nobody used the clients for {} s: they doze, and wake without a request.

",
            footprint::CLIENTS,
            footprint::RUNS_OF_A_CLIENT,
            footprint::IDLE.as_secs(),
        )?;
        write_growth(page, &self.clients, "a client", footprint::CLIENTS)
    }

    fn write_held(&self, page: &mut String) -> fmt::Result {
        if self.held.is_empty() {
            return Ok(());
        }
        write!(
            page,
            "
## Memory of open streamed runs

{} streamed runs of {} identities, each in the middle of the model's second answer: with a connection to the model, a tool
call behind it, and its stream to the caller.

",
            footprint::HELD_RUNS,
            footprint::HELD_IDENTITIES,
        )?;
        write_growth(page, &self.held, "an open run", footprint::HELD_RUNS)
    }

    fn write_soaks(&self, page: &mut String) -> fmt::Result {
        if self.soaks.is_empty() {
            return Ok(());
        }
        write!(
            page,
            "
## Soak

{} streamed runs at once, three times one after the other, each of a caller with a token of its own, who holds every byte of
the answer, the tool's result and the events' order against it. In the middle of the model's answer callers leave, by a seed:
some read to the end, some of those slowly, some cancel the run, some give up the call, and one connection in ten is closed
with all its calls. {} more give up while their run begins. No byte was another run's, each run had one end, and none was live
when the service was told to end: else there would be no table.

| of | wave | completed | cancelled | call given up | connection closed | given up at the start | PSS before, MiB | open | after |
|---|---|---|---|---|---|---|---|---|---|
",
            soak::RUNS,
            soak::ABANDONED,
        )?;
        let mib = |memory: &Memory| format!("{:.0}", memory.pss / f64::from(1 << 20));
        for Soak { name, before, waves, later } in &self.soaks {
            for (number, wave) in (1..).zip(waves) {
                write!(page, "| {name} | {number} |")?;
                for ending in [Ending::Completed, Ending::Cancelled, Ending::Dropped, Ending::Cut] {
                    write!(page, " {} |", wave.count(ending))?;
                }
                let (open, after) = (mib(&wave.open), mib(&wave.after));
                writeln!(page, " {} | {} | {open} | {after} |", wave.abandoned, mib(before))?;
            }
            let (runs, later) = (soak::LATER, mib(later));
            writeln!(page, "| {name} | {runs} plain runs, 8 at a time | {runs} | | | | | | | {later} |")?;
        }
        Ok(())
    }

    fn write_starts(&self, page: &mut String) -> fmt::Result {
        if self.starts.is_empty() {
            return Ok(());
        }
        page.write_str("\n## Start\n\nFrom the start of the process until `/readyz` says 200.\n\n")?;
        page.write_str("| of | ms |\n|---|---|\n")?;
        for (name, took) in &self.starts {
            let took = || took.iter().copied().map(millis);
            let (least, most) = range(took());
            writeln!(page, "| {name} | {:.1} ({least:.1}–{most:.1}) |", median(took()))?;
        }
        Ok(())
    }
}

fn write_growth(page: &mut String, growths: &[Growth], each: &str, count: usize) -> fmt::Result {
    writeln!(page, "| of | PSS before, MiB | PSS after, MiB | RSS after, MiB | {each}, KiB |")?;
    writeln!(page, "|---|---|---|---|---|")?;
    let mib = f64::from(1 << 20);
    for growth in growths {
        let Growth { name, before, after, idle } = growth;
        let mut row = |of: &str, now: &Memory| {
            let (before, pss, rss) = (before.pss / mib, now.pss / mib, now.rss / mib);
            let each = growth.each(*now, count) / 1024.0;
            writeln!(page, "| {name}{of} | {before:.0} | {pss:.0} | {rss:.0} | {each:.1} |")
        };
        row("", after)?;
        if let Some(idle) = idle {
            row(", idle", idle)?;
        }
    }
    Ok(())
}
