//! Tokens as the values of an MCP server's headers: `{ oauth_client_credentials: … }` and `{ google_id_token: … }`.

use url::{Host, Url};

use super::{
    decode::{At, Fields},
    endpoint::{self, Plaintext},
    key::{Key, Keys, Optional, Required},
    reference::Section,
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
pub const OAUTH: Key<Optional> = Key::optional(
    "oauth_client_credentials",
    "An access token by OAuth 2.0 [client credentials](#mcp_serversnameheadersnameoauth_client_credentials), renewed before \
     it expires.",
);
/// The key of a token by Google's metadata server.
pub const GOOGLE: Key<Optional> = Key::optional(
    "google_id_token",
    "An identity token of [Google's metadata server](#mcp_serversnameheadersnamegoogle_id_token), renewed before it expires.",
);
const ISSUER: Key<Optional> = Key::optional(
    "issuer",
    "The authorization server, whose well-known metadata names the token endpoint (RFC 8414).",
);
const DISCOVER: Key<bool> = Key::or(
    "discover",
    false,
    "In place of `issuer`: whom the MCP server's own well-known metadata names (RFC 9728). So that server chooses who is \
     shown the client's credential.",
);
const CLIENT_ID: Key<Required> = Key::required("client_id", "Whom the token is asked for.");
const CLIENT_SECRET: Key<Optional> = Key::optional("client_secret", "A [value](#values) that proves it.");
const PRIVATE_KEY: Key<Optional> = Key::optional(
    "private_key",
    "In place of `client_secret`: the key in PEM (RSA, P-256, P-384) that signs assertions (RFC 7523).",
);
const SIGNING_ALGORITHM: Key<Optional> = Key::optional(
    "signing_algorithm",
    "What a `private_key` signs by. Left out: `RS256`, or what its curve allows.",
);
const KEY_ID: Key<Optional> = Key::optional("key_id", "The `kid` of a `private_key`'s assertions.");
const SCOPE: Key<Optional> = Key::optional("scope", "What is asked for; left out: the request does not say.");
const RESOURCE: Key<Optional> = Key::optional(
    "resource",
    "What the token is for (RFC 8707). Left out: the MCP server; `false`: the request does not say.",
);
const OAUTH_KEYS: Keys = &[
    &ISSUER,
    &DISCOVER,
    &endpoint::ALLOW_PLAINTEXT,
    &CLIENT_ID,
    &CLIENT_SECRET,
    &PRIVATE_KEY,
    &SIGNING_ALGORITHM,
    &KEY_ID,
    &SCOPE,
    &RESOURCE,
];
const AUDIENCE: Key<Optional> =
    Key::optional("audience", "What the token is for; left out: the MCP server's URL, without its query.");
const METADATA_HOST_KEY: Key<&str> = Key::or(
    "metadata_host",
    METADATA_HOST,
    "The metadata server; over `http://` only a host that is this machine's.",
);
const GOOGLE_KEYS: Keys = &[&AUDIENCE, &METADATA_HOST_KEY];

/// What the reference tells.
pub const SECTIONS: &[Section] = &[
    Section {
        path: "mcp_servers.<name>.headers.<name>.oauth_client_credentials",
        about: "One of `issuer` and `discover: true`, and one of `client_secret` and `private_key`. \
                See [headers](headers.md#where-registered-values-come-from).",
        probe: "mcp_servers: { x: { url: \"https://localhost/\", headers: { x: { oauth_client_credentials: { HERE } } } } }",
        keys: OAUTH_KEYS,
    },
    Section {
        path: "mcp_servers.<name>.headers.<name>.google_id_token",
        about: "",
        probe: "mcp_servers: { x: { url: \"https://localhost/\", headers: { x: { google_id_token: { HERE } } } } }",
        keys: GOOGLE_KEYS,
    },
];

const METADATA_HOST: &str = "metadata.google.internal";
const KEY_WHAT: &str = "a private key in PEM, `{ env: NAME }` or `{ file: PATH }`";

/// The source of tokens for the MCP server at a URL, from the mapping that has [`OAUTH`] or [`GOOGLE`].
pub fn decode(at: &At<'_>, fields: &Fields<'_>, server: Option<&Url>, prefix: &str) -> Option<TokenSource> {
    if let (Some(at), Err(refusal)) =
        (fields.get(&source::PREFIX), rules::check_value(&format!("{prefix}token")))
    {
        at.problem(refusal.to_string());
    }
    let http = Http::new(at.context.common.egress.clone());
    let revision = Revision::of(at, &[at.path(), server.map_or("", Url::as_str)]);
    let (place, prefix) = (at.path().to_owned(), prefix.to_owned());
    let source = match (fields.get(&OAUTH), fields.get(&GOOGLE)) {
        (Some(oauth), None) => TokenSource::new(place, prefix, client_credentials(oauth, server, http)?),
        (None, Some(google)) => TokenSource::new(place, prefix, google_id_token(google, server, http)?),
        (oauth, google) => {
            at.problem(format!("expected one of `{}` and `{}`", OAUTH.name, GOOGLE.name));
            oauth.and_then(|at| client_credentials(at, server, http.clone()));
            google.and_then(|at| google_id_token(at, server, http));
            return None;
        }
    };
    Some(at.context.common.token_source(revision, source))
}

fn client_credentials(at: &At<'_>, server: Option<&Url>, http: Http) -> Option<ClientCredentials> {
    let fields = at.fields(OAUTH_KEYS);
    let authority = authority(at, &fields);
    let client_id = fields.required(&CLIENT_ID, filled).map(str::to_owned);
    let proof = proof(at, &fields);
    Some(ClientCredentials {
        scope: fields.optional(&SCOPE, filled).map(str::to_owned),
        resource: fields.optional(&RESOURCE, resource).unwrap_or(Resource::Server),
        allow_plaintext: fields.or(&endpoint::ALLOW_PLAINTEXT, At::flag),
        http,
        // Last, so that what is above is looked at in any case.
        server: server?.clone(),
        authority: authority?,
        client_id: client_id?,
        proof: proof?,
    })
}

fn authority(at: &At<'_>, fields: &Fields<'_>) -> Option<Authority> {
    let discover = fields.get(&DISCOVER).map_or(Some(false), At::flag);
    let named = fields.get(&ISSUER).map(|at| issuer(at, Plaintext::of(fields)));
    match (named, discover?) {
        (Some(named), false) => named,
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

fn issuer(at: &At<'_>, plaintext: Plaintext) -> Option<Authority> {
    let url = endpoint::decode(at, plaintext);
    // Of the text: there is no URL where something else is wrong with it.
    let written = at.node().text().and_then(|text| Url::parse(text).ok());
    if written.is_some_and(|url| url.query().is_some()) {
        // RFC 8414 section 2.
        at.problem("the URL of an issuer may have no query (?)");
        return None;
    }
    url.map(Authority::Issuer)
}

fn proof(at: &At<'_>, fields: &Fields<'_>) -> Option<Proof> {
    let of_key = [&SIGNING_ALGORITHM, &KEY_ID];
    let algorithm = fields.optional(of_key[0], algorithm);
    let id = fields.optional(of_key[1], filled).map(str::to_owned);
    match (fields.get(&CLIENT_SECRET), fields.get(&PRIVATE_KEY)) {
        (Some(secret), None) => {
            for field in of_key.iter().filter_map(|key| fields.get(key)) {
                field.key_problem("only a `private_key` has one");
            }
            source::decode(secret).map(Proof::Secret)
        }
        (None, Some(key)) => Some(Proof::PrivateKey(PrivateKey { key: private_key(key, algorithm)?, id })),
        (Some(secret), Some(key)) => {
            at.problem("there are `client_secret` and `private_key`; keep one");
            source::decode(secret);
            private_key(key, algorithm);
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
    let fields = at.fields(GOOGLE_KEYS);
    let audience = fields.optional(&AUDIENCE, filled).map(str::to_owned);
    let host = match fields.get(&METADATA_HOST_KEY) {
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
