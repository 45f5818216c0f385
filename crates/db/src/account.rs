//! Accounts, their registries, root users, access keys and key domains: made at the first start.

use uuid::Uuid;

use crate::{Error, KeyDomainRow, Tx};

/// A new account with its root user and the first access key of it.
#[derive(Clone, Debug)]
pub struct NewAccount {
    pub id: String,
    pub name: String,
    /// The account's data key, sealed under a root key.
    pub wrapped_key: Vec<u8>,
    pub access_key_id: String,
    /// Sealed under the account's data key.
    pub secret: Vec<u8>,
    pub created_at: i64,
}

/// A new key domain of a registry.
#[derive(Clone, Debug)]
pub struct NewKeyDomain {
    pub id: Uuid,
    pub account: String,
    pub region: String,
    pub key_name: String,
    pub kind: String,
    pub wrapped_key: Vec<u8>,
    pub created_at: i64,
}

impl Tx<'_> {
    /// Makes an account with its root user, or finds it: `true` if it was made.
    pub fn insert_account(&mut self, new: &NewAccount) -> Result<bool, Error> {
        let made = self.execute(
            "INSERT INTO account (id, name, generation, wrapped_key, created_at) \
             VALUES ($1, $2, 1, $3, $4) ON CONFLICT (id) DO NOTHING",
            &[
                (&new.id).into(),
                (&new.name).into(),
                (&new.wrapped_key).into(),
                new.created_at.into(),
            ],
        )?;
        if made == 0 {
            return Ok(false);
        }
        self.execute(
            "INSERT INTO principal (id, account, kind, path, name, name_key, created_at) \
             VALUES ($1, $1, 'root', '/', 'root', 'root', $2) ON CONFLICT (id) DO NOTHING",
            &[(&new.id).into(), new.created_at.into()],
        )?;
        self.insert_access_key(&new.access_key_id, &new.id, &new.id, &new.secret, new.created_at)?;
        Ok(true)
    }

    /// Adds an active access key and raises the account's generation.
    pub fn insert_access_key(
        &mut self,
        id: &str,
        principal_id: &str,
        account: &str,
        secret: &[u8],
        created_at: i64,
    ) -> Result<(), Error> {
        self.execute(
            "INSERT INTO access_key (id, principal_id, account, secret, active, created_at) \
             VALUES ($1, $2, $3, $4, 1, $5) ON CONFLICT (id) DO NOTHING",
            &[id.into(), principal_id.into(), account.into(), secret.into(), created_at.into()],
        )?;
        self.raise_generation(account)
    }

    /// Adds a user or role (`kind`), by its unique id, and raises the account's generation.
    pub fn insert_principal(
        &mut self,
        id: &str,
        account: &str,
        kind: &str,
        name: &str,
        created_at: i64,
    ) -> Result<bool, Error> {
        let made = self.execute(
            "INSERT INTO principal (id, account, kind, path, name, name_key, created_at) \
             VALUES ($1, $2, $3, '/', $4, $5, $6) ON CONFLICT DO NOTHING",
            &[
                id.into(),
                account.into(),
                kind.into(),
                name.into(),
                name.to_lowercase().as_str().into(),
                created_at.into(),
            ],
        )?;
        self.raise_generation(account)?;
        Ok(made == 1)
    }

    /// Sets a policy of a principal (`kind` is `identity` or `boundary`).
    pub fn put_principal_policy(
        &mut self,
        account: &str,
        principal_id: &str,
        policy: &crate::PrincipalPolicyRow,
    ) -> Result<(), Error> {
        self.execute(
            "INSERT INTO principal_policy (principal_id, name, kind, hash, text) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (principal_id, kind, name) \
             DO UPDATE SET hash = excluded.hash, text = excluded.text",
            &[
                principal_id.into(),
                (&policy.name).into(),
                (&policy.kind).into(),
                (&policy.hash).into(),
                (&policy.text).into(),
            ],
        )?;
        self.raise_generation(account)
    }

    /// Removes an access key and raises the account's generation; `true` if it was there.
    pub fn delete_access_key(&mut self, account: &str, id: &str) -> Result<bool, Error> {
        let gone = self.execute(
            "DELETE FROM access_key WHERE id = $1 AND account = $2",
            &[id.into(), account.into()],
        )?;
        self.raise_generation(account)?;
        Ok(gone == 1)
    }

    /// Marks an access key active or not and raises the account's generation.
    pub fn set_access_key_active(
        &mut self,
        account: &str,
        id: &str,
        active: bool,
    ) -> Result<bool, Error> {
        let found = self.execute(
            "UPDATE access_key SET active = $3 WHERE id = $1 AND account = $2",
            &[id.into(), account.into(), active.into()],
        )?;
        self.raise_generation(account)?;
        Ok(found == 1)
    }

    /// Whatever was cached about the account's identities is stale from this transaction on.
    pub fn raise_generation(&mut self, account: &str) -> Result<(), Error> {
        self.execute(
            "UPDATE account SET generation = generation + 1 WHERE id = $1",
            &[account.into()],
        )?;
        Ok(())
    }

    /// Every account's id, in order.
    pub fn account_ids(&mut self) -> Result<Vec<String>, Error> {
        self.query("SELECT id FROM account ORDER BY id", &[], |row| row.get(0))
    }

    /// Every account's id, with the ids of its root user's access keys.
    pub fn root_keys_of_accounts(&mut self) -> Result<Vec<(String, String)>, Error> {
        self.query(
            "SELECT account, id FROM access_key WHERE principal_id = account ORDER BY account, id",
            &[],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
    }

    /// Makes a registry with the defaults of a new one, or finds it.
    pub fn insert_registry(&mut self, account: &str, region: &str) -> Result<(), Error> {
        self.execute(
            "INSERT INTO registry (account, region, policy_hash, policy_scope, blob_mounting, \
             basic_scan_type, repository_count) \
             VALUES ($1, $2, NULL, 'V2', 'ENABLED', 'AWS_NATIVE', 0) \
             ON CONFLICT (account, region) DO NOTHING",
            &[account.into(), region.into()],
        )?;
        Ok(())
    }

    /// Makes a key domain, or finds the one that has this account, region, kind and key.
    pub fn insert_key_domain(&mut self, new: &NewKeyDomain) -> Result<(), Error> {
        self.execute(
            "INSERT INTO key_domain \
             (id, account, region, key_name, kind, enabled, wrapped_key, created_at) \
             VALUES ($1, $2, $3, $4, $5, 1, $6, $7) \
             ON CONFLICT (account, region, kind, key_name) DO NOTHING",
            &[
                (&new.id).into(),
                (&new.account).into(),
                (&new.region).into(),
                (&new.key_name).into(),
                (&new.kind).into(),
                (&new.wrapped_key).into(),
                new.created_at.into(),
            ],
        )?;
        Ok(())
    }

    /// The key domain of a registry's repositories of this kind and key.
    pub fn key_domain(
        &mut self,
        account: &str,
        region: &str,
        kind: &str,
        key_name: &str,
    ) -> Result<Option<KeyDomainRow>, Error> {
        self.query_opt(
            "SELECT id, kind, enabled, wrapped_key FROM key_domain \
             WHERE account = $1 AND region = $2 AND kind = $3 AND key_name = $4",
            &[account.into(), region.into(), kind.into(), key_name.into()],
            |row| {
                Ok(KeyDomainRow {
                    id: row.get(0)?,
                    kind: row.get(1)?,
                    enabled: row.get(2)?,
                    wrapped_key: row.get(3)?,
                })
            },
        )
    }
}
