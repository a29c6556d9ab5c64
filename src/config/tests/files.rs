use std::os::unix::fs::symlink;

use super::{refused::assert_problems, *};

#[test]
fn a_folder_is_one_configuration() {
    let config = load_in(
        &[
            ("d/a.yaml", "agents: { one: { model: m } }\nserver: { listen: 127.0.0.1:1 }\n"),
            ("d/b.yml", "agents: { two: { model: m } }\nserver: { admin_listen: 127.0.0.1:2 }\n"),
            (
                "d/c.json",
                "{\"models\": {\"m\": {\"provider\": \"scripted\", \"script\": [{\"say\": \"hi\"}]}}}",
            ),
            ("d/empty.yaml", "# nothing yet\n"),
            ("d/section.yaml", "agents:\n"),
            ("d/notes.txt", "no: configuration"),
            ("d/.hidden.yaml", "no: configuration"),
            ("d/sub/e.yaml", "no: configuration"),
            ("d/folder.yaml/e.yaml", "no: configuration"),
        ],
        "d",
    );
    let config = config.unwrap_or_else(|problems| panic!("{problems:#?}"));
    assert_eq!(config.agents.keys().collect::<Vec<_>>(), ["one", "two"]);
    assert_eq!(config.server.listen.port(), 1);
    assert_eq!(config.server.admin_listen.port(), 2);
}

#[test]
fn an_empty_configuration_is_none() {
    let said = "the configuration is empty; it needs at least a model and an agent: `models: { MODEL: … }` and \
                `agents: { NAME: { model: MODEL } }`";
    for text in ["", "# nothing\n", "---\n", "---\n---\n"] {
        assert_problems(text, &[&format!("c.yaml:1:1: .: {said}")]);
    }
    let problems = load_in(&[("d/a.yaml", "# nothing"), ("d/b.yaml", "")], "d").err().unwrap();
    assert_eq!(problems, [format!("d:1:1: .: {said}")]);
    // One that can't be read may hold all that there is.
    let problems = load_in(&[("d/a.yaml", "# nothing"), ("d/b.yaml", "agents: [\n")], "d").err().unwrap();
    assert!(problems.len() == 1 && problems[0].starts_with("d/b.yaml:"), "{problems:?}");
}

#[test]
fn a_mounted_config_map_is_read_once() {
    let folder = tempfile::tempdir().unwrap();
    let version = folder.path().join("..2026_01_01");
    fs::create_dir(&version).unwrap();
    fs::write(version.join("a.yaml"), "server: { listen: 127.0.0.1:3 }").unwrap();
    symlink("..2026_01_01", folder.path().join("..data")).unwrap();
    symlink("..data/a.yaml", folder.path().join("a.yaml")).unwrap();
    let config = load_path(folder.path(), folder.path()).unwrap_or_else(|problems| panic!("{problems:#?}"));
    assert_eq!(config.server.listen.port(), 3);
}

#[test]
fn documents_of_one_file_are_merged_too() {
    let config = good("server: { listen: 127.0.0.1:4 }\n---\nserver: { admin_listen: 127.0.0.1:5 }\n");
    assert_eq!((config.server.listen.port(), config.server.admin_listen.port()), (4, 5));
}

#[test]
fn the_same_key_twice_names_both_places() {
    let loaded = load_in(
        &[
            ("d/a.yaml", "server: { listen: 127.0.0.1:1 }\nmcp_servers:\n  crm: { url: 'https://h/' }\n"),
            ("d/b.yaml", "mcp_servers:\n  crm: { url: 'https://i/' }\nserver: { listen: 127.0.0.1:1 }\n"),
            ("d/c.yaml", "mcp_servers:\n  new: { url: 'https://j/', url: 'https://k/' }\nserver: 1\n"),
            ("d/d.yaml", "limits:\n  run_timeout: 1s\nlimits:\n  run_timeout: 2s\n"),
        ],
        "d",
    );
    assert_eq!(
        problems(loaded),
        [
            "d/b.yaml:2:3: mcp_servers.crm: the key stands twice; first at d/a.yaml:3:3",
            "d/b.yaml:3:11: server.listen: the key stands twice; first at d/a.yaml:1:11",
            "d/c.yaml:2:29: mcp_servers.new.url: the key stands twice; first at d/c.yaml:2:10",
            "d/c.yaml:3:1: server: the key stands twice; first at d/a.yaml:1:1",
            "d/d.yaml:3:1: limits: the key stands twice; first at d/d.yaml:1:1",
        ]
    );
}

#[test]
fn a_file_that_is_no_yaml_leaves_the_others() {
    let loaded = load_in(
        &[
            ("d/a.yaml", "models:\n  m: { provider: scripted\nmcp_servers: }\n"),
            ("d/b.yaml", "agents: { a: { model: m, mcp_servers: [crm], max_turns: 0 } }\n"),
            ("d/c.yaml", "- a list\n"),
        ],
        "d",
    );
    assert_eq!(
        problems(loaded),
        [
            "d/a.yaml:3:12: models.m: while parsing a flow mapping, did not find expected ',' or '}'",
            "d/b.yaml:1:57: agents.a.max_turns: expected a whole number from 1 to 1000000",
            "d/c.yaml:1:1: .: expected a mapping of sections",
        ],
        "and nothing of names that may stand in what could not be read"
    );
}

#[test]
fn what_can_not_be_read_is_named() {
    let missing = "the file can't be read: No such file or directory (os error 2)";
    assert_eq!(problems(load_in(&[], "none.yaml")), [format!("none.yaml:1:1: --config: {missing}")]);
    assert_eq!(
        problems(load_in(&[("d/.a.yaml", ""), ("d/b.txt", "")], "d")),
        ["d:1:1: --config: the folder has no .yaml, .yml or .json file"]
    );

    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), b"server: \xff").unwrap();
    symlink("nowhere", folder.path().join("b.yaml")).unwrap();
    assert_eq!(
        problems(load_path(folder.path(), folder.path())),
        [
            "a.yaml:1:1: --config: the file can't be read: stream did not contain valid UTF-8",
            &format!("b.yaml:1:1: --config: {missing}"),
        ]
    );
}

#[test]
fn nesting_and_aliases_are_bounded() {
    let blocks = format!("agents:\n{}", "- ".repeat(100_000));
    let path = format!("agents{}", "[0]".repeat(63));
    let message = "lists and mappings stand over 64 deep in each other";
    assert_eq!(problems(load_text(&blocks)), [format!("c.yaml:2:127: {path}: {message}")]);
    let aliases =
        format!("a: &a {}0{}\nb: {}*a{}\n", "[".repeat(40), "]".repeat(40), "[".repeat(24), "]".repeat(24));
    assert_eq!(problems(load_text(&aliases)), [format!("c.yaml:2:28: b{}: {message}", "[0]".repeat(24))]);

    let mut laughs = "x0: &x0 [ha, ha, ha, ha, ha, ha, ha, ha, ha, ha]\n".to_owned();
    for level in 1..10 {
        let before = format!("*x{}, ", level - 1).repeat(10);
        laughs += &format!("x{level}: &x{level} [{before}]\n");
    }
    assert_eq!(problems(load_text(&laughs)), ["c.yaml:6:45: x5[7]: the file has over 1000000 nodes"]);
}

#[test]
fn tabs_are_placed_where_they_stand() {
    for (text, place) in [
        ("server:\n\tlisten: 127.0.0.1:1\n", "2:1: server"),
        ("server:\n  listen: 127.0.0.1:1\n\tadmin_listen: 127.0.0.1:2\n", "3:1: server.listen"),
        ("server:\n  listen: 127.0.0.1:1\n  \tadmin_listen: 127.0.0.1:2\n", "3:3: server.listen"),
        ("agents:\n  a:\n    model: m\ty\n\t\n    \t# b\n\t\tmax_turns: 3\n", "6:1: agents.a.model"),
        ("agents:\n  a:\n    instructions: |\n\thello\n", "4:1: agents.a.instructions"),
        ("agents:\n  a:\n    instructions: \"a\n  \thello\"\n", "4:3: agents.a.instructions"),
        ("agents:\n  a: {\n\tmodel: m }\n", "3:1: agents.a"),
    ] {
        assert_problems(text, &[&format!("c.yaml:{place}: a tab can't indent in YAML; use spaces")]);
    }
    assert!(load_text("server: {\tlisten: 127.0.0.1:1\t}\t# c\n").is_ok());
}
