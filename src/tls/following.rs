//! A TLS configuration that follows its files.

use std::sync::Arc;

use parking_lot::Mutex;
use rustls::{Error, RootCertStore, sign::CertifiedKey};
use tracing::warn;

use super::{Identity, Roots, pem};

/// A TLS configuration of this side or that, built anew when what it is made of has changed.
pub struct Following<C> {
    identity: Option<Identity>,
    roots: Option<Roots>,
    build: Build<C>,
    built: Mutex<(Parts, Arc<C>)>,
}

type Build<C> = fn(Parts) -> Result<C, Error>;

/// What a configuration is made of.
#[derive(Clone)]
pub struct Parts {
    /// Who this side is.
    pub identity: Option<Arc<CertifiedKey>>,
    /// Whom it believes.
    pub roots: Option<Arc<RootCertStore>>,
}

impl<C> Following<C> {
    /// Builds the configuration for the first time.
    ///
    /// # Errors
    /// It can't be built.
    pub fn new(identity: Option<Identity>, roots: Option<Roots>, build: Build<C>) -> Result<Self, Error> {
        let parts = Parts::of(identity.as_ref(), roots.as_ref());
        let config = Arc::new(build(parts.clone())?);
        parts.warn_of_time(identity.as_ref());
        Ok(Self { identity, roots, build, built: Mutex::new((parts, config)) })
    }

    /// The configuration as of now. Where none can be built any more, the last one is used on, and a warning is logged.
    pub fn current(&self) -> Arc<C> {
        let now = Parts::of(self.identity.as_ref(), self.roots.as_ref());
        let mut built = self.built.lock();
        if !built.0.are(&now) {
            match (self.build)(now.clone()) {
                Ok(config) => {
                    now.warn_of_time(self.identity.as_ref());
                    built.1 = Arc::new(config);
                }
                Err(error) => warn!(%error, "TLS can't be set up anew; it goes on as it was"),
            }
            built.0 = now;
        }
        built.1.clone()
    }
}

impl Parts {
    fn of(identity: Option<&Identity>, roots: Option<&Roots>) -> Self {
        Self { identity: identity.map(Identity::current), roots: roots.map(Roots::current) }
    }

    /// Whether they are the very same.
    fn are(&self, others: &Self) -> bool {
        same(&self.identity, &others.identity) && same(&self.roots, &others.roots)
    }

    fn warn_of_time(&self, identity: Option<&Identity>) {
        let leaf = self.identity.as_ref().and_then(|identity| identity.cert.first());
        if leaf.is_some_and(|leaf| !pem::is_timely(leaf)) {
            let path = identity.and_then(|identity| identity.0.paths().first());
            warn!(
                path = path.map(|path| path.display().to_string()),
                "A certificate is expired, or not valid yet; it is used all the same"
            );
        }
    }
}

fn same<T>(one: &Option<Arc<T>>, other: &Option<Arc<T>>) -> bool {
    one.as_ref().map(Arc::as_ptr) == other.as_ref().map(Arc::as_ptr)
}
