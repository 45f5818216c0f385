//! `UploadLayerPart` appends bytes to an upload.
//!
//! A body is up to 28 MiB of base64, so the bytes are decoded where they lie: nothing of that
//! size is held twice.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bonded_iam::AccountId;
use bonded_oci::RepositoryName;
use bytes::Bytes;
use futures::stream;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::image::Plane;
use crate::upload::{self, Part};
use crate::{Call, Error, Result, check};

/// The most bytes of a part.
const MAX_PART: usize = 20_971_520;
const UPLOAD_ID: &str =
    "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}";
/// Characters of base64 that are decoded in one go, and the bytes that they are.
const CHARACTERS: usize = 16 * 1024;
const BYTES: usize = CHARACTERS / 4 * 3;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Input<'a> {
    registry_id: Option<String>,
    repository_name: Option<String>,
    upload_id: Option<String>,
    part_first_byte: Option<i64>,
    part_last_byte: Option<i64>,
    #[serde(borrow)]
    layer_part_blob: Option<&'a RawValue>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Output {
    registry_id: String,
    repository_name: String,
    upload_id: String,
    last_byte_received: u64,
}

struct Checked {
    account: AccountId,
    name: RepositoryName,
    upload_id: Uuid,
    first: u64,
    /// By the range; 0 if that ends before it begins.
    length: u64,
}

pub(super) async fn run(call: &Call, body: Vec<u8>) -> Result<Output> {
    let (checked, bytes) = read(call, body)?;
    let Checked { account, name, upload_id, first, length } = checked;
    let permit = call.repository("ecr:UploadLayerPart", &account, &name).await?;
    let part = Part { plane: Plane::Api, start: Some(first), length: Some(length) };
    let body = stream::iter([Ok::<_, Error>(bytes)]);
    let upload = upload::append(call, &permit, upload_id, part, body).await?;
    Ok(Output {
        registry_id: permit.account.to_string(),
        repository_name: permit.name,
        upload_id: upload.id.to_string(),
        last_byte_received: upload.size.saturating_sub(1),
    })
}

fn read(call: &Call, body: Vec<u8>) -> Result<(Checked, Bytes)> {
    let input: Input<'_> =
        serde_json::from_slice(&body).map_err(|error| Error::Serialization(error.to_string()))?;
    call.set_parameters(parameters(&input));
    let blob = input.layer_part_blob.map(|raw| Base64::find(raw, &body)).transpose()?;
    let checked = input.check(call, blob.is_some());
    // The members before the bytes are told first, and bytes that are none before a long part.
    let blob = blob.map(|blob| blob.decode(body)).transpose()?;
    let checked = checked?;
    let bytes = check::required("layerPartBlob", blob)?;
    check::length("layerPartBlob", bytes.len(), 0, MAX_PART)?;
    Ok((checked, bytes))
}

/// `requestParameters` of the record: without the bytes.
fn parameters(input: &Input<'_>) -> Option<Box<RawValue>> {
    let members = [
        ("registryId", input.registry_id.as_ref().map(|it| json!(it))),
        ("repositoryName", input.repository_name.as_ref().map(|it| json!(it))),
        ("uploadId", input.upload_id.as_ref().map(|it| json!(it))),
        ("partFirstByte", input.part_first_byte.map(|it| json!(it))),
        ("partLastByte", input.part_last_byte.map(|it| json!(it))),
    ];
    let given = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let object = serde_json::Value::Object(given.collect());
    RawValue::from_string(object.to_string()).ok()
}

impl Input<'_> {
    fn check(&self, call: &Call, has_bytes: bool) -> Result<Checked> {
        let account = check::registry_id(call, self.registry_id.as_deref())?;
        let name = check::repository_name("repositoryName", self.repository_name.as_deref())?;
        let upload_id = upload_id(self.upload_id.as_deref())?;
        let first = place("partFirstByte", self.part_first_byte)?;
        let last = place("partLastByte", self.part_last_byte)?;
        check::required("layerPartBlob", has_bytes.then_some(()))?;
        let length = last.checked_sub(first).map_or(0, |more| more.saturating_add(1));
        Ok(Checked { account, name, upload_id, first, length })
    }
}

fn place(member: &'static str, value: Option<i64>) -> Result<u64> {
    u64::try_from(check::required(member, value)?)
        .map_err(|_| check::invalid(member, "Member must have value greater than or equal to 0"))
}

/// The id of an upload, or the constraint that it breaks.
pub(super) fn upload_id(value: Option<&str>) -> Result<Uuid> {
    let text = check::required("uploadId", value)?;
    let id = Uuid::try_parse(text).ok();
    // A UUID has other forms too, which the service's pattern does not know.
    id.filter(|id| id.to_string().eq_ignore_ascii_case(text)).ok_or_else(|| {
        check::invalid("uploadId", format!("must satisfy regular expression '{UPLOAD_ID}'"))
    })
}

/// Where in the body the base64 is, between its quotes.
struct Base64(Range<usize>);

impl Base64 {
    fn find(raw: &RawValue, body: &[u8]) -> Result<Base64> {
        let inside = raw.get().strip_prefix('"').and_then(|it| it.strip_suffix('"'));
        let unreadable = || Error::Serialization("layerPartBlob is not a string".to_owned());
        let inside = inside.ok_or_else(unreadable)?;
        let start = inside.as_ptr().addr() - body.as_ptr().addr();
        Ok(Base64(start..start + inside.len()))
    }

    fn decode(self, mut body: Vec<u8>) -> Result<Bytes> {
        let Base64(range) = self;
        let text = body.get_mut(range.clone()).expect("the text was found in the body");
        let size = unescape_in_place(text)
            .and_then(|length| decode_in_place(text.get_mut(..length)?))
            .ok_or_else(|| Error::Serialization("layerPartBlob is not base64".to_owned()))?;
        Ok(Bytes::from(body).slice(range.start..range.start + size))
    }
}

/// Replaces JSON's escapes (`\/`) by what they mean, at the front of the same place; gives how
/// long it is then. `None` for those that stand for nothing that base64 has.
fn unescape_in_place(text: &mut [u8]) -> Option<usize> {
    let Some(mut read) = text.iter().position(|byte| *byte == b'\\') else {
        return Some(text.len());
    };
    let mut written = read;
    while let Some(byte) = text.get(read) {
        let (meant, length) = match (byte, text.get(read + 1)) {
            (b'\\', Some(b'/')) => (b'/', 2),
            (b'\\', Some(b'u')) => (byte_of(text.get(read + 2..read + 6)?)?, 6),
            (b'\\', _) => return None,
            (byte, _) => (*byte, 1),
        };
        *text.get_mut(written)? = meant;
        read += length;
        written += 1;
    }
    Some(written)
}

/// The character of an escape's hexadecimal digits, if it is one of a byte.
fn byte_of(digits: &[u8]) -> Option<u8> {
    let value = digits
        .iter()
        .try_fold(0, |value, digit| Some(value * 16 + char::from(*digit).to_digit(16)?));
    u8::try_from(value?).ok()
}

/// Replaces base64 by the bytes that it means, at the front of the same place; gives how many.
/// `None` if it is no base64.
fn decode_in_place(text: &mut [u8]) -> Option<usize> {
    let mut decoded = [0; BYTES];
    let (mut read, mut written) = (0, 0);
    while read < text.len() {
        let end = text.len().min(read + CHARACTERS);
        let size = STANDARD.decode_slice(text.get(read..end)?, &mut decoded).ok()?;
        // Padding is the end.
        if end < text.len() && size < BYTES {
            return None;
        }
        text.get_mut(written..written + size)?.copy_from_slice(decoded.get(..size)?);
        read = end;
        written += size;
    }
    Some(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8]) {
        let mut text = STANDARD.encode(bytes).into_bytes();
        let size = decode_in_place(&mut text).unwrap();
        assert_eq!(&text[..size], bytes);
    }

    #[test]
    fn base64_of_every_length_is_decoded_in_place() {
        let bytes: Vec<u8> = (0..200_u8).cycle().take(3 * BYTES + 2).collect();
        for size in [0, 1, 2, 3, 4, BYTES - 1, BYTES, BYTES + 1, 2 * BYTES, 3 * BYTES + 2] {
            check(&bytes[..size]);
        }
    }

    #[test]
    fn what_is_no_base64_is_refused() {
        let padded = STANDARD.encode(vec![1; BYTES - 1]);
        let continued = format!("{padded}AAAA");
        for text in ["A", "AA", "AAA", "AA=A", "====", "A A=", "AAA_", "\u{e9}AAA", &continued] {
            assert_eq!(decode_in_place(&mut text.as_bytes().to_vec()), None, "{text:.20}");
        }
    }

    #[test]
    fn escapes_that_base64_does_not_have_are_refused() {
        for text in
            ["AAA\\n", "AAA\\\\", "\\u00e9AAA", "\\u2028AAA", "AAA\\u00", "AAA\\", "\\u+041"]
        {
            let found = Base64(0..text.len()).decode(text.as_bytes().to_vec());
            assert!(matches!(found, Err(Error::Serialization(_))), "{text}");
        }
    }

    #[test]
    fn the_bytes_are_found_in_the_body() {
        for (body, bytes) in [
            (r#"{"a":1,"layerPartBlob":"AQID"}"#, &[1, 2, 3][..]),
            (r#"{"layerPartBlob" : "\/+8=" }"#, &[0xff, 0xef]),
            (r#"{"layerPartBlob":"AQ\u0049\u0044"}"#, &[1, 2, 3]),
            (r#"{"layerPartBlob":""}"#, &[]),
        ] {
            let body = body.as_bytes().to_vec();
            let input: Input<'_> = serde_json::from_slice(&body).unwrap();
            let found = Base64::find(input.layer_part_blob.unwrap(), &body).unwrap();
            assert_eq!(found.decode(body.clone()).unwrap(), bytes);
        }
    }
}
