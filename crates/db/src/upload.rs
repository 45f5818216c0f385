//! Uploads: begun, grown by appends, ended.
//!
//! **Invariant:** an object that an append writes is named by `object_removal` from before its
//! first byte until the transaction that adds its segment. So it is a part of its upload or on
//! its way out, and never neither.

use uuid::Uuid;

use crate::{Error, Param, Row, Tx};

/// An upload, open or discarded.
#[derive(Clone, Debug)]
pub struct UploadRow {
    /// The id that its blob will have.
    pub id: Uuid,
    pub repository_id: Uuid,
    /// Unique id of who began it.
    pub principal_id: String,
    pub key_domain: Uuid,
    /// `sha256` or `sha512`.
    pub algorithm: String,
    /// The blob's data key, sealed under the domain's.
    pub wrapped_key: Vec<u8>,
    /// Bytes acknowledged.
    pub size: i64,
    /// Raised by every acknowledgement.
    pub version: i64,
    pub segments: i64,
    /// Sealed; the state at `size`.
    pub hash_state: Vec<u8>,
    /// Where the last part began.
    pub last_start: i64,
    /// Sealed; the state at `last_start`. `None` before the first part.
    pub last_hash_state: Option<Vec<u8>>,
    /// Parts that came by the API.
    pub parts: i64,
    /// One of those before the last was under 5 MiB.
    pub short_part: bool,
    /// Bytes of the last one of those.
    pub last_part_size: i64,
    /// `open` or `discarded`.
    pub state: String,
    pub created_at: i64,
    /// When bytes last came, or were about to.
    pub touched_at: i64,
}

/// What an append wrote, as a part of its upload.
#[derive(Clone, Debug)]
pub struct NewSegment {
    /// 16 bytes.
    pub object: [u8; 16],
    pub number: i64,
    /// Where its plaintext begins in the blob's.
    pub offset: i64,
    /// Bytes of plaintext.
    pub size: i64,
    /// What the object would hold, if there is none. Only the first segment may have them, so
    /// that whoever reads a blob's segments holds them of one.
    pub bytes: Option<Vec<u8>>,
}

/// What an append changes, once its object is durable.
#[derive(Clone, Debug)]
pub struct Append {
    pub upload_id: Uuid,
    /// The version that the append began with.
    pub version: i64,
    pub segment: NewSegment,
    /// Sealed; the state behind the new bytes.
    pub hash_state: Vec<u8>,
    /// Sealed; the state before them.
    pub last_hash_state: Vec<u8>,
    pub parts: i64,
    pub short_part: bool,
    pub last_part_size: i64,
    pub now: i64,
}

impl Tx<'_> {
    /// Inserts an upload. `false` if its id is taken.
    pub fn insert_upload(&mut self, row: &UploadRow) -> Result<bool, Error> {
        let last_hash_state = row.last_hash_state.as_deref().map_or(Param::Null, Param::Blob);
        let made = self.execute(
            "INSERT INTO upload (id, repository_id, principal_id, key_domain, algorithm, \
             wrapped_key, size, version, segments, hash_state, last_start, last_hash_state, \
             parts, short_part, last_part_size, state, created_at, touched_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, \
             $18) ON CONFLICT (id) DO NOTHING",
            &[
                (&row.id).into(),
                (&row.repository_id).into(),
                (&row.principal_id).into(),
                (&row.key_domain).into(),
                (&row.algorithm).into(),
                (&row.wrapped_key).into(),
                row.size.into(),
                row.version.into(),
                row.segments.into(),
                (&row.hash_state).into(),
                row.last_start.into(),
                last_hash_state,
                row.parts.into(),
                row.short_part.into(),
                row.last_part_size.into(),
                (&row.state).into(),
                row.created_at.into(),
                row.touched_at.into(),
            ],
        )?;
        Ok(made == 1)
    }

    /// An upload by its id, whoever's and in whatever state it is.
    pub fn upload(&mut self, id: &Uuid) -> Result<Option<UploadRow>, Error> {
        self.query_opt(
            "SELECT id, repository_id, principal_id, key_domain, algorithm, wrapped_key, size, \
             version, segments, hash_state, last_start, last_hash_state, parts, short_part, \
             last_part_size, state, created_at, touched_at FROM upload WHERE id = $1",
            &[id.into()],
            upload_row,
        )
    }

    /// How many uploads a principal has open.
    pub fn count_open_uploads(&mut self, principal_id: &str) -> Result<i64, Error> {
        let count = self.query_opt(
            "SELECT COUNT(*) FROM upload WHERE principal_id = $1 AND state = 'open'",
            &[principal_id.into()],
            |row| row.get(0),
        )?;
        Ok(count.unwrap_or(0))
    }

    /// A principal's open upload that nobody has touched for the longest time, and since when.
    pub fn longest_idle_upload(
        &mut self,
        principal_id: &str,
    ) -> Result<Option<(Uuid, i64)>, Error> {
        self.query_opt(
            "SELECT id, touched_at FROM upload WHERE principal_id = $1 AND state = 'open' \
             ORDER BY touched_at LIMIT 1",
            &[principal_id.into()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
    }

    /// How many uploads are open, of all principals: for the metrics.
    pub fn count_all_open_uploads(&mut self) -> Result<i64, Error> {
        let count =
            self.query_opt("SELECT COUNT(*) FROM upload WHERE state = 'open'", &[], |row| {
                row.get(0)
            })?;
        Ok(count.unwrap_or(0))
    }

    /// Bytes are about to come: an open upload is not idle.
    pub fn touch_upload(&mut self, id: &Uuid, now: i64) -> Result<(), Error> {
        self.execute(
            "UPDATE upload SET touched_at = $2 WHERE id = $1 AND state = 'open' \
             AND touched_at < $2",
            &[id.into(), now.into()],
        )?;
        Ok(())
    }

    /// Acknowledges an append: its object becomes the upload's next segment. `false`, and
    /// nothing is changed, if the upload is no longer as the append found it.
    ///
    /// The caller calls [`Tx::release_object`] in the same transaction.
    pub fn append(&mut self, append: &Append) -> Result<bool, Error> {
        let segment = &append.segment;
        let grown = self.execute(
            "UPDATE upload SET size = $4, version = version + 1, segments = segments + 1, \
             hash_state = $5, last_start = $3, last_hash_state = $6, parts = $7, \
             short_part = $8, last_part_size = $9, touched_at = $10 \
             WHERE id = $1 AND version = $2 AND size = $3 AND state = 'open'",
            &[
                (&append.upload_id).into(),
                append.version.into(),
                segment.offset.into(),
                (segment.offset + segment.size).into(),
                (&append.hash_state).into(),
                (&append.last_hash_state).into(),
                append.parts.into(),
                append.short_part.into(),
                append.last_part_size.into(),
                append.now.into(),
            ],
        )?;
        if grown == 0 {
            return Ok(false);
        }
        self.insert_segment(&append.upload_id, segment)
    }

    /// `false` if the upload or blob has a segment of this number, or the object is another's.
    pub fn insert_segment(&mut self, id: &Uuid, segment: &NewSegment) -> Result<bool, Error> {
        let made = self.execute(
            "INSERT INTO segment (blob_id, number, object, plain_offset, plain_size) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
            &[
                id.into(),
                segment.number.into(),
                (&segment.object).into(),
                segment.offset.into(),
                segment.size.into(),
            ],
        )?;
        if let Some(bytes) = segment.bytes.as_ref().filter(|_| made == 1) {
            self.execute(
                "INSERT INTO segment_bytes (object, bytes) VALUES ($1, $2)",
                &[(&segment.object).into(), bytes.into()],
            )?;
        }
        Ok(made == 1)
    }

    /// Ends an upload without a blob of its own; a job moves its segments to `object_removal`.
    /// `false` if it is not open.
    pub fn discard_upload(&mut self, id: &Uuid) -> Result<bool, Error> {
        let ended = self.execute(
            "UPDATE upload SET state = 'discarded' WHERE id = $1 AND state = 'open'",
            &[id.into()],
        )?;
        Ok(ended == 1)
    }

    /// Ends an upload whose segments are a blob's now.
    pub fn delete_upload(&mut self, id: &Uuid) -> Result<(), Error> {
        self.execute("DELETE FROM upload WHERE id = $1", &[id.into()])?;
        Ok(())
    }

    /// Names an object that will be written, so that it goes at `due` unless it is released.
    /// `false` if the name is known already: it must not be used.
    pub fn register_object(
        &mut self,
        name: &[u8; 16],
        region: &str,
        due: i64,
    ) -> Result<bool, Error> {
        let made = self.execute(
            "INSERT INTO object_removal (name, region, due, taken) VALUES ($1, $2, $3, 0) \
             ON CONFLICT (name) DO NOTHING",
            &[name.into(), region.into(), due.into()],
        )?;
        Ok(made == 1)
    }

    /// Takes an object off the list of what must go. `false` if it is not there, or was taken
    /// to be removed: then it cannot be used.
    pub fn release_object(&mut self, name: &[u8; 16]) -> Result<bool, Error> {
        let released = self
            .execute("DELETE FROM object_removal WHERE name = $1 AND taken = 0", &[name.into()])?;
        Ok(released == 1)
    }

    /// Nobody will release the object: it may go at once.
    pub fn expire_object(&mut self, name: &[u8; 16], now: i64) -> Result<(), Error> {
        self.execute(
            "UPDATE object_removal SET due = $2 WHERE name = $1 AND taken = 0 AND due > $2",
            &[name.into(), now.into()],
        )?;
        Ok(())
    }
}

fn upload_row(row: &Row<'_>) -> Result<UploadRow, Error> {
    Ok(UploadRow {
        id: row.get(0)?,
        repository_id: row.get(1)?,
        principal_id: row.get(2)?,
        key_domain: row.get(3)?,
        algorithm: row.get(4)?,
        wrapped_key: row.get(5)?,
        size: row.get(6)?,
        version: row.get(7)?,
        segments: row.get(8)?,
        hash_state: row.get(9)?,
        last_start: row.get(10)?,
        last_hash_state: row.get(11)?,
        parts: row.get(12)?,
        short_part: row.get(13)?,
        last_part_size: row.get(14)?,
        state: row.get(15)?,
        created_at: row.get(16)?,
        touched_at: row.get(17)?,
    })
}
