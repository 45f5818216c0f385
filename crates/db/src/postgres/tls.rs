//! Connections to PostgreSQL, with TLS where the URL's `sslmode` asks for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use postgres::config::SslMode;
use postgres::{Client, Config, NoTls};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::Error;

/// What a URL says of TLS that the driver does not read: libpq's `sslrootcert`, and its modes
/// `verify-ca` and `verify-full`. Ours is as strict as the latter in `require` too.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Url {
    /// What the driver reads.
    pub(super) rest: String,
    /// A file of certificates, PEM, to verify the server's by.
    pub(super) root_certificate: Option<PathBuf>,
}

impl Url {
    pub(super) fn split(url: &str) -> Result<Url, Error> {
        let Some((address, query)) = url.split_once('?') else {
            return Ok(Url { rest: url.to_owned(), root_certificate: None });
        };
        let mut root_certificate = None;
        let mut kept = Vec::new();
        for parameter in query.split('&') {
            match parameter.split_once('=') {
                Some(("sslmode", "verify-ca" | "verify-full")) => kept.push("sslmode=require"),
                Some(("sslrootcert", path)) => {
                    let path = percent_decode_str(path).decode_utf8().map_err(Error::internal)?;
                    root_certificate = Some(PathBuf::from(path.as_ref()));
                }
                _ => kept.push(parameter),
            }
        }
        let rest = match kept.is_empty() {
            true => address.to_owned(),
            false => format!("{address}?{}", kept.join("&")),
        };
        Ok(Url { rest, root_certificate })
    }
}

/// Certificates that the operating system trusts, where Debian and its like keep them.
const SYSTEM: &str = "/etc/ssl/certs/ca-certificates.crt";

pub(super) enum Connector {
    Plain,
    Tls(MakeRustlsConnect),
}

impl Connector {
    /// `sslmode=require` is TLS whose certificate is verified, against the given file's
    /// certificates or the system's. Any other mode is plain.
    pub(super) fn new(
        config: &Config,
        root_certificate: Option<&Path>,
    ) -> Result<Connector, Error> {
        if config.get_ssl_mode() != SslMode::Require {
            return Ok(Connector::Plain);
        }
        let path = root_certificate.unwrap_or(Path::new(SYSTEM));
        let unreadable =
            |error: &dyn std::fmt::Display| Error::internal(format!("{}: {error}", path.display()));
        let mut roots = RootCertStore::empty();
        let certificates =
            CertificateDer::pem_file_iter(path).map_err(|error| unreadable(&error))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| unreadable(&error))?;
            // One that cannot be read is one that is not trusted.
            let _ = roots.add(certificate);
        }
        if roots.is_empty() {
            return Err(unreadable(&"holds no certificate"));
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(Error::internal)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Connector::Tls(MakeRustlsConnect::new(client)))
    }

    pub(super) fn connect(&self, config: &Config) -> Result<Client, postgres::Error> {
        match self {
            Connector::Plain => config.connect(NoTls),
            Connector::Tls(tls) => config.connect(tls.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(url: &str) -> (String, Option<PathBuf>) {
        let Url { rest, root_certificate } = Url::split(url).unwrap();
        (rest, root_certificate)
    }

    #[test]
    fn what_the_driver_does_not_know_is_taken_out() {
        let url = "postgres://u:p@h:5432/d?sslmode=verify-full&sslrootcert=/etc/my%20ca.pem&\
                   application_name=b";
        let rest = "postgres://u:p@h:5432/d?sslmode=require&application_name=b";
        assert_eq!(split(url), (rest.to_owned(), Some("/etc/my ca.pem".into())));
        let only = "postgres://h/d?sslrootcert=ca.pem";
        assert_eq!(split(only), ("postgres://h/d".to_owned(), Some("ca.pem".into())));
        for url in ["postgres://h/d", "postgres://h/d?sslmode=disable"] {
            assert_eq!(split(url), (url.to_owned(), None));
        }
    }
}
