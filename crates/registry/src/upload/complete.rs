//! An upload becomes a blob of its repository.
//!
//! One transaction makes the blob and the membership and ends the upload. Every byte is hashed
//! before it, and a blob that is there is never written over: the new bytes go instead.

use std::sync::Arc;

use bonded_db::{NewBlob, NewSegment, Tx};
use bonded_oci::{Algorithm, Digest, Hasher};
use bytes::Bytes;
use futures::Stream;
use serde_json::json;
use uuid::Uuid;

use super::store::{Stored, check_room, check_size, store};
use super::undo::Undo;
use super::{
    FEW_SEGMENTS, HOUR, New, Open, Part, living, lost, not_found, parameters, too_long, unsigned,
    used_twice,
};
use crate::image::Plane;
use crate::{Call, Error, Permit, Result};

/// Segments of a damaged blob that one transaction moves.
const STEP: i64 = 1_000;

/// Which digest the bytes must have.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// On `/v2/`: this one, under which the blob will be known.
    Digest(Digest),
    /// In the API: one of these. The blob will be known by its sha256.
    OneOf(Vec<Digest>),
}

/// Ends an upload with a blob in the repository, and gives its digest. The body of `last` may
/// bring the last bytes ([`Part::empty`] in the API); bringing some needs
/// `ecr:UploadLayerPart` too, which is asked here.
///
/// Bytes of another digest end the upload, and nothing of it stays.
///
/// # Errors
/// `UploadNotFound`; `InvalidLayer` when the digest is another one; what [`append`] fails with,
/// if bytes come along. In the API also `EmptyUpload`, `LayerPartTooSmall`, and
/// `LayerAlreadyExists` when the repository has the blob (the upload has ended then too).
///
/// [`append`]: super::append()
pub async fn complete<E, S>(
    call: &Call,
    permit: &Permit,
    id: Uuid,
    wanted: Wanted,
    last: Part,
    body: S,
) -> Result<Digest, E>
where
    E: From<Error>,
    S: Stream<Item = Result<Bytes, E>>,
{
    let brings_bytes = last.length != Some(0);
    if brings_bytes {
        also(call, permit, "ecr:UploadLayerPart").await?;
    }
    let open = Open::find(call, permit, id).await?;
    let _running = brings_bytes.then(|| call.registry.appends.begin(id)).transpose()?;
    check_parts(permit, &open, &wanted)?;
    finish(call, permit, &open, wanted, last, body).await
}

/// Makes a blob of one body, without an upload that anybody is told of: `POST ?digest=`.
///
/// It stands for three actions, so `ecr:UploadLayerPart` and `ecr:CompleteLayerUpload` are asked
/// here too.
///
/// # Errors
/// As [`begin`](super::begin) and [`complete`].
pub async fn single<E, S>(
    call: &Call,
    permit: &Permit,
    digest: Digest,
    length: Option<u64>,
    body: S,
) -> Result<Digest, E>
where
    E: From<Error>,
    S: Stream<Item = Result<Bytes, E>>,
{
    also(call, permit, "ecr:UploadLayerPart").await?;
    also(call, permit, "ecr:CompleteLayerUpload").await?;
    let new = New::make(call, permit, digest.algorithm())?;
    let (open, object) = new.insert(call, permit, None).await?;
    call.registry.appends.keep_first(open.row.id, object, call.now());
    let undo = Undo::upload(&call.registry, open.row.id, &permit.region);
    let part = Part { plane: Plane::V2, start: None, length };
    let digest = finish(call, permit, &open, Wanted::Digest(digest), part, body).await?;
    undo.settle();
    Ok(digest)
}

/// One more action that a request stands for.
async fn also(call: &Call, permit: &Permit, action: &'static str) -> Result<()> {
    match call.repository_by_id(action, permit.id).await? {
        Some(_) => Ok(()),
        None => Err(Error::RepositoryNotFound {
            name: permit.name.clone(),
            registry_id: permit.account,
        }),
    }
}

/// What the API asks of the parts of an upload.
fn check_parts(permit: &Permit, open: &Open, wanted: &Wanted) -> Result<()> {
    match wanted {
        Wanted::Digest(_) => Ok(()),
        Wanted::OneOf(_) if open.row.size == 0 => Err(Error::EmptyUpload {
            upload_id: open.row.id,
            name: permit.name.clone(),
            registry_id: permit.account,
        }),
        Wanted::OneOf(_) if open.row.short_part => Err(Error::LayerPartTooSmall),
        Wanted::OneOf(_) => Ok(()),
    }
}

async fn finish<E, S>(
    call: &Call,
    permit: &Permit,
    open: &Open,
    wanted: Wanted,
    last: Part,
    body: S,
) -> Result<Digest, E>
where
    E: From<Error>,
    S: Stream<Item = Result<Bytes, E>>,
{
    let start = last.start.unwrap_or_else(|| open.size());
    if start != open.size() {
        return Err(open.invalid_part(permit, start).into());
    }
    let algorithm = match &wanted {
        Wanted::Digest(digest) => digest.algorithm(),
        Wanted::OneOf(_) => Algorithm::Sha256,
    };
    let mut hasher = open.hasher_by(call, permit, algorithm).await?;
    let stored = if last.length == Some(0) {
        None
    } else {
        check_size(open, last.length.unwrap_or(0))?;
        check_room(call, permit)?;
        store(call, permit, open, &mut hasher, &last, body).await?
    };
    let digest = hasher.finish();
    if !matches(call, permit, open, &wanted, &digest).await? {
        Undo::upload(&call.registry, open.row.id, &permit.region).now().await;
        return Err(Error::InvalidLayer.into());
    }
    commit(call, permit, open, &wanted, digest, stored).await.map_err(E::from)
}

/// Whether the bytes are those that were meant.
async fn matches(
    call: &Call,
    permit: &Permit,
    open: &Open,
    wanted: &Wanted,
    digest: &Digest,
) -> Result<bool> {
    let digests = match wanted {
        Wanted::Digest(wanted) => return Ok(wanted == digest),
        Wanted::OneOf(digests) => digests,
    };
    if digests.contains(digest) {
        return Ok(true);
    }
    let others = digests.iter().map(Digest::algorithm);
    let Some(other) = others.into_iter().find(|it| *it != digest.algorithm()) else {
        return Ok(false);
    };
    // The API's uploads have no bytes but the acknowledged ones.
    let hasher: Hasher = open.hasher_by(call, permit, other).await?;
    Ok(digests.contains(&hasher.finish()))
}

async fn commit(
    call: &Call,
    permit: &Permit,
    open: &Open,
    wanted: &Wanted,
    digest: Digest,
    stored: Option<Stored>,
) -> Result<Digest> {
    let (segment, undo) = match stored {
        Some(Stored { segment, undo }) => (Some(segment), Some(undo)),
        None => (None, None),
    };
    let commit = Arc::new(Commit::new(call, permit, open, wanted, &digest, segment));
    loop {
        let again = Arc::clone(&commit);
        match call.db().write(move |tx| again.apply(tx)).await? {
            Committed::New => {
                undo.into_iter().for_each(Undo::settle);
                return Ok(digest);
            }
            // The bytes of this upload go: the undo of its last object is not settled.
            Committed::Known => return Ok(digest),
            Committed::Exists => {
                return Err(Error::LayerAlreadyExists {
                    digest,
                    name: permit.name.clone(),
                    registry_id: permit.account,
                });
            }
            Committed::Damaged(blob_id) => empty_damaged(call, permit, blob_id).await?,
        }
    }
}

/// Moves the segments of a damaged blob out of the way, in steps.
async fn empty_damaged(call: &Call, permit: &Permit, blob_id: Uuid) -> Result<()> {
    loop {
        let region = permit.region.clone();
        // A reader may still be sending what could be read of it.
        let due = call.now() + HOUR;
        let done = call
            .db()
            .write_unsynced(move |tx| tx.empty_damaged_blob(&blob_id, &region, due, STEP))
            .await?;
        if done {
            return Ok(());
        }
    }
}

/// What became of an upload.
enum Committed {
    /// Its segments are a blob's.
    New,
    /// The domain had the digest already.
    Known,
    /// So had the repository, which the API tells as an error.
    Exists,
    /// Nothing yet: this damaged blob must be emptied first.
    Damaged(Uuid),
}

/// The transaction that ends an upload with a blob.
struct Commit {
    permit: Permit,
    api: bool,
    /// As the upload was when its bytes were hashed.
    version: i64,
    start: i64,
    new: NewBlob,
    /// The object of the last bytes, which nothing has acknowledged yet.
    segment: Option<NewSegment>,
    note: bonded_db::Note,
}

impl Commit {
    fn new(
        call: &Call,
        permit: &Permit,
        open: &Open,
        wanted: &Wanted,
        digest: &Digest,
        segment: Option<NewSegment>,
    ) -> Commit {
        let api = matches!(wanted, Wanted::OneOf(_));
        let size = open.row.size + segment.as_ref().map_or(0, |segment| segment.size);
        let response = json!({
            "registryId": permit.account,
            "repositoryName": permit.name,
            "uploadId": open.row.id,
            "layerDigest": digest.to_string(),
        });
        parameters(
            call,
            if api { Plane::Api } else { Plane::V2 },
            &json!({
                "registryId": permit.account,
                "repositoryName": permit.name,
                "uploadId": open.row.id,
                "layerDigests": [digest.to_string()],
            }),
        );
        call.add("layerDigest", digest.to_string());
        call.add("layerSize", size);
        Commit {
            permit: permit.clone(),
            api,
            version: open.row.version,
            start: open.row.size,
            new: NewBlob {
                id: open.row.id,
                key_domain: open.row.key_domain,
                digest: digest.to_string(),
                size,
                wrapped_key: open.row.wrapped_key.clone(),
                created_at: call.now(),
            },
            segment,
            note: call.note(Some(&response), &[]),
        }
    }

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Committed> {
        let repository = living(&self.permit, tx)?;
        let new = &self.new;
        let as_hashed = tx.upload(&new.id)?.is_some_and(|row| {
            row.state == "open" && row.version == self.version && row.size == self.start
        });
        if !as_hashed {
            return Err(lost(&self.permit, tx, new.id, unsigned(self.start))?);
        }
        let (blob_id, committed) = match tx.blob_by_digest(&new.key_domain, &new.digest)? {
            None => {
                self.add_last_segment(tx)?;
                if !tx.insert_blob(new)? {
                    return Err(used_twice());
                }
                tx.delete_upload(&new.id)?;
                (new.id, Committed::New)
            }
            Some(blob) if blob.damaged => {
                if tx.has_segments(&blob.id)? {
                    return Ok(Committed::Damaged(blob.id));
                }
                self.add_last_segment(tx)?;
                tx.replace_blob(&blob.id, new)?;
                tx.delete_upload(&new.id)?;
                (blob.id, Committed::New)
            }
            Some(blob) => {
                let exists = self.api && tx.has_layer(&repository.id, &new.digest)?;
                self.discard(tx)?;
                (blob.id, if exists { Committed::Exists } else { Committed::Known })
            }
        };
        // Also for one that exists: its grace time starts anew, because that is told.
        tx.put_membership(&repository.id, &new.digest, &blob_id, new.created_at)?;
        if !matches!(committed, Committed::Exists) {
            tx.note(&self.note)?;
        }
        Ok(committed)
    }

    fn add_last_segment(&self, tx: &mut Tx<'_>) -> Result<()> {
        let Some(segment) = &self.segment else { return Ok(()) };
        if !tx.release_object(&segment.object)? {
            return Err(too_long());
        }
        if !tx.insert_segment(&self.new.id, segment)? {
            return Err(used_twice());
        }
        Ok(())
    }

    fn discard(&self, tx: &mut Tx<'_>) -> Result<()> {
        if !tx.discard_upload(&self.new.id)? {
            return Err(not_found(&self.permit, &self.new.id.to_string()));
        }
        let now = self.new.created_at;
        tx.collect_upload(&self.new.id, &self.permit.region, now, FEW_SEGMENTS)?;
        Ok(())
    }
}
