//! Removes audit records, events, ended jobs and changes of tags that are older than their
//! retention.

use super::Schedule;
use crate::{Registry, Result};

const STEP: i64 = 1_000;

pub(super) async fn run(registry: &Registry, schedule: &Schedule) -> Result<()> {
    let db = registry.db();
    let before = registry.now() - schedule.retention_micros;
    while db.write_unsynced(move |tx| tx.expire_records(before, STEP)).await? > 0 {}
    let Some(history) = schedule.tag_history_micros else { return Ok(()) };
    let before = registry.now() - history;
    while db.write_unsynced(move |tx| tx.expire_tag_changes(before, STEP)).await? > 0 {}
    Ok(())
}
