//! The configuration as it is written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::bail;
use serde::Deserialize;

use super::value::Written;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) data: Option<PathBuf>,
    pub(super) public_name: Option<String>,
    pub(super) domains: Option<Vec<String>>,
    pub(super) database: Option<String>,
    pub(super) default_account: Option<String>,
    pub(super) default_region: Option<String>,
    pub(super) listeners: Option<Vec<Listener>>,
    pub(super) admin: Option<Admin>,
    pub(super) names: Vec<Mapping>,
    pub(super) accounts: BTreeMap<String, Account>,
    pub(super) regions: BTreeMap<String, Region>,
    pub(super) keys: Keys,
    pub(super) limits: Limits,
    pub(super) garbage: Garbage,
    pub(super) audit: Audit,
    pub(super) images: Images,
    pub(super) log: Log,
    pub(super) testing: Option<Testing>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Listener {
    pub(super) address: Option<String>,
    pub(super) tls: Option<String>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) insecure_http: bool,
    pub(super) trusted_proxies: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Admin {
    pub(super) listen: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mapping {
    pub(super) host: Option<String>,
    pub(super) listener: Option<String>,
    pub(super) account: Option<String>,
    pub(super) region: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Account {
    pub(super) name: Option<String>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Region {
    pub(super) storage: Option<String>,
    pub(super) s3_endpoint: Option<String>,
    pub(super) s3_region: Option<String>,
    pub(super) s3_access_key_id: Option<String>,
    pub(super) s3_secret_access_key: Option<String>,
    pub(super) s3_credentials: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Keys {
    pub(super) root: Option<Vec<PathBuf>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Limits {
    pub(super) body_memory: Option<Written>,
    pub(super) min_free: Option<Written>,
    pub(super) connections: Option<i64>,
    pub(super) connections_per_address: Option<i64>,
    pub(super) header_time: Option<Written>,
    pub(super) body_stall: Option<Written>,
    pub(super) idle_time: Option<Written>,
    pub(super) drain_time: Option<Written>,
    pub(super) upload_idle: Option<Written>,
    pub(super) uploads_per_principal: Option<i64>,
    pub(super) repositories_per_registry: Option<i64>,
    pub(super) images_per_repository: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Garbage {
    pub(super) grace: Option<Written>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Audit {
    pub(super) reads: Option<String>,
    pub(super) retention: Option<Written>,
    pub(super) tag_history: Option<Written>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Images {
    pub(super) sparse_indexes: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Log {
    pub(super) level: Option<String>,
    pub(super) format: Option<String>,
    pub(super) access: Option<bool>,
    pub(super) otlp_endpoint: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Testing {
    pub(super) allow: bool,
    pub(super) garbage_grace: Option<Written>,
    pub(super) job_interval: Option<Written>,
}

/// Reads texts as one: a table of a later text adds to the earlier one's and wins over it, key
/// by key; a list replaces the earlier list.
pub(super) fn merge(texts: &[(&Path, &str)]) -> anyhow::Result<File> {
    let mut merged = toml::Table::new();
    for (path, text) in texts {
        // Each is read on its own first, because only then do errors have a line.
        if let Err(error) = toml::from_str::<File>(text) {
            bail!("{}", explain(path, text, &error));
        }
        let table =
            text.parse().map_err(|error| anyhow::anyhow!("{}", explain(path, text, &error)))?;
        merge_table(&mut merged, table);
    }
    File::deserialize(merged).map_err(|error| anyhow::anyhow!("{}", error.to_string().trim_end()))
}

fn merge_table(into: &mut toml::Table, from: toml::Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(toml::Value::Table(into)), toml::Value::Table(from)) => merge_table(into, from),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// One line: the file, the line, the key and what is wrong.
fn explain(path: &Path, text: &str, error: &toml::de::Error) -> String {
    let start = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = text.as_bytes().iter().take(start).filter(|byte| **byte == b'\n').count() + 1;
    let message = error.message().replace('\n', ", ");
    match key(text) {
        Some(key) => format!("{} line {line}: {key}: {message}", path.display()),
        None => format!("{} line {line}: {message}", path.display()),
    }
}

/// The key that is wrong. Read from text, an error has a line; read from a table, it has a key.
fn key(text: &str) -> Option<String> {
    let table: toml::Table = text.parse().ok()?;
    let shown = File::deserialize(table).err()?.to_string();
    let key = shown.lines().find_map(|line| line.strip_prefix("in `")?.strip_suffix('`'));
    key.map(str::to_owned)
}
