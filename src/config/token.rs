//! Tokens as the values of an MCP server's headers: `{ oauth_client_credentials: … }` and `{ google_id_token: … }`.

use url::{Host, Url};

use super::{
    decode::{At, Fields},
    endpoint,
    revision::Revision,
    source::{self, Written},
    yaml::Kind,
};
use crate::{
    credential::{
        Algorithm, Authority, ClientCredentials, FileSource, GoogleIdToken, Http, KeySource, PrivateKey,
        Proof, Resource, SigningKey, TokenSource, canonical_url,
    },
    egress,
    headers::rules,
};

/// The key of a token by client credentials.
pub const OAUTH: &str = "oauth_client_credentials";
/// The key of a token by Google's metadata server.
pub const GOOGLE: &str = "google_id_token";

const OAUTH_KEYS: [&str; 10] = [
    "issuer",
    "discover",
    "allow_plaintext",
    "client_id",
    "client_secret",
    "private_key",
    "signing_algorithm",
    "key_id",
    "scope",
    "resource",
];
const GOOGLE_KEYS: [&str; 2] = ["audience", "metadata_host"];
const METADATA_HOST: &str = "metadata.google.internal";
const KEY_WHAT: &str = "a private key in PEM, `{ env: NAME }` or `{ file: PATH }`";

/// The source of tokens for the MCP server at a URL, from the mapping that has [`OAUTH`] or [`GOOGLE`].
pub fn decode(at: &At<'_>, fields: &Fields<'_>, server: Option<&Url>, prefix: &str) -> Option<TokenSource> {
    if let (Some(at), Err(refusal)) = (fields.get("prefix"), rules::check_value(&format!("{prefix}token"))) {
        at.problem(refusal.to_string());
    }
    let http = Http::new(at.context.common.egress.clone());
    let revision = Revision::of(at, &[at.path(), server.map_or("", Url::as_str)]);
    let (place, prefix) = (at.path().to_owned(), prefix.to_owned());
    let source = match (fields.get(OAUTH), fields.get(GOOGLE)) {
        (Some(oauth), None) => TokenSource::new(place, prefix, client_credentials(oauth, server, http)?),
        (None, Some(google)) => TokenSource::new(place, prefix, google_id_token(google, server, http)?),
        _ => {
            at.problem(format!("expected one of `{OAUTH}` and `{GOOGLE}`"));
            return None;
        }
    };
    Some(at.context.common.token_source(revision, source))
}

fn client_credentials(at: &At<'_>, server: Option<&Url>, http: Http) -> Option<ClientCredentials> {
    let fields = at.fields(&OAUTH_KEYS);
    let authority = authority(at, &fields);
    let client_id = fields.required("client_id", filled).map(str::to_owned);
    let proof = proof(at, &fields);
    Some(ClientCredentials {
        scope: fields.optional("scope", filled).map(str::to_owned),
        resource: fields.or("resource", resource, Resource::Server),
        allow_plaintext: fields.or("allow_plaintext", At::flag, false),
        http,
        // Last, so that what is above is looked at in any case.
        server: server?.clone(),
        authority: authority?,
        client_id: client_id?,
        proof: proof?,
    })
}

fn authority(at: &At<'_>, fields: &Fields<'_>) -> Option<Authority> {
    let discover = fields.get("discover").map_or(Some(false), At::flag)?;
    match (fields.get("issuer"), discover) {
        (Some(_), false) => endpoint::decode(fields, "issuer").and_then(|url| issuer(fields, url)),
        (None, true) => Some(Authority::Discovered),
        (Some(_), true) => {
            at.problem("there are `issuer` and `discover: true`; keep one");
            None
        }
        (None, false) => {
            at.problem("expected `issuer`, or `discover: true`");
            None
        }
    }
}

fn issuer(fields: &Fields<'_>, url: Url) -> Option<Authority> {
    if url.query().is_some() {
        // RFC 8414 section 2.
        fields.get("issuer")?.problem("the URL of an issuer may have no query (?)");
        return None;
    }
    Some(Authority::Issuer(url))
}

fn proof(at: &At<'_>, fields: &Fields<'_>) -> Option<Proof> {
    let of_key = ["signing_algorithm", "key_id"];
    let algorithm = fields.optional(of_key[0], algorithm);
    let id = fields.optional(of_key[1], filled).map(str::to_owned);
    match (fields.get("client_secret"), fields.get("private_key")) {
        (Some(secret), None) => {
            for field in of_key.iter().filter_map(|key| fields.get(key)) {
                field.key_problem("only a `private_key` has one");
            }
            source::decode(secret).map(Proof::Secret)
        }
        (None, Some(key)) => Some(Proof::PrivateKey(PrivateKey { key: private_key(key, algorithm)?, id })),
        (Some(_), Some(_)) => {
            at.problem("there are `client_secret` and `private_key`; keep one");
            None
        }
        (None, None) => {
            at.problem("expected `client_secret` or `private_key`");
            None
        }
    }
}

fn private_key(at: &At<'_>, algorithm: Option<Algorithm>) -> Option<KeySource> {
    let parse = move |pem: &str| SigningKey::from_pem(pem, algorithm);
    match source::written(at, KEY_WHAT)? {
        Written::Text(at, pem) => {
            parse(&pem).map(KeySource::Fixed).map_err(|error| at.problem(error.to_string())).ok()
        }
        Written::File(at, path) => {
            let file = FileSource::open_as(path.clone(), parse);
            let file = file.map_err(|error| {
                at.context.note_read(&path);
                at.problem(format!("{path:?}: {error}"));
            });
            file.map(KeySource::File).ok()
        }
    }
}

fn algorithm(at: &At<'_>) -> Option<Algorithm> {
    at.one_of(&Algorithm::ALL.map(|algorithm| (algorithm.name(), algorithm)))
}

/// RFC 8707 section 2: an absolute URI without a fragment.
fn resource(at: &At<'_>) -> Option<Resource> {
    if let Kind::Bool(false) = at.node().kind {
        return Some(Resource::Unsaid);
    }
    let what = "an absolute URI without a fragment, or false";
    let text = at.text_of(what)?;
    let right = Url::parse(text).is_ok_and(|url| url.fragment().is_none());
    if !right {
        at.problem(format!("expected {what}"));
    }
    right.then(|| Resource::Named(text.to_owned()))
}

fn google_id_token(at: &At<'_>, server: Option<&Url>, http: Http) -> Option<GoogleIdToken> {
    let fields = at.fields(&GOOGLE_KEYS);
    let audience = fields.optional("audience", filled).map(str::to_owned);
    let host = match fields.get("metadata_host") {
        Some(at) => metadata_host(at),
        None => Url::parse(&format!("http://{METADATA_HOST}")).ok(),
    };
    let audience = audience.or_else(|| server.map(canonical_url));
    Some(GoogleIdToken::new(host?, &audience?, http))
}

/// `HOST`, `HOST:PORT` or a URL without a path.
fn metadata_host(at: &At<'_>) -> Option<Url> {
    let what = format!("a host such as {METADATA_HOST}, with a port if need be, or its URL");
    let text = at.text_of(&what)?;
    let url = if text.contains("://") { Url::parse(text) } else { Url::parse(&format!("http://{text}")) };
    let bare = |url: &Url| {
        let origin = url.origin().ascii_serialization();
        matches!(url.scheme(), "http" | "https") && url.as_str() == format!("{origin}/")
    };
    let Some(url) = url.ok().filter(bare) else {
        at.problem(format!("expected {what}"));
        return None;
    };
    if url.scheme() == "http" && !is_nearby(&url) {
        at.problem(format!(
            "only {METADATA_HOST}, loopback and link-local addresses may be asked over http://"
        ));
        return None;
    }
    Some(url)
}

/// Whether a host can only be this machine or what it runs on.
fn is_nearby(url: &Url) -> bool {
    let link_local = match url.host() {
        Some(Host::Domain(name)) => name == METADATA_HOST,
        Some(Host::Ipv4(address)) => address.is_link_local(),
        Some(Host::Ipv6(address)) => address.is_unicast_link_local(),
        None => false,
    };
    link_local || egress::is_loopback(url)
}

/// Text that is not empty.
fn filled<'a>(at: &At<'a>) -> Option<&'a str> {
    let text = at.text()?;
    if text.is_empty() {
        at.problem("the text is empty");
    }
    Some(text).filter(|text| !text.is_empty())
}
