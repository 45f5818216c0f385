//! Types and paths of the OCI specifications. Pure: no I/O, and nothing that strangers send makes
//! it panic or take more than linear time.

#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::expect_used, clippy::unwrap_used, clippy::panic)
)]

pub mod convert;
mod digest;
mod hasher;
pub mod manifest;
pub mod media_type;
pub mod name;
pub mod path;
pub mod range;
pub mod tag;
pub mod wildcard;

pub use digest::{Algorithm, Digest, InvalidDigest};
pub use hasher::Hasher;
pub use manifest::Manifest;
pub use name::{InvalidName, RepositoryName};
pub use tag::{InvalidReference, InvalidTag, Reference, Tag};
