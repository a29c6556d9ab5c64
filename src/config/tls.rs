//! Certificates, keys and roots: `{ file: PATH }` each.

use std::path::PathBuf;

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
    let (certificate, key) = (fields.required(&CERTIFICATE, file), fields.required(&PRIVATE_KEY, file));
    let ((certificate_at, certificate), (key_at, key)) = (certificate?, key?);
    let opened = Identity::open(certificate.clone(), key.clone());
    opened
        .map_err(|error| {
            // Good ones are read again by themselves; these may be good at the next reload.
            certificate_at.context.note_read(&certificate);
            key_at.context.note_read(&key);
            let of_certificate = |error| certificate_at.problem(format!("{certificate:?}: {error}"));
            let of_key = |error: String| key_at.problem(format!("{key:?}: {error}"));
            match error {
                IdentityError::Certificate(error) => of_certificate(error),
                IdentityError::Key(error) => of_key(error.to_string()),
                IdentityError::Both(certificate, key) => {
                    of_certificate(certificate);
                    of_key(key.to_string());
                }
                mismatch @ IdentityError::Mismatch => of_key(mismatch.to_string()),
            }
        })
        .ok()
}

/// Roots.
pub fn roots(at: &At<'_>) -> Option<Roots> {
    let (at, path) = file(at)?;
    let opened = Roots::open(path.clone()).map_err(|error| {
        at.context.note_read(&path);
        at.problem(format!("{path:?}: {error}"));
    });
    opened.ok()
}

/// A file's path, and where it is said.
fn file<'a>(at: &At<'a>) -> Option<(At<'a>, PathBuf)> {
    let Kind::Mapping(_) = at.node().kind else {
        at.expected(WHAT);
        return None;
    };
    match &at.entries()[..] {
        [("file", at)] => source::path(at).map(|path| (at.clone(), path)),
        // Other keys are not shown: one may be a key's text that lacks its quotes.
        _ => {
            at.problem(format!("expected {WHAT}"));
            None
        }
    }
}
