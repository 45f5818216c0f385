//! Images: found, read, put, deleted and listed. Both planes call these.

mod delete;
mod list;
mod put;
mod referrers;

use bonded_account::keys::{Purpose, column};
use bonded_db::{ImageBy, ImageRow, ImageToPull};
use bonded_iam::AccountId;
use bonded_oci::{Reference, RepositoryName};
use bytes::Bytes;
use uuid::Uuid;

pub use delete::{Deleted, delete_by_digest, delete_tag};
pub use list::{MAX_TAGS_PAGE, TagsPage, tags_page};
pub use put::{Plane, Put, PutAnswer, put};
pub use referrers::{MAX_REFERRERS_PAGE, Referrer, ReferrersPage, referrers};

use crate::{Call, Error, Permit, Result};

/// Indexes of indexes of indexes: this many, with the images below them.
pub const MAX_DEPTH: i64 = 16;
/// Tags that one image may have.
pub const MAX_TAGS_PER_IMAGE: i64 = 1_000;

/// An image with its manifest, byte for byte as it was pushed.
#[derive(Clone, Debug)]
pub struct ImageManifest {
    pub row: ImageRow,
    pub bytes: Bytes,
}

/// An image by tag or digest, without its manifest. Does not move the pull time.
pub async fn find(call: &Call, permit: &Permit, reference: &Reference) -> Result<Option<ImageRow>> {
    let repository_id = permit.id;
    let reference = reference.clone();
    let row = call
        .db()
        .read_point(move |tx| match &reference {
            Reference::Digest(digest) => tx.image_by_digest(&repository_id, &digest.to_string()),
            Reference::Tag(tag) => tx.image_by_tag(&repository_id, tag.as_str()),
        })
        .await?;
    Ok(row.filter(|row| row.status == "ACTIVE"))
}

/// An image with its manifest: a pull. Its time is noted unless the principal is excluded.
pub async fn pull(
    call: &Call,
    permit: &Permit,
    reference: &Reference,
) -> Result<Option<ImageManifest>> {
    let Some(row) = find(call, permit, reference).await? else { return Ok(None) };
    let Some(bytes) = manifest_bytes(call, permit, &row).await? else { return Ok(None) };
    note_pull(call, permit, row.id).await?;
    Ok(Some(ImageManifest { row, bytes }))
}

/// Leave to pull, and the image, in one statement: for `GET` and `HEAD` of manifests. The pull
/// time is not moved yet.
pub async fn find_to_pull(
    call: &Call,
    account: &AccountId,
    name: &RepositoryName,
    reference: &Reference,
) -> Result<(Permit, Option<ImageToPull>)> {
    let by = match reference {
        Reference::Digest(digest) => ImageBy::Digest(digest.to_string()),
        Reference::Tag(tag) => ImageBy::Tag(tag.as_str().to_owned()),
    };
    let (permit, found) = call.repository_and_image("ecr:BatchGetImage", account, name, by).await?;
    Ok((permit, found.filter(|found| found.image.status == "ACTIVE")))
}

/// Moves the pull time of an image that was found so, unless the principal is excluded.
pub async fn pulled(call: &Call, permit: &Permit, found: &ImageToPull) -> Result<()> {
    if found.has_exclusions {
        return note_pull(call, permit, found.image.id).await;
    }
    call.registry.pulls.note(found.image.id, call.now());
    Ok(())
}

async fn note_pull(call: &Call, permit: &Permit, image_id: Uuid) -> Result<()> {
    let (account, region) = (permit.account.to_string(), permit.region.clone());
    let principal = call.request.principal_arn();
    let excluded = call
        .db()
        .read_point(move |tx| tx.is_pull_time_excluded(&account, &region, &principal))
        .await?;
    if !excluded {
        call.registry.pulls.note(image_id, call.now());
    }
    Ok(())
}

/// The manifest of an image: from memory by content, else from its row. `None` if the image was
/// deleted meanwhile.
pub async fn manifest_bytes(call: &Call, permit: &Permit, row: &ImageRow) -> Result<Option<Bytes>> {
    let domain_key = call.domain_key(permit)?;
    let cached = (permit.domain.id, row.digest.clone());
    let known = call.registry.manifests.get(&cached);
    call.registry.manifest_counts.count(known.is_some());
    if let Some(bytes) = known {
        return Ok(Some(bytes));
    }
    let image_id = row.id;
    let sealed = call.db().read_point(move |tx| tx.image_manifest(&image_id)).await?;
    let Some(sealed) = sealed else { return Ok(None) };
    let plain = domain_key.open(Purpose::Column, &manifest_context(&image_id), &sealed).map_err(
        |error| {
            let context = format!("open the manifest of image {image_id}");
            Error::Internal(anyhow::Error::from(error).context(context))
        },
    )?;
    let bytes = Bytes::from(plain);
    call.registry.manifests.insert(cached, bytes.clone());
    Ok(Some(bytes))
}

/// Where a sealed manifest belongs.
pub fn manifest_context(image_id: &Uuid) -> Vec<u8> {
    column("image_manifest.bytes", image_id.as_bytes())
}

/// Where the sealed annotations of a referrer belong.
fn annotations_context(image_id: &Uuid) -> Vec<u8> {
    column("referrer.annotations", image_id.as_bytes())
}

/// `ImageNotFound` for what was asked.
pub fn not_found(permit: &Permit, digest: Option<&str>, tag: Option<&str>) -> Error {
    Error::ImageNotFound {
        digest: digest.map(str::to_owned),
        tag: tag.map(str::to_owned),
        name: permit.name.clone(),
        registry_id: permit.account,
    }
}

/// `ImageNotFound` for a reference.
pub fn reference_not_found(permit: &Permit, reference: &Reference) -> Error {
    match reference {
        Reference::Digest(digest) => not_found(permit, Some(&digest.to_string()), None),
        Reference::Tag(tag) => not_found(permit, None, Some(tag.as_str())),
    }
}
