//! Connections to PostgreSQL, with TLS where the URL's `sslmode` asks for it.

use std::path::Path;
use std::sync::Arc;

use postgres::config::SslMode;
use postgres::{Client, Config, NoTls};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::Error;

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
