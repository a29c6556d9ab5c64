//! Certificates for tests. They are made anew: none stands anywhere.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::tls::Identity;

/// Who signs certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
pub struct Issued {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn make() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for `localhost`.
    pub fn issue(&self) -> Issued {
        self.issue_for(&KeyPair::generate().unwrap(), |_| {})
    }

    /// The same, for a key, and with something changed.
    pub fn issue_for(&self, key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        change(&mut params);
        let certificate = params.signed_by(key, &self.0).unwrap();
        Issued { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

impl Issued {
    /// Writes `tls.crt` and `tls.key` to a folder.
    pub fn write(&self, folder: &Path) -> [PathBuf; 2] {
        let paths = [folder.join("tls.crt"), folder.join("tls.key")];
        fs::write(&paths[0], &self.certificate).unwrap();
        fs::write(&paths[1], &self.key).unwrap();
        paths
    }

    /// The identity in such files.
    pub fn identity(&self, folder: &Path) -> Identity {
        let [certificate, key] = self.write(folder);
        Identity::open(certificate, key).unwrap()
    }
}
