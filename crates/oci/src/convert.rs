//! The form of a manifest that a client accepts, when it asks by tag (ECR's conversion on pull).
//!
//! Docker's schema 2 and the image manifest of the specification differ in names only, so one is
//! made of the other, under a digest of its own. Schema 1 is never made: it needs the config's
//! bytes and a signature, and no client of today asks for it alone.

use serde_json::Value;

use crate::media_type::{
    DOCKER_CONFIG, DOCKER_FOREIGN_LAYER, DOCKER_LAYER_GZIP, DOCKER_LAYER_TAR, DOCKER_LIST,
    DOCKER_MANIFEST, DOCKER_SCHEMA_1, DOCKER_SCHEMA_1_SIGNED, OCI_CONFIG, OCI_INDEX,
    OCI_LAYER_GZIP, OCI_LAYER_TAR, OCI_MANIFEST, essence,
};
use crate::{Algorithm, Digest};

/// Types beyond this many are not looked at.
const MAX_TYPES: usize = 200;

/// The media types that a client accepts.
#[derive(Clone, Debug, Default)]
pub struct Accept {
    types: Vec<String>,
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
    /// Media types, each on its own and without parameters; none accepts everything.
    pub fn of_media_types(types: &[impl AsRef<str>]) -> Accept {
        let types = types.iter().take(MAX_TYPES).map(|text| essence(text.as_ref()));
        Accept { types: types.filter(|text| !text.is_empty()).collect() }
    }

    fn has(&self, media_type: &str) -> bool {
        let any = |text: &String| text == "*/*" || text == "application/*";
        self.types.is_empty() || self.types.iter().any(|text| text == media_type || any(text))
    }

    /// Whether the client names any of the manifests that there are. One that does not (it
    /// accepts `application/json`, say) is old or careless, and gets what is stored.
    fn names_a_manifest(&self) -> bool {
        let known = [
            OCI_MANIFEST,
            OCI_INDEX,
            DOCKER_MANIFEST,
            DOCKER_LIST,
            DOCKER_SCHEMA_1,
            DOCKER_SCHEMA_1_SIGNED,
        ];
        self.types.iter().any(|text| known.contains(&text.as_str()))
    }
}

/// Chooses the form of a manifest. Indexes are never converted, nor is what has a subject: its
/// digest is what others know it by.
pub fn as_accepted(bytes: &[u8], media_type: &str, accept: &Accept) -> Accepted {
    let stored = essence(media_type);
    if accept.has(&stored) || !accept.names_a_manifest() {
        return Accepted::AsIs;
    }
    let to = match stored.as_str() {
        OCI_MANIFEST if accept.has(DOCKER_MANIFEST) => DOCKER_MANIFEST,
        DOCKER_MANIFEST if accept.has(OCI_MANIFEST) => OCI_MANIFEST,
        // A client that takes no index is not told that there is nothing: it takes the index or
        // fails with a better message.
        OCI_INDEX | DOCKER_LIST => return Accepted::AsIs,
        OCI_MANIFEST | DOCKER_MANIFEST => return Accepted::None,
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
    let mut manifest: Value = serde_json::from_slice(bytes).ok()?;
    let members = manifest.as_object_mut()?;
    if members.contains_key("subject") || members.contains_key("artifactType") {
        return None;
    }
    members.insert("mediaType".to_owned(), Value::from(to));
    rename(members.get_mut("config")?, to)?;
    for layer in members.get_mut("layers")?.as_array_mut()? {
        rename(layer, to)?;
    }
    serde_json::to_vec(&manifest).ok()
}

/// Gives a config or layer the type of the same meaning; `None` if there is none.
fn rename(descriptor: &mut Value, to: &str) -> Option<()> {
    const SAME: [(&str, &str); 4] = [
        (OCI_CONFIG, DOCKER_CONFIG),
        (OCI_LAYER_GZIP, DOCKER_LAYER_GZIP),
        (OCI_LAYER_TAR, DOCKER_LAYER_TAR),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", DOCKER_FOREIGN_LAYER),
    ];
    let media_type = descriptor.get_mut("mediaType")?;
    let from = essence(media_type.as_str()?);
    let (_, renamed) = if to == DOCKER_MANIFEST {
        SAME.iter().find(|(oci, _)| *oci == from)?
    } else {
        let (oci, docker) = SAME.iter().find(|(_, docker)| *docker == from)?;
        &(*docker, *oci)
    };
    *media_type = Value::from(*renamed);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn who_accepts_the_stored_form_or_does_not_say_gets_it() {
        let stored = oci();
        for types in [
            &[][..],
            &["*/*"],
            &[DOCKER_MANIFEST, OCI_MANIFEST],
            &["application/json"],
            &["application/vnd.oci.image.manifest.v1+json;q=0.5"],
        ] {
            assert_eq!(choose(&stored, OCI_MANIFEST, types), Accepted::AsIs, "{types:?}");
        }
        assert_eq!(choose(&stored, OCI_INDEX, &[OCI_MANIFEST]), Accepted::AsIs);
        assert_eq!(choose(&stored, OCI_MANIFEST, &[OCI_INDEX]), Accepted::None);
    }

    #[test]
    fn what_has_no_other_form_is_not_there() {
        let text = String::from_utf8(oci()).unwrap();
        let other = text.replace(OCI_CONFIG, "application/vnd.cncf.helm.config.v1+json");
        assert_eq!(choose(other.as_bytes(), OCI_MANIFEST, &[DOCKER_MANIFEST]), Accepted::None);
    }
}
