//! Versions of files: what tells whether one has changed, without reading it.
//!
//! They are looked at by their paths now and then. To watch them instead, as with inotify, would be quicker, and would miss
//! what network file systems do not tell, and what happens above a file: Kubernetes replaces a mounted configuration by
//! turning a symbolic link to a folder, and an editor by renaming a new file over the old one.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::files;

/// The versions of the files that a configuration was read from.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Versions(BTreeMap<PathBuf, Option<Version>>);

/// What tells one content of a path from another; it is of what the path leads to.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Version {
    device: u64,
    inode: u64,
    modified: (i64, i64),
    size: u64,
}

impl Versions {
    /// Those of the files of a configuration, as they are now.
    pub fn of(path: &Path) -> Self {
        let mut versions = Self::default();
        files::find(path, &mut Vec::new()).iter().for_each(|file| versions.note(file));
        versions
    }

    /// Adds the version of one more file, as it is now. Before it is read: so a change that comes between is seen.
    pub fn note(&mut self, file: &Path) {
        let found = fs::metadata(file).ok().map(|found| Version {
            device: found.dev(),
            inode: found.ino(),
            modified: (found.mtime(), found.mtime_nsec()),
            size: found.size(),
        });
        self.0.insert(file.to_owned(), found);
    }

    /// Those of the same files as they are now, and of those that have come.
    pub fn now(&self, path: &Path) -> Self {
        let mut versions = Self::of(path);
        self.0.keys().for_each(|file| versions.note(file));
        versions
    }
}
