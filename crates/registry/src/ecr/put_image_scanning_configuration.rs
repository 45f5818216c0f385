//! `PutImageScanningConfiguration` stores whether images are scanned when they are pushed.

use serde::{Deserialize, Serialize};

use crate::ecr::types::ImageScanningConfiguration;
use crate::{Call, Result, check};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    registry_id: Option<String>,
    repository_name: Option<String>,
    image_scanning_configuration: Option<ImageScanningConfiguration>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Output {
    registry_id: String,
    repository_name: String,
    image_scanning_configuration: ImageScanningConfiguration,
}

pub(super) async fn run(call: &Call, input: Input) -> Result<Output> {
    let account = check::registry_id(call, input.registry_id.as_deref())?;
    let name = check::repository_name("repositoryName", input.repository_name.as_deref())?;
    let configuration =
        check::required("imageScanningConfiguration", input.image_scanning_configuration)?;
    let permit = call.repository("ecr:PutImageScanningConfiguration", &account, &name).await?;
    let scan_on_push = configuration.scan_on_push;
    let output = Output {
        registry_id: account.to_string(),
        repository_name: permit.name.clone(),
        image_scanning_configuration: configuration,
    };
    let note = call.note(serde_json::to_value(&output).ok().as_ref(), &[]);
    call.db()
        .write(move |tx| {
            let row = permit.repository(tx)?;
            tx.set_scan_on_push(&row.id, scan_on_push)?;
            tx.note(&note)?;
            Ok::<_, crate::Error>(())
        })
        .await?;
    Ok(output)
}
