//! Listeners: their addresses, TLS, and who may speak for others.

use std::net::{IpAddr, SocketAddr};

use anyhow::{anyhow, bail, ensure};
use ipnet::IpNet;

use super::address;
use crate::config::file;
use crate::config::{Admin, Listener, Tls};

/// What listens when nothing is configured: this machine only.
const DEFAULT_ADDRESS: &str = "127.0.0.1:5000";

/// Listeners as written, or the default one; `--listen` moves the only one.
pub(super) fn listeners(
    written: Option<Vec<file::Listener>>,
    listen: Option<&str>,
) -> anyhow::Result<Vec<Listener>> {
    let mut written = written.unwrap_or_else(|| {
        vec![file::Listener { address: Some(DEFAULT_ADDRESS.to_owned()), ..Default::default() }]
    });
    ensure!(
        !written.is_empty(),
        "listeners: the list is empty; write at least one, or leave it out"
    );
    if let Some(listen) = listen {
        let [only] = written.as_mut_slice() else {
            bail!(
                "--listen: there are {} listeners; change their addresses in the configuration",
                written.len()
            );
        };
        address("--listen", listen)?;
        only.address = Some(listen.to_owned());
    }
    let mut listeners: Vec<Listener> = Vec::new();
    for (number, it) in written.iter().enumerate() {
        let key = format!("listeners[{number}]");
        let listener = listener(&key, it)?;
        let taken =
            |other: &Listener| other.address == listener.address && listener.address.port() != 0;
        if let Some(other) = listeners.iter().position(taken) {
            bail!("{key}.address: listeners[{other}] has {} already", listener.address);
        }
        listeners.push(listener);
    }
    Ok(listeners)
}

fn listener(key: &str, file: &file::Listener) -> anyhow::Result<Listener> {
    let Some(written) = &file.address else {
        bail!("{key}.address: missing; write for example \"{DEFAULT_ADDRESS}\"");
    };
    let listener = Listener {
        address: address(&format!("{key}.address"), written)?,
        tls: tls(key, file)?,
        insecure_http: file.insecure_http,
        trusted_proxies: trusted_proxies(key, &file.trusted_proxies)?,
    };
    check_plain_http(key, &listener)?;
    Ok(listener)
}

/// Passwords would cross the network in the clear.
fn check_plain_http(key: &str, listener: &Listener) -> anyhow::Result<()> {
    let private = is_loopback(listener.address)
        || listener.tls != Tls::None
        || listener.insecure_http
        || !listener.trusted_proxies.is_empty();
    ensure!(
        private,
        "{key}: {} is not a loopback address and has no TLS; write tls = \"self-signed\", or \
         certificate and key, or trusted_proxies for a proxy that speaks TLS, or \
         insecure_http = true",
        listener.address
    );
    Ok(())
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

fn tls(key: &str, file: &file::Listener) -> anyhow::Result<Tls> {
    match (file.tls.as_deref(), &file.certificate, &file.key) {
        (None, None, None) => Ok(Tls::None),
        (Some("self-signed"), None, None) => Ok(Tls::SelfSigned),
        (Some("self-signed"), _, _) => {
            bail!("{key}.tls: there are certificate or key too; keep one or the other")
        }
        (Some(other), _, _) => bail!(
            "{key}.tls: {other:?} is not a kind of TLS; write \"self-signed\", or leave it out and \
             write certificate and key"
        ),
        (None, Some(certificate), Some(private)) => {
            Ok(Tls::Files { certificate: certificate.clone(), key: private.clone() })
        }
        (None, Some(_), None) => {
            bail!("{key}.key: missing; write the file of the certificate's private key")
        }
        (None, None, Some(_)) => {
            bail!("{key}.certificate: missing; write the file of the certificate and its chain")
        }
    }
}

fn trusted_proxies(key: &str, written: &[String]) -> anyhow::Result<Vec<IpNet>> {
    let network = |(number, text): (usize, &String)| {
        let address = text.parse::<IpAddr>().map(IpNet::from);
        address.or_else(|_| text.parse::<IpNet>()).map_err(|_| {
            anyhow!(
                "{key}.trusted_proxies[{number}]: {text:?} is not a network; write for example \
                 \"10.0.0.0/8\" or \"10.0.0.1\""
            )
        })
    };
    written.iter().enumerate().map(network).collect()
}

/// The admin listener. It has no TLS and no login: beyond loopback it is for a private network.
pub(super) fn admin(file: &file::Admin) -> anyhow::Result<Admin> {
    let Some(listen) = &file.listen else {
        bail!("admin.listen: missing; write for example \"127.0.0.1:5001\"");
    };
    Ok(Admin { listen: address("admin.listen", listen)? })
}
