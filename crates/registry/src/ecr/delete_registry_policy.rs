//! `DeleteRegistryPolicy` removes the policy of the caller's registry and returns its text.

use serde::Deserialize;
use serde_json::json;

use super::put_registry_policy::Output;
use crate::{Call, Error, Result};

#[derive(Deserialize)]
pub(super) struct Input {}

pub(super) async fn run(call: &Call, _: Input) -> Result<Output> {
    call.authorize("ecr:DeleteRegistryPolicy", &call.account, "*").await?;
    let note = call.note(Some(&json!({ "registryId": call.account })), &[]);
    let (account, region) = (call.account, call.region().to_owned());
    let policy_text = call
        .db()
        .write(move |tx| {
            let row = tx.registry_policy(&account.to_string(), &region)?;
            let row = row.ok_or(Error::RegistryPolicyNotFound { registry_id: account })?;
            tx.set_registry_policy(&account.to_string(), &region, None)?;
            tx.note(&note)?;
            Ok::<_, Error>(row.text)
        })
        .await?;
    Ok(Output { registry_id: account.to_string(), policy_text })
}
