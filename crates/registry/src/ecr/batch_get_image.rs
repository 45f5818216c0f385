//! `BatchGetImage` returns manifests byte for byte: a pull.

use std::collections::HashSet;

use bonded_oci::{Reference, convert};
use serde::{Deserialize, Serialize};

use super::put_image::Image;
use crate::ecr::types::{ImageFailure, ImageIdentifier, image_ids};
use crate::image::{self, ImageManifest};
use crate::{Call, Error, Permit, Result, check};

/// The most bytes of the manifests of one answer, which is made in memory: a hundred of the
/// longest would be 400 MiB. Four of the longest fit, and a hundred of a usual length.
const MOST_BYTES: usize = 16 * 1024 * 1024;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    registry_id: Option<String>,
    repository_name: Option<String>,
    image_ids: Option<Vec<ImageIdentifier>>,
    accepted_media_types: Option<Vec<String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Output {
    images: Vec<Image>,
    failures: Vec<ImageFailure>,
}

pub(super) async fn run(call: &Call, input: Input) -> Result<Output> {
    let account = check::registry_id(call, input.registry_id.as_deref())?;
    let name = check::repository_name("repositoryName", input.repository_name.as_deref())?;
    let ids = image_ids(input.image_ids)?;
    let accepted = input.accepted_media_types.unwrap_or_default();
    check::length("acceptedMediaTypes", accepted.len(), 0, 100)?;
    let permit = call.repository("ecr:BatchGetImage", &account, &name).await?;
    let mut output = Output { images: Vec::new(), failures: Vec::new() };
    let mut bytes = 0;
    let mut seen = HashSet::new();
    for id in ids {
        if !seen.insert((id.image_digest.clone(), id.image_tag.clone())) {
            continue;
        }
        match get(call, &permit, &id, &accepted).await? {
            Ok(image) => {
                bytes += image.image_manifest.len();
                if bytes > MOST_BYTES {
                    let why = "The manifests of one answer can have at most 16777216 bytes";
                    return Err(Error::LimitExceeded(why.to_owned()));
                }
                output.images.push(image);
            }
            Err(failure) => output.failures.push(failure),
        }
    }
    Ok(output)
}

async fn get(
    call: &Call,
    permit: &Permit,
    id: &ImageIdentifier,
    accepted: &[String],
) -> Result<Result<Image, ImageFailure>> {
    let reference = match id.reference() {
        Ok(reference) => reference,
        Err(failure) => return Ok(Err(failure)),
    };
    let Some(found) = image::pull(call, permit, &reference).await? else {
        return Ok(Err(id.failure("ImageNotFound", "Requested image not found")));
    };
    if id.image_digest.as_ref().is_some_and(|digest| *digest != found.row.digest) {
        return Ok(Err(id.failure(
            "ImageTagDoesNotMatchDigest",
            "Invalid request parameters: image tag does not match image digest",
        )));
    }
    match shown(&found, &reference, id, accepted)? {
        Some((digest, media_type, manifest)) => Ok(Ok(Image {
            registry_id: permit.account.to_string(),
            repository_name: permit.name.clone(),
            image_id: ImageIdentifier {
                image_digest: Some(digest),
                image_tag: id.image_tag.clone(),
            },
            image_manifest: manifest,
            image_manifest_media_type: media_type,
        })),
        None => Ok(Err(id.failure("ImageNotFound", "Requested image not found"))),
    }
}

/// Digest, media type and text of the manifest as the client accepts it: converted only when it
/// was asked for by tag alone (ecr.md C.11).
fn shown(
    found: &ImageManifest,
    reference: &Reference,
    id: &ImageIdentifier,
    accepted: &[String],
) -> Result<Option<(String, String, String)>> {
    let by_tag = matches!(reference, Reference::Tag(_)) && id.image_digest.is_none();
    let bytes = if by_tag && !accepted.is_empty() {
        let accept = convert::Accept::of_media_types(accepted);
        convert::as_accepted(&found.bytes, &found.row.media_type, &accept)
    } else {
        convert::Accepted::AsIs
    };
    let (digest, media_type, bytes) = match bytes {
        convert::Accepted::AsIs => {
            (found.row.digest.clone(), found.row.media_type.clone(), found.bytes.to_vec())
        }
        convert::Accepted::Converted { digest, media_type, bytes } => {
            (digest.to_string(), media_type, bytes)
        }
        convert::Accepted::None => return Ok(None),
    };
    let text = String::from_utf8(bytes).map_err(|error| Error::Internal(error.into()))?;
    Ok(Some((digest, media_type, text)))
}
