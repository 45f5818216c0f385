//! `check`, `backup`, `restore` and `rotate-root-key`, as the command line has them: what is
//! opened for each, a progress bar, and what is told in the end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use bonded_account::Clock;
use bonded_account::keys::RootKey;
use bonded_registry::verify::{self, Report};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::backup::{self, Summary};
use super::{print, restore as restoring, rotate_root_key as rotation};
use crate::assembly::{self, Assembled};
use crate::config::Config;
use crate::first_start::files;
use crate::names::Names;

#[derive(Clone, Copy, Debug, Default, Args)]
pub struct CheckArguments {
    /// Mark what is damaged, so that the next push heals it, and remove what is provably garbage
    #[arg(long)]
    pub repair: bool,
}

#[derive(Clone, Debug, Args)]
pub struct Directory {
    /// Directory of the backup
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
}

/// Checks everything; the exit code says whether all is well.
///
/// # Errors
/// When the deployment cannot be opened or read.
pub async fn check(config: &Config, arguments: &CheckArguments) -> anyhow::Result<ExitCode> {
    let assembled = open(config, arguments.repair).await?;
    let bar = bar("{spinner} {pos} of {len} blobs, {msg} {elapsed}");
    let checked = verify::run(&assembled.registry, arguments.repair, |progress| {
        bar.set_length(unsigned(progress.totals.blobs));
        bar.set_position(unsigned(progress.blobs));
        bar.set_message(format!("{} images", progress.images));
    });
    let report = checked.await.context("check")?;
    bar.finish_and_clear();
    print(&told(&report))?;
    close(assembled).await?;
    Ok(if report.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn told(report: &Report) -> String {
    let mut text = String::new();
    for problem in &report.problems {
        text += problem;
        text.push('\n');
    }
    let Report { blobs, images, objects, problems, garbage, repaired } = report;
    text += &format!(
        "checked {blobs} blobs, {images} images and {objects} objects: {} problems, {garbage} \
         pieces of garbage, {repaired} repaired\n",
        problems.len()
    );
    text
}

/// Makes or renews a backup, beside a server or not.
///
/// # Errors
/// When the deployment cannot be opened or read, or the directory cannot be written.
pub async fn backup(config: &Config, arguments: &Directory) -> anyhow::Result<()> {
    let assembled = open(config, false).await?;
    let bar = bar("{spinner} {pos} objects, {msg} {elapsed}");
    let directory = &arguments.directory;
    let made = backup::run(&assembled.registry, directory, |summary| show(&bar, summary));
    let Summary { objects, copied, bytes, removed } = made.await.context("back up")?;
    bar.finish_and_clear();
    print(&format!(
        "{}: {objects} objects, {copied} of them copied now ({bytes} bytes), {removed} removed\n\
         The root key is not in it. Keep it elsewhere: without it a backup cannot be read.\n",
        directory.display()
    ))?;
    close(assembled).await
}

/// Makes a backup the deployment's rows and objects.
///
/// # Errors
/// When a server runs on an SQLite database, a root key is missing, or something cannot be read
/// or written.
pub async fn restore(config: &Config, arguments: &Directory) -> anyhow::Result<()> {
    let directory = &arguments.directory;
    restoring::check_keys(directory, &assembly::root_keys(config)?)?;
    let db = assembly::open_database(config, true).await?;
    let stores = assembly::open_stores(config).await?;
    let bar = bar("{spinner} {pos} objects, {msg} {elapsed}");
    let restored = restoring::run(&db, &stores, directory, |summary| show(&bar, summary));
    let Summary { objects, copied, .. } = restored.await.context("restore")?;
    bar.finish_and_clear();
    print(&format!("restored every row; {objects} objects, {copied} of them copied now\n"))?;
    db.close().await;
    Ok(())
}

/// Seals every key anew. With one file in `keys.root`, a new root key takes its place and the
/// old one is kept beside it; with more, the first one seals, as the configuration says.
///
/// # Errors
/// When a server runs on an SQLite database, or something cannot be read or written.
pub async fn rotate_root_key(config: &Config) -> anyhow::Result<()> {
    let mut keys = assembly::root_keys(config)?;
    let only = match config.keys.root.as_slice() {
        [only] => Some((only, next_key(only)?)),
        _ => None,
    };
    let db = assembly::open_database(config, true).await?;
    if let Some((_, (_, key))) = &only {
        keys.insert(0, RootKey::parse(&key.to_text())?);
    }
    let rotated = rotation::run(&db, &keys, Clock::System.now()).await?;
    let mut text = format!("{} keys are sealed under the first root key now\n", rotated.keys);
    if let Some((path, (next, _))) = only {
        let old = keys.get(1).context("the old root key is read")?;
        let kept = take_place(path, &next, old)?;
        text += &format!(
            "{} is new: keep a copy of it, apart from your backups.\n{} is the old key: backups \
             that were made before can be read with it alone.\n",
            path.display(),
            kept.display()
        );
    }
    db.close().await;
    print(&text)
}

/// The key that is to come, in a file before anything is sealed under it; the one that an
/// interrupted rotation left, because the database may need it already.
fn next_key(path: &Path) -> anyhow::Result<(PathBuf, RootKey)> {
    let next = beside(path, "next")?;
    if !next.exists() {
        files::make_private(&next, &RootKey::generate().to_text())
            .with_context(|| format!("make the root key {}", next.display()))?;
    }
    let text = files::read_private(&next).with_context(|| format!("read {}", next.display()))?;
    let key = RootKey::parse(&text).with_context(|| format!("read {}", next.display()))?;
    Ok((next, key))
}

/// Keeps the old key's file under a name of its own, and puts the new one in its place.
fn take_place(path: &Path, next: &Path, old: &RootKey) -> anyhow::Result<PathBuf> {
    let kept = beside(path, &const_hex::encode(old.check_value()))?;
    let exchange = || -> anyhow::Result<()> {
        fs::hard_link(path, &kept).or_else(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => Ok(()),
            _ => Err(error),
        })?;
        fs::rename(next, path)?;
        files::sync_directory(path)
    };
    exchange().with_context(|| format!("put the new key in place of {}", path.display()))?;
    Ok(kept)
}

fn beside(path: &Path, suffix: &str) -> anyhow::Result<PathBuf> {
    let mut name = path.file_name().context("keys.root names no file")?.to_owned();
    name.push(".");
    name.push(suffix);
    Ok(path.with_file_name(name))
}

async fn open(config: &Config, exclusive: bool) -> anyhow::Result<Assembled> {
    let first = config.listeners.first().context("there is no listener")?;
    let names = Arc::new(Names::new(config, first.address));
    assembly::open_existing(config, &names, exclusive).await
}

/// Lets the last records be written.
async fn close(assembled: Assembled) -> anyhow::Result<()> {
    let Assembled { registry, audit_writer } = assembled;
    drop(registry);
    audit_writer.await.context("write the last records")
}

/// On standard error, and only if that is a terminal.
fn bar(template: &str) -> ProgressBar {
    let bar = ProgressBar::no_length();
    bar.with_style(
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner()),
    )
}

fn show(bar: &ProgressBar, summary: Summary) {
    bar.set_position(summary.objects);
    bar.set_message(format!("{} copied", summary.copied));
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
