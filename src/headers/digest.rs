//! Digests of values: they tell equal from different, and give no value away.

use hmac::{Hmac, KeyInit, Mac};
use http::HeaderName;
use sha2::Sha256;

use super::{Merged, SecretValue};

/// The key of all digests of this process.
#[derive(Clone)]
pub struct DigestKey(Hmac<Sha256>);

/// Tells header sets apart: two sets have the same one only if they have the same names and values, and the same secrets.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct IdentityDigest([u8; 32]);

impl DigestKey {
    /// A key for this process alone.
    ///
    /// # Errors
    /// The operating system's random source fails.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        Ok(Self::from_secret(&key))
    }

    /// A key that several processes share, so that their digests can be compared. Any length.
    pub fn from_secret(key: &[u8]) -> Self {
        // HMAC takes keys of any length (RFC 2104 section 2), so the error can't happen; a key of its own is as good.
        Self(Hmac::new_from_slice(key).unwrap_or_else(|_| Hmac::new(&Default::default())))
    }

    /// HMAC-SHA256 over the lower-case name, a NUL and the value: the first 16 hexadecimal digits.
    pub fn value_digest(&self, name: &HeaderName, value: &SecretValue) -> String {
        let mut mac = self.0.clone();
        mac.update(name.as_str().as_bytes());
        mac.update(&[0]);
        mac.update(value.as_bytes());
        let [a, b, c, d, e, f, g, h, ..]: [u8; 32] = mac.finalize().into_bytes().into();
        format!("{:016x}", u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }

    /// The digest of a whole set. Names and values go in with their lengths, so that no two sets meet.
    pub fn identity(&self, headers: &Merged) -> IdentityDigest {
        let mut mac = self.0.clone();
        for header in headers.headers() {
            for bytes in [header.name.as_str().as_bytes(), header.value.as_bytes()] {
                mac.update(&bytes.len().to_le_bytes());
                mac.update(bytes);
            }
            // What is kept for an identity was scrubbed accordingly.
            mac.update(&[u8::from(header.secret)]);
        }
        IdentityDigest(mac.finalize().into_bytes().into())
    }
}
