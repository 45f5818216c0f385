//! `ListImageReferrers` lists the images that name another as their subject.

use bonded_oci::Digest;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::image;
use crate::{Call, Error, Result, check};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    registry_id: Option<String>,
    repository_name: Option<String>,
    subject_id: Option<SubjectIdentifier>,
    filter: Option<Filter>,
    next_token: Option<String>,
    max_results: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SubjectIdentifier {
    image_digest: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Filter {
    artifact_types: Option<Vec<String>>,
    artifact_status: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Output {
    referrers: Vec<ImageReferrer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ImageReferrer {
    digest: String,
    media_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    size: i64,
    annotations: Box<RawValue>,
    artifact_status: &'static str,
}

pub(super) async fn run(call: &Call, input: Input) -> Result<Output> {
    let account = check::registry_id(call, input.registry_id.as_deref())?;
    let name = check::repository_name("repositoryName", input.repository_name.as_deref())?;
    let subject = check::required("subjectId", input.subject_id)?;
    let subject = check::required("subjectId.imageDigest", subject.image_digest)?;
    let filter = input.filter.unwrap_or_default();
    let types = filter.artifact_types.unwrap_or_default();
    check::length("filter.artifactTypes", types.len(), 0, 5)?;
    let status = filter.artifact_status.as_deref().unwrap_or("ACTIVE");
    let statuses = ["ACTIVE", "ARCHIVED", "ACTIVATING", "ANY"];
    check::one_of("filter.artifactStatus", status, &statuses)?;
    let limit = check::max_results(input.max_results, 20, 50)?;
    let subject: Digest = subject.parse().map_err(|_| {
        check::invalid(
            "subjectId.imageDigest",
            "must satisfy regular expression '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'",
        )
    })?;
    // There is no IAM action of the operation's name.
    let permit = call.repository("ecr:BatchGetImage", &account, &name).await?;
    let parameters = (permit.id, &subject, &types, status);
    let after = call.page(&parameters, input.next_token.as_deref())?.unwrap_or_default();
    if !matches!(status, "ACTIVE" | "ANY") {
        return Ok(Output { referrers: Vec::new(), next_token: None });
    }
    let page = image::referrers(call, &permit, &subject, &types, &after, limit).await?;
    let last = page.referrers.last().filter(|_| page.more);
    let next_token = last.map(|last| call.next_token(&parameters, last.digest.clone()));
    let mut referrers = Vec::with_capacity(page.referrers.len());
    for row in page.referrers {
        referrers.push(ImageReferrer {
            digest: row.digest,
            media_type: row.media_type,
            artifact_type: row.artifact_type,
            size: row.manifest_size,
            annotations: RawValue::from_string(row.annotations)
                .map_err(|error| Error::Internal(error.into()))?,
            artifact_status: "ACTIVE",
        });
    }
    Ok(Output { referrers, next_token })
}
