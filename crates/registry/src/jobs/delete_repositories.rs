//! Removes what deleted repositories held, in steps of a thousand rows.

use crate::{Registry, Result};

const REPOSITORIES: i64 = 100;
const STEP: i64 = 1_000;

pub(super) async fn run(registry: &Registry) -> Result<()> {
    let deleted = registry.db().read(|tx| tx.deleted_repositories(REPOSITORIES)).await?;
    for id in deleted {
        loop {
            let now = registry.now();
            let done = registry
                .db()
                .write_unsynced(move |tx| tx.collect_repository(&id, now, STEP))
                .await?;
            if done {
                break;
            }
        }
    }
    Ok(())
}
