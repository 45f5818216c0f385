//! What happened: audit records of writes, blocks of reads and denials, and events to deliver.

use uuid::Uuid;

use crate::{Error, Tx};

/// What a change leaves behind: inserted in the transaction of the change, so that there is no
/// change without its record and no record without its change.
#[derive(Clone, Debug, Default)]
pub struct Note {
    pub records: Vec<AuditRecordRow>,
    pub events: Vec<EventRow>,
}

/// One audit record, or its place in an account's log.
#[derive(Clone, Debug)]
pub struct AuditRecordRow {
    /// The event id.
    pub id: Uuid,
    pub account: String,
    pub region: String,
    /// Microseconds since 1970.
    pub time: i64,
    /// Compact JSON; `account::audit` knows its form.
    pub record: String,
    /// (attribute, value) pairs that look-ups ask for.
    pub keys: Vec<(&'static str, String)>,
}

/// A block of up to 4,096 read and denial records of one account and region.
#[derive(Clone, Debug)]
pub struct AuditBlockRow {
    pub id: Uuid,
    pub account: String,
    pub region: String,
    pub first_time: i64,
    pub last_time: i64,
    pub records: i64,
    /// zstd of a JSON array of compact records.
    pub bytes: Vec<u8>,
    pub keys: Vec<(&'static str, String)>,
}

/// An event for EventBridge's subscribers.
#[derive(Clone, Debug)]
pub struct EventRow {
    pub id: Uuid,
    pub account: String,
    pub region: String,
    pub time: i64,
    /// The whole envelope, JSON.
    pub body: String,
}

impl Tx<'_> {
    /// Inserts the records and events of a change.
    pub fn note(&mut self, note: &Note) -> Result<(), Error> {
        for record in &note.records {
            self.execute(
                "INSERT INTO audit_record (id, account, region, time, record) \
                 VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO NOTHING",
                &[
                    (&record.id).into(),
                    (&record.account).into(),
                    (&record.region).into(),
                    record.time.into(),
                    (&record.record).into(),
                ],
            )?;
            self.audit_keys(
                &record.id,
                &record.account,
                &record.region,
                record.time,
                &record.keys,
            )?;
        }
        for event in &note.events {
            self.execute(
                "INSERT INTO event (id, account, region, time, body, claimed_until, done) \
                 VALUES ($1, $2, $3, $4, $5, 0, 0) ON CONFLICT (id) DO NOTHING",
                &[
                    (&event.id).into(),
                    (&event.account).into(),
                    (&event.region).into(),
                    event.time.into(),
                    (&event.body).into(),
                ],
            )?;
        }
        Ok(())
    }

    /// Inserts a block of records.
    pub fn insert_audit_block(&mut self, block: &AuditBlockRow) -> Result<(), Error> {
        self.execute(
            "INSERT INTO audit_block \
             (id, account, region, first_time, last_time, records, bytes) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING",
            &[
                (&block.id).into(),
                (&block.account).into(),
                (&block.region).into(),
                block.first_time.into(),
                block.last_time.into(),
                block.records.into(),
                (&block.bytes).into(),
            ],
        )?;
        self.audit_keys(&block.id, &block.account, &block.region, block.last_time, &block.keys)
    }

    fn audit_keys(
        &mut self,
        id: &Uuid,
        account: &str,
        region: &str,
        time: i64,
        keys: &[(&'static str, String)],
    ) -> Result<(), Error> {
        for (attribute, value) in keys {
            self.execute(
                "INSERT INTO audit_key (account, region, attribute, value, time, record_id) \
                 VALUES ($1, $2, $3, $4, $5, $6) \
                 ON CONFLICT (account, region, attribute, value, time, record_id) DO NOTHING",
                &[
                    account.into(),
                    region.into(),
                    (*attribute).into(),
                    value.into(),
                    time.into(),
                    id.into(),
                ],
            )?;
        }
        Ok(())
    }

    /// The audit records of writes of an account and region from a time on, oldest first.
    pub fn audit_records(
        &mut self,
        account: &str,
        region: &str,
        from: i64,
        limit: i64,
    ) -> Result<Vec<AuditRecordRow>, Error> {
        self.query(
            "SELECT id, account, region, time, record FROM audit_record \
             WHERE account = $1 AND region = $2 AND time >= $3 ORDER BY time, id LIMIT $4",
            &[account.into(), region.into(), from.into(), limit.into()],
            |row| {
                Ok(AuditRecordRow {
                    id: row.get(0)?,
                    account: row.get(1)?,
                    region: row.get(2)?,
                    time: row.get(3)?,
                    record: row.get(4)?,
                    keys: Vec::new(),
                })
            },
        )
    }

    /// The blocks of an account and region whose last record is not before `from`, oldest first.
    pub fn audit_blocks(
        &mut self,
        account: &str,
        region: &str,
        from: i64,
        limit: i64,
    ) -> Result<Vec<AuditBlockRow>, Error> {
        self.query(
            "SELECT id, account, region, first_time, last_time, records, bytes FROM audit_block \
             WHERE account = $1 AND region = $2 AND last_time >= $3 \
             ORDER BY last_time, id LIMIT $4",
            &[account.into(), region.into(), from.into(), limit.into()],
            |row| {
                Ok(AuditBlockRow {
                    id: row.get(0)?,
                    account: row.get(1)?,
                    region: row.get(2)?,
                    first_time: row.get(3)?,
                    last_time: row.get(4)?,
                    records: row.get(5)?,
                    bytes: row.get(6)?,
                    keys: Vec::new(),
                })
            },
        )
    }

    /// Events of an account and region, oldest first: what a delivery will read.
    pub fn events(&mut self, account: &str, region: &str) -> Result<Vec<EventRow>, Error> {
        self.query(
            "SELECT id, account, region, time, body FROM event \
             WHERE account = $1 AND region = $2 ORDER BY time, id LIMIT 10000",
            &[account.into(), region.into()],
            |row| {
                Ok(EventRow {
                    id: row.get(0)?,
                    account: row.get(1)?,
                    region: row.get(2)?,
                    time: row.get(3)?,
                    body: row.get(4)?,
                })
            },
        )
    }
}
