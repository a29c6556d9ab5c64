//! Loading a configuration again and again.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;

use super::{
    Config, Problem,
    decode::{At, Context},
    files,
    revision::Revision,
    versions::Versions,
};
use crate::{
    credential::{TokenSource, WeakTokenSource},
    egress::Egress,
};

/// Where a configuration is read from, each time that it changes.
pub struct Loader {
    path: PathBuf,
    environment: Box<Variables>,
    common: Common,
    looked: Mutex<Looked>,
}

type Variables = dyn Fn(&str) -> Option<String> + Send + Sync;

/// What came of loading: a configuration, or all that is wrong.
pub type Loaded = Result<Config, Vec<Problem>>;

/// What the configurations of one process share.
#[derive(Default)]
pub struct Common {
    /// The HTTP clients.
    pub egress: Arc<Egress>,
    tokens: Mutex<HashMap<Revision, WeakTokenSource>>,
}

/// What was read.
pub struct Read {
    /// The configuration as far as it is right.
    pub config: Config,
    /// All that is wrong, in the order of its places.
    pub problems: Vec<Problem>,
    /// The versions of the files.
    pub versions: Versions,
}

/// The files as they were seen.
#[derive(Default)]
struct Looked {
    /// When they were read.
    loaded: Versions,
    /// At the last look, where they were others than those.
    changed: Option<Versions>,
}

impl Loader {
    /// A loader of a configuration; see [`load`](super::load).
    pub fn new(path: PathBuf, environment: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        let environment = Box::new(environment);
        Self { path, environment, common: Common::default(), looked: Mutex::default() }
    }

    /// Reads the configuration as it is now. It shares connections with those that were read before, and tokens where their
    /// sources are the same. It reads files, and may take its time.
    ///
    /// # Errors
    /// All that is wrong, in the order of its places.
    pub fn load(&self) -> Loaded {
        let mut looked = self.looked.lock();
        let read = read(&self.path, &*self.environment, &self.common);
        *looked = Looked { loaded: read.versions.clone(), changed: None };
        read.loaded()
    }

    /// Reads the configuration if its files are not those that were read last, and are the same as at the last look: what
    /// changes is not read while it is being written.
    ///
    /// # Errors
    /// As with [`load`](Self::load).
    pub fn load_changed(&self) -> Option<Loaded> {
        let is_settled = {
            let mut looked = self.looked.lock();
            let now = looked.loaded.now(&self.path);
            let changed = (now != looked.loaded).then_some(now);
            let is_settled = changed.is_some() && changed == looked.changed;
            looked.changed = changed;
            is_settled
        };
        is_settled.then(|| self.load())
    }
}

impl Read {
    /// The configuration, if nothing is wrong with it.
    pub fn loaded(self) -> Loaded {
        if self.problems.is_empty() { Ok(self.config) } else { Err(self.problems) }
    }
}

impl Common {
    /// The source of this revision if there is one, as it may hold a token; else this one.
    pub fn token_source(&self, revision: Revision, new: TokenSource) -> TokenSource {
        let mut tokens = self.tokens.lock();
        if let Some(known) = tokens.get(&revision).and_then(WeakTokenSource::upgrade) {
            return known;
        }
        tokens.retain(|_, source| source.upgrade().is_some());
        tokens.insert(revision, new.downgrade());
        new
    }
}

/// Reads a configuration.
pub fn read(path: &Path, environment: &dyn Fn(&str) -> Option<String>, common: &Common) -> Read {
    let versions = Versions::of(path);
    let files = files::read(path);
    let context = Context::new(environment, common, files.problems, versions);
    let config = super::decode(&At::root(&context, &files.root), files.whole);
    let (problems, versions) = context.end();
    Read { config, problems, versions }
}
