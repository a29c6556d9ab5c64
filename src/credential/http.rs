//! The requests of token sources: over [`crate::egress`], bounded in time and size, and never redirected.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, header::ACCEPT};
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use url::Url;

use super::error::{Asked, Fault, SourceError};
use crate::egress::{self, BodyError, Egress, Profile, Route, SendError};

/// How long a request takes at most, its answer's body included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest answer.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// What sends the requests of token sources.
#[derive(Clone)]
pub struct Http(Arc<Egress>);

impl Http {
    /// Sends over these clients.
    pub fn new(egress: Arc<Egress>) -> Self {
        Self(egress)
    }

    /// Sends a request and reads its answer, whatever its status is, unless it is a redirect.
    pub async fn send(&self, asked: Asked, request: Request<Bytes>) -> Result<Response<Bytes>, SourceError> {
        let answered = timeout(REQUEST_TIMEOUT, self.exchange(request)).await;
        answered.unwrap_or(Err(Fault::TimedOut)).map_err(|fault| asked.failed(fault))
    }

    /// Gets a JSON document. `None`: there is none, or it is another.
    pub async fn document<T: DeserializeOwned>(
        &self,
        asked: Asked,
        url: &Url,
    ) -> Result<Option<T>, SourceError> {
        let mut get = get(asked, url)?;
        get.headers_mut().insert(ACCEPT, http::HeaderValue::from_static("application/json"));
        let answer = self.send(asked, get).await?;
        match answer.status().as_u16() {
            200 => Ok(serde_json::from_slice(answer.body()).ok()),
            // What passes by itself is no sign that the document is elsewhere.
            status @ (408 | 425 | 429) => Err(asked.failed(Fault::Status(status))),
            400..=499 => Ok(None),
            status => Err(asked.failed(Fault::Status(status))),
        }
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Fault> {
        // The platform's roots, no certificate and no proxy: those of a registration are for its own server.
        let profile = Profile { connect_timeout: CONNECT_TIMEOUT, route: Route::default() };
        let client = self.0.client(profile).map_err(|_| Fault::NoClient)?;
        let (head, body) = client.send(request).await.map_err(unsent)?.into_parts();
        if head.status.is_redirection() {
            return Err(Fault::Redirected);
        }
        let body = egress::read_capped(body, MAX_BODY_BYTES).await.map_err(unread)?;
        Ok(Response::from_parts(head, body))
    }
}

/// A GET of a URL.
pub fn get(asked: Asked, url: &Url) -> Result<Request<Bytes>, SourceError> {
    let uri = egress::uri(url).map_err(|_| asked.failed(Fault::NoClient))?;
    let mut request = Request::new(Bytes::new());
    (*request.method_mut(), *request.uri_mut()) = (Method::GET, uri);
    Ok(request)
}

fn unsent(error: SendError) -> Fault {
    match error {
        SendError::Connect => Fault::Unreachable,
        SendError::Broken => Fault::Broken,
    }
}

fn unread(error: BodyError) -> Fault {
    match error {
        BodyError::TooLarge => Fault::TooLarge,
        BodyError::Transport => Fault::Broken,
    }
}
