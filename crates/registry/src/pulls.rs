//! When images were last pulled: counted in memory, written in blocks.
//!
//! A crash loses the last second of them and nothing else (architecture, "Rows").

use std::collections::HashMap;
use std::sync::Mutex;

use bonded_db::Db;
use uuid::Uuid;

use crate::Result;

/// Pull times are kept apart from the images' rows; this many are written in one transaction.
const PULLS_PER_TRANSACTION: usize = 1_000;

/// Pull times that are not written yet, by image.
#[derive(Default)]
pub struct PullTimes(Mutex<HashMap<Uuid, i64>>);

impl PullTimes {
    /// Notes that an image was pulled.
    pub fn note(&self, image_id: Uuid, pulled_at: i64) {
        let mut pulls = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let latest = pulls.entry(image_id).or_insert(pulled_at);
        *latest = pulled_at.max(*latest);
    }

    /// How many are waiting.
    pub fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes what is waiting, without a sync. What could not be written waits on.
    pub async fn write(&self, db: &Db) -> Result<()> {
        let waiting = {
            let mut pulls = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            std::mem::take(&mut *pulls)
        };
        let mut waiting: Vec<_> = waiting.into_iter().collect();
        waiting.sort_unstable();
        let mut left = waiting.as_slice();
        while !left.is_empty() {
            let (block, rest) = left.split_at(left.len().min(PULLS_PER_TRANSACTION));
            let block = block.to_vec();
            let written = db.write_unsynced(move |tx| {
                block.iter().try_for_each(|(image, pulled_at)| tx.put_image_pull(image, *pulled_at))
            });
            if let Err(error) = written.await {
                left.iter().for_each(|(image, pulled_at)| self.note(*image, *pulled_at));
                return Err(error.into());
            }
            left = rest;
        }
        Ok(())
    }
}
