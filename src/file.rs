//! Files that are replaced while the service runs, such as mounted secrets, and what is made of them.
//!
//! Who rotates a secret replaces its file: by renaming another over it, or, as Kubernetes does, by turning a symbolic
//! link above it. So a file is looked at by its path each time, and read again when what the path leads to has another
//! inode, time or size. A look is one `stat`; it happens at most once in [`LOOK_EVERY`].

use std::{
    fmt::Display,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use thiserror::Error;
use tracing::warn;

/// How long a value is used without looking at its files.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A value that is made of one file or of several that belong together, and made anew when one of them changes.
pub struct Watched<T, E>(Arc<Files<T, E>>);

struct Files<T, E> {
    paths: Vec<PathBuf>,
    make: Box<Make<T, E>>,
    state: Mutex<State<T>>,
}

type Make<T, E> = dyn Fn() -> Result<T, E> + Send + Sync;

struct State<T> {
    value: T,
    /// What the value was made of.
    versions: Versions,
    /// What gave no value, and was warned of.
    refused: Option<Versions>,
    /// When the files were looked at last; `None`: they are to be looked at now.
    looked: Option<Instant>,
}

/// Of each path; `None`: there is no file.
type Versions = Vec<Option<Version>>;

/// What tells one content of a path from another without reading it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Version {
    inode: u64,
    modified: (i64, i64),
    size: u64,
}

/// Why a file gives no value.
#[derive(Debug, Error)]
pub enum FileError<R> {
    /// It can't be read.
    #[error("the file can't be read: {0}")]
    Unreadable(#[from] io::Error),
    /// It is too large to be a value; the most that is read, in KiB.
    #[error("the file is over {0} KiB")]
    TooLarge(u64),
    /// Its content is no such value.
    #[error("in the file, {0}")]
    Refused(R),
}

/// Reads a file of at most `max_kib`, and makes a value of its content, less the white space at its end.
///
/// # Errors
/// The file gives no value.
pub fn read<T, R>(
    path: &Path,
    max_kib: u64,
    parse: impl Fn(&str) -> Result<T, R>,
) -> Result<T, FileError<R>> {
    if fs::metadata(path)?.size() > max_kib * 1024 {
        return Err(FileError::TooLarge(max_kib));
    }
    parse(fs::read_to_string(path)?.trim_end()).map_err(FileError::Refused)
}

impl<T: Clone, E: Display> Watched<T, E> {
    /// Makes the value for the first time; `make` reads the files at `paths`.
    ///
    /// # Errors
    /// They give no value.
    pub fn new(
        paths: Vec<PathBuf>,
        make: impl Fn() -> Result<T, E> + Send + Sync + 'static,
    ) -> Result<Self, E> {
        // The versions are taken first: a change while the files are read is then seen at the next look.
        let versions = versions(&paths);
        let value = make()?;
        let state = State { value, versions, refused: None, looked: Some(Instant::now()) };
        Ok(Self(Arc::new(Files { paths, make: Box::new(make), state: Mutex::new(state) })))
    }

    /// The value as of now. Files that give none any more leave the last value in use, and a warning is logged, once until
    /// they change again.
    pub fn current(&self) -> T {
        let mut state = self.0.state.lock();
        if state.looked.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY) {
            state.looked = Some(Instant::now());
            self.0.look_again(&mut state);
        }
        state.value.clone()
    }
}

impl<T, E> Watched<T, E> {
    /// Has the next call look at the files, however soon it comes.
    pub fn look_next_time(&self) {
        self.0.state.lock().looked = None;
    }

    /// Where the files are.
    pub fn paths(&self) -> &[PathBuf] {
        &self.0.paths
    }
}

impl<T, E> Clone for Watched<T, E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T, E: Display> Files<T, E> {
    fn look_again(&self, state: &mut State<T>) {
        let versions = versions(&self.paths);
        if versions == state.versions {
            return;
        }
        match (self.make)() {
            Ok(value) => (state.value, state.versions, state.refused) = (value, versions, None),
            Err(error) => {
                if state.refused.as_ref() != Some(&versions) {
                    let paths = self.paths.iter().map(|path| path.to_string_lossy());
                    let path = paths.collect::<Vec<_>>().join(", ");
                    warn!(path, %error, "A file gives no value; its last one is used on");
                }
                state.refused = Some(versions);
            }
        }
    }
}

fn versions(paths: &[PathBuf]) -> Versions {
    paths.iter().map(|path| fs::metadata(path).ok().map(|found| Version::of(&found))).collect()
}

impl Version {
    fn of(found: &fs::Metadata) -> Self {
        Self { inode: found.ino(), modified: (found.mtime(), found.mtime_nsec()), size: found.size() }
    }
}
