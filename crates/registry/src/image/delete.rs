//! Images and tags are deleted: `BatchDeleteImage` and `DELETE /v2/…/manifests/…`.

use std::sync::Arc;

use bonded_db::{ImageRow, TagRow, Tx};
use bonded_oci::{Digest, Tag};
use serde_json::json;

use super::MAX_TAGS_PER_IMAGE;
use super::put::tag_change;
use crate::event::{ImageAction, ImageEvent};
use crate::{Call, Error, Permit, Result};

/// What went.
#[derive(Clone, Debug)]
pub struct Deleted {
    pub digest: String,
    /// The tags that went with it; none for an untagged image.
    pub tags: Vec<String>,
}

/// What is to be deleted: decided again in the transaction.
struct Doomed {
    permit: Permit,
    digest: Option<String>,
    tag: Option<String>,
    /// A tag goes alone, or with the image that it was the last one of.
    keep_image: bool,
}

/// Deletes an image with all its tags.
///
/// # Errors
/// `ImageNotFound`; `Referenced` when an index lists it.
pub async fn delete_by_digest(call: &Call, permit: &Permit, digest: &Digest) -> Result<Deleted> {
    let doomed = Doomed {
        permit: permit.clone(),
        digest: Some(digest.to_string()),
        tag: None,
        keep_image: false,
    };
    delete(call, doomed).await
}

/// Deletes a tag. The image stays (`keep_image`, as on `/v2/`), or goes with its last tag.
///
/// # Errors
/// `ImageNotFound`; `InvalidRequest` when the tag is not of the image `digest`; `Referenced`.
pub async fn delete_tag(
    call: &Call,
    permit: &Permit,
    tag: &Tag,
    digest: Option<&Digest>,
    keep_image: bool,
) -> Result<Deleted> {
    let doomed = Doomed {
        permit: permit.clone(),
        digest: digest.map(ToString::to_string),
        tag: Some(tag.as_str().to_owned()),
        keep_image,
    };
    delete(call, doomed).await
}

/// The sentence for an image that indexes list.
fn referenced(parents: &[String]) -> Error {
    Error::Referenced(format!(
        "Requested image referenced by manifest list: [{}]",
        parents.join(", ")
    ))
}

async fn delete(call: &Call, doomed: Doomed) -> Result<Deleted> {
    // What the record will tell is read first; the transaction fails if it is no longer so.
    let doomed = Arc::new(doomed);
    loop {
        let first = Arc::clone(&doomed);
        let plan = call.db().read(move |tx| first.plan(tx)).await?;
        let Plan { image, tags, whole } = plan;
        let note = note(call, &doomed.permit, &image, &tags);
        let now = call.now();
        let mut changes = Vec::with_capacity(tags.len());
        for tag in &tags {
            let tag: Tag = tag
                .parse()
                .map_err(|_| Error::Internal(anyhow::anyhow!("a stored tag has no tag's form")))?;
            changes.push(tag_change(call, &tag, now));
        }
        let deleted = Deleted { digest: image.digest.clone(), tags: tags.clone() };
        let again = Arc::clone(&doomed);
        let done = call
            .db()
            .write(move |tx| {
                let repository = again.permit.repository(tx)?;
                let plan = again.plan(tx)?;
                if plan.image.id != image.id || plan.tags != tags || plan.whole != whole {
                    return Ok::<_, Error>(false);
                }
                let from = TagRow { image_id: image.id, digest: image.digest.clone() };
                for change in &changes {
                    tx.delete_tag(&repository.id, &from, change)?;
                }
                if whole {
                    tx.delete_image(&repository.id, &image.id, now)?;
                }
                tx.note(&note)?;
                Ok(true)
            })
            .await?;
        if done {
            return Ok(deleted);
        }
    }
}

/// What a deletion takes with it, as one snapshot shows it.
struct Plan {
    image: ImageRow,
    tags: Vec<String>,
    whole: bool,
}

impl Doomed {
    fn plan(&self, tx: &mut Tx<'_>) -> Result<Plan> {
        let repository_id = &self.permit.id;
        let by_tag = match &self.tag {
            Some(tag) => tx.image_by_tag(repository_id, tag)?,
            None => None,
        };
        let image = match (&self.tag, &self.digest) {
            (None, Some(digest)) => tx.image_by_digest(repository_id, digest)?,
            (Some(_), Some(digest)) => {
                if tx.image_by_digest(repository_id, digest)?.is_none() {
                    None
                } else if by_tag.as_ref().is_some_and(|image| image.digest != *digest) {
                    return Err(Error::InvalidRequest(
                        "Invalid request parameters: image tag does not match image digest"
                            .to_owned(),
                    ));
                } else {
                    by_tag
                }
            }
            _ => by_tag,
        };
        let image = image.ok_or_else(|| {
            super::not_found(&self.permit, self.digest.as_deref(), self.tag.as_deref())
        })?;
        let (tags, whole) = match &self.tag {
            None => (tx.tags_of_image(&image.id, MAX_TAGS_PER_IMAGE + 1)?, true),
            Some(tag) => {
                let last = !self.keep_image && !tx.has_tags(&image.id, 2)?;
                (vec![tag.clone()], last)
            }
        };
        if whole {
            let parents = tx.parents(repository_id, &image.digest)?;
            if !parents.is_empty() {
                return Err(referenced(&parents));
            }
        }
        Ok(Plan { image, tags, whole })
    }
}

fn note(call: &Call, permit: &Permit, image: &ImageRow, tags: &[String]) -> bonded_db::Note {
    let event = |tag: Option<&String>| ImageEvent {
        account: permit.account,
        action: ImageAction::Delete,
        repository_name: permit.name.clone(),
        image_digest: image.digest.clone(),
        image_tag: tag.cloned(),
        manifest_media_type: Some(image.media_type.clone()),
        artifact_media_type: image.artifact_type.clone(),
        is_referrer: image.subject_digest.is_some(),
    };
    let (events, ids): (Vec<_>, Vec<_>) = if tags.is_empty() {
        (vec![event(None)], vec![json!({ "imageDigest": image.digest })])
    } else {
        tags.iter()
            .map(|tag| {
                let id = json!({ "imageDigest": image.digest, "imageTag": tag });
                (event(Some(tag)), id)
            })
            .unzip()
    };
    call.note(Some(&json!({ "imageIds": ids, "failures": [] })), &events)
}
