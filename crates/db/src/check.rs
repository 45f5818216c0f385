//! Pages of rows that `bonded check` and `bonded backup` walk through.

use uuid::Uuid;

use crate::{Error, KeyDomainRow, Tx};

/// A blob with what is needed to read it.
#[derive(Clone, Debug)]
pub struct CheckedBlob {
    pub id: Uuid,
    pub digest: String,
    pub size: i64,
    pub damaged: bool,
    pub wrapped_key: Vec<u8>,
    pub key_owner: Uuid,
    pub region: String,
    pub domain: KeyDomainRow,
}

/// An image with what is needed to open its manifest.
#[derive(Clone, Debug)]
pub struct CheckedImage {
    pub id: Uuid,
    pub digest: String,
    pub repository_name: String,
    pub manifest: Option<Vec<u8>>,
    pub domain: KeyDomainRow,
}

/// An object that a segment names.
#[derive(Clone, Copy, Debug)]
pub struct SegmentObject {
    /// 16 bytes.
    pub object: [u8; 16],
    /// The blob, or the upload that will become it.
    pub blob_id: Uuid,
    /// Bytes of plaintext.
    pub plain_size: i64,
}

/// How much there is to walk through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub blobs: i64,
    pub bytes: i64,
    pub images: i64,
}

impl Tx<'_> {
    pub fn totals(&mut self) -> Result<Totals, Error> {
        let blobs = self.query_opt(
            "SELECT COUNT(*), COALESCE(CAST(SUM(size) AS BIGINT), 0) FROM blob",
            &[],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let images = self.query_opt("SELECT COUNT(*) FROM image", &[], |row| row.get(0))?;
        let (blobs, bytes) = blobs.unwrap_or((0, 0));
        Ok(Totals { blobs, bytes, images: images.unwrap_or(0) })
    }

    /// Blobs by id, after `after`.
    pub fn blobs_to_check(&mut self, after: &Uuid, limit: i64) -> Result<Vec<CheckedBlob>, Error> {
        self.query(
            "SELECT b.id, b.digest, b.size, b.damaged, b.wrapped_key, b.key_owner, d.region, \
             d.id, d.kind, d.enabled, d.wrapped_key \
             FROM blob b JOIN key_domain d ON d.id = b.key_domain \
             WHERE b.id > $1 ORDER BY b.id LIMIT $2",
            &[after.into(), limit.into()],
            |row| {
                Ok(CheckedBlob {
                    id: row.get(0)?,
                    digest: row.get(1)?,
                    size: row.get(2)?,
                    damaged: row.get(3)?,
                    wrapped_key: row.get(4)?,
                    key_owner: row.get(5)?,
                    region: row.get(6)?,
                    domain: KeyDomainRow {
                        id: row.get(7)?,
                        kind: row.get(8)?,
                        enabled: row.get(9)?,
                        wrapped_key: row.get(10)?,
                    },
                })
            },
        )
    }

    /// Whose upload a blob's key was sealed for, which changes when its segments are replaced;
    /// `None` if the blob is gone.
    pub fn blob_key_owner(&mut self, id: &Uuid) -> Result<Option<Uuid>, Error> {
        self.query_opt("SELECT key_owner FROM blob WHERE id = $1", &[id.into()], |row| row.get(0))
    }

    /// Images by id, after `after`.
    pub fn images_to_check(
        &mut self,
        after: &Uuid,
        limit: i64,
    ) -> Result<Vec<CheckedImage>, Error> {
        self.query(
            "SELECT i.id, i.digest, r.name, m.bytes, d.id, d.kind, d.enabled, d.wrapped_key \
             FROM image i JOIN repository r ON r.id = i.repository_id \
             JOIN key_domain d ON d.id = r.key_domain \
             LEFT JOIN image_manifest m ON m.image_id = i.id \
             WHERE i.id > $1 ORDER BY i.id LIMIT $2",
            &[after.into(), limit.into()],
            |row| {
                Ok(CheckedImage {
                    id: row.get(0)?,
                    digest: row.get(1)?,
                    repository_name: row.get(2)?,
                    manifest: row.get(3)?,
                    domain: KeyDomainRow {
                        id: row.get(4)?,
                        kind: row.get(5)?,
                        enabled: row.get(6)?,
                        wrapped_key: row.get(7)?,
                    },
                })
            },
        )
    }

    /// Memberships whose blob is gone, as (repository, digest): there should be none.
    pub fn memberships_without_blob(&mut self, limit: i64) -> Result<Vec<(Uuid, String)>, Error> {
        self.query(
            "SELECT m.repository_id, m.digest FROM membership m \
             WHERE NOT EXISTS (SELECT 1 FROM blob b WHERE b.id = m.blob_id) LIMIT $1",
            &[limit.into()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
    }

    /// Objects that segments of a region name, by name after `after`; not those of segments whose
    /// bytes lie in a row.
    pub fn segment_objects(
        &mut self,
        region: &str,
        after: &[u8],
        limit: i64,
    ) -> Result<Vec<SegmentObject>, Error> {
        self.query(
            "SELECT s.object, s.blob_id, s.plain_size FROM segment s \
             LEFT JOIN blob b ON b.id = s.blob_id LEFT JOIN upload u ON u.id = s.blob_id \
             JOIN key_domain d ON d.id = COALESCE(b.key_domain, u.key_domain) \
             WHERE d.region = $1 AND s.object > $2 \
             AND NOT EXISTS (SELECT 1 FROM segment_bytes y WHERE y.object = s.object) \
             ORDER BY s.object LIMIT $3",
            &[region.into(), after.into(), limit.into()],
            |row| {
                Ok(SegmentObject {
                    object: row.get(0)?,
                    blob_id: row.get(1)?,
                    plain_size: row.get(2)?,
                })
            },
        )
    }

    /// Segments that belong to no blob and no upload, with their objects.
    pub fn orphan_segments(&mut self, limit: i64) -> Result<Vec<(Uuid, [u8; 16])>, Error> {
        self.query(
            "SELECT s.blob_id, s.object FROM segment s \
             WHERE NOT EXISTS (SELECT 1 FROM blob b WHERE b.id = s.blob_id) \
             AND NOT EXISTS (SELECT 1 FROM upload u WHERE u.id = s.blob_id) LIMIT $1",
            &[limit.into()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
    }
}
