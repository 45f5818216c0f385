//! Which root keys and token keys there are, and all that is sealed under a root key.

use uuid::Uuid;

use crate::{Error, Tx};

/// A root key that something may be sealed under.
#[derive(Clone, Debug)]
pub struct RootKeyRow {
    /// 1 to 255: the key id byte of what it seals.
    pub id: i64,
    pub check_value: Vec<u8>,
}

/// A key of tokens, links and page tokens.
#[derive(Clone, Debug)]
pub struct TokenKeyRow {
    /// 1 to 255: the key id byte of what it seals.
    pub id: i64,
    pub wrapped_key: Vec<u8>,
    pub created_at: i64,
    pub retired_at: Option<i64>,
}

/// The rows that hold a key sealed under a root key: for `rotate-root-key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrappedIn {
    Account,
    KeyDomain,
    TokenKey,
}

impl Tx<'_> {
    pub fn root_keys(&mut self) -> Result<Vec<RootKeyRow>, Error> {
        self.query("SELECT id, check_value FROM root_key ORDER BY id", &[], |row| {
            Ok(RootKeyRow { id: row.get(0)?, check_value: row.get(1)? })
        })
    }

    /// `false` if the id is taken.
    pub fn insert_root_key(
        &mut self,
        id: i64,
        check_value: &[u8],
        created_at: i64,
    ) -> Result<bool, Error> {
        let made = self.execute(
            "INSERT INTO root_key (id, check_value, created_at) VALUES ($1, $2, $3) \
             ON CONFLICT (id) DO NOTHING",
            &[id.into(), check_value.into(), created_at.into()],
        )?;
        Ok(made == 1)
    }

    pub fn delete_root_key(&mut self, id: i64) -> Result<(), Error> {
        self.execute("DELETE FROM root_key WHERE id = $1", &[id.into()])?;
        Ok(())
    }

    pub fn token_keys(&mut self) -> Result<Vec<TokenKeyRow>, Error> {
        self.query(
            "SELECT id, wrapped_key, created_at, retired_at FROM token_key ORDER BY created_at, id",
            &[],
            |row| {
                Ok(TokenKeyRow {
                    id: row.get(0)?,
                    wrapped_key: row.get(1)?,
                    created_at: row.get(2)?,
                    retired_at: row.get(3)?,
                })
            },
        )
    }

    /// Makes a token key the one that seals, and retires the others; `false` if the id is taken.
    pub fn insert_token_key(&mut self, new: &TokenKeyRow) -> Result<bool, Error> {
        let made = self.execute(
            "INSERT INTO token_key (id, wrapped_key, created_at, retired_at) \
             VALUES ($1, $2, $3, NULL) ON CONFLICT (id) DO NOTHING",
            &[new.id.into(), (&new.wrapped_key).into(), new.created_at.into()],
        )?;
        if made == 1 {
            self.execute(
                "UPDATE token_key SET retired_at = $2 WHERE id <> $1 AND retired_at IS NULL",
                &[new.id.into(), new.created_at.into()],
            )?;
        }
        Ok(made == 1)
    }

    /// Removes the token keys that were retired before this time.
    pub fn delete_token_keys(&mut self, retired_before: i64) -> Result<u64, Error> {
        self.execute(
            "DELETE FROM token_key WHERE retired_at IS NOT NULL AND retired_at < $1",
            &[retired_before.into()],
        )
    }

    /// Every key of one kind that is sealed under a root key, with the id it was sealed for.
    pub fn wrapped_keys(&mut self, kind: WrappedIn) -> Result<Vec<(String, Vec<u8>)>, Error> {
        match kind {
            WrappedIn::Account => {
                self.query("SELECT id, wrapped_key FROM account ORDER BY id", &[], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
            }
            WrappedIn::KeyDomain => {
                self.query("SELECT id, wrapped_key FROM key_domain ORDER BY id", &[], |row| {
                    let id: Uuid = row.get(0)?;
                    Ok((id.to_string(), row.get(1)?))
                })
            }
            WrappedIn::TokenKey => {
                self.query("SELECT id, wrapped_key FROM token_key ORDER BY id", &[], |row| {
                    let id: i64 = row.get(0)?;
                    Ok((id.to_string(), row.get(1)?))
                })
            }
        }
    }

    /// Replaces one of [`Tx::wrapped_keys`]; `id` has its text form.
    pub fn rewrap_account(&mut self, id: &str, wrapped_key: &[u8]) -> Result<(), Error> {
        self.execute(
            "UPDATE account SET wrapped_key = $2 WHERE id = $1",
            &[id.into(), wrapped_key.into()],
        )?;
        Ok(())
    }

    pub fn rewrap_key_domain(&mut self, id: &Uuid, wrapped_key: &[u8]) -> Result<(), Error> {
        self.execute(
            "UPDATE key_domain SET wrapped_key = $2 WHERE id = $1",
            &[id.into(), wrapped_key.into()],
        )?;
        Ok(())
    }

    pub fn rewrap_token_key(&mut self, id: i64, wrapped_key: &[u8]) -> Result<(), Error> {
        self.execute(
            "UPDATE token_key SET wrapped_key = $2 WHERE id = $1",
            &[id.into(), wrapped_key.into()],
        )?;
        Ok(())
    }
}
