//! Which registry a host means, and which host a registry is told to have.
//!
//! **Invariant:** what a caller writes into `Host` chooses among configured names and never
//! becomes part of an answer.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::config::{Config, Listener, Mapped, Tls, split_port};

/// An account in a region.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RegistryName {
    pub account: Arc<str>,
    pub region: Arc<str>,
}

/// What a host means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meant {
    pub registry: RegistryName,
    pub by: By,
}

/// What said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// A host that names a registry, by its form or by `[[names]]`.
    Host,
    /// A host of the API, such as `api.ecr.REGION.DOMAIN`: it names a region, and the account
    /// is the default one.
    Api,
    /// The listener, by `[[names]]`.
    Listener,
    /// Nothing: these are the defaults.
    Default,
}

/// A host that names an account or a region that this deployment does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotServed {
    #[error("the account {0} is not served here")]
    Account(String),
    #[error("the region {0} is not served here")]
    Region(String),
}

/// The names of this deployment.
#[derive(Debug)]
pub struct Names {
    domains: Vec<String>,
    accounts: HashMap<String, Arc<str>>,
    regions: HashMap<String, Arc<str>>,
    hosts: HashMap<String, RegistryName>,
    listeners: HashMap<SocketAddr, RegistryName>,
    /// The host to tell for a registry, from `[[names]]`; the first one of each wins.
    told: HashMap<RegistryName, String>,
    /// As configured, with `ACCOUNT` and `REGION` to be filled in.
    public_name: Option<String>,
    default: RegistryName,
    /// The port to tell, with its colon; empty where the scheme implies it.
    port: String,
    scheme: &'static str,
}

impl Names {
    /// Takes the names from the configuration. `first` is the first listener's address as it was
    /// bound, which matters when its port was left to the system.
    pub fn new(config: &Config, first: SocketAddr) -> Names {
        let arcs = |names: &mut dyn Iterator<Item = &String>| {
            names.map(|name| (name.clone(), Arc::from(name.as_str()))).collect()
        };
        let mut names = Names {
            domains: config.domains.clone(),
            accounts: arcs(&mut config.accounts.keys()),
            regions: arcs(&mut config.regions.keys()),
            hosts: HashMap::new(),
            listeners: HashMap::new(),
            told: HashMap::new(),
            public_name: config.public_name.as_ref().map(|it| it.0.clone()),
            default: RegistryName {
                account: config.default_account.as_str().into(),
                region: config.default_region.as_str().into(),
            },
            port: port(config, first),
            scheme: scheme(config.listeners.first()),
        };
        for mapping in &config.names {
            let registry = RegistryName {
                account: mapping.account.as_str().into(),
                region: mapping.region.as_str().into(),
            };
            match &mapping.of {
                Mapped::Host(host) => {
                    names.told.entry(registry.clone()).or_insert_with(|| host.clone());
                    names.hosts.insert(host.clone(), registry);
                }
                Mapped::Listener(address) => {
                    names.listeners.insert(*address, registry);
                }
            }
        }
        names
    }

    /// The registry that a request means by its host and the listener it came to.
    pub fn resolve(&self, host: Option<&str>, listener: SocketAddr) -> Result<Meant, NotServed> {
        if let Some(host) = host {
            let host = host.to_ascii_lowercase();
            let (name, _) = split_port(&host);
            let name = name.strip_suffix('.').unwrap_or(name);
            if let Some(registry) = self.hosts.get(&host).or_else(|| self.hosts.get(name)) {
                return Ok(Meant { registry: registry.clone(), by: By::Host });
            }
            if let Some(claim) = self.claim(name) {
                return self.check(&claim);
            }
        }
        Ok(match self.listeners.get(&listener) {
            Some(registry) => Meant { registry: registry.clone(), by: By::Listener },
            None => Meant { registry: self.default.clone(), by: By::Default },
        })
    }

    /// What a host's form says, in any of the forms of AWS or of the public name.
    fn claim<'a>(&self, name: &'a str) -> Option<Claim<'a>> {
        if let Some(public) = &self.public_name
            && let Some(claim) = claim_by_template(split_port(public).0, name)
        {
            return Some(claim);
        }
        self.domains.iter().find_map(|domain| {
            let labels = name.strip_suffix(domain.as_str())?.strip_suffix('.')?;
            claim_by_labels(labels)
        })
    }

    fn check(&self, claim: &Claim<'_>) -> Result<Meant, NotServed> {
        let region = match claim.region {
            None => self.default.region.clone(),
            Some(region) => self
                .regions
                .get(region)
                .cloned()
                .ok_or_else(|| NotServed::Region(region.to_owned()))?,
        };
        let account = match claim.account {
            None => self.default.account.clone(),
            Some(account) => self
                .accounts
                .get(account)
                .cloned()
                .ok_or_else(|| NotServed::Account(account.to_owned()))?,
        };
        Ok(Meant { registry: RegistryName { account, region }, by: claim.by })
    }

    /// The registry that is meant when nothing names one.
    pub fn default_registry(&self) -> &RegistryName {
        &self.default
    }

    /// The region under its name, if it is served.
    pub fn region(&self, name: &str) -> Option<&Arc<str>> {
        self.regions.get(name)
    }

    /// The regions that are served, in no order.
    pub fn regions(&self) -> impl Iterator<Item = &Arc<str>> {
        self.regions.values()
    }

    /// The host, with its port if it needs one, that clients are told for a registry: what
    /// `repositoryUri` begins with.
    pub fn public_host(&self, account: &str, region: &str) -> String {
        let is_default = *account == *self.default.account && *region == *self.default.region;
        if let Some(public) = &self.public_name {
            if has_placeholders(public) {
                return fill(public, account, region);
            }
            if is_default {
                return public.clone();
            }
        }
        let registry = RegistryName { account: account.into(), region: region.into() };
        if let Some(host) = self.told.get(&registry) {
            return host.clone();
        }
        if is_default {
            return format!("localhost{}", self.port);
        }
        let domain = self.domains.first().map_or("localhost", String::as_str);
        format!("{account}.dkr.ecr.{region}.{domain}{}", self.port)
    }

    /// The URL that clients log in to for a registry.
    pub fn proxy_endpoint(&self, account: &str, region: &str) -> String {
        format!("{}://{}", self.scheme, self.public_host(account, region))
    }
}

/// What a host's form says.
struct Claim<'a> {
    account: Option<&'a str>,
    region: Option<&'a str>,
    by: By,
}

/// The forms that AWS gives its hosts, in front of the domain: plain, dual-stack and FIPS.
fn claim_by_labels(labels: &str) -> Option<Claim<'_>> {
    let mut parts = labels.split('.');
    let parts = [(); 5].map(|()| parts.next());
    match parts {
        [Some(account), Some("dkr"), Some("ecr" | "ecr-fips"), Some(region), None]
        | [Some(account), Some("dkr-ecr" | "dkr-ecr-fips"), Some(region), None, None]
            if is_account(account) =>
        {
            Some(Claim { account: Some(account), region: Some(region), by: By::Host })
        }
        [Some("api"), Some("ecr" | "ecr-fips"), Some(region), None, None]
        | [Some("ecr" | "ecr-fips"), Some(region), None, None, None] => {
            Some(Claim { account: None, region: Some(region), by: By::Api })
        }
        _ => None,
    }
}

/// Whether a host is the public name, and what stands in the place of its placeholders.
fn claim_by_template<'a>(template: &str, name: &'a str) -> Option<Claim<'a>> {
    let mut claim = Claim { account: None, region: None, by: By::Host };
    let (mut wanted, mut found) = (template.split('.'), name.split('.'));
    loop {
        match (wanted.next(), found.next()) {
            (None, None) => return Some(claim),
            (Some("ACCOUNT"), Some(label)) if is_account(label) => claim.account = Some(label),
            (Some("REGION"), Some(label)) => claim.region = Some(label),
            (Some(wanted), Some(label)) if wanted == label => {}
            _ => return None,
        }
    }
}

fn is_account(label: &str) -> bool {
    label.len() == 12 && label.bytes().all(|byte| byte.is_ascii_digit())
}

fn has_placeholders(public: &str) -> bool {
    split_port(public).0.split('.').any(|label| matches!(label, "ACCOUNT" | "REGION"))
}

fn fill(public: &str, account: &str, region: &str) -> String {
    let (name, port) = split_port(public);
    let labels = name.split('.').map(|label| match label {
        "ACCOUNT" => account,
        "REGION" => region,
        _ => label,
    });
    let port = port.map_or_else(String::new, |port| format!(":{port}"));
    format!("{}{port}", labels.collect::<Vec<_>>().join("."))
}

/// The port of the public name, else of the first listener.
fn port(config: &Config, first: SocketAddr) -> String {
    match &config.public_name {
        Some(public) => split_port(&public.0).1.map_or_else(String::new, |it| format!(":{it}")),
        None => match (scheme(config.listeners.first()), first.port()) {
            ("https", 443) | ("http", 80) => String::new(),
            (_, port) => format!(":{port}"),
        },
    }
}

/// Clients speak TLS to the first listener, or to the proxy in front of it.
fn scheme(first: Option<&Listener>) -> &'static str {
    match first {
        Some(first) if first.tls != Tls::None || !first.trusted_proxies.is_empty() => "https",
        _ => "http",
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Sources;

    const FILE: &str = r#"
        domains = ["localhost", "amazonaws.com", "on.aws", "api.aws"]
        default_account = "123456789012"
        default_region = "us-east-1"
        [[listeners]]
        address = "127.0.0.1:5000"
        [[listeners]]
        address = "127.0.0.1:5443"
        [[names]]
        host = "Registry.example.com"
        account = "210987654321"
        region = "eu-central-1"
        [[names]]
        host = "other.example.com:8443"
        account = "210987654321"
        region = "us-east-1"
        [[names]]
        listener = "127.0.0.1:5443"
        account = "210987654321"
        [accounts.123456789012]
        [accounts.210987654321]
        [regions.us-east-1]
        storage = "/a"
        [regions.eu-central-1]
        storage = "/b"
    "#;

    fn names(text: &str) -> Names {
        let sources = Sources { data: Some("/data".into()), ..Sources::default() };
        let config = Config::parse(&[(Path::new("t"), text)], &sources).unwrap();
        Names::new(&config, config.listeners[0].address)
    }

    fn meant(names: &Names, host: &str, port: u16) -> String {
        let listener = SocketAddr::from(([127, 0, 0, 1], port));
        match names.resolve(Some(host), listener) {
            Ok(Meant { registry, by }) => {
                format!("{} {} {by:?}", registry.account, registry.region)
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_host_means_a_registry() {
        let names = names(FILE);
        let check = |host, expected| assert_eq!(meant(&names, host, 5000), expected, "{host}");
        check("localhost:5000", "123456789012 us-east-1 Default");
        check("127.0.0.1:5000", "123456789012 us-east-1 Default");
        check("[::1]:5000", "123456789012 us-east-1 Default");
        check("", "123456789012 us-east-1 Default");
        check("unknown.example.com", "123456789012 us-east-1 Default");
        check("210987654321.dkr.ecr.eu-central-1.localhost:5000", "210987654321 eu-central-1 Host");
        check("210987654321.dkr.ecr.eu-central-1.amazonaws.com", "210987654321 eu-central-1 Host");
        check("210987654321.DKR.ECR.EU-Central-1.AmazonAWS.com.", "210987654321 eu-central-1 Host");
        check("123456789012.dkr.ecr-fips.us-east-1.amazonaws.com", "123456789012 us-east-1 Host");
        check("210987654321.dkr-ecr.us-east-1.on.aws", "210987654321 us-east-1 Host");
        check("210987654321.dkr-ecr-fips.us-east-1.on.aws:443", "210987654321 us-east-1 Host");
        check("api.ecr.eu-central-1.amazonaws.com", "123456789012 eu-central-1 Api");
        check("api.ecr-fips.eu-central-1.amazonaws.com", "123456789012 eu-central-1 Api");
        check("ecr.eu-central-1.api.aws", "123456789012 eu-central-1 Api");
        check("registry.example.com", "210987654321 eu-central-1 Host");
        check("REGISTRY.example.com:5000", "210987654321 eu-central-1 Host");
        check("other.example.com:8443", "210987654321 us-east-1 Host");
        check("other.example.com", "123456789012 us-east-1 Default");
    }

    #[test]
    fn what_is_not_served_is_told_apart() {
        let names = names(FILE);
        let check = |host, expected| assert_eq!(meant(&names, host, 5000), expected, "{host}");
        check(
            "111122223333.dkr.ecr.us-east-1.localhost",
            "the account 111122223333 is not served here",
        );
        check(
            "123456789012.dkr.ecr.us-west-2.localhost",
            "the region us-west-2 is not served here",
        );
        check("api.ecr.us-west-2.localhost", "the region us-west-2 is not served here");
        // Not of the form, so nothing is claimed.
        check("12345678901.dkr.ecr.us-west-2.localhost", "123456789012 us-east-1 Default");
        check("x.123456789012.dkr.ecr.us-west-2.localhost", "123456789012 us-east-1 Default");
        check("123456789012.dkr.ecr.us-west-2.example.com", "123456789012 us-east-1 Default");
        check("123456789012.dkr.ecr.us-west-2.evillocalhost", "123456789012 us-east-1 Default");
    }

    #[test]
    fn a_listener_means_a_registry_when_the_host_does_not() {
        let names = names(FILE);
        let check = |host, expected| assert_eq!(meant(&names, host, 5443), expected, "{host}");
        check("localhost:5443", "210987654321 us-east-1 Listener");
        check("123456789012.dkr.ecr.eu-central-1.localhost", "123456789012 eu-central-1 Host");
        let listener = SocketAddr::from(([127, 0, 0, 1], 5443));
        assert_eq!(names.resolve(None, listener).unwrap().by, By::Listener);
    }

    #[test]
    fn a_registry_is_told_its_host() {
        let check = |text: &str, account, region, expected: &str| {
            assert_eq!(names(text).proxy_endpoint(account, region), expected);
        };
        let (one, two) = ("123456789012", "210987654321");
        check(FILE, one, "us-east-1", "http://localhost:5000");
        check(FILE, two, "eu-central-1", "http://registry.example.com");
        check(FILE, two, "us-east-1", "http://other.example.com:8443");
        check(FILE, one, "eu-central-1", "http://123456789012.dkr.ecr.eu-central-1.localhost:5000");
        let named = format!("public_name = \"Images.example.com:8443\"\n{FILE}");
        check(&named, one, "us-east-1", "http://images.example.com:8443");
        check(&named, two, "eu-central-1", "http://registry.example.com");
        check(
            &named,
            one,
            "eu-central-1",
            "http://123456789012.dkr.ecr.eu-central-1.localhost:8443",
        );
        let template = format!("public_name = \"ACCOUNT.dkr.ecr.REGION.example.com\"\n{FILE}");
        check(&template, one, "us-east-1", "http://123456789012.dkr.ecr.us-east-1.example.com");
        check(
            &template,
            two,
            "eu-central-1",
            "http://210987654321.dkr.ecr.eu-central-1.example.com",
        );
    }

    #[test]
    fn a_filled_in_public_name_is_recognised() {
        let names = names(&format!("public_name = \"ACCOUNT.dkr.ecr.REGION.example.com\"\n{FILE}"));
        let check = |host, expected| assert_eq!(meant(&names, host, 5000), expected, "{host}");
        check("210987654321.dkr.ecr.eu-central-1.example.com", "210987654321 eu-central-1 Host");
        check(
            "210987654321.dkr.ecr.us-west-2.example.com",
            "the region us-west-2 is not served here",
        );
        check("team.dkr.ecr.us-west-2.example.com", "123456789012 us-east-1 Default");
    }

    #[test]
    fn the_scheme_is_what_clients_speak() {
        let check = |listener: &str, expected: &str| {
            let text = format!("[[listeners]]\naddress = \"127.0.0.1:443\"\n{listener}\n");
            assert_eq!(names(&text).proxy_endpoint("123456789012", "us-east-1"), expected);
        };
        check("tls = \"self-signed\"", "https://localhost");
        check("trusted_proxies = [\"10.0.0.1\"]", "https://localhost");
        check("", "http://localhost:443");
    }
}
