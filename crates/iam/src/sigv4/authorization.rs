//! Finds what a request says of its signature, in its header or its query.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;

use crate::sigv4::canonical::{Headers, Query};
use crate::sigv4::error::{SigError, echo};
use crate::sigv4::{ALGORITHM, MAX_EXPIRES_SECONDS, sha256, time};

/// The longest word, in bytes, that is repeated as the name of an algorithm. A longer one may be
/// a token that was sent without its scheme.
const MAX_ALGORITHM_BYTES: usize = 24;

/// What is claimed, before any of it is checked.
pub(super) struct Claims {
    pub(super) credential: String,
    /// As sent, parted by semicolons.
    pub(super) signed_headers: String,
    pub(super) signature: String,
    pub(super) time: Timestamp,
    pub(super) session_token: Option<String>,
    pub(super) presigned: bool,
    pub(super) expires_seconds: Option<u32>,
}

/// The claims of a request, or `None` if it makes none.
pub(super) fn find(headers: &Headers<'_>, query: &Query) -> Result<Option<Claims>, SigError> {
    let authorization = headers.single("authorization")?;
    let algorithm = query.first("X-Amz-Algorithm");
    match (authorization, algorithm) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(SigError::AmbiguousAuthentication),
        (Some(authorization), None) => from_header(&authorization, headers).map(Some),
        (None, Some(algorithm)) => from_query(&algorithm, query).map(Some),
    }
}

fn from_header(authorization: &str, headers: &Headers<'_>) -> Result<Claims, SigError> {
    let parts = |c: char| c == ',' || c.is_ascii_whitespace();
    let (algorithm, parameters) = authorization.split_once(parts).unwrap_or((authorization, ""));
    check_algorithm(algorithm)?;

    let (mut credential, mut signature, mut signed_headers) = (None, None, None);
    for piece in parameters.split(parts).filter(|piece| !piece.is_empty()) {
        let (name, value) = piece
            .split_once('=')
            .ok_or_else(|| SigError::MalformedAuthorization(hashed(authorization)))?;
        match name {
            // The last one wins if there are several.
            "Credential" => credential = non_empty(value.to_owned()),
            "Signature" => signature = non_empty(value.to_owned()),
            "SignedHeaders" => signed_headers = non_empty(value.to_owned()),
            _ => {}
        }
    }
    let date = match headers.single("x-amz-date")? {
        Some(date) => Some(date),
        None => headers.single("date")?,
    };
    match (credential, signature, signed_headers, date) {
        (Some(credential), Some(signature), Some(signed_headers), Some(date)) => Ok(Claims {
            credential,
            signed_headers,
            signature,
            time: time::parse_header(&date).ok_or_else(|| SigError::InvalidDate(echo(&date)))?,
            session_token: headers.single("x-amz-security-token")?,
            presigned: false,
            expires_seconds: None,
        }),
        (credential, signature, signed_headers, date) => {
            let parameter = |name| format!("Authorization header requires '{name}' parameter.");
            let mut sentences = Vec::new();
            sentences.extend(credential.is_none().then(|| parameter("Credential")));
            sentences.extend(signature.is_none().then(|| parameter("Signature")));
            sentences.extend(signed_headers.is_none().then(|| parameter("SignedHeaders")));
            sentences.extend(date.is_none().then(|| {
                "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' \
                 header."
                    .to_owned()
            }));
            sentences.push(format!(
                "(Hashed with SHA-256 and encoded with Base64) Authorization={}",
                hashed(authorization)
            ));
            Err(SigError::MissingParameters(sentences.join(" ")))
        }
    }
}

fn from_query(algorithm: &str, query: &Query) -> Result<Claims, SigError> {
    check_algorithm(algorithm)?;
    let parameter = |name| query.first(name).and_then(non_empty);
    let credential = parameter("X-Amz-Credential");
    let signature = parameter("X-Amz-Signature");
    let signed_headers = parameter("X-Amz-SignedHeaders");
    let date = parameter("X-Amz-Date");
    match (credential, signature, signed_headers, date) {
        (Some(credential), Some(signature), Some(signed_headers), Some(date)) => Ok(Claims {
            credential,
            signed_headers,
            signature,
            time: time::parse_basic(&date).ok_or_else(|| SigError::InvalidDate(echo(&date)))?,
            session_token: parameter("X-Amz-Security-Token"),
            presigned: true,
            expires_seconds: query.first("X-Amz-Expires").map(|it| expires(&it)).transpose()?,
        }),
        (credential, signature, signed_headers, date) => {
            let parameter =
                |name| format!("AWS query-string parameters must include 'X-Amz-{name}'.");
            let mut sentences = Vec::new();
            sentences.extend(credential.is_none().then(|| parameter("Credential")));
            sentences.extend(signature.is_none().then(|| parameter("Signature")));
            sentences.extend(signed_headers.is_none().then(|| parameter("SignedHeaders")));
            sentences.extend(date.is_none().then(|| parameter("Date")));
            sentences.push("Re-examine the query-string parameters.".to_owned());
            Err(SigError::MissingParameters(sentences.join(" ")))
        }
    }
}

fn check_algorithm(algorithm: &str) -> Result<(), SigError> {
    if algorithm == ALGORITHM {
        return Ok(());
    }
    let shown = if algorithm.len() <= MAX_ALGORITHM_BYTES { algorithm } else { "" };
    Err(SigError::UnsupportedAlgorithm(echo(shown)))
}

fn expires(text: &str) -> Result<u32, SigError> {
    let seconds = text.parse().map_err(|_| SigError::InvalidExpires)?;
    if seconds == 0 || seconds > MAX_EXPIRES_SECONDS {
        return Err(SigError::InvalidExpires);
    }
    Ok(seconds)
}

fn non_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// A header that could not be read, so that its sender can recognise it and nobody else can use it.
fn hashed(authorization: &str) -> String {
    BASE64_STANDARD.encode(sha256(authorization.as_bytes()))
}
