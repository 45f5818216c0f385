//! Who signed a request to an API, in the order in which AWS checks it.
//!
//! All that can be known without the body is known before its first byte is read: the form, the
//! clock, the scope, and that the access key exists and is active. The signature is then proven
//! from the head, when the client stated the body's hash, or from the body.

use bonded_account::Caller;
use bonded_iam::sigv4::{self, Parsed, RequestHead, SigError, SigningKey};
use bonded_registry as registry;
use http::request::Parts;
use jiff::Timestamp;

use crate::service::Service;

/// Why a request's signature is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(transparent)]
    Signature(#[from] SigError),

    #[error(transparent)]
    Failed(#[from] registry::Error),
}

/// A request whose signer is known; [`Signed::verify`] proves it.
pub(crate) struct Signed {
    pub(crate) caller: Caller,
    pub(crate) region: String,
    parsed: Parsed,
    key: SigningKey,
}

/// Checks all of a signature that needs no body.
///
/// # Errors
/// The first thing that is wrong, in AWS's order.
pub(crate) async fn signer(
    service: &Service,
    name: &str,
    head: &Parts,
    tls: bool,
) -> Result<Signed, Refusal> {
    let parsed = parse(head, tls)?.ok_or(SigError::MissingAuthentication)?;
    let now = Timestamp::from_microsecond(service.registry.now())
        .map_err(|error| registry::Error::Internal(error.into()))?;
    parsed.check_time(now, sigv4::skew_minutes(name))?;
    let regions: Vec<&str> = service.registry.stores.keys().map(String::as_str).collect();
    parsed.check_scope(name, &regions)?;

    let services = &service.registry.services;
    let known = services
        .access_key(&parsed.access_key_id)
        .await
        .map_err(registry::Error::from)?
        // A session token comes with temporary keys, and these are none.
        .filter(|_| parsed.session_token.is_none());
    let Some(known) = known else { return Err(parsed.verify_unknown().into()) };
    let key = parsed.derive_key(&known.secret);
    parsed.verify_head(&key)?;
    Ok(Signed { caller: known.caller, region: parsed.scope.region.clone(), parsed, key })
}

impl Signed {
    /// Proves the signature with the hash of the body that was read.
    pub(crate) fn verify(&self, body_sha256: &[u8; 32]) -> Result<(), SigError> {
        self.parsed.verify(&self.key, body_sha256)
    }
}

fn parse(head: &Parts, tls: bool) -> Result<Option<Parsed>, SigError> {
    let mut headers: Vec<(&str, &[u8])> =
        head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    // HTTP/2 has the host in its target.
    if let (None, Some(authority)) = (head.headers.get("host"), head.uri.authority()) {
        headers.push(("host", authority.as_str().as_bytes()));
    }
    sigv4::parse(&RequestHead {
        method: head.method.as_str(),
        path: head.uri.path(),
        query: head.uri.query().unwrap_or_default(),
        headers: &headers,
        tls,
    })
}
