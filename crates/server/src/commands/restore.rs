//! `bonded restore DIR`: a backup becomes the deployment's database and objects.
//!
//! The database may be of the other engine than the one that was backed up. Objects first, rows
//! last: when it is interrupted, nothing names what is not there, and it can be run again.

use std::path::Path;

use anyhow::{Context as _, bail};
use bonded_account::keys::RootKey;
use bonded_blob::{BlobStore, ObjectName, cobblestone};
use bonded_db::{Db, Location, Options, SegmentObject};

use super::backup::{self, DATABASE, KEYS, KeyCheck, Summary};

const PAGE: i64 = 1_000;

/// Reads which root keys a backup needs and compares them with those of the configuration.
///
/// # Errors
/// When one is missing: what would be restored could not be opened.
pub fn check_keys(directory: &Path, keys: &[RootKey]) -> anyhow::Result<()> {
    let path = directory.join(KEYS);
    let text = std::fs::read(&path)
        .with_context(|| format!("read {}: is this the directory of a backup?", path.display()))?;
    let needed: Vec<KeyCheck> = serde_json::from_slice(&text).context("read the key checks")?;
    for check in needed {
        let has = |key: &RootKey| const_hex::encode(key.check_value()) == check.check_value;
        if !keys.iter().any(has) {
            bail!(
                "the backup is sealed under the root key with check value {}, which none of the \
                 files of `keys.root` holds; put that key's file in place first",
                check.check_value
            );
        }
    }
    Ok(())
}

/// Copies the objects that the stores lack, then replaces every row.
///
/// # Errors
/// When a region of the backup has no store here, or anything cannot be read or written.
pub async fn run(
    db: &Db,
    stores: &std::collections::BTreeMap<String, std::sync::Arc<dyn BlobStore>>,
    directory: &Path,
    mut progress: impl FnMut(Summary),
) -> anyhow::Result<Summary> {
    let copy = Db::open(Options::new(Location::Sqlite(directory.join(DATABASE)))).await?;
    let registries = copy.read(|tx| tx.registries()).await.map_err(anyhow::Error::from)?;
    for (_, region) in &registries {
        if !stores.contains_key(region) {
            bail!("the backup has the region {region}: add `[regions.{region}]` first");
        }
    }
    let mut summary = Summary::default();
    for (region, store) in stores {
        let source = backup::target(directory, region).await?;
        let present = backup::sizes(store.as_ref()).await?;
        let mut after = Vec::new();
        loop {
            let (place, last) = (region.clone(), after.clone());
            let page: Vec<SegmentObject> = copy
                .read(move |tx| tx.segment_objects(&place, &last, PAGE))
                .await
                .map_err(anyhow::Error::from)?;
            let Some(end) = page.last() else { break };
            after = end.object.to_vec();
            for segment in page {
                let name = ObjectName(segment.object);
                let size = cobblestone::sealed_size(segment.plain_size.try_into()?);
                summary.objects += 1;
                if present.get(&name) != Some(&size) {
                    store.delete(name).await?;
                    backup::copy_object(&source, store.as_ref(), name, size).await?;
                    summary.copied += 1;
                    summary.bytes += size;
                }
                progress(summary);
            }
        }
    }
    copy.close().await;
    db.restore_from(&directory.join(DATABASE)).await.context("restore the database")?;
    Ok(summary)
}
