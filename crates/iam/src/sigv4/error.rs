//! Why a signed request is refused, in AWS's words.

/// The longest piece of a request, in characters, that an error repeats.
const MAX_ECHO_CHARS: usize = 128;

/// Why a request is not accepted.
///
/// `Display` is the sentence that AWS sends. Some sentences repeat what the client sent, so they
/// belong into its answer and not into a log. A protocol's code is [`SigError::json_code`] (JSON
/// and REST-JSON) or [`SigError::query_code`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigError {
    /// Method, path or a header's name is not HTTP, or the path leads above the root. AWS answers
    /// 400 with nothing in it.
    #[error("The request line could not be read")]
    MalformedRequest,

    /// More than [`MAX_HEAD_BYTES`](super::MAX_HEAD_BYTES), or too many headers or parameters.
    #[error("The request head is too large")]
    HeadTooLarge,

    #[error("The query string contains a syntax error.")]
    MalformedQueryString,

    #[error("Missing Authentication Token")]
    MissingAuthentication,

    #[error(
        "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header."
    )]
    AmbiguousAuthentication,

    #[error("Unsupported AWS 'algorithm': '{0}'.")]
    UnsupportedAlgorithm(String),

    /// Holds Base64 of SHA-256 of the header, because a header that cannot be read may be another
    /// scheme's secret.
    #[error(
        "Invalid key=value pair (missing equal-sign) in Authorization header (hashed with SHA-256 \
         and encoded with Base64): '{0}'."
    )]
    MalformedAuthorization(String),

    /// Holds the whole text: a sentence for each part that is missing.
    #[error("{0}")]
    MissingParameters(String),

    /// A header that has one value by its nature came several times.
    #[error("The request has more than one '{0}' header.")]
    DuplicateHeader(&'static str),

    #[error(
        "Date must be in ISO-8601 'basic format'. Got '{0}'. \
         See http://en.wikipedia.org/wiki/ISO_8601"
    )]
    InvalidDate(String),

    #[error("X-Amz-Expires must be a number of seconds from 1 to 604800")]
    InvalidExpires,

    #[error("{0} must be a 'SignedHeader' in the AWS Authorization.")]
    UnsignedHeader(String),

    #[error(
        "Credential must have exactly 5 slash-delimited elements, \
         e.g. keyid/date/region/service/term, got '{0}'"
    )]
    MalformedCredential(String),

    /// Holds the whole text: a sentence for each part that is wrong.
    #[error("{0}")]
    WrongScope(String),

    #[error("Signature expired: {signed_at} is now earlier than {earliest} ({now} - {allowance}.)")]
    SignatureExpired { signed_at: String, earliest: String, now: String, allowance: String },

    #[error(
        "Signature not yet current: {signed_at} is still later than {latest} ({now} + {allowance}.)"
    )]
    SignatureNotYetCurrent { signed_at: String, latest: String, now: String, allowance: String },

    /// The access key is unknown or inactive, or the session token is missing, false or another
    /// key's. The caller finds that out; this crate only knows how to say it.
    #[error("The security token included in the request is invalid.")]
    InvalidClientToken,

    /// The session is over. Found out by the caller, too.
    #[error("The security token included in the request is expired")]
    ExpiredToken,

    #[error(
        "The request signature we calculated does not match the signature you provided. Check \
         your AWS Secret Access Key and signing method. Consult the service documentation for \
         details."
    )]
    SignatureDoesNotMatch,

    #[error("The provided 'x-amz-content-sha256' header does not match what was computed.")]
    ContentHashMismatch,

    #[error("x-amz-content-sha256 must be a valid sha256 value.")]
    InvalidContentHash,

    #[error("The body of this request must be signed: UNSIGNED-PAYLOAD is not accepted here.")]
    UnsignedPayload,

    #[error("Signed chunked uploads are not implemented.")]
    StreamingPayload,
}

impl SigError {
    /// The exception's name in the JSON and REST-JSON protocols.
    pub fn json_code(&self) -> &'static str {
        match self {
            SigError::MalformedRequest => "BadRequestException",
            SigError::HeadTooLarge => "RequestHeaderSectionTooLargeException",
            SigError::MalformedQueryString => "MalformedQueryStringException",
            SigError::MissingAuthentication => "MissingAuthenticationTokenException",
            SigError::UnsupportedAlgorithm(_)
            | SigError::MalformedAuthorization(_)
            | SigError::MissingParameters(_)
            | SigError::DuplicateHeader(_)
            | SigError::InvalidDate(_)
            | SigError::InvalidExpires
            | SigError::MalformedCredential(_) => "IncompleteSignatureException",
            SigError::AmbiguousAuthentication
            | SigError::UnsignedHeader(_)
            | SigError::WrongScope(_)
            | SigError::SignatureExpired { .. }
            | SigError::SignatureNotYetCurrent { .. }
            | SigError::SignatureDoesNotMatch
            | SigError::ContentHashMismatch
            | SigError::InvalidContentHash
            | SigError::UnsignedPayload => "InvalidSignatureException",
            SigError::InvalidClientToken => "UnrecognizedClientException",
            SigError::ExpiredToken => "ExpiredTokenException",
            SigError::StreamingPayload => "NotImplementedException",
        }
    }

    /// The error's code in the query protocol.
    pub fn query_code(&self) -> &'static str {
        match self.json_code() {
            // These two have names of their own in the query protocol.
            "InvalidSignatureException" => "SignatureDoesNotMatch",
            "UnrecognizedClientException" => "InvalidClientTokenId",
            code => code.strip_suffix("Exception").unwrap_or(code),
        }
    }

    /// The sentence in the query protocol. It differs from `Display` in one case.
    pub fn query_message(&self) -> String {
        match self {
            SigError::MissingAuthentication => "Request is missing Authentication Token".to_owned(),
            _ => self.to_string(),
        }
    }
}

/// What an error may repeat of a request: short, and without control characters, which could
/// break a line of a header or a log.
pub(super) fn echo(text: &str) -> String {
    let printable =
        |c: char| if c.is_control() || c == char::REPLACEMENT_CHARACTER { '?' } else { c };
    text.chars().take(MAX_ECHO_CHARS).map(printable).collect()
}

/// A header's name as people write it: `x-amz-target` is `'X-Amz-Target'`.
pub(super) fn quoted_header(name: &str) -> String {
    let mut start = true;
    let mut upper = |c: char| {
        let c = if start { c.to_ascii_uppercase() } else { c };
        start = c == '-';
        c
    };
    let title: String = echo(name).chars().map(&mut upper).collect();
    format!("'{title}'")
}
