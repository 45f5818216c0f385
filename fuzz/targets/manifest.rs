//! Manifests, and their conversion. The first byte says what comes with them.

#![no_main]

use bonded_oci::Manifest;
use bonded_oci::convert::{Accept, Accepted, as_accepted};
use bonded_oci::media_type::{self, MANIFESTS};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((first, bytes)) = input.split_first() else { return };
    let content_type = MANIFESTS.get(usize::from(*first)).copied();
    let Ok(manifest) = Manifest::parse(bytes, content_type) else { return };
    assert_eq!(media_type::manifest(&manifest.media_type), Some(manifest.media_type.as_str()));
    assert!(content_type.is_none_or(|given| given == manifest.media_type));
    assert!(i64::try_from(manifest.size()).is_ok());
    for wanted in MANIFESTS {
        let accept = Accept::of_media_types(&[wanted]);
        if let Accepted::Converted { media_type, bytes, .. } =
            as_accepted(bytes, &manifest.media_type, &accept)
        {
            let made = Manifest::parse(&bytes, None).expect("what was made is a manifest");
            assert_eq!(made.media_type, media_type);
            let digests = |it: &Manifest| it.blobs().map(|blob| blob.digest).collect::<Vec<_>>();
            assert_eq!(digests(&made), digests(&manifest));
        }
    }
});
