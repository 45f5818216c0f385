//! Blobs with their segments, and which repository has which: a membership.
//!
//! **Invariant:** a blob is read through a membership of the repository that is asked, never by
//! its digest alone. A damaged one is absent to every reader.

use uuid::Uuid;

use crate::{Error, Param, Row, Tx};

/// A blob of a key domain.
#[derive(Clone, Debug)]
pub struct BlobRow {
    pub id: Uuid,
    pub size: i64,
    pub damaged: bool,
}

/// A new blob: its segments are there under its id.
#[derive(Clone, Debug)]
pub struct NewBlob {
    /// The upload's id.
    pub id: Uuid,
    pub key_domain: Uuid,
    pub digest: String,
    pub size: i64,
    pub wrapped_key: Vec<u8>,
    pub created_at: i64,
}

/// A blob as a repository has it, with all that reading it needs.
#[derive(Clone, Debug)]
pub struct LayerRow {
    pub blob_id: Uuid,
    pub size: i64,
    /// Sealed under the domain's data key, for the row that `key_owner` names.
    pub wrapped_key: Vec<u8>,
    pub key_owner: Uuid,
    /// Since when no manifest of the repository uses it.
    pub unused_since: Option<i64>,
    /// In order.
    pub segments: Vec<SegmentRow>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentRow {
    /// 16 bytes.
    pub object: [u8; 16],
    pub offset: i64,
    pub size: i64,
    /// What the object would hold, if there is none.
    pub bytes: Option<Vec<u8>>,
}

/// What a repository can say of a blob without reading it.
#[derive(Clone, Debug)]
pub struct AvailableLayer {
    pub digest: String,
    pub size: i64,
    pub unused_since: Option<i64>,
    /// As the manifest of an image calls it.
    pub media_type: Option<String>,
}

impl Tx<'_> {
    /// A blob of a repository; `None` if it has none of this digest that can be read.
    pub fn layer(&mut self, repository_id: &Uuid, digest: &str) -> Result<Option<LayerRow>, Error> {
        let mut rows = self.query(
            "SELECT b.id, b.size, b.wrapped_key, b.key_owner, m.unused_since, \
             s.object, s.plain_offset, s.plain_size, y.bytes \
             FROM membership m JOIN blob b ON b.id = m.blob_id \
             LEFT JOIN segment s ON s.blob_id = b.id \
             LEFT JOIN segment_bytes y ON s.number = 0 AND y.object = s.object \
             WHERE m.repository_id = $1 AND m.digest = $2 AND b.damaged = 0 ORDER BY s.number",
            &[repository_id.into(), digest.into()],
            layer_row,
        )?;
        let segments = rows.iter_mut().flat_map(|row| std::mem::take(&mut row.segments)).collect();
        Ok(rows.into_iter().next().map(|row| LayerRow { segments, ..row }))
    }

    /// Which of these digests a repository has, each once.
    pub fn available_layers(
        &mut self,
        repository_id: &Uuid,
        digests: &[String],
    ) -> Result<Vec<AvailableLayer>, Error> {
        let keys: Vec<_> = digests.iter().map(Param::from).collect();
        self.query_in(
            "SELECT m.digest, b.size, m.unused_since, (SELECT i.media_type FROM image_blob i \
             WHERE i.repository_id = m.repository_id AND i.digest = m.digest LIMIT 1) \
             FROM membership m JOIN blob b ON b.id = m.blob_id \
             WHERE m.repository_id = $1 AND b.damaged = 0 AND m.digest IN ($in)",
            &[repository_id.into()],
            &keys,
            |row| {
                Ok(AvailableLayer {
                    digest: row.get(0)?,
                    size: row.get(1)?,
                    unused_since: row.get(2)?,
                    media_type: row.get(3)?,
                })
            },
        )
    }

    /// Which of these digests a repository has: for a manifest that names them.
    pub fn memberships_present(
        &mut self,
        repository_id: &Uuid,
        digests: &[String],
    ) -> Result<Vec<String>, Error> {
        let keys: Vec<_> = digests.iter().map(Param::from).collect();
        self.query_in(
            "SELECT m.digest FROM membership m JOIN blob b ON b.id = m.blob_id \
             WHERE m.repository_id = $1 AND b.damaged = 0 AND m.digest IN ($in)",
            &[repository_id.into()],
            &keys,
            |row| row.get(0),
        )
    }

    /// Whether a repository has a blob that can be read.
    pub fn has_layer(&mut self, repository_id: &Uuid, digest: &str) -> Result<bool, Error> {
        let found = self.query_opt(
            "SELECT 1 FROM membership m JOIN blob b ON b.id = m.blob_id \
             WHERE m.repository_id = $1 AND m.digest = $2 AND b.damaged = 0",
            &[repository_id.into(), digest.into()],
            |_| Ok(()),
        )?;
        Ok(found.is_some())
    }

    /// Starts the grace time of an unused membership anew, because somebody was told of it.
    /// `false` if the repository has no such blob any more.
    pub fn refresh_membership(
        &mut self,
        repository_id: &Uuid,
        digest: &str,
        now: i64,
    ) -> Result<bool, Error> {
        self.execute(
            "UPDATE membership SET unused_since = $3 \
             WHERE repository_id = $1 AND digest = $2 AND unused_since < $3",
            &[repository_id.into(), digest.into(), now.into()],
        )?;
        self.has_layer(repository_id, digest)
    }

    /// The blob of a digest in a key domain, damaged or not.
    pub fn blob_by_digest(
        &mut self,
        key_domain: &Uuid,
        digest: &str,
    ) -> Result<Option<BlobRow>, Error> {
        self.query_opt(
            "SELECT id, size, damaged FROM blob WHERE key_domain = $1 AND digest = $2",
            &[key_domain.into(), digest.into()],
            |row| Ok(BlobRow { id: row.get(0)?, size: row.get(1)?, damaged: row.get(2)? }),
        )
    }

    /// `false` if the domain has the digest already.
    pub fn insert_blob(&mut self, new: &NewBlob) -> Result<bool, Error> {
        let made = self.execute(
            "INSERT INTO blob (id, key_domain, digest, size, wrapped_key, key_owner, damaged, \
             created_at, unused_since) VALUES ($1, $2, $3, $4, $5, $1, 0, $6, NULL) \
             ON CONFLICT (key_domain, digest) DO NOTHING",
            &[
                (&new.id).into(),
                (&new.key_domain).into(),
                (&new.digest).into(),
                new.size.into(),
                (&new.wrapped_key).into(),
                new.created_at.into(),
            ],
        )?;
        Ok(made == 1)
    }

    /// Gives a damaged blob, which has no segments any more, those of the upload `new.id` and
    /// the key that they are sealed under. `false` if the blob is not damaged.
    pub fn replace_blob(&mut self, blob_id: &Uuid, new: &NewBlob) -> Result<bool, Error> {
        let replaced = self.execute(
            "UPDATE blob SET size = $2, wrapped_key = $3, key_owner = $4, damaged = 0, \
             unused_since = NULL WHERE id = $1 AND damaged = 1",
            &[blob_id.into(), new.size.into(), (&new.wrapped_key).into(), (&new.id).into()],
        )?;
        if replaced == 0 {
            return Ok(false);
        }
        self.execute(
            "UPDATE segment SET blob_id = $2 WHERE blob_id = $1",
            &[(&new.id).into(), blob_id.into()],
        )?;
        Ok(true)
    }

    /// Whether a blob or an upload has segments.
    pub fn has_segments(&mut self, id: &Uuid) -> Result<bool, Error> {
        let found = self.query_opt(
            "SELECT 1 FROM segment WHERE blob_id = $1 LIMIT 1",
            &[id.into()],
            |_| Ok(()),
        )?;
        Ok(found.is_some())
    }

    /// The segments of a blob or an upload, in order.
    pub fn segments(&mut self, id: &Uuid) -> Result<Vec<SegmentRow>, Error> {
        self.query(
            "SELECT s.object, s.plain_offset, s.plain_size, y.bytes FROM segment s \
             LEFT JOIN segment_bytes y ON s.number = 0 AND y.object = s.object \
             WHERE s.blob_id = $1 ORDER BY s.number",
            &[id.into()],
            |row| segment_row(row, 0),
        )
    }

    /// One step of emptying a damaged blob, so that new segments can take the place of the old
    /// ones: up to `limit` of those go to `object_removal`. `true` when none is left, or the
    /// blob is not damaged any more.
    pub fn empty_damaged_blob(
        &mut self,
        blob_id: &Uuid,
        region: &str,
        due: i64,
        limit: i64,
    ) -> Result<bool, Error> {
        let damaged = self.query_opt(
            "SELECT 1 FROM blob WHERE id = $1 AND damaged = 1",
            &[blob_id.into()],
            |_| Ok(()),
        )?;
        Ok(damaged.is_none() || self.remove_segments(blob_id, region, due, limit)? < limit)
    }

    /// Puts a blob into a repository. One that is there gets a new stamp if it is unused, and
    /// none if a manifest uses it. The blob itself is in use from now on.
    pub fn put_membership(
        &mut self,
        repository_id: &Uuid,
        digest: &str,
        blob_id: &Uuid,
        now: i64,
    ) -> Result<(), Error> {
        self.execute(
            "INSERT INTO membership (repository_id, digest, blob_id, created_at, unused_since) \
             VALUES ($1, $2, $3, $4, $4) ON CONFLICT (repository_id, digest) DO UPDATE \
             SET blob_id = excluded.blob_id, unused_since = \
             CASE WHEN membership.unused_since IS NULL THEN NULL ELSE excluded.unused_since END",
            &[repository_id.into(), digest.into(), blob_id.into(), now.into()],
        )?;
        self.execute(
            "UPDATE blob SET unused_since = NULL WHERE id = $1 AND unused_since IS NOT NULL",
            &[blob_id.into()],
        )?;
        Ok(())
    }

    /// Takes a blob out of a repository; its blob is stamped if that was the last one. `false`
    /// if it is not there.
    pub fn delete_membership(
        &mut self,
        repository_id: &Uuid,
        digest: &str,
        now: i64,
    ) -> Result<bool, Error> {
        let blob: Option<Uuid> = self.query_opt(
            "DELETE FROM membership WHERE repository_id = $1 AND digest = $2 RETURNING blob_id",
            &[repository_id.into(), digest.into()],
            |row| row.get(0),
        )?;
        let Some(blob) = blob else { return Ok(false) };
        self.stamp_blob_if_unused(&blob, now)?;
        Ok(true)
    }

    /// Digests of up to ten images of a repository that use a blob.
    pub fn images_of_blob(
        &mut self,
        repository_id: &Uuid,
        digest: &str,
    ) -> Result<Vec<String>, Error> {
        self.query(
            "SELECT i.digest FROM image_blob b JOIN image i ON i.id = b.image_id \
             WHERE b.repository_id = $1 AND b.digest = $2 ORDER BY b.image_id LIMIT 10",
            &[repository_id.into(), digest.into()],
            |row| row.get(0),
        )
    }

    /// Living repositories of a registry that have a blob of this key domain, the last one to
    /// get it first.
    pub fn repositories_with_blob(
        &mut self,
        key_domain: &Uuid,
        digest: &str,
        account: &str,
        region: &str,
        limit: i64,
    ) -> Result<Vec<Uuid>, Error> {
        self.query(
            "SELECT r.id FROM blob b JOIN membership m ON m.blob_id = b.id \
             JOIN repository r ON r.id = m.repository_id \
             WHERE b.key_domain = $1 AND b.digest = $2 AND b.damaged = 0 \
             AND r.account = $3 AND r.region = $4 AND r.deleted_at IS NULL \
             ORDER BY m.created_at DESC LIMIT $5",
            &[key_domain.into(), digest.into(), account.into(), region.into(), limit.into()],
            |row| row.get(0),
        )
    }

    /// A blob that cannot be read is absent until it is pushed again. One that has got other
    /// bytes since they were read is left alone. `false` if nothing was marked.
    pub fn mark_blob_damaged(&mut self, id: &Uuid, key_owner: &Uuid) -> Result<bool, Error> {
        let marked = self.execute(
            "UPDATE blob SET damaged = 1 WHERE id = $1 AND key_owner = $2 AND damaged = 0",
            &[id.into(), key_owner.into()],
        )?;
        Ok(marked == 1)
    }
}

fn layer_row(row: &Row<'_>) -> Result<LayerRow, Error> {
    let object: Option<[u8; 16]> = row.get(5)?;
    let segments = match object {
        None => Vec::new(),
        Some(_) => vec![segment_row(row, 5)?],
    };
    Ok(LayerRow {
        blob_id: row.get(0)?,
        size: row.get(1)?,
        wrapped_key: row.get(2)?,
        key_owner: row.get(3)?,
        unused_since: row.get(4)?,
        segments,
    })
}

/// A segment out of the four columns from `first` on.
fn segment_row(row: &Row<'_>, first: usize) -> Result<SegmentRow, Error> {
    Ok(SegmentRow {
        object: row.get(first)?,
        offset: row.get(first + 1)?,
        size: row.get(first + 2)?,
        bytes: row.get(first + 3)?,
    })
}
