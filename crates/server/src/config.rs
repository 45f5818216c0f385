//! The configuration: what the files say, and what we run with.
//!
//! `File` is the TOML as it is written, all text and options. [`Config`] is what was
//! understood, with every default filled in and every value checked. Only [`Config`] is
//! passed on, so no other code has to doubt a setting.
//!
//! **Invariant:** every error names the key, shows what was written and says what would be right.

mod check;
mod file;
mod print;
mod secret;
mod storage;
mod value;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use ipnet::IpNet;
use serde::Serialize;

pub(crate) use check::split_port;
pub use secret::Secret;
pub use storage::{Database, S3, Storage};

/// Everything that can be set, checked, with defaults filled in.
///
/// It serialises to the TOML that would give it, with secrets blanked.
#[derive(Clone, Debug, Serialize)]
pub struct Config {
    /// Where keys, credentials, the embedded database and objects lie unless said otherwise.
    pub data: PathBuf,
    /// The name that clients are told, see [`crate::names::Names`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_name: Option<PublicName>,
    /// `ACCOUNT.dkr.ecr.REGION.DOMAIN` names a registry for each of these.
    pub domains: Vec<String>,
    pub database: Database,
    /// Twelve digits; one of `accounts`.
    pub default_account: String,
    /// One of `regions`.
    pub default_region: String,
    /// At least one.
    pub listeners: Vec<Listener>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<Admin>,
    pub names: Vec<Mapping>,
    /// By twelve-digit id; at least one.
    pub accounts: BTreeMap<String, Account>,
    /// By name; at least one.
    pub regions: BTreeMap<String, Storage>,
    pub keys: Keys,
    pub limits: Limits,
    pub garbage: Garbage,
    pub audit: Audit,
    pub images: Images,
    pub log: Log,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub testing: Option<Testing>,
}

/// A host, perhaps with a port, as clients write it. Labels may be `ACCOUNT` and `REGION`, to be
/// filled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct PublicName(pub(crate) String);

/// A socket that takes requests for the registry.
#[derive(Clone, Debug, Serialize)]
pub struct Listener {
    pub address: SocketAddr,
    #[serde(flatten)]
    pub tls: Tls,
    pub insecure_http: bool,
    /// Only these may set `X-Forwarded-For` and `X-Forwarded-Proto`.
    #[serde(serialize_with = "print::networks")]
    pub trusted_proxies: Vec<IpNet>,
}

/// How a listener speaks TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    None,
    /// A certificate of the own CA, made and renewed by the server.
    SelfSigned,
    /// PEM files, read again when they change.
    Files {
        certificate: PathBuf,
        key: PathBuf,
    },
}

/// The listener for operators: metrics and health.
#[derive(Clone, Debug, Serialize)]
pub struct Admin {
    pub listen: SocketAddr,
}

/// Gives another host, or all of a listener, an account and a region.
#[derive(Clone, Debug, Serialize)]
pub struct Mapping {
    #[serde(flatten)]
    pub of: Mapped,
    pub account: String,
    pub region: String,
}

/// What a [`Mapping`] is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mapped {
    /// A host name in lower case, with a port if only that port is meant.
    Host(String),
    Listener(SocketAddr),
}

/// An account that this deployment has from the start.
#[derive(Clone, Debug, Serialize)]
pub struct Account {
    pub name: String,
}

/// Files of root keys: the first seals, all open.
#[derive(Clone, Debug, Serialize)]
pub struct Keys {
    pub root: Vec<PathBuf>,
}

/// Limits on what callers may use of this machine. Sizes are bytes.
#[derive(Clone, Debug, Serialize)]
pub struct Limits {
    /// What request bodies over 64 KiB may hold in memory together.
    #[serde(serialize_with = "print::size")]
    pub body_memory: u64,
    /// Uploads are refused while the disk has less than this free.
    #[serde(serialize_with = "print::size")]
    pub min_free: u64,
    pub connections: u32,
    /// From one IPv4 address or one IPv6 /64; trusted proxies are not counted.
    pub connections_per_address: u32,
    /// A handshake, and the head of a request from its first byte on, must be done in this time.
    #[serde(serialize_with = "print::duration")]
    pub header_time: Duration,
    /// A body, in or out, that makes no progress for this long is ended.
    #[serde(serialize_with = "print::duration")]
    pub body_stall: Duration,
    /// A connection without a request is closed after this.
    #[serde(serialize_with = "print::duration")]
    pub idle_time: Duration,
    /// After SIGTERM, requests under way have this long to finish.
    #[serde(serialize_with = "print::duration")]
    pub drain_time: Duration,
    #[serde(serialize_with = "print::duration")]
    pub upload_idle: Duration,
    pub uploads_per_principal: u32,
    pub repositories_per_registry: u32,
    pub images_per_repository: u32,
}

#[derive(Clone, Debug, Serialize)]
pub struct Garbage {
    /// How long something must be unused before the collector takes it.
    #[serde(serialize_with = "print::duration")]
    pub grace: Duration,
}

#[derive(Clone, Debug, Serialize)]
pub struct Audit {
    pub reads: AuditReads,
    #[serde(serialize_with = "print::duration")]
    pub retention: Duration,
    /// How long it is kept which image a tag meant before; `None`: for ever.
    #[serde(serialize_with = "print::optional_duration", skip_serializing_if = "Option::is_none")]
    pub tag_history: Option<Duration>,
}

/// When the record of a read is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditReads {
    /// Within a second; a crash may lose that second.
    Queued,
    /// Before the answer.
    Strict,
}

#[derive(Clone, Debug, Serialize)]
pub struct Images {
    /// An index may name manifests that are not there.
    pub sparse_indexes: bool,
}

#[derive(Clone, Debug, Serialize)]
pub struct Log {
    /// A filter in the form of `tracing`: `info`, or `info,bonded_db=debug`.
    pub level: String,
    pub format: LogFormat,
    /// Whether each request gets a line.
    pub access: bool,
    /// Where spans go, as OTLP over HTTP; nowhere if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp_endpoint: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

/// What only tests may set.
#[derive(Clone, Debug, Serialize)]
pub struct Testing {
    pub allow: bool,
    #[serde(serialize_with = "print::optional_duration", skip_serializing_if = "Option::is_none")]
    pub garbage_grace: Option<Duration>,
    /// How often jobs look for work.
    #[serde(serialize_with = "print::optional_duration", skip_serializing_if = "Option::is_none")]
    pub job_interval: Option<Duration>,
}

/// What the command line and the environment say about the configuration.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Read in this order; a later file adds to the earlier ones and wins over them.
    pub files: Vec<PathBuf>,
    /// Wins over the files.
    pub data: Option<PathBuf>,
    /// Wins over the address of the only listener.
    pub listen: Option<String>,
    /// The directory that holds the data directory when nothing names it.
    pub data_home: Option<PathBuf>,
}

impl Config {
    /// Reads, merges and checks the files that `sources` names.
    pub fn load(sources: &Sources) -> anyhow::Result<Config> {
        let mut texts = Vec::new();
        for path in &sources.files {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("read the configuration {}", path.display()))?;
            texts.push((path.as_path(), text));
        }
        let texts: Vec<_> = texts.iter().map(|(path, text)| (*path, text.as_str())).collect();
        Config::parse(&texts, sources)
    }

    /// Understands texts that were read, each with the name that errors call it by.
    pub fn parse(texts: &[(&Path, &str)], sources: &Sources) -> anyhow::Result<Config> {
        check::config(file::merge(texts)?, sources)
    }

    /// The profile of an account's root key in the credentials file.
    pub fn account_profile(&self, account: &str) -> String {
        if account == self.default_account { "default".to_owned() } else { account.to_owned() }
    }
}

impl Listener {
    /// Whether a peer may say in headers whom it speaks for.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.trusted_proxies.iter().any(|net| net.contains(&peer))
    }
}
