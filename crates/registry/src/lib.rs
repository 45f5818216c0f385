//! The product: images in registries, as ECR's API and the OCI distribution specification know
//! them. Both planes call the same functions here.

mod call;
pub mod check;
pub mod ecr;
mod error;
pub mod event;
#[cfg(test)]
mod failure;
#[cfg(test)]
mod harness;
pub mod image;
pub mod jobs;
pub mod layer;
pub mod policy;
mod pulls;
mod registry;
pub mod repository;
pub mod upload;
pub mod verify;

pub use call::{Call, Permit, domain_key, repository_arn};
pub use error::{Error, Result};
pub use registry::{CacheCounts, Endpoint, EndpointOf, Registry, Settings};
