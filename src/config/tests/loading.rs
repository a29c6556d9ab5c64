//! Loading again: what counts as a change.

use std::os::unix::fs::symlink;

use super::*;
use crate::config::Loader;

/// A loader of a folder that has been loaded once.
fn loaded(files: &[(&str, &str)]) -> (tempfile::TempDir, Loader) {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    let loader = Loader::new(folder.path().to_owned(), variable);
    assert!(loader.load().is_ok());
    (folder, loader)
}

/// Whether two looks, after which a change has settled, come to a load.
fn is_changed(loader: &Loader) -> bool {
    assert!(loader.load_changed().is_none(), "not at the first look");
    let changed = loader.load_changed().is_some();
    assert!(loader.load_changed().is_none(), "not twice");
    changed
}

#[test]
fn files_that_are_the_same_are_not_loaded_again() {
    let (folder, loader) = loaded(&[("a.yaml", AGENT)]);
    assert!(!is_changed(&loader));
    fs::write(folder.path().join("notes.txt"), "no configuration").unwrap();
    fs::write(folder.path().join(".a.yaml.swp"), "nor this").unwrap();
    assert!(!is_changed(&loader));
}

#[test]
fn files_that_change_come_or_go_are_loaded_once() {
    let (folder, loader) = loaded(&[("a.yaml", AGENT)]);
    let (file, other) = (folder.path().join("a.yaml"), folder.path().join("b.yaml"));
    fs::write(&file, format!("{AGENT}# more\n")).unwrap();
    assert!(is_changed(&loader));
    fs::write(&other, "agents: { a: { model: m } }\n").unwrap();
    assert!(is_changed(&loader));
    fs::rename(&other, folder.path().join("c.yaml")).unwrap();
    assert!(is_changed(&loader));
    fs::remove_file(folder.path().join("c.yaml")).unwrap();
    assert!(is_changed(&loader));
    // Another file of the same size in its place.
    fs::write(folder.path().join("new"), format!("{AGENT}# less\n")).unwrap();
    fs::rename(folder.path().join("new"), &file).unwrap();
    assert!(is_changed(&loader));
}

#[test]
fn what_is_being_written_is_not_loaded_before_it_rests() {
    let (folder, loader) = loaded(&[("a.yaml", AGENT)]);
    for step in 1..5 {
        fs::write(folder.path().join("a.yaml"), format!("{AGENT}{}", "#".repeat(step))).unwrap();
        assert!(loader.load_changed().is_none(), "{step}");
    }
    assert!(loader.load_changed().is_some());
    // A change that is taken back was none.
    symlink("a.yaml", folder.path().join("b.yaml")).unwrap();
    assert!(loader.load_changed().is_none());
    fs::remove_file(folder.path().join("b.yaml")).unwrap();
    assert!(loader.load_changed().is_none() && loader.load_changed().is_none());
}

#[test]
fn files_that_the_configuration_is_made_of_count_and_those_of_secrets_do_not() {
    let agent = "agents: { a: { model: m, instructions: { file: prompt.txt } } }\n---\n";
    let server = "mcp_servers: { crm: { url: 'https://h/', headers: { x-key: { file: key } } } }\n";
    let yaml = format!("{agent}{AGENT}{server}");
    let (folder, loader) = loaded(&[("a.yaml", &yaml), ("prompt.txt", "Be kind."), ("key", "secret")]);
    fs::write(folder.path().join("key"), "another secret").unwrap();
    assert!(!is_changed(&loader), "it is read again by itself");
    fs::write(folder.path().join("prompt.txt"), "Be very kind.").unwrap();
    assert!(loader.load_changed().is_none());
    let config = loader.load_changed().unwrap().unwrap_or_else(|problems| panic!("{problems:#?}"));
    assert_eq!(&*config.agents["a"].instructions, "Be very kind.");
    fs::remove_file(folder.path().join("prompt.txt")).unwrap();
    assert!(loader.load_changed().is_none());
    assert!(loader.load_changed().unwrap().is_err());
    assert!(!is_changed(&loader), "what is broken is not loaded over and over");
    fs::write(folder.path().join("prompt.txt"), "Be kind.").unwrap();
    assert!(is_changed(&loader));
}

#[test]
fn revisions_are_the_same_for_what_means_the_same() {
    use std::sync::{Arc, Mutex};
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    let key = Arc::new(Mutex::new("one"));
    let read = key.clone();
    let loader = Loader::new(file.clone(), move |_| Some((*read.lock().unwrap()).to_owned()));
    let load = |server: &str| {
        fs::write(&file, format!("{AGENT}mcp_servers:\n  crm: {{ {server} }}\n")).unwrap();
        loader.load().unwrap_or_else(|problems| panic!("{problems:#?}")).revisions
    };
    let first = load("url: 'https://h/', headers: { a: { env: KEY } }");
    for (same, server) in [
        (true, "headers: { a: { env: KEY } }, # a comment\n    url: https://h/"),
        (false, "url: 'https://h/', headers: { a: { env: OTHER } }"),
        (false, "url: 'https://h/', headers: { a: one }"),
        (false, "url: 'https://i/', headers: { a: { env: KEY } }"),
        (false, "url: 'https://h/', headers: { a: { env: KEY } }, tools_ttl: 5m"),
        (false, "url: 'https://h/', headers: { a: { env: KEY }, c: x }"),
    ] {
        assert_eq!(load(server).same_mcp_server(&first, "crm"), same, "{server}");
    }
    *key.lock().unwrap() = "two";
    assert!(!load("url: 'https://h/', headers: { a: { env: KEY } }").same_mcp_server(&first, "crm"));
    assert!(!first.same_mcp_server(&first, "other") && !first.same_model(&first, "crm"));
}
