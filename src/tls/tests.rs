use std::{
    fs,
    io::{self, Write},
    path::Path,
    sync::{LazyLock, Mutex},
};

use aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1_SIGNING;
use rcgen::{KeyPair, date_time_ymd};
use rustls::ServerConfig;
use tracing::{Dispatch, subscriber::NoSubscriber};

use super::*;
use crate::credential::tests::keys;
use authority::Authority;

pub mod authority;

/// Where there is one subscriber only, tracing asks the thread that comes to a place of logging first whether anybody
/// cares, and keeps its answer for all threads. With this one there are always two.
static ANOTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::new()));

/// What is logged in a test.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// Writes down what this thread logs, as long as the guard lives.
    fn logged() -> (Self, tracing::subscriber::DefaultGuard) {
        LazyLock::force(&ANOTHER);
        let lines = Self::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
        (lines, tracing::subscriber::set_default(subscriber))
    }

    fn warnings(&self) -> usize {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap().matches("WARN").count()
    }
}

/// The certificate in use, after a look at the files.
fn looking(identity: &Identity) -> Vec<u8> {
    identity.0.look_next_time();
    identity.current().cert[0].to_vec()
}

/// What is said of files with this content.
fn said(certificate: &str, key: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let [at_certificate, at_key] = ["c", "k"].map(|name| folder.path().join(name));
    fs::write(&at_certificate, certificate).unwrap();
    fs::write(&at_key, key).unwrap();
    Identity::open(at_certificate, at_key).err().unwrap().to_string()
}

#[test]
fn keys_of_all_kinds_and_forms_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::make();
    for key in [keys::rsa(), keys::ec(&ECDSA_P256_SHA256_ASN1_SIGNING)] {
        let mut issued = authority.issue_for(&KeyPair::from_pem(&key.pkcs8).unwrap(), |_| {});
        issued.identity(folder.path());
        issued.key = key.own;
        issued.identity(folder.path());
    }
    let mut issued = authority.issue();
    issued.certificate += &authority.pem();
    assert_eq!(issued.identity(folder.path()).current().cert.len(), 2, "a chain");
    let [certificate, _] = issued.write(folder.path());
    fs::write(&certificate, issued.key + &issued.certificate).unwrap();
    assert!(Identity::open(certificate.clone(), certificate).is_ok(), "one file with both");
}

#[test]
fn what_is_no_pair_is_told() {
    let authority = Authority::make();
    let (issued, other) = (authority.issue(), authority.issue());
    let key = &issued.key;
    assert_eq!(said(&issued.certificate, &other.key), "the key does not fit the certificate");
    let no_certificate = "the certificate: in the file, there is no certificate in PEM";
    assert_eq!(said("", key), no_certificate);
    assert_eq!(said(key, key), no_certificate);
    let broken = issued.certificate.replace("-----END CERTIFICATE-----", "");
    assert_eq!(said(&broken, key), "the certificate: in the file, the PEM is broken");
    let junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(said(junk, key).ends_with("a certificate is damaged or of an unknown form"));
    assert!(
        said(&issued.certificate, "").starts_with("the key: in the file, there is no private key in PEM")
    );
    let encrypted = key.replace("PRIVATE", "ENCRYPTED PRIVATE");
    assert!(said(&issued.certificate, &encrypted).contains("without a password"));
    let junk = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    assert!(said(&issued.certificate, junk).contains("damaged or of an unknown kind"));
    let both = said("", "");
    assert!(both.contains("no certificate") && both.contains("no private key"), "{both}");
    let missing = Identity::open("/none/tls.crt".into(), "/none/tls.key".into()).err().unwrap();
    assert_eq!(missing.to_string().matches("the file can't be read").count(), 2);
}

#[test]
fn a_pair_is_changed_together_and_one_that_does_not_match_is_warned_of_once() {
    let (lines, _guard) = Lines::logged();
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::make();
    let identity = authority.issue().identity(folder.path());
    let first = looking(&identity);

    let next = authority.issue();
    fs::write(folder.path().join("tls.crt"), &next.certificate).unwrap();
    for _ in 0..3 {
        assert_eq!(looking(&identity), first, "the new certificate waits for its key");
    }
    assert_eq!(lines.warnings(), 1);
    fs::write(folder.path().join("tls.key"), &next.key).unwrap();
    let second = looking(&identity);
    assert_ne!(second, first);

    fs::remove_file(folder.path().join("tls.key")).unwrap();
    fs::write(folder.path().join("tls.crt"), "nothing").unwrap();
    for _ in 0..3 {
        assert_eq!(looking(&identity), second);
    }
    assert_eq!(lines.warnings(), 2);
}

#[test]
fn a_mounted_secret_is_changed_by_turning_its_link() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::make();
    for version in ["v1", "v2"] {
        fs::create_dir(folder.path().join(version)).unwrap();
        authority.issue().write(&folder.path().join(version));
    }
    let turn = |version: &str| {
        std::os::unix::fs::symlink(version, folder.path().join("next")).unwrap();
        fs::rename(folder.path().join("next"), folder.path().join("data")).unwrap();
    };
    turn("v1");
    let data = folder.path().join("data");
    let identity = Identity::open(data.join("tls.crt"), data.join("tls.key")).unwrap();
    let first = looking(&identity);
    turn("v2");
    assert_ne!(looking(&identity), first);
}

#[test]
fn a_configuration_is_built_anew_only_for_new_files() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::make();
    let at_roots = folder.path().join("ca.crt");
    fs::write(&at_roots, authority.pem()).unwrap();
    let (identity, roots) =
        (authority.issue().identity(folder.path()), Roots::open(at_roots.clone()).unwrap());
    let config: fn(Parts) -> Result<ServerConfig, rustls::Error> = |parts| {
        let config = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
        let identity = Arc::new(rustls::sign::SingleCertAndKey::from(parts.identity.unwrap()));
        Ok(config.with_no_client_auth().with_cert_resolver(identity))
    };
    let following = Following::new(Some(identity.clone()), Some(roots.clone()), config).unwrap();
    let look = || {
        identity.0.look_next_time();
        roots.0.look_next_time();
        following.current()
    };
    let first = look();
    assert!(Arc::ptr_eq(&first, &look()));
    authority.issue().write(folder.path());
    let second = look();
    assert!(!Arc::ptr_eq(&first, &second));
    fs::write(&at_roots, authority.pem() + &Authority::make().pem()).unwrap();
    let third = look();
    assert!(!Arc::ptr_eq(&second, &third));
    fs::write(&at_roots, "nothing").unwrap();
    assert!(Arc::ptr_eq(&third, &look()), "roots that are none leave the last ones");
}

#[test]
fn a_certificate_out_of_its_time_is_warned_of_and_used() {
    let authority = Authority::make();
    let warnings = |change: fn(&mut rcgen::CertificateParams)| {
        let (lines, _guard) = Lines::logged();
        let folder = tempfile::tempdir().unwrap();
        let identity = authority.issue_for(&KeyPair::generate().unwrap(), change).identity(folder.path());
        Following::new(Some(identity), None, |_| Ok(())).unwrap().current();
        lines.warnings()
    };
    assert_eq!(warnings(|_| {}), 0);
    assert_eq!(warnings(|params| params.not_after = date_time_ymd(2001, 1, 1)), 1);
    assert_eq!(warnings(|params| params.not_before = date_time_ymd(4000, 1, 1)), 1);
}

#[test]
fn roots_may_be_many_and_must_be_some() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.crt");
    let open = |content: &str| {
        fs::write(&path, content).unwrap();
        Roots::open(path.clone()).map(|roots| roots.current().len()).map_err(|error| error.to_string())
    };
    let one = Authority::make().pem();
    assert_eq!(open(&(one.clone() + "\n# another\n" + &Authority::make().pem())), Ok(2));
    assert_eq!(open(&one.repeat(40)), Ok(40), "over the size of a header's value");
    assert_eq!(open(""), Err("in the file, there is no certificate in PEM".to_owned()));
    assert_eq!(open(&" ".repeat(1024 * 1024 + 1)), Err("the file is over 1024 KiB".to_owned()));
    let missing = Roots::open(Path::new("/none").into()).err().unwrap();
    assert!(missing.to_string().starts_with("the file can't be read"));
}
