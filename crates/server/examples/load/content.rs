//! What is pushed: bytes that cost nothing to make and are different for each seed.

use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::Blobs;

/// The stretch of noise that content repeats. It does not compress.
const BLOCK: usize = 1 << 20;
/// Bytes at the beginning that make a blob different from all others.
const MARK: usize = 32;

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The noise that all blobs share.
pub(crate) fn noise() -> Vec<u8> {
    // Xorshift, <https://www.jstatsoft.org/article/view/v008i14>.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(BLOCK);
    while bytes.len() < BLOCK {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}

/// A blob: a mark, and then noise.
pub(crate) struct Blob {
    mark: [u8; MARK],
    pub(crate) size: u64,
    /// `sha256:…`.
    pub(crate) digest: String,
}

impl Blob {
    fn new(noise: &[u8], seed: u64, number: u64, size: u64) -> Blob {
        let mut mark = [0; MARK];
        for (place, part) in mark.chunks_exact_mut(8).zip([seed, number, size, !seed]) {
            place.copy_from_slice(&part.to_le_bytes());
        }
        let mut blob = Blob { mark, size, digest: String::new() };
        let mut hasher = Sha256::new();
        let mut offset = 0;
        while offset < size {
            let piece = blob.piece(noise, offset, size - offset);
            hasher.update(piece);
            offset += length(piece);
        }
        blob.digest = format!("sha256:{}", const_hex::encode(hasher.finalize()));
        blob
    }

    /// The next bytes from `offset` on, at most `most`; as many as lie together.
    pub(crate) fn piece<'a>(&'a self, noise: &'a [u8], offset: u64, most: u64) -> &'a [u8] {
        let most = usize::try_from(most.min(self.size - offset)).unwrap_or(BLOCK);
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = if offset < MARK { &self.mark[offset..] } else { &noise[offset % BLOCK..] };
        &rest[..most.min(rest.len())]
    }
}

/// A length for sums of 64 bits.
pub(crate) fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// All blobs of a run.
pub(crate) fn blobs(noise: &[u8], wanted: &Blobs) -> Vec<Blob> {
    (0..wanted.count).map(|number| Blob::new(noise, wanted.seed, number, wanted.size)).collect()
}

/// What small images share. Their manifests tell them apart.
pub(crate) struct Image {
    pub(crate) config: Vec<u8>,
    pub(crate) layer: Vec<u8>,
}

impl Image {
    pub(crate) fn new(noise: &[u8]) -> Image {
        let layer = noise[..64 << 10].to_vec();
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
        });
        Image { config: config.to_string().into_bytes(), layer }
    }

    /// The manifest of the image with this name.
    pub(crate) fn manifest(&self, name: &str) -> Vec<u8> {
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": digest(&self.config),
                "size": self.config.len(),
            },
            "layers": [{
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": digest(&self.layer),
                "size": self.layer.len(),
            }],
            "annotations": { "org.opencontainers.image.title": name },
        });
        manifest.to_string().into_bytes()
    }
}

/// The digest of bytes as OCI writes it.
pub(crate) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", const_hex::encode(Sha256::digest(bytes)))
}
