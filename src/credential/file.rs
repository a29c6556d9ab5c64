//! A value in a file, such as a mounted secret.
//!
//! Who rotates a secret replaces the file: by renaming another over it, or, as Kubernetes does, by turning a symbolic
//! link above it. So the file is looked at by its path each time, and read again when what the path leads to has
//! another inode, time or size. A look is one `stat`; it happens at most once in [`LOOK_EVERY`].

use std::{
    fmt::Display,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use thiserror::Error;
use tracing::warn;

use crate::headers::{SecretValue, rules::Refusal};

/// How long a value is used without looking at its file.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The largest file that is read, in bytes: a value's limit and room for a line's end.
const MAX_FILE_BYTES: u64 = 17 * 1024;

/// A file whose content, less the white space at its end, is a value: a header's, or another that text is parsed to, with
/// what refuses it.
pub struct FileSource<T = SecretValue, R = Refusal>(Arc<File<T, R>>);

struct File<T, R> {
    path: PathBuf,
    parse: Box<Parse<T, R>>,
    state: Mutex<State<T>>,
}

type Parse<T, R> = dyn Fn(&str) -> Result<T, R> + Send + Sync;

struct State<T> {
    value: T,
    version: Version,
    /// When the file was looked at last; `None`: it is to be looked at now.
    looked: Option<Instant>,
}

/// What tells one content of a path from another without reading it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Version {
    inode: u64,
    modified: (i64, i64),
    size: u64,
}

/// Why a file gives no value.
#[derive(Debug, Error)]
pub enum FileError<R = Refusal> {
    /// It can't be read.
    #[error("the file can't be read: {0}")]
    Unreadable(#[from] std::io::Error),
    /// It is too large to be a value.
    #[error("the file is over 17 KiB")]
    TooLarge,
    /// Its content is no such value.
    #[error("in the file, {0}")]
    Refused(R),
}

impl FileSource {
    /// Reads the file of a header's value for the first time. The value is `prefix` and the file's content.
    ///
    /// # Errors
    /// The file gives no value.
    pub fn open(path: PathBuf, prefix: String) -> Result<Self, FileError> {
        Self::open_as(path, move |content| {
            if content.is_empty() {
                return Err(Refusal::EmptyValue);
            }
            SecretValue::parse(&format!("{prefix}{content}"))
        })
    }
}

impl<T: Clone, R: Display> FileSource<T, R> {
    /// Reads a file for the first time; `parse` makes a value of its content.
    ///
    /// # Errors
    /// The file gives no value.
    pub fn open_as(
        path: PathBuf,
        parse: impl Fn(&str) -> Result<T, R> + Send + Sync + 'static,
    ) -> Result<Self, FileError<R>> {
        let (value, version) = read(&path, &parse)?;
        let state = Mutex::new(State { value, version, looked: Some(Instant::now()) });
        Ok(Self(Arc::new(File { path, parse: Box::new(parse), state })))
    }

    /// The value as of now. A file that gives none any more keeps its last value, and a warning is logged.
    pub fn current(&self) -> T {
        let mut state = self.0.state.lock();
        if state.looked.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY) {
            state.looked = Some(Instant::now());
            self.0.look_again(&mut state);
        }
        state.value.clone()
    }
}

impl<T, R> FileSource<T, R> {
    /// Has the next call look at the file, however soon it comes.
    pub fn look_next_time(&self) {
        self.0.state.lock().looked = None;
    }
}

impl<T, R> Clone for FileSource<T, R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T, R: Display> File<T, R> {
    fn look_again(&self, state: &mut State<T>) {
        let version = fs::metadata(&self.path).map(|found| Version::of(&found));
        if version.is_ok_and(|version| version == state.version) {
            return;
        }
        match read(&self.path, &*self.parse) {
            Ok((value, version)) => (state.value, state.version) = (value, version),
            Err(error) => {
                warn!(path = %self.path.display(), %error, "A secret's file gives no value; its last one is used on");
            }
        }
    }
}

impl Version {
    fn of(found: &fs::Metadata) -> Self {
        Self { inode: found.ino(), modified: (found.mtime(), found.mtime_nsec()), size: found.size() }
    }
}

fn read<T, R>(path: &Path, parse: &Parse<T, R>) -> Result<(T, Version), FileError<R>> {
    // The version is taken first: a change while the file is read is then seen at the next look.
    let found = fs::metadata(path)?;
    if found.size() > MAX_FILE_BYTES {
        return Err(FileError::TooLarge);
    }
    let content = fs::read_to_string(path)?;
    let value = parse(content.trim_end()).map_err(FileError::Refused)?;
    Ok((value, Version::of(&found)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looking(source: &FileSource) -> String {
        source.look_next_time();
        String::from_utf8(source.current().as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn a_replaced_file_gives_the_new_value() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "first\n").unwrap();
        let source = FileSource::open(path.clone(), "Bearer ".into()).unwrap();
        assert_eq!(looking(&source), "Bearer first");

        let next = folder.path().join("next");
        fs::write(&next, "second\n").unwrap();
        fs::rename(&next, &path).unwrap();
        assert_eq!(looking(&source), "Bearer second");
    }

    #[test]
    fn a_turned_symbolic_link_gives_the_new_value() {
        let folder = tempfile::tempdir().unwrap();
        for (version, token) in [("v1", "first"), ("v2", "other")] {
            fs::create_dir(folder.path().join(version)).unwrap();
            fs::write(folder.path().join(version).join("token"), token).unwrap();
        }
        let link = folder.path().join("data");
        std::os::unix::fs::symlink("v1", &link).unwrap();
        let source = FileSource::open(link.join("token"), String::new()).unwrap();
        assert_eq!(looking(&source), "first");

        std::os::unix::fs::symlink("v2", folder.path().join("swap")).unwrap();
        fs::rename(folder.path().join("swap"), &link).unwrap();
        assert_eq!(looking(&source), "other");
    }

    #[test]
    fn a_file_that_is_gone_keeps_its_last_value() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "kept").unwrap();
        let source = FileSource::open(path.clone(), String::new()).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(looking(&source), "kept");
    }

    #[test]
    fn a_file_may_hold_another_kind_of_value() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        let sum = |text: &str| text.lines().map(str::parse::<u32>).sum::<Result<u32, _>>();
        fs::write(&path, "1\n2\n").unwrap();
        let source = FileSource::open_as(path.clone(), sum).unwrap();
        assert_eq!(source.current(), 3);
        fs::write(&path, "nothing").unwrap();
        source.look_next_time();
        assert_eq!(source.current(), 3, "kept");
        fs::write(&path, "4\n55\n").unwrap();
        source.look_next_time();
        assert_eq!(source.current(), 59);
    }

    #[test]
    fn a_file_without_a_value_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        assert!(matches!(FileSource::open(path.clone(), String::new()), Err(FileError::Unreadable(_))));
        for (content, refusal) in [("\n", Refusal::EmptyValue), ("a\nb", Refusal::ValueCharacter)] {
            fs::write(&path, content).unwrap();
            let refused = FileSource::open(path.clone(), String::new()).err().unwrap();
            assert!(matches!(refused, FileError::Refused(why) if why == refusal), "{content:?}");
        }
    }
}
