//! AWS Signature Version 4: who signed a request, and is the signature right.
//!
//! A server asks in two steps, so that it refuses as much as possible before it reads a body:
//!
//! 1. [`parse`] reads the head of a request. [`Parsed::check_time`] and [`Parsed::check_scope`]
//!    need nothing but configuration; then the caller looks up the access key.
//! 2. [`Parsed::verify`] needs the key and the SHA-256 of the body, which may have been computed
//!    while the body arrived. If the client stated the body's hash, [`Parsed::verify_head`] proves
//!    the signature without the body.
//!
//! [`Signer`] makes such signatures, for our own command line and for tests.
//!
//! **Invariant:** nothing here reads a clock, does I/O or takes more than `n log n` time in the
//! size of the head, which is limited ([`MAX_HEAD_BYTES`]).
//!
//! The signature covers the *normalised* path, except for S3: `//tags/./x` and `/tags/x` have the
//! same one. A server must therefore not give two spellings of a path different meanings.

mod authorization;
mod canonical;
mod error;
mod key;
mod parsed;
mod raw;
mod sign;
mod time;

#[cfg(test)]
mod examples;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod vectors;
pub use crate::sigv4::error::SigError;
pub use crate::sigv4::key::{SigningKey, sha256};
pub use crate::sigv4::parsed::{Parsed, Payload, Scope};
pub use crate::sigv4::raw::parse_bytes;
pub use crate::sigv4::sign::Signer;

use crate::sigv4::canonical::{Headers, Query, Rules};

/// Bytes of method, path, query, header names and values together.
pub const MAX_HEAD_BYTES: usize = 128 * 1024;

/// Header lines of a request.
pub const MAX_HEADERS: usize = 256;

/// Parameters of a query. An IAM or STS call as GET has a parameter for each list element.
pub const MAX_QUERY_PARAMETERS: usize = 2048;

/// How far a client's clock may be off, in minutes, for services that speak JSON.
pub const JSON_SKEW_MINUTES: u32 = 5;

/// How far a client's clock may be off, in minutes, for IAM and STS.
pub const QUERY_SKEW_MINUTES: u32 = 15;

/// The longest `X-Amz-Expires`, in seconds: one week.
pub const MAX_EXPIRES_SECONDS: u32 = 604_800;

/// How long a presigned request is accepted at most, in seconds, if it is not for S3; also how
/// long it is accepted if it does not say.
pub const MAX_PRESIGNED_SECONDS: u32 = 900;

/// The only algorithm there is here.
pub(crate) const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// What ends each credential scope.
pub(crate) const TERMINATOR: &str = "aws4_request";

/// What stands for the hash of a body that is not signed.
pub(crate) const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// The head of a request, as it came over the wire.
///
/// An HTTP/2 request has `:authority` in place of `Host`: give it as a header named `host`.
#[derive(Clone, Copy)]
pub struct RequestHead<'a> {
    /// The method, such as `POST`.
    pub method: &'a str,
    /// The path as sent, still percent-encoded.
    pub path: &'a str,
    /// The query as sent, without the question mark; empty if there is none.
    pub query: &'a str,
    /// All headers; those of one name in the order of their arrival. Names in any case.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// Whether the client came over TLS. Only then may S3 leave a body unsigned.
    pub tls: bool,
}

/// The skew, in minutes, that AWS reports for a service.
pub fn skew_minutes(service: &str) -> u32 {
    match service {
        "iam" | "sts" => QUERY_SKEW_MINUTES,
        _ => JSON_SKEW_MINUTES,
    }
}

/// Reads the authentication of a request, from its `Authorization` header or its query.
///
/// `None` is a request without any: [`SigError::MissingAuthentication`], unless the operation is
/// one that everybody may call. The checks come in the order in which AWS makes them, and end
/// with what can be known without a clock, a configuration and a key.
///
/// # Errors
///
/// The first thing that is wrong.
pub fn parse(head: &RequestHead<'_>) -> Result<Option<Parsed>, SigError> {
    parse_by(head, None)
}

/// Like [`parse`], with given rules instead of those of the service that is named in the scope.
fn parse_by(head: &RequestHead<'_>, rules: Option<Rules>) -> Result<Option<Parsed>, SigError> {
    check_size(head)?;
    canonical::check_target(head)?;
    let query = Query::parse(head.query)?;
    let headers = Headers::new(head.headers)?;
    let Some(claims) = authorization::find(&headers, &query)? else {
        return Ok(None);
    };
    Parsed::new(head, &headers, &query, claims, rules).map(Some)
}

fn check_size(head: &RequestHead<'_>) -> Result<(), SigError> {
    let headers = head.headers.iter().map(|(name, value)| name.len() + value.len());
    let size = head.method.len() + head.path.len() + head.query.len() + headers.sum::<usize>();
    if size > MAX_HEAD_BYTES || head.headers.len() > MAX_HEADERS {
        return Err(SigError::HeadTooLarge);
    }
    Ok(())
}
