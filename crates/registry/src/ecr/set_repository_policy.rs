//! `SetRepositoryPolicy` replaces a repository's policy.

use serde::{Deserialize, Serialize};

use crate::policy::{self, Of};
use crate::{Call, Result, check};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    registry_id: Option<String>,
    repository_name: Option<String>,
    policy_text: Option<String>,
    force: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Output {
    pub(super) registry_id: String,
    pub(super) repository_name: String,
    pub(super) policy_text: String,
}

pub(super) async fn run(call: &Call, input: Input) -> Result<Output> {
    let account = check::registry_id(call, input.registry_id.as_deref())?;
    let name = check::repository_name("repositoryName", input.repository_name.as_deref())?;
    let text = check::required("policyText", input.policy_text)?;
    check::length("policyText", text.len(), 0, policy::MAX_TEXT)?;
    let document = policy::parse(&text, Of::Repository)?;
    let permit = call.repository("ecr:SetRepositoryPolicy", &account, &name).await?;
    let row = policy::resolve(call, &document).await?;
    if !input.force.unwrap_or(false) {
        policy::check_lock_out(call, &permit, &row).await?;
    }
    let output = Output {
        registry_id: account.to_string(),
        repository_name: permit.name.clone(),
        policy_text: row.text.clone(),
    };
    let note = call.note(serde_json::to_value(&output).ok().as_ref(), &[]);
    call.db()
        .write(move |tx| {
            let repository = permit.repository(tx)?;
            tx.set_repository_policy(&repository.id, Some(&row))?;
            tx.note(&note)?;
            Ok::<_, crate::Error>(())
        })
        .await?;
    Ok(output)
}
