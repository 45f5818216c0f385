//! `DeleteRepositoryPolicy` removes a repository's policy and returns its text.

use serde::Deserialize;
use serde_json::json;

use super::set_repository_policy::Output;
use crate::{Call, Error, Result, check};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    registry_id: Option<String>,
    repository_name: Option<String>,
}

pub(super) async fn run(call: &Call, input: Input) -> Result<Output> {
    let account = check::registry_id(call, input.registry_id.as_deref())?;
    let name = check::repository_name("repositoryName", input.repository_name.as_deref())?;
    let permit = call.repository("ecr:DeleteRepositoryPolicy", &account, &name).await?;
    let repository_name = permit.name.clone();
    let response = json!({ "registryId": account, "repositoryName": repository_name });
    let note = call.note(Some(&response), &[]);
    let policy_text = call
        .db()
        .write(move |tx| {
            let repository = permit.repository(tx)?;
            let row = tx.repository_policy(&repository.id)?;
            let row = row.ok_or_else(|| Error::RepositoryPolicyNotFound {
                name: permit.name.clone(),
                registry_id: account,
            })?;
            tx.set_repository_policy(&repository.id, None)?;
            tx.note(&note)?;
            Ok::<_, Error>(row.text)
        })
        .await?;
    Ok(Output { registry_id: account.to_string(), repository_name, policy_text })
}
