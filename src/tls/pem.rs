//! What PEM texts hold.

use std::sync::Arc;

use rustls::{
    CertificateError, Error, InconsistentKeys, RootCertStore,
    client::verify_server_cert_signed_by_trust_anchor,
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    server::ParsedCertificate,
    sign::{CertifiedKey, SigningKey},
};
use thiserror::Error as ThisError;

use super::provider;

/// Why a PEM text is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ThisError)]
pub enum Unusable {
    /// It breaks off, or is damaged.
    #[error("the PEM is broken")]
    NotPem,
    /// It has none.
    #[error("there is no certificate in PEM")]
    NoCertificate,
    /// It is no X.509 certificate of version 3.
    #[error("a certificate is damaged or of an unknown form")]
    Certificate,
    /// It has none, or one under a password.
    #[error("there is no private key in PEM: PKCS #8, PKCS #1 or SEC 1, without a password")]
    NoKey,
    /// It is damaged or of an unknown kind.
    #[error("the private key is damaged or of an unknown kind; there are RSA, ECDSA and Ed25519")]
    Key,
}

/// A certificate and the chain behind it.
pub(super) fn chain(pem: &str) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let chain = certificates(pem)?;
    ParsedCertificate::try_from(&chain[0]).map_err(|_| Unusable::Certificate)?;
    Ok(chain)
}

/// A private key.
pub(super) fn key(pem: &str) -> Result<Arc<dyn SigningKey>, Unusable> {
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| Unusable::NoKey)?;
    provider().key_provider.load_private_key(key).map_err(|_| Unusable::Key)
}

/// A certificate with its key; `None`: they do not fit each other.
pub(super) fn pair(chain: Vec<CertificateDer<'static>>, key: Arc<dyn SigningKey>) -> Option<CertifiedKey> {
    let pair = CertifiedKey::new(chain, key);
    match pair.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Some(pair),
        Err(_) => None,
    }
}

/// Roots; there is one at least.
pub(super) fn roots(pem: &str) -> Result<RootCertStore, Unusable> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).map_err(|_| Unusable::Certificate)?;
    }
    Ok(roots)
}

/// Whether a certificate is good at this time. The time is the first thing that is checked of it, so that nothing needs to
/// be known of who signed it.
pub(super) fn is_timely(certificate: &CertificateDer<'_>) -> bool {
    let Ok(certificate) = ParsedCertificate::try_from(certificate) else { return false };
    let algorithms = provider().signature_verification_algorithms.all;
    let now = UnixTime::now();
    let checked = verify_server_cert_signed_by_trust_anchor(
        &certificate,
        &RootCertStore::empty(),
        &[],
        now,
        algorithms,
    );
    let Err(Error::InvalidCertificate(error)) = checked else { return true };
    !matches!(
        error,
        CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }
    )
}

/// All certificates of a text; there is one at least.
fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let found = found.map_err(|_| Unusable::NotPem)?;
    if found.is_empty() { Err(Unusable::NoCertificate) } else { Ok(found) }
}
