//! Media types of manifests and of what they name.

pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";
pub const OCI_LAYER_TAR: &str = "application/vnd.oci.image.layer.v1.tar";
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
pub const OCI_FOREIGN_LAYER_TAR: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar";
pub const OCI_FOREIGN_LAYER: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
pub const OCI_FOREIGN_LAYER_ZSTD: &str =
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd";
pub const ORAS_ARTIFACT: &str = "application/vnd.cncf.oras.artifact.manifest.v1+json";
pub const DOCKER_SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1+json";
pub const DOCKER_SCHEMA_1_SIGNED: &str =
    "application/vnd.docker.distribution.manifest.v1+prettyjws";
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
pub const DOCKER_LAYER_TAR: &str = "application/vnd.docker.image.rootfs.diff.tar";
pub const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";
pub const DOCKER_FOREIGN_LAYER_TAR: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar";
pub const DOCKER_FOREIGN_LAYER: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
pub const DOCKER_FOREIGN_LAYER_ZSTD: &str =
    "application/vnd.docker.image.rootfs.foreign.diff.tar.zstd";

/// What a registry takes as a manifest.
pub const MANIFESTS: [&str; 7] = [
    OCI_MANIFEST,
    OCI_INDEX,
    DOCKER_MANIFEST,
    DOCKER_LIST,
    DOCKER_SCHEMA_1,
    DOCKER_SCHEMA_1_SIGNED,
    ORAS_ARTIFACT,
];

/// The type of a manifest that a text is, letter for letter.
pub fn manifest(text: &str) -> Option<&'static str> {
    MANIFESTS.into_iter().find(|known| *known == text)
}

/// Layers that a registry need not hold.
pub fn is_foreign(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.oci.image.layer.nondistributable.")
        || media_type.starts_with("application/vnd.docker.image.rootfs.foreign.")
}

/// Without parameters and white space, in lower case: what types are compared by.
pub fn essence(text: &str) -> String {
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_are_known_by_their_letters() {
        for known in MANIFESTS {
            assert_eq!(manifest(known), Some(known));
            assert_eq!(manifest(&known.to_uppercase()), None);
            assert_eq!(manifest(&format!("{known};")), None);
            assert_eq!(essence(&format!(" {} ; q=1", known.to_uppercase())), known);
        }
        assert_eq!(manifest(""), None);
        assert_eq!(manifest(OCI_CONFIG), None);
    }

    #[test]
    fn foreign_layers_are_known_by_their_beginning() {
        let foreign = [
            OCI_FOREIGN_LAYER,
            OCI_FOREIGN_LAYER_TAR,
            OCI_FOREIGN_LAYER_ZSTD,
            DOCKER_FOREIGN_LAYER,
            DOCKER_FOREIGN_LAYER_TAR,
            DOCKER_FOREIGN_LAYER_ZSTD,
        ];
        assert!(foreign.into_iter().all(is_foreign));
        let own = [OCI_LAYER_TAR, OCI_LAYER_GZIP, DOCKER_LAYER_GZIP, OCI_CONFIG, ""];
        assert!(!own.into_iter().any(is_foreign));
    }
}
