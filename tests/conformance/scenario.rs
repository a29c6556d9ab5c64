//! The suite's scenarios, and what comes of them.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use tempfile::TempDir;
use tokio::process::Command;

use crate::adapter::DONE;

/// Where the suite is installed; a Node.js that is new enough for it is in the same place.
const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.tools/conformance/node_modules/.bin");

/// The scenarios that must pass, each with the revisions of MCP that it is played in; one without is an extension's.
const SCENARIOS: [(&str, &[&str]); 12] = [
    ("initialize", &["2025-06-18", "2025-11-25"]),
    ("tools_call", &["2025-06-18", "2025-11-25", "2026-07-28"]),
    ("sse-retry", &["2025-11-25"]),
    ("request-metadata", &["2026-07-28"]),
    ("sep-2322-client-request-state", &["2026-07-28"]),
    ("http-standard-headers", &["2026-07-28"]),
    ("http-custom-headers", &["2026-07-28"]),
    ("http-invalid-tool-headers", &["2026-07-28"]),
    ("json-schema-ref-no-deref", &["2026-07-28"]),
    ("json-schema-2020-12-preservation", &["2025-11-25", "2026-07-28"]),
    ("auth/client-credentials-basic", &[]),
    ("auth/client-credentials-jwt", &[]),
];

/// A scenario in one revision.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub name: &'static str,
    /// `None`: the suite chooses it.
    revision: Option<&'static str>,
}

/// How a scenario ended. A check counts once, however often the suite made it: by its worst end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    pub passed: usize,
    /// Warnings are failures. So is a scenario that was not played, and an adapter that did not end well.
    pub failed: usize,
    /// Checks of what the client did not do.
    pub skipped: usize,
}

#[derive(Deserialize)]
struct Check {
    id: String,
    name: String,
    status: Status,
}

/// What a check said; a worse one is a greater one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Status {
    Info,
    Skipped,
    Success,
    Warning,
    Failure,
}

/// All scenarios, in their order.
pub fn all() -> impl Iterator<Item = Scenario> {
    SCENARIOS.into_iter().flat_map(|(name, revisions)| {
        let named = revisions.iter().map(|revision| Some(*revision));
        let chosen = revisions.is_empty().then_some(None);
        named.chain(chosen).map(move |revision| Scenario { name, revision })
    })
}

impl Scenario {
    /// Has the suite play it. What the suite says is printed if anything failed.
    pub async fn play(self) -> Outcome {
        let results = tempfile::tempdir().unwrap();
        let said = self.command(&results).output().await.expect("`make conformance` installs the suite");
        let folder = self.folder(&results);
        let mut outcome = folder.as_deref().and_then(outcome).unwrap_or_default();
        if !said.status.success() || !folder.is_some_and(|folder| adapter_ended_well(&folder)) {
            outcome.failed = outcome.failed.max(1);
        }
        let Outcome { passed, failed, skipped } = outcome;
        println!("{} ({}): {passed} passed, {failed} failed, {skipped} skipped", self.name, self.revision());
        if failed > 0 {
            println!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
        }
        outcome
    }

    /// The revision's name.
    pub fn revision(self) -> &'static str {
        self.revision.unwrap_or("extension")
    }

    fn command(self, results: &TempDir) -> Command {
        // The suite hands it to a shell.
        let adapter = format!("'{}'", env::current_exe().unwrap().display());
        let mut command = Command::new(Path::new(PROGRAMS).join("conformance"));
        command.env("PATH", path()).kill_on_drop(true);
        command
            .args(["client", "--command", &adapter, "--scenario", self.name, "--output-dir"])
            .arg(results.path());
        if let Some(revision) = self.revision {
            command.args(["--spec-version", revision]);
        }
        command
    }

    /// The folder that the suite left, `<scenario>-<time>`; `None`: it did not play.
    fn folder(self, results: &TempDir) -> Option<PathBuf> {
        let beside = results.path().join(self.name);
        Some(fs::read_dir(beside.parent()?).ok()?.next()?.ok()?.path())
    }
}

fn outcome(folder: &Path) -> Option<Outcome> {
    let checks = fs::read(folder.join("checks.json")).ok()?;
    let mut worst = BTreeMap::new();
    for check in serde_json::from_slice::<Vec<Check>>(&checks).unwrap() {
        let status = worst.entry((check.id, check.name)).or_insert(check.status);
        *status = check.status.max(*status);
    }
    let count = |of: &[Status]| worst.values().filter(|status| of.contains(status)).count();
    Some(Outcome {
        passed: count(&[Status::Success]),
        failed: count(&[Status::Warning, Status::Failure]),
        skipped: count(&[Status::Skipped]),
    })
}

fn adapter_ended_well(folder: &Path) -> bool {
    fs::read_to_string(folder.join("stdout.txt")).is_ok_and(|said| said.trim_end().ends_with(DONE))
}

/// The programs' own Node.js comes before any other.
fn path() -> OsString {
    let inherited = env::var_os("PATH").unwrap_or_default();
    env::join_paths([PROGRAMS.into()].into_iter().chain(env::split_paths(&inherited))).unwrap()
}
