//! A request that says who signed it, and the checks that decide whether that is true.

use std::fmt;

use jiff::Timestamp;

use crate::sigv4::authorization::Claims;
use crate::sigv4::canonical::{Headers, Query, Rules, canonical_head};
use crate::sigv4::error::{SigError, echo, quoted_header};
use crate::sigv4::{
    ALGORITHM, MAX_EXPIRES_SECONDS, MAX_PRESIGNED_SECONDS, RequestHead, SigningKey, TERMINATOR,
    UNSIGNED_PAYLOAD, sha256, time,
};

/// What a signature is for. Not to be trusted before [`Parsed::check_scope`].
///
/// With the access key's id it is what a [`SigningKey`] can be cached under.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    /// `YYYYMMDD`
    pub date: String,
    pub region: String,
    pub service: String,
    /// `aws4_request`, if it is right.
    pub terminator: String,
}

/// What a request says of its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Nothing: the signature covers the hash of what is received.
    Body,
    /// Its SHA-256, in hexadecimal as sent.
    Claimed(String),
    /// That it is not signed; only ever for S3.
    Unsigned,
}

/// The authentication of a request, read and not yet verified.
///
/// It owns all it needs, so the request's head may go while the body is read.
#[derive(Clone)]
pub struct Parsed {
    pub access_key_id: String,
    pub scope: Scope,
    /// In lower case, in order, each once.
    pub signed_headers: Vec<String>,
    /// As sent; 64 hexadecimal digits if it is right.
    pub signature: String,
    /// When the client says it signed.
    pub time: Timestamp,
    pub session_token: Option<String>,
    /// Whether all this came in the query.
    pub presigned: bool,
    /// `X-Amz-Expires` of a presigned request, 1 to [`MAX_EXPIRES_SECONDS`].
    pub expires_seconds: Option<u32>,
    pub payload: Payload,
    /// The canonical request up to the hash of the payload.
    canonical_head: Vec<u8>,
}

impl Parsed {
    pub(super) fn new(
        head: &RequestHead<'_>,
        headers: &Headers<'_>,
        query: &Query,
        claims: Claims,
        rules: Option<Rules>,
    ) -> Result<Parsed, SigError> {
        let signed_headers = signed_headers(&claims.signed_headers, headers)?;
        let (access_key_id, scope) = read_credential(&claims.credential)?;
        let payload = read_payload(head, headers, claims.presigned, &scope.service)?;
        let query = query.canonical(claims.presigned.then_some("X-Amz-Signature"));
        let rules = rules.unwrap_or_else(|| Rules::for_service(&scope.service));
        let canonical_head = canonical_head(head, &query, headers, &signed_headers, rules)?;
        Ok(Parsed {
            access_key_id,
            scope,
            signed_headers,
            signature: claims.signature,
            time: claims.time,
            session_token: claims.session_token,
            presigned: claims.presigned,
            expires_seconds: claims.expires_seconds,
            payload,
            canonical_head,
        })
    }

    /// Checks when the request was signed. See [`skew_minutes`](super::skew_minutes).
    ///
    /// A presigned request is good for as long as it says, but outside S3 never for longer than
    /// [`MAX_PRESIGNED_SECONDS`], whatever it says.
    ///
    /// # Errors
    ///
    /// [`SigError::SignatureExpired`] and [`SigError::SignatureNotYetCurrent`].
    pub fn check_time(&self, now: Timestamp, skew_minutes: u32) -> Result<(), SigError> {
        let skew = i64::from(skew_minutes) * 60;
        let lifetime = if self.presigned { self.lifetime_seconds() } else { skew };
        let age = now.as_second().saturating_sub(self.time.as_second());
        if age > lifetime {
            return Err(SigError::SignatureExpired {
                signed_at: time::basic(self.time),
                earliest: time::basic(time::shift(now, -lifetime)),
                now: time::basic(now),
                allowance: time::allowance(lifetime),
            });
        }
        if age < -skew {
            return Err(SigError::SignatureNotYetCurrent {
                signed_at: time::basic(self.time),
                latest: time::basic(time::shift(now, skew)),
                now: time::basic(now),
                allowance: time::allowance(skew),
            });
        }
        Ok(())
    }

    fn lifetime_seconds(&self) -> i64 {
        let most =
            if self.scope.service == "s3" { MAX_EXPIRES_SECONDS } else { MAX_PRESIGNED_SECONDS };
        i64::from(self.expires_seconds.unwrap_or(MAX_PRESIGNED_SECONDS).min(most))
    }

    /// Checks that the signature is for this service, for one of these regions and for the day on
    /// which it was made.
    ///
    /// # Errors
    ///
    /// [`SigError::WrongScope`], with a sentence for each part that is wrong.
    pub fn check_scope(&self, service: &str, regions: &[impl AsRef<str>]) -> Result<(), SigError> {
        let scope = &self.scope;
        let mut wrong = Vec::new();
        if !regions.iter().any(|region| region.as_ref() == scope.region) {
            let region = echo(&scope.region);
            wrong.push(format!("Credential should be scoped to a valid region, not '{region}'."));
        }
        if scope.service != service {
            wrong.push(format!("Credential should be scoped to correct service: '{service}'."));
        }
        if scope.terminator != TERMINATOR {
            let terminator = echo(&scope.terminator);
            wrong.push(format!(
                "Credential should be scoped with a valid terminator: '{TERMINATOR}', not \
                 '{terminator}'."
            ));
        }
        let signed_at = time::basic(self.time);
        let day = signed_at.split('T').next().unwrap_or_default();
        if scope.date != day {
            let date = echo(&scope.date);
            wrong.push(format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date \
                 from HTTP: '{date}' != '{day}', from '{signed_at}'."
            ));
        }
        if wrong.is_empty() { Ok(()) } else { Err(SigError::WrongScope(wrong.join(" "))) }
    }

    /// The key that this request should have been signed with, if it is this secret's.
    pub fn derive_key(&self, secret_access_key: &str) -> SigningKey {
        let Scope { date, region, service, .. } = &self.scope;
        SigningKey::derive(secret_access_key, date, region, service)
    }

    /// Verifies the signature before the body is read, if the client stated the body's hash.
    ///
    /// `true` means that the signature is right and only the body's hash is still to be compared,
    /// which [`Parsed::verify`] does; `false`, that nothing can be said without the body.
    ///
    /// # Errors
    ///
    /// [`SigError::SignatureDoesNotMatch`]
    pub fn verify_head(&self, key: &SigningKey) -> Result<bool, SigError> {
        match &self.payload {
            Payload::Body => Ok(false),
            Payload::Claimed(hash) => self.check_signature(key, hash).map(|()| true),
            Payload::Unsigned => self.check_signature(key, UNSIGNED_PAYLOAD).map(|()| true),
        }
    }

    /// Verifies the signature, and the body if it is signed.
    ///
    /// # Errors
    ///
    /// [`SigError::SignatureDoesNotMatch`]; or [`SigError::ContentHashMismatch`] if the signature
    /// is right and the body is not the one whose hash the client stated.
    pub fn verify(&self, key: &SigningKey, body_sha256: &[u8; 32]) -> Result<(), SigError> {
        let body = const_hex::encode(body_sha256);
        match &self.payload {
            Payload::Body => self.check_signature(key, &body),
            Payload::Claimed(hash) => {
                self.check_signature(key, hash)?;
                if !hash.eq_ignore_ascii_case(&body) {
                    return Err(SigError::ContentHashMismatch);
                }
                Ok(())
            }
            Payload::Unsigned => self.check_signature(key, UNSIGNED_PAYLOAD),
        }
    }

    /// Does the work of a verification for an access key that is not known, so that the time of
    /// the answer does not tell whether it is, and gives that answer.
    pub fn verify_unknown(&self) -> SigError {
        let key = self.derive_key("no secret access key is as long as these forty characters");
        // What comes out does not matter: the answer is the same, also for a right signature.
        let verified = self.verify(&key, &[0; 32]);
        std::hint::black_box(verified.is_ok());
        SigError::InvalidClientToken
    }

    fn check_signature(&self, key: &SigningKey, payload_hash: &str) -> Result<(), SigError> {
        let string_to_sign = self.string_to_sign(payload_hash);
        if !key.is_signature(&self.signature, string_to_sign.as_bytes()) {
            return Err(SigError::SignatureDoesNotMatch);
        }
        Ok(())
    }

    pub(super) fn string_to_sign(&self, payload_hash: &str) -> String {
        string_to_sign(self.time, &self.scope, &self.canonical_request(payload_hash))
    }

    pub(super) fn canonical_request(&self, payload_hash: &str) -> Vec<u8> {
        [&self.canonical_head, payload_hash.as_bytes()].concat()
    }
}

/// Leaves out what a stranger could use: the token, and the signature of a presigned request.
impl fmt::Debug for Parsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parsed")
            .field("access_key_id", &self.access_key_id)
            .field("scope", &self.scope)
            .field("signed_headers", &self.signed_headers)
            .field("time", &self.time)
            .field("presigned", &self.presigned)
            .field("expires_seconds", &self.expires_seconds)
            .field("payload", &self.payload)
            .finish_non_exhaustive()
    }
}

pub(super) fn string_to_sign(time: Timestamp, scope: &Scope, canonical_request: &[u8]) -> String {
    let Scope { date, region, service, terminator } = scope;
    let hash = const_hex::encode(sha256(canonical_request));
    let time = time::basic(time);
    format!("{ALGORITHM}\n{time}\n{date}/{region}/{service}/{terminator}\n{hash}")
}

/// The signed headers in their order, once it is certain that what must be signed is among them.
///
/// AWS's documents ask for `host` and every `x-amz-*` header: who could add an `x-amz-target`
/// would choose the operation. The session token is bound to the access key in another way, and
/// some clients add it after signing.
fn signed_headers(text: &str, headers: &Headers<'_>) -> Result<Vec<String>, SigError> {
    let mut names: Vec<String> = text.split(';').map(str::to_ascii_lowercase).collect();
    names.sort_unstable();
    names.dedup();
    let is_signed = |name: &str| names.binary_search_by(|it| it.as_str().cmp(name)).is_ok();
    if !is_signed("host") {
        return Err(SigError::UnsignedHeader("'Host' or ':authority'".to_owned()));
    }
    let must_be_signed = |name: &str| name.starts_with("x-amz-") && name != "x-amz-security-token";
    match headers.names().find(|name| must_be_signed(name) && !is_signed(name)) {
        Some(name) => Err(SigError::UnsignedHeader(quoted_header(name))),
        None => Ok(names),
    }
}

fn read_credential(credential: &str) -> Result<(String, Scope), SigError> {
    let parts: Vec<&str> = credential.split('/').take(6).collect();
    // A line break in a part could shift what the string to sign means.
    let is_text = credential.bytes().all(|byte| byte.is_ascii_graphic());
    match parts.as_slice() {
        [key, date, region, service, terminator] if is_text && !key.is_empty() => {
            let scope = Scope {
                date: (*date).to_owned(),
                region: (*region).to_owned(),
                service: (*service).to_owned(),
                terminator: (*terminator).to_owned(),
            };
            Ok(((*key).to_owned(), scope))
        }
        _ => Err(SigError::MalformedCredential(echo(credential))),
    }
}

fn read_payload(
    head: &RequestHead<'_>,
    headers: &Headers<'_>,
    presigned: bool,
    service: &str,
) -> Result<Payload, SigError> {
    let claimed = headers.single("x-amz-content-sha256")?;
    if presigned && service == "s3" {
        return Ok(Payload::Unsigned);
    }
    match claimed {
        None => Ok(Payload::Body),
        Some(claimed) if claimed == UNSIGNED_PAYLOAD => {
            // Without TLS anybody on the way could put another body under the signature.
            if service == "s3" && head.tls {
                Ok(Payload::Unsigned)
            } else {
                Err(SigError::UnsignedPayload)
            }
        }
        Some(claimed) if claimed.starts_with("STREAMING-") => Err(SigError::StreamingPayload),
        Some(claimed) => {
            if claimed.len() != 64 || !claimed.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(SigError::InvalidContentHash);
            }
            Ok(Payload::Claimed(claimed))
        }
    }
}
