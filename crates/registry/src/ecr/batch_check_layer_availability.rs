//! `BatchCheckLayerAvailability` tells which layers a repository has.

use std::collections::HashMap;

use bonded_db::AvailableLayer;
use serde::{Deserialize, Serialize};

use crate::{Call, Result, check, layer};

const LONGEST_DIGEST: usize = 1_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    registry_id: Option<String>,
    repository_name: Option<String>,
    layer_digests: Option<Vec<Option<String>>>,
}

#[derive(Serialize)]
pub(super) struct Output {
    layers: Vec<Layer>,
    failures: Vec<LayerFailure>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Layer {
    layer_digest: String,
    layer_availability: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    layer_size: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LayerFailure {
    #[serde(skip_serializing_if = "String::is_empty")]
    layer_digest: String,
    failure_code: &'static str,
    failure_reason: &'static str,
}

pub(super) async fn run(call: &Call, input: Input) -> Result<Output> {
    let account = check::registry_id(call, input.registry_id.as_deref())?;
    let name = check::repository_name("repositoryName", input.repository_name.as_deref())?;
    let digests = check::required("layerDigests", input.layer_digests)?;
    check::length("layerDigests", digests.len(), 1, 100)?;
    let digests: Vec<_> = digests.into_iter().map(Option::unwrap_or_default).collect();
    for digest in &digests {
        check::length("layerDigests", digest.chars().count(), 0, LONGEST_DIGEST)?;
    }
    let permit = call.repository("ecr:BatchCheckLayerAvailability", &account, &name).await?;
    let (asked, refused): (Vec<_>, Vec<_>) =
        digests.into_iter().partition(|digest| layer::has_pattern(digest));
    let found = layer::available(call, &permit, asked.clone()).await?;
    let found: HashMap<_, _> = found.iter().map(|layer| (layer.digest.as_str(), layer)).collect();
    let layers = asked
        .into_iter()
        .map(|digest| match found.get(digest.as_str()) {
            Some(layer) => available(layer),
            None => unavailable(digest),
        })
        .collect();
    Ok(Output { layers, failures: refused.into_iter().map(failure).collect() })
}

fn available(layer: &AvailableLayer) -> Layer {
    Layer {
        layer_digest: layer.digest.clone(),
        layer_availability: "AVAILABLE",
        layer_size: Some(layer.size),
        media_type: layer.media_type.clone(),
    }
}

fn unavailable(layer_digest: String) -> Layer {
    Layer { layer_digest, layer_availability: "UNAVAILABLE", layer_size: None, media_type: None }
}

fn failure(layer_digest: String) -> LayerFailure {
    let (failure_code, failure_reason) = match layer_digest.as_str() {
        "" => ("MissingLayerDigest", "Invalid request parameters: layer digest cannot be null"),
        _ => (
            "InvalidLayerDigest",
            "Invalid request parameters: layer digest should satisfy the regex \
             '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'",
        ),
    };
    LayerFailure { layer_digest, failure_code, failure_reason }
}
