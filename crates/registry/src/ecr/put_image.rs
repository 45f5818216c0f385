//! `PutImage` puts a manifest, with or without a tag.

use bonded_oci::{Digest, RepositoryName, Tag};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ecr::types::ImageIdentifier;
use crate::image::{self, Plane, Put};
use crate::{Call, Result, check};

/// The longest manifest, in bytes.
const MAX_MANIFEST: usize = 4_194_304;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    registry_id: Option<String>,
    repository_name: Option<String>,
    image_manifest: Option<String>,
    image_manifest_media_type: Option<String>,
    image_tag: Option<String>,
    image_digest: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Output {
    image: Image,
}

/// An image as `PutImage` and `BatchGetImage` show it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Image {
    pub(super) registry_id: String,
    pub(super) repository_name: String,
    pub(super) image_id: ImageIdentifier,
    pub(super) image_manifest: String,
    pub(super) image_manifest_media_type: String,
}

struct Checked {
    account: bonded_iam::AccountId,
    name: RepositoryName,
    tag: Option<Tag>,
    digest: Option<Digest>,
}

impl Input {
    fn check(&self, call: &Call) -> Result<Checked> {
        let account = check::registry_id(call, self.registry_id.as_deref())?;
        let name = check::repository_name("repositoryName", self.repository_name.as_deref())?;
        let manifest = check::required("imageManifest", self.image_manifest.as_deref())?;
        check::length("imageManifest", manifest.len(), 1, MAX_MANIFEST)?;
        let tag = self.image_tag.as_deref().map(image_tag).transpose()?;
        let digest = self.image_digest.as_deref().map(image_digest).transpose()?;
        Ok(Checked { account, name, tag, digest })
    }
}

/// A tag, or the constraint that it breaks.
fn image_tag(text: &str) -> Result<Tag> {
    check::length("imageTag", text.chars().count(), 1, 300)?;
    text.parse().map_err(|_| {
        let pattern = bonded_oci::tag::PATTERN;
        check::invalid("imageTag", format!("must satisfy regular expression '{pattern}'"))
    })
}

fn image_digest(text: &str) -> Result<Digest> {
    text.parse().map_err(|_| {
        check::invalid(
            "imageDigest",
            "must satisfy regular expression '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'",
        )
    })
}

pub(super) async fn run(call: &Call, input: Input) -> Result<Output> {
    let Checked { account, name, tag, digest } = input.check(call)?;
    let permit = call.repository("ecr:PutImage", &account, &name).await?;
    let image_manifest = input.image_manifest.unwrap_or_default();
    let put = Put {
        plane: Plane::Api,
        bytes: Bytes::from(image_manifest.clone()),
        media_type: input.image_manifest_media_type,
        tags: tag.iter().cloned().collect(),
        digest,
    };
    let answer = image::put(call, &permit, put).await?;
    Ok(Output {
        image: Image {
            registry_id: account.to_string(),
            repository_name: permit.name,
            image_id: ImageIdentifier {
                image_digest: Some(answer.digest.to_string()),
                image_tag: tag.map(|tag| tag.as_str().to_owned()),
            },
            image_manifest,
            image_manifest_media_type: answer.media_type,
        },
    })
}
