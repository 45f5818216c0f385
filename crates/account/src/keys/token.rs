//! What tokens, download links and page tokens say, and their text: base64url of a sealed value.
//!
//! None of them holds a right. A token says who asks; what they may is decided at use.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{KeyRing, Purpose};

/// The longest text that is looked at: ours are far below.
const LONGEST_TEXT: usize = 8_192;

/// Who a docker password speaks for. Twelve hours, one region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Unique id of the principal.
    #[serde(rename = "p")]
    pub principal_id: String,
    /// The access key that it was got with: the token dies with it.
    #[serde(rename = "k")]
    pub access_key_id: String,
    #[serde(rename = "a")]
    pub account: String,
    #[serde(rename = "r")]
    pub region: String,
    /// Microseconds since 1970.
    #[serde(rename = "e")]
    pub expires_at: i64,
}

/// One layer of one repository, for one principal and one hour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    #[serde(rename = "i")]
    pub repository_id: Uuid,
    #[serde(rename = "d")]
    pub digest: String,
    #[serde(rename = "p")]
    pub principal_id: String,
    #[serde(rename = "k")]
    pub access_key_id: String,
    #[serde(rename = "a")]
    pub account: String,
    #[serde(rename = "e")]
    pub expires_at: i64,
}

/// Where a list goes on. With other parameters than the ones it was given for, it is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageToken {
    #[serde(rename = "o")]
    pub operation: String,
    /// Repository or registry, and every filter, in one text.
    #[serde(rename = "f")]
    pub parameters: String,
    /// The key of the last row shown.
    #[serde(rename = "l")]
    pub position: String,
}

impl Token {
    pub fn seal(&self, keys: &KeyRing) -> String {
        seal(keys, Purpose::Token, self)
    }

    /// `None`: not one of ours. Whether it has expired is the caller's to see.
    pub fn open(keys: &KeyRing, text: &str, now: i64) -> Option<Token> {
        open(keys, Purpose::Token, text, now)
    }
}

impl Link {
    pub fn seal(&self, keys: &KeyRing) -> String {
        seal(keys, Purpose::Link, self)
    }

    /// `None`: not one of ours, or too old.
    pub fn open(keys: &KeyRing, text: &str, now: i64) -> Option<Link> {
        let link: Link = open(keys, Purpose::Link, text, now)?;
        (now < link.expires_at).then_some(link)
    }
}

impl PageToken {
    pub fn seal(&self, keys: &KeyRing) -> String {
        seal(keys, Purpose::Page, self)
    }

    /// The position, if the token is ours and was given for these parameters.
    pub fn open(
        keys: &KeyRing,
        text: &str,
        operation: &str,
        parameters: &str,
        now: i64,
    ) -> Option<String> {
        let token: PageToken = open(keys, Purpose::Page, text, now)?;
        let fits = token.operation == operation && token.parameters == parameters;
        fits.then_some(token.position)
    }
}

/// The sealed bytes of a token's text: for [`KeyRing::knows_token_key`].
pub fn sealed_bytes(text: &str) -> Option<Vec<u8>> {
    if text.len() > LONGEST_TEXT {
        return None;
    }
    URL_SAFE_NO_PAD.decode(text).ok()
}

fn seal(keys: &KeyRing, purpose: Purpose, value: &impl Serialize) -> String {
    let plain = serde_json::to_vec(value).expect("strings and numbers are JSON");
    URL_SAFE_NO_PAD.encode(keys.seal_token(purpose, &plain))
}

fn open<T: DeserializeOwned>(keys: &KeyRing, purpose: Purpose, text: &str, now: i64) -> Option<T> {
    let sealed = sealed_bytes(text)?;
    let plain = keys.open_token(purpose, &sealed, now).ok()?;
    serde_json::from_slice(&plain).ok()
}
