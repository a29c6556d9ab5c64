//! A value in a file, such as a mounted secret.

use std::{fmt::Display, path::PathBuf};

use crate::{
    file::{self, FileError, Watched},
    headers::{SecretValue, rules::Refusal},
};

/// The largest file that is read, in KiB: a value's limit and room for a line's end.
const MAX_FILE_KIB: u64 = 17;

/// A file whose content, less the white space at its end, is a value: a header's, or another that text is parsed to, with
/// what refuses it. It is read again when it changes.
pub struct FileSource<T = SecretValue, R = Refusal>(Watched<T, FileError<R>>);

impl FileSource {
    /// Reads the file of a header's value for the first time. The value is `prefix` and the file's content.
    ///
    /// # Errors
    /// The file gives no value.
    pub fn open(path: PathBuf, prefix: String) -> Result<Self, FileError<Refusal>> {
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
        Watched::new(vec![path.clone()], move || file::read(&path, MAX_FILE_KIB, &parse)).map(Self)
    }

    /// The value as of now. A file that gives none any more keeps its last value, and a warning is logged.
    pub fn current(&self) -> T {
        self.0.current()
    }
}

impl<T, R> FileSource<T, R> {
    /// Has the next call look at the file, however soon it comes.
    pub fn look_next_time(&self) {
        self.0.look_next_time();
    }
}

impl<T, R> Clone for FileSource<T, R> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

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
