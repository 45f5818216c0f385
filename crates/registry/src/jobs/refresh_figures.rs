//! Counts images of repositories and repositories of registries, for their limits.

use uuid::Uuid;

use crate::{Registry, Result};

const STEP: i64 = 100;

pub(super) async fn run(registry: &Registry) -> Result<()> {
    for (account, region) in registry.db().read(|tx| tx.registries()).await? {
        let mut after: Option<Uuid> = None;
        loop {
            let (owner, place, last) = (account.clone(), region.clone(), after);
            let ids: Vec<Uuid> = registry
                .db()
                .read(move |tx| {
                    let rows = tx.repositories_by_age(&owner, &place, last.as_ref(), STEP)?;
                    Ok::<_, bonded_db::Error>(rows.into_iter().map(|row| row.id).collect())
                })
                .await?;
            let Some(last) = ids.last().copied() else { break };
            after = Some(last);
            for id in ids {
                registry.db().write_unsynced(move |tx| tx.refresh_image_count(&id)).await?;
            }
        }
        registry
            .db()
            .write_unsynced(move |tx| tx.refresh_repository_count(&account, &region))
            .await?;
    }
    Ok(())
}
