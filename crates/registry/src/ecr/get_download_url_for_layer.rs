//! `GetDownloadUrlForLayer` gives a link to a layer that an image uses.

use serde::{Deserialize, Serialize};

use crate::{Call, Result, check, layer};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    registry_id: Option<String>,
    repository_name: Option<String>,
    layer_digest: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Output {
    download_url: String,
    layer_digest: String,
}

pub(super) async fn run(call: &Call, input: Input) -> Result<Output> {
    let account = check::registry_id(call, input.registry_id.as_deref())?;
    let name = check::repository_name("repositoryName", input.repository_name.as_deref())?;
    let layer_digest = check::required("layerDigest", input.layer_digest)?;
    let digest = layer::digest("layerDigest", &layer_digest)?;
    let permit = call.repository("ecr:GetDownloadUrlForLayer", &account, &name).await?;
    let Some(digest) = digest else { return Err(layer::not_found(&permit, &layer_digest)) };
    let download_url = layer::link(call, &permit, &digest).await?;
    Ok(Output { download_url, layer_digest })
}
