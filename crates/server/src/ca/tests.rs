//! The own CA, judged by a client's verifier.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::{CertificateError, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::*;
use crate::config::Sources;

const DAY: i64 = 24;

fn own(data: &Path, text: &str) -> Own {
    crate::tls::install_provider();
    let sources = Sources { data: Some(data.to_owned()), ..Sources::default() };
    Own::new(&Config::parse(&[(Path::new("t"), text)], &sources).unwrap())
}

fn now() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

fn later(days: i64) -> Timestamp {
    now() + (days * DAY).hours()
}

/// Whether a client that trusts the CA accepts the certificate under a name.
fn verify(authority: &str, chain: &[u8], name: &str, at: Timestamp) -> Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let verifier = WebPkiServerVerifier::builder(Arc::new(roots)).build().unwrap();
    let leaf = CertificateDer::from_pem_slice(chain).unwrap();
    let seconds = u64::try_from(at.as_second()).unwrap();
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    let name = ServerName::try_from(name.to_owned()).unwrap();
    verifier.verify_server_cert(&leaf, &[], &name, &[], time).map(|_| ())
}

const NAMED: &str = r#"
    public_name = "registry.example.com:8443"
    domains = ["localhost", "amazonaws.com"]
    [[listeners]]
    address = "10.1.2.3:8443"
    tls = "self-signed"
    [[names]]
    host = "images.example.org"
    [regions.us-east-1]
    storage = "/a"
    [regions.eu-central-1]
    storage = "/b"
"#;

#[test]
fn clients_accept_its_names_and_no_others() {
    let directory = tempfile::tempdir().unwrap();
    let own = own(directory.path(), NAMED);
    let (chain, _) = own.certificate(now()).unwrap();
    let authority = own.authority(now()).unwrap();
    for name in [
        "localhost",
        "127.0.0.1",
        "::1",
        "10.1.2.3",
        "registry.example.com",
        "images.example.org",
        "123456789012.dkr.ecr.us-east-1.localhost",
        "123456789012.dkr.ecr.eu-central-1.amazonaws.com",
        "123456789012.dkr-ecr-fips.us-east-1.amazonaws.com",
        "api.ecr.us-east-1.localhost",
        "api.ecr.eu-central-1.amazonaws.com",
        "ecr.eu-central-1.amazonaws.com",
    ] {
        assert_eq!(verify(&authority, &chain, name, now()), Ok(()), "{name}");
    }
    for name in [
        "example.com",
        "other.example.com",
        "10.1.2.4",
        "s3.us-east-1.amazonaws.com",
        "123456789012.dkr.ecr.us-west-2.amazonaws.com",
        "a.b.dkr.ecr.us-east-1.localhost",
    ] {
        assert!(verify(&authority, &chain, name, now()).is_err(), "{name}");
    }
}

#[test]
fn its_key_signs_for_nobody_else() {
    let directory = tempfile::tempdir().unwrap();
    let own = own(directory.path(), NAMED);
    let authority = own.authority(now()).unwrap();
    // Whoever has stolen the key can sign, but clients do not believe it.
    let key = fs::read_to_string(own.directory().join("ca.key")).unwrap();
    let forged = |name: &str| {
        let issuer =
            Issuer::from_ca_cert_pem(&authority, KeyPair::from_pem(&key).unwrap()).unwrap();
        let pair = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        set_life(&mut params, now(), 30).unwrap();
        params.signed_by(&pair, &issuer).unwrap().pem().into_bytes()
    };
    let check = |name: &str| verify(&authority, &forged(name), name, now());
    assert_eq!(check("dkr.ecr.us-east-1.amazonaws.com"), Ok(()));
    for name in ["s3.amazonaws.com", "example.com", "com", "10.1.2.4", "8.8.8.8", "2001:db8::1"] {
        let error = check(name).unwrap_err();
        let expected = "NameConstraintViolation";
        assert!(format!("{error:?}").contains(expected), "{name}: {error:?}");
    }
}

#[test]
fn a_public_name_with_placeholders_covers_every_registry() {
    let directory = tempfile::tempdir().unwrap();
    let text = "public_name = \"ACCOUNT.images.REGION.example.com\"";
    let own = own(directory.path(), text);
    let (chain, _) = own.certificate(now()).unwrap();
    let authority = own.authority(now()).unwrap();
    let name = "210987654321.images.us-east-1.example.com";
    assert_eq!(verify(&authority, &chain, name, now()), Ok(()));
}

#[test]
fn it_is_made_once_and_renewed_in_time() {
    let directory = tempfile::tempdir().unwrap();
    let own = own(directory.path(), NAMED);
    let first = own.certificate(now()).unwrap();
    let authority = own.authority(now()).unwrap();
    // Not before 60 days are over.
    assert_eq!(own.certificate(later(59)).unwrap(), first);
    let second = own.certificate(later(61)).unwrap();
    assert_ne!(second, first);
    assert_eq!(own.authority(later(61)).unwrap(), authority);
    let text = String::from_utf8(first.0.clone()).unwrap();
    let life = parse::Certificate::from_pem(&text).unwrap();
    assert!((89..=90).contains(&life.days_left(now())), "{}", life.days_left(now()));
    let expired = verify(&authority, &first.0, "localhost", later(100)).unwrap_err();
    let kind = format!("{expired:?}");
    assert!(
        matches!(
            expired,
            rustls::Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. }
            )
        ),
        "{kind}"
    );
    assert_eq!(verify(&authority, &second.0, "localhost", later(100)), Ok(()));

    // The CA itself is replaced a year before its end.
    assert_eq!(own.authority(later(3_200)).unwrap(), authority);
    assert_ne!(own.authority(later(3_300)).unwrap(), authority);
}

#[test]
fn new_names_need_a_new_certificate_and_perhaps_a_new_authority() {
    let directory = tempfile::tempdir().unwrap();
    let before = own(directory.path(), "domains = [\"localhost\"]");
    let first = before.certificate(now()).unwrap();
    let authority = before.authority(now()).unwrap();
    // Everything under localhost is permitted already.
    let more = own(
        directory.path(),
        "[[names]]\nhost = \"team.localhost\"\n[regions.us-east-1]\nstorage = \"/a\"",
    );
    let second = more.certificate(now()).unwrap();
    assert_ne!(second, first);
    assert_eq!(more.authority(now()).unwrap(), authority);
    assert_eq!(verify(&authority, &second.0, "team.localhost", now()), Ok(()));

    let named = own(directory.path(), "public_name = \"registry.example.com\"");
    let third = named.certificate(now()).unwrap();
    let new_authority = named.authority(now()).unwrap();
    assert_ne!(new_authority, authority);
    assert_eq!(verify(&new_authority, &third.0, "registry.example.com", now()), Ok(()));
}

#[test]
fn keys_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let own = own(directory.path(), "");
    own.certificate(now()).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(own.directory()), 0o700);
    for name in ["ca.key", "server.key"] {
        assert_eq!(mode(&own.directory().join(name)), 0o600, "{name}");
    }
}

#[test]
fn what_does_not_fit_together_is_mended() {
    let directory = tempfile::tempdir().unwrap();
    let own = own(directory.path(), "");
    let first = own.certificate(now()).unwrap();
    let authority = own.authority(now()).unwrap();
    // As after a crash between the two files.
    let other = KeyPair::generate().unwrap().serialize_pem();
    fs::write(own.directory().join("server.key"), &other).unwrap();
    let second = own.certificate(now()).unwrap();
    assert_ne!(second.0, first.0);
    assert_eq!(own.authority(now()).unwrap(), authority);
    fs::write(own.directory().join("ca.key"), &other).unwrap();
    let third = own.certificate(now()).unwrap();
    let new_authority = own.authority(now()).unwrap();
    assert_ne!(new_authority, authority);
    assert_eq!(verify(&new_authority, &third.0, "localhost", now()), Ok(()));
}
