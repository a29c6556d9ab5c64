//! Where the upstream is.

use std::{fs, net::SocketAddr, path::Path};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde::{Deserialize, Serialize};

use crate::{Outcome, scene::Scene};

/// Where the upstream is, in plain text and over TLS. Its processes tell each other as JSON.
#[derive(Serialize, Deserialize)]
pub struct Place {
    pub plain: SocketAddr,
    pub tls: SocketAddr,
    /// The certificate of who signed the upstream's, in PEM.
    pub authority: String,
}

impl Place {
    /// The upstream's base URL for a scene.
    pub fn base_url(&self, scene: &Scene) -> String {
        if scene.tls { format!("https://{}", self.tls) } else { self.plain_url() }
    }

    /// Its base URL in plain text.
    pub fn plain_url(&self) -> String {
        format!("http://{}", self.plain)
    }

    /// Writes the certificate of who signed to a file.
    pub fn write_authority(&self, to: &Path) -> Outcome<()> {
        Ok(fs::write(to, &self.authority)?)
    }
}

/// A server's side of TLS at an address, for HTTP/2 and HTTP/1.1, and the certificate of who signed for it, in PEM.
pub fn certified(address: SocketAddr) -> Outcome<(ServerConfig, String)> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new([address.ip().to_string()])?.signed_by(&key, &authority)?;
    let chain = vec![CertificateDer::from_pem_slice(certificate.pem().as_bytes())?];
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes())?;
    let config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into());
    let config = config.with_safe_default_protocol_versions()?;
    let mut config = config.with_no_client_auth().with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((config, authority.pem()))
}
