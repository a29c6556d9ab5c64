//! What the README says is so.

use std::fs;

use runwright::{config, grpc::proto};

fn readme() -> String {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap()
}

#[test]
fn its_configuration_is_valid() {
    let readme = readme();
    let yaml = readme.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runwright.yaml");
    fs::write(&path, yaml).unwrap();
    let environment = |name: &str| (name == "OPENAI_API_KEY").then(|| "a-key".to_owned());
    let problems = config::load(&path, &environment).err().unwrap_or_default();
    assert!(
        problems.is_empty(),
        "{}",
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    );
}

#[test]
fn it_names_every_error_reason_and_no_other() {
    let readme = readme();
    let errors = readme.split("\n## Errors\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let mut told: Vec<&str> = errors
        .lines()
        .filter(|line| line.starts_with("| `"))
        .filter_map(|line| line.split('|').nth(1))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    let mut reasons: Vec<&str> = (1..)
        .map_while(|number| proto::ErrorReason::try_from(number).ok())
        .map(|reason| reason.as_str_name().trim_start_matches("ERROR_REASON_"))
        .collect();
    told.sort_unstable();
    reasons.sort_unstable();
    assert_eq!(told, reasons);
}

#[test]
fn the_files_that_it_names_are_there() {
    let readme = readme();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in
        readme.split(['`', '(', ')']).filter(|word| word.starts_with("src/") || word.starts_with("proto/"))
    {
        assert!(root.join(name).exists(), "{name}");
    }
}
