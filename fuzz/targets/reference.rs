//! Names, tags and digests: what is taken has one spelling and cannot leave a path.

#![no_main]

use std::fmt::Display;

use bonded_oci::{Digest, Reference, RepositoryName, Tag};
use libfuzzer_sys::fuzz_target;

fn check<E>(text: &str, parsed: Result<impl Display, E>) {
    if let Ok(value) = parsed {
        assert_eq!(value.to_string(), text);
        assert!(!text.contains("..") || !text.contains('/'));
        assert!(text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'%'));
    }
}

fuzz_target!(|text: &str| {
    check(text, text.parse::<RepositoryName>());
    check(text, text.parse::<Tag>());
    check(text, text.parse::<Digest>());
    check(text, text.parse::<Reference>());
});
