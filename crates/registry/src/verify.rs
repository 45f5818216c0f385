//! `bonded check`: every blob against its digest, rows against objects and the reverse.
//!
//! It runs beside a server and only reads, unless it repairs. Repairing removes nothing that
//! anybody could want: what is damaged is marked, and objects and segments that nothing names,
//! older than any append could be, go the way of all garbage.

mod objects;

use std::sync::Arc;

use anyhow::Context as _;
use bonded_account::clock::random;
use bonded_account::keys::{Purpose, column};
use bonded_blob::BlobReader;
use bonded_db::{CheckedBlob, CheckedImage, Totals};
use bonded_oci::{Digest, Hasher};
use futures::TryStreamExt as _;
use uuid::Uuid;

use crate::upload::segment;
use crate::{Error, Registry, Result, domain_key, image};

const PAGE: i64 = 100;
/// The lease that keeps objects from being removed is renewed far before it ends.
const LEASE_MICROS: i64 = 10 * 60 * 1_000_000;
const MOST_PROBLEMS: i64 = 1_000;

/// How far a check is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    pub totals: Totals,
    pub blobs: i64,
    pub bytes: i64,
    pub images: i64,
}

/// What a check found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub blobs: i64,
    pub images: i64,
    pub objects: u64,
    /// Each is a sentence. Something that was pushed cannot be read, or rows contradict.
    pub problems: Vec<String>,
    /// Objects and segments that nothing names: harmless.
    pub garbage: u64,
    pub repaired: u64,
}

/// Keeps objects from being removed while it is held, by a row that is renewed on use.
pub struct Hold {
    name: String,
    renew_at: i64,
}

impl Hold {
    /// Takes the lease; `kind` is `check` or `backup`.
    pub async fn take(registry: &Registry, kind: &str) -> Result<Hold> {
        let name = format!("{kind}:{}", Uuid::from_bytes(random()));
        let mut hold = Hold { name, renew_at: 0 };
        hold.renew(registry).await?;
        Ok(hold)
    }

    /// Renews the lease when half of it is over.
    pub async fn renew(&mut self, registry: &Registry) -> Result<()> {
        let now = registry.now();
        if now < self.renew_at {
            return Ok(());
        }
        self.renew_at = now + LEASE_MICROS / 2;
        let name = self.name.clone();
        registry.db().write(move |tx| tx.take_lease(&name, &name, now, now + LEASE_MICROS)).await?;
        Ok(())
    }

    pub async fn release(self, registry: &Registry) -> Result<()> {
        let name = self.name;
        registry.db().write(move |tx| tx.release_lease(&name, &name)).await?;
        Ok(())
    }
}

/// Checks everything, and repairs if it is told to.
pub async fn run(
    registry: &Registry,
    repair: bool,
    mut progress: impl FnMut(Progress),
) -> Result<Report> {
    let mut hold = Hold::take(registry, "check").await?;
    let checked = check(registry, repair, &mut hold, &mut progress).await;
    hold.release(registry).await?;
    checked
}

async fn check(
    registry: &Registry,
    repair: bool,
    hold: &mut Hold,
    progress: &mut impl FnMut(Progress),
) -> Result<Report> {
    let mut report = Report::default();
    let totals = registry.db().read(|tx| tx.totals()).await?;
    let mut done = Progress { totals, ..Progress::default() };
    progress(done);
    let mut after = Uuid::nil();
    loop {
        let last = after;
        let page = registry.db().read(move |tx| tx.blobs_to_check(&last, PAGE)).await?;
        let Some(end) = page.last() else { break };
        after = end.id;
        for blob in page {
            hold.renew(registry).await?;
            check_blob(registry, repair, &blob, &mut report).await?;
            done.blobs += 1;
            done.bytes += blob.size;
            progress(done);
        }
    }
    let mut after = Uuid::nil();
    loop {
        let last = after;
        let page = registry.db().read(move |tx| tx.images_to_check(&last, PAGE)).await?;
        let Some(end) = page.last() else { break };
        after = end.id;
        hold.renew(registry).await?;
        for image in page {
            report.images += 1;
            done.images += 1;
            report.problems.extend(check_image(registry, &image));
        }
        progress(done);
    }
    check_rows(registry, repair, &mut report).await?;
    objects::check(registry, repair, hold, &mut report).await?;
    Ok(report)
}

async fn check_blob(
    registry: &Registry,
    repair: bool,
    blob: &CheckedBlob,
    report: &mut Report,
) -> Result<()> {
    report.blobs += 1;
    let Err(why) = read_blob(registry, blob).await else { return Ok(()) };
    // A blob that was collected or replaced while it was read is not damaged.
    let (id, key_owner) = (blob.id, blob.key_owner);
    let still = registry.db().read(move |tx| tx.blob_key_owner(&id)).await?;
    if still != Some(key_owner) {
        return Ok(());
    }
    let known = if blob.damaged { " (marked as damaged before)" } else { "" };
    report.problems.push(format!("blob {} is damaged: {why}{known}", blob.digest));
    if repair && !blob.damaged {
        registry.db().write(move |tx| tx.mark_blob_damaged(&id, &key_owner)).await?;
        report.repaired += 1;
    }
    Ok(())
}

/// Reads all of a blob; the error says what is wrong with it.
async fn read_blob(registry: &Registry, blob: &CheckedBlob) -> Result<(), String> {
    let digest: Digest =
        blob.digest.parse().map_err(|_| "its digest has no digest's form".to_owned())?;
    let wrapped = column("blob.wrapped_key", blob.key_owner.as_bytes());
    let key = domain_key(registry, &blob.domain).map_err(|error| error.to_string())?;
    let key = key
        .open_key(&wrapped, &blob.wrapped_key)
        .map_err(|_| "its key does not open".to_owned())?;
    let store = registry
        .stores
        .get(&blob.region)
        .ok_or_else(|| format!("its region {} has no store in the configuration", blob.region))?;
    let id = blob.id;
    let rows = registry
        .db()
        .read(move |tx| tx.segments(&id))
        .await
        .map_err(|error: bonded_db::Error| error.to_string())?;
    let segments: Vec<_> = rows.into_iter().map(segment).collect();
    let size = u64::try_from(blob.size).unwrap_or(0);
    if segments.iter().map(|segment| segment.size).sum::<u64>() != size {
        return Err("its segments do not add up to its size".to_owned());
    }
    let mut reader = BlobReader::open(Arc::clone(store), key.bytes(), segments, 0..size)
        .await
        .map_err(|error| error.to_string())?;
    let mut hasher = Hasher::new(digest.algorithm());
    while let Some(frame) = reader.try_next().await.map_err(|error| error.to_string())? {
        hasher.update(&frame);
    }
    match hasher.finish() == digest {
        true => Ok(()),
        false => Err("its bytes have another digest".to_owned()),
    }
}

fn check_image(registry: &Registry, checked: &CheckedImage) -> Option<String> {
    let problem =
        |why: &str| Some(format!("image {} of {}: {why}", checked.digest, checked.repository_name));
    let Some(sealed) = &checked.manifest else { return problem("its manifest is missing") };
    let Ok(key) = domain_key(registry, &checked.domain) else {
        return problem("the key of its domain does not open");
    };
    let context = image::manifest_context(&checked.id);
    let Ok(bytes) = key.open(Purpose::Column, &context, sealed) else {
        return problem("its manifest does not open");
    };
    let Ok(digest) = checked.digest.parse::<Digest>() else {
        return problem("its digest has no digest's form");
    };
    if Digest::of(digest.algorithm(), &bytes) != digest {
        return problem("its manifest has another digest");
    }
    None
}

async fn check_rows(registry: &Registry, repair: bool, report: &mut Report) -> Result<()> {
    let lost = registry.db().read(|tx| tx.memberships_without_blob(MOST_PROBLEMS)).await?;
    for (repository, digest) in lost {
        report.problems.push(format!("repository {repository} has {digest}, but no blob of it"));
    }
    let orphans = registry.db().read(|tx| tx.orphan_segments(MOST_PROBLEMS)).await?;
    report.garbage += u64::try_from(orphans.len()).unwrap_or(0);
    if repair && !orphans.is_empty() {
        let now = registry.now();
        let regions: Vec<_> = registry.stores.keys().cloned().collect();
        report.repaired += u64::try_from(orphans.len()).unwrap_or(0);
        registry
            .db()
            .write(move |tx| {
                for (blob_id, _) in &orphans {
                    // Which region's store holds them is not known any more: deleting an object
                    // that is not there succeeds.
                    for region in &regions {
                        tx.remove_segments(blob_id, region, now, i64::MAX)?;
                    }
                }
                Ok::<_, bonded_db::Error>(())
            })
            .await
            .context("remove segments that belong to nothing")
            .map_err(Error::Internal)?;
    }
    Ok(())
}
