//! Leases: rows that say who works on what until when.

use crate::{Error, Tx};

impl Tx<'_> {
    /// Takes or renews a lease; `false` while another holder has it.
    pub fn take_lease(
        &mut self,
        name: &str,
        holder: &str,
        now: i64,
        until: i64,
    ) -> Result<bool, Error> {
        let taken = self.execute(
            "INSERT INTO lease (name, holder, lease_until) VALUES ($1, $2, $3) \
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, \
             lease_until = excluded.lease_until \
             WHERE lease.holder = excluded.holder OR lease.lease_until < $4",
            &[name.into(), holder.into(), until.into(), now.into()],
        )?;
        Ok(taken == 1)
    }

    /// Gives a lease back.
    pub fn release_lease(&mut self, name: &str, holder: &str) -> Result<(), Error> {
        self.execute(
            "DELETE FROM lease WHERE name = $1 AND holder = $2",
            &[name.into(), holder.into()],
        )?;
        Ok(())
    }

    /// Whether a lease is alive whose name begins with one of these words and a colon:
    /// `backup:` and `check:` keep objects from being removed.
    pub fn has_lease_of(&mut self, kinds: &[&str], now: i64) -> Result<bool, Error> {
        let names: Vec<String> =
            self.query("SELECT name FROM lease WHERE lease_until >= $1", &[now.into()], |row| {
                row.get(0)
            })?;
        let is_of =
            |name: &String| name.split_once(':').is_some_and(|(kind, _)| kinds.contains(&kind));
        Ok(names.iter().any(is_of))
    }
}
