//! One version: what is built, what the changelog tells, and what the chart installs.

use std::{fs, path::Path};

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The headings of Keep a Changelog 1.1.0.
const KINDS: [&str; 6] = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"];

fn read(name: &str) -> Option<String> {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).ok()
}

/// The headings of a level.
fn headings<'a>(text: &'a str, level: &str) -> Vec<&'a str> {
    text.lines().filter_map(|line| line.strip_prefix(level)?.strip_prefix(' ')).collect()
}

/// The release of a heading, such as `[0.1.0] - 2026-11-21`: its version and its date.
fn release(heading: &str) -> (Vec<u32>, &str) {
    let (version, date) = heading.split_once(" - ").unwrap_or_else(|| panic!("no date: {heading}"));
    let version = version.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let version = version.unwrap_or_else(|| panic!("no version in brackets: {heading}"));
    let is_date = date.len() == 10
        && date.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    assert!(is_date, "no date: {heading}");
    (version.split('.').map(|part| part.parse().unwrap()).collect(), date)
}

#[test]
fn the_newest_release_of_the_changelog_is_what_is_built() {
    let changelog = read("CHANGELOG.md").unwrap();
    let headings = headings(&changelog, "##");
    assert_eq!(headings.first(), Some(&"[Unreleased]"));
    let releases: Vec<_> = headings[1..].iter().map(|heading| release(heading)).collect();
    let built: Vec<u32> = VERSION.split('.').map(|part| part.parse().unwrap()).collect();
    assert_eq!(releases.first().map(|(version, _)| version), Some(&built));
    assert!(releases.is_sorted_by(|newer, older| newer.0 > older.0 && newer.1 >= older.1), "{releases:?}");
}

#[test]
fn the_changelog_has_the_kinds_of_changes_that_there_are() {
    for kind in headings(&read("CHANGELOG.md").unwrap(), "###") {
        assert!(KINDS.contains(&kind), "{kind} is none of {KINDS:?}");
    }
}

#[test]
fn the_chart_installs_what_is_built() {
    let Some(chart) = read("helm/runwright/Chart.yaml") else { return };
    for key in ["version", "appVersion"] {
        let value = chart.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        assert_eq!(value.map(|value| value.trim().trim_matches('"')), Some(VERSION), "{key}");
    }
}
