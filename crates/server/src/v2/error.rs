//! Why a request to `/v2/` failed, and its wire form.
//!
//! What this plane reads itself (paths, queries, headers) fails in terms of its own; the rest is
//! the registry's error. Status and code follow the OCI specification where ECR differs.

use bonded_registry as registry;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::json;

use crate::body::Body;
use crate::exchange::Exchange;
use crate::failure;
use crate::names::NotServed;

/// The longest manifest, in bytes.
pub(crate) const MAX_MANIFEST: usize = 4 * 1024 * 1024;

/// Why a request to `/v2/` is not answered as it was meant.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// No credentials, or none that are good: the challenge, the same for every path.
    #[error("Not Authorized")]
    Unauthorized,

    #[error("Your authorization token has expired. Reauthenticate and try again.")]
    TokenExpired,

    #[error(
        "Your authorization token is for the region {token}, and this registry is in the region \
         {here}. Get one for {here} and try again."
    )]
    TokenOfRegion { token: String, here: String },

    /// The host names a registry that is not here.
    #[error(transparent)]
    NotServed(NotServed),

    #[error("There is no such path in the registry API")]
    NoRoute,

    /// Holds the methods that the resource has.
    #[error("The resource has the methods {0} only")]
    NoMethod(&'static str),

    #[error("The repository name is not valid: it must satisfy '{pattern}' and have 2 to 256 \
             characters", pattern = registry::check::REPOSITORY_NAME)]
    NameInvalid,

    /// Holds what should have been there.
    #[error("{0}")]
    DigestInvalid(&'static str),

    #[error("A tag must satisfy '[a-zA-Z0-9_][a-zA-Z0-9._-]{{0,127}}'")]
    TagInvalid,

    #[error("At most {0} tags can be pushed at once")]
    TooManyTags(usize),

    /// A `Content-Range` that is none, or not the body's.
    #[error("{0}")]
    ContentRange(&'static str),

    /// The client is gone, or was too slow: the answer is for nobody.
    #[error("The body broke off")]
    BrokenOff,

    #[error("The body comes too slowly while others wait")]
    TooSlow,

    #[error("n must be a number of entries, zero or more")]
    PageInvalid,

    #[error("A manifest can have at most {MAX_MANIFEST} bytes")]
    ManifestTooLarge,

    /// A range without a byte of the blob.
    #[error("The blob has {size} bytes, and none in this range")]
    RangeUnsatisfiable { size: u64 },

    #[error(transparent)]
    Registry(Box<registry::Error>),
}

impl From<registry::Error> for Error {
    fn from(error: registry::Error) -> Error {
        Error::Registry(Box::new(error))
    }
}

impl Error {
    /// Status, code and message. The challenge has neither code nor JSON.
    fn parts(&self) -> (StatusCode, &'static str, String) {
        let (status, code) = match self {
            Error::Unauthorized => (StatusCode::UNAUTHORIZED, "UNAUTHORIZED"),
            Error::TokenExpired | Error::TokenOfRegion { .. } => (StatusCode::FORBIDDEN, "DENIED"),
            Error::NotServed(_) => (StatusCode::NOT_FOUND, "NAME_UNKNOWN"),
            Error::NoRoute => (StatusCode::NOT_FOUND, "UNSUPPORTED"),
            Error::NoMethod(_) => (StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED"),
            Error::NameInvalid => (StatusCode::BAD_REQUEST, "NAME_INVALID"),
            Error::DigestInvalid(_) => (StatusCode::BAD_REQUEST, "DIGEST_INVALID"),
            Error::TagInvalid => (StatusCode::BAD_REQUEST, "TAG_INVALID"),
            Error::TooManyTags(_) => (StatusCode::URI_TOO_LONG, "TAG_INVALID"),
            Error::ContentRange(_) => (StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID"),
            Error::BrokenOff => (StatusCode::BAD_REQUEST, "SIZE_INVALID"),
            Error::TooSlow => (StatusCode::REQUEST_TIMEOUT, "TOOMANYREQUESTS"),
            Error::PageInvalid => (StatusCode::BAD_REQUEST, "PAGINATION_NUMBER_INVALID"),
            Error::ManifestTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "MANIFEST_INVALID"),
            Error::RangeUnsatisfiable { .. } => (StatusCode::RANGE_NOT_SATISFIABLE, "SIZE_INVALID"),
            Error::Registry(error) => return registry_parts(error),
        };
        (status, code, self.to_string())
    }

    /// Whether the caller's key or principal is gone: then he gets the challenge.
    pub(crate) fn is_unauthorized(&self) -> bool {
        self.parts().0 == StatusCode::UNAUTHORIZED
    }

    /// The answer. An error of ours is logged here, and nowhere else.
    pub(crate) fn into_response(self, exchange: &Exchange) -> Response<Body> {
        if let Error::Registry(error) = &self {
            failure::log(error, exchange.id);
        }
        let (status, code, message) = self.parts();
        exchange.note(|log| log.error = Some(code));
        let body = json!({ "errors": [{ "code": code, "message": message }] });
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        match &self {
            Error::NoMethod(methods) => {
                headers.insert(header::ALLOW, HeaderValue::from_static(methods));
            }
            Error::RangeUnsatisfiable { size } => {
                let range = HeaderValue::from_str(&format!("bytes */{size}"));
                headers.insert(header::CONTENT_RANGE, range.expect("digits are a header's value"));
            }
            Error::Registry(error) => {
                if let registry::Error::InvalidLayerPart { received, .. } = &**error {
                    let range = format!("0-{}", received.saturating_sub(1));
                    let range = HeaderValue::from_str(&range);
                    headers.insert(header::RANGE, range.expect("digits are a header's value"));
                }
            }
            _ => {}
        }
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// Status, code and message of what the registry says.
fn registry_parts(error: &registry::Error) -> (StatusCode, &'static str, String) {
    use registry::Error as E;
    let (status, code) = match error {
        E::InvalidParameter { .. }
        | E::InvalidRequest(_)
        | E::Validation(_)
        | E::RepositoryNotEmpty { .. }
        | E::TooManyTags(_)
        | E::InvalidTagParameter(_)
        | E::ExclusionAlreadyExists(_)
        | E::Serialization(_) => (StatusCode::BAD_REQUEST, "UNSUPPORTED"),
        E::InvalidManifest(_) => (StatusCode::BAD_REQUEST, "MANIFEST_INVALID"),
        E::RepositoryNotFound { .. } => (StatusCode::NOT_FOUND, "NAME_UNKNOWN"),
        E::RepositoryAlreadyExists { .. } => (StatusCode::CONFLICT, "DENIED"),
        E::RepositoryPolicyNotFound { .. }
        | E::RegistryPolicyNotFound { .. }
        | E::ExclusionNotFound(_)
        | E::UnknownOperation => (StatusCode::NOT_FOUND, "UNSUPPORTED"),
        E::ImageNotFound { .. } => (StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"),
        E::ImageAlreadyExists { .. } | E::ImageTagAlreadyExists { .. } => {
            (StatusCode::BAD_REQUEST, "TAG_INVALID")
        }
        E::ImageDigestDoesNotMatch { .. } | E::InvalidLayer => {
            (StatusCode::BAD_REQUEST, "DIGEST_INVALID")
        }
        E::LayersNotFound { .. } | E::ReferencedImagesNotFound { .. } => {
            (StatusCode::NOT_FOUND, "MANIFEST_BLOB_UNKNOWN")
        }
        E::LayerNotFound { .. } | E::LayerInaccessible { .. } => {
            (StatusCode::NOT_FOUND, "BLOB_UNKNOWN")
        }
        E::LayerAlreadyExists { .. } => (StatusCode::CONFLICT, "BLOB_UPLOAD_INVALID"),
        E::InvalidLayerPart { .. } => (StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID"),
        E::LayerPartTooSmall | E::EmptyUpload { .. } => {
            (StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID")
        }
        E::UploadNotFound { .. } => (StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN"),
        E::LimitExceeded(_) | E::Kms { .. } | E::AccessDenied(_) => {
            (StatusCode::FORBIDDEN, "DENIED")
        }
        E::TooManyRequests(_) => (StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS"),
        E::Referenced(_) => (StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED"),
        E::NoSpace => (StatusCode::INSUFFICIENT_STORAGE, "UNKNOWN"),
        E::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "UNKNOWN"),
        E::Account(error) => account_parts(error),
        E::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN"),
    };
    let message = match error {
        // The sentence of the API names the image as the API does, with `null` for a missing tag.
        E::ImageNotFound { .. } => "Requested image not found".to_owned(),
        error => error.to_string(),
    };
    (status, code, message)
}

/// A key or principal that is gone is as good as no credentials.
fn account_parts(error: &bonded_account::Error) -> (StatusCode, &'static str) {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match error.exception {
        "UnrecognizedClientException" => (StatusCode::UNAUTHORIZED, "UNAUTHORIZED"),
        _ if status.is_server_error() => (status, "UNKNOWN"),
        _ => (status, "DENIED"),
    }
}
