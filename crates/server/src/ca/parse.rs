//! What we must know of a certificate on disk to use it further.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, anyhow};
use ipnet::IpNet;
use jiff::Timestamp;
use rcgen::{KeyPair, PublicKeyData as _};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, NameConstraints, SubjectAltName, SubjectKeyIdentifier,
};

/// The parts of a certificate that matter here.
#[derive(Debug)]
pub(super) struct Certificate {
    pub(super) hosts: BTreeSet<String>,
    pub(super) addresses: BTreeSet<IpAddr>,
    pub(super) permitted_hosts: BTreeSet<String>,
    pub(super) permitted_networks: BTreeSet<IpNet>,
    /// The key as a SubjectPublicKeyInfo.
    public_key: Vec<u8>,
    subject_key_id: Option<Vec<u8>>,
    authority_key_id: Option<Vec<u8>>,
    not_after: Timestamp,
}

impl Certificate {
    /// Reads the first certificate of a PEM text.
    pub(super) fn from_pem(pem: &str) -> anyhow::Result<Certificate> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).context("read a certificate")?;
        let parsed = x509_cert::Certificate::from_der(&der).context("read a certificate")?;
        let tbs = parsed.tbs_certificate();
        let not_after = tbs.validity().not_after.to_unix_duration();
        let mut found = Certificate {
            hosts: BTreeSet::new(),
            addresses: BTreeSet::new(),
            permitted_hosts: BTreeSet::new(),
            permitted_networks: BTreeSet::new(),
            public_key: tbs.subject_public_key_info().to_der()?,
            subject_key_id: tbs
                .get_extension::<SubjectKeyIdentifier>()?
                .map(|(_, id)| id.0.as_bytes().to_vec()),
            authority_key_id: tbs
                .get_extension::<AuthorityKeyIdentifier>()?
                .and_then(|(_, id)| Some(id.key_identifier?.as_bytes().to_vec())),
            not_after: Timestamp::from_second(i64::try_from(not_after.as_secs())?)?,
        };
        if let Some((_, SubjectAltName(names))) = tbs.get_extension()? {
            names.iter().try_for_each(|name| found.add_name(name))?;
        }
        if let Some((_, constraints)) = tbs.get_extension::<NameConstraints>()? {
            for subtree in constraints.permitted_subtrees.unwrap_or_default() {
                found.add_permitted(&subtree.base)?;
            }
        }
        Ok(found)
    }

    fn add_name(&mut self, name: &GeneralName) -> anyhow::Result<()> {
        match name {
            GeneralName::DnsName(host) => {
                self.hosts.insert(host.to_string());
            }
            GeneralName::IpAddress(bytes) => {
                self.addresses.insert(address(bytes.as_bytes())?);
            }
            _ => {}
        }
        Ok(())
    }

    fn add_permitted(&mut self, name: &GeneralName) -> anyhow::Result<()> {
        match name {
            GeneralName::DnsName(host) => {
                self.permitted_hosts.insert(host.to_string());
            }
            GeneralName::IpAddress(bytes) => {
                let bytes = bytes.as_bytes();
                let (network, mask) = bytes.split_at(bytes.len() / 2);
                let network = IpNet::with_netmask(address(network)?, address(mask)?)?;
                self.permitted_networks.insert(network);
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn is_of_key(&self, key: &KeyPair) -> bool {
        self.public_key == key.subject_public_key_info()
    }

    /// By its key's identifier: names of authorities may repeat, keys do not.
    pub(super) fn is_issued_by(&self, authority: &Certificate) -> bool {
        self.authority_key_id.is_some() && self.authority_key_id == authority.subject_key_id
    }

    /// Whole days until it ends; negative when it has ended.
    pub(super) fn days_left(&self, now: Timestamp) -> i64 {
        self.not_after.duration_since(now).as_hours().div_euclid(24)
    }
}

fn address(bytes: &[u8]) -> anyhow::Result<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|it| IpAddr::from(Ipv4Addr::from(it)));
    let v6 = || <[u8; 16]>::try_from(bytes).map(|it| IpAddr::from(Ipv6Addr::from(it)));
    v4.or_else(|_| v6()).map_err(|_| anyhow!("a certificate has an address of a strange length"))
}
