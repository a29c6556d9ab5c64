//! The files of a configuration, as one tree.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    problem::{Problem, join_key},
    yaml::{self, Key, Kind, Mark, Node, keep_first},
};

/// How the names of a configuration's files in a folder end.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];
/// What is wrong where there is no document, and so no key: what names the files.
const NAMED: &str = "--config";
/// Most likely the file is another one than was meant, or lost what it held on its way.
const EMPTY: &str = "the configuration is empty; it needs at least a model and an agent: \
                     `models: { MODEL: … }` and `agents: { NAME: { model: MODEL } }`";

/// What the files hold.
pub struct Files {
    /// The sections of all files that could be read.
    pub root: Node,
    /// Whether all files could be read.
    pub whole: bool,
    /// What is wrong so far.
    pub problems: Vec<Problem>,
}

/// Reads a file, or the files of a folder.
pub fn read(path: &Path) -> Files {
    let mut problems = Vec::new();
    let files = find(path, &mut problems);
    let read: Vec<_> = files.iter().map(|file| read_file(file, &mut problems)).collect();
    let whole = !files.is_empty() && read.iter().all(Option::is_some);
    let documents: Vec<_> = read.into_iter().flatten().flatten().collect();
    if whole && documents.iter().all(|document| matches!(document.kind, Kind::Null)) {
        problems.push(Mark::beginning(path).problem(".", EMPTY));
    }
    let sections = merge(documents.into_iter(), &mut problems);
    Files { root: Node { mark: Mark::beginning(path), kind: Kind::Mapping(sections) }, whole, problems }
}

/// The files of a configuration, sorted. Names that begin with a dot are passed over: Kubernetes keeps a mounted volume's
/// versions in such folders.
pub fn find(path: &Path, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let files = list(path).unwrap_or_else(|error| {
        problems.push(Mark::beginning(path).problem(NAMED, format!("the folder can't be read: {error}")));
        Vec::new()
    });
    if files.is_empty() && problems.is_empty() {
        problems.push(Mark::beginning(path).problem(NAMED, "the folder has no .yaml, .yml or .json file"));
    }
    files
}

fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        let named = path.extension().is_some_and(|end| EXTENSIONS.iter().any(|known| end == *known));
        if named && !hidden && !path.is_dir() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// A file's documents; `None` if it can't be read.
fn read_file(file: &Path, problems: &mut Vec<Problem>) -> Option<Vec<Node>> {
    let text = fs::read_to_string(file).map_err(|error| {
        problems.push(Mark::beginning(file).problem(NAMED, format!("the file can't be read: {error}")));
    });
    yaml::parse(file, &text.ok()?, problems).ok()
}

/// The sections of all documents. Two documents may have parts of one section, but not the same key in it.
fn merge(documents: impl Iterator<Item = Node>, problems: &mut Vec<Problem>) -> Vec<(Key, Node)> {
    let mut merged = Vec::<(Key, Node)>::new();
    for document in documents {
        let sections = match document.kind {
            Kind::Mapping(sections) => sections,
            Kind::Null => continue,
            _ => {
                problems.push(document.mark.problem(".", "expected a mapping of sections"));
                continue;
            }
        };
        for (key, mut section) in sections {
            // A section whose entries are all commented out.
            if matches!(section.kind, Kind::Null) {
                section.kind = Kind::Mapping(Vec::new());
            }
            let present = merged.iter_mut().find(|(present, _)| present.name == key.name);
            match (present, section) {
                (
                    Some((_, Node { kind: Kind::Mapping(all), .. })),
                    Node { kind: Kind::Mapping(more), .. },
                ) => {
                    all.extend(more);
                    keep_first(all, &join_key(".", &key.name), problems);
                }
                (_, section) => merged.push((key, section)),
            }
        }
    }
    keep_first(&mut merged, ".", problems);
    merged
}
