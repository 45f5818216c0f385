//! TLS of the listeners: certificates that change while connections are served.
//!
//! **Invariant:** a listener always has a certificate that works. A new one takes its place only
//! when it could be read and its key fits; otherwise the old one stays and the log says why.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch;

use crate::ca;
use crate::exchange::TlsInfo;

/// How often files are looked at and the own certificate's age is checked.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Makes aws-lc-rs the one provider of cryptography. Must come before any TLS, and may be called
/// again.
pub fn install_provider() {
    // An error says that there is a provider already, which can only be this one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// Where a listener's certificate comes from.
#[derive(Clone, Debug)]
pub enum Source {
    Files {
        certificate: PathBuf,
        key: PathBuf,
    },
    /// The own CA of the data directory.
    Own(ca::Own),
}

/// A listener's TLS, as the next handshake will use it.
#[derive(Clone)]
pub struct Current {
    source: Source,
    config: Arc<ArcSwap<ServerConfig>>,
}

/// What a certificate was made from, to see whether it has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen(Vec<u8>, Vec<u8>);

impl Current {
    /// Reads or makes the certificate. Fails if that cannot be done, because a listener without
    /// one would be of no use.
    pub fn open(source: Source) -> anyhow::Result<(Current, Watch)> {
        let seen = source.read()?;
        let config = Arc::new(ArcSwap::from_pointee(server_config(&seen)?));
        let current = Current { source, config };
        let watch = Watch { current: current.clone(), seen };
        Ok((current, watch))
    }

    /// The configuration for a new connection.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }
}

/// Looks for a new certificate.
pub struct Watch {
    current: Current,
    /// The last pair that was looked at, whether it was good or not, so that a bad one is told
    /// once and not every ten seconds.
    seen: Seen,
}

impl Watch {
    /// Looks again and again until `stop` changes or its sender is gone.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                _ = ticks.tick() => self = self.look_apart().await,
                _ = stop.changed() => return,
            }
        }
    }

    /// Files may lie on a slow disk: no worker of the runtime waits for them.
    async fn look_apart(mut self) -> Watch {
        let spare = Watch { current: self.current.clone(), seen: self.seen.clone() };
        let looked = tokio::task::spawn_blocking(move || {
            self.look();
            self
        });
        looked.await.unwrap_or(spare)
    }

    /// Looks once, and says whether the certificate was replaced.
    pub fn look(&mut self) -> bool {
        let place = self.current.source.place();
        let seen = match self.current.source.read() {
            Ok(seen) if seen == self.seen => return false,
            Ok(seen) => seen,
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(place, error, "the certificate cannot be read; the old one stays");
                return false;
            }
        };
        let config = server_config(&seen);
        self.seen = seen;
        match config {
            Ok(config) => {
                self.current.config.store(Arc::new(config));
                tracing::info!(place, "a new certificate is in use");
                true
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(place, error, "the new certificate is not used; the old one stays");
                false
            }
        }
    }
}

impl Source {
    fn read(&self) -> anyhow::Result<Seen> {
        match self {
            Source::Files { certificate, key } => Ok(Seen(read(certificate)?, read(key)?)),
            Source::Own(own) => {
                let (certificate, key) = own.certificate(jiff::Timestamp::now())?;
                Ok(Seen(certificate, key))
            }
        }
    }

    fn place(&self) -> String {
        match self {
            Source::Files { certificate, .. } => certificate.display().to_string(),
            Source::Own(own) => own.directory().display().to_string(),
        }
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("read {}", path.display()))
}

/// TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1. Fails if the key is not the certificate's.
fn server_config(Seen(certificate, key): &Seen) -> anyhow::Result<ServerConfig> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
    let chain = chain.context("read the certificates")?;
    let key = PrivateKeyDer::from_pem_slice(key).context("read the private key")?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .context("choose TLS versions")?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("use the certificate with its key")?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// What the audit record tells of a connection.
pub fn info(connection: &rustls::ServerConnection) -> Option<TlsInfo> {
    let version = match connection.protocol_version()? {
        rustls::ProtocolVersion::TLSv1_2 => "TLSv1.2",
        rustls::ProtocolVersion::TLSv1_3 => "TLSv1.3",
        _ => "TLS",
    };
    let suite = connection.negotiated_cipher_suite()?.suite().as_str().unwrap_or("unknown");
    // rustls puts the version into the name of a TLS 1.3 suite, IANA and CloudTrail do not.
    let cipher_suite = match suite {
        "TLS13_AES_128_GCM_SHA256" => "TLS_AES_128_GCM_SHA256",
        "TLS13_AES_256_GCM_SHA384" => "TLS_AES_256_GCM_SHA384",
        "TLS13_CHACHA20_POLY1305_SHA256" => "TLS_CHACHA20_POLY1305_SHA256",
        other => other,
    };
    Some(TlsInfo { version, cipher_suite })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::generate_simple_self_signed;

    use super::*;

    /// Writes a new certificate and its key.
    fn write(directory: &Path) {
        let made = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(directory.join("tls.crt"), made.cert.pem()).unwrap();
        fs::write(directory.join("tls.key"), made.signing_key.serialize_pem()).unwrap();
    }

    #[test]
    fn a_changed_certificate_is_taken_if_it_is_good() {
        install_provider();
        let directory = tempfile::tempdir().unwrap();
        let (certificate, key) =
            (directory.path().join("tls.crt"), directory.path().join("tls.key"));
        let source = Source::Files { certificate: certificate.clone(), key: key.clone() };
        let error = Current::open(source.clone()).map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), format!("read {}", certificate.display()));

        write(directory.path());
        let (current, mut watch) = Current::open(source).unwrap();
        let first = current.config();
        assert!(!watch.look());
        assert!(Arc::ptr_eq(&first, &current.config()));

        let good = fs::read(&certificate).unwrap();
        fs::write(&certificate, "junk").unwrap();
        assert!(!watch.look());
        fs::remove_file(&certificate).unwrap();
        assert!(!watch.look());
        // Half of a new pair: its key is still the old one's.
        let old_key = fs::read(&key).unwrap();
        write(directory.path());
        let new_key = fs::read(&key).unwrap();
        fs::write(&key, &old_key).unwrap();
        assert!(!watch.look());
        assert!(Arc::ptr_eq(&first, &current.config()));

        fs::write(&key, &new_key).unwrap();
        assert!(watch.look());
        let second = current.config();
        assert!(!Arc::ptr_eq(&first, &second));
        assert!(!watch.look());
        // Back to the first pair, which is as good as any.
        fs::write(&certificate, &good).unwrap();
        fs::write(&key, &old_key).unwrap();
        assert!(watch.look());
    }
}
