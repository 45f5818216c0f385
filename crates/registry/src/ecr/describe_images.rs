//! `DescribeImages` describes images by id, or all of a repository in push order.

use std::collections::HashMap;

use bonded_db::{ImageRow, Tx};
use bonded_oci::Reference;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ecr::types::{ImageFilterInput, ImageIdentifier, image_ids, timestamp};
use crate::{Call, Error, Permit, Result, check, image};

/// A page ends early when its images have more tags than this together.
const MAX_TAGS_PAGE: usize = 20_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    registry_id: Option<String>,
    repository_name: Option<String>,
    image_ids: Option<Vec<ImageIdentifier>>,
    next_token: Option<String>,
    max_results: Option<i64>,
    filter: Option<ImageFilterInput>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Output {
    image_details: Vec<ImageDetail>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ImageDetail {
    registry_id: String,
    repository_name: String,
    image_digest: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    image_tags: Vec<String>,
    image_size_in_bytes: i64,
    image_pushed_at: serde_json::Number,
    image_manifest_media_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_media_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_recorded_pull_time: Option<serde_json::Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject_manifest_digest: Option<String>,
    image_status: String,
}

/// An image with what lies in other tables.
struct Described {
    row: ImageRow,
    tags: Vec<String>,
    pulled_at: Option<i64>,
}

pub(super) async fn run(call: &Call, input: Input) -> Result<Output> {
    let account = check::registry_id(call, input.registry_id.as_deref())?;
    let name = check::repository_name("repositoryName", input.repository_name.as_deref())?;
    let ids = input.image_ids.map(|ids| image_ids(Some(ids))).transpose()?;
    let limit = check::max_results(input.max_results, 100, 1_000)?;
    if ids.is_some() && (input.next_token.is_some() || input.max_results.is_some()) {
        return Err(Error::InvalidRequest(
            "Invalid request parameters: imageIds cannot be given with nextToken or maxResults"
                .to_owned(),
        ));
    }
    let filters = ImageFilterInput::check(input.filter)?;
    let permit = call.repository("ecr:DescribeImages", &account, &name).await?;
    // Pulls of the last moments are waiting in memory.
    call.registry.pulls.write(call.db()).await?;
    let (images, next_token) = match ids {
        Some(ids) => (by_ids(call, &permit, ids).await?, None),
        None => page(call, &permit, &filters, input.next_token.as_deref(), limit).await?,
    };
    let detail = |described: Described| detail(&permit, described);
    Ok(Output { image_details: images.into_iter().map(detail).collect(), next_token })
}

async fn by_ids(call: &Call, permit: &Permit, ids: Vec<ImageIdentifier>) -> Result<Vec<Described>> {
    let permit = permit.clone();
    call.db()
        .read(move |tx| {
            let mut rows: Vec<ImageRow> = Vec::new();
            for id in &ids {
                let row = by_id(tx, &permit, id)?;
                if !rows.iter().any(|known| known.id == row.id) {
                    rows.push(row);
                }
            }
            describe(tx, rows)
        })
        .await
}

fn by_id(tx: &mut Tx<'_>, permit: &Permit, id: &ImageIdentifier) -> Result<ImageRow> {
    let reference =
        id.reference().map_err(|failure| Error::InvalidRequest(failure.failure_reason))?;
    let row = match &reference {
        Reference::Digest(digest) => tx.image_by_digest(&permit.id, &digest.to_string())?,
        Reference::Tag(tag) => tx.image_by_tag(&permit.id, tag.as_str())?,
    };
    let agrees = |row: &ImageRow| id.image_digest.as_ref().is_none_or(|it| *it == row.digest);
    row.filter(agrees).ok_or_else(|| {
        image::not_found(permit, id.image_digest.as_deref(), id.image_tag.as_deref())
    })
}

async fn page(
    call: &Call,
    permit: &Permit,
    filters: &crate::ecr::types::ImageFilters,
    next_token: Option<&str>,
    limit: i64,
) -> Result<(Vec<Described>, Option<String>)> {
    let parameters = (permit.id, &filters.text);
    let position = call.page(&parameters, next_token)?;
    let after: Uuid = match position {
        None => Uuid::nil(),
        Some(text) => text
            .parse()
            .map_err(|_| check::invalid("nextToken", "Member must be a token of this request"))?,
    };
    let (repository_id, statuses) = (permit.id, filters.filters.clone());
    let (images, more) = call
        .db()
        .read(move |tx| {
            let mut rows = Vec::new();
            for filter in &statuses {
                rows.extend(tx.images(&repository_id, filter, &after, limit + 1)?);
            }
            rows.sort_by_key(|row| row.id);
            let more = i64::try_from(rows.len()).unwrap_or(i64::MAX) > limit;
            rows.truncate(usize::try_from(limit).unwrap_or(0));
            let mut described = describe(tx, rows)?;
            let shown = fitting(&described);
            let more = more || shown < described.len();
            described.truncate(shown);
            Ok::<_, Error>((described, more))
        })
        .await?;
    let last = images.last().filter(|_| more);
    let next_token = last.map(|last| call.next_token(&parameters, last.row.id.to_string()));
    Ok((images, next_token))
}

/// How many of these images a page shows: at least one, and no more tags than a page may have.
fn fitting(images: &[Described]) -> usize {
    let mut tags = 0;
    let within = images.iter().take_while(|image| {
        tags += image.tags.len();
        tags <= MAX_TAGS_PAGE
    });
    within.count().max(1).min(images.len())
}

/// Adds tags and pull times, each read in one statement for the whole page.
fn describe(tx: &mut Tx<'_>, rows: Vec<ImageRow>) -> Result<Vec<Described>> {
    let tagged: Vec<_> = rows.iter().filter(|row| row.tagged).map(|row| row.id).collect();
    let all: Vec<_> = rows.iter().map(|row| row.id).collect();
    let mut tags: HashMap<Uuid, Vec<String>> = HashMap::new();
    for (image_id, name) in tx.tags_of_images(&tagged)? {
        tags.entry(image_id).or_default().push(name);
    }
    let pulls: HashMap<Uuid, i64> = tx.pulls_of_images(&all)?.into_iter().collect();
    Ok(rows
        .into_iter()
        .map(|row| Described {
            tags: tags.remove(&row.id).unwrap_or_default(),
            pulled_at: pulls.get(&row.id).copied(),
            row,
        })
        .collect())
}

fn detail(permit: &Permit, described: Described) -> ImageDetail {
    let Described { row, tags, pulled_at } = described;
    ImageDetail {
        registry_id: permit.account.to_string(),
        repository_name: permit.name.clone(),
        image_digest: row.digest,
        image_tags: tags,
        image_size_in_bytes: row.image_size,
        image_pushed_at: timestamp(row.pushed_at),
        image_manifest_media_type: row.media_type,
        artifact_media_type: row.artifact_type,
        last_recorded_pull_time: pulled_at.map(timestamp),
        subject_manifest_digest: row.subject_digest,
        image_status: row.status,
    }
}
