//! Jobs: what runs later or on a schedule, on any node.

use uuid::Uuid;

use crate::{Error, Tx};

/// A job that a node has taken.
#[derive(Clone, Debug)]
pub struct JobRow {
    pub id: Uuid,
    pub kind: String,
    pub key: String,
    /// JSON.
    pub input: String,
    pub attempts: i64,
}

impl Tx<'_> {
    /// Puts a job on the list, unless a waiting one has its kind and key.
    pub fn insert_job(
        &mut self,
        id: &Uuid,
        (kind, key): (&str, &str),
        input: &str,
        due: i64,
        now: i64,
    ) -> Result<(), Error> {
        self.execute(
            "INSERT INTO job (id, kind, key, input, due, lease_until, attempts, state, \
             created_at, ended_at) VALUES ($1, $2, $3, $4, $5, 0, 0, 'waiting', $6, NULL) \
             ON CONFLICT (kind, key) WHERE state = 'waiting' DO NOTHING",
            &[id.into(), kind.into(), key.into(), input.into(), due.into(), now.into()],
        )?;
        Ok(())
    }

    /// Takes a job of a kind that is due, until `lease_until`.
    pub fn take_job(
        &mut self,
        kind: &str,
        now: i64,
        lease_until: i64,
    ) -> Result<Option<JobRow>, Error> {
        self.query_opt(
            "UPDATE job SET lease_until = $3, attempts = attempts + 1 WHERE id IN \
             (SELECT id FROM job WHERE state = 'waiting' AND kind = $1 AND due <= $2 \
             AND lease_until < $2 ORDER BY due LIMIT 1) \
             AND state = 'waiting' AND lease_until < $2 \
             RETURNING id, kind, key, input, attempts",
            &[kind.into(), now.into(), lease_until.into()],
            |row| {
                Ok(JobRow {
                    id: row.get(0)?,
                    kind: row.get(1)?,
                    key: row.get(2)?,
                    input: row.get(3)?,
                    attempts: row.get(4)?,
                })
            },
        )
    }

    /// A recurring job is due again at `due`.
    pub fn repeat_job(&mut self, id: &Uuid, due: i64) -> Result<(), Error> {
        self.execute(
            "UPDATE job SET due = $2, lease_until = 0, attempts = 0 WHERE id = $1",
            &[id.into(), due.into()],
        )?;
        Ok(())
    }
}
