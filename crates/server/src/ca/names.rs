//! Which names the own certificate has, and which the own CA may sign.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Context as _;
use ipnet::IpNet;
use rcgen::{CidrSubnet, GeneralSubtree, NameConstraints, SanType};

use super::parse::Certificate;
use crate::config::{Config, Mapped, split_port};

/// Names of one deployment, without duplicates and in order.
#[derive(Clone, Debug, Default)]
pub(super) struct CertificateNames {
    /// For the certificate; may begin with `*.`.
    hosts: BTreeSet<String>,
    addresses: BTreeSet<IpAddr>,
    /// For the CA: each stands for itself and everything under it.
    permitted_hosts: BTreeSet<String>,
    permitted_networks: BTreeSet<IpNet>,
}

impl CertificateNames {
    pub(super) fn new(config: &Config) -> CertificateNames {
        let mut names = CertificateNames::default();
        names.add_host("localhost");
        names.add_address(Ipv4Addr::LOCALHOST.into());
        names.add_address(Ipv6Addr::LOCALHOST.into());
        // The whole loopback network is this machine, whichever address a listener has.
        names.permitted_networks.extend("127.0.0.0/8".parse::<IpNet>());
        for listener in &config.listeners {
            let address = listener.address.ip().to_canonical();
            if !address.is_unspecified() {
                names.add_address(address);
            }
        }
        for domain in &config.domains {
            for region in config.regions.keys() {
                names.add_region(domain, region);
            }
        }
        if let Some(public) = &config.public_name {
            names.add_public_name(split_port(&public.0).0, config);
        }
        for mapping in &config.names {
            if let Mapped::Host(host) = &mapping.of {
                names.add(split_port(host).0);
            }
        }
        names
    }

    /// Hosts of registries and of the API. The CA may sign only what ECR would have there, so
    /// that with AWS's own domain it stays useless against AWS's other services.
    fn add_region(&mut self, domain: &str, region: &str) {
        let parents = ["dkr.ecr", "dkr-ecr", "dkr.ecr-fips", "dkr-ecr-fips"];
        let hosts = ["api.ecr", "api.ecr-fips", "ecr", "ecr-fips"];
        // On this machine there is nobody to be taken for: fewer names, a smaller handshake.
        let most = if domain == "localhost" { 1 } else { parents.len() };
        for parent in parents.into_iter().take(most) {
            self.hosts.insert(format!("*.{parent}.{region}.{domain}"));
        }
        for host in hosts.into_iter().take(most) {
            self.hosts.insert(format!("{host}.{region}.{domain}"));
        }
        if domain == "localhost" {
            return;
        }
        for parent in ["ecr", "ecr-fips", "dkr-ecr", "dkr-ecr-fips"] {
            self.permitted_hosts.insert(format!("{parent}.{region}.{domain}"));
        }
    }

    /// A public name may stand for every registry: `ACCOUNT.dkr.ecr.REGION.example.com`.
    fn add_public_name(&mut self, name: &str, config: &Config) {
        for region in config.regions.keys() {
            let name = replace(name, "REGION", region);
            match name.strip_prefix("ACCOUNT.").filter(|rest| !has_label(rest, "ACCOUNT")) {
                Some(parent) => {
                    self.hosts.insert(format!("*.{parent}"));
                    self.permitted_hosts.insert(parent.to_owned());
                }
                None => {
                    for account in config.accounts.keys() {
                        self.add(&replace(&name, "ACCOUNT", account));
                    }
                }
            }
        }
    }

    fn add(&mut self, host: &str) {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        match bare.parse() {
            Ok(address) => self.add_address(address),
            Err(_) => self.add_host(host),
        }
    }

    fn add_host(&mut self, host: &str) {
        self.hosts.insert(host.to_owned());
        self.permitted_hosts.insert(host.to_owned());
    }

    fn add_address(&mut self, address: IpAddr) {
        self.addresses.insert(address);
        self.permitted_networks.insert(address.into());
    }

    /// What the CA may sign. Nothing at all of a kind of names that is not listed would be free
    /// (RFC 5280), so the addresses are always there too.
    pub(super) fn constraints(&self) -> NameConstraints {
        let hosts = self.permitted_hosts.iter().cloned().map(GeneralSubtree::DnsName);
        let networks = self.permitted_networks.iter().map(|network| {
            let subnet = CidrSubnet::from_addr_prefix(network.addr(), network.prefix_len());
            GeneralSubtree::IpAddress(subnet)
        });
        let permitted_subtrees = hosts.chain(networks).collect();
        NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() }
    }

    pub(super) fn subject_alternatives(&self) -> anyhow::Result<Vec<SanType>> {
        let host = |host: &String| {
            let name = host.as_str().try_into().with_context(|| format!("use the name {host}"))?;
            Ok(SanType::DnsName(name))
        };
        let addresses = self.addresses.iter().map(|address| Ok(SanType::IpAddress(*address)));
        self.hosts.iter().map(host).chain(addresses).collect()
    }

    /// Whether a CA may sign all of these names.
    pub(super) fn are_permitted_by(&self, authority: &Certificate) -> bool {
        let host_is_permitted = |host: &String| {
            authority.permitted_hosts.iter().any(|permitted| is_under(host, permitted))
        };
        let address_is_permitted = |address: &IpAddr| {
            authority.permitted_networks.iter().any(|network| network.contains(address))
        };
        self.hosts.iter().all(host_is_permitted) && self.addresses.iter().all(address_is_permitted)
    }

    /// Whether a certificate has these names and no others.
    pub(super) fn are_those_of(&self, certificate: &Certificate) -> bool {
        self.hosts == certificate.hosts && self.addresses == certificate.addresses
    }
}

fn is_under(host: &str, parent: &str) -> bool {
    let host = host.strip_prefix("*.").unwrap_or(host);
    host.strip_suffix(parent).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn replace(name: &str, placeholder: &str, with: &str) -> String {
    let labels = name.split('.').map(|label| if label == placeholder { with } else { label });
    labels.collect::<Vec<_>>().join(".")
}

fn has_label(name: &str, wanted: &str) -> bool {
    name.split('.').any(|label| label == wanted)
}
