//! Repositories: made, found, listed, changed and marked as deleted.

use uuid::Uuid;

use crate::{Error, Param, Row, Tx};

/// A living repository.
#[derive(Clone, Debug)]
pub struct RepositoryRow {
    pub id: Uuid,
    pub account: String,
    pub region: String,
    pub name: String,
    pub key_domain: Uuid,
    /// `AES256`, `KMS` or `KMS_DSSE`.
    pub encryption_type: String,
    /// Empty for the registry's own key.
    pub key_name: String,
    pub created_at: i64,
    /// `MUTABLE`, `IMMUTABLE`, `IMMUTABLE_WITH_EXCLUSION` or `MUTABLE_WITH_EXCLUSION`.
    pub tag_mutability: String,
    /// A JSON array of filter values.
    pub exclusion_filters: String,
    pub scan_on_push: bool,
    /// As of the last hourly count.
    pub image_count: i64,
}

/// What a new repository is made of.
#[derive(Clone, Debug)]
pub struct NewRepository {
    pub id: Uuid,
    pub account: String,
    pub region: String,
    pub name: String,
    pub key_domain: Uuid,
    pub created_at: i64,
    pub tag_mutability: String,
    pub exclusion_filters: String,
    pub scan_on_push: bool,
}

impl Tx<'_> {
    /// A living repository by its id: the first step of all that writes under it.
    pub fn repository(&mut self, id: &Uuid) -> Result<Option<RepositoryRow>, Error> {
        self.query_opt(
            "SELECT r.id, r.account, r.region, r.name, r.key_domain, d.kind, d.key_name, \
             r.created_at, r.tag_mutability, r.exclusion_filters, r.scan_on_push, r.image_count \
             FROM repository r JOIN key_domain d ON d.id = r.key_domain \
             WHERE r.id = $1 AND r.deleted_at IS NULL",
            &[id.into()],
            repository_row,
        )
    }

    /// A living repository by its name.
    pub fn repository_by_name(
        &mut self,
        account: &str,
        region: &str,
        name: &str,
    ) -> Result<Option<RepositoryRow>, Error> {
        self.query_opt(
            "SELECT r.id, r.account, r.region, r.name, r.key_domain, d.kind, d.key_name, \
             r.created_at, r.tag_mutability, r.exclusion_filters, r.scan_on_push, r.image_count \
             FROM repository r JOIN key_domain d ON d.id = r.key_domain \
             WHERE r.account = $1 AND r.region = $2 AND r.name = $3 AND r.deleted_at IS NULL",
            &[account.into(), region.into(), name.into()],
            repository_row,
        )
    }

    /// `None` if the name is taken by a living repository.
    pub fn insert_repository(
        &mut self,
        new: &NewRepository,
    ) -> Result<Option<RepositoryRow>, Error> {
        let made = self.execute(
            "INSERT INTO repository (id, account, region, name, key_domain, created_at, \
             deleted_at, tag_mutability, exclusion_filters, scan_on_push, policy_hash, tags_hash, \
             image_count) VALUES ($1, $2, $3, $4, $5, $6, NULL, $7, $8, $9, NULL, NULL, 0) \
             ON CONFLICT (account, region, name) WHERE deleted_at IS NULL DO NOTHING",
            &[
                (&new.id).into(),
                (&new.account).into(),
                (&new.region).into(),
                (&new.name).into(),
                (&new.key_domain).into(),
                new.created_at.into(),
                (&new.tag_mutability).into(),
                (&new.exclusion_filters).into(),
                new.scan_on_push.into(),
            ],
        )?;
        if made == 0 { Ok(None) } else { self.repository(&new.id) }
    }

    /// Living repositories in the order they were made, after `after`.
    pub fn repositories_by_age(
        &mut self,
        account: &str,
        region: &str,
        after: Option<&Uuid>,
        limit: i64,
    ) -> Result<Vec<RepositoryRow>, Error> {
        let first = Uuid::nil();
        self.query(
            "SELECT r.id, r.account, r.region, r.name, r.key_domain, d.kind, d.key_name, \
             r.created_at, r.tag_mutability, r.exclusion_filters, r.scan_on_push, r.image_count \
             FROM repository r JOIN key_domain d ON d.id = r.key_domain \
             WHERE r.account = $1 AND r.region = $2 AND r.deleted_at IS NULL AND r.id > $3 \
             ORDER BY r.id LIMIT $4",
            &[account.into(), region.into(), after.unwrap_or(&first).into(), limit.into()],
            repository_row,
        )
    }

    /// Names of living repositories in byte order, after `after`.
    pub fn repository_names(
        &mut self,
        account: &str,
        region: &str,
        after: &str,
        limit: i64,
    ) -> Result<Vec<(Uuid, String)>, Error> {
        self.query(
            "SELECT id, name FROM repository \
             WHERE account = $1 AND region = $2 AND deleted_at IS NULL AND name > $3 \
             ORDER BY name LIMIT $4",
            &[account.into(), region.into(), after.into(), limit.into()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
    }

    /// Whether a repository has an image.
    pub fn has_images(&mut self, repository_id: &Uuid) -> Result<bool, Error> {
        let found = self.query_opt(
            "SELECT 1 FROM image WHERE repository_id = $1 LIMIT 1",
            &[repository_id.into()],
            |_| Ok(()),
        )?;
        Ok(found.is_some())
    }

    /// Marks a repository as deleted and frees its name; jobs remove what it held.
    pub fn mark_repository_deleted(&mut self, id: &Uuid, deleted_at: i64) -> Result<(), Error> {
        self.execute(
            "UPDATE repository SET deleted_at = $2 WHERE id = $1 AND deleted_at IS NULL",
            &[id.into(), deleted_at.into()],
        )?;
        Ok(())
    }

    pub fn set_tag_mutability(
        &mut self,
        id: &Uuid,
        tag_mutability: &str,
        exclusion_filters: &str,
    ) -> Result<(), Error> {
        self.execute(
            "UPDATE repository SET tag_mutability = $2, exclusion_filters = $3 WHERE id = $1",
            &[id.into(), tag_mutability.into(), exclusion_filters.into()],
        )?;
        Ok(())
    }

    pub fn set_scan_on_push(&mut self, id: &Uuid, scan_on_push: bool) -> Result<(), Error> {
        self.execute(
            "UPDATE repository SET scan_on_push = $2 WHERE id = $1",
            &[id.into(), scan_on_push.into()],
        )?;
        Ok(())
    }

    /// Sets or removes (`None`) a repository's policy.
    pub fn set_repository_policy(
        &mut self,
        id: &Uuid,
        policy: Option<&crate::ResourcePolicyRow>,
    ) -> Result<(), Error> {
        match policy {
            Some(policy) => self.execute(
                "INSERT INTO repository_policy (repository_id, hash, text, principals) \
                 VALUES ($1, $2, $3, $4) ON CONFLICT (repository_id) DO UPDATE \
                 SET hash = excluded.hash, text = excluded.text, principals = excluded.principals",
                &[
                    id.into(),
                    (&policy.hash).into(),
                    (&policy.text).into(),
                    (&policy.principals).into(),
                ],
            )?,
            None => self
                .execute("DELETE FROM repository_policy WHERE repository_id = $1", &[id.into()])?,
        };
        let hash = policy.map_or(Param::Null, |policy| Param::Blob(&policy.hash));
        self.execute("UPDATE repository SET policy_hash = $2 WHERE id = $1", &[id.into(), hash])?;
        Ok(())
    }

    /// Sets or removes (`None`) a registry's policy.
    pub fn set_registry_policy(
        &mut self,
        account: &str,
        region: &str,
        policy: Option<&crate::ResourcePolicyRow>,
    ) -> Result<(), Error> {
        match policy {
            Some(policy) => self.execute(
                "INSERT INTO registry_policy (account, region, hash, text, principals) \
                 VALUES ($1, $2, $3, $4, $5) ON CONFLICT (account, region) DO UPDATE \
                 SET hash = excluded.hash, text = excluded.text, principals = excluded.principals",
                &[
                    account.into(),
                    region.into(),
                    (&policy.hash).into(),
                    (&policy.text).into(),
                    (&policy.principals).into(),
                ],
            )?,
            None => self.execute(
                "DELETE FROM registry_policy WHERE account = $1 AND region = $2",
                &[account.into(), region.into()],
            )?,
        };
        let hash = policy.map_or(Param::Null, |policy| Param::Blob(&policy.hash));
        self.execute(
            "UPDATE registry SET policy_hash = $3 WHERE account = $1 AND region = $2",
            &[account.into(), region.into(), hash],
        )?;
        Ok(())
    }

    /// Replaces a repository's resource tags. `hash` tells this set of tags from others.
    pub fn set_repository_tags(
        &mut self,
        id: &Uuid,
        tags: &[(String, String)],
        hash: Option<&[u8; 32]>,
    ) -> Result<(), Error> {
        self.execute("DELETE FROM repository_tag WHERE repository_id = $1", &[id.into()])?;
        for (key, value) in tags {
            self.execute(
                "INSERT INTO repository_tag (repository_id, tag_key, tag_value) \
                 VALUES ($1, $2, $3) ON CONFLICT (repository_id, tag_key) \
                 DO UPDATE SET tag_value = excluded.tag_value",
                &[id.into(), key.into(), value.into()],
            )?;
        }
        let hash = hash.map_or(Param::Null, |hash| Param::Blob(hash));
        self.execute("UPDATE repository SET tags_hash = $2 WHERE id = $1", &[id.into(), hash])?;
        Ok(())
    }

    /// How many principals a registry excludes from pull times.
    pub fn count_pull_time_exclusions(
        &mut self,
        account: &str,
        region: &str,
    ) -> Result<i64, Error> {
        let count = self.query_opt(
            "SELECT COUNT(*) FROM pull_time_exclusion WHERE account = $1 AND region = $2",
            &[account.into(), region.into()],
            |row| row.get(0),
        )?;
        Ok(count.unwrap_or(0))
    }

    /// `false` if it is there already.
    pub fn insert_pull_time_exclusion(
        &mut self,
        account: &str,
        region: &str,
        principal_arn: &str,
        created_at: i64,
    ) -> Result<bool, Error> {
        let made = self.execute(
            "INSERT INTO pull_time_exclusion (account, region, principal_arn, created_at) \
             VALUES ($1, $2, $3, $4) ON CONFLICT (account, region, principal_arn) DO NOTHING",
            &[account.into(), region.into(), principal_arn.into(), created_at.into()],
        )?;
        Ok(made == 1)
    }

    /// `false` if it is not there.
    pub fn delete_pull_time_exclusion(
        &mut self,
        account: &str,
        region: &str,
        principal_arn: &str,
    ) -> Result<bool, Error> {
        let gone = self.execute(
            "DELETE FROM pull_time_exclusion \
             WHERE account = $1 AND region = $2 AND principal_arn = $3",
            &[account.into(), region.into(), principal_arn.into()],
        )?;
        Ok(gone == 1)
    }

    /// ARNs of excluded principals in byte order, after `after`.
    pub fn pull_time_exclusions(
        &mut self,
        account: &str,
        region: &str,
        after: &str,
        limit: i64,
    ) -> Result<Vec<String>, Error> {
        self.query(
            "SELECT principal_arn FROM pull_time_exclusion \
             WHERE account = $1 AND region = $2 AND principal_arn > $3 \
             ORDER BY principal_arn LIMIT $4",
            &[account.into(), region.into(), after.into(), limit.into()],
            |row| row.get(0),
        )
    }

    /// Changes an account setting of a registry.
    pub fn set_account_setting(
        &mut self,
        account: &str,
        region: &str,
        setting: AccountSetting,
        value: &str,
    ) -> Result<(), Error> {
        let sql = match setting {
            AccountSetting::BasicScanTypeVersion => {
                "UPDATE registry SET basic_scan_type = $3 WHERE account = $1 AND region = $2"
            }
            AccountSetting::RegistryPolicyScope => {
                "UPDATE registry SET policy_scope = $3 WHERE account = $1 AND region = $2"
            }
            AccountSetting::BlobMounting => {
                "UPDATE registry SET blob_mounting = $3 WHERE account = $1 AND region = $2"
            }
        };
        self.execute(sql, &[account.into(), region.into(), value.into()])?;
        Ok(())
    }
}

/// The settings of an account in a region (`PutAccountSetting`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountSetting {
    BasicScanTypeVersion,
    RegistryPolicyScope,
    BlobMounting,
}

fn repository_row(row: &Row<'_>) -> Result<RepositoryRow, Error> {
    Ok(RepositoryRow {
        id: row.get(0)?,
        account: row.get(1)?,
        region: row.get(2)?,
        name: row.get(3)?,
        key_domain: row.get(4)?,
        encryption_type: row.get(5)?,
        key_name: row.get(6)?,
        created_at: row.get(7)?,
        tag_mutability: row.get(8)?,
        exclusion_filters: row.get(9)?,
        scan_on_push: row.get(10)?,
        image_count: row.get(11)?,
    })
}
