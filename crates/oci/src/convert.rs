//! The form of a manifest that a client accepts, when it asks by tag (ECR's conversion on pull).
//!
//! Docker's schema 2 and the image manifest of the specification differ in names only, so one is
//! made of the other, under a digest of its own. Schema 1 is never made: it needs the config's
//! bytes and a signature, and no client of today asks for it alone.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use crate::media_type::{
    DOCKER_CONFIG, DOCKER_FOREIGN_LAYER, DOCKER_FOREIGN_LAYER_TAR, DOCKER_FOREIGN_LAYER_ZSTD,
    DOCKER_LAYER_GZIP, DOCKER_LAYER_TAR, DOCKER_LAYER_ZSTD, DOCKER_MANIFEST, DOCKER_SCHEMA_1,
    DOCKER_SCHEMA_1_SIGNED, MANIFESTS, OCI_CONFIG, OCI_FOREIGN_LAYER, OCI_FOREIGN_LAYER_TAR,
    OCI_FOREIGN_LAYER_ZSTD, OCI_LAYER_GZIP, OCI_LAYER_TAR, OCI_LAYER_ZSTD, OCI_MANIFEST, essence,
};
use crate::{Algorithm, Digest};

/// Types beyond this many are not looked at.
const MAX_TYPES: usize = 200;

/// The types that mean the same in both forms.
const SAME: [(&str, &str); 7] = [
    (OCI_CONFIG, DOCKER_CONFIG),
    (OCI_LAYER_GZIP, DOCKER_LAYER_GZIP),
    (OCI_LAYER_TAR, DOCKER_LAYER_TAR),
    (OCI_LAYER_ZSTD, DOCKER_LAYER_ZSTD),
    (OCI_FOREIGN_LAYER, DOCKER_FOREIGN_LAYER),
    (OCI_FOREIGN_LAYER_TAR, DOCKER_FOREIGN_LAYER_TAR),
    (OCI_FOREIGN_LAYER_ZSTD, DOCKER_FOREIGN_LAYER_ZSTD),
];

/// The media types that a client accepts.
#[derive(Clone, Debug, Default)]
pub struct Accept {
    types: Vec<AcceptedType>,
}

#[derive(Clone, Debug)]
struct AcceptedType {
    essence: String,
    /// False for `q=0`, which refuses a type.
    wanted: bool,
}

/// What a client gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// The manifest as it is stored.
    AsIs,
    Converted {
        digest: Digest,
        media_type: String,
        bytes: Vec<u8>,
    },
    /// Nothing that the client accepts can be made of it.
    None,
}

impl Accept {
    /// Media types, each on its own, with or without its parameters; none accepts everything.
    ///
    /// Of the weights only 0 matters: the stored form is preferred to any that must be made.
    pub fn of_media_types(types: &[impl AsRef<str>]) -> Accept {
        let types = types.iter().take(MAX_TYPES).map(|text| AcceptedType {
            essence: essence(text.as_ref()),
            wanted: !text.as_ref().split(';').skip(1).any(is_zero_weight),
        });
        Accept { types: types.filter(|it| !it.essence.is_empty()).collect() }
    }

    /// The most exact mention decides (RFC 9110, section 12.5.1).
    fn has(&self, media_type: &str) -> bool {
        let mention = |name| self.types.iter().find(|it| it.essence == name);
        let mention =
            mention(media_type).or_else(|| mention("application/*")).or_else(|| mention("*/*"));
        mention.map_or(self.types.is_empty(), |it| it.wanted)
    }

    /// Whether the client names any of the manifests that there are. One that does not (it
    /// accepts `application/json`, say) is old or careless, and gets what is stored.
    fn names_a_manifest(&self) -> bool {
        self.types.iter().any(|it| it.wanted && MANIFESTS.contains(&it.essence.as_str()))
    }
}

/// `q=0`, `q=0.`, `q=0.000`
fn is_zero_weight(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else { return false };
    let value = value.trim();
    name.trim().eq_ignore_ascii_case("q")
        && value.starts_with('0')
        && value.bytes().all(|byte| matches!(byte, b'0' | b'.'))
}

/// Chooses the form of a manifest. Indexes are never converted, nor is what has a subject: its
/// digest is what others know it by.
pub fn as_accepted(bytes: &[u8], media_type: &str, accept: &Accept) -> Accepted {
    if accept.has(media_type) || !accept.names_a_manifest() {
        return Accepted::AsIs;
    }
    let to = match media_type {
        OCI_MANIFEST if accept.has(DOCKER_MANIFEST) => DOCKER_MANIFEST,
        DOCKER_MANIFEST if accept.has(OCI_MANIFEST) => OCI_MANIFEST,
        // A client that is told of nothing asks again and says schema 1.
        OCI_MANIFEST | DOCKER_MANIFEST | DOCKER_SCHEMA_1 | DOCKER_SCHEMA_1_SIGNED => {
            return Accepted::None;
        }
        // A client that takes no index is not told that there is nothing: it takes the index or
        // fails with a better message.
        _ => return Accepted::AsIs,
    };
    match converted(bytes, to) {
        Some(bytes) => Accepted::Converted {
            digest: Digest::of(Algorithm::Sha256, &bytes),
            media_type: to.to_owned(),
            bytes,
        },
        None => Accepted::None,
    }
}

fn converted(bytes: &[u8], to: &str) -> Option<Vec<u8>> {
    let mut manifest: Members<'_> = serde_json::from_slice(bytes).ok()?;
    if manifest.get("subject").is_some() || manifest.get("artifactType").is_some() {
        return None;
    }
    let config = renamed(serde_json::from_str(manifest.get("config")?.get()).ok()?, to)?;
    let config = to_raw_value(&config).ok()?;
    let layers: Vec<Members<'_>> = serde_json::from_str(manifest.get("layers")?.get()).ok()?;
    let layers: Option<Vec<_>> = layers.into_iter().map(|layer| renamed(layer, to)).collect();
    let layers = to_raw_value(&layers?).ok()?;
    manifest.set("mediaType", to_raw_value(to).ok()?);
    manifest.set("config", config);
    manifest.set("layers", layers);
    serde_json::to_vec(&manifest).ok()
}

/// Gives a config or layer the type of the same meaning; `None` if there is none.
fn renamed<'a>(mut descriptor: Members<'a>, to: &str) -> Option<Members<'a>> {
    let from: String = serde_json::from_str(descriptor.get("mediaType")?.get()).ok()?;
    let meant = SAME.iter().find_map(|(oci, docker)| match to {
        DOCKER_MANIFEST => (*oci == from).then_some(*docker),
        _ => (*docker == from).then_some(*oci),
    })?;
    descriptor.set("mediaType", to_raw_value(meant).ok()?);
    Some(descriptor)
}

/// An object as it is written. What is not looked at stays the text that it is: as a tree of
/// values a stranger's manifest could take seventy times its size.
#[derive(Default)]
struct Members<'a>(Vec<(Cow<'a, str>, Cow<'a, RawValue>)>);

impl<'a> Members<'a> {
    fn get(&self, name: &str) -> Option<&RawValue> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| &**value)
    }

    /// Replaces a member where it stands, or adds it at the end.
    fn set(&mut self, name: &'static str, value: Box<RawValue>) {
        match self.0.iter_mut().find(|(key, _)| key == name) {
            Some(member) => member.1 = Cow::Owned(value),
            None => self.0.push((Cow::Borrowed(name), Cow::Owned(value))),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members<'a>, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Members::default();
        while let Some((key, value)) = map.next_entry::<Key<'de>, &RawValue>()? {
            members.0.push((key.0, Cow::Borrowed(value)));
        }
        Ok(members)
    }
}

/// A name, where it stands if it has no escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::media_type::{DOCKER_LIST, OCI_INDEX, ORAS_ARTIFACT};

    fn oci() -> Vec<u8> {
        let d = Digest::of(Algorithm::Sha256, b"");
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{{"mediaType":"{OCI_CONFIG}","digest":"{d}","size":2}},"layers":[{{"mediaType":"{OCI_LAYER_GZIP}","digest":"{d}","size":2}}]}}"#
        )
        .into_bytes()
    }

    fn choose(bytes: &[u8], media_type: &str, types: &[&str]) -> Accepted {
        as_accepted(bytes, media_type, &Accept::of_media_types(types))
    }

    #[test]
    fn there_and_back() {
        let stored = oci();
        let to_docker = choose(&stored, OCI_MANIFEST, &[DOCKER_MANIFEST]);
        let Accepted::Converted { digest, media_type, bytes } = to_docker else {
            panic!("not converted")
        };
        assert_eq!(media_type, DOCKER_MANIFEST);
        assert_eq!(digest, Digest::of(Algorithm::Sha256, &bytes));
        let manifest = crate::manifest::Manifest::parse(&bytes, None).unwrap();
        assert_eq!(manifest.config.unwrap().media_type, DOCKER_CONFIG);
        let back = choose(&bytes, DOCKER_MANIFEST, &[OCI_MANIFEST]);
        assert!(matches!(back, Accepted::Converted { bytes, .. } if bytes == stored));
    }

    #[test]
    fn what_means_nothing_here_stays_as_it_is_written() {
        let text = String::from_utf8(oci()).unwrap();
        let odd = r#","x":[1.50, {"a" :"\u0041"}],"mediaTyp\u0065s":1e400}"#;
        let stored = format!("{}{odd}", &text[..text.len() - 1]);
        let made = choose(stored.as_bytes(), OCI_MANIFEST, &[DOCKER_MANIFEST]);
        let Accepted::Converted { bytes, .. } = made else { panic!("not converted") };
        let made = String::from_utf8(bytes).unwrap();
        assert!(made.ends_with(r#","x":[1.50, {"a" :"\u0041"}],"mediaTypes":1e400}"#), "{made}");
    }

    #[test]
    fn who_accepts_the_stored_form_or_does_not_say_gets_it() {
        let stored = oci();
        for types in [
            &[][..],
            &["*/*"],
            &[DOCKER_MANIFEST, OCI_MANIFEST],
            &["application/json"],
            &["application/*", DOCKER_MANIFEST],
            &["application/vnd.oci.image.manifest.v1+json;q=0.5"],
            &["application/vnd.oci.image.manifest.v1+json; Q=0.001", DOCKER_MANIFEST],
            &["", ";q=0"],
        ] {
            assert_eq!(choose(&stored, OCI_MANIFEST, types), Accepted::AsIs, "{types:?}");
        }
    }

    #[test]
    fn what_a_client_refuses_it_does_not_get() {
        let stored = oci();
        for zero in [";q=0", "; q=0.000", ";x=1; Q=0."] {
            let refused = format!("{OCI_MANIFEST}{zero}");
            let found = choose(&stored, OCI_MANIFEST, &[&refused, DOCKER_MANIFEST, "*/*"]);
            assert!(matches!(found, Accepted::Converted { .. }), "{zero}: {found:?}");
        }
    }

    /// ecr.md C.11, and what it leaves open.
    #[test]
    fn what_fits_nothing_is_not_there() {
        let stored = oci();
        let check = |media_type, types: &[&str], expected| {
            assert_eq!(choose(&stored, media_type, types), expected, "{media_type} {types:?}");
        };
        check(OCI_MANIFEST, &[OCI_INDEX], Accepted::None);
        check(OCI_MANIFEST, &[DOCKER_SCHEMA_1, DOCKER_SCHEMA_1_SIGNED], Accepted::None);
        check(DOCKER_MANIFEST, &[DOCKER_SCHEMA_1_SIGNED], Accepted::None);
        check(DOCKER_SCHEMA_1, &[DOCKER_MANIFEST, OCI_MANIFEST], Accepted::None);
        check(DOCKER_SCHEMA_1, &[DOCKER_MANIFEST, DOCKER_SCHEMA_1], Accepted::AsIs);
        check(OCI_INDEX, &[OCI_MANIFEST], Accepted::AsIs);
        check(DOCKER_LIST, &[OCI_INDEX], Accepted::AsIs);
        check(ORAS_ARTIFACT, &[OCI_MANIFEST], Accepted::AsIs);
    }

    #[test]
    fn every_type_has_its_like() {
        let text = String::from_utf8(oci()).unwrap();
        for (layer, docker) in SAME.into_iter().skip(1) {
            let stored = text.replace(OCI_LAYER_GZIP, layer);
            let made = choose(stored.as_bytes(), OCI_MANIFEST, &[DOCKER_MANIFEST]);
            let Accepted::Converted { bytes, .. } = made else { panic!("{layer} not converted") };
            let manifest = crate::Manifest::parse(&bytes, None).unwrap();
            assert_eq!(manifest.layers[0].media_type, docker);
            let back = choose(&bytes, DOCKER_MANIFEST, &[OCI_MANIFEST]);
            assert!(
                matches!(back, Accepted::Converted { bytes, .. } if bytes == stored.as_bytes())
            );
        }
    }

    #[test]
    fn what_has_no_other_form_is_not_there() {
        let text = String::from_utf8(oci()).unwrap();
        let other = text.replace(OCI_CONFIG, "application/vnd.cncf.helm.config.v1+json");
        assert_eq!(choose(other.as_bytes(), OCI_MANIFEST, &[DOCKER_MANIFEST]), Accepted::None);
        for member in [r#","subject":{}}"#, r#","artifactType":"a/b"}"#] {
            let other = format!("{}{member}", &text[..text.len() - 1]);
            assert_eq!(choose(other.as_bytes(), OCI_MANIFEST, &[DOCKER_MANIFEST]), Accepted::None);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_or_types_make_it_panic(
            bytes: Vec<u8>,
            types: Vec<String>,
            stored in proptest::sample::select(&MANIFESTS[..]),
            named in proptest::sample::select(&MANIFESTS[..]),
        ) {
            let types: Vec<_> = types.iter().map(String::as_str).chain([named]).collect();
            let accepted = as_accepted(&bytes, stored, &Accept::of_media_types(&types));
            prop_assert!(stored != named || accepted == Accepted::AsIs);
        }
    }
}
