//! Layers: blobs as a repository has them. Both planes call these.
//!
//! A repository has a blob by a membership, never by its digest alone: the same bytes in another
//! repository are none of its business. A blob that cannot be read is absent.
//!
//! Each function takes the [`Permit`] that the caller got for its action, so access is decided
//! before existence:
//!
//! | request | function | action of the permit | name of the call |
//! |---|---|---|---|
//! | `HEAD` of a blob | [`find`] | `ecr:BatchCheckLayerAvailability` | BatchCheckLayerAvailability |
//! | `GET` of a blob | [`find`], [`Layer::body`] | `ecr:GetDownloadUrlForLayer` | GetDownloadUrlForLayer |
//! | `DELETE` of a blob | [`delete`] | `ecr:BatchDeleteImage` | DeleteLayer |
//! | `POST uploads/?mount=` | [`mount()`] | `ecr:InitiateLayerUpload` | MountLayer |
//! | GetDownloadUrlForLayer | [`link()`] | `ecr:GetDownloadUrlForLayer` | GetDownloadUrlForLayer |
//! | `/v2/-/layer/<sealed>` | [`open_link`] | asked there | made there |
//!
//! **Invariant:** who was told that a blob exists has three quarters of the grace time, at least,
//! to push a manifest that uses it.

mod body;
mod link;
mod mount;
#[cfg(test)]
mod tests;

use bonded_db::{AvailableLayer, LayerRow};
use bonded_oci::Digest;

pub use body::LayerBody;
pub use link::{LinkRequest, OpenedLink, link, open_link};
pub use mount::mount;

use crate::upload::unsigned;
use crate::{Call, Error, Permit, Result, check};

/// The pattern of layer digests, as the service's errors quote it.
const PATTERN: &str = "[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+";

/// A blob that a repository has.
#[derive(Clone, Debug)]
pub struct Layer {
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    row: LayerRow,
}

/// Finds a blob in a repository.
///
/// # Errors
/// `LayerNotFound`.
pub async fn find(call: &Call, permit: &Permit, digest: &Digest) -> Result<Layer> {
    let text = digest.to_string();
    let (repository_id, wanted) = (permit.id, text.clone());
    let found = call.db().read_point(move |tx| tx.layer(&repository_id, &wanted)).await?;
    let row = found.ok_or_else(|| not_found(permit, &text))?;
    if is_stale(call, row.unused_since) {
        let gone = refresh(call, permit, vec![text.clone()]).await?;
        if !gone.is_empty() {
            return Err(not_found(permit, &text));
        }
    }
    let size = unsigned(row.size);
    call.add("layerSize", size);
    Ok(Layer { digest: *digest, size, row })
}

/// Which of these digests a repository has.
pub async fn available(
    call: &Call,
    permit: &Permit,
    digests: Vec<String>,
) -> Result<Vec<AvailableLayer>> {
    let repository_id = permit.id;
    let mut found = call.db().read(move |tx| tx.available_layers(&repository_id, &digests)).await?;
    let stale = |layer: &&AvailableLayer| is_stale(call, layer.unused_since);
    let stale: Vec<_> = found.iter().filter(stale).map(|layer| layer.digest.clone()).collect();
    if !stale.is_empty() {
        let gone = refresh(call, permit, stale).await?;
        found.retain(|layer| !gone.contains(&layer.digest));
    }
    Ok(found)
}

/// Takes a blob out of a repository. Other repositories that have it keep it.
///
/// # Errors
/// `LayerNotFound`; `Referenced` when an image of the repository uses it.
pub async fn delete(call: &Call, permit: &Permit, digest: &Digest) -> Result<()> {
    let digest = digest.to_string();
    let note = call.note(None, &[]);
    let now = call.now();
    let permit = permit.clone();
    call.db()
        .write(move |tx| {
            let repository = permit.repository(tx)?;
            if !tx.has_layer(&repository.id, &digest)? {
                return Err(not_found(&permit, &digest));
            }
            let images = tx.images_of_blob(&repository.id, &digest)?;
            if !images.is_empty() {
                return Err(Error::Referenced(format!(
                    "Requested layer referenced by image: [{}]",
                    images.join(", ")
                )));
            }
            tx.delete_membership(&repository.id, &digest, now)?;
            tx.note(&note)?;
            Ok(())
        })
        .await
}

/// A layer's digest in the API. `None` for one of the service's pattern that can be no blob's
/// here: of an algorithm that we do not know, in capitals, or of a wrong length.
///
/// # Errors
/// `InvalidParameter` for what breaks the pattern.
pub fn digest(member: &'static str, text: &str) -> Result<Option<Digest>> {
    if !has_pattern(text) {
        return Err(check::invalid(member, format!("must satisfy regular expression '{PATTERN}'")));
    }
    Ok(text.parse().ok())
}

/// Whether a text is a digest by the service's pattern.
pub fn has_pattern(text: &str) -> bool {
    let algorithm = |it: &str| {
        !it.is_empty() && it.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_+.".contains(&it))
    };
    let hexadecimal = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_hexdigit());
    text.split_once(':').is_some_and(|(left, right)| algorithm(left) && hexadecimal(right))
}

/// `LayerNotFound`.
pub fn not_found(permit: &Permit, digest: &str) -> Error {
    Error::LayerNotFound {
        digest: digest.to_owned(),
        name: permit.name.clone(),
        registry_id: permit.account,
    }
}

/// Whether an unused blob was reported so long ago that its grace time must start anew before it
/// is reported again.
fn is_stale(call: &Call, unused_since: Option<i64>) -> bool {
    let grace = call.registry.settings.grace_micros;
    unused_since.is_some_and(|since| since < call.now() - grace / 4)
}

/// Starts the grace time of unused blobs anew, and gives those that were collected meanwhile. It
/// is a promise, so it is synced; it happens at most once in a quarter of the grace time.
async fn refresh(call: &Call, permit: &Permit, digests: Vec<String>) -> Result<Vec<String>> {
    let now = call.now();
    let permit = permit.clone();
    call.db()
        .write(move |tx| {
            let repository = permit.repository(tx)?;
            let mut gone = Vec::new();
            for digest in &digests {
                if !tx.refresh_membership(&repository.id, digest, now)? {
                    gone.push(digest.clone());
                }
            }
            Ok(gone)
        })
        .await
}
