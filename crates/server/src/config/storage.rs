//! Where rows and objects are kept.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use serde::ser::{Serialize, SerializeMap as _, Serializer};

use super::file;
use super::secret::{BLANK, Secret};
use crate::credentials;

/// The database of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Database {
    /// A file of this machine, for one process.
    Sqlite(PathBuf),
    /// A `postgres://` URL, with its password.
    Postgres(Secret),
}

/// Where a region's objects are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    Directory(PathBuf),
    S3(S3),
}

/// A bucket, and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3 {
    pub bucket: String,
    /// Before every key, without slashes at its ends; may be empty.
    pub prefix: String,
    /// An `http://` or `https://` URL; AWS's own if absent.
    pub endpoint: Option<String>,
    pub region: String,
    pub access_key_id: String,
    pub secret_access_key: Secret,
}

impl Database {
    pub(super) fn parse(written: Option<&str>, data: &Path) -> anyhow::Result<Database> {
        let Some(written) = written else {
            return Ok(Database::Sqlite(data.join("bonded.db")));
        };
        if let Some(path) = written.strip_prefix("sqlite:") {
            ensure!(
                !path.is_empty() && !path.starts_with("//"),
                "database: {written:?} names no file; write for example \
                 \"sqlite:/var/lib/bonded/bonded.db\""
            );
            return Ok(Database::Sqlite(PathBuf::from(path)));
        }
        // What was written is not shown: it may hold a password.
        let address =
            written.strip_prefix("postgres://").or_else(|| written.strip_prefix("postgresql://"));
        match address {
            Some(address) if !address.is_empty() => {
                Ok(Database::Postgres(Secret::new(written.to_owned())))
            }
            _ => bail!(
                "database: this is neither a file nor a server; write for example \
                 \"sqlite:/var/lib/bonded/bonded.db\" or \
                 \"postgres://user:password@host:5432/bonded\""
            ),
        }
    }
}

impl Serialize for Database {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Database::Sqlite(path) => {
                serializer.serialize_str(&format!("sqlite:{}", path.display()))
            }
            Database::Postgres(url) => serializer.serialize_str(&without_password(url.expose())),
        }
    }
}

/// A URL with `***` for its password, in front of the host or as a parameter.
fn without_password(url: &str) -> String {
    let (url, query) = url.split_once('?').map_or((url, None), |(url, query)| (url, Some(query)));
    let mut shown = match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, rest)), Some((_, host))) => {
            let user = rest.split([':', '@']).next().unwrap_or_default();
            format!("{scheme}://{user}:{BLANK}@{host}")
        }
        _ => url.to_owned(),
    };
    for (number, parameter) in query.into_iter().flat_map(|it| it.split('&')).enumerate() {
        shown.push(if number == 0 { '?' } else { '&' });
        match parameter.split_once('=') {
            Some((name, _)) if name.contains("password") => {
                shown.push_str(name);
                shown.push('=');
                shown.push_str(BLANK);
            }
            _ => shown.push_str(parameter),
        }
    }
    shown
}

impl Storage {
    pub(super) fn parse(region: &str, file: &file::Region) -> anyhow::Result<Storage> {
        let key = format!("regions.{region}");
        let Some(storage) = file.storage.as_deref().filter(|it| !it.is_empty()) else {
            bail!("{key}.storage: missing; write a directory or \"s3://BUCKET/PREFIX\"");
        };
        match storage.strip_prefix("s3://") {
            Some(place) => S3::parse(&key, region, place, file).map(Storage::S3),
            None => {
                ensure!(
                    !storage.contains("://"),
                    "{key}.storage: {storage:?} is of no kind we know; write a directory or \
                     \"s3://BUCKET/PREFIX\""
                );
                for (name, is_set) in file.s3_keys() {
                    ensure!(
                        !is_set,
                        "{key}.{name}: only a storage of the form \"s3://BUCKET/PREFIX\" takes it"
                    );
                }
                Ok(Storage::Directory(PathBuf::from(storage)))
            }
        }
    }
}

impl S3 {
    fn parse(key: &str, region: &str, place: &str, file: &file::Region) -> anyhow::Result<S3> {
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        ensure!(
            !bucket.is_empty(),
            "{key}.storage: \"s3://{place}\" names no bucket; write \"s3://BUCKET/PREFIX\""
        );
        if let Some(endpoint) = &file.s3_endpoint {
            ensure!(
                endpoint.starts_with("http://") || endpoint.starts_with("https://"),
                "{key}.s3_endpoint: {endpoint:?} is not a URL; write for example \
                 \"https://s3.example.com\""
            );
        }
        let (access_key_id, secret_access_key) = s3_credentials(key, file)?;
        Ok(S3 {
            bucket: bucket.to_owned(),
            prefix: prefix.trim_matches('/').to_owned(),
            endpoint: file.s3_endpoint.clone(),
            region: file.s3_region.clone().unwrap_or_else(|| region.to_owned()),
            access_key_id,
            secret_access_key,
        })
    }
}

/// The bucket's key, from the configuration or from the file that it names.
fn s3_credentials(key: &str, file: &file::Region) -> anyhow::Result<(String, Secret)> {
    match (&file.s3_access_key_id, &file.s3_secret_access_key, &file.s3_credentials) {
        (Some(id), Some(secret), None) => Ok((id.clone(), Secret::new(secret.clone()))),
        (None, None, Some(path)) => {
            let found = credentials::read(path, "default")
                .with_context(|| format!("{key}.s3_credentials"))?;
            Ok((found.access_key_id, found.secret_access_key))
        }
        (Some(_), None, None) => bail!(
            "{key}.s3_secret_access_key: missing; it goes with s3_access_key_id, perhaps in a \
             second file of its own"
        ),
        (None, Some(_), None) => {
            bail!("{key}.s3_access_key_id: missing; it goes with s3_secret_access_key")
        }
        (None, None, None) => bail!(
            "{key}.s3_credentials: missing; write the path of a file in AWS's shared credentials \
             format, or s3_access_key_id and s3_secret_access_key"
        ),
        (_, _, Some(_)) => bail!(
            "{key}.s3_credentials: there are s3_access_key_id or s3_secret_access_key too; keep \
             one or the other"
        ),
    }
}

impl file::Region {
    fn s3_keys(&self) -> [(&'static str, bool); 5] {
        [
            ("s3_endpoint", self.s3_endpoint.is_some()),
            ("s3_region", self.s3_region.is_some()),
            ("s3_access_key_id", self.s3_access_key_id.is_some()),
            ("s3_secret_access_key", self.s3_secret_access_key.is_some()),
            ("s3_credentials", self.s3_credentials.is_some()),
        ]
    }
}

impl Serialize for Storage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self {
            Storage::Directory(path) => map.serialize_entry("storage", path)?,
            Storage::S3(s3) => {
                let slash = if s3.prefix.is_empty() { "" } else { "/" };
                let place = format!("s3://{}{slash}{}", s3.bucket, s3.prefix);
                map.serialize_entry("storage", &place)?;
                if let Some(endpoint) = &s3.endpoint {
                    map.serialize_entry("s3_endpoint", endpoint)?;
                }
                map.serialize_entry("s3_region", &s3.region)?;
                map.serialize_entry("s3_access_key_id", &s3.access_key_id)?;
                map.serialize_entry("s3_secret_access_key", &s3.secret_access_key)?;
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        let check = |url, expected| assert_eq!(without_password(url), expected);
        check("postgres://bonded:pass@db:5432/b", "postgres://bonded:***@db:5432/b");
        check("postgres://bonded:p@ss:w/rd@db/b", "postgres://bonded:***@db/b");
        check("postgres://db/b?sslmode=require", "postgres://db/b?sslmode=require");
        check(
            "postgres://db/b?user=a&password=x&sslmode=require",
            "postgres://db/b?user=a&password=***&sslmode=require",
        );
        check("postgres://db/b?sslpassword=x", "postgres://db/b?sslpassword=***");
    }
}
