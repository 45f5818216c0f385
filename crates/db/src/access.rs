//! What one access decision reads: the caller's identity, the repository's and the registry's
//! policies, and the state of the key domain.
//!
//! The data plane asks [`Tx::repository_access`] first, one statement. What its hashes and
//! generation say is not in memory yet is read in a second go, in one snapshot with it.

use uuid::Uuid;

use crate::image::image_row_at;
use crate::{Error, ImageBy, ImageToPull, Param, Row, Tx};

/// A repository as an access decision sees it, and the generation of the caller's account.
#[derive(Clone, Debug)]
pub struct AccessRow {
    /// `account.generation` of the caller's account.
    pub generation: i64,
    /// `None`: the account has no registry in this region.
    pub registry: Option<RegistryRow>,
    /// `None`: no living repository has this name or id.
    pub repository: Option<RepositoryAccessRow>,
}

/// A registry's settings.
#[derive(Clone, Debug)]
pub struct RegistryRow {
    pub policy_hash: Option<[u8; 32]>,
    /// `V1` or `V2`.
    pub policy_scope: String,
    /// `ENABLED` or `DISABLED`.
    pub blob_mounting: String,
    /// `AWS_NATIVE` or `CLAIR`.
    pub basic_scan_type: String,
    /// As of the last hourly count.
    pub repository_count: i64,
}

#[derive(Clone, Debug)]
pub struct RepositoryAccessRow {
    pub id: Uuid,
    pub account: String,
    pub region: String,
    pub name: String,
    pub policy_hash: Option<[u8; 32]>,
    pub tags_hash: Option<[u8; 32]>,
    pub domain: KeyDomainRow,
}

/// A key domain: whose data key seals the manifests and the keys of the blobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyDomainRow {
    pub id: Uuid,
    /// `AES256`, `KMS` or `KMS_DSSE`.
    pub kind: String,
    pub enabled: bool,
    /// The domain's data key, sealed under a root key.
    pub wrapped_key: Vec<u8>,
}

/// How a repository is named.
#[derive(Clone, Debug)]
pub enum RepositoryBy {
    Name(String),
    Id(Uuid),
}

/// A principal with all that its own policies say.
#[derive(Clone, Debug)]
pub struct IdentityRow {
    pub generation: i64,
    pub id: String,
    pub account: String,
    /// `root`, `user` or `role`.
    pub kind: String,
    pub path: String,
    pub name: String,
    pub policies: Vec<PrincipalPolicyRow>,
    /// Ids of its active access keys.
    pub active_keys: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct PrincipalPolicyRow {
    pub name: String,
    /// `identity` or `boundary`.
    pub kind: String,
    pub hash: [u8; 32],
    pub text: String,
}

/// The text of a repository or registry policy, with the ids that its ARNs meant when it was saved.
#[derive(Clone, Debug)]
pub struct ResourcePolicyRow {
    pub hash: [u8; 32],
    pub text: String,
    /// A JSON object: ARN → unique id.
    pub principals: String,
}

/// An access key, and what is needed to open its secret.
#[derive(Clone, Debug)]
pub struct AccessKeyRow {
    pub principal_id: String,
    pub account: String,
    pub active: bool,
    /// Sealed under the account's data key.
    pub secret: Vec<u8>,
    pub account_wrapped_key: Vec<u8>,
}

const PULL_BY_TAG: &str = "SELECT c.generation, g.policy_hash, g.policy_scope, g.blob_mounting, \
     g.basic_scan_type, g.repository_count, r.id, r.account, r.region, r.name, r.policy_hash, \
     r.tags_hash, d.id, d.kind, d.enabled, d.wrapped_key, i.id, i.digest, i.tagged, i.status, \
     i.media_kind, i.media_type, i.artifact_type, i.manifest_size, i.image_size, \
     i.subject_digest, i.depth, i.pushed_at, (SELECT COUNT(*) FROM (SELECT 1 AS one \
       FROM pull_time_exclusion WHERE account = $2 AND region = $3 LIMIT 1) x) \
     FROM account c \
     LEFT JOIN registry g ON g.account = $2 AND g.region = $3 \
     LEFT JOIN repository r ON r.account = $2 AND r.region = $3 AND r.name = $4 \
       AND r.deleted_at IS NULL \
     LEFT JOIN key_domain d ON d.id = r.key_domain \
     LEFT JOIN tag t ON t.repository_id = r.id AND t.name = $5 \
     LEFT JOIN image i ON i.id = t.image_id WHERE c.id = $1";

const PULL_BY_DIGEST: &str = "SELECT c.generation, g.policy_hash, g.policy_scope, \
     g.blob_mounting, g.basic_scan_type, g.repository_count, r.id, r.account, r.region, r.name, \
     r.policy_hash, r.tags_hash, d.id, d.kind, d.enabled, d.wrapped_key, i.id, i.digest, \
     i.tagged, i.status, i.media_kind, i.media_type, i.artifact_type, i.manifest_size, \
     i.image_size, i.subject_digest, i.depth, i.pushed_at, \
     (SELECT COUNT(*) FROM (SELECT 1 AS one \
       FROM pull_time_exclusion WHERE account = $2 AND region = $3 LIMIT 1) x) \
     FROM account c \
     LEFT JOIN registry g ON g.account = $2 AND g.region = $3 \
     LEFT JOIN repository r ON r.account = $2 AND r.region = $3 AND r.name = $4 \
       AND r.deleted_at IS NULL \
     LEFT JOIN key_domain d ON d.id = r.key_domain \
     LEFT JOIN image i ON i.repository_id = r.id AND i.digest = $5 WHERE c.id = $1";

impl Tx<'_> {
    /// Reads what a decision on a repository needs; `None` if the caller's account is gone.
    pub fn repository_access(
        &mut self,
        caller_account: &str,
        account: &str,
        region: &str,
        by: &RepositoryBy,
    ) -> Result<Option<AccessRow>, Error> {
        match by {
            RepositoryBy::Name(name) => self.query_opt(
                "SELECT c.generation, g.policy_hash, g.policy_scope, g.blob_mounting, \
                 g.basic_scan_type, g.repository_count, r.id, r.account, r.region, r.name, \
                 r.policy_hash, r.tags_hash, d.id, d.kind, d.enabled, d.wrapped_key \
                 FROM account c \
                 LEFT JOIN registry g ON g.account = $2 AND g.region = $3 \
                 LEFT JOIN repository r ON r.account = $2 AND r.region = $3 AND r.name = $4 \
                   AND r.deleted_at IS NULL \
                 LEFT JOIN key_domain d ON d.id = r.key_domain \
                 WHERE c.id = $1",
                &[caller_account.into(), account.into(), region.into(), name.into()],
                access_row,
            ),
            RepositoryBy::Id(id) => self.query_opt(
                "SELECT c.generation, g.policy_hash, g.policy_scope, g.blob_mounting, \
                 g.basic_scan_type, g.repository_count, r.id, r.account, r.region, r.name, \
                 r.policy_hash, r.tags_hash, d.id, d.kind, d.enabled, d.wrapped_key \
                 FROM account c \
                 LEFT JOIN repository r ON r.id = $2 AND r.deleted_at IS NULL \
                 LEFT JOIN registry g ON g.account = r.account AND g.region = r.region \
                 LEFT JOIN key_domain d ON d.id = r.key_domain \
                 WHERE c.id = $1",
                &[caller_account.into(), id.into()],
                access_row,
            ),
        }
    }

    /// The same for a pull, with its image: both in one statement, because pulls are most of what
    /// a registry is asked.
    pub fn pull_access(
        &mut self,
        caller_account: &str,
        account: &str,
        region: &str,
        name: &str,
        image: &ImageBy,
    ) -> Result<Option<(AccessRow, Option<ImageToPull>)>, Error> {
        let (image, sql) = match image {
            ImageBy::Tag(tag) => (tag, PULL_BY_TAG),
            ImageBy::Digest(digest) => (digest, PULL_BY_DIGEST),
        };
        let parameters =
            [caller_account.into(), account.into(), region.into(), name.into(), image.into()];
        self.query_opt(sql, &parameters, |row| {
            let id: Option<Uuid> = row.get(16)?;
            let image = match id {
                None => None,
                Some(_) => Some(ImageToPull {
                    image: image_row_at(row, 16)?,
                    has_exclusions: row.get::<i64>(28)? != 0,
                }),
            };
            Ok((access_row(row)?, image))
        })
    }

    /// Reads what a decision on a registry needs; `None` if the caller's account is gone.
    pub fn registry_access(
        &mut self,
        caller_account: &str,
        account: &str,
        region: &str,
    ) -> Result<Option<AccessRow>, Error> {
        self.query_opt(
            "SELECT c.generation, g.policy_hash, g.policy_scope, g.blob_mounting, \
             g.basic_scan_type, g.repository_count FROM account c \
             LEFT JOIN registry g ON g.account = $2 AND g.region = $3 WHERE c.id = $1",
            &[caller_account.into(), account.into(), region.into()],
            |row| {
                Ok(AccessRow {
                    generation: row.get(0)?,
                    registry: registry_row(row)?,
                    repository: None,
                })
            },
        )
    }

    /// A principal with its policies and keys; `None` if it is gone.
    pub fn identity(&mut self, principal_id: &str) -> Result<Option<IdentityRow>, Error> {
        let found = self.query_opt(
            "SELECT a.generation, p.id, p.account, p.kind, p.path, p.name \
             FROM principal p JOIN account a ON a.id = p.account WHERE p.id = $1",
            &[principal_id.into()],
            |row| {
                Ok(IdentityRow {
                    generation: row.get(0)?,
                    id: row.get(1)?,
                    account: row.get(2)?,
                    kind: row.get(3)?,
                    path: row.get(4)?,
                    name: row.get(5)?,
                    policies: Vec::new(),
                    active_keys: Vec::new(),
                })
            },
        )?;
        let Some(mut identity) = found else { return Ok(None) };
        identity.policies = self.query(
            "SELECT name, kind, hash, text FROM principal_policy WHERE principal_id = $1 \
             ORDER BY kind, name",
            &[principal_id.into()],
            |row| {
                Ok(PrincipalPolicyRow {
                    name: row.get(0)?,
                    kind: row.get(1)?,
                    hash: row.get(2)?,
                    text: row.get(3)?,
                })
            },
        )?;
        identity.active_keys = self.query(
            "SELECT id FROM access_key WHERE principal_id = $1 AND active = 1",
            &[principal_id.into()],
            |row| row.get(0),
        )?;
        Ok(Some(identity))
    }

    /// The unique ids of the users and roles that these (account, kind, name) triples mean now;
    /// kinds are `user` and `role`. The answer has the length and order of the question.
    pub fn principal_ids(
        &mut self,
        principals: &[(String, String, String)],
    ) -> Result<Vec<Option<String>>, Error> {
        let mut ids = Vec::with_capacity(principals.len());
        for (account, kind, name) in principals {
            ids.push(self.query_opt(
                "SELECT id FROM principal WHERE account = $1 AND kind = $2 AND name_key = $3",
                &[account.into(), kind.into(), Param::from(name.to_lowercase().as_str())],
                |row| row.get(0),
            )?);
        }
        Ok(ids)
    }

    /// An access key by its id.
    pub fn access_key(&mut self, id: &str) -> Result<Option<AccessKeyRow>, Error> {
        self.query_opt(
            "SELECT k.principal_id, k.account, k.active, k.secret, a.wrapped_key \
             FROM access_key k JOIN account a ON a.id = k.account WHERE k.id = $1",
            &[id.into()],
            |row| {
                Ok(AccessKeyRow {
                    principal_id: row.get(0)?,
                    account: row.get(1)?,
                    active: row.get(2)?,
                    secret: row.get(3)?,
                    account_wrapped_key: row.get(4)?,
                })
            },
        )
    }

    /// A living repository's policy.
    pub fn repository_policy(
        &mut self,
        repository_id: &Uuid,
    ) -> Result<Option<ResourcePolicyRow>, Error> {
        self.query_opt(
            "SELECT hash, text, principals FROM repository_policy WHERE repository_id = $1",
            &[repository_id.into()],
            resource_policy_row,
        )
    }

    /// A registry's policy.
    pub fn registry_policy(
        &mut self,
        account: &str,
        region: &str,
    ) -> Result<Option<ResourcePolicyRow>, Error> {
        self.query_opt(
            "SELECT hash, text, principals FROM registry_policy \
             WHERE account = $1 AND region = $2",
            &[account.into(), region.into()],
            resource_policy_row,
        )
    }

    /// A repository's resource tags, by key.
    pub fn repository_tags(
        &mut self,
        repository_id: &Uuid,
    ) -> Result<Vec<(String, String)>, Error> {
        self.query(
            "SELECT tag_key, tag_value FROM repository_tag WHERE repository_id = $1 \
             ORDER BY tag_key",
            &[repository_id.into()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
    }
}

fn registry_row(row: &Row<'_>) -> Result<Option<RegistryRow>, Error> {
    let scope: Option<String> = row.get(2)?;
    let Some(policy_scope) = scope else { return Ok(None) };
    Ok(Some(RegistryRow {
        policy_hash: row.get(1)?,
        policy_scope,
        blob_mounting: row.get(3)?,
        basic_scan_type: row.get(4)?,
        repository_count: row.get(5)?,
    }))
}

fn access_row(row: &Row<'_>) -> Result<AccessRow, Error> {
    let registry = registry_row(row)?;
    let id: Option<Uuid> = row.get(6)?;
    let repository = match id {
        None => None,
        Some(id) => Some(RepositoryAccessRow {
            id,
            account: row.get(7)?,
            region: row.get(8)?,
            name: row.get(9)?,
            policy_hash: row.get(10)?,
            tags_hash: row.get(11)?,
            domain: KeyDomainRow {
                id: row.get(12)?,
                kind: row.get(13)?,
                enabled: row.get(14)?,
                wrapped_key: row.get(15)?,
            },
        }),
    };
    Ok(AccessRow { generation: row.get(0)?, registry, repository })
}

fn resource_policy_row(row: &Row<'_>) -> Result<ResourcePolicyRow, Error> {
    Ok(ResourcePolicyRow { hash: row.get(0)?, text: row.get(1)?, principals: row.get(2)? })
}
