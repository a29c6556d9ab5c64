//! Numbers out of rounds.

use std::time::Duration;

/// The middle one; not a number where there is none.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The least and the most.
pub fn range(values: impl IntoIterator<Item = f64>) -> (f64, f64) {
    let least_and_most = |(least, most): (f64, f64), value: f64| (least.min(value), most.max(value));
    values.into_iter().fold((f64::NAN, f64::NAN), least_and_most)
}

/// In microseconds.
pub fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// In milliseconds.
pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
