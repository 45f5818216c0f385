//! Records of reads and refusals: collected in memory, written as blocks at least once a second.
//!
//! When the queue is full, requests wait; nothing is dropped. A crash loses at most the last
//! second of them, and none in the strict mode, where an answer waits for its block.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bonded_db::{AuditBlockRow, Db};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::{Placed, Record};
use crate::clock::{Clock, new_id};

/// The most records of one block; their number is in the last bits of a record's event id.
pub const BLOCK_RECORDS: usize = 4_096;
/// How many records may wait to be written before requests wait too.
const QUEUE_RECORDS: usize = 8_192;
const WRITE_EVERY: Duration = Duration::from_millis(500);
const ZSTD_LEVEL: i32 = 1;

struct Waiting {
    placed: Placed,
    written: Option<oneshot::Sender<()>>,
}

/// Where records of reads and refusals go.
#[derive(Clone)]
pub struct AuditQueue {
    sender: mpsc::Sender<Waiting>,
    strict: bool,
    depth: Arc<AtomicU64>,
}

impl AuditQueue {
    /// Starts the writer. It ends, with everything written, when the last queue is dropped.
    pub fn start(db: Db, clock: Clock, strict: bool) -> (AuditQueue, tokio::task::JoinHandle<()>) {
        let (sender, receiver) = mpsc::channel(QUEUE_RECORDS);
        let depth = Arc::new(AtomicU64::new(0));
        let writer = tokio::spawn(write_blocks(db, clock, receiver, Arc::clone(&depth), strict));
        (AuditQueue { sender, strict, depth }, writer)
    }

    /// Takes a record; waits while the queue is full and, in the strict mode, until the record is
    /// written.
    pub async fn put(&self, placed: Placed) {
        self.depth.fetch_add(1, Ordering::Relaxed);
        if !self.strict {
            // The writer lives as long as a sender does.
            drop(self.sender.send(Waiting { placed, written: None }).await);
            return;
        }
        let (written, wait) = oneshot::channel();
        drop(self.sender.send(Waiting { placed, written: Some(written) }).await);
        drop(wait.await);
    }

    /// Records that are not written yet.
    pub fn depth(&self) -> u64 {
        self.depth.load(Ordering::Relaxed)
    }
}

async fn write_blocks(
    db: Db,
    clock: Clock,
    mut receiver: mpsc::Receiver<Waiting>,
    depth: Arc<AtomicU64>,
    strict: bool,
) {
    let mut ticks = tokio::time::interval(WRITE_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut batch = Vec::new();
    let mut open = true;
    while open {
        let full = batch.len() >= BLOCK_RECORDS;
        if !full {
            tokio::select! {
                received = receiver.recv_many(&mut batch, BLOCK_RECORDS) => open = received > 0,
                _ = ticks.tick(), if !batch.is_empty() => {
                    write(&db, &clock, &mut batch, &depth).await;
                    continue;
                }
            }
        }
        if full || strict || !open {
            write(&db, &clock, &mut batch, &depth).await;
        }
    }
}

async fn write(db: &Db, clock: &Clock, batch: &mut Vec<Waiting>, depth: &AtomicU64) {
    if batch.is_empty() {
        return;
    }
    let count = u64::try_from(batch.len()).unwrap_or(0);
    let mut logs: BTreeMap<(String, String), Vec<Record>> = BTreeMap::new();
    let mut waiting = Vec::new();
    for Waiting { placed, written } in batch.drain(..) {
        waiting.extend(written);
        logs.entry((placed.account, placed.region)).or_default().push(placed.record);
    }
    let now = clock.now();
    let blocks: Vec<_> = logs
        .into_iter()
        .flat_map(|((account, region), records)| {
            let blocks = records.chunks(BLOCK_RECORDS).map(|it| block(now, &account, &region, it));
            blocks.collect::<Vec<_>>()
        })
        .collect();
    let blocks = Arc::new(blocks);
    loop {
        let blocks = Arc::clone(&blocks);
        let written = db
            .write_unsynced(move |tx| {
                blocks.iter().try_for_each(|block| tx.insert_audit_block(block))
            })
            .await;
        match written {
            Ok(()) => break,
            // Nothing is dropped: requests wait behind a full queue until the database is back.
            Err(error) => {
                tell(&error);
                tokio::time::interval_at(tokio::time::Instant::now() + WRITE_EVERY, WRITE_EVERY)
                    .tick()
                    .await;
            }
        }
    }
    depth.fetch_sub(count, Ordering::Relaxed);
    for written in waiting {
        // Who has gone away does not want to know.
        let _ = written.send(());
    }
}

fn tell(error: &(dyn std::error::Error + 'static)) {
    tracing::error!(error, "audit block not written");
}

fn block(now: i64, account: &str, region: &str, records: &[Record]) -> AuditBlockRow {
    let keys: BTreeSet<_> = records.iter().flat_map(Record::keys).collect();
    let json = serde_json::to_vec(records).expect("a record is plain JSON");
    AuditBlockRow {
        id: block_id(now),
        account: account.to_owned(),
        region: region.to_owned(),
        first_time: records.iter().map(|record| record.time).min().unwrap_or(now),
        last_time: records.iter().map(|record| record.time).max().unwrap_or(now),
        records: i64::try_from(records.len()).unwrap_or(0),
        bytes: zstd::bulk::compress(&json, ZSTD_LEVEL).expect("zstd compresses in memory"),
        keys: super::owned(keys),
    }
}

/// A block's id leaves its last bits free for the number of a record.
fn block_id(now: i64) -> Uuid {
    const NUMBER_BITS: u128 = 0xfff;
    Uuid::from_u128(new_id(now).as_u128() & !NUMBER_BITS)
}

/// The event ids and records of a block.
pub fn open_block(block: &AuditBlockRow) -> anyhow::Result<Vec<(Uuid, Record)>> {
    let json = zstd::stream::decode_all(block.bytes.as_slice())?;
    let records: Vec<Record> = serde_json::from_slice(&json)?;
    Ok((0_u128..)
        .zip(records)
        .map(|(number, record)| (Uuid::from_u128(block.id.as_u128() | number), record))
        .collect())
}
