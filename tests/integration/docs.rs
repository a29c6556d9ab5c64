//! What the documents say is so, as far as it can be held against the contract and the configuration.

use std::{fs, path::Path};

use prost::Message;
use prost_types::{DescriptorProto, FileDescriptorProto, FileDescriptorSet};
use runwright::{
    config,
    grpc::proto::{self, FILE_DESCRIPTOR_SET},
};
use serde_json::Value;

const CONFIGURATION: &str = "docs/configuration.md";
const MODELS: &str = "docs/models.md";
const RUNS: &str = "docs/runs.md";
const TELEMETRY: &str = "docs/telemetry.md";

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The fenced blocks of a language.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    page.split(fence.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// What is wrong with a configuration; every environment variable is set.
fn problems(yaml: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.yaml");
    fs::write(&path, yaml).unwrap();
    let problems = config::load(&path, &|_| Some("a-value".to_owned())).err().unwrap_or_default();
    let said = problems.iter().map(|problem| format!("{problem}\n"));
    // Files that an example reads are not here.
    said.filter(|line| !line.contains("No such file or directory")).collect()
}

/// The keys that a section's entry may have, which the refusal of another one lists.
fn keys(yaml: &str) -> Vec<String> {
    let said = problems(yaml);
    let line = said.lines().find(|line| line.contains("unknown key")).unwrap();
    line.split("; there are ").nth(1).unwrap().split(", ").map(str::to_owned).collect()
}

#[track_caller]
fn assert_names<'a>(page: &str, names: impl IntoIterator<Item = &'a str>) {
    let text = read(page);
    let missing: Vec<&str> = names.into_iter().filter(|name| !text.contains(&format!("`{name}"))).collect();
    assert!(missing.is_empty(), "{page} does not name {missing:?}");
}

fn files() -> Vec<FileDescriptorProto> {
    FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap().file
}

/// A message of the contract, by its whole name.
fn message(name: &str) -> DescriptorProto {
    let mut path = name.trim_start_matches(".runwright.v1.").split('.');
    let outer = path.next().unwrap();
    let messages = files().into_iter().filter(|file| file.package() == "runwright.v1");
    let found = messages.flat_map(|file| file.message_type).find(|message| message.name() == outer).unwrap();
    path.fold(found, |message, inner| {
        message.nested_type.into_iter().find(|nested| nested.name() == inner).unwrap()
    })
}

fn fields(message_name: &str) -> Vec<String> {
    message(message_name).field.iter().map(|field| field.name().to_owned()).collect()
}

/// Holds JSON against a message: each key is one of its fields.
fn assert_is(json: &Value, message_name: &str) {
    let message = message(message_name);
    for (key, value) in json.as_object().unwrap() {
        let field = message.field.iter().find(|field| [field.name(), field.json_name()].contains(&&**key));
        let field = field.unwrap_or_else(|| panic!("{message_name} has no field {key}"));
        let is_map = field.type_name().ends_with("Entry");
        let values: Vec<&Value> = match value {
            Value::Object(entries) if is_map => entries.values().collect(),
            Value::Array(items) => items.iter().collect(),
            one => vec![one],
        };
        let of = if is_map {
            let entry = self::message(field.type_name());
            entry.field.iter().find(|field| field.name() == "value").unwrap().type_name().to_owned()
        } else {
            field.type_name().to_owned()
        };
        let is_message = of.starts_with(".runwright.v1.");
        values
            .into_iter()
            .filter(|value| is_message && value.is_object())
            .for_each(|value| assert_is(value, &of));
    }
}

/// The message that a method takes.
fn input_of(service: &str, method: &str) -> String {
    let services = files().into_iter().flat_map(|file| file.service);
    let service = services.into_iter().find(|known| known.name() == service).unwrap();
    let method = service.method.iter().find(|known| known.name() == method);
    method.unwrap_or_else(|| panic!("no method {method:?}")).input_type().to_owned()
}

#[test]
fn their_configurations_are_valid() {
    for page in [MODELS, RUNS, TELEMETRY] {
        let text = read(page);
        // What is indented is a part of one.
        let whole = blocks(&text, "yaml").into_iter().filter(|yaml| !yaml.starts_with(' '));
        for yaml in whole {
            assert_eq!(problems(yaml), "", "{page}:\n{yaml}");
        }
    }
}

#[test]
fn every_key_of_models_and_agents_is_named() {
    let model = keys("models: { m: { zz: 1 } }");
    assert!(model.contains(&"base_url".to_owned()));
    assert_names(MODELS, model.iter().map(String::as_str));
    let agent = keys("agents: { a: { zz: 1 } }");
    let server = keys("agents: { a: { mcp_servers: [{ zz: 1 }] } }");
    assert!(agent.contains(&"model".to_owned()) && server.contains(&"approval".to_owned()));
    assert_names(CONFIGURATION, model.iter().chain(&agent).chain(&server).map(String::as_str));
}

#[test]
fn every_key_of_telemetry_and_every_attribute_is_named() {
    let section = keys("telemetry: { zz: 1 }");
    let otlp = keys("telemetry: { otlp: { zz: 1 } }");
    assert!(section.contains(&"sampling".to_owned()) && otlp.contains(&"endpoint".to_owned()));
    let text = read(TELEMETRY);
    let example = blocks(&text, "yaml").concat();
    let named = |key: &&String| example.contains(&format!("{key}:")) || text.contains(&format!("`{key}"));
    let missing: Vec<&String> = section.iter().chain(&otlp).filter(|key| !named(key)).collect();
    assert_eq!(missing, ["logs"], "what spans have nothing to do with is told elsewhere");
    assert_names(CONFIGURATION, section.iter().chain(&otlp).map(String::as_str));
    let names = read("src/trace/names.rs");
    let names = names.lines().filter(|line| line.starts_with("pub const"));
    assert_names(TELEMETRY, names.map(|line| line.split('"').nth(1).unwrap()));
}

#[test]
fn every_provider_is_named() {
    let said = problems("models: { m: { provider: zz } }");
    for provider in ["openai_chat", "openai_responses", "anthropic", "scripted"] {
        assert!(said.contains(provider), "{said}");
        assert_names(MODELS, [provider]);
        assert_names(CONFIGURATION, [provider]);
    }
}

#[test]
fn every_option_event_and_finish_reason_is_named() {
    assert_names(RUNS, fields("RunOptions").iter().map(String::as_str));
    let of_all = ["run_id", "sequence", "event_time", "turn"];
    let events = fields("RunEvent");
    assert_names(RUNS, events.iter().map(String::as_str).filter(|event| !of_all.contains(event)));
    let reasons = (1..).map_while(|number| proto::FinishReason::try_from(number).ok());
    let reasons: Vec<&str> = reasons.map(|reason| reason.as_str_name()).collect();
    assert_names(RUNS, reasons.iter().copied());
    let readme = read("README.md");
    for reason in reasons {
        let short = reason.trim_start_matches("FINISH_REASON_");
        assert!(readme.contains(&format!("`{short}`")), "{short}");
    }
}

#[test]
fn the_calls_that_they_show_are_calls_of_the_contract() {
    let mut calls = 0;
    for page in ["README.md", "docs/headers.md", MODELS, RUNS] {
        let text = read(page);
        for call in text.split("grpcurl -plaintext -d '").skip(1) {
            let (json, rest) = call.split_once('\'').unwrap();
            let method = rest.split_whitespace().nth(1).unwrap();
            let (service, method) = method.trim_start_matches("runwright.v1.").split_once('/').unwrap();
            let json = serde_json::from_str(json).unwrap_or_else(|error| panic!("{page}: {error}\n{json}"));
            assert_is(&json, &input_of(service, method));
            calls += 1;
        }
    }
    assert!(calls > 10, "{calls}");
    for (page, message) in [(MODELS, "RunRequest"), (RUNS, "RunResponse")] {
        for json in blocks(&read(page), "json") {
            assert_is(&serde_json::from_str(json).unwrap(), message);
        }
    }
}

#[test]
fn what_they_link_to_is_there() {
    for page in [
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "docs/architecture.md",
        "docs/upgrading.md",
        CONFIGURATION,
        "docs/headers.md",
        "docs/security.md",
        "docs/operations.md",
        "docs/grpcurl.md",
        MODELS,
        RUNS,
        TELEMETRY,
    ] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
        for link in read(page).split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if link.starts_with("https://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let file = if path.is_empty() { folder.clone() } else { folder.parent().unwrap().join(path) };
            assert!(file.exists(), "{page}: {link}");
            let there = || fs::read_to_string(&file).unwrap().lines().any(|line| slug(line) == anchor);
            assert!(anchor.is_empty() || there(), "{page}: {link}");
        }
    }
}

/// The anchor of a heading.
fn slug(line: &str) -> String {
    let heading = line.trim_start_matches('#').trim().to_lowercase();
    heading
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .collect::<String>()
        .replace(' ', "-")
}
