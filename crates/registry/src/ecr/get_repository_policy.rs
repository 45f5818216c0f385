//! `GetRepositoryPolicy` returns a repository's policy.

use serde::Deserialize;

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
    let permit = call.repository("ecr:GetRepositoryPolicy", &account, &name).await?;
    let repository_name = permit.name.clone();
    let row = call
        .db()
        .read(move |tx| {
            let repository = permit.repository(tx)?;
            Ok::<_, Error>(tx.repository_policy(&repository.id)?)
        })
        .await?;
    let row = row.ok_or_else(|| Error::RepositoryPolicyNotFound {
        name: repository_name.clone(),
        registry_id: account,
    })?;
    Ok(Output { registry_id: account.to_string(), repository_name, policy_text: row.text })
}
