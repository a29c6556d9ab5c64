//! The layers of DESIGN hold: nothing points up, and each foreign library is known to its own layer alone.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A module, and what may not stand in it.
const RULES: [(&str, &[&str]); 27] = [
    (
        "run",
        &[
            "tonic",
            "hyper_util",
            "rmcp",
            "axum",
            "crate::grpc",
            "crate::server",
            "crate::config",
            "crate::app",
        ],
    ),
    (
        "mcp",
        &[
            "tonic",
            "hyper_util",
            "axum",
            "crate::run",
            "crate::model",
            "crate::grpc",
            "crate::server",
            "crate::config",
        ],
    ),
    (
        "model",
        &[
            "tonic",
            "hyper_util",
            "rmcp",
            "axum",
            "crate::run",
            "crate::mcp",
            "crate::grpc",
            "crate::server",
            "crate::config",
        ],
    ),
    (
        "grpc",
        &["hyper_util", "rmcp", "axum", "crate::server", "crate::config", "crate::app", "crate::egress"],
    ),
    (
        "server",
        &[
            "hyper_util::client",
            "rmcp",
            "crate::config",
            "crate::app",
            "crate::mcp",
            "crate::model",
            "crate::egress",
        ],
    ),
    (
        "telemetry",
        &["tonic", "hyper_util", "rmcp", "crate::run", "crate::mcp", "crate::grpc", "crate::server"],
    ),
    ("config", &["tonic", "hyper_util", "rmcp", "crate::grpc", "crate::app"]),
    ("headers", &["tonic", "hyper_util", "rmcp", "tokio", "crate::run", "crate::mcp", "crate::credential"]),
    ("message", &["tonic", "hyper_util", "rmcp", "tokio", "crate::"]),
    (
        "tool",
        &["tonic", "hyper_util", "rmcp", "tokio", "crate::run", "crate::mcp", "crate::model", "crate::grpc"],
    ),
    ("settings", &["tonic", "hyper_util", "rmcp", "tokio", "crate::run", "crate::mcp", "crate::model"]),
    ("event", &["tonic", "hyper_util", "rmcp", "tokio", "crate::run", "crate::mcp", "crate::grpc"]),
    ("agent", &["tonic", "hyper_util", "rmcp", "tokio", "crate::run", "crate::mcp", "crate::model"]),
    ("id", &["tonic", "hyper_util", "rmcp", "tokio", "crate::"]),
    (
        "credential",
        &[
            "tonic",
            "hyper_util",
            "rmcp",
            "axum",
            "crate::run",
            "crate::mcp",
            "crate::model",
            "crate::grpc",
            "crate::server",
            "crate::config",
        ],
    ),
    ("trace", &["tonic", "hyper_util", "rmcp", "crate::run", "crate::mcp", "crate::model", "crate::grpc"]),
    ("egress", &["tonic", "rmcp", "crate::run", "crate::mcp", "crate::model", "crate::headers"]),
    ("cli", &["tonic", "hyper_util", "rmcp", "crate::grpc", "crate::run", "crate::mcp", "crate::model"]),
    ("app", &["tonic", "rmcp", "axum", "crate::cli", "crate::grpc"]),
    (
        "health",
        &[
            "hyper_util",
            "rmcp",
            "axum",
            "crate::run",
            "crate::mcp",
            "crate::model",
            "crate::grpc",
            "crate::server",
            "crate::config",
            "crate::app",
        ],
    ),
    ("reload", &["tonic", "hyper_util", "rmcp", "axum", "crate::"]),
    ("file", &["tonic", "hyper_util", "rmcp", "axum", "tokio", "crate::"]),
    (
        "tls",
        &[
            "tonic",
            "hyper_util",
            "rmcp",
            "axum",
            "tokio",
            "crate::run",
            "crate::mcp",
            "crate::model",
            "crate::grpc",
            "crate::server",
            "crate::config",
            "crate::credential",
            "crate::egress",
            "crate::headers",
        ],
    ),
    ("schema", &["tonic", "hyper_util", "rmcp", "axum", "tokio", "crate::"]),
    ("scrub", &["tonic", "hyper_util", "rmcp", "axum", "tokio", "crate::"]),
    (
        "metrics",
        &["tonic", "hyper_util", "rmcp", "axum", "tokio", "opentelemetry_sdk", "prometheus", "crate::"],
    ),
    ("sse", &["tonic", "hyper_util", "rmcp", "axum", "tokio", "crate::"]),
];

/// A file, and what may stand in it all the same.
const EXCEPTIONS: [(&str, &str); 1] = [
    // The exporter's gRPC is tonic's, and its channel has to be made.
    ("src/telemetry/otlp/grpc.rs", "tonic"),
];

#[test]
fn no_module_knows_what_is_above_it_or_beside_it() {
    let mut broken = Vec::new();
    for (module, forbidden) in RULES {
        for file in files(module) {
            let text = fs::read_to_string(&file).unwrap();
            for (number, line) in served(&text).lines().enumerate() {
                let line = line.trim_start();
                if line.starts_with("//") {
                    continue;
                }
                let line = &without_strings(line);
                let excepted = |name: &str| {
                    EXCEPTIONS.iter().any(|(path, allowed)| file.ends_with(path) && *allowed == name)
                };
                for name in forbidden.iter().filter(|name| names(line, name) && !excepted(name)) {
                    broken.push(format!("{}:{}: `{name}` in `{module}`", file.display(), number + 1));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_rules_can_fail() {
    let declared = served("mod a;\n#[cfg(test)]\nmod tests;\n\nuse tonic::Status;\n");
    assert!(declared.contains("tonic"), "tests in another file end nothing");
    assert!(!served("mod a;\n\n#[cfg(test)]\nmod tests {\n    use tonic::Status;\n}\n").contains("tonic"));
    assert!(names("use tonic::Status;", "tonic"));
    assert!(names("    run::{Error, rmcp::model},", "rmcp"));
    assert!(!names("let tonic_like = 1;", "tonic"));
    assert!(names("use crate::mcp::Servers;", "crate::mcp"));
}

#[test]
fn adapters_of_models_do_not_know_each_other() {
    let adapters = ["anthropic", "openai_chat", "openai_responses", "scripted"];
    for adapter in adapters {
        for file in files(&format!("model/{adapter}")) {
            let text = fs::read_to_string(&file).unwrap();
            for other in adapters.iter().filter(|other| **other != adapter) {
                assert!(!text.contains(other), "{} names {other}", file.display());
            }
        }
    }
}

/// What of a file is in the service: all before its tests, which stand last.
fn served(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap()
}

/// Whether a line of code names a crate or a module's path.
fn names(line: &str, name: &str) -> bool {
    let boundary = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(name).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + name.len()..].chars().next();
        boundary(before) && (name.ends_with("::") || boundary(after))
    })
}

/// A line without what stands in quotes.
fn without_strings(line: &str) -> String {
    line.split('"').step_by(2).collect()
}

/// A module's file, and all files in its folder.
fn files(module: &str) -> Vec<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = vec![source.join(format!("{module}.rs"))];
    let mut folders = vec![source.join(module)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("tests") {
                folders.push(path);
            } else if path.is_file() && !path.ends_with("tests.rs") {
                found.push(path);
            }
        }
    }
    found
}
