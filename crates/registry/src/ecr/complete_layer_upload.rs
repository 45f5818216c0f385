//! `CompleteLayerUpload` ends an upload with a layer.

use bonded_iam::AccountId;
use bonded_oci::{Digest, RepositoryName};
use bytes::Bytes;
use futures::stream;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::upload_layer_part::upload_id;
use crate::image::Plane;
use crate::upload::{self, Part, Wanted};
use crate::{Call, Error, Result, check, layer};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    registry_id: Option<String>,
    repository_name: Option<String>,
    upload_id: Option<String>,
    layer_digests: Option<Vec<String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Output {
    registry_id: String,
    repository_name: String,
    upload_id: String,
    layer_digest: String,
}

struct Checked {
    account: AccountId,
    name: RepositoryName,
    upload_id: Uuid,
    digests: Vec<Digest>,
}

impl Input {
    fn check(&self, call: &Call) -> Result<Checked> {
        let account = check::registry_id(call, self.registry_id.as_deref())?;
        let name = check::repository_name("repositoryName", self.repository_name.as_deref())?;
        let upload_id = upload_id(self.upload_id.as_deref())?;
        let digests = check::required("layerDigests", self.layer_digests.as_ref())?;
        check::length("layerDigests", digests.len(), 1, 100)?;
        let mut known = Vec::with_capacity(digests.len());
        for digest in digests {
            // One of another algorithm may come along; it matches nothing.
            known.extend(layer::digest("layerDigests", digest)?);
        }
        Ok(Checked { account, name, upload_id, digests: known })
    }
}

pub(super) async fn run(call: &Call, input: Input) -> Result<Output> {
    let Checked { account, name, upload_id, digests } = input.check(call)?;
    let permit = call.repository("ecr:CompleteLayerUpload", &account, &name).await?;
    let (wanted, last) = (Wanted::OneOf(digests), Part::empty(Plane::Api));
    let body = stream::empty::<Result<Bytes, Error>>();
    let digest = upload::complete(call, &permit, upload_id, wanted, last, body).await?;
    Ok(Output {
        registry_id: permit.account.to_string(),
        repository_name: permit.name,
        upload_id: upload_id.to_string(),
        layer_digest: digest.to_string(),
    })
}
