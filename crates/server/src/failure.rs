//! Failures of ours: logged once, where the response is written.

use bonded_registry::Error;

use crate::request_id::RequestId;

/// Logs what is not the caller's fault, with its whole chain of causes. The caller is told no
/// more than the request's id.
pub(crate) fn log(error: &Error, request_id: RequestId) {
    match error {
        Error::Internal(cause) => failed(&format!("{cause:#}"), request_id),
        Error::Unavailable(cause) => unavailable(&format!("{cause:#}"), request_id),
        Error::Account(error) => log_account(error, request_id),
        _ => {}
    }
}

/// The same for an error of the account's services.
pub(crate) fn log_account(error: &bonded_account::Error, request_id: RequestId) {
    let Some(cause) = &error.cause else { return };
    match error.status {
        503 => unavailable(&format!("{cause:#}"), request_id),
        _ => failed(&format!("{cause:#}"), request_id),
    }
}

fn failed(error: &str, request_id: RequestId) {
    tracing::error!(%request_id, error, "request failed");
}

fn unavailable(error: &str, request_id: RequestId) {
    tracing::warn!(%request_id, error, "database unavailable");
}
