//! What becomes of a run, by a seed.

use std::time::Duration;

use fastrand::Rng;

use crate::upstream::PIECES;

/// How a run's caller leaves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It reads to the end, as fast as that comes.
    Read,
    /// It reads to the end, late and with pauses.
    ReadSlowly,
    /// It cancels its run.
    Cancel,
    /// It gives up its call.
    Drop,
    /// Its connection is closed, and all calls of it.
    Cut,
}

/// What a caller does.
#[derive(Clone, Copy)]
pub struct Plan {
    pub fate: Fate,
    /// After how many pieces of the answer it leaves. 1: while the model is silent.
    pub after: usize,
    /// How long it reads nothing, once the model goes on.
    pub late: Duration,
    /// How long it pauses now and then.
    pub pause: Duration,
    /// Whether somebody else tries to cancel the run first.
    pub is_attacked: bool,
}

/// Numbers for one purpose, always the same.
pub fn numbers(seed: u64, wave: usize, number: usize) -> Rng {
    // Neighbouring seeds give numbers that have nothing to do with each other only after the first.
    let mut rng = Rng::with_seed(seed ^ ((wave as u64) << 40) ^ ((number as u64) << 8));
    let _ = rng.u64(..);
    rng
}

/// Whether all runs over a connection are cut off, and when, once the model goes on.
pub fn cut(seed: u64, wave: usize, connection: usize) -> Option<Duration> {
    let mut rng = numbers(seed, wave, usize::MAX - connection);
    let is_cut = rng.usize(..10) == 0;
    is_cut.then(|| Duration::from_millis(rng.u64(..1500)))
}

impl Plan {
    /// The plan of a run, whose connection is cut or not.
    pub fn of(mut rng: Rng, is_cut: bool) -> Self {
        let fate = match rng.usize(..10) {
            _ if is_cut => Fate::Cut,
            0..4 => Fate::Read,
            4..6 => Fate::ReadSlowly,
            6..8 => Fate::Cancel,
            _ => Fate::Drop,
        };
        Self {
            fate,
            after: if rng.bool() { 1 } else { rng.usize(2..PIECES) },
            late: Duration::from_millis(rng.u64(..2000)),
            pause: Duration::from_millis(rng.u64(1..20)),
            is_attacked: rng.usize(..16) == 0,
        }
    }
}
