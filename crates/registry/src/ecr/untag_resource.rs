//! `UntagResource` takes tags off a repository; keys that it does not have are passed over.

use bonded_account::access::Ask;
use serde::{Deserialize, Serialize};

use crate::ecr::types::repository_of_arn;
use crate::repository::tags_hash;
use crate::{Call, Result, check};

/// Conditions look at each key, and a repository has 50.
const MAX_KEYS: usize = 200;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    resource_arn: Option<String>,
    tag_keys: Option<Vec<String>>,
}

#[derive(Serialize)]
pub(super) struct Output {}

pub(super) async fn run(call: &Call, input: Input) -> Result<Output> {
    let (account, name) = repository_of_arn(call, input.resource_arn.as_deref())?;
    let keys = check::required("tagKeys", input.tag_keys)?;
    check::length("tagKeys", keys.len(), 0, MAX_KEYS)?;
    let ask = Ask::new("ecr:UntagResource").with("aws:TagKeys", keys.clone());
    let permit = call.repository(ask, &account, &name).await?;
    let note = call.note(None, &[]);
    call.db()
        .write(move |tx| {
            let row = permit.repository(tx)?;
            let mut tags = tx.repository_tags(&row.id)?;
            tags.retain(|(key, _)| !keys.contains(key));
            tx.set_repository_tags(&row.id, &tags, tags_hash(&tags).as_ref())?;
            tx.note(&note)?;
            Ok::<_, crate::Error>(())
        })
        .await?;
    Ok(Output {})
}
