//! A manifest as it is written, of every kind at once.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, SeqAccess, Visitor};

use super::MAX_DESCRIPTORS;

/// The members that mean something, all optional: which of them a manifest must have depends on
/// its kind, which is known only when it was read. One that comes twice is an error.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Wire {
    pub(super) schema_version: Option<i64>,
    pub(super) media_type: Option<String>,
    pub(super) artifact_type: Option<String>,
    pub(super) config: Option<WireDescriptor>,
    pub(super) layers: Option<List<WireDescriptor>>,
    pub(super) blobs: Option<List<WireDescriptor>>,
    pub(super) manifests: Option<List<WireDescriptor>>,
    pub(super) subject: Option<WireDescriptor>,
    pub(super) annotations: Option<BTreeMap<String, String>>,
    pub(super) fs_layers: Option<List<WireFsLayer>>,
    pub(super) signatures: Option<Vec<IgnoredAny>>,
}

/// A list that is read to its end, of which one more is kept than a manifest may have. Two
/// characters of a list make a value of a hundred bytes, so a long one would take far more
/// memory than its text.
pub(super) struct List<T>(pub(super) Vec<T>);

/// Any text, which is not kept.
pub(super) struct Text;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireDescriptor {
    pub(super) media_type: Option<String>,
    pub(super) digest: Option<String>,
    pub(super) size: Option<i64>,
    pub(super) urls: Option<Vec<Text>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireFsLayer {
    pub(super) blob_sum: Option<String>,
}

impl Wire {
    /// The members that name content, and whether they are there.
    pub(super) fn content(&self) -> [(&'static str, bool); 5] {
        [
            ("config", self.config.is_some()),
            ("layers", self.layers.is_some()),
            ("blobs", self.blobs.is_some()),
            ("manifests", self.manifests.is_some()),
            ("fsLayers", self.fs_layers.is_some()),
        ]
    }

    /// How many descriptors its lists have.
    pub(super) fn count(&self) -> usize {
        let lists = [&self.layers, &self.blobs, &self.manifests];
        let lists = lists.iter().filter_map(|list| list.as_ref().map(|list| list.0.len()));
        lists.sum::<usize>() + self.fs_layers.as_ref().map_or(0, |list| list.0.len())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<List<T>, D::Error> {
        deserializer.deserialize_seq(ListVisitor(PhantomData))
    }
}

struct ListVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
    type Value = List<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<List<T>, A::Error> {
        let mut kept = Vec::new();
        while let Some(item) = list.next_element()? {
            if kept.len() <= MAX_DESCRIPTORS {
                kept.push(item);
            }
        }
        Ok(List(kept))
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

struct TextVisitor;

impl Visitor<'_> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Text, E> {
        Ok(Text)
    }
}
