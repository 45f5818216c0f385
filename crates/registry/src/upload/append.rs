//! An append: bytes are added to an upload, or come once more.

use std::pin::pin;
use std::sync::Arc;

use bonded_db::Tx;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use serde_json::json;
use uuid::Uuid;

use super::store::{Stored, check_room, check_size, store};
use super::{
    LEAST_PART, MAX_PARTS, Open, Part, Upload, hash, living, lost, parameters, too_long, unsigned,
};
use crate::image::Plane;
use crate::{Call, Error, Permit, Result};

/// Adds the bytes of a body to an upload. When this returns, they are durable.
///
/// The last part may come once more, if the client says where it starts: it is compared by its
/// hash and answered as the first time. A body without bytes changes nothing.
///
/// The error of the body is returned as it is: the client is gone, or was too slow.
///
/// # Errors
/// `UploadNotFound`; `InvalidLayerPart` when the bytes do not start where the upload ends, are
/// not as many as was said, or another append was acknowledged meanwhile; `TooManyRequests`;
/// `LimitExceeded`; `NoSpace`.
pub async fn append<E, S>(
    call: &Call,
    permit: &Permit,
    id: Uuid,
    part: Part,
    body: S,
) -> Result<Upload, E>
where
    E: From<Error>,
    S: Stream<Item = Result<Bytes, E>>,
{
    let open = Open::find(call, permit, id).await?;
    let _running = call.registry.appends.begin(id)?;
    if is_again(&open, &part) {
        return again(permit, &open, &part, body).await;
    }
    let start = part.start.unwrap_or_else(|| open.size());
    if start != open.size() {
        return Err(open.invalid_part(permit, start).into());
    }
    check_limits(call, permit, &open, &part)?;
    let before = open.hasher()?;
    let mut hasher = before.clone();
    let Some(stored) = store(call, permit, &open, &mut hasher, &part, body).await? else {
        return match part.plane {
            Plane::V2 => Ok(Upload { id, size: open.size() }),
            Plane::Api => Err(open.invalid_part(permit, start).into()),
        };
    };
    let Stored { segment, undo } = stored;
    let size = unsigned(segment.offset + segment.size);
    let (key, column) = (&open.domain_key, hash::Column::Now);
    let append = bonded_db::Append {
        upload_id: id,
        version: open.row.version,
        hash_state: hash::seal(key, column, &id, size, &hasher),
        last_hash_state: hash::seal(key, hash::Column::BeforeLast, &id, start, &before),
        now: call.now(),
        ..parts(&open, part.plane, segment)
    };
    let acknowledgement = Acknowledgement::new(call, permit, part.plane, append);
    call.db().write(move |tx| acknowledgement.apply(tx)).await?;
    undo.settle();
    Ok(Upload { id, size })
}

/// Whether this is the last acknowledged part once more.
fn is_again(open: &Open, part: &Part) -> bool {
    let last_start = unsigned(open.row.last_start);
    let last_size = open.size() - last_start;
    part.start == Some(last_start)
        && last_size > 0
        && part.length.is_none_or(|length| length == last_size)
}

/// Hashes the last part again from the state before it.
async fn again<E, S>(permit: &Permit, open: &Open, part: &Part, body: S) -> Result<Upload, E>
where
    E: From<Error>,
    S: Stream<Item = Result<Bytes, E>>,
{
    let start = part.start.unwrap_or(0);
    let mut left = open.size() - start;
    let mut hasher = open.hasher_before_last()?;
    let mut body = pin!(body);
    while let Some(frame) = body.next().await {
        let frame = frame?;
        let more = u64::try_from(frame.len()).unwrap_or(u64::MAX);
        let less = left.checked_sub(more);
        left = less.ok_or_else(|| open.invalid_part(permit, start))?;
        hash::update(&mut hasher, &frame).await;
    }
    if left > 0 || hash::save(open.size(), &hasher) != open.state_now()? {
        return Err(open.invalid_part(permit, start).into());
    }
    Ok(Upload { id: open.row.id, size: open.size() })
}

fn check_limits(call: &Call, permit: &Permit, open: &Open, part: &Part) -> Result<()> {
    if part.plane == Plane::Api && open.row.parts >= MAX_PARTS {
        return Err(Error::LimitExceeded(format!("A layer can have at most {MAX_PARTS} parts")));
    }
    check_size(open, part.length.unwrap_or(0))?;
    check_room(call, permit)
}

/// The append with the upload's count of API parts, which alone decides whether one was too
/// small. Everything else is the caller's to fill in.
fn parts(open: &Open, plane: Plane, segment: bonded_db::NewSegment) -> bonded_db::Append {
    let row = &open.row;
    let (parts, short_part, last_part_size) = match plane {
        Plane::V2 => (row.parts, row.short_part, row.last_part_size),
        Plane::Api => {
            // The last one was not the last, so it should have been large.
            let short = row.parts > 0 && row.last_part_size < LEAST_PART;
            (row.parts + 1, row.short_part || short, segment.size)
        }
    };
    bonded_db::Append {
        upload_id: row.id,
        version: row.version,
        segment,
        hash_state: Vec::new(),
        last_hash_state: Vec::new(),
        parts,
        short_part,
        last_part_size,
        now: 0,
    }
}

/// The one transaction that makes bytes a part of an upload.
struct Acknowledgement {
    permit: Permit,
    append: bonded_db::Append,
    note: bonded_db::Note,
}

impl Acknowledgement {
    fn new(
        call: &Call,
        permit: &Permit,
        plane: Plane,
        append: bonded_db::Append,
    ) -> Arc<Acknowledgement> {
        let segment = &append.segment;
        let last = segment.offset + segment.size - 1;
        let asked = json!({
            "registryId": permit.account,
            "repositoryName": permit.name,
            "uploadId": append.upload_id,
            "partFirstByte": segment.offset,
            "partLastByte": last,
        });
        let response = json!({
            "registryId": permit.account,
            "repositoryName": permit.name,
            "uploadId": append.upload_id,
            "lastByteReceived": last,
        });
        parameters(call, plane, &asked);
        let note = call.note(Some(&response), &[]);
        Arc::new(Acknowledgement { permit: permit.clone(), append, note })
    }

    fn apply(&self, tx: &mut Tx<'_>) -> Result<()> {
        living(&self.permit, tx)?;
        let append = &self.append;
        if !tx.append(append)? {
            let first = unsigned(append.segment.offset);
            return Err(lost(&self.permit, tx, append.upload_id, first)?);
        }
        if !tx.release_object(&append.segment.object)? {
            return Err(too_long());
        }
        tx.note(&self.note)?;
        Ok(())
    }
}
