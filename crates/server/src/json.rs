//! AWS JSON 1.1, in and out: the ECR API.
//!
//! **Invariant:** before a byte of the body is read, the operation is known, the length is within
//! the operation's limit, and the signature's form, clock and scope are good and name an access
//! key that exists and is active.

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use bonded_account::Request;
use bonded_iam::sigv4::SigError;
use bonded_registry::{self as registry, Call, ecr};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::auth::sigv4::{Refusal, signer};
use crate::body::{Body, RequestBody};
use crate::exchange::Exchange;
use crate::failure;
use crate::limits::Owner;
use crate::service::{Service, note_caller, origin};
use crate::whole::{ReadError, hold, length};

/// What comes before the operation's name in `X-Amz-Target`.
const ECR: &str = "AmazonEC2ContainerRegistry_V20150921.";
const CONTENT_TYPE: &str = "application/x-amz-json-1.1";

const MIB: usize = 1024 * 1024;
/// Of most operations, and of all bodies that do not tell their length.
const MAX_BODY: usize = MIB;
/// A part of at most 20 MiB, in Base64.
const MAX_LAYER_PART: usize = 28 * MIB;
/// A manifest of at most 4 MiB, as a JSON string.
const MAX_IMAGE: usize = 9 * MIB;

/// Why a call is not answered with its output.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("Unknown operation")]
    UnknownOperation,

    #[error("The request's body is longer than {0} bytes")]
    TooLarge(usize),

    /// The body broke off: the answer is for nobody.
    #[error("The request's body could not be read")]
    BrokenOff,

    #[error("The request's body comes too slowly while others wait")]
    TooSlow,

    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Answers a request with an `X-Amz-Target`.
pub(crate) async fn answer(
    service: &Service,
    exchange: &Exchange,
    head: &Parts,
    target: &str,
    body: &mut RequestBody,
) -> Response<Body> {
    match run(service, exchange, head, target, body).await {
        Ok(output) => response(StatusCode::OK, output),
        Err(error) => error_response(&error, exchange),
    }
}

async fn run(
    service: &Service,
    exchange: &Exchange,
    head: &Parts,
    target: &str,
    body: &mut RequestBody,
) -> Result<Vec<u8>, Error> {
    let name = target.strip_prefix(ECR).unwrap_or_default();
    let (operation, read_only) = ecr::find(name).ok_or(Error::UnknownOperation)?;
    exchange.note(|log| log.operation = Some(operation));
    let limit = limit(operation, length(body)).map_err(Error::TooLarge)?;
    let signed = signer(service, "ecr", head, exchange.secure).await?;
    let mut hash = Context::new(&SHA256);
    let owner = Owner::new(exchange.client, &signed.caller.access_key_id);
    let held = hold(&service.bodies, &owner, body, limit, |frame| hash.update(frame)).await;
    let held = held.map_err(|error| match error {
        ReadError::TooLarge => Error::TooLarge(limit),
        ReadError::BrokenOff => Error::BrokenOff,
        ReadError::TooSlow => Error::TooSlow,
    })?;
    let mut body_sha256 = [0; 32];
    body_sha256.copy_from_slice(hash.finish().as_ref());
    signed.verify(&body_sha256).map_err(Refusal::from)?;

    let registry = Arc::clone(&service.registry);
    let services = Arc::clone(&registry.services);
    let account = signed.caller.account.parse().map_err(|_| no_account(&signed.caller.account))?;
    exchange.note(|log| log.account = Some(signed.caller.account.clone()));
    let (id, origin) = (exchange.id.uuid(), origin(exchange, head));
    let request = Request::new(services, id, signed.region, signed.caller, origin);
    let request = Arc::new(request);
    let call = Call::begin(registry, Arc::clone(&request), account, operation, read_only);
    let output = ecr::run(&call, held.bytes).await;
    call.end(&output).await;
    note_caller(exchange, &request);
    if let Some((_, name)) = call.resource_arn().as_deref().and_then(repository) {
        exchange.note(|log| log.repository = Some(name.to_owned()));
    }
    Ok(output.map_err(Refusal::from)?)
}

/// What stands before and after `:repository/` in an ARN.
fn repository(arn: &str) -> Option<(&str, &str)> {
    arn.split_once(":repository/")
}

fn no_account(text: &str) -> Refusal {
    registry::Error::Internal(anyhow::anyhow!("`{text}` is no account id")).into()
}

/// How long a body may be, if its length is within that; else that limit as the error.
fn limit(operation: &str, length: Option<u64>) -> Result<usize, usize> {
    let limit = match operation {
        "UploadLayerPart" => MAX_LAYER_PART,
        "PutImage" => MAX_IMAGE,
        _ => MAX_BODY,
    };
    match length {
        None => Ok(MAX_BODY),
        Some(length) if usize::try_from(length).is_ok_and(|length| length <= limit) => Ok(limit),
        Some(_) => Err(limit),
    }
}

fn response(status: StatusCode, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let kind = HeaderValue::from_static(CONTENT_TYPE);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn error_response(error: &Error, exchange: &Exchange) -> Response<Body> {
    let (status, exception) = match error {
        Error::UnknownOperation => (StatusCode::BAD_REQUEST, "UnknownOperationException"),
        Error::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLargeException"),
        Error::BrokenOff => (StatusCode::BAD_REQUEST, "MalformedHttpRequestException"),
        // The SDKs try this one again.
        Error::TooSlow => (StatusCode::REQUEST_TIMEOUT, "RequestTimeoutException"),
        Error::Refused(Refusal::Signature(SigError::MalformedRequest)) => {
            // AWS says nothing to what is no HTTP.
            let mut response = Response::new(Body::Empty);
            *response.status_mut() = StatusCode::BAD_REQUEST;
            return response;
        }
        Error::Refused(Refusal::Signature(error)) => (StatusCode::BAD_REQUEST, error.json_code()),
        Error::Refused(Refusal::Failed(error)) => {
            failure::log(error, exchange.id);
            (status(error), error.exception())
        }
    };
    exchange.note(|log| log.error = Some(exception));
    let mut body = Map::new();
    body.insert("__type".to_owned(), exception.into());
    body.insert("message".to_owned(), error.to_string().into());
    if let Error::Refused(Refusal::Failed(error)) = error {
        add_members(error, &mut body);
    }
    let mut response = response(status, Value::Object(body).to_string());
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// What an exception has beside its message.
fn add_members(error: &registry::Error, body: &mut Map<String, Value>) {
    let mut add = |name: &str, value: Value| body.insert(name.to_owned(), value);
    match error {
        registry::Error::InvalidLayerPart { received, upload_id, name, registry_id, .. } => {
            add("registryId", json!(registry_id));
            add("repositoryName", json!(name));
            add("uploadId", json!(upload_id));
            // Nothing has come yet: there is no last byte.
            if let Some(last) = received.checked_sub(1) {
                add("lastValidByteReceived", json!(last));
            }
        }
        registry::Error::Kms { kms_error } => {
            add("kmsError", json!(kms_error));
        }
        _ => {}
    }
}

/// Everything is a 400 in this protocol but what is not the caller's fault.
fn status(error: &registry::Error) -> StatusCode {
    use registry::Error as E;
    match error {
        E::InvalidParameter { .. }
        | E::InvalidRequest(_)
        | E::InvalidManifest(_)
        | E::Validation(_)
        | E::RepositoryNotFound { .. }
        | E::RepositoryAlreadyExists { .. }
        | E::RepositoryNotEmpty { .. }
        | E::RepositoryPolicyNotFound { .. }
        | E::RegistryPolicyNotFound { .. }
        | E::ImageNotFound { .. }
        | E::ImageAlreadyExists { .. }
        | E::ImageTagAlreadyExists { .. }
        | E::ImageDigestDoesNotMatch { .. }
        | E::LayersNotFound { .. }
        | E::LayerNotFound { .. }
        | E::ReferencedImagesNotFound { .. }
        | E::LayerInaccessible { .. }
        | E::LayerAlreadyExists { .. }
        | E::InvalidLayer
        | E::InvalidLayerPart { .. }
        | E::LayerPartTooSmall
        | E::EmptyUpload { .. }
        | E::UploadNotFound { .. }
        | E::LimitExceeded(_)
        | E::TooManyRequests(_)
        | E::NoSpace
        | E::TooManyTags(_)
        | E::InvalidTagParameter(_)
        | E::ExclusionAlreadyExists(_)
        | E::ExclusionNotFound(_)
        | E::Kms { .. }
        | E::Referenced(_)
        | E::AccessDenied(_)
        | E::UnknownOperation
        | E::Serialization(_) => StatusCode::BAD_REQUEST,
        E::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        E::Account(error) => {
            StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
        }
        E::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_a_limit() {
        assert_eq!(limit("PutImage", Some(9 << 20)).unwrap(), MAX_IMAGE);
        assert_eq!(limit("UploadLayerPart", Some(28 << 20)).unwrap(), MAX_LAYER_PART);
        assert!(limit("UploadLayerPart", Some((28 << 20) + 1)).is_err());
        assert!(limit("DescribeImages", Some((1 << 20) + 1)).is_err());
        assert_eq!(limit("UploadLayerPart", None).unwrap(), MAX_BODY);
    }
}
