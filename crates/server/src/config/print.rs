//! How values of the configuration are shown: as the file would have them.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::ser::{Serialize, SerializeMap as _, Serializer};

use super::value::{SIZES, TIMES, text_with_unit};
use super::{Config, Tls};

impl Config {
    /// The TOML that gives this configuration, with secrets blanked.
    pub fn to_toml(&self) -> anyhow::Result<String> {
        Ok(toml::to_string(self)?)
    }
}

pub(super) fn size<S: Serializer>(bytes: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&text_with_unit(*bytes, SIZES))
}

pub(super) fn duration<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    serializer.serialize_str(&text_with_unit(millis, TIMES))
}

pub(super) fn optional_duration<S: Serializer>(
    time: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => duration(time, serializer),
        None => serializer.serialize_none(),
    }
}

pub(super) fn networks<S: Serializer>(all: &[IpNet], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(all.iter().map(IpNet::to_string))
}

impl Serialize for Tls {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self {
            Tls::None => {}
            Tls::SelfSigned => map.serialize_entry("tls", "self-signed")?,
            Tls::Files { certificate, key } => {
                let entries: [(&str, &PathBuf); 2] = [("certificate", certificate), ("key", key)];
                for (name, path) in entries {
                    map.serialize_entry(name, path)?;
                }
            }
        }
        map.end()
    }
}
