//! `/v2/-/layer/<sealed>`: what GetDownloadUrlForLayer links to. No other credential is read.

use bonded_registry::layer::{LinkRequest, open_link};
use http::Method;
use http::request::Parts;

use super::Error;
use super::blobs::send;
use crate::arrival::Arrival;
use crate::body::Response;
use crate::service::Service;

/// Answers a download link; whatever is wrong with it is the challenge.
pub(super) async fn get(
    service: &Service,
    arrival: &Arrival,
    head: &Parts,
    sealed: &str,
    request: LinkRequest,
) -> Result<Response, Error> {
    if !matches!(head.method, Method::GET | Method::HEAD) {
        return Err(Error::Unauthorized);
    }
    let opened = open_link(&service.registry, sealed, request).await?;
    let opened = opened.ok_or(Error::Unauthorized)?;
    {
        let mut seen = arrival.seen();
        seen.operation = Some(opened.call.operation);
        seen.repository = Some(opened.permit.name.clone());
        seen.digest = Some(opened.layer.digest.to_string());
    }
    arrival.note_caller(&opened.call.request);
    send(head, &opened.call, &opened.permit, &opened.layer).await
}
