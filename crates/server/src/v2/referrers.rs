//! `GET /v2/NAME/referrers/DIGEST`: what names a manifest as its subject.

use bonded_oci::{Digest, RepositoryName};
use bonded_registry::image::{self, ReferrersPage};
use bonded_registry::{self as registry, Call};
use http::{HeaderValue, Response};
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::page::{last, link};
use super::{Asked, Error, answer};
use crate::body::Body;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const FILTER: &str = "artifactType";
/// Types that one request can filter by.
const MAX_TYPES: usize = 8;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u32,
    media_type: &'static str,
    manifests: Vec<Descriptor>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<Box<RawValue>>,
}

pub(super) async fn list(
    asked: &Asked<'_>,
    name: &str,
    digest: &str,
) -> Result<Response<Body>, Error> {
    let name = asked.name(name)?;
    let subject = super::digest(digest)?;
    let types: Vec<String> = asked
        .query
        .all(FILTER)
        .filter(|kind| !kind.is_empty())
        .take(MAX_TYPES)
        .map(str::to_owned)
        .collect();
    let parameters = json!({
        "subjectId": { "imageDigest": digest },
        "filter": { "artifactTypes": types },
    });
    let call = asked.call("ListImageReferrers", &name, parameters);
    asked.note_digest(&subject);
    let found = find(&call, &name, &subject, &types, last(&asked.query)).await;
    let page = asked.end(&call, found).await?;

    let next = page.referrers.last().filter(|_| page.more).map(|row| {
        let mut query: Vec<_> = types.iter().map(|kind| (FILTER, kind.as_str())).collect();
        query.push(("last", &row.digest));
        link(&format!("/v2/{name}/referrers/{subject}"), &query)
    });
    let mut response = answer::json(INDEX, &Index::of(page)?, next)?;
    if !types.is_empty() {
        response.headers_mut().insert(answer::FILTERS, HeaderValue::from_static(FILTER));
    }
    Ok(response)
}

async fn find(
    call: &Call,
    name: &RepositoryName,
    subject: &Digest,
    types: &[String],
    after: &str,
) -> Result<ReferrersPage, Error> {
    // There is no IAM action of the operation's name.
    let permit = call.repository("ecr:BatchGetImage", &call.account, name).await?;
    let limit = image::MAX_REFERRERS_PAGE;
    Ok(image::referrers(call, &permit, subject, types, after, limit).await?)
}

impl Index {
    fn of(page: ReferrersPage) -> Result<Index, Error> {
        let mut manifests = Vec::with_capacity(page.referrers.len());
        for row in page.referrers {
            let annotations = match row.annotations.as_str() {
                "" | "{}" => None,
                _ => Some(
                    RawValue::from_string(row.annotations)
                        .map_err(|error| registry::Error::Internal(error.into()))?,
                ),
            };
            manifests.push(Descriptor {
                media_type: row.media_type,
                digest: row.digest,
                size: row.manifest_size,
                artifact_type: row.artifact_type,
                annotations,
            });
        }
        Ok(Index { schema_version: 2, media_type: INDEX, manifests })
    }
}
