//! Looking for a secret wherever it must not be.

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE},
};
use prost::Message;
use tonic::Status;
use uuid::Uuid;

use super::{mcp_server::McpServer, model_server::ModelServer};

/// A secret that is nowhere else: with characters that encodings change.
pub fn canary(what: &str) -> String {
    format!("{what}\"c4n4ry/{}+~%", Uuid::new_v4().simple())
}

/// Places where a secret may turn up: what each is, and all that it holds.
#[derive(Default)]
pub struct Sinks(Vec<(String, Vec<u8>)>);

impl Sinks {
    /// Any text or bytes.
    pub fn add(&mut self, name: &str, holds: impl Into<Vec<u8>>) -> &mut Self {
        self.0.push((name.to_owned(), holds.into()));
        self
    }

    /// A message, as it is sent and as it is printed.
    pub fn add_message<M: Message + std::fmt::Debug>(&mut self, name: &str, message: &M) -> &mut Self {
        self.add(name, message.encode_to_vec()).add(&format!("{name}, printed"), format!("{message:?}"))
    }

    /// A status: its message, its details and its metadata.
    pub fn add_status(&mut self, name: &str, status: &Status) -> &mut Self {
        let metadata = format!("{:?}", status.metadata());
        self.add(&format!("{name}: message"), status.message())
            .add(&format!("{name}: details"), status.details())
            .add(&format!("{name}: metadata"), metadata)
            .add(&format!("{name}, printed"), format!("{status:?}"))
    }

    /// All requests that a server had.
    pub fn add_requests(&mut self, name: &str, server: &McpServer) -> &mut Self {
        let seen = server.seen();
        let requests = seen.iter().map(|seen| format!("{:?} {}\n", seen.headers, seen.body));
        self.add(name, requests.collect::<String>())
    }

    /// All requests that a model had.
    pub fn add_model_requests(&mut self, name: &str, model: &ModelServer) -> &mut Self {
        let seen = model.seen();
        let requests = seen.iter().map(|(headers, body)| format!("{headers:?} {body}\n"));
        self.add(name, requests.collect::<String>())
    }

    /// The sinks that hold a secret, in whatever form.
    fn holding(&self, secret: &str) -> Vec<String> {
        let forms = forms(secret);
        let mut found = Vec::new();
        for (name, holds) in &self.0 {
            for (form, bytes) in &forms {
                if holds.windows(bytes.len()).any(|window| window == bytes.as_bytes()) {
                    found.push(format!("{name} ({form})"));
                }
            }
        }
        found
    }
}

/// Fails if a sink holds the secret: raw, in Base64 of either alphabet at any place, percent-encoded, in hexadecimal or
/// escaped for JSON.
pub fn assert_no_leak(secret: &str, sinks: &Sinks) {
    assert!(secret.contains("c4n4ry"), "the secret is a canary");
    assert!(sinks.0.iter().any(|(_, holds)| !holds.is_empty()), "there is something to look through");
    let found = sinks.holding(secret);
    assert!(found.is_empty(), "{secret} is in {found:?}");
}

fn forms(secret: &str) -> Vec<(&'static str, String)> {
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let json = serde_json::to_string(secret).unwrap();
    let json = json[1..json.len() - 1].to_owned();
    let core = &secret[secret.find("c4n4ry").unwrap()..].trim_end_matches(['+', '~', '%']);
    let mut forms = vec![
        ("raw", secret.to_owned()),
        ("a part of it", (*core).to_owned()),
        ("JSON", json.clone()),
        ("JSON in JSON", json.replace('\\', "\\\\").replace('"', "\\\"")),
        ("hexadecimal", hex.clone()),
        ("hexadecimal", hex.to_uppercase()),
        ("percent-encoded", percent_encoded(secret, &|byte| byte.is_ascii_alphanumeric())),
        ("percent-encoded", percent_encoded(secret, &|byte| byte.is_ascii_alphanumeric() || byte == b'/')),
    ];
    for before in ["", "x", "xx"] {
        let text = format!("{before}{secret}");
        // What stands before and behind changes the characters at both ends.
        let inner = |encoded: String| encoded[4..encoded.trim_end_matches('=').len() - 3].to_owned();
        forms.push(("Base64", inner(BASE64_STANDARD.encode(&text))));
        forms.push(("Base64 for URLs", inner(BASE64_URL_SAFE.encode(&text))));
    }
    forms
}

fn percent_encoded(text: &str, kept: &dyn Fn(u8) -> bool) -> String {
    let encoded = text
        .bytes()
        .map(|byte| if kept(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") });
    encoded.collect()
}

#[test]
fn a_secret_is_found_in_every_form() {
    let secret = canary("Bearer ");
    let json = serde_json::json!({ "a": secret }).to_string();
    let hidden = [
        format!("before {secret} behind"),
        secret[3..].to_owned(),
        json.clone(),
        serde_json::json!({ "b": json }).to_string(),
        secret.bytes().map(|byte| format!("{byte:02x}")).collect(),
        percent_encoded(&secret, &|byte| byte.is_ascii_alphanumeric()),
        BASE64_STANDARD.encode(&secret),
        BASE64_STANDARD.encode(format!("user:{secret}:more")),
        BASE64_URL_SAFE.encode(format!("u:{secret}")),
        format!("{:?}", Status::internal(secret.clone())),
    ];
    for text in hidden {
        let mut sinks = Sinks::default();
        sinks.add("nothing", "nothing").add("it", text.clone());
        assert!(!sinks.holding(&secret).is_empty(), "{text}");
        assert!(std::panic::catch_unwind(|| assert_no_leak(&secret, &sinks)).is_err(), "{text}");
    }
    let mut sinks = Sinks::default();
    sinks.add("another's", canary("Bearer "));
    assert_no_leak(&secret, &sinks);
}
