//! Puts a deployment together from its configuration.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bonded_account::audit::queue::AuditQueue;
use bonded_account::keys::{KeyRing, RootKey};
use bonded_account::{Clock, Services};
use bonded_blob::{BlobStore, DirectoryStore, S3Credentials, S3Settings, S3Store};
use bonded_db::{Db, Location, Options};
use bonded_registry::jobs::Schedule;
use bonded_registry::{Endpoint, EndpointOf, Registry, Settings};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use crate::config::{AuditReads, Config, Database, Storage};
use crate::first_start::Setup;
use crate::names::Names;

/// A store holds a descriptor of each of its folders, and every connection and open file one.
const DESCRIPTORS: u64 = 65_536;

/// The registries of a process, and the task that writes their records.
pub struct Assembled {
    pub registry: Arc<Registry>,
    /// Ends, with everything written, when the last of the registry is dropped.
    pub audit_writer: JoinHandle<()>,
}

/// Opens the database and brings its schema up to date. `exclusive`: only for whoever changes
/// what a server may be using; it is refused beside another exclusive one.
///
/// # Errors
/// When it cannot be opened, or another process has it.
pub async fn open_database(config: &Config, exclusive: bool) -> anyhow::Result<Db> {
    let location = match &config.database {
        Database::Sqlite(path) => {
            if let Some(parent) = path.parent() {
                make_private_directory(parent)?;
            }
            Location::Sqlite(path.clone())
        }
        Database::Postgres(url) => Location::Postgres(url.expose().to_owned()),
    };
    Db::open(Options { location, exclusive }).await.context("open the database")
}

/// Opens the store of every region.
///
/// # Errors
/// When a directory cannot be made or read, or an S3 setting has no form.
pub async fn open_stores(config: &Config) -> anyhow::Result<BTreeMap<String, Arc<dyn BlobStore>>> {
    let mut stores: BTreeMap<String, Arc<dyn BlobStore>> = BTreeMap::new();
    for (region, storage) in &config.regions {
        let store: Arc<dyn BlobStore> = match storage {
            Storage::Directory(path) => {
                make_private_directory(path)?;
                let opened = DirectoryStore::open(path).await;
                Arc::new(opened.with_context(|| format!("open {}", path.display()))?)
            }
            Storage::S3(s3) => {
                let credentials = S3Credentials {
                    access_key_id: s3.access_key_id.clone(),
                    secret_access_key: s3.secret_access_key.expose().to_owned(),
                    session_token: None,
                };
                let settings = S3Settings {
                    bucket: s3.bucket.clone(),
                    prefix: s3.prefix.clone(),
                    endpoint: s3.endpoint.clone(),
                    region: s3.region.clone(),
                    credentials: Some(credentials),
                };
                let opened = S3Store::new(&settings);
                Arc::new(opened.with_context(|| format!("open the bucket {}", s3.bucket))?)
            }
        };
        stores.insert(region.clone(), store);
    }
    Ok(stores)
}

/// Refuses a directory without anything in it of which the database names objects: a disk that is
/// not mounted, most likely, and every blob that is asked for would be marked as damaged.
async fn check_mounted(config: &Config, db: &Db) -> anyhow::Result<()> {
    for (region, storage) in &config.regions {
        let Storage::Directory(path) = storage else { continue };
        let is_empty = match std::fs::read_dir(path) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) if error.kind() == ErrorKind::NotFound => true,
            Err(error) => return Err(error).context(format!("read {}", path.display())),
        };
        if !is_empty {
            continue;
        }
        let of_region = region.clone();
        let named = db.read(move |tx| tx.segment_objects(&of_region, &[], 1)).await;
        if !named.context("ask which objects there should be")?.is_empty() {
            bail!(
                "regions.{region}.storage: {path} is empty, but the database names objects in \
                 it. Is the disk mounted? If the objects are lost, restore a backup, or put any \
                 file into it to go on without them",
                path = path.display()
            );
        }
    }
    Ok(())
}

/// Joins what was opened to registries.
///
/// # Errors
/// When a store cannot be opened, or is empty and should not be.
pub async fn assemble(
    config: &Config,
    names: &Arc<Names>,
    db: Db,
    keys: KeyRing,
    clock: Clock,
) -> anyhow::Result<Assembled> {
    check_mounted(config, &db).await?;
    let stores = open_stores(config).await?;
    let strict = config.audit.reads == AuditReads::Strict;
    let (audit, audit_writer) = AuditQueue::start(db.clone(), clock.clone(), strict);
    let services = Arc::new(Services::new(db, keys, clock, audit));
    let registry = Registry::new(services, stores, settings(config), endpoints(names));
    Ok(Assembled { registry: Arc::new(registry), audit_writer })
}

/// Opens a deployment that has been started before: for commands beside or instead of a server.
///
/// # Errors
/// When there is none, or it cannot be opened.
pub async fn open_existing(
    config: &Config,
    names: &Arc<Names>,
    exclusive: bool,
) -> anyhow::Result<Assembled> {
    if let Database::Sqlite(path) = &config.database
        && !path.exists()
    {
        bail!("there is no database {}: was the server ever started?", path.display());
    }
    let db = open_database(config, exclusive).await?;
    let rows = db.read(|tx| tx.root_keys()).await.context("read the root keys' rows")?;
    if rows.is_empty() {
        bail!("the database is empty: was the server ever started?");
    }
    let keys = KeyRing::new(&root_keys(config)?, &rows)?;
    let assembled = assemble(config, names, db, keys, Clock::System).await?;
    assembled.registry.services.load_token_keys().await?;
    Ok(assembled)
}

/// The root keys of the configuration, the one that seals first.
///
/// # Errors
/// When a file cannot be read or holds no key.
pub fn root_keys(config: &Config) -> anyhow::Result<Vec<RootKey>> {
    config.keys.root.iter().map(read_root_key).collect()
}

fn read_root_key(path: &PathBuf) -> anyhow::Result<RootKey> {
    let read = || RootKey::parse(&Zeroizing::new(std::fs::read_to_string(path)?));
    read().with_context(|| format!("read the root key {}", path.display()))
}

/// What there has to be after a start.
pub fn setup(config: &Config) -> Setup {
    let accounts = config.accounts.iter();
    Setup {
        data: config.data.clone(),
        root_keys: config.keys.root.clone(),
        accounts: accounts.map(|(id, account)| (id.clone(), account.name.clone())).collect(),
        default_account: config.default_account.clone(),
        regions: config.regions.keys().cloned().collect(),
    }
}

/// How jobs run.
pub fn schedule(config: &Config) -> Schedule {
    let mut schedule = Schedule {
        retention_micros: micros(config.audit.retention),
        tag_history_micros: config.audit.tag_history.map(micros),
        ..Schedule::default()
    };
    if let Some(testing) = &config.testing {
        if let Some(interval) = testing.job_interval {
            schedule.interval = interval;
            schedule.every_micros = Some(micros(interval));
        }
        if let Some(grace) = testing.garbage_grace {
            schedule.removal_delay_micros = micros(grace);
        }
    }
    schedule
}

/// Raises the limit of open files as far as the system lets us.
///
/// # Errors
/// When the system does not let us at all.
pub fn raise_open_files() -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(DESCRIPTORS, |maximum| maximum.min(DESCRIPTORS));
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
        setrlimit(Resource::Nofile, raised).context("raise the limit of open files")?;
    }
    Ok(())
}

fn settings(config: &Config) -> Settings {
    let limits = &config.limits;
    Settings {
        sparse_indexes: config.images.sparse_indexes,
        grace_micros: micros(config.garbage.grace),
        upload_idle_micros: micros(limits.upload_idle),
        uploads_per_principal: limits.uploads_per_principal.into(),
        repositories_per_registry: limits.repositories_per_registry.into(),
        images_per_repository: limits.images_per_repository.into(),
        min_free: limits.min_free,
        ..Settings::default()
    }
}

fn endpoints(names: &Arc<Names>) -> EndpointOf {
    let names = Arc::clone(names);
    Arc::new(move |account, region| Endpoint {
        host: names.public_host(account, region),
        url: names.proxy_endpoint(account, region),
    })
}

fn make_private_directory(path: &std::path::Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("make the directory {}", path.display()))
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
