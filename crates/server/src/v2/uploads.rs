//! `/v2/NAME/blobs/uploads/…`: begun, appended to, asked for, completed and cancelled; mounts.

use std::str::FromStr as _;

use bonded_oci::{Algorithm, Digest, RepositoryName};
use bonded_registry::image::Plane;
use bonded_registry::upload::{self, Part, Upload, Wanted};
use bonded_registry::{Call, layer};
use http::{HeaderMap, Response, StatusCode, header};
use serde_json::{Value, json};

use super::answer::{self, answer};
use super::{Asked, Error};
use crate::body::{Body, RequestBody};
use crate::whole::length;

/// `POST`: begins an upload, mounts a blob, or makes one of the body.
pub(super) async fn begin(
    asked: &Asked<'_>,
    name: &str,
    body: &mut RequestBody,
) -> Result<Response<Body>, Error> {
    let name = asked.name(name)?;
    let algorithm = match asked.query.first("digest-algorithm") {
        None => Algorithm::Sha256,
        Some(text) => Algorithm::from_str(text)
            .map_err(|_| Error::DigestInvalid("digest-algorithm must be sha256 or sha512"))?,
    };
    if let Some(digest) = asked.query.first("mount") {
        return mount(asked, &name, &super::digest(digest)?, algorithm).await;
    }
    if let Some(digest) = asked.query.first("digest") {
        return single(asked, &name, &super::digest(digest)?, body).await;
    }
    begin_empty(asked, &name, algorithm).await
}

async fn begin_empty(
    asked: &Asked<'_>,
    name: &RepositoryName,
    algorithm: Algorithm,
) -> Result<Response<Body>, Error> {
    let call = asked.call("InitiateLayerUpload", name, json!({}));
    let begun = begin_upload(&call, name, algorithm).await;
    let begun = asked.end(&call, begun).await?;
    progress(StatusCode::ACCEPTED, name, &begun)
}

async fn begin_upload(
    call: &Call,
    name: &RepositoryName,
    algorithm: Algorithm,
) -> Result<Upload, Error> {
    let permit = call.repository("ecr:InitiateLayerUpload", &call.account, name).await?;
    Ok(upload::begin(call, &permit, Plane::V2, algorithm).await?)
}

/// A blob of another repository becomes one of this. What cannot be mounted, for whatever reason,
/// is an upload to begin.
async fn mount(
    asked: &Asked<'_>,
    name: &RepositoryName,
    digest: &Digest,
    algorithm: Algorithm,
) -> Result<Response<Body>, Error> {
    let from = asked.query.first("from");
    let call = asked.call_named("MountLayer", false, Some(name), mount_parameters(digest, from));
    asked.note_digest(&digest);
    let mounted = try_mount(&call, name, digest, from).await;
    match mounted {
        Ok(false) => begin_empty(asked, name, algorithm).await,
        mounted => {
            asked.end(&call, mounted).await?;
            created(name, digest)
        }
    }
}

fn mount_parameters(digest: &Digest, from: Option<&str>) -> Value {
    json!({ "layerDigest": digest.to_string(), "sourceRepositoryName": from })
}

async fn try_mount(
    call: &Call,
    name: &RepositoryName,
    digest: &Digest,
    from: Option<&str>,
) -> Result<bool, Error> {
    let permit = call.repository("ecr:InitiateLayerUpload", &call.account, name).await?;
    let from = from.filter(|from| !from.is_empty());
    Ok(layer::mount(call, &permit, digest, from).await?)
}

async fn single(
    asked: &Asked<'_>,
    name: &RepositoryName,
    digest: &Digest,
    body: &mut RequestBody,
) -> Result<Response<Body>, Error> {
    let parameters = json!({ "layerDigests": [digest.to_string()] });
    let call = asked.call("CompleteLayerUpload", name, parameters);
    asked.note_digest(&digest);
    let done = store_single(&call, name, digest, body).await;
    let digest = asked.end(&call, done).await?;
    created(name, &digest)
}

async fn store_single(
    call: &Call,
    name: &RepositoryName,
    digest: &Digest,
    body: &mut RequestBody,
) -> Result<Digest, Error> {
    let permit = call.repository("ecr:InitiateLayerUpload", &call.account, name).await?;
    let length = length(body);
    upload::single(call, &permit, *digest, length, super::stream(body)).await
}

/// `PATCH`: appends the body.
pub(super) async fn append(
    asked: &Asked<'_>,
    name: &str,
    id: &str,
    body: &mut RequestBody,
) -> Result<Response<Body>, Error> {
    let name = asked.name(name)?;
    let part = part(&asked.head.headers, length(body))?;
    let call = asked.call("UploadLayerPart", &name, json!({ "uploadId": id }));
    let grown = append_part(&call, &name, id, part, body).await;
    let grown = asked.end(&call, grown).await?;
    progress(StatusCode::ACCEPTED, &name, &grown)
}

async fn append_part(
    call: &Call,
    name: &RepositoryName,
    id: &str,
    part: Part,
    body: &mut RequestBody,
) -> Result<Upload, Error> {
    let permit = call.repository("ecr:UploadLayerPart", &call.account, name).await?;
    let id = upload::parse_id(&permit, id)?;
    upload::append(call, &permit, id, part, super::stream(body)).await
}

/// `PUT`: completes the upload, perhaps with its last bytes.
pub(super) async fn complete(
    asked: &Asked<'_>,
    name: &str,
    id: &str,
    body: &mut RequestBody,
) -> Result<Response<Body>, Error> {
    let name = asked.name(name)?;
    let digest = asked.query.first("digest").unwrap_or_default();
    let digest = super::digest(digest)?;
    let part = part(&asked.head.headers, length(body))?;
    let parameters = json!({ "uploadId": id, "layerDigests": [digest.to_string()] });
    let call = asked.call("CompleteLayerUpload", &name, parameters);
    asked.note_digest(&digest);
    let done = complete_upload(&call, &name, id, (digest, part), body).await;
    let digest = asked.end(&call, done).await?;
    created(&name, &digest)
}

async fn complete_upload(
    call: &Call,
    name: &RepositoryName,
    id: &str,
    (digest, part): (Digest, Part),
    body: &mut RequestBody,
) -> Result<Digest, Error> {
    let permit = call.repository("ecr:CompleteLayerUpload", &call.account, name).await?;
    let id = upload::parse_id(&permit, id)?;
    let wanted = Wanted::Digest(digest);
    upload::complete(call, &permit, id, wanted, part, super::stream(body)).await
}

/// `GET`: how far the upload is.
pub(super) async fn status(
    asked: &Asked<'_>,
    name: &str,
    id: &str,
) -> Result<Response<Body>, Error> {
    let name = asked.name(name)?;
    let parameters = json!({ "uploadId": id });
    let call = asked.call_named("UploadLayerPart", true, Some(&name), parameters);
    let found = find(&call, &name, id).await;
    let found = asked.end(&call, found).await?;
    progress(StatusCode::NO_CONTENT, &name, &found)
}

async fn find(call: &Call, name: &RepositoryName, id: &str) -> Result<Upload, Error> {
    let permit = call.repository("ecr:UploadLayerPart", &call.account, name).await?;
    let id = upload::parse_id(&permit, id)?;
    Ok(upload::status(call, &permit, id).await?)
}

/// `DELETE`: ends the upload.
pub(super) async fn cancel(
    asked: &Asked<'_>,
    name: &str,
    id: &str,
) -> Result<Response<Body>, Error> {
    let name = asked.name(name)?;
    let parameters = json!({ "uploadId": id });
    let call = asked.call_named("CancelLayerUpload", false, Some(&name), parameters);
    let done = cancel_upload(&call, &name, id).await;
    asked.end(&call, done).await?;
    answer(StatusCode::NO_CONTENT, [], Body::Empty)
}

async fn cancel_upload(call: &Call, name: &RepositoryName, id: &str) -> Result<(), Error> {
    let permit = call.repository("ecr:UploadLayerPart", &call.account, name).await?;
    let id = upload::parse_id(&permit, id)?;
    Ok(upload::cancel(call, &permit, id).await?)
}

/// Where an upload goes on, and how far it is. Of one without bytes `0-0` is told too: that is
/// how it was always written.
fn progress(
    status: StatusCode,
    name: &RepositoryName,
    upload: &Upload,
) -> Result<Response<Body>, Error> {
    let headers = [
        (header::LOCATION, format!("/v2/{name}/blobs/uploads/{}", upload.id)),
        (header::RANGE, format!("0-{}", upload.size.saturating_sub(1))),
        (answer::UPLOAD, upload.id.to_string()),
    ];
    answer(status, headers, Body::Empty)
}

fn created(name: &RepositoryName, digest: &Digest) -> Result<Response<Body>, Error> {
    let headers = [
        (header::LOCATION, format!("/v2/{name}/blobs/{digest}")),
        (answer::DIGEST, digest.to_string()),
    ];
    answer(StatusCode::CREATED, headers, Body::Empty)
}

/// What the client says of the bytes it sends: `Content-Range` is two places, both inclusive.
///
/// # Errors
/// `ContentRange` when it has another form, or is not as long as the body.
fn part(headers: &HeaderMap, length: Option<u64>) -> Result<Part, Error> {
    let Some(range) = headers.get(header::CONTENT_RANGE) else {
        return Ok(Part { plane: Plane::V2, start: None, length });
    };
    let (start, end) = range
        .to_str()
        .ok()
        .and_then(|range| range.split_once('-'))
        .and_then(|(start, end)| Some((number(start)?, number(end)?)))
        .filter(|(start, end)| start <= end)
        .ok_or(Error::ContentRange("Content-Range must satisfy '^[0-9]+-[0-9]+$'"))?;
    let stated = (end - start).saturating_add(1);
    if length.is_some_and(|length| length != stated) {
        return Err(Error::ContentRange("Content-Range is not as long as the body"));
    }
    Ok(Part { plane: Plane::V2, start: Some(start), length: Some(stated) })
}

fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn check(range: &str, length: Option<u64>, expected: Option<(u64, u64)>) {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_RANGE, HeaderValue::from_str(range).unwrap());
        let part = part(&headers, length).ok();
        let part = part.map(|part| (part.start.unwrap(), part.length.unwrap()));
        assert_eq!(part, expected, "{range} of {length:?}");
    }

    #[test]
    fn content_ranges() {
        check("0-9", Some(10), Some((0, 10)));
        check("5-9", None, Some((5, 5)));
        check("0-0", Some(1), Some((0, 1)));
        check("0-9", Some(9), None);
        for range in ["", "5", "0-", "-5", "5-3", "bytes 0-9", "0-9/10", "+0-9", " 0-9"] {
            check(range, Some(10), None);
        }
        check("0-99999999999999999999", None, None);
        check("0-18446744073709551615", None, Some((0, u64::MAX)));
    }

    #[test]
    fn without_a_range_the_body_says_it() {
        let part = part(&HeaderMap::new(), Some(7)).unwrap();
        assert_eq!((part.start, part.length), (None, Some(7)));
    }
}
