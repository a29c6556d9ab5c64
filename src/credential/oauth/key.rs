//! Private keys that sign.

use std::sync::Arc;

use aws_lc_rs::{
    error::Unspecified,
    rand::SystemRandom,
    rsa::KeyPair as RsaKeyPair,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        EcdsaSigningAlgorithm, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding,
    },
};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
use thiserror::Error;

/// How a key signs, as JWS calls it (RFC 7518 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA, PKCS #1 v1.5, SHA-256.
    Rs256,
    /// RSA, PSS, SHA-256.
    Ps256,
    /// ECDSA on P-256, SHA-256.
    Es256,
    /// ECDSA on P-384, SHA-384.
    Es384,
}

/// Why a text gives no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// It is no PEM of a private key.
    #[error("there is no private key in PEM, or it is encrypted")]
    NotPem,
    /// No algorithm takes it.
    #[error("the private key is none of RSA with 2048 to 8192 bits, EC on P-256 and EC on P-384")]
    Unsupported,
    /// Another algorithm would take it.
    #[error("the private key does not sign with the algorithm that is asked for")]
    OtherAlgorithm,
}

/// A private key.
#[derive(Clone)]
pub struct SigningKey {
    algorithm: Algorithm,
    pair: Arc<Pair>,
}

enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
}

impl Algorithm {
    /// All of them, the default of each kind of key first.
    pub const ALL: [Self; 4] = [Self::Rs256, Self::Ps256, Self::Es256, Self::Es384];

    /// Its name in a JWS header.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
        }
    }

    fn pair(self, key: &PrivateKeyDer<'_>) -> Option<Pair> {
        match self {
            Self::Rs256 | Self::Ps256 => rsa(key),
            Self::Es256 => ec(&ECDSA_P256_SHA256_FIXED_SIGNING, key),
            Self::Es384 => ec(&ECDSA_P384_SHA384_FIXED_SIGNING, key),
        }
    }
}

impl SigningKey {
    /// The first private key of a PEM text: PKCS #8, PKCS #1 or SEC 1. It signs with `algorithm`, or else with what suits it.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn from_pem(pem: &str, algorithm: Option<Algorithm>) -> Result<Self, KeyError> {
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| KeyError::NotPem)?;
        let mut suiting =
            Algorithm::ALL.iter().filter_map(|algorithm| Some((*algorithm, algorithm.pair(&key)?)));
        let (default, pair) = suiting.next().ok_or(KeyError::Unsupported)?;
        let pair = Arc::new(pair);
        match algorithm {
            None => Ok(Self { algorithm: default, pair }),
            Some(algorithm) if algorithm.pair(&key).is_some() => Ok(Self { algorithm, pair }),
            Some(_) => Err(KeyError::OtherAlgorithm),
        }
    }

    /// How it signs.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The signature of a message, as JWS has it: of ECDSA both numbers in full length (RFC 7518 section 3.4).
    ///
    /// # Errors
    /// The cryptographic library does not say why.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let random = SystemRandom::new();
        match &*self.pair {
            Pair::Ec(pair) => Ok(pair.sign(&random, message)?.as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding(self.algorithm), &random, message, &mut signature)?;
                Ok(signature)
            }
        }
    }
}

fn padding(algorithm: Algorithm) -> &'static dyn RsaEncoding {
    match algorithm {
        Algorithm::Ps256 => &RSA_PSS_SHA256,
        Algorithm::Rs256 | Algorithm::Es256 | Algorithm::Es384 => &RSA_PKCS1_SHA256,
    }
}

fn rsa(key: &PrivateKeyDer<'_>) -> Option<Pair> {
    let pair = match key {
        PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()).ok(),
        PrivateKeyDer::Pkcs8(key) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).ok(),
        _ => None,
    };
    pair.map(Pair::Rsa)
}

fn ec(algorithm: &'static EcdsaSigningAlgorithm, key: &PrivateKeyDer<'_>) -> Option<Pair> {
    let pair = match key {
        PrivateKeyDer::Sec1(key) => EcdsaKeyPair::from_private_key_der(algorithm, key.secret_sec1_der()).ok(),
        PrivateKeyDer::Pkcs8(key) => EcdsaKeyPair::from_pkcs8(algorithm, key.secret_pkcs8_der()).ok(),
        _ => None,
    };
    pair.map(Pair::Ec)
}
