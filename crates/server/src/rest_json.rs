//! AWS REST-JSON: no service that speaks it is built yet, so every path is one that is not known.

use http::{HeaderValue, Response, StatusCode, header};

use crate::body::Body;
use crate::exchange::Exchange;

/// Answers a path that no protocol knows.
pub(crate) fn unknown_operation(exchange: &Exchange) -> Response<Body> {
    exchange.note(|log| log.error = Some("UnknownOperationException"));
    let mut response = Response::new(Body::from("{\"message\":\"Unknown operation\"}"));
    *response.status_mut() = StatusCode::NOT_FOUND;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let exception = HeaderValue::from_static("UnknownOperationException");
    headers.insert("x-amzn-errortype", exception);
    response
}
