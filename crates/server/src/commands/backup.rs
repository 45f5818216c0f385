//! `bonded backup DIR`: a consistent copy of the database, then every object that it names.
//!
//! It runs beside a server. The copy is an SQLite file on both engines. Objects are write-once,
//! so what an earlier backup in the same directory has copied is not copied again. The root key
//! is not in it: only its check value, which tells which key a restore will need.
//!
//! **Invariant:** `DIR/bonded.db` names only objects that are in `DIR/objects`, whole: the file
//! takes its name when all of them are there.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use bonded_blob::{BlobStore, DirectoryStore, ObjectName, cobblestone};
use bonded_db::{Db, Location, Options, SegmentObject};
use bonded_registry::Registry;
use bonded_registry::verify::Hold;
use serde::{Deserialize, Serialize};

/// The database of a backup.
pub const DATABASE: &str = "bonded.db";
/// Which root keys it is sealed under.
pub const KEYS: &str = "keys.json";
pub const OBJECTS: &str = "objects";

const PAGE: i64 = 1_000;

/// What a backup did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    pub objects: u64,
    pub copied: u64,
    pub bytes: u64,
    pub removed: u64,
}

/// A root key that a backup is sealed under, by its check value.
#[derive(Debug, Serialize, Deserialize)]
pub struct KeyCheck {
    pub id: i64,
    pub check_value: String,
}

/// Makes or renews a backup.
///
/// # Errors
/// When anything cannot be read or written; the backup that was there before is untouched.
pub async fn run(
    registry: &Registry,
    directory: &Path,
    mut progress: impl FnMut(Summary),
) -> anyhow::Result<Summary> {
    make_private_directory(directory)?;
    let mut hold = Hold::take(registry, "backup").await?;
    let made = make(registry, directory, &mut hold, &mut progress).await;
    hold.release(registry).await?;
    made
}

async fn make(
    registry: &Registry,
    directory: &Path,
    hold: &mut Hold,
    progress: &mut impl FnMut(Summary),
) -> anyhow::Result<Summary> {
    let new = directory.join("bonded.db.new");
    remove_database(&new)?;
    registry.db().backup_to(&new).await.context("copy the database")?;
    let copy = Db::open(Options::new(Location::Sqlite(new.clone()))).await?;
    let mut summary = Summary::default();
    for (region, store) in &registry.stores {
        let target = target(directory, region).await?;
        let mut note = |copied: Option<u64>| {
            summary.objects += 1;
            summary.copied += u64::from(copied.is_some());
            summary.bytes += copied.unwrap_or(0);
            progress(summary);
        };
        copy_objects(registry, &copy, (region, store), &target, hold, &mut note)
            .await
            .with_context(|| format!("copy the objects of {region}"))?;
    }
    let rows = copy.read(|tx| tx.root_keys()).await?;
    copy.close().await;
    let keys: Vec<_> = rows
        .iter()
        .map(|row| KeyCheck { id: row.id, check_value: const_hex::encode(&row.check_value) })
        .collect();
    write_synced(&directory.join(KEYS), &serde_json::to_vec_pretty(&keys)?)?;
    remove_database_sidecars(&new)?;
    std::fs::rename(&new, directory.join(DATABASE)).context("put the new copy in place")?;
    sync_directory(directory)?;
    let named = Db::open(Options::new(Location::Sqlite(directory.join(DATABASE)))).await?;
    for region in registry.stores.keys() {
        let target = target(directory, region).await?;
        summary.removed += remove_unnamed(&named, region, &target).await?;
    }
    named.close().await;
    remove_database_sidecars(&directory.join(DATABASE))?;
    Ok(summary)
}

/// The directory of a region's objects in a backup.
pub async fn target(directory: &Path, region: &str) -> anyhow::Result<DirectoryStore> {
    let path = directory.join(OBJECTS).join(region);
    DirectoryStore::open(&path).await.with_context(|| format!("open {}", path.display()))
}

/// Copies what the backup lacks; `note` is told of each object, and of its bytes if it was copied.
async fn copy_objects(
    registry: &Registry,
    copy: &Db,
    (region, store): (&String, &Arc<dyn BlobStore>),
    target: &DirectoryStore,
    hold: &mut Hold,
    note: &mut impl FnMut(Option<u64>),
) -> anyhow::Result<()> {
    let present = sizes(target).await?;
    let mut after = Vec::new();
    loop {
        let (place, last) = (region.clone(), after.clone());
        let page: Vec<SegmentObject> = copy
            .read(move |tx| tx.segment_objects(&place, &last, PAGE))
            .await
            .map_err(anyhow::Error::from)?;
        let Some(end) = page.last() else { return Ok(()) };
        after = end.object.to_vec();
        for segment in page {
            hold.renew(registry).await?;
            let name = ObjectName(segment.object);
            let size = cobblestone::sealed_size(segment.plain_size.try_into()?);
            match present.get(&name) {
                Some(known) if *known == size => note(None),
                known => {
                    if known.is_some() {
                        // What an interrupted backup left of it.
                        target.delete(name).await?;
                    }
                    copy_object(store.as_ref(), target, name, size).await?;
                    note(Some(size));
                }
            }
        }
    }
}

/// Copies one object, which must have its whole size.
pub async fn copy_object(
    from: &dyn BlobStore,
    to: &dyn BlobStore,
    name: ObjectName,
    size: u64,
) -> anyhow::Result<()> {
    let body = from.get(name, 0..size).await?;
    let Some(body) = body else { bail!("object {name} is missing: run `bonded check`") };
    let written = to.put(name, body).await.with_context(|| format!("copy object {name}"))?;
    if written != size {
        to.delete(name).await?;
        bail!("object {name} has {written} bytes instead of {size}: run `bonded check`");
    }
    Ok(())
}

/// Every object of a store with its size.
pub async fn sizes(store: &dyn BlobStore) -> anyhow::Result<BTreeMap<ObjectName, u64>> {
    let mut sizes = BTreeMap::new();
    let mut after = None;
    loop {
        let page = store.list(after).await?;
        let Some(last) = page.last() else { return Ok(sizes) };
        after = Some(last.name);
        sizes.extend(page.into_iter().map(|object| (object.name, object.size)));
    }
}

/// Removes what the backup's own database does not name any more.
async fn remove_unnamed(
    database: &Db,
    region: &str,
    target: &DirectoryStore,
) -> anyhow::Result<u64> {
    let mut unnamed = sizes(target).await?;
    let mut after = Vec::new();
    loop {
        let (place, last) = (region.to_owned(), after.clone());
        let page: Vec<SegmentObject> = database
            .read(move |tx| tx.segment_objects(&place, &last, PAGE))
            .await
            .map_err(anyhow::Error::from)?;
        let Some(end) = page.last() else { break };
        after = end.object.to_vec();
        for segment in page {
            unnamed.remove(&ObjectName(segment.object));
        }
    }
    let removed = u64::try_from(unnamed.len())?;
    for name in unnamed.into_keys() {
        target.delete(name).await?;
    }
    Ok(removed)
}

fn make_private_directory(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("make the directory {}", path.display()))
}

fn remove_database(path: &Path) -> anyhow::Result<()> {
    remove_if_there(path)?;
    remove_database_sidecars(path)
}

/// The files that SQLite keeps beside a database while it is open.
fn remove_database_sidecars(path: &Path) -> anyhow::Result<()> {
    for end in ["-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        remove_if_there(Path::new(&name))?;
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> anyhow::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(())
}

fn sync_directory(path: &Path) -> anyhow::Result<()> {
    std::fs::File::open(path)?.sync_all()?;
    Ok(())
}
