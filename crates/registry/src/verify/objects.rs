//! Rows against objects and the reverse, both walked in the order of the objects' names.

use std::sync::Arc;

use anyhow::Context as _;
use bonded_blob::{BlobStore, ObjectName};

use super::{Hold, Report};
use crate::{Error, Registry, Result};

const PAGE: i64 = 1_000;
/// Younger objects may be ones that are just being written.
const OBJECT_AGE_MICROS: i64 = 3 * 24 * 3_600 * 1_000_000;

pub(super) async fn check(
    registry: &Registry,
    repair: bool,
    hold: &mut Hold,
    report: &mut Report,
) -> Result<()> {
    for (region, store) in &registry.stores {
        named(registry, region, store, hold, report).await?;
        unnamed(registry, region, store, repair, report).await?;
    }
    Ok(())
}

/// Every object that a segment names is there.
async fn named(
    registry: &Registry,
    region: &str,
    store: &Arc<dyn BlobStore>,
    hold: &mut Hold,
    report: &mut Report,
) -> Result<()> {
    let mut after: Vec<u8> = Vec::new();
    let mut listed = Listing::new(Arc::clone(store));
    loop {
        hold.renew(registry).await?;
        let (place, last) = (region.to_owned(), after.clone());
        let page = registry.db().read(move |tx| tx.segment_objects(&place, &last, PAGE)).await?;
        let Some(end) = page.last() else { return Ok(()) };
        after = end.object.to_vec();
        for segment in page {
            let object = segment.object;
            let name = ObjectName(object);
            // One that was made after its page was listed is there all the same.
            let there = listed.has(name).await? || is_there(store, name).await?;
            if !there && is_still_named(registry, object).await? {
                report.problems.push(format!(
                    "object {name} of blob or upload {} is missing",
                    segment.blob_id
                ));
            }
        }
    }
}

async fn is_there(store: &Arc<dyn BlobStore>, name: ObjectName) -> Result<bool> {
    let found = store.get(name, 0..1).await.context("open an object").map_err(Error::Internal)?;
    Ok(found.is_some())
}

async fn is_still_named(registry: &Registry, object: [u8; 16]) -> Result<bool> {
    Ok(registry.db().read(move |tx| tx.is_object_named(&object)).await?)
}

/// Every object is one that a segment or a removal names.
async fn unnamed(
    registry: &Registry,
    region: &str,
    store: &Arc<dyn BlobStore>,
    repair: bool,
    report: &mut Report,
) -> Result<()> {
    let mut after = None;
    loop {
        let page = store.list(after).await.context("list objects").map_err(Error::Internal)?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.name);
        report.objects += u64::try_from(page.len()).unwrap_or(0);
        let oldest = registry.now() - OBJECT_AGE_MICROS;
        let old: Vec<_> = page
            .iter()
            .filter(|object| crate::jobs::micros(object.modified) < oldest)
            .map(|object| object.name.0)
            .collect();
        let garbage = registry
            .db()
            .read(move |tx| {
                let mut garbage = Vec::new();
                for name in &old {
                    if !tx.is_object_named(name)? {
                        garbage.push(*name);
                    }
                }
                Ok::<_, bonded_db::Error>(garbage)
            })
            .await?;
        report.garbage += u64::try_from(garbage.len()).unwrap_or(0);
        if repair && !garbage.is_empty() {
            report.repaired += u64::try_from(garbage.len()).unwrap_or(0);
            let (region, now) = (region.to_owned(), registry.now());
            registry
                .db()
                .write(move |tx| {
                    garbage.iter().try_for_each(|name| tx.insert_removal(name, &region, now))
                })
                .await?;
        }
    }
}

/// A store's objects in order, asked for in order.
struct Listing {
    store: Arc<dyn BlobStore>,
    page: std::vec::IntoIter<ObjectName>,
    head: Option<ObjectName>,
    last: Option<ObjectName>,
    ended: bool,
}

impl Listing {
    fn new(store: Arc<dyn BlobStore>) -> Listing {
        Listing { store, page: Vec::new().into_iter(), head: None, last: None, ended: false }
    }

    /// Whether the store has this object. Names are asked for in ascending order.
    async fn has(&mut self, name: ObjectName) -> Result<bool> {
        loop {
            match self.head {
                Some(head) if head > name => return Ok(false),
                Some(head) if head == name => return Ok(true),
                _ => {}
            }
            self.head = self.page.next();
            if self.head.is_some() {
                continue;
            }
            if self.ended {
                return Ok(false);
            }
            let page = self.store.list(self.last).await;
            let page = page.context("list objects").map_err(Error::Internal)?;
            self.ended = page.is_empty();
            self.last = page.last().map(|object| object.name).or(self.last);
            self.page = page.into_iter().map(|object| object.name).collect::<Vec<_>>().into_iter();
        }
    }
}
