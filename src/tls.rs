//! Certificates, keys and roots in PEM files, and TLS configurations that follow these files.
//!
//! A certificate and its key are two files that seldom change at the same instant. They are one value, which is made anew
//! when either changes; while they do not fit each other, the last pair is used on. A configuration is built anew when
//! what it is made of is another: connections that are open keep theirs, and new ones get the new one. Sessions that can
//! be resumed belong to a configuration, so that none outlives the roots that it was checked against.

use std::{
    hash::{Hash, Hasher},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{RootCertStore, crypto::CryptoProvider, sign::CertifiedKey};
use thiserror::Error;

use crate::file::{self, FileError, Watched};

mod following;
mod pem;
#[cfg(test)]
pub mod tests;

pub use following::{Following, Parts};
pub use pem::Unusable;

/// The largest file, in KiB. A platform's whole bundle of roots has some 250.
const MAX_FILE_KIB: u64 = 1024;

/// A certificate with its chain, and its key.
#[derive(Clone)]
pub struct Identity(Watched<Arc<CertifiedKey>, IdentityError>);

/// The roots that certificates are checked against.
#[derive(Clone)]
pub struct Roots(Watched<Arc<RootCertStore>, FileError<Unusable>>);

/// Why there is no [`Identity`].
#[derive(Debug, Error)]
pub enum IdentityError {
    /// The certificate's file gives none.
    #[error("the certificate: {0}")]
    Certificate(FileError<Unusable>),
    /// The key's file gives none.
    #[error("the key: {0}")]
    Key(FileError<Unusable>),
    /// Neither file gives one.
    #[error("the certificate: {0}; the key: {1}")]
    Both(FileError<Unusable>, FileError<Unusable>),
    /// They are of different pairs.
    #[error("the key does not fit the certificate")]
    Mismatch,
}

impl Identity {
    /// Reads a certificate, with the chain to its root behind it, and its key: PKCS #8, PKCS #1 or SEC 1. It may be the
    /// same file. They are read again when they change.
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub fn open(certificate: PathBuf, key: PathBuf) -> Result<Self, IdentityError> {
        let paths = vec![certificate.clone(), key.clone()];
        let make = move || {
            let chain = file::read(&certificate, MAX_FILE_KIB, pem::chain);
            let key = file::read(&key, MAX_FILE_KIB, pem::key);
            match (chain, key) {
                (Ok(chain), Ok(key)) => pem::pair(chain, key).map(Arc::new).ok_or(IdentityError::Mismatch),
                (Err(certificate), Ok(_)) => Err(IdentityError::Certificate(certificate)),
                (Ok(_), Err(key)) => Err(IdentityError::Key(key)),
                (Err(certificate), Err(key)) => Err(IdentityError::Both(certificate, key)),
            }
        };
        Watched::new(paths, make).map(Self)
    }

    /// Whether a file has a certificate, where there is no key to open it with.
    ///
    /// # Errors
    /// The file gives none.
    pub fn check_certificate(path: &Path) -> Result<(), FileError<Unusable>> {
        file::read(path, MAX_FILE_KIB, pem::chain).map(drop)
    }

    /// Whether a file has a key, where there is no certificate to open it with.
    ///
    /// # Errors
    /// The file gives none.
    pub fn check_key(path: &Path) -> Result<(), FileError<Unusable>> {
        file::read(path, MAX_FILE_KIB, pem::key).map(drop)
    }

    fn current(&self) -> Arc<CertifiedKey> {
        self.0.current()
    }
}

impl Roots {
    /// Reads roots: one certificate or several. They are read again when they change.
    ///
    /// # Errors
    /// The file gives none.
    pub fn open(path: PathBuf) -> Result<Self, FileError<Unusable>> {
        let make = {
            let path = path.clone();
            move || file::read(&path, MAX_FILE_KIB, pem::roots).map(Arc::new)
        };
        Watched::new(vec![path], make).map(Self)
    }

    fn current(&self) -> Arc<RootCertStore> {
        self.0.current()
    }
}

/// The cryptography of all TLS here.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Two are equal where they come from the same files.
impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.0.paths() == other.0.paths()
    }
}

impl Eq for Identity {}

impl Hash for Identity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.paths().hash(state);
    }
}

/// Two are equal where they come from the same file.
impl PartialEq for Roots {
    fn eq(&self, other: &Self) -> bool {
        self.0.paths() == other.0.paths()
    }
}

impl Eq for Roots {}

impl Hash for Roots {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.paths().hash(state);
    }
}
