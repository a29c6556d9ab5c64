//! Google identity tokens, from the metadata server of the machine that this runs on.
//!
//! Reference: <https://cloud.google.com/compute/docs/instances/verifying-instance-identity>. The metadata server proves
//! nothing of itself and speaks plain HTTP; who may be asked is checked where it is configured.

use std::time::{Duration, SystemTime};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use futures_util::{FutureExt, future::BoxFuture};
use http::{HeaderValue, StatusCode};
use serde::Deserialize;
use url::Url;

use super::{
    error::{Asked, Fault, SourceError},
    http::{self as requests, Http},
    token::{Fetch, Fetched},
};

#[cfg(test)]
mod tests;

const PATH: &str = "/computeMetadata/v1/instance/service-accounts/default/identity";
const ASKED: Asked = Asked::GoogleMetadata;

/// An identity token of the default service account.
pub struct GoogleIdToken {
    url: Url,
    http: Http,
}

/// What of a token's payload is read.
#[derive(Deserialize)]
struct Claims {
    /// When it expires, in seconds since 1970.
    exp: u64,
}

impl GoogleIdToken {
    /// Tokens for `audience` from the metadata server at `host`, of which scheme, host and port count.
    pub fn new(mut host: Url, audience: &str, http: Http) -> Self {
        host.set_path(PATH);
        host.set_query(None);
        host.query_pairs_mut().append_pair("audience", audience).append_pair("format", "full");
        Self { url: host, http }
    }

    async fn ask(&self) -> Result<Fetched, SourceError> {
        let mut request = requests::get(ASKED, &self.url)?;
        request.headers_mut().insert("metadata-flavor", HeaderValue::from_static("Google"));
        let answer = self.http.send(ASKED, request).await?;
        if answer.status() != StatusCode::OK {
            return Err(ASKED.failed(Fault::Status(answer.status().as_u16())));
        }
        let token = std::str::from_utf8(answer.body()).ok().map(str::trim);
        let fetched =
            token.and_then(|token| Some(Fetched { life: Some(life(token)?), token: token.to_owned() }));
        fetched.ok_or(ASKED.failed(Fault::NotUnderstood))
    }
}

impl Fetch for GoogleIdToken {
    fn fetch(&self) -> BoxFuture<'_, Result<Fetched, SourceError>> {
        self.ask().boxed()
    }
}

/// How long a token still lives. It is not verified: that is for whom it is shown to.
fn life(token: &str) -> Option<Duration> {
    let payload = token.split('.').nth(1)?;
    let payload = BASE64_URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    let claims: Claims = serde_json::from_slice(&payload).ok()?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(Duration::from_secs(claims.exp).saturating_sub(now))
}
