//! OAuth 2.0 client credentials (RFC 6749 section 4.4): the service's own tokens for an MCP server.
//!
//! Who issues them is configured, or found out from the registered MCP server's own well-known metadata; what a server
//! says in a challenge is never followed. The metadata is read anew for each token, since tokens live long and metadata
//! moves.

use futures_util::{FutureExt, future::BoxFuture};
use url::Url;

use metadata::Reader;

use super::{
    FileSource, Source,
    error::SourceError,
    http::Http,
    token::{Fetch, Fetched},
};

mod assertion;
mod key;
mod metadata;
mod request;
#[cfg(test)]
mod tests;

pub use key::{Algorithm, KeyError, SigningKey};
pub use metadata::canonical_url;

/// A client of an authorization server, for the tokens of one MCP server.
pub struct ClientCredentials {
    /// The MCP server's URL.
    pub server: Url,
    /// Who issues the tokens.
    pub authority: Authority,
    /// The client's name there.
    pub client_id: String,
    /// How the client shows that it is that client.
    pub proof: Proof,
    /// The scopes to ask for, with spaces between them.
    pub scope: Option<String>,
    /// What the tokens are for.
    pub resource: Resource,
    /// Whether what metadata names may be `http://` on any host.
    pub allow_plaintext: bool,
    /// What the requests are sent over.
    pub http: Http,
}

/// Who issues tokens.
pub enum Authority {
    /// This issuer.
    Issuer(Url),
    /// Whom the MCP server names (RFC 9728); where it names nobody, its own origin, as in MCP's revision 2025-03-26.
    Discovered,
}

/// How a client shows who it is.
pub enum Proof {
    /// A secret that the authorization server knows, too.
    Secret(Source),
    /// A key that signs assertions (RFC 7523).
    PrivateKey(PrivateKey),
}

/// A key, and its name at the authorization server.
pub struct PrivateKey {
    /// Where the key comes from.
    pub key: KeySource,
    /// The `kid` of the assertions.
    pub id: Option<String>,
}

/// Where a key comes from.
pub enum KeySource {
    /// A key that does not change.
    Fixed(SigningKey),
    /// A file's.
    File(FileSource<SigningKey, KeyError>),
}

/// What tokens are for (RFC 8707).
pub enum Resource {
    /// The MCP server, by the name that it gives itself where that was asked for, or else by its URL.
    Server,
    /// This.
    Named(String),
    /// The request does not say, for authorization servers that refuse the parameter.
    Unsaid,
}

impl ClientCredentials {
    async fn ask(&self) -> Result<Fetched, SourceError> {
        let reader = Reader { http: &self.http, allow_plaintext: self.allow_plaintext };
        let (issuer, name) = match &self.authority {
            Authority::Issuer(issuer) => (issuer.clone(), None),
            Authority::Discovered => match reader.protected_resource(&self.server).await? {
                Some((found, issuer)) => (issuer, Some(found.resource)),
                None => (metadata::origin(&self.server), None),
            },
        };
        let server = reader.authorization_server(&issuer).await?;
        let resource = match &self.resource {
            Resource::Server => Some(name.unwrap_or_else(|| metadata::canonical_url(&self.server))),
            Resource::Named(resource) => Some(resource.clone()),
            Resource::Unsaid => None,
        };
        request::token(self, &server, resource).await
    }
}

impl Fetch for ClientCredentials {
    fn fetch(&self) -> BoxFuture<'_, Result<Fetched, SourceError>> {
        self.ask().boxed()
    }
}

impl KeySource {
    /// The key as of now.
    pub fn current(&self) -> SigningKey {
        match self {
            Self::Fixed(key) => key.clone(),
            Self::File(file) => file.current(),
        }
    }
}
