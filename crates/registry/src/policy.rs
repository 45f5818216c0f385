//! Repository and registry policies: read, saved with the ids that their ARNs mean, compiled.

use std::collections::BTreeMap;

use anyhow::Context as _;
use bonded_account::Services;
use bonded_db::ResourcePolicyRow;
use bonded_iam::{Arn, Policy, PolicyKind, ResourceKind};
use sha2::{Digest as _, Sha256};

use crate::{Call, Error, Permit, Result, check};

/// What a resource policy is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    Repository,
    Registry,
}

/// Compiles a stored policy and keeps it by its hash.
pub fn keep(services: &Services, row: &ResourcePolicyRow, of: Of) -> Result<Policy> {
    let policy = compile(row, of)?;
    services.policies.insert(row.hash, policy.clone());
    Ok(policy)
}

/// The longest policy, in bytes.
pub const MAX_TEXT: usize = 10_240;

const MEMBER: &str = "PolicyText";

/// Reads a policy that is to be saved.
///
/// # Errors
/// `InvalidParameter`: it is none, or not one for this resource.
pub fn parse(text: &str, of: Of) -> Result<Policy> {
    Policy::parse(text, kind(of)).map_err(|_| check::invalid(MEMBER, invalid_sentence(of)))
}

/// The row of a policy: its text as the service prints it, and the ids that its ARNs mean now.
///
/// # Errors
/// `InvalidParameter` when it names a user or role that is not here.
pub async fn resolve(call: &Call, policy: &Policy) -> Result<ResourcePolicyRow> {
    let arns: Vec<String> = policy.principal_arns().into_iter().map(str::to_owned).collect();
    let mut named = Vec::with_capacity(arns.len());
    for arn in &arns {
        named.push(principal_name(arn).ok_or_else(principal_not_found)?);
    }
    let ids = call.db().read(move |tx| tx.principal_ids(&named)).await?;
    let mut principals = BTreeMap::new();
    for (arn, id) in arns.into_iter().zip(ids) {
        principals.insert(arn, id.ok_or_else(principal_not_found)?);
    }
    let text = policy.to_pretty();
    let principals =
        serde_json::to_string(&principals).map_err(|error| Error::Internal(error.into()))?;
    let mut hash = Sha256::new();
    hash.update(text.as_bytes());
    hash.update([0]);
    hash.update(principals.as_bytes());
    Ok(ResourcePolicyRow { hash: hash.finalize().into(), text, principals })
}

/// Refuses a policy under which the caller could no longer set the policy.
pub async fn check_lock_out(call: &Call, permit: &Permit, row: &ResourcePolicyRow) -> Result<()> {
    let policy = compile(row, Of::Repository)?;
    match call.would_allow("ecr:SetRepositoryPolicy", permit, &policy).await? {
        true => Ok(()),
        false => Err(check::invalid(
            MEMBER,
            "The new policy would deny the caller ecr:SetRepositoryPolicy; set force to replace \
             the policy nevertheless",
        )),
    }
}

/// Account, kind and name of a user's or role's ARN.
fn principal_name(arn: &str) -> Option<(String, String, String)> {
    let arn: Arn = arn.parse().ok()?;
    let (kind, path) = arn.resource.split_once('/')?;
    let name = path.rsplit('/').next()?;
    if !matches!((arn.service.as_str(), kind), ("iam", "user" | "role")) {
        return None;
    }
    Some((arn.account, kind.to_owned(), name.to_owned()))
}

fn principal_not_found() -> Error {
    check::invalid(MEMBER, "Principal not found")
}

fn invalid_sentence(of: Of) -> &'static str {
    match of {
        Of::Repository => "Invalid repository policy provided",
        Of::Registry => "Invalid registry policy provided",
    }
}

fn kind(of: Of) -> PolicyKind {
    PolicyKind::Resource(match of {
        Of::Repository => ResourceKind::EcrRepository,
        Of::Registry => ResourceKind::EcrRegistry,
    })
}

fn compile(row: &ResourcePolicyRow, of: Of) -> Result<Policy> {
    let read = || {
        let ids: BTreeMap<String, String> =
            serde_json::from_str(&row.principals).context("read the ids of a stored policy")?;
        let policy = Policy::parse_stored(&row.text, kind(of)).context("read a stored policy")?;
        Ok::<_, anyhow::Error>(policy.with_principal_ids(&ids))
    };
    read().map_err(Error::Internal)
}
