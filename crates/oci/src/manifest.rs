//! Manifests: what kind they are and what they name.
//!
//! The bytes are kept as they were received and never written anew. Unknown members are ignored.
//! What could be read in two ways is refused: a body with both `layers` and `manifests`, a media
//! type that is not the one in the body, a member twice, a member in another case.
//!
//! **Invariant:** the media type of a [`Manifest`] is one of [`media_type::MANIFESTS`], letter for
//! letter, so it can be a header; every other text of it that becomes a column is printable ASCII.

mod shape;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::BTreeMap;

use wire::{List, Wire, WireDescriptor, WireFsLayer};

use crate::{Digest, InvalidDigest, media_type};

/// The longest manifest, in bytes.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;
/// The most descriptors of one manifest, beside its config and its subject.
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
    /// What it refers to, which need not exist.
    pub subject: Option<Descriptor>,
    pub annotations: BTreeMap<String, String>,
}

/// What a manifest says of something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    pub media_type: String,
    pub digest: Digest,
    /// In bytes. 0 for a layer of schema 1, which does not say it.
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

impl Manifest {
    /// Reads a manifest. `content_type` is what came with it, if anything.
    ///
    /// Takes time and memory linear in the bytes, and keeps no list beyond its limit. Depth costs no stack: the parser stops at 128
    /// levels of what is read here and skips what is not without recursion.
    ///
    /// # Errors
    /// See [`ManifestError`]; its texts are ECR's where there is one.
    pub fn parse(bytes: &[u8], content_type: Option<&str>) -> Result<Manifest, ManifestError> {
        if bytes.len() > MAX_BYTES {
            return Err(ManifestError::TooLarge);
        }
        let wire: Wire = serde_json::from_slice(bytes).map_err(|_| ManifestError::Syntax)?;
        shape::check(bytes)?;
        let media_type = decide_media_type(&wire, content_type)?;
        let kind = kind(media_type);
        check_members(&wire, kind)?;
        if wire.count() > MAX_DESCRIPTORS {
            return Err(ManifestError::TooManyDescriptors);
        }
        let config = wire.config.map(descriptor).transpose()?;
        let mut layers = descriptors(wire.layers)?;
        layers.extend(descriptors(wire.blobs)?);
        for layer in wire.fs_layers.into_iter().flat_map(|list| list.0) {
            layers.push(schema_1_layer(&layer)?);
        }
        let artifact_type = wire.artifact_type.filter(|text| !text.is_empty());
        let artifact_type = artifact_type.map(checked_type).transpose()?;
        let config_type = config.as_ref().map(|config| config.media_type.clone());
        let manifest = Manifest {
            kind,
            media_type: media_type.to_owned(),
            artifact_type: artifact_type.or(config_type),
            children: descriptors(wire.manifests)?,
            subject: wire.subject.map(descriptor).transpose()?,
            annotations: wire.annotations.unwrap_or_default(),
            config,
            layers,
        };
        if i64::try_from(manifest.size()).is_err() {
            return Err(invalid("the sizes of the layers are too large"));
        }
        Ok(manifest)
    }

    /// Config and layers, in their order. A digest may come more than once.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        self.config.iter().chain(&self.layers)
    }

    /// Sizes of config and layers together, in bytes: at most `i64::MAX`.
    pub fn size(&self) -> u64 {
        self.blobs().fold(0, |sum, blob| sum.saturating_add(blob.size))
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

/// The media type that both the body and what came with it say, or the one that says it.
fn decide_media_type(
    wire: &Wire,
    content_type: Option<&str>,
) -> Result<&'static str, ManifestError> {
    let given = content_type.map(media_type::essence).filter(|text| !text.is_empty());
    // A client that says only that it is JSON says nothing.
    let given = given.filter(|text| !matches!(text.as_str(), "application/json" | "text/plain"));
    let found = wire.media_type.as_deref().filter(|text| !text.is_empty());
    match (given.as_deref(), found) {
        (Some(given), Some(found)) if given != found => {
            Err(ManifestError::OtherMediaType { given: echo(given), found: echo(found) })
        }
        (Some(text), _) | (None, Some(text)) => {
            media_type::manifest(text).ok_or_else(|| ManifestError::Unsupported(echo(text)))
        }
        // Schema 1 has no member for its type: its version number is one.
        (None, None) if wire.schema_version == Some(1) && wire.fs_layers.is_some() => {
            let signed = wire.signatures.as_ref().is_some_and(|list| !list.is_empty());
            Ok(if signed {
                media_type::DOCKER_SCHEMA_1_SIGNED
            } else {
                media_type::DOCKER_SCHEMA_1
            })
        }
        (None, None) => Err(ManifestError::NoMediaType),
    }
}

/// What an error may repeat of a stranger's text: short, and without control characters.
fn echo(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_TYPE).collect()
}

fn kind(media_type: &str) -> Kind {
    match media_type {
        media_type::OCI_INDEX | media_type::DOCKER_LIST => Kind::Index,
        media_type::ORAS_ARTIFACT => Kind::Artifact,
        media_type::DOCKER_SCHEMA_1 | media_type::DOCKER_SCHEMA_1_SIGNED => Kind::Schema1,
        _ => Kind::Image,
    }
}

/// A manifest has the members of its kind and none of another one's.
fn check_members(wire: &Wire, kind: Kind) -> Result<(), ManifestError> {
    let (version, name, needed, allowed) = match kind {
        Kind::Image => (2, "an image", Some("config"), &["config", "layers"][..]),
        Kind::Index => (2, "an index", Some("manifests"), &["manifests"][..]),
        Kind::Artifact => (2, "an artifact", None, &["blobs"][..]),
        Kind::Schema1 => (1, "a manifest of schema 1", Some("fsLayers"), &["fsLayers"][..]),
    };
    // ORAS's manifest has no version.
    if kind != Kind::Artifact && wire.schema_version != Some(version) {
        return Err(ManifestError::Invalid(format!("schemaVersion must be {version}")));
    }
    for (member, present) in wire.content() {
        if present && !allowed.contains(&member) {
            return Err(ManifestError::Invalid(format!("{name} has no {member}")));
        }
        if !present && needed == Some(member) {
            return Err(ManifestError::Invalid(format!("{name} has {member}")));
        }
    }
    Ok(())
}

fn descriptors(list: Option<List<WireDescriptor>>) -> Result<Vec<Descriptor>, ManifestError> {
    list.into_iter().flat_map(|list| list.0).map(descriptor).collect()
}

fn descriptor(wire: WireDescriptor) -> Result<Descriptor, ManifestError> {
    let media_type = wire.media_type.ok_or_else(|| invalid("a descriptor has a mediaType"))?;
    let size = wire.size.and_then(|size| u64::try_from(size).ok());
    let size = size.ok_or_else(|| invalid("a descriptor has a size that is not negative"))?;
    Ok(Descriptor {
        media_type: checked_type(media_type)?,
        digest: digest(wire.digest.as_deref())?,
        size,
        has_urls: wire.urls.is_some_and(|urls| !urls.is_empty()),
    })
}

/// Any text that clients use as a type, but none that a column or a terminal would choke on.
fn checked_type(text: String) -> Result<String, ManifestError> {
    let printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if printable && (1..=MAX_TYPE).contains(&text.len()) {
        Ok(text)
    } else {
        Err(invalid("a media type has 1 to 255 printable characters of ASCII"))
    }
}

fn schema_1_layer(wire: &WireFsLayer) -> Result<Descriptor, ManifestError> {
    let digest = digest(wire.blob_sum.as_deref())?;
    let media_type = media_type::DOCKER_LAYER_GZIP.to_owned();
    Ok(Descriptor { media_type, digest, size: 0, has_urls: false })
}

fn digest(text: Option<&str>) -> Result<Digest, ManifestError> {
    let text = text.ok_or_else(|| invalid("a descriptor has a digest"))?;
    text.parse().map_err(|error: InvalidDigest| ManifestError::Invalid(error.to_string()))
}
