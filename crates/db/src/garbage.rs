//! What nothing uses any more: memberships, blobs, uploads, and all of a deleted repository.
//!
//! Every step is small and looks again at what it takes: what came into use since is left alone.

use uuid::Uuid;

use crate::{Error, Tx};

/// A membership that no manifest of its repository used at the cut-off.
#[derive(Clone, Debug)]
pub struct UnusedMembership {
    pub repository_id: Uuid,
    pub digest: String,
}

impl Tx<'_> {
    /// Memberships that have been unused since before `before`, oldest first.
    pub fn unused_memberships(
        &mut self,
        before: i64,
        limit: i64,
    ) -> Result<Vec<UnusedMembership>, Error> {
        self.query(
            "SELECT repository_id, digest FROM membership \
             WHERE unused_since IS NOT NULL AND unused_since < $1 ORDER BY unused_since LIMIT $2",
            &[before.into(), limit.into()],
            |row| Ok(UnusedMembership { repository_id: row.get(0)?, digest: row.get(1)? }),
        )
    }

    /// Removes a membership if it is still unused; stamps its blob if that was the last one. A
    /// membership that a manifest uses nevertheless loses its stamp.
    pub fn collect_membership(
        &mut self,
        unused: &UnusedMembership,
        before: i64,
        now: i64,
    ) -> Result<(), Error> {
        let used = self.query_opt(
            "SELECT 1 FROM image_blob WHERE repository_id = $1 AND digest = $2 LIMIT 1",
            &[(&unused.repository_id).into(), (&unused.digest).into()],
            |_| Ok(()),
        )?;
        if used.is_some() {
            self.execute(
                "UPDATE membership SET unused_since = NULL \
                 WHERE repository_id = $1 AND digest = $2",
                &[(&unused.repository_id).into(), (&unused.digest).into()],
            )?;
            return Ok(());
        }
        let blob: Option<Uuid> = self.query_opt(
            "DELETE FROM membership WHERE repository_id = $1 AND digest = $2 \
             AND unused_since IS NOT NULL AND unused_since < $3 RETURNING blob_id",
            &[(&unused.repository_id).into(), (&unused.digest).into(), before.into()],
            |row| row.get(0),
        )?;
        match blob {
            Some(blob) => self.stamp_blob_if_unused(&blob, now),
            None => Ok(()),
        }
    }

    /// Stamps a blob that no membership points to.
    pub fn stamp_blob_if_unused(&mut self, blob_id: &Uuid, now: i64) -> Result<(), Error> {
        self.execute(
            "UPDATE blob SET unused_since = $2 WHERE id = $1 AND unused_since IS NULL \
             AND NOT EXISTS (SELECT 1 FROM membership m WHERE m.blob_id = $1)",
            &[blob_id.into(), now.into()],
        )?;
        Ok(())
    }

    /// Blobs that have had no membership since before `before`, with the region of their store.
    pub fn unused_blobs(&mut self, before: i64, limit: i64) -> Result<Vec<(Uuid, String)>, Error> {
        self.query(
            "SELECT b.id, d.region FROM blob b JOIN key_domain d ON d.id = b.key_domain \
             WHERE b.unused_since IS NOT NULL AND b.unused_since < $1 \
             ORDER BY b.unused_since LIMIT $2",
            &[before.into(), limit.into()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
    }

    /// One step of removing a blob that is still unused: up to `limit` of its segments go to
    /// `object_removal`; with the last ones the row goes. Until then it is marked as damaged, so
    /// that nobody reads half a blob. `true` when there is nothing left to do.
    pub fn collect_blob(
        &mut self,
        blob_id: &Uuid,
        region: &str,
        before: i64,
        due: i64,
        limit: i64,
    ) -> Result<bool, Error> {
        let still_unused = self.execute(
            "UPDATE blob SET damaged = 1 WHERE id = $1 AND unused_since IS NOT NULL \
             AND unused_since < $2 AND NOT EXISTS \
             (SELECT 1 FROM membership m WHERE m.blob_id = $1)",
            &[blob_id.into(), before.into()],
        )?;
        if still_unused == 0 {
            // In use after all: the stamp was stale.
            self.execute(
                "UPDATE blob SET unused_since = NULL WHERE id = $1 AND EXISTS \
                 (SELECT 1 FROM membership m WHERE m.blob_id = $1)",
                &[blob_id.into()],
            )?;
            return Ok(true);
        }
        if self.remove_segments(blob_id, region, due, limit)? == limit {
            return Ok(false);
        }
        self.execute("DELETE FROM blob WHERE id = $1", &[blob_id.into()])?;
        Ok(true)
    }

    /// Ends uploads that nobody touched since `before`; gives how many.
    pub fn discard_idle_uploads(&mut self, before: i64, limit: i64) -> Result<u64, Error> {
        self.execute(
            "UPDATE upload SET state = 'discarded' WHERE id IN \
             (SELECT id FROM upload WHERE state = 'open' AND touched_at < $1 \
             ORDER BY touched_at LIMIT $2)",
            &[before.into(), limit.into()],
        )
    }

    /// Uploads that ended without a blob of their own, with the region of their store.
    pub fn discarded_uploads(&mut self, limit: i64) -> Result<Vec<(Uuid, String)>, Error> {
        self.query(
            "SELECT u.id, d.region FROM upload u JOIN key_domain d ON d.id = u.key_domain \
             WHERE u.state = 'discarded' ORDER BY u.touched_at LIMIT $1",
            &[limit.into()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
    }

    /// One step of removing a discarded upload. `true` when nothing of it is left.
    pub fn collect_upload(
        &mut self,
        upload_id: &Uuid,
        region: &str,
        due: i64,
        limit: i64,
    ) -> Result<bool, Error> {
        if self.remove_segments(upload_id, region, due, limit)? == limit {
            return Ok(false);
        }
        self.execute(
            "DELETE FROM upload WHERE id = $1 AND state = 'discarded'",
            &[upload_id.into()],
        )?;
        Ok(true)
    }

    /// Repositories that are marked as deleted.
    pub fn deleted_repositories(&mut self, limit: i64) -> Result<Vec<Uuid>, Error> {
        self.query(
            "SELECT id FROM repository WHERE deleted_at IS NOT NULL ORDER BY deleted_at LIMIT $1",
            &[limit.into()],
            |row| row.get(0),
        )
    }

    /// One step of removing what a deleted repository held, at most about `limit` rows of each
    /// kind. `true` when nothing is left, and the repository's row is gone too.
    pub fn collect_repository(&mut self, id: &Uuid, now: i64, limit: i64) -> Result<bool, Error> {
        let deleted = self.query_opt(
            "SELECT 1 FROM repository WHERE id = $1 AND deleted_at IS NOT NULL",
            &[id.into()],
            |_| Ok(()),
        )?;
        if deleted.is_none() {
            return Ok(true);
        }
        let mut rows = self.collect_repository_images(id, limit)?;
        rows += self.collect_repository_blobs(id, now, limit)?;
        rows += self.execute(
            "UPDATE upload SET state = 'discarded' WHERE id IN (SELECT id FROM upload \
             WHERE repository_id = $1 AND state = 'open' LIMIT $2)",
            &[id.into(), limit.into()],
        )?;
        if rows > 0 {
            return Ok(false);
        }
        for sql in [
            "DELETE FROM repository_policy WHERE repository_id = $1",
            "DELETE FROM repository_tag WHERE repository_id = $1",
            "DELETE FROM repository WHERE id = $1",
        ] {
            self.execute(sql, &[id.into()])?;
        }
        Ok(true)
    }

    fn collect_repository_images(&mut self, id: &Uuid, limit: i64) -> Result<u64, Error> {
        let mut rows = self.execute(
            "DELETE FROM tag WHERE repository_id = $1 AND name IN \
             (SELECT name FROM tag WHERE repository_id = $1 ORDER BY name LIMIT $2)",
            &[id.into(), limit.into()],
        )?;
        rows += self.execute(
            "DELETE FROM image_blob WHERE repository_id = $1 AND (digest, image_id) IN \
             (SELECT digest, image_id FROM image_blob WHERE repository_id = $1 \
             ORDER BY digest, image_id LIMIT $2)",
            &[id.into(), limit.into()],
        )?;
        rows += self.execute(
            "DELETE FROM image_child WHERE repository_id = $1 AND (child_digest, parent_id) IN \
             (SELECT child_digest, parent_id FROM image_child WHERE repository_id = $1 \
             ORDER BY child_digest, parent_id LIMIT $2)",
            &[id.into(), limit.into()],
        )?;
        rows += self.execute(
            "DELETE FROM referrer WHERE repository_id = $1 AND (subject_digest, digest) IN \
             (SELECT subject_digest, digest FROM referrer WHERE repository_id = $1 \
             ORDER BY subject_digest, digest LIMIT $2)",
            &[id.into(), limit.into()],
        )?;
        let images: Vec<Uuid> = self.query(
            "SELECT id FROM image WHERE repository_id = $1 ORDER BY digest LIMIT $2",
            &[id.into(), limit.into()],
            |row| row.get(0),
        )?;
        for image in &images {
            for sql in [
                "DELETE FROM image_manifest WHERE image_id = $1",
                "DELETE FROM image_pull WHERE image_id = $1",
                "DELETE FROM image WHERE id = $1",
            ] {
                rows += self.execute(sql, &[image.into()])?;
            }
        }
        Ok(rows)
    }

    fn collect_repository_blobs(&mut self, id: &Uuid, now: i64, limit: i64) -> Result<u64, Error> {
        let gone: Vec<Uuid> = self.query(
            "DELETE FROM membership WHERE repository_id = $1 AND digest IN \
             (SELECT digest FROM membership WHERE repository_id = $1 ORDER BY digest LIMIT $2) \
             RETURNING blob_id",
            &[id.into(), limit.into()],
            |row| row.get(0),
        )?;
        for blob in &gone {
            self.stamp_blob_if_unused(blob, now)?;
        }
        Ok(u64::try_from(gone.len()).unwrap_or(0))
    }

    /// Stamps memberships that lost their last user without a stamp: digests after `after`, in
    /// steps; gives the last digest looked at, `None` at the end.
    pub fn sweep_memberships(
        &mut self,
        after: &(Uuid, String),
        now: i64,
        limit: i64,
    ) -> Result<Option<(Uuid, String)>, Error> {
        let rows: Vec<(Uuid, String)> = self.query(
            "SELECT repository_id, digest FROM membership \
             WHERE (repository_id, digest) > ($1, $2) \
             ORDER BY repository_id, digest LIMIT $3",
            &[(&after.0).into(), (&after.1).into(), limit.into()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        for (repository_id, digest) in &rows {
            self.execute(
                "UPDATE membership SET unused_since = $3 WHERE repository_id = $1 \
                 AND digest = $2 AND unused_since IS NULL AND NOT EXISTS \
                 (SELECT 1 FROM image_blob b WHERE b.repository_id = $1 AND b.digest = $2)",
                &[repository_id.into(), digest.into(), now.into()],
            )?;
        }
        Ok(rows.into_iter().next_back())
    }

    /// The same for blobs without a membership.
    pub fn sweep_blobs(
        &mut self,
        after: &Uuid,
        now: i64,
        limit: i64,
    ) -> Result<Option<Uuid>, Error> {
        let rows: Vec<Uuid> = self.query(
            "SELECT id FROM blob WHERE id > $1 ORDER BY id LIMIT $2",
            &[after.into(), limit.into()],
            |row| row.get(0),
        )?;
        for blob in &rows {
            self.stamp_blob_if_unused(blob, now)?;
        }
        Ok(rows.into_iter().next_back())
    }

    /// Counts a repository's images anew, for its limit.
    pub fn refresh_image_count(&mut self, id: &Uuid) -> Result<(), Error> {
        self.execute(
            "UPDATE repository SET image_count = \
             (SELECT COUNT(*) FROM image i WHERE i.repository_id = $1) WHERE id = $1",
            &[id.into()],
        )?;
        Ok(())
    }

    /// Counts a registry's repositories anew, for its limit.
    pub fn refresh_repository_count(&mut self, account: &str, region: &str) -> Result<(), Error> {
        self.execute(
            "UPDATE registry SET repository_count = (SELECT COUNT(*) FROM repository r \
             WHERE r.account = $1 AND r.region = $2 AND r.deleted_at IS NULL) \
             WHERE account = $1 AND region = $2",
            &[account.into(), region.into()],
        )?;
        Ok(())
    }

    /// Every registry, as account and region.
    pub fn registries(&mut self) -> Result<Vec<(String, String)>, Error> {
        self.query("SELECT account, region FROM registry ORDER BY account, region", &[], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
    }

    /// Removes up to `limit` rows of each kind of record that ended before `before`; gives how
    /// many went.
    pub fn expire_records(&mut self, before: i64, limit: i64) -> Result<u64, Error> {
        let first_kept = first_id(before);
        let mut rows = 0;
        for sql in [
            "DELETE FROM audit_record WHERE id IN (SELECT id FROM audit_record \
             WHERE id < $3 AND time < $1 ORDER BY id LIMIT $2)",
            "DELETE FROM audit_block WHERE id IN (SELECT id FROM audit_block \
             WHERE id < $3 AND last_time < $1 ORDER BY id LIMIT $2)",
        ] {
            rows += self.execute(sql, &[before.into(), limit.into(), (&first_kept).into()])?;
        }
        for sql in [
            "DELETE FROM audit_key WHERE (account, region, attribute, value, time, record_id) IN \
             (SELECT account, region, attribute, value, time, record_id FROM audit_key \
             WHERE time < $1 ORDER BY time LIMIT $2)",
            "DELETE FROM event WHERE id IN \
             (SELECT id FROM event WHERE time < $1 ORDER BY time LIMIT $2)",
            "DELETE FROM job WHERE id IN (SELECT id FROM job \
             WHERE state <> 'waiting' AND ended_at < $1 ORDER BY ended_at LIMIT $2)",
        ] {
            rows += self.execute(sql, &[before.into(), limit.into()])?;
        }
        Ok(rows)
    }

    /// One step of the same for changes of tags.
    pub fn expire_tag_changes(&mut self, before: i64, limit: i64) -> Result<u64, Error> {
        self.execute(
            "DELETE FROM tag_change WHERE id IN (SELECT id FROM tag_change \
             WHERE id < $3 AND time < $1 ORDER BY id LIMIT $2)",
            &[before.into(), limit.into(), (&first_id(before)).into()],
        )
    }
}

/// The first UUIDv7 of a time. The ids of records, blocks and changes are in the order of time, so
/// no index on the time alone is needed, which each of them would be put into.
fn first_id(time: i64) -> Uuid {
    let millis = u128::try_from(time.div_euclid(1_000)).unwrap_or(0);
    Uuid::from_u128(millis << 80)
}
