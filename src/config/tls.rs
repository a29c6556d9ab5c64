//! Certificates, keys and roots: `{ file: PATH }` each.

use std::{fmt::Display, path::PathBuf};

use super::{
    decode::{At, Fields},
    key::{Key, Required},
    source,
    yaml::Kind,
};
use crate::tls::{Identity, IdentityError, Roots};

/// The key of a certificate.
pub const CERTIFICATE: Key<Required> =
    Key::required("certificate", "The certificate that is shown, with the chain behind it, in PEM.");
/// The key of its private key.
pub const PRIVATE_KEY: Key<Required> =
    Key::required("key", "Its private key in PEM: PKCS #8, PKCS #1 or SEC 1, without a password.");
const WHAT: &str = "`{ file: PATH }`";

/// The `certificate` and the `key` of a mapping, which has both.
pub fn identity(fields: &Fields<'_>) -> Option<Identity> {
    match (fields.required(&CERTIFICATE, file), fields.required(&PRIVATE_KEY, file)) {
        (Some(certificate), Some(key)) => pair(&certificate, &key),
        // The one that there is may be no better.
        (certificate, key) => {
            certificate.and_then(|file| file.read(Identity::check_certificate(&file.path)));
            key.and_then(|file| file.read(Identity::check_key(&file.path)));
            None
        }
    }
}

/// Roots.
pub fn roots(at: &At<'_>) -> Option<Roots> {
    let file = file(at)?;
    file.read(Roots::open(file.path.clone()))
}

/// A file's path, and where it is said.
struct Named<'a> {
    at: At<'a>,
    path: PathBuf,
}

impl Named<'_> {
    /// What came of reading it.
    fn read<T>(&self, read: Result<T, impl Display>) -> Option<T> {
        read.map_err(|error| {
            // A good one is read again by itself; this one may be good at the next reload.
            self.at.context.note_read(&self.path);
            self.at.problem(format!("{:?}: {error}", self.path));
        })
        .ok()
    }
}

fn pair(certificate: &Named<'_>, key: &Named<'_>) -> Option<Identity> {
    match Identity::open(certificate.path.clone(), key.path.clone()) {
        Ok(identity) => Some(identity),
        Err(IdentityError::Certificate(error)) => certificate.read(Err(error)),
        Err(IdentityError::Key(error)) => key.read(Err(error)),
        Err(IdentityError::Both(error, of_key)) => {
            certificate.read::<Identity>(Err(error));
            key.read(Err(of_key))
        }
        Err(mismatch @ IdentityError::Mismatch) => {
            certificate.at.context.note_read(&certificate.path);
            key.read(Err(mismatch))
        }
    }
}

fn file<'a>(at: &At<'a>) -> Option<Named<'a>> {
    let Kind::Mapping(_) = at.node().kind else {
        at.expected(WHAT);
        return None;
    };
    let entries = at.entries();
    if !matches!(entries[..], [("file", _)]) {
        // Other keys are not shown: one may be a key's text that lacks its quotes.
        at.problem(format!("expected {WHAT}"));
    }
    let (_, at) = entries.into_iter().find(|(name, _)| *name == "file")?;
    source::path(&at).map(|path| Named { at, path })
}
