//! `ListImages` lists (digest, tag) pairs in push order; untagged images once.

use bonded_db::{ImageTagPlace, ImageTagRow};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ecr::types::{ImageFilterInput, ImageIdentifier};
use crate::{Call, Result, check};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    registry_id: Option<String>,
    repository_name: Option<String>,
    next_token: Option<String>,
    max_results: Option<i64>,
    filter: Option<ImageFilterInput>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Output {
    image_ids: Vec<ImageIdentifier>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

pub(super) async fn run(call: &Call, input: Input) -> Result<Output> {
    let account = check::registry_id(call, input.registry_id.as_deref())?;
    let name = check::repository_name("repositoryName", input.repository_name.as_deref())?;
    let limit = check::max_results(input.max_results, 100, 1_000)?;
    let filters = ImageFilterInput::check(input.filter)?;
    let permit = call.repository("ecr:ListImages", &account, &name).await?;
    let parameters = (permit.id, &filters.text);
    let place = place(call.page(&parameters, input.next_token.as_deref())?.as_deref())?;
    let repository_id = permit.id;
    let statuses = filters.filters.clone();
    let mut rows = call
        .db()
        .read(move |tx| {
            let mut rows: Vec<ImageTagRow> = Vec::new();
            for filter in &statuses {
                rows.extend(tx.image_tags(&repository_id, filter, &place, limit + 1)?);
            }
            Ok::<_, bonded_db::Error>(rows)
        })
        .await?;
    rows.sort_by(|a, b| (a.image_id, &a.tag).cmp(&(b.image_id, &b.tag)));
    let more = i64::try_from(rows.len()).unwrap_or(i64::MAX) > limit;
    rows.truncate(usize::try_from(limit).unwrap_or(0));
    let next_token = rows.last().filter(|_| more).map(|last| {
        let tag = last.tag.as_deref().unwrap_or_default();
        call.next_token(&parameters, format!("{} {tag}", last.image_id))
    });
    let image_ids = rows
        .into_iter()
        .map(|row| ImageIdentifier { image_digest: Some(row.digest), image_tag: row.tag })
        .collect();
    Ok(Output { image_ids, next_token })
}

fn place(position: Option<&str>) -> Result<ImageTagPlace> {
    let Some(position) = position else {
        return Ok(ImageTagPlace { image_id: Uuid::nil(), tag: String::new() });
    };
    let invalid = || check::invalid("nextToken", "Member must be a token of this request");
    let (id, tag) = position.split_once(' ').ok_or_else(invalid)?;
    Ok(ImageTagPlace { image_id: id.parse().map_err(|_| invalid())?, tag: tag.to_owned() })
}
