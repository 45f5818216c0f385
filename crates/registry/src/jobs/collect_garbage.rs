//! Collects memberships and blobs that nothing used for the grace time, and ended uploads.
//!
//! No lock, no stop: each small transaction looks again at what it takes, and a manifest push
//! clears the stamps of what it uses in its own transaction.

use super::Schedule;
use crate::{Registry, Result};

/// Rows that one transaction looks at, and segments that it moves.
const STEP: i64 = 100;
const SEGMENTS: i64 = 1_000;

pub(super) async fn run(registry: &Registry, schedule: &Schedule) -> Result<()> {
    memberships(registry).await?;
    uploads(registry, schedule).await?;
    blobs(registry, schedule).await
}

async fn memberships(registry: &Registry) -> Result<()> {
    loop {
        let now = registry.now();
        let before = now - registry.settings.grace_micros;
        let found = registry
            .db()
            .write_unsynced(move |tx| {
                let unused = tx.unused_memberships(before, STEP)?;
                for one in &unused {
                    tx.collect_membership(one, before, now)?;
                }
                Ok::<_, bonded_db::Error>(unused.len())
            })
            .await?;
        if i64::try_from(found).unwrap_or(0) < STEP {
            return Ok(());
        }
    }
}

async fn uploads(registry: &Registry, schedule: &Schedule) -> Result<()> {
    let before = registry.now() - registry.settings.upload_idle_micros;
    registry.db().write_unsynced(move |tx| tx.discard_idle_uploads(before, STEP)).await?;
    let discarded = registry.db().read(move |tx| tx.discarded_uploads(STEP)).await?;
    for (id, region) in discarded {
        loop {
            let due = registry.now() + schedule.removal_delay_micros;
            let region = region.clone();
            let done = registry
                .db()
                .write_unsynced(move |tx| tx.collect_upload(&id, &region, due, SEGMENTS))
                .await?;
            if done {
                break;
            }
        }
    }
    Ok(())
}

async fn blobs(registry: &Registry, schedule: &Schedule) -> Result<()> {
    let before = registry.now() - registry.settings.grace_micros;
    loop {
        let unused = registry.db().read(move |tx| tx.unused_blobs(before, STEP)).await?;
        let found = i64::try_from(unused.len()).unwrap_or(0);
        for (id, region) in unused {
            loop {
                let due = registry.now() + schedule.removal_delay_micros;
                let region = region.clone();
                let done = registry
                    .db()
                    .write_unsynced(move |tx| tx.collect_blob(&id, &region, before, due, SEGMENTS))
                    .await?;
                if done {
                    break;
                }
            }
        }
        if found < STEP {
            return Ok(());
        }
    }
}
