//! `InitiateLayerUpload` begins an upload.

use bonded_oci::Algorithm;
use serde::{Deserialize, Serialize};

use crate::image::Plane;
use crate::{Call, Result, check, upload};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    registry_id: Option<String>,
    repository_name: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Output {
    upload_id: String,
    part_size: i64,
}

pub(super) async fn run(call: &Call, input: Input) -> Result<Output> {
    let account = check::registry_id(call, input.registry_id.as_deref())?;
    let name = check::repository_name("repositoryName", input.repository_name.as_deref())?;
    let permit = call.repository("ecr:InitiateLayerUpload", &account, &name).await?;
    let upload = upload::begin(call, &permit, Plane::Api, Algorithm::Sha256).await?;
    Ok(Output { upload_id: upload.id.to_string(), part_size: upload::PART_SIZE })
}
