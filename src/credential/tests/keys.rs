//! Private keys as text, for tests. They are made anew: none stands anywhere.

use aws_lc_rs::{
    encoding::{AsDer, EcPrivateKeyRfc5915Der, Pkcs8V1Der},
    rsa::{KeyPair, KeySize},
    signature::{EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair as _},
};
use base64::{Engine, prelude::BASE64_STANDARD};

/// A private key in forms of PEM, and its public key.
pub struct TestKey {
    pub pkcs8: String,
    /// The form of its own kind: PKCS #1 or SEC 1.
    pub own: String,
    pub public: Vec<u8>,
}

/// An elliptic key.
pub fn ec(algorithm: &'static EcdsaSigningAlgorithm) -> TestKey {
    let pair = EcdsaKeyPair::generate(algorithm).unwrap();
    let sec1: EcPrivateKeyRfc5915Der<'_> = pair.private_key().as_der().unwrap();
    TestKey {
        pkcs8: pem("PRIVATE KEY", pair.to_pkcs8v1().unwrap().as_ref()),
        own: pem("EC PRIVATE KEY", sec1.as_ref()),
        public: pair.public_key().as_ref().to_vec(),
    }
}

/// An RSA key of 2048 bits.
pub fn rsa() -> TestKey {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let pkcs8: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    TestKey {
        pkcs8: pem("PRIVATE KEY", pkcs8.as_ref()),
        // What is in front of it says that it is RSA, and is as long for each key of this size.
        own: pem("RSA PRIVATE KEY", &pkcs8.as_ref()[26..]),
        public: pair.public_key().as_ref().to_vec(),
    }
}

/// A section of a PEM file, in lines as OpenSSL writes them.
fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
