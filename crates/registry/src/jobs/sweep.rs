//! The weekly sweep: finds stamps that were missed, and objects that no row names.
//!
//! Neither should exist; a crash of the database's disk, or a fault of ours, may leave them.

use anyhow::Context as _;
use uuid::Uuid;

use crate::{Error, Registry, Result};

const STEP: i64 = 500;
/// An object that no row names may be one that is being written: its row comes before its first
/// byte, and an append takes at most a day.
const OBJECT_AGE_MICROS: i64 = 3 * 24 * 3_600 * 1_000_000;

pub(super) async fn run(registry: &Registry) -> Result<()> {
    let mut after = Some((Uuid::nil(), String::new()));
    while let Some(place) = after {
        let now = registry.now();
        after =
            registry.db().write_unsynced(move |tx| tx.sweep_memberships(&place, now, STEP)).await?;
    }
    let mut after = Some(Uuid::nil());
    while let Some(place) = after {
        let now = registry.now();
        after = registry.db().write_unsynced(move |tx| tx.sweep_blobs(&place, now, STEP)).await?;
    }
    let regions: Vec<_> = registry.stores.keys().cloned().collect();
    for region in regions {
        objects(registry, &region).await?;
    }
    Ok(())
}

async fn objects(registry: &Registry, region: &str) -> Result<()> {
    let Some(store) = registry.stores.get(region) else { return Ok(()) };
    let mut after = None;
    loop {
        let listed = store.list(after).await.context("list objects").map_err(Error::Internal)?;
        let Some(last) = listed.last() else { return Ok(()) };
        after = Some(last.name);
        let now = registry.now();
        let old: Vec<_> = listed
            .iter()
            .filter(|object| super::micros(object.modified) < now - OBJECT_AGE_MICROS)
            .map(|object| object.name.0)
            .collect();
        let region = region.to_owned();
        registry
            .db()
            .write_unsynced(move |tx| {
                for name in &old {
                    if !tx.is_object_named(name)? {
                        tx.insert_removal(name, &region, now)?;
                    }
                }
                Ok::<_, bonded_db::Error>(())
            })
            .await?;
    }
}
