//! `PutImageTagMutability` says whether tags may move. Only later pushes are affected.

use serde::{Deserialize, Serialize};

use crate::ecr::types::{ImageTagMutabilityExclusionFilter, filters};
use crate::repository::Mutability;
use crate::{Call, Result, check};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    registry_id: Option<String>,
    repository_name: Option<String>,
    image_tag_mutability: Option<String>,
    image_tag_mutability_exclusion_filters: Option<Vec<ImageTagMutabilityExclusionFilter>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Output {
    registry_id: String,
    repository_name: String,
    image_tag_mutability: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    image_tag_mutability_exclusion_filters: Vec<ImageTagMutabilityExclusionFilter>,
}

pub(super) async fn run(call: &Call, input: Input) -> Result<Output> {
    let account = check::registry_id(call, input.registry_id.as_deref())?;
    let name = check::repository_name("repositoryName", input.repository_name.as_deref())?;
    let mode = check::required("imageTagMutability", input.image_tag_mutability.as_deref())?;
    let mutability = Mutability::check(mode, input.image_tag_mutability_exclusion_filters)?;
    let permit = call.repository("ecr:PutImageTagMutability", &account, &name).await?;
    let stored = mutability.filters_json();
    let output = Output {
        registry_id: account.to_string(),
        repository_name: permit.name.clone(),
        image_tag_mutability: mutability.name.clone(),
        image_tag_mutability_exclusion_filters: filters(&stored),
    };
    let note = call.note(serde_json::to_value(&output).ok().as_ref(), &[]);
    call.db()
        .write(move |tx| {
            let row = permit.repository(tx)?;
            tx.set_tag_mutability(&row.id, &mutability.name, &stored)?;
            tx.note(&note)?;
            Ok::<_, crate::Error>(())
        })
        .await?;
    Ok(output)
}
