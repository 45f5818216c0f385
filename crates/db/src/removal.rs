//! Objects that must go: claimed from `object_removal`, and moved into it from segments.

use uuid::Uuid;

use crate::{Error, Tx};

/// An object that must go, and the region whose store holds it.
#[derive(Clone, Debug)]
pub struct RemovalRow {
    /// 16 bytes.
    pub name: [u8; 16],
    pub region: String,
}

impl Tx<'_> {
    /// Takes up to `limit` objects that are due. They are due again at `again_at`, should the
    /// caller die before it removes their rows. Nothing that is taken can be acknowledged.
    pub fn take_removals(
        &mut self,
        now: i64,
        again_at: i64,
        limit: i64,
    ) -> Result<Vec<RemovalRow>, Error> {
        self.query(
            "UPDATE object_removal SET taken = 1, due = $2 WHERE name IN \
             (SELECT name FROM object_removal WHERE due <= $1 ORDER BY due LIMIT $3) \
             AND due <= $1 RETURNING name, region",
            &[now.into(), again_at.into(), limit.into()],
            |row| Ok(RemovalRow { name: row.get(0)?, region: row.get(1)? }),
        )
    }

    /// Forgets objects that are gone.
    pub fn delete_removals(&mut self, names: &[[u8; 16]]) -> Result<(), Error> {
        for name in names {
            self.execute("DELETE FROM object_removal WHERE name = $1", &[name.into()])?;
        }
        Ok(())
    }

    /// How many objects must go.
    pub fn count_removals(&mut self) -> Result<i64, Error> {
        let count = self.query_opt("SELECT COUNT(*) FROM object_removal", &[], |row| row.get(0))?;
        Ok(count.unwrap_or(0))
    }

    /// Moves up to `limit` segments of a blob or upload to `object_removal`, and deletes the bytes
    /// of one that has no object; gives how many.
    pub fn remove_segments(
        &mut self,
        blob_id: &Uuid,
        region: &str,
        due: i64,
        limit: i64,
    ) -> Result<i64, Error> {
        let segments: Vec<(i64, [u8; 16])> = self.query(
            "SELECT number, object FROM segment WHERE blob_id = $1 ORDER BY number LIMIT $2",
            &[blob_id.into(), limit.into()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        for (number, object) in &segments {
            let in_row = *number == 0
                && self.execute("DELETE FROM segment_bytes WHERE object = $1", &[object.into()])?
                    == 1;
            if !in_row {
                self.insert_removal(object, region, due)?;
            }
            self.execute(
                "DELETE FROM segment WHERE blob_id = $1 AND number = $2",
                &[blob_id.into(), (*number).into()],
            )?;
        }
        Ok(i64::try_from(segments.len()).unwrap_or(i64::MAX))
    }

    /// Puts an object that no row names on the list.
    pub fn insert_removal(&mut self, name: &[u8; 16], region: &str, due: i64) -> Result<(), Error> {
        self.execute(
            "INSERT INTO object_removal (name, region, due, taken) VALUES ($1, $2, $3, 0) \
             ON CONFLICT (name) DO NOTHING",
            &[name.into(), region.into(), due.into()],
        )?;
        Ok(())
    }

    /// Whether a segment or a removal names this object.
    pub fn is_object_named(&mut self, name: &[u8; 16]) -> Result<bool, Error> {
        let segment =
            self.query_opt("SELECT 1 FROM segment WHERE object = $1", &[name.into()], |_| Ok(()))?;
        if segment.is_some() {
            return Ok(true);
        }
        let removal =
            self.query_opt("SELECT 1 FROM object_removal WHERE name = $1", &[name.into()], |_| {
                Ok(())
            })?;
        Ok(removal.is_some())
    }
}
