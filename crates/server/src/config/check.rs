//! From what is written to what is meant: defaults, and every rule with its sentence.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail, ensure};

use super::file::{self, File};
use super::{Account, Config, Database, Keys, Mapped, Mapping, Sources, Storage};

mod host;
mod listener;
mod numbers;

pub(crate) use host::split_port;

const DEFAULT_ACCOUNT: &str = "123456789012";
const DEFAULT_REGION: &str = "us-east-1";

/// Checks everything and fills in what was left out.
pub(super) fn config(file: File, sources: &Sources) -> anyhow::Result<Config> {
    let data = data_directory(&file, sources)?;
    let accounts = accounts(&file)?;
    let default_account = default_account(&file, &accounts)?;
    let regions = regions(&file, &data)?;
    let default_region = default_region(&file, &regions)?;
    let listeners = listener::listeners(file.listeners, sources.listen.as_deref())?;
    let domains = host::domains(file.domains)?;
    let public_name = file.public_name.map(|it| host::public_name(&it)).transpose()?;
    let names = names(file.names, &accounts, &regions, (&default_account, &default_region))?;
    let testing = numbers::testing(file.testing)?;
    Ok(Config {
        database: Database::parse(file.database.as_deref(), &data)?,
        keys: keys(file.keys, &data)?,
        limits: numbers::limits(&file.limits)?,
        garbage: numbers::garbage(&file.garbage, testing.as_ref())?,
        audit: numbers::audit(&file.audit)?,
        images: super::Images { sparse_indexes: file.images.sparse_indexes },
        log: numbers::log(file.log)?,
        admin: file.admin.as_ref().map(listener::admin).transpose()?,
        data,
        public_name,
        domains,
        default_account,
        default_region,
        listeners,
        names,
        accounts,
        regions,
        testing,
    })
}

fn data_directory(file: &File, sources: &Sources) -> anyhow::Result<PathBuf> {
    let home = || sources.data_home.as_ref().map(|home| home.join("bonded"));
    sources.data.clone().or_else(|| file.data.clone()).or_else(home).ok_or_else(|| {
        anyhow!("data: there is no home directory to find it in; give --data DIR, or write data")
    })
}

fn accounts(file: &File) -> anyhow::Result<BTreeMap<String, Account>> {
    let mut accounts = BTreeMap::new();
    for (id, account) in &file.accounts {
        check_account(&format!("accounts.{id}"), id)?;
        let name = account.name.clone().unwrap_or_else(|| id.clone());
        accounts.insert(id.clone(), Account { name });
    }
    if accounts.is_empty() {
        let id = file.default_account.as_deref().unwrap_or(DEFAULT_ACCOUNT);
        check_account("default_account", id)?;
        accounts.insert(id.to_owned(), Account { name: "main".to_owned() });
    }
    Ok(accounts)
}

fn default_account(file: &File, accounts: &BTreeMap<String, Account>) -> anyhow::Result<String> {
    match &file.default_account {
        Some(id) => {
            check_account("default_account", id)?;
            check_one_of("default_account", "accounts", id, accounts)?;
            Ok(id.clone())
        }
        None => first(accounts),
    }
}

fn regions(file: &File, data: &Path) -> anyhow::Result<BTreeMap<String, Storage>> {
    let mut regions = BTreeMap::new();
    for (name, region) in &file.regions {
        check_region(&format!("regions.{name}"), name)?;
        let storage = match &region.storage {
            // One region alone needs no place of its own.
            None if file.regions.len() == 1 => {
                let storage = Some(data.join("objects").display().to_string());
                Storage::parse(name, &file::Region { storage, ..region.clone() })?
            }
            _ => Storage::parse(name, region)?,
        };
        if let Some((other, _)) = regions.iter().find(|(_, it)| same_place(it, &storage)) {
            bail!(
                "regions.{name}.storage: regions.{other} keeps its objects in the same place; \
                 give each region a place of its own"
            );
        }
        regions.insert(name.clone(), storage);
    }
    if regions.is_empty() {
        let name = file.default_region.as_deref().unwrap_or(DEFAULT_REGION);
        check_region("default_region", name)?;
        regions.insert(name.to_owned(), Storage::Directory(data.join("objects")));
    }
    Ok(regions)
}

fn same_place(one: &Storage, other: &Storage) -> bool {
    match (one, other) {
        (Storage::S3(one), Storage::S3(other)) => {
            (&one.endpoint, &one.bucket, &one.prefix)
                == (&other.endpoint, &other.bucket, &other.prefix)
        }
        (Storage::Directory(one), Storage::Directory(other)) => one == other,
        _ => false,
    }
}

fn default_region(file: &File, regions: &BTreeMap<String, Storage>) -> anyhow::Result<String> {
    match &file.default_region {
        Some(name) => {
            check_one_of("default_region", "regions", name, regions)?;
            Ok(name.clone())
        }
        None => first(regions),
    }
}

fn first<T>(of: &BTreeMap<String, T>) -> anyhow::Result<String> {
    of.keys().next().cloned().ok_or_else(|| anyhow!("there is nothing to choose from"))
}

fn names(
    written: Vec<file::Mapping>,
    accounts: &BTreeMap<String, Account>,
    regions: &BTreeMap<String, Storage>,
    defaults: (&str, &str),
) -> anyhow::Result<Vec<Mapping>> {
    let mut names: Vec<Mapping> = Vec::new();
    for (number, it) in written.into_iter().enumerate() {
        let key = format!("names[{number}]");
        let of = match (it.host, it.listener) {
            (Some(host), None) => Mapped::Host(host::host(&format!("{key}.host"), &host)?),
            (None, Some(listener)) => {
                Mapped::Listener(address(&format!("{key}.listener"), &listener)?)
            }
            _ => bail!("{key}: write either host or listener"),
        };
        if let Some(other) = names.iter().position(|other| other.of == of) {
            bail!("{key}: names[{other}] is about the same; keep one of them");
        }
        let account = it.account.unwrap_or_else(|| defaults.0.to_owned());
        check_one_of(&format!("{key}.account"), "accounts", &account, accounts)?;
        let region = it.region.unwrap_or_else(|| defaults.1.to_owned());
        check_one_of(&format!("{key}.region"), "regions", &region, regions)?;
        names.push(Mapping { of, account, region });
    }
    Ok(names)
}

fn keys(file: file::Keys, data: &Path) -> anyhow::Result<Keys> {
    let root = file.root.unwrap_or_else(|| vec![data.join("keys").join("root.key")]);
    ensure!(
        !root.is_empty(),
        "keys.root: the list is empty; write at least one file, or leave it out"
    );
    Ok(Keys { root })
}

/// Reads `IP:PORT`.
fn address(key: &str, written: &str) -> anyhow::Result<SocketAddr> {
    // `localhost` is what people write; a name that resolves elsewhere is not a listen address.
    let plain = written.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    plain.as_deref().unwrap_or(written).parse().map_err(|_| {
        anyhow!("{key}: {written:?} is not an IP address with a port; write for example \"127.0.0.1:5000\"")
    })
}

fn check_account(key: &str, id: &str) -> anyhow::Result<()> {
    ensure!(
        id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_digit()),
        "{key}: {id:?} is not an account; write twelve digits, for example \"{DEFAULT_ACCOUNT}\""
    );
    Ok(())
}

/// A region's name is a label of host names.
fn check_region(key: &str, name: &str) -> anyhow::Result<()> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    ensure!(
        (1..=32).contains(&name.len())
            && name.bytes().all(allowed)
            && !name.starts_with('-')
            && !name.ends_with('-'),
        "{key}: {name:?} is not a region; write up to 32 small letters, digits and hyphens, for \
         example \"{DEFAULT_REGION}\""
    );
    Ok(())
}

fn check_one_of<T>(
    key: &str,
    of: &str,
    name: &str,
    known: &BTreeMap<String, T>,
) -> anyhow::Result<()> {
    let all = known.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    ensure!(known.contains_key(name), "{key}: {name:?} is not one of {of}; write one of: {all}");
    Ok(())
}
