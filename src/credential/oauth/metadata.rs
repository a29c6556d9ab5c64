//! Metadata in well-known places: of authorization servers (RFC 8414) and of what they protect (RFC 9728).

use serde::Deserialize;
use url::Url;

use super::super::{
    error::{Asked, Fault, SourceError},
    http::Http,
};
use crate::egress;

/// An authorization server.
#[derive(Deserialize)]
pub struct AuthorizationServer {
    /// Its identifier, as it writes it.
    pub issuer: String,
    /// Where tokens are asked for.
    pub token_endpoint: Url,
    /// How clients may show who they are there; `None`: by HTTP Basic authentication.
    pub token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

/// An MCP server as what is protected.
#[derive(Deserialize)]
pub struct ProtectedResource {
    /// Its identifier, as it writes it.
    pub resource: String,
    #[serde(default)]
    authorization_servers: Vec<Url>,
}

/// Reads metadata.
pub struct Reader<'a> {
    /// What the requests are sent over.
    pub http: &'a Http,
    /// Whether what metadata names may be `http://` on any host.
    pub allow_plaintext: bool,
}

impl Reader<'_> {
    /// The authorization server of an issuer.
    pub async fn authorization_server(&self, issuer: &Url) -> Result<AuthorizationServer, SourceError> {
        const ASKED: Asked = Asked::IssuerMetadata;
        for url in issuer_places(issuer) {
            let Some(found) = self.http.document::<AuthorizationServer>(ASKED, &url).await? else { continue };
            if !is_same_issuer(&found.issuer, issuer) {
                return Err(ASKED.failed(Fault::OtherIssuer));
            }
            self.check_step(ASKED, issuer, &found.token_endpoint)?;
            return Ok(found);
        }
        Err(ASKED.failed(Fault::Absent))
    }

    /// The metadata of the MCP server at a URL, and the issuer that it names first. `None`: it has none.
    pub async fn protected_resource(
        &self,
        server: &Url,
    ) -> Result<Option<(ProtectedResource, Url)>, SourceError> {
        const ASKED: Asked = Asked::ResourceMetadata;
        for url in resource_places(server) {
            let Some(found) = self.http.document::<ProtectedResource>(ASKED, &url).await? else { continue };
            if !is_resource_of(&found.resource, server) {
                return Err(ASKED.failed(Fault::OtherResource));
            }
            let issuer = found.authorization_servers.first().cloned();
            let issuer = issuer.ok_or(ASKED.failed(Fault::NotUnderstood))?;
            self.check_step(ASKED, server, &issuer)?;
            return Ok(Some((found, issuer)));
        }
        Ok(None)
    }

    /// Metadata of a server may lead to `https://`; to what listens on this machine alone only where the server does, too.
    pub fn check_step(&self, asked: Asked, from: &Url, to: &Url) -> Result<(), SourceError> {
        let on_machine = egress::is_loopback(from) && egress::is_loopback(to);
        let secure = match to.scheme() {
            "https" => true,
            "http" => self.allow_plaintext || on_machine,
            _ => false,
        };
        if secure { Ok(()) } else { Err(asked.failed(Fault::Insecure)) }
    }
}

/// The identifier of an MCP server where it does not name its own, by MCP's section on canonical server URIs: without a
/// query, which may be a secret, and without a bare slash at the end.
pub fn canonical_url(server: &Url) -> String {
    let path = if server.path() == "/" { "" } else { server.path() };
    format!("{}{path}", server.origin().ascii_serialization())
}

/// The issuer that an MCP server is by the revision 2025-03-26: its origin.
pub fn origin(server: &Url) -> Url {
    let mut origin = server.clone();
    origin.set_path("");
    origin.set_query(None);
    origin
}

/// Where an issuer's metadata may be, in MCP's order: RFC 8414 section 3.1, the same for OpenID, and OpenID Discovery 1.0
/// section 4.
fn issuer_places(issuer: &Url) -> Vec<Url> {
    let path = issuer.path().trim_end_matches('/');
    let mut places = vec![
        place(issuer, &format!("/.well-known/oauth-authorization-server{path}")),
        place(issuer, &format!("/.well-known/openid-configuration{path}")),
    ];
    if !path.is_empty() {
        places.push(place(issuer, &format!("{path}/.well-known/openid-configuration")));
    }
    places
}

/// Where an MCP server's metadata may be: RFC 9728 section 3.1, and MCP's fallback without the path.
fn resource_places(server: &Url) -> Vec<Url> {
    const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";
    let mut places = vec![place(server, WELL_KNOWN)];
    if server.path() != "/" {
        places.insert(0, place(server, &format!("{WELL_KNOWN}{}", server.path())));
    }
    places
}

fn place(url: &Url, path: &str) -> Url {
    let mut place = url.clone();
    place.set_path(path);
    place.set_query(None);
    place
}

/// Whether a name is an issuer's; a slash at the end is none's business.
fn is_same_issuer(name: &str, issuer: &Url) -> bool {
    let trimmed = |url: &Url| url.as_str().trim_end_matches('/').to_owned();
    Url::parse(name).is_ok_and(|name| trimmed(&name) == trimmed(issuer))
}

/// Whether a name is an MCP server's: its URL, or one above it on the same origin, as MCP's SDKs have it.
fn is_resource_of(name: &str, server: &Url) -> bool {
    let Ok(name) = Url::parse(name) else { return false };
    let below = server.path().strip_prefix(name.path().trim_end_matches('/'));
    name.origin() == server.origin() && below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
}
