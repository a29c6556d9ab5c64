//! The HTTP endpoint of a model's provider: what all providers' requests have alike.

use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request as HttpRequest, Response, Uri,
    header::{ACCEPT, CONTENT_TYPE},
};
use url::Url;

use super::{
    Error, Request,
    failure::{self, Refusal},
    spent::Attempt,
};
use crate::{
    credential,
    egress::{self, Body, Client, Egress, Profile, Route, SendError},
    scrub::Scrubber,
};

#[cfg(test)]
mod tests;

/// How long a connection to a provider may take to be made, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest answer: the bytes of a whole one, the text and the calls of a streamed one.
pub(super) const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// An endpoint and a model behind it.
#[derive(Clone)]
pub struct Config {
    /// The API's base; each provider adds its own path.
    pub base_url: Url,
    /// The way there.
    pub route: Route,
    /// The provider's name for the model.
    pub model: String,
    /// What every request carries, the key included.
    pub headers: credential::Headers,
}

/// A response that is a success.
pub(super) struct Answering<'a> {
    pub(super) response: Response<Body>,
    /// The request. To be settled once the answer is there.
    pub(super) attempt: Attempt<'a>,
}

/// Where requests go, and what they carry.
pub struct Endpoint {
    uri: Uri,
    /// The provider's own headers, which registered ones and the caller's may replace.
    fixed: &'static [(HeaderName, HeaderValue)],
    registered: credential::Headers,
    client: Client,
}

impl Config {
    /// What sends requests to the endpoint.
    ///
    /// # Errors
    /// TLS can't be set up.
    pub fn client(&self, egress: &Egress) -> Result<Client, egress::Error> {
        egress.client(Profile { connect_timeout: CONNECT_TIMEOUT, route: self.route.clone() })
    }
}

impl Endpoint {
    /// The endpoint at `path` below a base.
    ///
    /// # Errors
    /// HTTP has no form for the URL.
    pub(super) fn new(
        mut base_url: Url,
        path: &str,
        fixed: &'static [(HeaderName, HeaderValue)],
        registered: credential::Headers,
        client: Client,
    ) -> Result<Self, egress::Error> {
        let path = format!("{}{path}", base_url.path().trim_end_matches('/'));
        base_url.set_path(&path);
        Ok(Self { uri: egress::uri(&base_url)?, fixed, registered, client })
    }

    /// Where requests go.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// What finds the secrets of what every request carries.
    pub fn scrubber(&self) -> Scrubber {
        let registered = self.registered.current();
        Scrubber::new(registered.headers().iter().map(|header| header.value.as_bytes()))
    }

    /// Sends a request; the response is a success.
    pub(super) async fn send<'a>(
        &self,
        request: &Request<'a>,
        body: Vec<u8>,
        streamed: bool,
    ) -> Result<Answering<'a>, Refusal> {
        let headers = self.headers(request, streamed);
        let mut post = HttpRequest::new(body.into());
        *post.method_mut() = Method::POST;
        *post.uri_mut() = self.uri.clone();
        *post.headers_mut() = headers.clone();
        let attempt = Attempt::new(request.spent);
        let response = match self.client.send(post).await {
            Ok(response) if response.status().is_success() => return Ok(Answering { response, attempt }),
            Ok(response) => response,
            Err(error) => {
                if matches!(error, SendError::Connect) {
                    attempt.settle();
                }
                return Err(failure::transport(error).into());
            }
        };
        Err(failure::refusal(response, &headers).await)
    }

    fn headers(&self, request: &Request<'_>, streamed: bool) -> HeaderMap {
        let accept = if streamed { "text/event-stream, application/json" } else { "application/json" };
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        headers.extend(self.fixed.iter().cloned());
        for header in self.registered.layer().headers() {
            if let Some(value) = header.value.ready() {
                headers.insert(header.name.clone(), value.as_header().clone());
            }
        }
        for name in request.headers.removed() {
            headers.remove(name);
        }
        for header in request.headers.headers() {
            headers.insert(header.name.clone(), header.value.as_header().clone());
        }
        request.outgoing.insert_into(&mut headers);
        headers
    }
}

/// Reads a whole answer, without the byte order mark that it may begin with (RFC 8259 section 8.1).
///
/// # Errors
/// It breaks off, or is over [`MAX_ANSWER_BYTES`].
pub(super) async fn read(response: Response<Body>) -> Result<Bytes, Error> {
    let mut body =
        egress::read_capped(response.into_body(), MAX_ANSWER_BYTES).await.map_err(failure::body)?;
    if body.starts_with(BYTE_ORDER_MARK) {
        body.advance(BYTE_ORDER_MARK.len());
    }
    Ok(body)
}

/// Whether a server that was asked for a stream gives a whole answer, as some do where there are tools.
pub(super) fn is_json(response: &Response<Body>) -> bool {
    let content_type = response.headers().get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    content_type.get(..16).is_some_and(|essence| essence.eq_ignore_ascii_case(b"application/json"))
}
