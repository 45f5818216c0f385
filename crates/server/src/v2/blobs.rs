//! `/v2/NAME/blobs/DIGEST`: read, in ranges or whole, and deleted.

use bonded_oci::{Digest, RepositoryName};
use bonded_registry::layer::{self, Layer};
use bonded_registry::{Call, Permit};
use http::{Method, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::json;

use super::answer::{self, answer};
use super::range::{Wanted, wanted};
use super::{Asked, Error};
use crate::body::Body;

/// `GET` and `HEAD`.
pub(super) async fn get(
    asked: &Asked<'_>,
    name: &str,
    digest: &str,
) -> Result<Response<Body>, Error> {
    let name = asked.name(name)?;
    let digest = super::digest(digest)?;
    asked.note_digest(&digest);
    let head = asked.head.method == Method::HEAD;
    let call = if head {
        let parameters = json!({ "layerDigests": [digest.to_string()] });
        asked.call("BatchCheckLayerAvailability", &name, parameters)
    } else {
        let parameters = json!({ "layerDigest": digest.to_string() });
        asked.call("GetDownloadUrlForLayer", &name, parameters)
    };
    let response = read(asked, &call, &name, &digest).await;
    asked.end(&call, response).await
}

async fn read(
    asked: &Asked<'_>,
    call: &Call,
    name: &RepositoryName,
    digest: &Digest,
) -> Result<Response<Body>, Error> {
    let action = match asked.head.method {
        Method::HEAD => "ecr:BatchCheckLayerAvailability",
        _ => "ecr:GetDownloadUrlForLayer",
    };
    let permit = call.repository(action, &call.account, name).await?;
    let layer = layer::find(call, &permit, digest).await?;
    send(asked.head, call, &permit, &layer).await
}

/// The layer, or what of it the request wants.
pub(super) async fn send(
    head: &http::request::Parts,
    call: &Call,
    permit: &Permit,
    layer: &Layer,
) -> Result<Response<Body>, Error> {
    let etag = format!("\"{}\"", layer.digest);
    let (status, range) = match wanted(&head.headers, &etag, layer.size) {
        Wanted::Nothing => {
            let headers = [(answer::DIGEST, layer.digest.to_string()), (header::ETAG, etag)];
            return answer(StatusCode::NOT_MODIFIED, headers, Body::Empty);
        }
        // A range means something for GET only.
        Wanted::Beyond | Wanted::Part(_) if head.method == Method::HEAD => {
            (StatusCode::OK, 0..layer.size)
        }
        Wanted::Beyond => return Err(Error::RangeUnsatisfiable { size: layer.size }),
        Wanted::Whole => (StatusCode::OK, 0..layer.size),
        Wanted::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
    };
    let body = match head.method {
        Method::HEAD => Body::Empty,
        _ => Body::stream(layer.body(call, permit, range.clone()).await?.map_err(Into::into)),
    };
    let headers = [
        (answer::DIGEST, layer.digest.to_string()),
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, (range.end - range.start).to_string()),
        (header::ETAG, etag),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
    ];
    let mut response = answer(status, headers, body)?;
    if status == StatusCode::PARTIAL_CONTENT {
        let shown = format!("bytes {}-{}/{}", range.start, range.end - 1, layer.size);
        response.headers_mut().insert(header::CONTENT_RANGE, answer::value_of(&shown)?);
    }
    Ok(response)
}

/// `DELETE`.
pub(super) async fn delete(
    asked: &Asked<'_>,
    name: &str,
    digest: &str,
) -> Result<Response<Body>, Error> {
    let name = asked.name(name)?;
    let digest = super::digest(digest)?;
    let digest_text = digest.to_string();
    asked.note_digest(&digest_text);
    let parameters = json!({ "layerDigest": digest_text });
    let call = asked.call_named("DeleteLayer", false, Some(&name), parameters);
    let done = remove(&call, &name, &digest).await;
    asked.end(&call, done).await?;
    answer(StatusCode::ACCEPTED, [], Body::Empty)
}

async fn remove(call: &Call, name: &RepositoryName, digest: &Digest) -> Result<(), Error> {
    let permit = call.repository("ecr:BatchDeleteImage", &call.account, name).await?;
    Ok(layer::delete(call, &permit, digest).await?)
}
