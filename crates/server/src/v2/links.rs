//! `/v2/-/layer/<sealed>`: what GetDownloadUrlForLayer links to. No other credential is read.

use bonded_registry::layer::{LinkRequest, open_link};
use http::request::Parts;
use http::{Method, Response};

use super::Error;
use super::blobs::send;
use crate::body::Body;
use crate::exchange::Exchange;
use crate::service::{Service, note_caller};

/// Answers a download link; whatever is wrong with it is the challenge.
pub(super) async fn get(
    service: &Service,
    exchange: &Exchange,
    head: &Parts,
    sealed: &str,
    request: LinkRequest,
) -> Result<Response<Body>, Error> {
    if !matches!(head.method, Method::GET | Method::HEAD) {
        return Err(Error::Unauthorized);
    }
    let opened = open_link(&service.registry, sealed, request).await?;
    let opened = opened.ok_or(Error::Unauthorized)?;
    exchange.note(|log| {
        log.operation = Some(opened.call.operation);
        log.repository = Some(opened.permit.name.clone());
        log.digest = Some(opened.layer.digest.to_string());
    });
    note_caller(exchange, &opened.call.request);
    send(head, &opened.call, &opened.permit, &opened.layer).await
}
