//! The page that says what passes: `docs/conformance.md`.

use std::{fmt::Write, fs, path::Path};

use serde_json::Value;

use crate::scenario::{Outcome, Scenario};

const PAGE: &str = "docs/conformance.md";
const SUITE: &str = "@modelcontextprotocol/conformance";

/// Writes the page. Says whether it was there already, and the same.
pub fn write(played: &[(Scenario, Outcome)]) -> bool {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = page(played);
    let current = fs::read_to_string(&file).is_ok_and(|before| before == page);
    if !current {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, page).unwrap();
        println!("{PAGE} was not up to date. It is now, and wants to be committed.");
    }
    current
}

fn page(played: &[(Scenario, Outcome)]) -> String {
    let packages: Value = serde_json::from_str(include_str!("package.json")).unwrap();
    let version = packages["dependencies"][SUITE].as_str().unwrap();
    let mut page = format!(
        "\
# Conformance to MCP

`make conformance` writes this page. It has the official suite, npm's `{SUITE}` {version},
play these scenarios with the service as the client: for each the suite starts a mock server, and a run over gRPC calls the
tools that the scenario names, else every tool that the server lists.

A check counts once, however often the suite made it; a warning is a failure. Skipped are checks of requests that the
service never sends, such as those for resources and prompts, and of capabilities that it does not declare.

| scenario | MCP | checks passed | failed | skipped |
|---|---|---|---|---|
"
    );
    for (scenario, Outcome { passed, failed, skipped }) in played {
        let (name, revision) = (scenario.name, scenario.revision());
        writeln!(page, "| `{name}` | {revision} | {passed} | {failed} | {skipped} |").unwrap();
    }
    page + "
Not played are the scenarios of interactive OAuth and of elicitation, for a service has no browser and asks nobody: the
server's challenge goes back to the caller, and elicitation is declined. Nor are those of extensions that the service does
not have: DPoP, workload identities, enterprise-managed authorization, skills.
"
}
