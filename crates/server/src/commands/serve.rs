//! `bonded serve`: the server, from its first start to its last request.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bonded_account::Clock;
use bonded_account::clock::random;
use bonded_blob::ObjectName;
use bonded_registry::Registry;
use rustix::fs::Mode;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::print;
use crate::access_log::AccessLog;
use crate::assembly::{self, Assembled};
use crate::config::{Config, Storage, Tls};
use crate::figures;
use crate::first_start::{self, Ready};
use crate::health::{Admin, Readiness};
use crate::limits::BodyBudget;
use crate::listen::{Listening, Shared};
use crate::log::Logging;
use crate::metrics::Metrics;
use crate::names::Names;
use crate::service::Service;
use crate::tasks::{self, Tasks};

/// How long jobs may go on when the server ends.
const LAST_TASKS: Duration = Duration::from_secs(20);
/// How long the last records may take to be written when the server ends.
const LAST_RECORDS: Duration = Duration::from_secs(10);

/// Serves until SIGTERM or SIGINT, then finishes what is under way.
///
/// # Errors
/// When it cannot start, and says what would be right.
pub async fn run(config: &Config, logging: &Logging) -> anyhow::Result<()> {
    // Whatever is made from here on is for this user alone.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    assembly::raise_open_files()?;
    // The database first: a second server on the same data learns that, and not that the port
    // is taken.
    let db = assembly::open_database(config, true).await?;
    let listening = Listening::open(config).await?;
    let first = *listening.addresses()?.first().context("there is no listener")?;
    let names = Arc::new(Names::new(config, first));
    let clock = Clock::System;
    let ready = first_start::prepare(&db, clock.now(), &assembly::setup(config)).await?;
    let greeting = greeting(config, &names, &ready);
    let assembled = assembly::assemble(config, &names, db, ready.keys, clock).await?;
    let Assembled { registry, audit_writer } = assembled;

    let metrics = Arc::new(Metrics::new());
    figures::add(&metrics, &registry);
    logging.add_figures(&metrics);
    let bodies = BodyBudget::new(config.limits.body_memory, Arc::clone(&metrics));
    let service = Arc::new(Service::new(Arc::clone(&registry), names, bodies));
    let access_log = match config.log.access {
        true => AccessLog::new(logging.lines.clone(), config.log.format),
        false => AccessLog::none(),
    };
    let (stop, stopped) = watch::channel(false);
    let tasks = tasks::start(&registry, assembly::schedule(config), &stopped).await?;
    let shared = Arc::new(Shared {
        handler: service.into_handler(),
        limits: config.limits.clone(),
        metrics,
        access_log,
    });
    let admin = match &config.admin {
        None => None,
        Some(admin) => {
            let checks = readiness(config, &registry, &tasks);
            let metrics = Arc::clone(&shared.metrics);
            let admin = Admin::open(admin.listen, metrics, checks, stopped).await?;
            Some(tokio::spawn(admin.serve()))
        }
    };
    print(&greeting)?;
    tracing::info!(address = %first, "ready");
    let end = end_signal()?;
    let told = async {
        end.await;
        tracing::info!("draining");
        // Before the last request has ended, so that a balancer looks elsewhere and no job begins.
        stop.send_replace(true);
    };
    listening.serve(shared, told).await;
    finish(registry, tasks, audit_writer).await?;
    if let Some(admin) = admin {
        admin.abort();
    }
    Ok(())
}

/// What must work for the server to be ready: each is really tried.
fn readiness(config: &Config, registry: &Arc<Registry>, tasks: &Tasks) -> Readiness {
    let mut readiness = Readiness::new();
    let weak = Arc::downgrade(registry);
    readiness.check("database", move || {
        let registry = weak.upgrade();
        Box::pin(async move {
            let registry = registry.context("the server ends")?;
            registry.db().read(|tx| tx.clock()).await?;
            Ok(())
        })
    });
    let weak = Arc::downgrade(registry);
    let directories: Vec<_> = config.regions.values().filter_map(directory).collect();
    readiness.check("store", move || {
        let (registry, directories) = (weak.upgrade(), directories.clone());
        Box::pin(async move {
            let registry = registry.context("the server ends")?;
            for (region, store) in &registry.stores {
                // A name that nobody has: to be told so, the store must answer.
                let nothing = store.get(ObjectName(random()), 0..1).await;
                nothing.with_context(|| format!("read from the store of {region}"))?;
            }
            for path in directories {
                // The store would go on in a directory that was moved, and not after a restart.
                ensure!(path.is_dir(), "{} is gone", path.display());
            }
            Ok(())
        })
    });
    let clock = Arc::clone(&tasks.clock);
    readiness.check("clock", move || {
        let (ready, offset) = (clock.is_ready(), clock.micros());
        Box::pin(async move {
            ensure!(ready, "the clock is {offset} µs off the database's");
            Ok(())
        })
    });
    readiness
}

fn directory(storage: &Storage) -> Option<PathBuf> {
    match storage {
        Storage::Directory(path) => Some(path.clone()),
        Storage::S3(_) => None,
    }
}

/// Ends the tasks, and writes what is only in memory: pull times and records of reads.
async fn finish(
    registry: Arc<Registry>,
    tasks: Tasks,
    audit_writer: JoinHandle<()>,
) -> anyhow::Result<()> {
    // A job that is cut off goes on elsewhere or after the next start: its steps are transactions.
    if tokio::time::timeout(LAST_TASKS, tasks.ended()).await.is_err() {
        tracing::info!("a job is cut off");
    }
    registry.pulls.write(registry.db()).await.context("write the last pull times")?;
    // The writer ends when the last queue is gone, and the registry has it.
    drop(registry);
    if tokio::time::timeout(LAST_RECORDS, audit_writer).await.is_err() {
        tracing::error!("the last audit records were not written in time");
    }
    tracing::info!("ended");
    Ok(())
}

/// Ready when the process is asked to end.
fn end_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// What is said at the start: more the first time.
fn greeting(config: &Config, names: &Names, ready: &Ready) -> String {
    let (account, region) = (&config.default_account, &config.default_region);
    let host = names.public_host(account, region);
    let url = names.proxy_endpoint(account, region);
    let credentials = ready.credentials.display();
    if ready.made_accounts.is_empty() {
        return format!("Bonded is ready at {url}. The root keys are in {credentials}.\n");
    }
    let bundle = match config.listeners.first().map(|listener| &listener.tls) {
        Some(Tls::SelfSigned) => {
            let ca = crate::ca::directory(&config.data).join("ca.crt");
            format!("  export AWS_CA_BUNDLE={}\n", ca.display())
        }
        _ => String::new(),
    };
    format!(
        "Bonded is ready at {url}: account {account}, region {region}.\n\n\
         Use it:\n\n\
         \x20 export AWS_ENDPOINT_URL_ECR={url} AWS_REGION={region} AWS_DEFAULT_REGION={region}\n\
         \x20 export AWS_SHARED_CREDENTIALS_FILE={credentials}\n\
         {bundle}\
         \x20 aws ecr create-repository --repository-name app\n\
         \x20 aws ecr get-login-password | docker login --username AWS --password-stdin {host}\n\
         \x20 docker push {host}/app:1\n\n\
         Without the aws command, `bonded get-login-password` prints the same password.\n\n\
         {}",
        keep_safe(&config.data, &config.keys.root)
    )
}

fn keep_safe(data: &Path, root_keys: &[PathBuf]) -> String {
    let Some(key) = root_keys.first() else { return String::new() };
    let place = if key.starts_with(data) {
        "It lies inside the data directory: that protects copies of the store and of single \
         files,\nnot a copy of the whole directory. `keys.root` puts it elsewhere.\n"
    } else {
        ""
    };
    format!(
        "Keep safe, and apart from each other: the root key {}\nand your backups (`bonded backup \
         DIR`). Without the key nothing in them can be read.\n{place}",
        key.display()
    )
}
