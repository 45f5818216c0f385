//! `DeleteRepository` deletes a repository; with `force` also one that has images.

use serde::{Deserialize, Serialize};

use crate::ecr::types::Repository;
use crate::{Call, Error, Result, check};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    registry_id: Option<String>,
    repository_name: Option<String>,
    force: Option<bool>,
}

#[derive(Serialize)]
pub(super) struct Output {
    repository: Repository,
}

pub(super) async fn run(call: &Call, input: Input) -> Result<Output> {
    let account = check::registry_id(call, input.registry_id.as_deref())?;
    let name = check::repository_name("repositoryName", input.repository_name.as_deref())?;
    let force = input.force.unwrap_or(false);
    let permit = call.repository("ecr:DeleteRepository", &account, &name).await?;
    let seen = permit.clone();
    let row = call.db().read_point(move |tx| seen.repository(tx)).await?;
    let repository = Repository::from_row(call, &row)?;
    let response = serde_json::json!({ "repository": repository.for_record(row.created_at) });
    let note = call.note(Some(&response), &[]);
    let now = call.now();
    call.db()
        .write(move |tx| {
            let row = permit.repository(tx)?;
            if !force && tx.has_images(&row.id)? {
                return Err(Error::RepositoryNotEmpty {
                    name: permit.name.clone(),
                    registry_id: account,
                });
            }
            // The name is free at once; a job removes what the repository held.
            tx.mark_repository_deleted(&row.id, now)?;
            tx.note(&note)?;
            Ok(())
        })
        .await?;
    Ok(Output { repository })
}
