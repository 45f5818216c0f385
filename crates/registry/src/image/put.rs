//! A manifest is put: `PutImage` and `PUT /v2/…/manifests/…`.
//!
//! The order of decisions is ecr.md's: access, the manifest's form, its digest, what it names,
//! the tags, the limits. What is read to decide is read in the transaction that acts on it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bonded_account::keys::Purpose;
use bonded_db::{ChildRow, ImageRow, NewImage, RepositoryRow, TagChange, TagRow, Tx};
use bonded_oci::manifest::{Kind, Manifest};
use bonded_oci::{Algorithm, Digest, Tag};
use bytes::Bytes;
use serde_json::json;
use uuid::Uuid;

use super::{MAX_DEPTH, MAX_TAGS_PER_IMAGE, annotations_context, manifest_context};
use crate::event::{ImageAction, ImageEvent};
use crate::{Call, Error, Permit, Result};

/// Which plane a manifest comes by: pushing what is there already is no error on `/v2/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plane {
    Api,
    V2,
}

/// A manifest to put.
#[derive(Clone, Debug)]
pub struct Put {
    pub plane: Plane,
    pub bytes: Bytes,
    /// `Content-Type`, or `imageManifestMediaType`.
    pub media_type: Option<String>,
    pub tags: Vec<Tag>,
    /// What the client says the digest is.
    pub digest: Option<Digest>,
}

/// What was put.
#[derive(Clone, Debug)]
pub struct PutAnswer {
    pub digest: Digest,
    pub media_type: String,
    pub subject: Option<Digest>,
}

/// What the transaction needs, made before it.
struct Change {
    permit: Permit,
    plane: Plane,
    tags: Vec<Tag>,
    tag_changes: Vec<TagChange>,
    digest: Digest,
    new: NewImage,
    /// Blobs that must be in the repository: foreign layers need not.
    needed_blobs: Vec<String>,
    sparse: bool,
    images_limit: i64,
    note: bonded_db::Note,
}

/// Puts a manifest, which is all there or not at all.
///
/// # Errors
/// Those of `PutImage`; on `/v2/` the same image under the same tag is no error.
pub async fn put(call: &Call, permit: &Permit, put: Put) -> Result<PutAnswer> {
    let manifest = Manifest::parse(&put.bytes, put.media_type.as_deref())
        .map_err(|error| Error::InvalidManifest(error.to_string()))?;
    let algorithm = put.digest.as_ref().map_or(Algorithm::Sha256, Digest::algorithm);
    let digest = Digest::of(algorithm, &put.bytes);
    if let Some(given) = put.digest.as_ref().filter(|given| **given != digest) {
        return Err(Error::ImageDigestDoesNotMatch {
            digest: given.to_string(),
            name: permit.name.clone(),
            registry_id: permit.account,
        });
    }
    let answer = PutAnswer {
        digest,
        media_type: manifest.media_type.clone(),
        subject: manifest.subject.as_ref().map(|subject| subject.digest),
    };
    let change = Arc::new(change(call, permit, put, &manifest, digest)?);
    call.db().write(move |tx| change.apply(tx)).await?;
    Ok(answer)
}

fn change(
    call: &Call,
    permit: &Permit,
    put: Put,
    manifest: &Manifest,
    digest: Digest,
) -> Result<Change> {
    let id = call.new_id();
    let now = call.now();
    let key = call.domain_key(permit)?;
    let sealed = key.seal(Purpose::Column, &manifest_context(&id), &put.bytes);
    let row = ImageRow {
        id,
        digest: digest.to_string(),
        tagged: false,
        status: "ACTIVE".to_owned(),
        media_kind: kind(manifest).to_owned(),
        media_type: manifest.media_type.clone(),
        artifact_type: manifest.artifact_type.clone(),
        manifest_size: i64::try_from(put.bytes.len()).unwrap_or(i64::MAX),
        image_size: i64::try_from(manifest.size()).unwrap_or(i64::MAX),
        subject_digest: manifest.subject.as_ref().map(|subject| subject.digest.to_string()),
        depth: 0,
        pushed_at: now,
    };
    let blobs: BTreeMap<_, _> =
        manifest.blobs().map(|blob| (blob.digest.to_string(), blob.media_type.clone())).collect();
    let needed: BTreeSet<_> = manifest
        .blobs()
        .filter(|blob| !blob.is_foreign())
        .map(|blob| blob.digest.to_string())
        .collect();
    let children: BTreeSet<_> =
        manifest.children.iter().map(|child| child.digest.to_string()).collect();
    let annotations =
        serde_json::to_vec(&manifest.annotations).map_err(|error| Error::Internal(error.into()))?;
    let tag_changes = put.tags.iter().map(|tag| tag_change(call, tag, now)).collect();
    let note = note(call, permit, &put, &row);
    Ok(Change {
        permit: permit.clone(),
        plane: put.plane,
        tags: put.tags,
        tag_changes,
        digest,
        new: NewImage {
            row,
            manifest: sealed,
            blobs: blobs.into_iter().collect(),
            children: children.into_iter().collect(),
            annotations: key.seal(Purpose::Column, &annotations_context(&id), &annotations),
        },
        needed_blobs: needed.into_iter().collect(),
        sparse: call.registry.settings.sparse_indexes,
        images_limit: call.registry.settings.images_per_repository,
        note,
    })
}

pub(super) fn tag_change(call: &Call, tag: &Tag, now: i64) -> TagChange {
    TagChange {
        id: call.new_id(),
        tag: tag.as_str().to_owned(),
        principal_id: call.request.caller.principal_id.clone(),
        time: now,
        request_id: call.request.id.to_string(),
    }
}

fn note(call: &Call, permit: &Permit, put: &Put, row: &ImageRow) -> bonded_db::Note {
    let event = |tag: Option<&Tag>| ImageEvent {
        account: permit.account,
        action: ImageAction::Push,
        repository_name: permit.name.clone(),
        image_digest: row.digest.clone(),
        image_tag: tag.map(|tag| tag.as_str().to_owned()),
        manifest_media_type: Some(row.media_type.clone()),
        artifact_media_type: row.artifact_type.clone(),
        is_referrer: row.subject_digest.is_some(),
    };
    let events: Vec<_> = if put.tags.is_empty() {
        vec![event(None)]
    } else {
        put.tags.iter().map(|tag| event(Some(tag))).collect()
    };
    let mut image_id = json!({ "imageDigest": row.digest });
    if let (Some(tag), Some(members)) = (put.tags.first(), image_id.as_object_mut()) {
        members.insert("imageTag".to_owned(), json!(tag.as_str()));
    }
    let response = json!({ "image": {
        "registryId": permit.account,
        "repositoryName": permit.name,
        "imageId": image_id,
        "imageManifestMediaType": row.media_type,
    } });
    call.note(Some(&response), &events)
}

fn kind(manifest: &Manifest) -> &'static str {
    match manifest.kind {
        Kind::Index => "index",
        _ => "image",
    }
}

impl Change {
    fn apply(&self, tx: &mut Tx<'_>) -> Result<()> {
        let repository = self.permit.repository(tx)?;
        let existing = tx.image_by_digest(&repository.id, &self.new.row.digest)?;
        let children = match &existing {
            // Whatever the image uses is there, because it is there.
            Some(_) => Vec::new(),
            None => self.check_content(tx, &repository)?,
        };
        let moves = self.check_tags(tx, &repository, existing.is_some())?;
        let image_id = match existing {
            Some(image) => image.id,
            None => self.insert(tx, &repository, &children)?,
        };
        let to = TagRow { image_id, digest: self.new.row.digest.clone() };
        for (from, change) in &moves {
            tx.move_tag(&repository.id, from.as_ref(), &to, change)?;
        }
        if !moves.is_empty() && tx.has_tags(&image_id, MAX_TAGS_PER_IMAGE + 1)? {
            return Err(Error::LimitExceeded(format!(
                "An image can have at most {MAX_TAGS_PER_IMAGE} tags"
            )));
        }
        tx.note(&self.note)?;
        Ok(())
    }

    /// Everything that the manifest names is there, unless manifests may be sparse; gives an
    /// index's children.
    fn check_content(&self, tx: &mut Tx<'_>, repository: &RepositoryRow) -> Result<Vec<ChildRow>> {
        let children = tx.images_present(&repository.id, &self.new.children)?;
        if self.sparse {
            return Ok(children);
        }
        let present = children.iter().map(|child| child.digest.clone()).collect();
        let digests = missing(&self.new.children, &present);
        if !digests.is_empty() {
            return Err(Error::ReferencedImagesNotFound {
                digests,
                name: self.permit.name.clone(),
                registry_id: self.permit.account,
            });
        }
        let present = tx.memberships_present(&repository.id, &self.needed_blobs)?;
        let digests = missing(&self.needed_blobs, &present.into_iter().collect());
        if !digests.is_empty() {
            return Err(Error::LayersNotFound {
                digests,
                name: self.permit.name.clone(),
                registry_id: self.permit.account,
            });
        }
        Ok(children)
    }

    /// Which tags move, each from where. Every tag is judged before the first one moves.
    fn check_tags(
        &self,
        tx: &mut Tx<'_>,
        repository: &RepositoryRow,
        image_exists: bool,
    ) -> Result<Vec<(Option<TagRow>, &TagChange)>> {
        let rule = MutabilityRule::of(repository);
        let mut moves = Vec::with_capacity(self.tags.len());
        for (tag, change) in self.tags.iter().zip(&self.tag_changes) {
            let from = tx.tag(&repository.id, tag.as_str())?;
            let same = from.as_ref().is_some_and(|from| from.digest == self.new.row.digest);
            if same && self.plane == Plane::V2 {
                continue;
            }
            if from.is_some() && rule.is_fixed(tag) {
                return Err(Error::ImageTagAlreadyExists {
                    tag: tag.as_str().to_owned(),
                    name: self.permit.name.clone(),
                });
            }
            if same {
                return Err(self.already_exists(Some(tag)));
            }
            moves.push((from, change));
        }
        if image_exists && self.tags.is_empty() && self.plane == Plane::Api {
            return Err(self.already_exists(None));
        }
        Ok(moves)
    }

    fn insert(
        &self,
        tx: &mut Tx<'_>,
        repository: &RepositoryRow,
        children: &[ChildRow],
    ) -> Result<Uuid> {
        if repository.image_count >= self.images_limit {
            return Err(Error::LimitExceeded(format!(
                "A repository can have at most {} images",
                self.images_limit
            )));
        }
        let mut new = self.new.clone();
        if new.row.media_kind == "index" {
            let largest = children.iter().map(|child| child.image_size).max();
            let deepest = children.iter().map(|child| child.depth).max();
            new.row.image_size = largest.unwrap_or(0);
            new.row.depth = deepest.unwrap_or(0) + 1;
            if new.row.depth > MAX_DEPTH {
                return Err(Error::InvalidManifest(format!(
                    "Invalid parameter at 'ImageManifest' failed to satisfy constraint: \
                     'Indexes can be nested {MAX_DEPTH} deep'"
                )));
            }
        }
        tx.insert_image(&repository.id, &new)?;
        Ok(new.row.id)
    }

    fn already_exists(&self, tag: Option<&Tag>) -> Error {
        Error::ImageAlreadyExists {
            digest: self.digest,
            tag: tag.map(|tag| tag.as_str().to_owned()),
            name: self.permit.name.clone(),
            registry_id: self.permit.account,
        }
    }
}

/// Which of the digests are not there.
fn missing(digests: &[String], present: &BTreeSet<String>) -> Vec<String> {
    digests.iter().filter(|digest| !present.contains(*digest)).cloned().collect()
}

/// Which tags of a repository may not move (ecr.md C.1).
struct MutabilityRule {
    /// Whether tags that no filter names are fixed.
    fixed: bool,
    filters: Vec<String>,
}

impl MutabilityRule {
    fn of(repository: &RepositoryRow) -> MutabilityRule {
        let with_exclusion = repository.tag_mutability.ends_with("_WITH_EXCLUSION");
        let filters = serde_json::from_str(&repository.exclusion_filters).unwrap_or_default();
        MutabilityRule {
            fixed: repository.tag_mutability.starts_with("IMMUTABLE"),
            filters: if with_exclusion { filters } else { Vec::new() },
        }
    }

    fn is_fixed(&self, tag: &Tag) -> bool {
        let excluded =
            self.filters.iter().any(|filter| bonded_oci::wildcard::matches(filter, tag.as_str()));
        self.fixed != excluded
    }
}
