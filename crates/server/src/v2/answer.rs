//! Answers of `/v2/`.

use bonded_registry::{self as registry, Registry};
use http::{HeaderName, HeaderValue, Response, StatusCode, header};

use super::Error;
use crate::body::Body;

pub(crate) const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
pub(crate) const UPLOAD: HeaderName = HeaderName::from_static("docker-upload-uuid");
pub(crate) const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
pub(crate) const TAG: HeaderName = HeaderName::from_static("oci-tag");
pub(crate) const FILTERS: HeaderName = HeaderName::from_static("oci-filters-applied");

/// An answer with these headers.
pub(crate) fn answer<const N: usize>(
    status: StatusCode,
    headers: [(HeaderName, String); N],
    body: Body,
) -> Result<Response<Body>, Error> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    for (name, value) in headers {
        response.headers_mut().insert(name, value_of(&value)?);
    }
    Ok(response)
}

/// A header's value, from what was checked when it was pushed.
pub(crate) fn value_of(text: &str) -> Result<HeaderValue, Error> {
    let value = HeaderValue::from_str(text);
    value.map_err(|error| registry::Error::Internal(error.into()).into())
}

/// A page of a list.
pub(crate) fn json(
    content_type: &'static str,
    value: &impl serde::Serialize,
    next: Option<HeaderValue>,
) -> Result<Response<Body>, Error> {
    let text = serde_json::to_vec(value)
        .map_err(|error| Error::from(registry::Error::Internal(error.into())))?;
    let headers = [(header::CONTENT_TYPE, content_type.to_owned())];
    let mut response = answer(StatusCode::OK, headers, Body::from(text))?;
    if let Some(next) = next {
        response.headers_mut().insert(header::LINK, next);
    }
    Ok(response)
}

/// What everybody is told who has no good credentials, whatever he asked for.
pub(crate) fn challenge(registry: &Registry, account: &str, region: &str) -> Response<Body> {
    let realm = (registry.endpoints)(account, region).url;
    let challenge = format!("Basic realm=\"{realm}/\",service=\"ecr.amazonaws.com\"");
    let mut response = Response::new(Body::from("Not Authorized\n"));
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    let headers = response.headers_mut();
    if let Ok(challenge) = HeaderValue::from_str(&challenge) {
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, plain);
    response
}
