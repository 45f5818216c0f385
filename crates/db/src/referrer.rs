//! Referrers: images that name another as their subject, which need not be there.

use uuid::Uuid;

use crate::{Error, NewImage, Row, Tx};

/// The descriptor of a referrer.
#[derive(Clone, Debug)]
pub struct ReferrerRow {
    pub image_id: Uuid,
    pub digest: String,
    pub media_type: String,
    pub artifact_type: Option<String>,
    pub manifest_size: i64,
    /// A JSON object, sealed under the domain's data key.
    pub annotations: Vec<u8>,
}

impl Tx<'_> {
    pub(crate) fn insert_referrer(
        &mut self,
        repository_id: &Uuid,
        subject_digest: &str,
        new: &NewImage,
    ) -> Result<(), Error> {
        let row = &new.row;
        self.execute(
            "INSERT INTO referrer (repository_id, subject_digest, digest, image_id, media_type, \
             artifact_type, manifest_size, annotations) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
             ON CONFLICT (repository_id, subject_digest, digest) DO NOTHING",
            &[
                repository_id.into(),
                subject_digest.into(),
                (&row.digest).into(),
                (&row.id).into(),
                (&row.media_type).into(),
                row.artifact_type.as_deref().into(),
                row.manifest_size.into(),
                (&new.annotations).into(),
            ],
        )?;
        Ok(())
    }

    /// Referrers of a subject by digest, after `after`; of one artifact type or of all.
    pub fn referrers(
        &mut self,
        repository_id: &Uuid,
        subject_digest: &str,
        artifact_type: Option<&str>,
        after: &str,
        limit: i64,
    ) -> Result<Vec<ReferrerRow>, Error> {
        match artifact_type {
            None => self.query(
                "SELECT image_id, digest, media_type, artifact_type, manifest_size, annotations \
                 FROM referrer WHERE repository_id = $1 AND subject_digest = $2 AND digest > $3 \
                 ORDER BY digest LIMIT $4",
                &[repository_id.into(), subject_digest.into(), after.into(), limit.into()],
                referrer_row,
            ),
            Some(artifact_type) => self.query(
                "SELECT image_id, digest, media_type, artifact_type, manifest_size, annotations \
                 FROM referrer WHERE repository_id = $1 AND subject_digest = $2 \
                 AND artifact_type = $3 AND digest > $4 ORDER BY digest LIMIT $5",
                &[
                    repository_id.into(),
                    subject_digest.into(),
                    artifact_type.into(),
                    after.into(),
                    limit.into(),
                ],
                referrer_row,
            ),
        }
    }
}

fn referrer_row(row: &Row<'_>) -> Result<ReferrerRow, Error> {
    Ok(ReferrerRow {
        image_id: row.get(0)?,
        digest: row.get(1)?,
        media_type: row.get(2)?,
        artifact_type: row.get(3)?,
        manifest_size: row.get(4)?,
        annotations: row.get(5)?,
    })
}
