//! The time by the database's clock.

use crate::{Error, Tx};

impl Tx<'_> {
    /// The time by the clock of the database's machine, as the engine writes it:
    /// `2026-03-04 08:30:00` in UTC, or with a fraction and the offset of a time zone.
    pub fn clock(&mut self) -> Result<String, Error> {
        let now =
            self.query_opt("SELECT CAST(CURRENT_TIMESTAMP AS TEXT)", &[], |row| row.get(0))?;
        now.ok_or_else(|| Error::internal("the database tells no time"))
    }
}
