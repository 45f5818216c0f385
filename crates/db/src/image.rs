//! Images: rows, manifests, what each uses, and when each was pulled.

use uuid::Uuid;

use crate::{Error, Param, Row, Tx};

/// An image of a repository.
#[derive(Clone, Debug)]
pub struct ImageRow {
    pub id: Uuid,
    pub digest: String,
    pub tagged: bool,
    /// `ACTIVE`.
    pub status: String,
    /// `image` or `index`.
    pub media_kind: String,
    pub media_type: String,
    /// `artifactMediaType`.
    pub artifact_type: Option<String>,
    pub manifest_size: i64,
    /// `imageSizeInBytes`.
    pub image_size: i64,
    pub subject_digest: Option<String>,
    /// 0 for an image; an index is one above its deepest child.
    pub depth: i64,
    pub pushed_at: i64,
}

/// What an index needs to know of a child.
#[derive(Clone, Debug)]
pub struct ChildRow {
    pub digest: String,
    pub image_size: i64,
    pub depth: i64,
}

/// A new image with all that it uses.
#[derive(Clone, Debug)]
pub struct NewImage {
    pub row: ImageRow,
    /// Sealed under the domain's data key.
    pub manifest: Vec<u8>,
    /// Digest and media type of its config and layers, each digest once.
    pub blobs: Vec<(String, String)>,
    /// Digests of the manifests that an index lists, each once.
    pub children: Vec<String>,
    /// Annotations as a JSON object, sealed under the domain's data key: kept for the subject.
    pub annotations: Vec<u8>,
}

/// Which images a list shows: those of one status, all or only tagged or untagged ones.
#[derive(Clone, Debug)]
pub struct ImageFilter {
    pub status: String,
    pub tagged: Option<bool>,
}

/// How an image is asked for.
#[derive(Clone, Debug)]
pub enum ImageBy {
    Tag(String),
    Digest(String),
}

/// An image that is about to be pulled.
#[derive(Clone, Debug)]
pub struct ImageToPull {
    pub image: ImageRow,
    /// The registry has principals whose pulls leave pull times alone.
    pub has_exclusions: bool,
}

impl Tx<'_> {
    pub fn image_by_digest(
        &mut self,
        repository_id: &Uuid,
        digest: &str,
    ) -> Result<Option<ImageRow>, Error> {
        self.query_opt(
            "SELECT id, digest, tagged, status, media_kind, media_type, artifact_type, \
             manifest_size, image_size, subject_digest, depth, pushed_at FROM image \
             WHERE repository_id = $1 AND digest = $2",
            &[repository_id.into(), digest.into()],
            image_row,
        )
    }

    pub fn image_by_tag(
        &mut self,
        repository_id: &Uuid,
        tag: &str,
    ) -> Result<Option<ImageRow>, Error> {
        self.query_opt(
            "SELECT i.id, i.digest, i.tagged, i.status, i.media_kind, i.media_type, \
             i.artifact_type, i.manifest_size, i.image_size, i.subject_digest, i.depth, i.pushed_at \
             FROM tag t JOIN image i ON i.id = t.image_id \
             WHERE t.repository_id = $1 AND t.name = $2",
            &[repository_id.into(), tag.into()],
            image_row,
        )
    }

    /// A manifest, sealed under the domain's data key.
    pub fn image_manifest(&mut self, image_id: &Uuid) -> Result<Option<Vec<u8>>, Error> {
        self.query_opt(
            "SELECT bytes FROM image_manifest WHERE image_id = $1",
            &[image_id.into()],
            |row| row.get(0),
        )
    }

    /// Which of these digests are images of the repository.
    pub fn images_present(
        &mut self,
        repository_id: &Uuid,
        digests: &[String],
    ) -> Result<Vec<ChildRow>, Error> {
        let keys: Vec<_> = digests.iter().map(Param::from).collect();
        self.query_in(
            "SELECT digest, image_size, depth FROM image \
             WHERE repository_id = $1 AND digest IN ($in)",
            &[repository_id.into()],
            &keys,
            |row| Ok(ChildRow { digest: row.get(0)?, image_size: row.get(1)?, depth: row.get(2)? }),
        )
    }

    /// Inserts an image with what it uses, and takes the stamp off the blobs that it uses. The
    /// caller has seen that the repository has no image of this digest.
    pub fn insert_image(&mut self, repository_id: &Uuid, new: &NewImage) -> Result<(), Error> {
        let row = &new.row;
        // What another transaction has inserted meanwhile is a conflict only with this clause:
        // without it PostgreSQL tells of a key that is there, and that is not tried again.
        let made = self.execute(
            "INSERT INTO image (id, repository_id, digest, tagged, status, media_kind, \
             media_type, artifact_type, manifest_size, image_size, subject_digest, depth, \
             pushed_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
             ON CONFLICT (repository_id, digest) DO NOTHING",
            &[
                (&row.id).into(),
                repository_id.into(),
                (&row.digest).into(),
                row.tagged.into(),
                (&row.status).into(),
                (&row.media_kind).into(),
                (&row.media_type).into(),
                row.artifact_type.as_deref().into(),
                row.manifest_size.into(),
                row.image_size.into(),
                row.subject_digest.as_deref().into(),
                row.depth.into(),
                row.pushed_at.into(),
            ],
        )?;
        if made == 0 {
            return Err(Error::Exists);
        }
        self.execute(
            "INSERT INTO image_manifest (image_id, bytes) VALUES ($1, $2) \
             ON CONFLICT (image_id) DO NOTHING",
            &[(&row.id).into(), (&new.manifest).into()],
        )?;
        for (digest, media_type) in &new.blobs {
            self.execute(
                "INSERT INTO image_blob (repository_id, digest, image_id, media_type) \
                 VALUES ($1, $2, $3, $4) ON CONFLICT (repository_id, digest, image_id) DO NOTHING",
                &[repository_id.into(), digest.into(), (&row.id).into(), media_type.into()],
            )?;
            self.execute(
                "UPDATE membership SET unused_since = NULL \
                 WHERE repository_id = $1 AND digest = $2 AND unused_since IS NOT NULL",
                &[repository_id.into(), digest.into()],
            )?;
        }
        for digest in &new.children {
            self.execute(
                "INSERT INTO image_child (repository_id, child_digest, parent_id) \
                 VALUES ($1, $2, $3) ON CONFLICT (repository_id, child_digest, parent_id) DO NOTHING",
                &[repository_id.into(), digest.into(), (&row.id).into()],
            )?;
        }
        if let Some(subject) = &row.subject_digest {
            self.insert_referrer(repository_id, subject, new)?;
        }
        Ok(())
    }

    /// Digests of up to ten indexes that list this manifest.
    pub fn parents(
        &mut self,
        repository_id: &Uuid,
        child_digest: &str,
    ) -> Result<Vec<String>, Error> {
        self.query(
            "SELECT i.digest FROM image_child c JOIN image i ON i.id = c.parent_id \
             WHERE c.repository_id = $1 AND c.child_digest = $2 LIMIT 10",
            &[repository_id.into(), child_digest.into()],
            |row| row.get(0),
        )
    }

    /// Removes an image and all that says what it used; stamps the blobs that nothing uses any
    /// more. Its tags are removed by the caller before, one by one, because each is a change.
    pub fn delete_image(
        &mut self,
        repository_id: &Uuid,
        image_id: &Uuid,
        now: i64,
    ) -> Result<(), Error> {
        let blobs: Vec<String> = self.query(
            "SELECT digest FROM image_blob WHERE image_id = $1",
            &[image_id.into()],
            |row| row.get(0),
        )?;
        for sql in [
            "DELETE FROM image_blob WHERE image_id = $1",
            "DELETE FROM image_child WHERE parent_id = $1",
            "DELETE FROM referrer WHERE image_id = $1",
            "DELETE FROM image_manifest WHERE image_id = $1",
            "DELETE FROM image_pull WHERE image_id = $1",
            "DELETE FROM image WHERE id = $1",
        ] {
            self.execute(sql, &[image_id.into()])?;
        }
        for digest in &blobs {
            self.execute(
                "UPDATE membership SET unused_since = $3 \
                 WHERE repository_id = $1 AND digest = $2 AND unused_since IS NULL \
                 AND NOT EXISTS (SELECT 1 FROM image_blob b \
                 WHERE b.repository_id = $1 AND b.digest = $2)",
                &[repository_id.into(), digest.into(), now.into()],
            )?;
        }
        Ok(())
    }

    pub fn set_image_tagged(&mut self, image_id: &Uuid, tagged: bool) -> Result<(), Error> {
        self.execute(
            "UPDATE image SET tagged = $2 WHERE id = $1",
            &[image_id.into(), tagged.into()],
        )?;
        Ok(())
    }

    /// Images in push order, after `after`.
    pub fn images(
        &mut self,
        repository_id: &Uuid,
        filter: &ImageFilter,
        after: &Uuid,
        limit: i64,
    ) -> Result<Vec<ImageRow>, Error> {
        match filter.tagged {
            None => self.query(
                "SELECT id, digest, tagged, status, media_kind, media_type, artifact_type, \
                 manifest_size, image_size, subject_digest, depth, pushed_at FROM image \
                 WHERE repository_id = $1 AND status = $2 AND id > $3 ORDER BY id LIMIT $4",
                &[repository_id.into(), (&filter.status).into(), after.into(), limit.into()],
                image_row,
            ),
            Some(tagged) => self.query(
                "SELECT id, digest, tagged, status, media_kind, media_type, artifact_type, \
                 manifest_size, image_size, subject_digest, depth, pushed_at FROM image \
                 WHERE repository_id = $1 AND status = $2 AND tagged = $3 AND id > $4 \
                 ORDER BY id LIMIT $5",
                &[
                    repository_id.into(),
                    (&filter.status).into(),
                    tagged.into(),
                    after.into(),
                    limit.into(),
                ],
                image_row,
            ),
        }
    }

    /// Tags of these images, by image and name.
    pub fn tags_of_images(&mut self, images: &[Uuid]) -> Result<Vec<(Uuid, String)>, Error> {
        let keys: Vec<_> = images.iter().map(Param::from).collect();
        self.query_in(
            "SELECT image_id, name FROM tag WHERE image_id IN ($in) ORDER BY image_id, name",
            &[],
            &keys,
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
    }

    /// When each of these images was last pulled.
    pub fn pulls_of_images(&mut self, images: &[Uuid]) -> Result<Vec<(Uuid, i64)>, Error> {
        let keys: Vec<_> = images.iter().map(Param::from).collect();
        self.query_in(
            "SELECT image_id, pulled_at FROM image_pull WHERE image_id IN ($in)",
            &[],
            &keys,
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
    }

    /// Notes a pull; an older one than is known changes nothing, nor does one of an image that
    /// is gone.
    pub fn put_image_pull(&mut self, image_id: &Uuid, pulled_at: i64) -> Result<(), Error> {
        self.execute(
            "INSERT INTO image_pull (image_id, pulled_at) \
             SELECT id, CAST($2 AS BIGINT) FROM image WHERE id = $1 \
             ON CONFLICT (image_id) DO UPDATE SET pulled_at = excluded.pulled_at \
             WHERE image_pull.pulled_at < excluded.pulled_at",
            &[image_id.into(), pulled_at.into()],
        )?;
        Ok(())
    }

    /// Whether pulls by this principal leave pull times alone.
    pub fn is_pull_time_excluded(
        &mut self,
        account: &str,
        region: &str,
        principal_arn: &str,
    ) -> Result<bool, Error> {
        let found = self.query_opt(
            "SELECT 1 FROM pull_time_exclusion \
             WHERE account = $1 AND region = $2 AND principal_arn = $3",
            &[account.into(), region.into(), principal_arn.into()],
            |_| Ok(()),
        )?;
        Ok(found.is_some())
    }
}

pub(crate) fn image_row(row: &Row<'_>) -> Result<ImageRow, Error> {
    image_row_at(row, 0)
}

/// An image out of the twelve columns from `first` on.
pub(crate) fn image_row_at(row: &Row<'_>, first: usize) -> Result<ImageRow, Error> {
    Ok(ImageRow {
        id: row.get(first)?,
        digest: row.get(first + 1)?,
        tagged: row.get(first + 2)?,
        status: row.get(first + 3)?,
        media_kind: row.get(first + 4)?,
        media_type: row.get(first + 5)?,
        artifact_type: row.get(first + 6)?,
        manifest_size: row.get(first + 7)?,
        image_size: row.get(first + 8)?,
        subject_digest: row.get(first + 9)?,
        depth: row.get(first + 10)?,
        pushed_at: row.get(first + 11)?,
    })
}
