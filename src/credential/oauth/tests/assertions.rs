//! Keys, and the assertions that they sign.

use std::time::SystemTime;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED,
    ECDSA_P384_SHA384_FIXED_SIGNING, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey,
    VerificationAlgorithm,
};

use super::*;
use crate::credential::tests::keys::{self, TestKey};

fn decode(part: &str) -> Value {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// The header and the claims of an assertion that the key has signed.
#[track_caller]
fn verified(assertion: &str, algorithm: &'static dyn VerificationAlgorithm, key: &TestKey) -> (Value, Value) {
    let (signed, signature) = assertion.rsplit_once('.').unwrap();
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
    UnparsedPublicKey::new(algorithm, &key.public).verify(signed.as_bytes(), &signature).unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    (decode(header), decode(claims))
}

fn with_key(server: &Loopback, key: KeySource, id: Option<&str>) -> ClientCredentials {
    let key = PrivateKey { key, id: id.map(str::to_owned) };
    ClientCredentials { proof: Proof::PrivateKey(key), ..client(&server.origin) }
}

#[tokio::test]
async fn a_client_with_a_key_sends_an_assertion_and_no_secret() {
    let key = keys::ec(&ECDSA_P256_SHA256_FIXED_SIGNING);
    let server = issuer(json!({ "token_endpoint_auth_methods_supported": ["private_key_jwt"] })).await;
    let signing = SigningKey::from_pem(&key.pkcs8, None).unwrap();
    let client = with_key(&server, KeySource::Fixed(signing), None);
    assert_eq!(token(&client).await.unwrap(), "issued");

    let seen = asked(&server);
    assert_eq!(seen.header("authorization"), "");
    assert_eq!(seen.field("client_secret"), "");
    assert_eq!(seen.field("grant_type"), "client_credentials");
    assert_eq!(seen.field("client_assertion_type"), "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    assert_eq!(seen.field("resource"), "https://crm.example.com/mcp");
    let (header, claims) = verified(&seen.field("client_assertion"), &ECDSA_P256_SHA256_FIXED, &key);
    assert_eq!(header, json!({ "alg": "ES256", "typ": "JWT" }));
    assert_eq!((&claims["iss"], &claims["sub"]), (&json!("client-1"), &json!("client-1")));
    assert_eq!(claims["aud"], json!(server.origin), "the issuer as it writes itself");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let (issued, expires) = (claims["iat"].as_u64().unwrap(), claims["exp"].as_u64().unwrap());
    assert!(issued <= now && now - issued < 60 && expires == issued + 60, "{claims}");

    token(&client).await.unwrap();
    let second = server.seen().last().unwrap().field("client_assertion");
    let (_, second) = verified(&second, &ECDSA_P256_SHA256_FIXED, &key);
    assert_ne!(claims["jti"], second["jti"], "an assertion is used once");
}

#[test]
fn keys_sign_with_what_suits_them_or_what_is_asked_for() {
    let (p256, p384) =
        (keys::ec(&ECDSA_P256_SHA256_FIXED_SIGNING), keys::ec(&ECDSA_P384_SHA384_FIXED_SIGNING));
    let rsa = keys::rsa();
    let cases: [(_, _, _, &'static dyn VerificationAlgorithm); 5] = [
        (&p256, None, "ES256", &ECDSA_P256_SHA256_FIXED),
        (&p384, None, "ES384", &ECDSA_P384_SHA384_FIXED),
        (&rsa, None, "RS256", &RSA_PKCS1_2048_8192_SHA256),
        (&rsa, Some(Algorithm::Ps256), "PS256", &RSA_PSS_2048_8192_SHA256),
        (&p384, Some(Algorithm::Es384), "ES384", &ECDSA_P384_SHA384_FIXED),
    ];
    for (key, asked, name, algorithm) in cases {
        for pem in [&key.pkcs8, &key.own, &format!("a comment\n{}{}", p256_parameters(), key.own)] {
            let signing = SigningKey::from_pem(pem, asked).unwrap();
            let key_of_client = PrivateKey { key: KeySource::Fixed(signing), id: Some("key-1".into()) };
            let assertion = key_of_client.assertion("client-1", "https://issuer").unwrap();
            let (header, _) = verified(&assertion, algorithm, key);
            assert_eq!(header, json!({ "alg": name, "typ": "JWT", "kid": "key-1" }));
        }
    }
}

/// What OpenSSL writes in front of an elliptic key.
fn p256_parameters() -> &'static str {
    "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
}

#[test]
fn what_is_no_key_is_refused() {
    let p256 = keys::ec(&ECDSA_P256_SHA256_FIXED_SIGNING);
    let p521 = keys::ec(&aws_lc_rs::signature::ECDSA_P521_SHA512_FIXED_SIGNING);
    let encrypted = p256.pkcs8.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let public = p256.pkcs8.replace("PRIVATE KEY", "PUBLIC KEY");
    let cut = p256.pkcs8.replacen("\n", "\nAAAA", 1);
    for (pem, asked, error) in [
        ("", None, KeyError::NotPem),
        ("secret", None, KeyError::NotPem),
        (&encrypted, None, KeyError::NotPem),
        (&public, None, KeyError::NotPem),
        (&cut, None, KeyError::Unsupported),
        (&p521.pkcs8, None, KeyError::Unsupported),
        (&p521.own, None, KeyError::Unsupported),
        (&p256.pkcs8, Some(Algorithm::Rs256), KeyError::OtherAlgorithm),
        (&p256.pkcs8, Some(Algorithm::Es384), KeyError::OtherAlgorithm),
    ] {
        assert_eq!(SigningKey::from_pem(pem, asked).err(), Some(error), "{pem}");
    }
}

#[tokio::test]
async fn a_key_in_a_file_is_the_one_of_now() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    let (old, fresh) = (keys::ec(&ECDSA_P256_SHA256_FIXED_SIGNING), keys::rsa());
    std::fs::write(&path, &old.pkcs8).unwrap();
    let file = FileSource::open_as(path.clone(), |pem| SigningKey::from_pem(pem, None)).unwrap();
    let server = issuer(json!({})).await;
    let client = with_key(&server, KeySource::File(file.clone()), None);
    token(&client).await.unwrap();
    std::fs::write(&path, &fresh.pkcs8).unwrap();
    file.look_next_time();
    token(&client).await.unwrap();
    let sent: Vec<_> = server.seen().iter().map(|seen| seen.field("client_assertion")).collect();
    verified(&sent[1], &ECDSA_P256_SHA256_FIXED, &old);
    verified(&sent[3], &RSA_PKCS1_2048_8192_SHA256, &fresh);
}
