//! Manifests: what kind they are and what they name.
//!
//! The bytes are kept as they were received and never written anew. Unknown members are ignored.
//! What could be read in two ways is refused: a body with both `layers` and `manifests`, a media
//! type that is not the one in the body.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{Digest, media_type};

/// The longest manifest, in bytes.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;
/// The most descriptors of one manifest.
pub const MAX_DESCRIPTORS: usize = 4_096;
/// The longest media type or artifact type, in characters.
const MAX_TYPE: usize = 255;

/// What a manifest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A config and layers.
    Image,
    /// A list of manifests.
    Index,
    /// Blobs without a config (ORAS's own manifest).
    Artifact,
    /// Docker's first form.
    Schema1,
}

/// A manifest, as far as a registry needs to know it.
#[derive(Clone, Debug)]
pub struct Manifest {
    pub kind: Kind,
    pub media_type: String,
    /// `artifactType`, else the media type of the config.
    pub artifact_type: Option<String>,
    pub config: Option<Descriptor>,
    pub layers: Vec<Descriptor>,
    /// What an index lists.
    pub children: Vec<Descriptor>,
    pub subject: Option<Descriptor>,
    pub annotations: BTreeMap<String, String>,
}

/// What a manifest says of something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
    /// It says where else it can be had: the registry need not hold it.
    has_urls: bool,
}

/// Why bytes are no manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    #[error(
        "Invalid parameter at 'ImageManifest' failed to satisfy constraint: 'Member must have length less than or equal to 4194304'"
    )]
    TooLarge,
    #[error(
        "Invalid parameter at 'ImageManifest' failed to satisfy constraint: 'Invalid JSON syntax'"
    )]
    Syntax,
    #[error("image manifest mediatype not provided in manifest or parameter")]
    NoMediaType,
    #[error(
        "Invalid parameter at 'ImageManifest' failed to satisfy constraint: 'media type {given} is not that of the manifest, {found}'"
    )]
    OtherMediaType { given: String, found: String },
    #[error(
        "Invalid parameter at 'ImageManifest' failed to satisfy constraint: 'media type {0} is not supported'"
    )]
    Unsupported(String),
    #[error("Invalid parameter at 'ImageManifest' failed to satisfy constraint: '{0}'")]
    Invalid(String),
    #[error(
        "Invalid parameter at 'ImageManifest' failed to satisfy constraint: 'Limit on number of layers per image exceeded'"
    )]
    TooManyDescriptors,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    schema_version: Option<i64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<WireDescriptor>,
    layers: Option<Vec<WireDescriptor>>,
    blobs: Option<Vec<WireDescriptor>>,
    manifests: Option<Vec<WireDescriptor>>,
    subject: Option<WireDescriptor>,
    annotations: Option<BTreeMap<String, String>>,
    fs_layers: Option<Vec<WireFsLayer>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireDescriptor {
    media_type: Option<String>,
    digest: Option<String>,
    size: Option<i64>,
    urls: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireFsLayer {
    blob_sum: Option<String>,
}

impl Manifest {
    /// Reads a manifest. `content_type` is what came with it, if anything.
    ///
    /// # Errors
    /// See [`ManifestError`]; its texts are ECR's where there is one.
    pub fn parse(bytes: &[u8], content_type: Option<&str>) -> Result<Manifest, ManifestError> {
        if bytes.len() > MAX_BYTES {
            return Err(ManifestError::TooLarge);
        }
        // Nesting is limited by the parser, to 128.
        let wire: Wire = serde_json::from_slice(bytes).map_err(|_| ManifestError::Syntax)?;
        let media_type = decide_media_type(&wire, content_type)?;
        let kind = kind(&media_type)?;
        check_members(&wire, kind)?;
        let count = [&wire.layers, &wire.blobs, &wire.manifests]
            .iter()
            .filter_map(|list| list.as_ref().map(Vec::len))
            .sum::<usize>()
            + wire.fs_layers.as_ref().map_or(0, Vec::len);
        if count > MAX_DESCRIPTORS {
            return Err(ManifestError::TooManyDescriptors);
        }
        let config = wire.config.map(descriptor).transpose()?;
        let mut layers = descriptors(wire.layers)?;
        layers.extend(descriptors(wire.blobs)?);
        for layer in wire.fs_layers.into_iter().flatten() {
            layers.push(schema_1_layer(layer)?);
        }
        let artifact_type = wire.artifact_type.filter(|text| !text.is_empty());
        let config_type = config.as_ref().map(|config| config.media_type.clone());
        let manifest = Manifest {
            kind,
            media_type,
            artifact_type: artifact_type.or(config_type),
            children: descriptors(wire.manifests)?,
            subject: wire.subject.map(descriptor).transpose()?,
            annotations: wire.annotations.unwrap_or_default(),
            config,
            layers,
        };
        manifest.check_sizes()?;
        Ok(manifest)
    }

    /// Config and layers.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        self.config.iter().chain(&self.layers)
    }

    /// Sizes of config and layers together, in bytes.
    pub fn size(&self) -> u64 {
        self.blobs().fold(0, |sum, blob| sum.saturating_add(blob.size))
    }

    fn check_sizes(&self) -> Result<(), ManifestError> {
        let types = self.blobs().chain(&self.children).chain(&self.subject);
        let long = types.map(|it| &it.media_type).chain(&self.artifact_type);
        for text in long {
            if text.chars().count() > MAX_TYPE {
                return Err(invalid("a media type has at most 255 characters"));
            }
        }
        if i64::try_from(self.size()).is_err() {
            return Err(invalid("the sizes of the layers are too large"));
        }
        Ok(())
    }
}

impl Descriptor {
    /// The registry need not hold it, and never fetches it.
    pub fn is_foreign(&self) -> bool {
        self.has_urls || media_type::is_foreign(&self.media_type)
    }
}

fn invalid(why: &str) -> ManifestError {
    ManifestError::Invalid(why.to_owned())
}

fn decide_media_type(wire: &Wire, content_type: Option<&str>) -> Result<String, ManifestError> {
    let given = content_type.map(media_type::essence).filter(|text| !text.is_empty());
    // A client that says only that it is JSON says nothing.
    let given = given.filter(|text| !matches!(text.as_str(), "application/json" | "text/plain"));
    let found = wire.media_type.clone().filter(|text| !text.is_empty());
    match (given, found) {
        (Some(given), Some(found)) if given == media_type::essence(&found) => Ok(found),
        (Some(given), Some(found)) => Err(ManifestError::OtherMediaType { given, found }),
        (Some(given), None) => Ok(given),
        (None, Some(found)) => Ok(found),
        (None, None) if wire.schema_version == Some(1) && wire.fs_layers.is_some() => {
            Ok(media_type::DOCKER_SCHEMA_1.to_owned())
        }
        (None, None) => Err(ManifestError::NoMediaType),
    }
}

fn kind(media_type: &str) -> Result<Kind, ManifestError> {
    match media_type::essence(media_type).as_str() {
        media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST => Ok(Kind::Image),
        media_type::OCI_INDEX | media_type::DOCKER_LIST => Ok(Kind::Index),
        media_type::ORAS_ARTIFACT => Ok(Kind::Artifact),
        media_type::DOCKER_SCHEMA_1 | media_type::DOCKER_SCHEMA_1_SIGNED => Ok(Kind::Schema1),
        _ => Err(ManifestError::Unsupported(media_type.to_owned())),
    }
}

/// A manifest has the members of its kind and none of another one's.
fn check_members(wire: &Wire, kind: Kind) -> Result<(), ManifestError> {
    let has_image = wire.layers.is_some() || wire.config.is_some();
    let has_index = wire.manifests.is_some();
    let version = match kind {
        Kind::Schema1 => 1,
        _ => 2,
    };
    if kind != Kind::Artifact && wire.schema_version != Some(version) {
        return Err(ManifestError::Invalid(format!("schemaVersion must be {version}")));
    }
    match kind {
        Kind::Image if has_index || wire.fs_layers.is_some() => {
            Err(invalid("an image has no manifests"))
        }
        Kind::Image if wire.config.is_none() => Err(invalid("an image has a config")),
        Kind::Index if has_image || wire.fs_layers.is_some() => {
            Err(invalid("an index has no config and no layers"))
        }
        Kind::Index if !has_index => Err(invalid("an index has manifests")),
        Kind::Artifact if has_image || has_index => {
            Err(invalid("an artifact has no config, layers or manifests"))
        }
        Kind::Schema1 if has_image || has_index => {
            Err(invalid("a manifest of schema 1 has no config, layers or manifests"))
        }
        Kind::Schema1 if wire.fs_layers.is_none() => {
            Err(invalid("a manifest of schema 1 has fsLayers"))
        }
        _ => Ok(()),
    }
}

fn descriptors(list: Option<Vec<WireDescriptor>>) -> Result<Vec<Descriptor>, ManifestError> {
    list.into_iter().flatten().map(descriptor).collect()
}

fn descriptor(wire: WireDescriptor) -> Result<Descriptor, ManifestError> {
    let media_type = wire.media_type.filter(|text| !text.is_empty());
    let media_type = media_type.ok_or_else(|| invalid("a descriptor has a mediaType"))?;
    let size = wire.size.and_then(|size| u64::try_from(size).ok());
    let size = size.ok_or_else(|| invalid("a descriptor has a size that is not negative"))?;
    let digest = digest(wire.digest.as_deref())?;
    let has_urls = wire.urls.is_some_and(|urls| !urls.is_empty());
    Ok(Descriptor { media_type, digest, size, has_urls })
}

/// Layers of schema 1 have no size.
fn schema_1_layer(wire: WireFsLayer) -> Result<Descriptor, ManifestError> {
    let digest = digest(wire.blob_sum.as_deref())?;
    let media_type = media_type::DOCKER_LAYER_GZIP.to_owned();
    Ok(Descriptor { media_type, digest, size: 0, has_urls: false })
}

fn digest(text: Option<&str>) -> Result<Digest, ManifestError> {
    let text = text.ok_or_else(|| invalid("a descriptor has a digest"))?;
    text.parse().map_err(|error: crate::InvalidDigest| ManifestError::Invalid(error.to_string()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn item(media_type: &str) -> String {
        format!(r#"{{"mediaType":"{media_type}","digest":"{D}","size":3}}"#)
    }

    fn image(extra: &str) -> String {
        let (config, layer) = (item(media_type::OCI_CONFIG), item(media_type::OCI_LAYER_GZIP));
        format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layer}]{extra}}}"#)
    }

    fn parse(text: &str, content_type: Option<&str>) -> Result<Manifest, ManifestError> {
        Manifest::parse(text.as_bytes(), content_type)
    }

    #[test]
    fn an_image_and_what_it_names() {
        let manifest = parse(&image(""), Some(media_type::OCI_MANIFEST)).unwrap();
        assert_eq!(manifest.kind, Kind::Image);
        assert_eq!(manifest.artifact_type.as_deref(), Some(media_type::OCI_CONFIG));
        assert_eq!((manifest.size(), manifest.blobs().count()), (6, 2));
        let more = format!(
            r#","artifactType":"text/x","subject":{},"annotations":{{"a":"b"}},"new":1"#,
            item(media_type::OCI_MANIFEST)
        );
        let manifest = parse(&image(&more), Some(media_type::OCI_MANIFEST)).unwrap();
        assert_eq!(manifest.artifact_type.as_deref(), Some("text/x"));
        assert_eq!(manifest.subject.unwrap().digest.to_string(), D);
        assert_eq!(manifest.annotations["a"], "b");
    }

    #[test]
    fn media_types_agree_or_are_refused() {
        let typed = image(&format!(r#","mediaType":"{}""#, media_type::OCI_MANIFEST));
        assert!(parse(&typed, None).is_ok());
        assert!(parse(&typed, Some("application/vnd.oci.image.manifest.v1+json; x=y")).is_ok());
        let other = parse(&typed, Some(media_type::DOCKER_MANIFEST)).unwrap_err();
        assert!(matches!(other, ManifestError::OtherMediaType { .. }));
        let none = parse(&image(""), None).unwrap_err();
        assert_eq!(
            none.to_string(),
            "image manifest mediatype not provided in manifest or parameter"
        );
        let unknown = parse(&image(""), Some("text/html")).unwrap_err();
        assert!(matches!(unknown, ManifestError::Unsupported(_)));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let both = image(r#","manifests":[]"#);
        for content_type in [media_type::OCI_MANIFEST, media_type::OCI_INDEX] {
            assert!(matches!(parse(&both, Some(content_type)), Err(ManifestError::Invalid(_))));
        }
        let index =
            format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, item(media_type::OCI_MANIFEST));
        assert_eq!(parse(&index, Some(media_type::OCI_INDEX)).unwrap().children.len(), 1);
        assert!(parse(&index, Some(media_type::OCI_MANIFEST)).is_err());
    }

    #[test]
    fn bad_descriptors_are_refused() {
        for bad in [
            r#"{"mediaType":"x","digest":"md5:00","size":1}"#,
            r#"{"mediaType":"x","digest":"sha256:../../x","size":1}"#,
            r#"{"mediaType":"x","size":1}"#,
            r#"{"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":1}"#,
            r#"{"mediaType":"x","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":-1}"#,
        ] {
            let text = format!(
                r#"{{"schemaVersion":2,"config":{},"layers":[{bad}]}}"#,
                item(media_type::OCI_CONFIG)
            );
            let error = parse(&text, Some(media_type::OCI_MANIFEST)).unwrap_err();
            assert!(matches!(error, ManifestError::Invalid(_)), "{bad}");
        }
        assert_eq!(parse("{", None).unwrap_err(), ManifestError::Syntax);
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(parse(&deep, None).unwrap_err(), ManifestError::Syntax);
    }

    #[test]
    fn limits() {
        let many = vec![item("x"); MAX_DESCRIPTORS + 1].join(",");
        let text = format!(
            r#"{{"schemaVersion":2,"config":{},"layers":[{many}]}}"#,
            item(media_type::OCI_CONFIG)
        );
        let error = parse(&text, Some(media_type::OCI_MANIFEST)).unwrap_err();
        assert_eq!(error, ManifestError::TooManyDescriptors);
        let long = vec![b' '; MAX_BYTES + 1];
        assert_eq!(Manifest::parse(&long, None).unwrap_err(), ManifestError::TooLarge);
    }

    #[test]
    fn foreign_layers_need_not_be_there() {
        let with_urls =
            format!(r#"{{"mediaType":"x","digest":"{D}","size":1,"urls":["http://x"]}}"#);
        let foreign = item("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip");
        let text = format!(
            r#"{{"schemaVersion":2,"config":{},"layers":[{with_urls},{foreign}]}}"#,
            item(media_type::OCI_CONFIG)
        );
        let manifest = parse(&text, Some(media_type::OCI_MANIFEST)).unwrap();
        assert!(manifest.layers.iter().all(Descriptor::is_foreign));
        assert!(!manifest.config.unwrap().is_foreign());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, content_type: Option<String>) {
            let _ = Manifest::parse(&bytes, content_type.as_deref());
        }
    }
}
