//! `TagResource` puts tags on a repository, over those it has.

use bonded_account::access::Ask;
use serde::{Deserialize, Serialize};

use crate::ecr::types::{Tag, repository_of_arn};
use crate::repository::{check_tag_count, check_tags, merge, tags_hash};
use crate::{Call, Result, check};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    resource_arn: Option<String>,
    tags: Option<Vec<Tag>>,
}

#[derive(Serialize)]
pub(super) struct Output {}

pub(super) async fn run(call: &Call, input: Input) -> Result<Output> {
    let (account, name) = repository_of_arn(call, input.resource_arn.as_deref())?;
    let new = check_tags(check::required("tags", input.tags)?)?;
    let ask = Ask::new("ecr:TagResource").with_request_tags(&new);
    let permit = call.repository(ask, &account, &name).await?;
    let note = call.note(None, &[]);
    call.db()
        .write(move |tx| {
            let row = permit.repository(tx)?;
            let tags = merge(tx.repository_tags(&row.id)?, new.clone());
            check_tag_count(&tags)?;
            tx.set_repository_tags(&row.id, &tags, tags_hash(&tags).as_ref())?;
            tx.note(&note)?;
            Ok::<_, crate::Error>(())
        })
        .await?;
    Ok(Output {})
}
