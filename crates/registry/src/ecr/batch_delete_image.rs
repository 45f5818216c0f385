//! `BatchDeleteImage` deletes tags and images, each in a transaction of its own.

use bonded_oci::{Digest, Tag};
use serde::{Deserialize, Serialize};

use crate::ecr::types::{ImageFailure, ImageIdentifier, image_ids};
use crate::image::{self, Deleted};
use crate::{Call, Error, Permit, Result, check};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    registry_id: Option<String>,
    repository_name: Option<String>,
    image_ids: Option<Vec<ImageIdentifier>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Output {
    image_ids: Vec<ImageIdentifier>,
    failures: Vec<ImageFailure>,
}

pub(super) async fn run(call: &Call, input: Input) -> Result<Output> {
    let account = check::registry_id(call, input.registry_id.as_deref())?;
    let name = check::repository_name("repositoryName", input.repository_name.as_deref())?;
    let ids = image_ids(input.image_ids)?;
    let permit = call.repository("ecr:BatchDeleteImage", &account, &name).await?;
    let mut output = Output { image_ids: Vec::new(), failures: Vec::new() };
    for id in ids {
        match delete(call, &permit, &id).await? {
            Ok(deleted) => output.image_ids.extend(identifiers(deleted)),
            Err(failure) => output.failures.push(failure),
        }
    }
    Ok(output)
}

async fn delete(
    call: &Call,
    permit: &Permit,
    id: &ImageIdentifier,
) -> Result<Result<Deleted, ImageFailure>> {
    if let Err(failure) = id.reference() {
        return Ok(Err(failure));
    }
    let digest = id.image_digest.as_deref().and_then(|text| text.parse::<Digest>().ok());
    let tag = id.image_tag.as_deref().and_then(|text| text.parse::<Tag>().ok());
    let deleted = match (&tag, &digest) {
        (Some(tag), digest) => image::delete_tag(call, permit, tag, digest.as_ref(), false).await,
        (None, Some(digest)) => image::delete_by_digest(call, permit, digest).await,
        (None, None) => return Ok(Err(id.failure("ImageNotFound", "Requested image not found"))),
    };
    match deleted {
        Ok(deleted) => Ok(Ok(deleted)),
        Err(Error::ImageNotFound { .. }) => {
            Ok(Err(id.failure("ImageNotFound", "Requested image not found")))
        }
        Err(Error::Referenced(reason)) => {
            Ok(Err(id.failure("ImageReferencedByManifestList", &reason)))
        }
        Err(Error::InvalidRequest(reason)) => {
            Ok(Err(id.failure("ImageTagDoesNotMatchDigest", &reason)))
        }
        Err(error) => Err(error),
    }
}

/// One element for each tag that was removed, or one for an untagged image.
fn identifiers(deleted: Deleted) -> Vec<ImageIdentifier> {
    let digest = Some(deleted.digest);
    if deleted.tags.is_empty() {
        return vec![ImageIdentifier { image_digest: digest, image_tag: None }];
    }
    deleted
        .tags
        .into_iter()
        .map(|tag| ImageIdentifier { image_digest: digest.clone(), image_tag: Some(tag) })
        .collect()
}
