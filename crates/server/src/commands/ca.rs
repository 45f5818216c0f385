//! `bonded ca`: the own CA's certificate, and how to trust it.

use std::io::Write as _;

use jiff::Timestamp;

use crate::ca::{Own, certificate_path};
use crate::config::{Config, Tls};
use crate::names::Names;

/// Prints the certificate on standard output, so that it can be piped into a file, and the lines
/// to trust it on standard error. Makes the CA if the server was not started yet.
///
/// # Errors
/// When the CA can neither be read nor made.
pub fn run(config: &Config) -> anyhow::Result<()> {
    let certificate = Own::new(config).authority(Timestamp::now())?;
    super::print(&certificate)?;
    // Advice, beside the answer: nothing is lost if nobody can read it.
    let _ = std::io::stderr().lock().write_all(advice(config).as_bytes());
    Ok(())
}

fn advice(config: &Config) -> String {
    let path = certificate_path(&config.data);
    let path = path.display();
    let is_used = config.listeners.iter().any(|listener| listener.tls == Tls::SelfSigned);
    let unused = match is_used {
        true => "",
        false => "\nNo listener uses this CA: one does with tls = \"self-signed\".\n",
    };
    let host = match config.listeners.first() {
        Some(first) => {
            let names = Names::new(config, first.address);
            names.public_host(&config.default_account, &config.default_region)
        }
        None => "localhost".to_owned(),
    };
    format!(
        "{unused}\nThis CA signs for the names of this registry and for no others. To trust it:\n\
         docker      sudo install -D -m 644 {path} /etc/docker/certs.d/{host}/ca.crt\n\
         containerd  sudo install -D -m 644 {path} /etc/containerd/certs.d/{host}/ca.crt\n\
         podman      sudo install -D -m 644 {path} /etc/containers/certs.d/{host}/ca.crt\n\
         aws, SDKs   export AWS_CA_BUNDLE={path}\n"
    )
}
