//! A manifest as it is written, of every kind at once.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

/// The members that mean something, all optional: which of them a manifest must have depends on
/// its kind, which is known only when it was read. One that comes twice is an error.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Wire {
    pub(super) schema_version: Option<i64>,
    pub(super) media_type: Option<String>,
    pub(super) artifact_type: Option<String>,
    pub(super) config: Option<WireDescriptor>,
    pub(super) layers: Option<Vec<WireDescriptor>>,
    pub(super) blobs: Option<Vec<WireDescriptor>>,
    pub(super) manifests: Option<Vec<WireDescriptor>>,
    pub(super) subject: Option<WireDescriptor>,
    pub(super) annotations: Option<BTreeMap<String, String>>,
    pub(super) fs_layers: Option<Vec<WireFsLayer>>,
    pub(super) signatures: Option<Vec<IgnoredAny>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireDescriptor {
    pub(super) media_type: Option<String>,
    pub(super) digest: Option<String>,
    pub(super) size: Option<i64>,
    pub(super) urls: Option<Vec<String>>,
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
        let lists = lists.iter().filter_map(|list| list.as_ref().map(Vec::len));
        lists.sum::<usize>() + self.fs_layers.as_ref().map_or(0, Vec::len)
    }
}
