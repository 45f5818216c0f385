//! Tags: where each points, and every move it made.

use uuid::Uuid;

use crate::{Error, Tx};

/// Where a tag points.
#[derive(Clone, Debug)]
pub struct TagRow {
    pub image_id: Uuid,
    pub digest: String,
}

/// One move of a tag, written with it.
#[derive(Clone, Debug)]
pub struct TagChange {
    pub id: Uuid,
    pub tag: String,
    pub principal_id: String,
    pub time: i64,
    pub request_id: String,
}

/// A place in the list of (image, tag) pairs.
#[derive(Clone, Debug)]
pub struct ImageTagPlace {
    pub image_id: Uuid,
    /// Empty for an untagged image.
    pub tag: String,
}

/// One (image, tag) pair; no tag for an untagged image.
#[derive(Clone, Debug)]
pub struct ImageTagRow {
    pub image_id: Uuid,
    pub digest: String,
    pub tag: Option<String>,
}

/// An image may have a thousand tags: this many images' tags are in memory at once, at most …
const IMAGES_PER_STEP: i64 = 64;
/// … and each step looks at this many times as many as the one before, from one on: the first
/// image may have all the tags that are wanted.
const STEP_GROWTH: i64 = 4;

impl Tx<'_> {
    pub fn tag(&mut self, repository_id: &Uuid, name: &str) -> Result<Option<TagRow>, Error> {
        self.query_opt(
            "SELECT t.image_id, i.digest FROM tag t JOIN image i ON i.id = t.image_id \
             WHERE t.repository_id = $1 AND t.name = $2",
            &[repository_id.into(), name.into()],
            |row| Ok(TagRow { image_id: row.get(0)?, digest: row.get(1)? }),
        )
    }

    /// Points a tag to an image, and keeps `tagged` of both images true. `from` is where it
    /// pointed, as read in this transaction.
    pub fn move_tag(
        &mut self,
        repository_id: &Uuid,
        from: Option<&TagRow>,
        to: &TagRow,
        change: &TagChange,
    ) -> Result<(), Error> {
        self.execute(
            "INSERT INTO tag (repository_id, name, image_id, moved_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (repository_id, name) \
             DO UPDATE SET image_id = excluded.image_id, moved_at = excluded.moved_at",
            &[
                repository_id.into(),
                (&change.tag).into(),
                (&to.image_id).into(),
                change.time.into(),
            ],
        )?;
        self.execute(
            "UPDATE image SET tagged = 1 WHERE id = $1 AND tagged = 0",
            &[(&to.image_id).into()],
        )?;
        if let Some(from) = from {
            self.untag_if_last(&from.image_id)?;
        }
        self.insert_tag_change(repository_id, from, Some(to), change)
    }

    /// Removes a tag; the image stays. `from` is where it pointed, as read in this transaction.
    pub fn delete_tag(
        &mut self,
        repository_id: &Uuid,
        from: &TagRow,
        change: &TagChange,
    ) -> Result<(), Error> {
        self.execute(
            "DELETE FROM tag WHERE repository_id = $1 AND name = $2",
            &[repository_id.into(), (&change.tag).into()],
        )?;
        self.untag_if_last(&from.image_id)?;
        self.insert_tag_change(repository_id, Some(from), None, change)
    }

    fn untag_if_last(&mut self, image_id: &Uuid) -> Result<(), Error> {
        self.execute(
            "UPDATE image SET tagged = 0 WHERE id = $1 \
             AND NOT EXISTS (SELECT 1 FROM tag t WHERE t.image_id = $1)",
            &[image_id.into()],
        )?;
        Ok(())
    }

    fn insert_tag_change(
        &mut self,
        repository_id: &Uuid,
        from: Option<&TagRow>,
        to: Option<&TagRow>,
        change: &TagChange,
    ) -> Result<(), Error> {
        self.execute(
            "INSERT INTO tag_change \
             (id, repository_id, tag, from_digest, to_digest, principal_id, time, request_id) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO NOTHING",
            &[
                (&change.id).into(),
                repository_id.into(),
                (&change.tag).into(),
                from.map(|from| from.digest.as_str()).into(),
                to.map(|to| to.digest.as_str()).into(),
                (&change.principal_id).into(),
                change.time.into(),
                (&change.request_id).into(),
            ],
        )?;
        Ok(())
    }

    /// Names of an image's tags, in byte order.
    pub fn tags_of_image(&mut self, image_id: &Uuid, limit: i64) -> Result<Vec<String>, Error> {
        self.query(
            "SELECT name FROM tag WHERE image_id = $1 ORDER BY name LIMIT $2",
            &[image_id.into(), limit.into()],
            |row| row.get(0),
        )
    }

    /// Whether an image has at least this many tags.
    pub fn has_tags(&mut self, image_id: &Uuid, at_least: i64) -> Result<bool, Error> {
        let found = self.query_opt(
            "SELECT 1 FROM tag WHERE image_id = $1 ORDER BY name LIMIT 1 OFFSET $2",
            &[image_id.into(), (at_least - 1).into()],
            |_| Ok(()),
        )?;
        Ok(found.is_some())
    }

    /// Names of a repository's tags in byte order, after `after`.
    pub fn tag_names(
        &mut self,
        repository_id: &Uuid,
        after: &str,
        limit: i64,
    ) -> Result<Vec<String>, Error> {
        self.query(
            "SELECT name FROM tag WHERE repository_id = $1 AND name > $2 ORDER BY name LIMIT $3",
            &[repository_id.into(), after.into(), limit.into()],
            |row| row.get(0),
        )
    }

    /// (image, tag) pairs in push order, then by tag, after `after`; untagged images once.
    pub fn image_tags(
        &mut self,
        repository_id: &Uuid,
        filter: &crate::ImageFilter,
        after: &ImageTagPlace,
        limit: i64,
    ) -> Result<Vec<ImageTagRow>, Error> {
        // The rest of the image that the last page ended in, if it was of this status.
        let mut rows = self.query(
            "SELECT i.id, i.digest, t.name FROM image i JOIN tag t ON t.image_id = i.id \
             WHERE i.id = $1 AND i.status = $2 AND t.name > $3 ORDER BY t.name LIMIT $4",
            &[(&after.image_id).into(), (&filter.status).into(), (&after.tag).into(), limit.into()],
            image_tag_row,
        )?;
        if filter.tagged == Some(false) {
            rows.clear();
        }
        let mut last = after.image_id;
        let mut step = 1;
        while i64::try_from(rows.len()).unwrap_or(i64::MAX) < limit {
            let images = self.images(repository_id, filter, &last, step)?;
            let Some(image) = images.last() else { break };
            last = image.id;
            let end = i64::try_from(images.len()).unwrap_or(i64::MAX) < step;
            let ids: Vec<_> = images.iter().map(|image| image.id).collect();
            let mut tags = self.tags_of_images(&ids)?.into_iter().peekable();
            for image in images {
                let mut tagged = false;
                while let Some((_, name)) = tags.next_if(|(id, _)| *id == image.id) {
                    tagged = true;
                    let digest = image.digest.clone();
                    rows.push(ImageTagRow { image_id: image.id, digest, tag: Some(name) });
                }
                if !tagged {
                    rows.push(ImageTagRow { image_id: image.id, digest: image.digest, tag: None });
                }
            }
            if end {
                break;
            }
            step = (step * STEP_GROWTH).min(IMAGES_PER_STEP);
        }
        rows.truncate(usize::try_from(limit).unwrap_or(0));
        Ok(rows)
    }
}

fn image_tag_row(row: &crate::Row<'_>) -> Result<ImageTagRow, Error> {
    Ok(ImageTagRow { image_id: row.get(0)?, digest: row.get(1)?, tag: row.get(2)? })
}
