//! Paths of `/v2/`: any text is read, and what is read stands in the path.

#![no_main]

use bonded_oci::path::{self, Resource};
use bonded_oci::{Reference, RepositoryName};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Some(sealed) = path::layer_link(text) {
        assert!(text.ends_with(sealed));
    }
    let (name, last) = match path::parse(text) {
        Some(Resource::Manifest { name, reference }) => (name, reference),
        Some(Resource::Blob { name, digest } | Resource::Referrers { name, digest }) => {
            (name, digest)
        }
        Some(Resource::Upload { name, id }) => (name, id),
        Some(Resource::Uploads { name } | Resource::Tags { name }) => (name, ""),
        Some(Resource::Version | Resource::Catalog) | None => return,
    };
    assert!(text.starts_with(&format!("/v2/{name}/")) && text.contains(last));
    assert!(!last.contains('/'));
    if name.parse::<RepositoryName>().is_ok() {
        assert!(path::layer_link(text).is_none());
        let _ = last.parse::<Reference>();
    }
});
