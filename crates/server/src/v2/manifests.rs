//! `/v2/NAME/manifests/REFERENCE`: pulled, pushed and deleted.

use bonded_oci::convert::{self, Accept, Accepted};
use bonded_oci::{Reference, RepositoryName, Tag};
use bonded_registry::Call;
use bonded_registry::image::{self, Plane, Put, PutAnswer};
use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, header};
use serde_json::{Value, json};

use super::answer::{self, answer};
use super::error::MAX_MANIFEST;
use super::range::matches_etag;
use super::{Asked, Error};
use crate::body::{Body, RequestBody};
use crate::limits::Owner;
use crate::whole::{ReadError, hold};

/// Tags that one push can set beside its reference.
const MAX_TAGS: usize = 100;

/// A manifest as the client gets it.
struct Shown {
    digest: String,
    media_type: String,
    size: u64,
    /// None for `HEAD`, unless they had to be made.
    bytes: Option<Bytes>,
}

/// `GET` and `HEAD`. Only a `GET` moves the pull time.
pub(super) async fn get(
    asked: &Asked<'_>,
    name: &str,
    reference: &str,
) -> Result<Response<Body>, Error> {
    let name = asked.name(name)?;
    let reference = super::reference(reference)?;
    let parameters = json!({
        "imageIds": [image_id(&reference)],
        "acceptedMediaTypes": ranges(&asked.head.headers).map(essence).collect::<Vec<_>>(),
    });
    let call = asked.call("BatchGetImage", &name, parameters);
    let shown = show(asked, &call, &name, &reference).await;
    let shown = asked.end(&call, shown).await?;
    asked.note_digest(&shown.digest);

    let etag = format!("\"{}\"", shown.digest);
    if matches_etag(&asked.head.headers, &etag) {
        let headers = [(answer::DIGEST, shown.digest), (header::ETAG, etag)];
        return answer(StatusCode::NOT_MODIFIED, headers, Body::Empty);
    }
    let body = shown.bytes.filter(|_| asked.head.method != Method::HEAD);
    let headers = [
        (answer::DIGEST, shown.digest),
        (header::CONTENT_TYPE, shown.media_type),
        (header::CONTENT_LENGTH, shown.size.to_string()),
        (header::ETAG, etag),
        (header::VARY, "Accept".to_owned()),
    ];
    answer(StatusCode::OK, headers, body.map_or_else(|| Body::Empty, Body::from))
}

async fn show(
    asked: &Asked<'_>,
    call: &Call,
    name: &RepositoryName,
    reference: &Reference,
) -> Result<Shown, Error> {
    let (permit, found) = image::find_to_pull(call, &call.account, name, reference).await?;
    let missing = || image::reference_not_found(&permit, reference);
    let found = found.ok_or_else(missing)?;
    let row = &found.image;
    // What is asked for by digest is never converted (ecr.md C.11).
    let accept = match reference {
        Reference::Digest(_) => Accept::default(),
        Reference::Tag(_) => {
            Accept::of_media_types(&ranges(&asked.head.headers).collect::<Vec<_>>())
        }
    };
    if asked.head.method != Method::HEAD {
        let bytes = image::manifest_bytes(call, &permit, row).await?.ok_or_else(missing)?;
        image::pulled(call, &permit, &found).await?;
        let shown = converted(row.digest.clone(), row.media_type.clone(), bytes, &accept);
        return shown.ok_or_else(|| missing().into());
    }
    // The bytes matter only if they must be converted.
    if convert::as_accepted(&[], &row.media_type, &accept) == Accepted::AsIs {
        let size = u64::try_from(row.manifest_size).unwrap_or(0);
        let (digest, media_type) = (row.digest.clone(), row.media_type.clone());
        return Ok(Shown { digest, media_type, size, bytes: None });
    }
    let bytes = image::manifest_bytes(call, &permit, row).await?.ok_or_else(missing)?;
    let shown = converted(row.digest.clone(), row.media_type.clone(), bytes, &accept);
    shown.ok_or_else(|| missing().into())
}

/// The manifest in a form that the client accepts.
fn converted(digest: String, media_type: String, bytes: Bytes, accept: &Accept) -> Option<Shown> {
    let (digest, media_type, bytes) = match convert::as_accepted(&bytes, &media_type, accept) {
        Accepted::AsIs => (digest, media_type, bytes),
        Accepted::Converted { digest, media_type, bytes } => {
            (digest.to_string(), media_type, bytes.into())
        }
        Accepted::None => return None,
    };
    Some(Shown { digest, media_type, size: length(&bytes), bytes: Some(bytes) })
}

/// The media ranges of all `Accept` headers, with their parameters.
fn ranges(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|range| !range.is_empty())
}

/// A media type without its parameters.
fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

/// `PUT`: the manifest under its reference, and under every `?tag=`.
pub(super) async fn put(
    asked: &Asked<'_>,
    name: &str,
    reference: &str,
    body: &mut RequestBody,
) -> Result<Response<Body>, Error> {
    let name = asked.name(name)?;
    let reference = super::reference(reference)?;
    let tags = tags(asked, &reference)?;
    // The manifest itself is kept sealed, and records are not.
    let parameters = json!({ "imageTag": tags.first().map(Tag::as_str) });
    let call = asked.call("PutImage", &name, parameters);
    let done = store(asked, &call, &name, (reference, tags.clone()), body).await;
    let done = asked.end(&call, done).await?;
    let digest = done.digest.to_string();
    asked.note_digest(&digest);

    let location = format!("/v2/{name}/manifests/{digest}");
    let headers = [(header::LOCATION, location), (answer::DIGEST, digest)];
    let mut response = answer(StatusCode::CREATED, headers, Body::Empty)?;
    if let Some(subject) = &done.subject {
        let subject = answer::value_of(&subject.to_string())?;
        response.headers_mut().insert(answer::SUBJECT, subject);
    }
    if asked.query.first("tag").is_some() {
        let names: Vec<_> = tags.iter().map(Tag::as_str).collect();
        response.headers_mut().insert(answer::TAG, answer::value_of(&names.join(", "))?);
    }
    Ok(response)
}

/// The tags that a push sets, each once.
fn tags(asked: &Asked<'_>, reference: &Reference) -> Result<Vec<Tag>, Error> {
    let mut tags = Vec::new();
    if let Reference::Tag(tag) = reference {
        tags.push(tag.clone());
    }
    for text in asked.query.all("tag") {
        let tag: Tag = text.parse().map_err(|_| Error::TagInvalid)?;
        if !tags.contains(&tag) {
            tags.push(tag);
        }
        if tags.len() > MAX_TAGS {
            return Err(Error::TooManyTags(MAX_TAGS));
        }
    }
    Ok(tags)
}

async fn store(
    asked: &Asked<'_>,
    call: &Call,
    name: &RepositoryName,
    (reference, tags): (Reference, Vec<Tag>),
    body: &mut RequestBody,
) -> Result<PutAnswer, Error> {
    let permit = call.repository("ecr:PutImage", &call.account, name).await?;
    let owner = Owner::new(asked.exchange.client, &asked.request.caller.access_key_id);
    let held = hold(&asked.service.bodies, &owner, body, MAX_MANIFEST, |_| {}).await;
    let mut held = held.map_err(|error| match error {
        ReadError::TooLarge => Error::ManifestTooLarge,
        ReadError::BrokenOff => Error::BrokenOff,
        ReadError::TooSlow => Error::TooSlow,
    })?;
    let bytes = Bytes::from(std::mem::take(&mut held.bytes));
    let media_type = asked.head.headers.get(header::CONTENT_TYPE);
    let media_type = media_type.and_then(|value| value.to_str().ok()).map(essence);
    let digest = match reference {
        Reference::Digest(digest) => Some(digest),
        Reference::Tag(_) => None,
    };
    let media_type = media_type.filter(|kind| !kind.is_empty()).map(str::to_owned);
    let put = Put { plane: Plane::V2, bytes, media_type, tags, digest };
    Ok(image::put(call, &permit, put).await?)
}

/// `DELETE`: a tag, and the image stays; or an image with all its tags.
pub(super) async fn delete(
    asked: &Asked<'_>,
    name: &str,
    reference: &str,
) -> Result<Response<Body>, Error> {
    let name = asked.name(name)?;
    let reference = super::reference(reference)?;
    let parameters = json!({ "imageIds": [image_id(&reference)] });
    let call = asked.call("BatchDeleteImage", &name, parameters);
    let done = remove(&call, &name, &reference).await;
    let digest = asked.end(&call, done).await?;
    asked.note_digest(&digest);
    answer(StatusCode::ACCEPTED, [], Body::Empty)
}

async fn remove(
    call: &Call,
    name: &RepositoryName,
    reference: &Reference,
) -> Result<String, Error> {
    let permit = call.repository("ecr:BatchDeleteImage", &call.account, name).await?;
    let deleted = match reference {
        Reference::Digest(digest) => image::delete_by_digest(call, &permit, digest).await?,
        Reference::Tag(tag) => image::delete_tag(call, &permit, tag, None, true).await?,
    };
    Ok(deleted.digest)
}

fn image_id(reference: &Reference) -> Value {
    match reference {
        Reference::Digest(digest) => json!({ "imageDigest": digest.to_string() }),
        Reference::Tag(tag) => json!({ "imageTag": tag.as_str() }),
    }
}

fn length(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn accept_headers_are_joined() {
        let mut headers = HeaderMap::new();
        headers.append(header::ACCEPT, HeaderValue::from_static("a/b; q=0.5, c/d"));
        headers.append(header::ACCEPT, HeaderValue::from_static("*/*,"));
        let ranges: Vec<_> = ranges(&headers).collect();
        assert_eq!(ranges, ["a/b; q=0.5", "c/d", "*/*"]);
    }
}
