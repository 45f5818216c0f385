//! Deletes the objects that must go: first the mark, then the object, then the row.
//!
//! Once an object is marked, no append can be acknowledged that wrote it. A running backup or
//! check holds a lease, and nothing is deleted meanwhile.

use std::collections::BTreeMap;

use anyhow::Context as _;
use bonded_blob::ObjectName;

use crate::{Error, Registry, Result};

const STEP: i64 = 500;
/// A node that dies after the mark: another one tries again after this long.
const AGAIN_MICROS: i64 = 10 * 60 * 1_000_000;

pub(super) async fn run(registry: &Registry) -> Result<()> {
    loop {
        let now = registry.now();
        let taken = registry
            .db()
            .claim(move |tx| {
                if tx.has_lease_of(&["backup", "check"], now)? {
                    return Ok(Vec::new());
                }
                tx.take_removals(now, now + AGAIN_MICROS, STEP)
            })
            .await?;
        let found = i64::try_from(taken.len()).unwrap_or(0);
        let mut gone = Vec::with_capacity(taken.len());
        let mut by_region: BTreeMap<String, Vec<[u8; 16]>> = BTreeMap::new();
        for row in taken {
            by_region.entry(row.region).or_default().push(row.name);
        }
        for (region, names) in by_region {
            // A region that this node does not serve is another node's to clean.
            let Some(store) = registry.stores.get(&region) else { continue };
            for name in names {
                store
                    .delete(ObjectName(name))
                    .await
                    .with_context(|| format!("delete object {}", ObjectName(name)))
                    .map_err(Error::Internal)?;
                gone.push(name);
            }
        }
        registry.db().write_unsynced(move |tx| tx.delete_removals(&gone)).await?;
        if found < STEP {
            return Ok(());
        }
    }
}
