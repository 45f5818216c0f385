//! Signed requests: the head is taken apart, and no made-up signature is good.

#![no_main]

use bonded_iam::sigv4::{self, SigningKey};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|request: &[u8]| {
    let Ok(Some(parsed)) = sigv4::parse_bytes(request) else { return };
    let _ = parsed.check_scope("ecr", &["us-east-1"]);
    let key: SigningKey = parsed.derive_key("a secret that no input knows");
    assert!(!matches!(parsed.verify_head(&key), Ok(true)));
    assert!(parsed.verify(&key, &sigv4::sha256(b"")).is_err());
});
