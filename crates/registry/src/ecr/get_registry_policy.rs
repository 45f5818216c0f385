//! `GetRegistryPolicy` returns the policy of the caller's registry.

use serde::Deserialize;

use super::put_registry_policy::Output;
use crate::{Call, Error, Result};

#[derive(Deserialize)]
pub(super) struct Input {}

pub(super) async fn run(call: &Call, _: Input) -> Result<Output> {
    call.authorize("ecr:GetRegistryPolicy", &call.account, "*").await?;
    let (account, region) = (call.account.to_string(), call.region().to_owned());
    let registry_id = account.clone();
    let row = call.db().read_point(move |tx| tx.registry_policy(&account, &region)).await?;
    let row = row.ok_or(Error::RegistryPolicyNotFound { registry_id: call.account })?;
    Ok(Output { registry_id, policy_text: row.text })
}
