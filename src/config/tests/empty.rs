//! Configurations without an agent: there would be nothing to serve.

use super::*;

/// What is said of files, `path` of which is the configuration.
fn said(files: &[(&str, &str)], path: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    }
    let loaded = load(&folder.path().join(path), &variable);
    shown_problems(&loaded.err().unwrap_or_default(), folder.path())
}

const NO_AGENT: &str = "agents: there is no agent, and so nothing to serve; add one: `agents: { NAME: { model: MODEL } }`, \
                        with MODEL one of `models`";

#[test]
fn a_configuration_without_an_agent_is_none() {
    for (text, line) in [
        ("", 1),
        ("# nothing\n", 1),
        ("---\n", 1),
        ("{}", 1),
        ("agents:\n", 1),
        ("limits: { run_timeout: 1s }\n", 1),
        ("mcp_servers:\nserver:\nagents: {}\n", 3),
    ] {
        assert_eq!(said(&[("c.yaml", text)], "c.yaml"), [format!("c.yaml:{line}:1: {NO_AGENT}")], "{text:?}");
    }
    let files = [("d/a.yaml", "limits: { run_timeout: 1s }"), ("d/b.yaml", "")];
    assert_eq!(said(&files, "d"), [format!("d:1:1: {NO_AGENT}")]);
}

#[test]
fn it_is_told_with_what_else_is_wrong() {
    assert_eq!(
        said(&[("c.yaml", "limits:\n  run_timeout: 1\n")], "c.yaml"),
        [
            format!("c.yaml:1:1: {NO_AGENT}"),
            "c.yaml:2:16: limits.run_timeout: expected a duration such as 500ms, 30s or 1m30s, found a number"
                .to_owned(),
        ]
    );
}

#[test]
fn it_is_not_told_where_agents_may_be_meant() {
    let model = "models: { m: { provider: scripted, script: [{ say: hi }] } }\n";
    let with = |agents: &str| said(&[("c.yaml", &format!("{model}{agents}"))], "c.yaml");
    assert!(said(&[("c.yaml", AGENT)], "c.yaml").is_empty());
    for (agents, problem) in [
        ("agents: [a]", "c.yaml:2:9: agents: expected a mapping, found a list"),
        ("agents: { a: { model: n } }", "c.yaml:2:23: agents.a.model: no such model; there are m"),
    ] {
        assert_eq!(with(agents), [problem]);
    }
    // A file that can't be read may have them.
    let broken = said(&[("d/a.yaml", model), ("d/b.yaml", "agents: [\n")], "d");
    assert!(broken.len() == 1 && broken[0].starts_with("d/b.yaml:2:1: agents[0]: "), "{broken:?}");
    assert_eq!(
        said(&[("d/b.txt", "")], "d"),
        ["d:1:1: --config: the folder has no .yaml, .yml or .json file"]
    );
}
