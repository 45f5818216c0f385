//! Signs requests: our own command line's, and those of tests.

use std::fmt;

use jiff::Timestamp;

use crate::sigv4::canonical::{Headers, Query, Rules, canonical_head, check_target, encode};
use crate::sigv4::error::SigError;
use crate::sigv4::parsed::{Scope, string_to_sign};
use crate::sigv4::{
    ALGORITHM, MAX_EXPIRES_SECONDS, RequestHead, SigningKey, TERMINATOR, UNSIGNED_PAYLOAD, time,
};

/// Who signs, for which service, and when.
#[derive(Clone, Copy)]
pub struct Signer<'a> {
    pub access_key_id: &'a str,
    pub secret_access_key: &'a str,
    pub session_token: Option<&'a str>,
    pub region: &'a str,
    pub service: &'a str,
    pub time: Timestamp,
}

impl Signer<'_> {
    /// Signs all headers of `head` and gives those to add, `Authorization` the last.
    ///
    /// `Host` must be among them; leave out what a proxy may change. If `x-amz-content-sha256` is
    /// there it is used as it is, for S3 it is added.
    ///
    /// # Errors
    ///
    /// [`SigError::MalformedRequest`] for what is no HTTP, [`SigError::MalformedQueryString`],
    /// and [`SigError::DuplicateHeader`] for a header that signing adds.
    pub fn sign(
        &self,
        head: &RequestHead<'_>,
        body_sha256: &[u8; 32],
    ) -> Result<Vec<(&'static str, String)>, SigError> {
        self.sign_by(head, body_sha256, Rules::for_service(self.service))
    }

    pub(super) fn sign_by(
        &self,
        head: &RequestHead<'_>,
        body_sha256: &[u8; 32],
        rules: Rules,
    ) -> Result<Vec<(&'static str, String)>, SigError> {
        let given = Headers::new(head.headers)?;
        let stated = given.single("x-amz-content-sha256")?;
        let payload = stated.clone().unwrap_or_else(|| const_hex::encode(body_sha256));
        let mut added = vec![("X-Amz-Date", time::basic(self.time))];
        if let Some(token) = self.session_token {
            added.push(("X-Amz-Security-Token", token.to_owned()));
        }
        if self.service == "s3" && stated.is_none() {
            added.push(("X-Amz-Content-SHA256", payload.clone()));
        }

        let mut all = head.headers.to_vec();
        all.extend(added.iter().map(|(name, value)| (*name, value.as_bytes())));
        let headers = Headers::new(&all)?;
        for name in ["x-amz-date", "x-amz-security-token"] {
            headers.single(name)?;
        }
        if headers.single("authorization")?.is_some() {
            return Err(SigError::DuplicateHeader("authorization"));
        }
        let query = Query::parse(head.query)?;
        let (names, signature) =
            self.signature(head, &query.canonical(None), &headers, &payload, rules)?;
        let scope = self.credential();
        added.push((
            "Authorization",
            format!("{ALGORITHM} Credential={scope}, SignedHeaders={names}, Signature={signature}"),
        ));
        Ok(added)
    }

    /// Signs all headers of `head` and gives its query with the signature in it, good for
    /// `expires_seconds` after [`Signer::time`]. The headers must be sent as they were signed.
    ///
    /// # Errors
    ///
    /// As [`Signer::sign`], and [`SigError::InvalidExpires`].
    pub fn presign(
        &self,
        head: &RequestHead<'_>,
        body_sha256: &[u8; 32],
        expires_seconds: u32,
    ) -> Result<String, SigError> {
        self.presign_by(head, body_sha256, expires_seconds, Rules::for_service(self.service))
    }

    pub(super) fn presign_by(
        &self,
        head: &RequestHead<'_>,
        body_sha256: &[u8; 32],
        expires_seconds: u32,
        rules: Rules,
    ) -> Result<String, SigError> {
        if expires_seconds == 0 || expires_seconds > MAX_EXPIRES_SECONDS {
            return Err(SigError::InvalidExpires);
        }
        let headers = Headers::new(head.headers)?;
        let names: Vec<&str> = headers.names().collect();
        let mut query = head.query.to_owned();
        let mut add = |name: &str, value: &str| {
            let joint = if query.is_empty() { "" } else { "&" };
            query.push_str(&format!("{joint}{name}={}", encode(value.as_bytes())));
        };
        add("X-Amz-Algorithm", ALGORITHM);
        add("X-Amz-Credential", &self.credential());
        add("X-Amz-Date", &time::basic(self.time));
        add("X-Amz-SignedHeaders", &names.join(";"));
        add("X-Amz-Expires", &expires_seconds.to_string());
        if let Some(token) = self.session_token {
            add("X-Amz-Security-Token", token);
        }
        let payload = match self.service {
            "s3" => UNSIGNED_PAYLOAD.to_owned(),
            _ => const_hex::encode(body_sha256),
        };
        let canonical = Query::parse(&query)?.canonical(None);
        let (_, signature) = self.signature(head, &canonical, &headers, &payload, rules)?;
        query.push_str("&X-Amz-Signature=");
        query.push_str(&signature);
        Ok(query)
    }

    /// The names of the signed headers, and the signature.
    fn signature(
        &self,
        head: &RequestHead<'_>,
        query: &str,
        headers: &Headers<'_>,
        payload: &str,
        rules: Rules,
    ) -> Result<(String, String), SigError> {
        check_target(head)?;
        let names: Vec<String> = headers.names().map(str::to_owned).collect();
        let mut request = canonical_head(head, query, headers, &names, rules)?;
        request.extend_from_slice(payload.as_bytes());
        let scope = self.scope();
        let key =
            SigningKey::derive(self.secret_access_key, &scope.date, self.region, self.service);
        let signature = key.signature(string_to_sign(self.time, &scope, &request).as_bytes());
        Ok((names.join(";"), signature))
    }

    fn credential(&self) -> String {
        let Scope { date, region, service, terminator } = self.scope();
        format!("{}/{date}/{region}/{service}/{terminator}", self.access_key_id)
    }

    fn scope(&self) -> Scope {
        Scope {
            date: self.time.strftime("%Y%m%d").to_string(),
            region: self.region.to_owned(),
            service: self.service.to_owned(),
            terminator: TERMINATOR.to_owned(),
        }
    }
}

/// Tells nothing of the secret and the token.
impl fmt::Debug for Signer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("access_key_id", &self.access_key_id)
            .field("region", &self.region)
            .field("service", &self.service)
            .field("time", &self.time)
            .finish_non_exhaustive()
    }
}
