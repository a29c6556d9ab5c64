//! Assertions by which a client shows who it is (RFC 7523 section 3).

use std::time::{Duration, SystemTime};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Serialize;
use uuid::Uuid;

use super::{
    super::error::{Asked, Fault, SourceError},
    PrivateKey,
};

/// How long an assertion is good. It is used at once; the rest is for clocks that differ.
const LIFE: Duration = Duration::from_secs(60);

#[derive(Serialize)]
struct Header<'a> {
    alg: &'a str,
    typ: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    iat: u64,
    exp: u64,
    jti: String,
}

impl PrivateKey {
    /// A new assertion that the client is `client_id`, for the authorization server with the identifier `issuer` and no
    /// other: one for whom a token endpoint would be the audience could be had to show it to another server.
    pub fn assertion(&self, client_id: &str, issuer: &str) -> Result<String, SourceError> {
        let key = self.key.current();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let header = Header { alg: key.algorithm().name(), typ: "JWT", kid: self.id.as_deref() };
        let claims = Claims {
            iss: client_id,
            sub: client_id,
            aud: issuer,
            iat: now.as_secs(),
            exp: (now + LIFE).as_secs(),
            jti: Uuid::new_v4().to_string(),
        };
        let signed = part(&header).zip(part(&claims)).map(|(header, claims)| format!("{header}.{claims}"));
        let signed = signed.ok_or(Asked::TokenEndpoint.failed(Fault::Unsigned))?;
        let signature = key.sign(signed.as_bytes());
        let signature = signature.map_err(|_| Asked::TokenEndpoint.failed(Fault::Unsigned))?;
        Ok(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// A part of a JWS in compact form (RFC 7515 section 7.1).
fn part(part: &impl Serialize) -> Option<String> {
    serde_json::to_vec(part).ok().map(|json| BASE64_URL_SAFE_NO_PAD.encode(json))
}
