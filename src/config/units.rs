//! Durations and sizes.

use std::{ops::RangeInclusive, time::Duration};

use super::{decode::At, yaml::Kind};

/// The longest duration: a year. A deadline that far off is still one that clocks can hold.
const MAX_DURATION: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Units of time in milliseconds, the longest first.
const DURATIONS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
/// Units of size in bytes.
const SIZES: [(&str, u64); 4] = [("GiB", GIB), ("MiB", MIB), ("KiB", KIB), ("B", 1)];

/// 1024 bytes.
pub const KIB: u64 = 1024;
/// 1024 KiB.
pub const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

/// A duration above zero: `500ms`, `30s`, `1m30s`.
pub fn duration(at: &At<'_>) -> Option<Duration> {
    let duration = duration_or_zero(at)?;
    if duration.is_zero() {
        at.problem("the duration must be above zero");
        return None;
    }
    Some(duration)
}

/// A duration that may be zero: `0s`.
pub fn duration_or_zero(at: &At<'_>) -> Option<Duration> {
    let text = at.text_of("a duration such as 500ms, 30s or 1m30s")?;
    let Some(duration) = parse_duration(text) else {
        at.problem("expected a duration such as 500ms, 30s or 1m30s");
        return None;
    };
    if duration > MAX_DURATION {
        at.problem("the duration is over a year (8760h)");
        return None;
    }
    Some(duration)
}

/// A size in bytes: `64KiB`, `4MiB`, or the plain number.
pub fn size(at: &At<'_>, range: RangeInclusive<u64>) -> Option<usize> {
    let size = match &at.node().kind {
        Kind::Number(number) => number.as_u64(),
        Kind::Text(text) => parse_size(text),
        _ => None,
    };
    let (least, most) = (range.start() / KIB, range.end() / MIB);
    let Some(size) = size else {
        at.problem(format!("expected a size from {least}KiB to {most}MiB, or a number of bytes"));
        return None;
    };
    if !range.contains(&size) {
        at.problem(format!("the size must be from {least}KiB to {most}MiB"));
        return None;
    }
    usize::try_from(size).ok()
}

/// A duration of whole numbers with units, each unit once, the longest first: `500ms`, `30s`, `1m30s`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut units = DURATIONS.iter();
    let mut rest = text;
    let mut milliseconds = 0_u64;
    while !rest.is_empty() || text.is_empty() {
        let (number, unit, after) = take_number(rest)?;
        let (_, length) = units.find(|(name, _)| *name == unit)?;
        milliseconds = milliseconds.checked_add(number.checked_mul(*length)?)?;
        rest = after;
    }
    Some(Duration::from_millis(milliseconds))
}

fn parse_size(text: &str) -> Option<u64> {
    let (number, unit, rest) = take_number(text)?;
    let unit = if unit.is_empty() { "B" } else { unit };
    let (_, bytes) = SIZES.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*bytes).filter(|_| rest.is_empty())
}

/// A whole number, the letters after it, and what is left.
fn take_number(text: &str) -> Option<(u64, &str, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(letters);
    Some((number.parse().ok()?, unit, rest))
}

/// A duration as it would be written: in whole units, the longest first.
pub fn written_duration(duration: Duration) -> String {
    let mut rest = duration.as_millis();
    let mut written = String::new();
    for (unit, length) in DURATIONS {
        let count = rest / u128::from(length);
        rest %= u128::from(length);
        if count > 0 {
            written += &format!("{count}{unit}");
        }
    }
    written
}

/// A size as it would be written: in the largest unit that it is whole in.
pub fn written_size(size: usize) -> String {
    let whole = SIZES.iter().find_map(|(unit, bytes)| {
        let bytes = usize::try_from(*bytes).ok()?;
        size.is_multiple_of(bytes).then(|| format!("{}{unit}", size / bytes))
    });
    whole.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_parsed() {
        for (text, milliseconds) in [
            ("500ms", Some(500)),
            ("30s", Some(30_000)),
            ("10m", Some(600_000)),
            ("1h", Some(3_600_000)),
            ("1m30s", Some(90_000)),
            ("1h2m3s4ms", Some(3_723_004)),
            ("0s", Some(0)),
            ("", None),
            ("30", None),
            ("s", None),
            ("1.5s", None),
            ("-1s", None),
            ("+1s", None),
            ("1s ", None),
            (" 1s", None),
            ("1m 30s", None),
            ("30s1m", None),
            ("1s1s", None),
            ("1S", None),
            ("1d", None),
            ("18446744073709551615h", None),
            ("18446744073709551616ms", None),
        ] {
            assert_eq!(parse_duration(text), milliseconds.map(Duration::from_millis), "{text:?}");
        }
    }

    #[test]
    fn what_is_written_is_parsed_as_it_was() {
        for (milliseconds, text) in
            [(500, "500ms"), (90_000, "1m30s"), (3_600_000, "1h"), (3_723_004, "1h2m3s4ms")]
        {
            assert_eq!(written_duration(Duration::from_millis(milliseconds)), text);
        }
        for (bytes, text) in [(4 << 20, "4MiB"), (1 << 30, "1GiB"), (1536, "1536B"), (2048, "2KiB")] {
            assert_eq!(written_size(bytes), text);
        }
    }

    #[test]
    fn sizes_are_parsed() {
        for (text, bytes) in [
            ("64KiB", Some(65_536)),
            ("4MiB", Some(4_194_304)),
            ("1GiB", Some(1_073_741_824)),
            ("1024", Some(1024)),
            ("1024B", Some(1024)),
            ("", None),
            ("MiB", None),
            ("4MB", None),
            ("4mib", None),
            ("4 MiB", None),
            ("1.5MiB", None),
            ("1MiB1KiB", None),
            ("-1", None),
            ("18446744073709551615GiB", None),
        ] {
            assert_eq!(parse_size(text), bytes, "{text:?}");
        }
    }
}
