//! Uploads: how the bytes of a blob come in. Both planes call these.
//!
//! An upload is begun, grows by appends and is completed. Every append is one new object, whole
//! and durable before the one transaction that acknowledges it. What was acknowledged outlives
//! the process; what was not leaves an object that `object_removal` names.
//!
//! An upload belongs to a repository (by its id) and to the principal that began it (by its
//! unique id). To anyone else it is unknown. One that was begun on one plane may end on the
//! other.
//!
//! Each function takes the [`Permit`] that the caller got for its action, so access is decided
//! before the upload is looked for:
//!
//! | request | function | action of the permit | name of the call |
//! |---|---|---|---|
//! | `POST uploads/`, InitiateLayerUpload | [`begin`] | `ecr:InitiateLayerUpload` | InitiateLayerUpload |
//! | `POST uploads/?digest=` | [`single`] | `ecr:InitiateLayerUpload` | CompleteLayerUpload |
//! | `PATCH`, UploadLayerPart | [`append()`] | `ecr:UploadLayerPart` | UploadLayerPart |
//! | `GET` of an upload | [`status`] | `ecr:UploadLayerPart` | UploadLayerPart |
//! | `PUT ?digest=`, CompleteLayerUpload | [`complete()`] | `ecr:CompleteLayerUpload` | CompleteLayerUpload |
//! | `DELETE` of an upload | [`cancel`] | `ecr:UploadLayerPart` | CancelLayerUpload |
//!
//! **Invariant:** memory per append is constant, and no byte of a blob is written in clear.

mod append;
mod appends;
mod complete;
mod hash;
mod store;
#[cfg(test)]
pub(crate) mod tests;
mod undo;

use std::sync::Arc;

use bonded_account::clock::random;
use bonded_account::keys::{Purpose, SealingKey, column};
use bonded_blob::ObjectName;
use bonded_db::{RepositoryRow, Tx, UploadRow};
use bonded_oci::{Algorithm, Hasher};
use serde_json::json;
use serde_json::value::RawValue;
use uuid::Uuid;

pub use append::append;
pub use appends::Appends;
pub use complete::{Wanted, complete, single};
pub(crate) use hash::segment;
pub(crate) use store::{shared_store, store_error};

use crate::image::Plane;
use crate::{Call, Error, Permit, Result};

/// `partSize` of InitiateLayerUpload: what a client is asked to send at once, bytes.
pub const PART_SIZE: i64 = 10_485_760;
/// The largest blob: 52,000 MiB.
pub const MAX_BLOB: u64 = 52_000 * 1_048_576;
/// Parts of one upload that may come by the API.
const MAX_PARTS: i64 = 4_200;
/// A part before the last one has at least so many bytes.
const LEAST_PART: i64 = 5 * 1_048_576;
/// Appends that one upload may be made of.
const MAX_SEGMENTS: i64 = 10_000;

const MICROS: i64 = 1_000_000;
const HOUR: i64 = 3_600 * MICROS;
/// How long one append may take.
const LONGEST_APPEND: i64 = 24 * HOUR;
/// When a registered object goes if nobody has acknowledged it: two hours after the longest
/// append that may write it.
const OBJECT_DUE: i64 = LONGEST_APPEND + 2 * HOUR;
/// A principal with too many uploads loses the one that was idle the longest, if for so long.
const IDLE: i64 = HOUR;
/// So many uploads below the limit they are counted exactly: more than begin at once.
const NEAR: i64 = 128;
/// Segments of an upload that ends without a blob are moved at once if they are fewer than these.
const FEW_SEGMENTS: i64 = 16;

/// An upload as its owner is told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upload {
    pub id: Uuid,
    /// Bytes acknowledged: the next part starts here.
    pub size: u64,
}

/// What a client says of the bytes it sends.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    pub plane: Plane,
    /// The place of the first byte: `Content-Range`, or `partFirstByte`. `None`: where the
    /// upload ends.
    pub start: Option<u64>,
    /// How many there are, by the range or by `Content-Length`. Other than that is refused.
    pub length: Option<u64>,
}

impl Part {
    /// A body that has no bytes.
    pub fn empty(plane: Plane) -> Part {
        Part { plane, start: None, length: Some(0) }
    }
}

/// The id of an upload in a path.
///
/// # Errors
/// `UploadNotFound` for what is no id. Ids have one form, so that an upload has one address.
pub fn parse_id(permit: &Permit, text: &str) -> Result<Uuid> {
    let id = Uuid::try_parse(text).ok().filter(|id| id.to_string() == text);
    id.ok_or_else(|| not_found(permit, text))
}

/// Begins an upload whose digest will be by `algorithm`: `?digest-algorithm=`, else sha256.
///
/// The name of the first append's object is registered in the same transaction.
///
/// # Errors
/// `NoSpace`; `TooManyRequests` when the principal has too many uploads open and none is idle.
pub async fn begin(
    call: &Call,
    permit: &Permit,
    plane: Plane,
    algorithm: Algorithm,
) -> Result<Upload> {
    let new = New::make(call, permit, algorithm)?;
    let id = new.open.row.id;
    parameters(
        call,
        plane,
        &json!({
            "registryId": permit.account,
            "repositoryName": permit.name,
        }),
    );
    let response = json!({ "uploadId": id, "partSize": PART_SIZE });
    let note = call.note(Some(&response), &[]);
    let (_, object) = new.insert(call, permit, Some(note)).await?;
    call.registry.appends.keep_first(id, object, call.now());
    Ok(Upload { id, size: 0 })
}

/// How far an upload is.
///
/// # Errors
/// `UploadNotFound`.
pub async fn status(call: &Call, permit: &Permit, id: Uuid) -> Result<Upload> {
    let row = find(call, permit, id).await?;
    Ok(Upload { id, size: unsigned(row.size) })
}

/// Ends an upload. Its objects go.
///
/// # Errors
/// `UploadNotFound`.
pub async fn cancel(call: &Call, permit: &Permit, id: Uuid) -> Result<()> {
    find(call, permit, id).await?;
    parameters(
        call,
        Plane::V2,
        &json!({
            "registryId": permit.account,
            "repositoryName": permit.name,
            "uploadId": id,
        }),
    );
    let note = call.note(None, &[]);
    let now = call.now();
    let permit = permit.clone();
    call.db()
        .write(move |tx| {
            permit.repository(tx)?;
            if !tx.discard_upload(&id)? {
                return Err(not_found(&permit, &id.to_string()));
            }
            tx.collect_upload(&id, &permit.region, now, FEW_SEGMENTS)?;
            tx.note(&note)?;
            Ok(())
        })
        .await
}

/// An open upload, and the keys of its bytes and of its row.
struct Open {
    row: UploadRow,
    /// Seals the bytes.
    key: SealingKey,
    /// Seals what the row keeps.
    domain_key: Arc<SealingKey>,
}

impl Open {
    /// The caller's own upload.
    async fn find(call: &Call, permit: &Permit, id: Uuid) -> Result<Open> {
        let row = find(call, permit, id).await?;
        let domain_key = call.domain_key(permit)?;
        let key =
            domain_key.open_key(&data_key_context(&id), &row.wrapped_key).map_err(|error| {
                let context = format!("open the data key of upload {id}");
                Error::Internal(anyhow::Error::from(error).context(context))
            })?;
        Ok(Open { row, key, domain_key })
    }

    /// Bytes acknowledged.
    fn size(&self) -> u64 {
        unsigned(self.row.size)
    }

    /// `InvalidLayerPart` for bytes that do not begin where the upload ends.
    fn invalid_part(&self, permit: &Permit, first: u64) -> Error {
        invalid_part(permit, self.row.id, first, self.size())
    }
}

/// An upload that is not inserted yet.
struct New {
    open: Open,
    object: ObjectName,
}

impl New {
    fn make(call: &Call, permit: &Permit, algorithm: Algorithm) -> Result<New> {
        store::check_room(call, permit)?;
        // Not in order and not to be guessed: clients see it.
        let id = uuid::Builder::from_random_bytes(random()).into_uuid();
        let domain_key = call.domain_key(permit)?;
        let key = SealingKey::new(0, random());
        let now = call.now();
        let hasher = Hasher::new(algorithm);
        let row = UploadRow {
            id,
            repository_id: permit.id,
            principal_id: call.request.caller.principal_id.clone(),
            key_domain: permit.domain.id,
            algorithm: algorithm.to_string(),
            wrapped_key: domain_key.seal(Purpose::DataKey, &data_key_context(&id), key.bytes()),
            size: 0,
            version: 0,
            segments: 0,
            hash_state: hash::seal(&domain_key, hash::Column::Now, &id, 0, &hasher),
            last_start: 0,
            last_hash_state: None,
            parts: 0,
            short_part: false,
            last_part_size: 0,
            state: "open".to_owned(),
            created_at: now,
            touched_at: now,
        };
        let object = call.store(permit)?.name(random());
        Ok(New { open: Open { row, key, domain_key }, object })
    }

    /// Inserts the row and the name of the first append's object. It promises nothing, so it is
    /// written without a sync: an acknowledgement, which is synced, comes after it in the log.
    async fn insert(
        self,
        call: &Call,
        permit: &Permit,
        note: Option<bonded_db::Note>,
    ) -> Result<(Open, ObjectName)> {
        let New { open, object } = self;
        let row = open.row.clone();
        let permit = permit.clone();
        let limit = call.registry.settings.uploads_per_principal;
        let near = is_near(call, limit).await?;
        let now = call.now();
        call.db()
            .write_unsynced(move |tx| {
                living(&permit, tx)?;
                if near {
                    make_room_for_upload(tx, &row.principal_id, limit, now)?;
                }
                let inserted = tx.insert_upload(&row)?;
                if !inserted || !tx.register_object(&object.0, &permit.region, now + OBJECT_DUE)? {
                    return Err(used_twice());
                }
                if let Some(note) = &note {
                    tx.note(note)?;
                }
                Ok(())
            })
            .await?;
        Ok((open, object))
    }
}

/// Whether the caller has about as many uploads open as he may. Only then are they counted in
/// the transaction that adds one, where counting would be in the way of his other transactions.
async fn is_near(call: &Call, limit: i64) -> Result<bool> {
    let principal_id = call.request.caller.principal_id.clone();
    let open = call.db().read_point(move |tx| tx.count_open_uploads(&principal_id)).await?;
    Ok(open + NEAR >= limit)
}

/// Ends the principal's longest idle upload if there are too many.
fn make_room_for_upload(tx: &mut Tx<'_>, principal_id: &str, limit: i64, now: i64) -> Result<()> {
    if tx.count_open_uploads(principal_id)? < limit {
        return Ok(());
    }
    match tx.longest_idle_upload(principal_id)? {
        Some((id, touched_at)) if touched_at <= now - IDLE => {
            tx.discard_upload(&id)?;
            Ok(())
        }
        _ => Err(Error::TooManyRequests(format!(
            "A principal can have at most {limit} uploads open"
        ))),
    }
}

/// The row of the caller's own open upload.
async fn find(call: &Call, permit: &Permit, id: Uuid) -> Result<UploadRow> {
    let row = call.db().read_point(move |tx| tx.upload(&id)).await?;
    let principal_id = &call.request.caller.principal_id;
    let own = |row: &UploadRow| {
        row.repository_id == permit.id && row.principal_id == *principal_id && row.state == "open"
    };
    row.filter(own).ok_or_else(|| not_found(permit, &id.to_string()))
}

/// The repository's row, if it lives and seals with the key that was taken for it.
fn living(permit: &Permit, tx: &mut Tx<'_>) -> Result<RepositoryRow> {
    let row = permit.repository(tx)?;
    if row.key_domain != permit.domain.id {
        let moved = anyhow::anyhow!("repository {} has another key domain now", row.id);
        return Err(Error::Unavailable(moved));
    }
    Ok(row)
}

/// Why an upload is no longer as an append or a completion found it.
fn lost(permit: &Permit, tx: &mut Tx<'_>, id: Uuid, first: u64) -> Result<Error> {
    let row = tx.upload(&id)?.filter(|row| row.state == "open");
    Ok(match row {
        None => not_found(permit, &id.to_string()),
        Some(row) => invalid_part(permit, id, first, unsigned(row.size)),
    })
}

/// `requestParameters` of a request of `/v2/`; the API's are its body.
fn parameters(call: &Call, plane: Plane, parameters: &serde_json::Value) {
    if plane == Plane::V2 {
        call.set_parameters(RawValue::from_string(parameters.to_string()).ok());
    }
}

/// Where a blob's data key belongs: to the upload that the blob came by.
pub(crate) fn data_key_context(upload_id: &Uuid) -> Vec<u8> {
    column("blob.wrapped_key", upload_id.as_bytes())
}

fn not_found(permit: &Permit, upload_id: &str) -> Error {
    Error::UploadNotFound {
        upload_id: upload_id.to_owned(),
        name: permit.name.clone(),
        registry_id: permit.account,
    }
}

fn invalid_part(permit: &Permit, upload_id: Uuid, first: u64, received: u64) -> Error {
    Error::InvalidLayerPart {
        first,
        received,
        upload_id,
        name: permit.name.clone(),
        registry_id: permit.account,
    }
}

fn too_long() -> Error {
    Error::LimitExceeded("An append can take at most 24 hours".to_owned())
}

fn used_twice() -> Error {
    Error::Internal(anyhow::anyhow!("a random name was used before"))
}

/// Sizes in rows are never negative.
pub(crate) fn unsigned(size: i64) -> u64 {
    u64::try_from(size).unwrap_or(0)
}

/// Sizes are at most [`MAX_BLOB`].
fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
