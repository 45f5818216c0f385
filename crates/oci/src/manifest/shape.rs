//! What reads as a manifest here and as something else in a client.
//!
//! Most clients read manifests with Go's JSON package, which takes `Layers` for `layers`, and the
//! last of them if there are two. A registry that ignores `Layers` would keep, scan and sign other
//! layers than the client runs. The other way round, `serde` takes a list of the members' values
//! for an object, and clients do not. No tool writes either, so both are refused.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{ManifestError, invalid};

/// Refuses such a manifest. The bytes have been read as one before: there is no other reason to
/// fail.
pub(super) fn check(bytes: &[u8]) -> Result<(), ManifestError> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    Place::Object(Object::Manifest).deserialize(&mut json).map_err(|_| {
        invalid("members are named as the specification names them, and objects are no lists")
    })
}

/// What is expected somewhere; null may always stand for it.
#[derive(Clone, Copy)]
enum Place {
    Object(Object),
    List(Object),
}

/// An object that clients read.
#[derive(Clone, Copy)]
enum Object {
    Manifest,
    Descriptor,
    FsLayer,
}

impl Object {
    fn members(self) -> &'static [&'static str] {
        match self {
            Object::Manifest => &[
                "schemaVersion",
                "mediaType",
                "artifactType",
                "config",
                "layers",
                "blobs",
                "manifests",
                "subject",
                "annotations",
                "fsLayers",
                "signatures",
            ],
            Object::Descriptor => &["mediaType", "digest", "size", "urls"],
            Object::FsLayer => &["blobSum"],
        }
    }

    /// What a member holds, if it holds objects that are read.
    fn inner(self, member: &str) -> Option<Place> {
        match (self, member) {
            (Object::Manifest, "config" | "subject") => Some(Place::Object(Object::Descriptor)),
            (Object::Manifest, "layers" | "blobs" | "manifests") => {
                Some(Place::List(Object::Descriptor))
            }
            (Object::Manifest, "fsLayers") => Some(Place::List(Object::FsLayer)),
            _ => None,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Place {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Place::Object(_) => "an object",
            Place::List(_) => "a list",
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Place::Object(object) = self else {
            return Err(A::Error::custom("an object stands for a list"));
        };
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            if let Some(inner) = object.inner(&key) {
                map.next_value_seed(inner)?;
                continue;
            }
            map.next_value::<IgnoredAny>()?;
            if object.members().iter().any(|member| *member != key && folds_to(&key, member)) {
                return Err(A::Error::custom("a member's name is in another case"));
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Place::List(object) = self else {
            return Err(A::Error::custom("a list stands for an object"));
        };
        while list.next_element_seed(Place::Object(object))?.is_some() {}
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
}

/// Whether two names are one to Go, which folds two letters beyond ASCII into it as well.
fn folds_to(key: &str, member: &str) -> bool {
    let fold = |c: char| match c {
        'ſ' => 's',
        '\u{212A}' => 'k',
        c => c.to_ascii_lowercase(),
    };
    key.chars().map(fold).eq(member.chars().map(fold))
}
