//! The key that signs, and the two hash functions.

use std::fmt;

use aws_lc_rs::{digest, hmac};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::sigv4::TERMINATOR;

/// What a secret access key becomes for one day, region and service.
///
/// It may be cached under (access key, date, region, service), which saves four of the five HMACs
/// of a verification. It signs for its scope only, but does that as well as the secret.
#[derive(Clone)]
pub struct SigningKey(hmac::Key);

impl SigningKey {
    /// Derives the key. `date` is `YYYYMMDD`, as it stands in the scope.
    pub fn derive(secret_access_key: &str, date: &str, region: &str, service: &str) -> SigningKey {
        let mut first = Zeroizing::new(Vec::with_capacity(4 + secret_access_key.len()));
        first.extend_from_slice(b"AWS4");
        first.extend_from_slice(secret_access_key.as_bytes());
        let mut key = hmac::Key::new(hmac::HMAC_SHA256, &first);
        for part in [date, region, service, TERMINATOR] {
            let mut next = Zeroizing::new([0; 32]);
            next.copy_from_slice(hmac::sign(&key, part.as_bytes()).as_ref());
            key = hmac::Key::new(hmac::HMAC_SHA256, next.as_slice());
        }
        SigningKey(key)
    }

    /// The signature of a string to sign, in hexadecimal.
    pub(super) fn signature(&self, string_to_sign: &[u8]) -> String {
        const_hex::encode(hmac::sign(&self.0, string_to_sign))
    }

    /// Whether a signature is this key's, in a time that does not tell how much of it is right.
    pub(super) fn is_signature(&self, signature: &str, string_to_sign: &[u8]) -> bool {
        let expected = self.signature(string_to_sign);
        expected.as_bytes().ct_eq(signature.as_bytes()).into()
    }
}

/// Tells nothing of the key.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey")
    }
}

/// The SHA-256 of a body that is in memory.
pub fn sha256(body: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, body).as_ref());
    hash
}
