//! Removes audit records, events and ended jobs that are older than their retention.

use super::Schedule;
use crate::{Registry, Result};

const STEP: i64 = 1_000;

pub(super) async fn run(registry: &Registry, schedule: &Schedule) -> Result<()> {
    let before = registry.now() - schedule.retention_micros;
    loop {
        let gone = registry.db().write_unsynced(move |tx| tx.expire_records(before, STEP)).await?;
        if gone == 0 {
            return Ok(());
        }
    }
}
