//! Keys, and the one form of every sealed value outside objects.
//!
//! A sealed value is `version ‖ key id ‖ salt (32 random bytes) ‖ ciphertext ‖ tag`:
//! AES-256-GCM, whose key and nonce are HKDF-SHA-256(key, salt, purpose). No nonce is ever chosen
//! and no messages are counted. The two head bytes and the caller's context are authenticated.
//!
//! Root keys seal the data keys of accounts, key domains and token keys; an account's data key
//! seals its secrets, a domain's the manifests and the keys of its blobs.
//!
//! **Invariant:** a key in clear is only ever in memory, in a type that wipes itself and has no
//! `Debug`.

mod ring;
mod token;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use zeroize::Zeroizing;

pub use ring::{
    DataKeyOf, KeyRing, RootKey, TOKEN_KEY_GRACE_MICROS, TOKEN_KEY_PERIOD_MICROS, token_key_context,
};
pub use token::{Link, PageToken, Token, sealed_bytes};

use crate::clock::random;

const VERSION: u8 = 1;
const HEAD: usize = 2;
const SALT: usize = 32;
const TAG: usize = 16;

/// How many bytes a sealed value is longer than what it holds.
pub const SEALED_OVERHEAD: usize = HEAD + SALT + TAG;

/// What a sealed value is for: one sealed for one purpose does not open for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A data key, sealed under a root key or under another data key.
    DataKey,
    /// The value of a column.
    Column,
    /// The password of `GetAuthorizationToken`.
    Token,
    /// A layer's download link.
    Link,
    /// `nextToken` of a list.
    Page,
}

impl Purpose {
    fn info(self) -> &'static [u8] {
        match self {
            Purpose::DataKey => b"bonded data key",
            Purpose::Column => b"bonded column",
            Purpose::Token => b"bonded token",
            Purpose::Link => b"bonded layer link",
            Purpose::Page => b"bonded page token",
        }
    }
}

/// A key that seals and opens values.
pub struct SealingKey {
    id: u8,
    bytes: Zeroizing<[u8; 32]>,
}

/// A sealed value does not open: wrong key, purpose or context, or not what was sealed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a sealed value does not open")]
pub struct Unsealed;

impl SealingKey {
    /// A key with its id byte (0 for data keys, whose id the row tells).
    pub fn new(id: u8, bytes: [u8; 32]) -> SealingKey {
        SealingKey { id, bytes: Zeroizing::new(bytes) }
    }

    pub fn id(&self) -> u8 {
        self.id
    }

    /// The key itself: for objects, which have a form of their own (`bonded-blob`).
    pub fn bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// Seals a value with a fresh salt. `context` says where it belongs (for a column:
    /// [`column()`]) and must be given again to open it.
    pub fn seal(&self, purpose: Purpose, context: &[u8], plain: &[u8]) -> Vec<u8> {
        self.seal_with(purpose, context, plain, &random())
    }

    fn seal_with(
        &self,
        purpose: Purpose,
        context: &[u8],
        plain: &[u8],
        salt: &[u8; SALT],
    ) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(plain.len() + SEALED_OVERHEAD);
        sealed.extend_from_slice(&[VERSION, self.id]);
        sealed.extend_from_slice(salt);
        sealed.extend_from_slice(plain);
        let (key, nonce) = self.derive(purpose, salt);
        let aad = Aad::from(authenticated([VERSION, self.id], context));
        let (_, text) = sealed.split_at_mut(HEAD + SALT);
        let tag = key
            .seal_in_place_separate_tag(nonce, aad, text)
            .expect("a value is far below the limit of AES-GCM");
        sealed.extend_from_slice(tag.as_ref());
        sealed
    }

    /// Opens what [`SealingKey::seal`] gave for the same purpose and context.
    pub fn open(
        &self,
        purpose: Purpose,
        context: &[u8],
        sealed: &[u8],
    ) -> Result<Vec<u8>, Unsealed> {
        let (head, rest) = sealed.split_first_chunk::<HEAD>().ok_or(Unsealed)?;
        if *head != [VERSION, self.id] {
            return Err(Unsealed);
        }
        let (salt, text) = rest.split_first_chunk::<SALT>().ok_or(Unsealed)?;
        let (key, nonce) = self.derive(purpose, salt);
        let mut text = text.to_vec();
        let aad = Aad::from(authenticated(*head, context));
        let length = key.open_in_place(nonce, aad, &mut text).map_err(|_| Unsealed)?.len();
        text.truncate(length);
        Ok(text)
    }

    /// Opens a sealed data key.
    pub fn open_key(&self, context: &[u8], sealed: &[u8]) -> Result<SealingKey, Unsealed> {
        let bytes = Zeroizing::new(self.open(Purpose::DataKey, context, sealed)?);
        let bytes = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| Unsealed)?;
        Ok(SealingKey::new(0, bytes))
    }

    fn derive(&self, purpose: Purpose, salt: &[u8; SALT]) -> (LessSafeKey, Nonce) {
        struct KeyAndNonce;
        impl KeyType for KeyAndNonce {
            fn len(&self) -> usize {
                44
            }
        }
        let mut material = Zeroizing::new([0; 44]);
        Salt::new(HKDF_SHA256, salt)
            .extract(self.bytes.as_slice())
            .expand(&[purpose.info()], KeyAndNonce)
            .and_then(|material_of| material_of.fill(material.as_mut_slice()))
            .expect("44 bytes are below the limit of HKDF");
        let (key, nonce) = material.split_at(32);
        let key = UnboundKey::new(&AES_256_GCM, key).expect("an AES-256 key has 32 bytes");
        let nonce = Nonce::try_assume_unique_for_key(nonce).expect("a nonce has 12 bytes");
        (LessSafeKey::new(key), nonce)
    }
}

/// The key id byte of a sealed value.
pub fn key_id(sealed: &[u8]) -> Option<u8> {
    match sealed {
        [VERSION, id, ..] => Some(*id),
        _ => None,
    }
}

/// The context of a sealed column: table, column and row id, so that no sealed value can be moved
/// to another place.
pub fn column(table_and_column: &str, row_id: &[u8]) -> Vec<u8> {
    let mut context = Vec::with_capacity(table_and_column.len() + 1 + row_id.len());
    context.extend_from_slice(table_and_column.as_bytes());
    context.push(0);
    context.extend_from_slice(row_id);
    context
}

fn authenticated(head: [u8; HEAD], context: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD + context.len());
    bytes.extend_from_slice(&head);
    bytes.extend_from_slice(context);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SealingKey {
        SealingKey::new(7, std::array::from_fn(|n| u8::try_from(n).unwrap()))
    }

    /// The form is in stored data and in clients' hands: this answer never changes.
    #[test]
    fn known_answers() {
        let salt = [0x5a; SALT];
        let sealed = key().seal_with(Purpose::Token, b"context", b"plaintext", &salt);
        assert_eq!(const_hex::encode(&sealed), KNOWN_TOKEN);
        assert_eq!(key().open(Purpose::Token, b"context", &sealed).unwrap(), b"plaintext");
        let sealed = key().seal_with(Purpose::Column, b"", b"", &salt);
        assert_eq!(const_hex::encode(&sealed), KNOWN_EMPTY);
    }

    /// Computed apart from this code, by HKDF and AES-GCM of another library.
    const KNOWN_TOKEN: &str = "01075a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a\
         28215ab075b0e740239a405b59f150e369cefe607dc2a19eef";
    const KNOWN_EMPTY: &str = "01075a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a\
         b6c958dd72202048ab451e75b9773bd3";

    #[test]
    fn nothing_opens_elsewhere_or_changed() {
        let sealed = key().seal(Purpose::Column, &column("blob.wrapped_key", b"1"), b"secret");
        assert_eq!(sealed.len(), 6 + SEALED_OVERHEAD);
        let context = column("blob.wrapped_key", b"1");
        assert!(key().open(Purpose::Column, &context, &sealed).is_ok());
        assert!(key().open(Purpose::Token, &context, &sealed).is_err());
        let elsewhere = column("blob.wrapped_key", b"2");
        assert!(key().open(Purpose::Column, &elsewhere, &sealed).is_err());
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert!(key().open(Purpose::Column, &context, &changed).is_err(), "{place}");
            assert!(key().open(Purpose::Column, &context, &sealed[..place]).is_err(), "{place}");
        }
    }
}
