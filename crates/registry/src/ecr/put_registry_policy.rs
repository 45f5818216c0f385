//! `PutRegistryPolicy` replaces the policy of the caller's registry.

use serde::{Deserialize, Serialize};

use crate::policy::{self, Of};
use crate::{Call, Result, check};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    policy_text: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Output {
    pub(super) registry_id: String,
    pub(super) policy_text: String,
}

pub(super) async fn run(call: &Call, input: Input) -> Result<Output> {
    let text = check::required("policyText", input.policy_text)?;
    check::length("policyText", text.len(), 0, policy::MAX_TEXT)?;
    let document = policy::parse(&text, Of::Registry)?;
    call.authorize("ecr:PutRegistryPolicy", &call.account, "*").await?;
    let row = policy::resolve(call, &document).await?;
    let account = call.account.to_string();
    let output = Output { registry_id: account.clone(), policy_text: row.text.clone() };
    let note = call.note(serde_json::to_value(&output).ok().as_ref(), &[]);
    let region = call.region().to_owned();
    call.db()
        .write(move |tx| {
            tx.set_registry_policy(&account, &region, Some(&row))?;
            tx.note(&note)
        })
        .await?;
    Ok(output)
}
