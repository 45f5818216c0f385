//! `Range`: a part is never empty and never leaves the blob. The first eight bytes are its size.

#![no_main]

use bonded_oci::range::{Selected, select};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u64, &str)| {
    let (size, range) = input;
    if let Selected::Part(part) = select(range, size) {
        assert!(part.start < part.end && part.end <= size);
    }
});
