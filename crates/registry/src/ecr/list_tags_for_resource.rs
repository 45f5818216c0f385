//! `ListTagsForResource` lists a repository's tags.

use serde::{Deserialize, Serialize};

use crate::ecr::types::{Tag, repository_of_arn};
use crate::{Call, Result};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    resource_arn: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Output {
    tags: Vec<Tag>,
}

pub(super) async fn run(call: &Call, input: Input) -> Result<Output> {
    let (account, name) = repository_of_arn(call, input.resource_arn.as_deref())?;
    let permit = call.repository("ecr:ListTagsForResource", &account, &name).await?;
    let tags = call
        .db()
        .read(move |tx| {
            let row = permit.repository(tx)?;
            Ok::<_, crate::Error>(tx.repository_tags(&row.id)?)
        })
        .await?;
    Ok(Output { tags: Tag::from_tags(tags) })
}
