//! A principal with its compiled policies, kept under its account's generation.

use std::sync::Arc;

use anyhow::Context as _;
use bonded_db::{IdentityRow, PrincipalPolicyRow};
use bonded_iam::{AccountId, Policy, PolicyKind, Principal};

use crate::request::Request;
use crate::services::Services;
use crate::{Error, Result};

/// A principal, as the rows of one snapshot describe it.
pub struct Identity {
    /// The account's generation that this was read under.
    pub generation: i64,
    /// `root`, `user` or `role`.
    pub kind: String,
    pub name: String,
    pub arn: String,
    pub principal: Principal,
    /// Labels are the policies' names.
    pub policies: Vec<Policy>,
    pub boundary: Option<Policy>,
    /// Access keys that may be used.
    pub active_keys: Vec<String>,
}

impl Services {
    /// A principal's identity, if it is in memory under this generation.
    pub fn cached_identity(&self, principal_id: &str, generation: i64) -> Option<Arc<Identity>> {
        let identity = self.identities.get(principal_id)?;
        (identity.generation == generation).then_some(identity)
    }

    /// Compiles what was read of a principal and keeps it under its generation.
    pub fn keep_identity(&self, row: IdentityRow) -> Result<Arc<Identity>> {
        let id = row.id.clone();
        let identity = Arc::new(self.compile(row).map_err(Error::internal)?);
        self.identities.insert(id, Arc::clone(&identity));
        Ok(identity)
    }

    fn compile(&self, row: IdentityRow) -> anyhow::Result<Identity> {
        let account: AccountId = row.account.parse().context("read a principal's account")?;
        let path = row.path.trim_start_matches('/');
        let principal = match row.kind.as_str() {
            "root" => Principal::root(account),
            "user" => {
                let arn = format!("arn:aws:iam::{account}:user/{path}{}", row.name);
                Principal::user(&arn, &row.id).context("read a user's name")?
            }
            kind => anyhow::bail!("a principal of kind `{kind}` cannot ask by itself"),
        };
        let mut policies = Vec::new();
        let mut boundary = None;
        for policy in &row.policies {
            let compiled = self.identity_policy(policy)?;
            match policy.kind.as_str() {
                "boundary" => boundary = Some(compiled),
                _ => policies.push(compiled),
            }
        }
        Ok(Identity {
            generation: row.generation,
            kind: row.kind,
            name: row.name,
            arn: principal.arn.clone(),
            principal,
            policies,
            boundary,
            active_keys: row.active_keys,
        })
    }

    fn identity_policy(&self, row: &PrincipalPolicyRow) -> anyhow::Result<Policy> {
        if let Some(policy) = self.policies.get(&row.hash) {
            return Ok(policy);
        }
        let kind = match row.kind.as_str() {
            "boundary" => PolicyKind::Boundary,
            _ => PolicyKind::Identity,
        };
        let policy = Policy::parse_stored(&row.text, kind)
            .with_context(|| format!("read the stored policy `{}`", row.name))?
            .with_label(&row.name);
        self.policies.insert(row.hash, policy.clone());
        Ok(policy)
    }
}

impl Request {
    /// The access key that signed this request, or that its token was got with, may still be
    /// used by this principal.
    ///
    /// # Errors
    /// `UnrecognizedClientException`: the key is deleted or inactive.
    pub fn check_key(&self, identity: &Identity) -> Result<()> {
        let key = &self.caller.access_key_id;
        if identity.active_keys.contains(key) {
            return Ok(());
        }
        Err(Error::unrecognized_client())
    }
}
