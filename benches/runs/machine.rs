//! The machine that was measured on, without its name.

use std::{fs, thread};

use crate::Outcome;

/// What is said of a machine.
pub fn describe() -> Outcome<String> {
    let cores = thread::available_parallelism()?;
    let model = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "a CPU that does not say".to_owned());
    let memory = field("/proc/meminfo", "MemTotal").unwrap_or_default();
    let memory: u64 = memory.split_whitespace().next().unwrap_or_default().parse().unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    // What follows the version is a distribution's, or an owner's.
    let kernel = kernel.trim().split('-').next().unwrap_or_default().to_owned();
    Ok(format!("{cores} cores of {model}, {} GiB of memory, Linux {kernel}", memory.div_ceil(1 << 20)))
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
