//! The account's own services, and what every operation needs: who asks, may they, what is
//! noted, and with which keys. Nothing here knows an image.

pub mod access;
mod access_key;
pub mod audit;
pub mod clock;
mod error;
pub mod identity;
pub mod keys;
mod request;
mod services;

pub use access_key::AccessKey;
pub use clock::Clock;
pub use error::{Error, Result};
pub use request::{Caller, Origin, Request};
pub use services::{Services, Tags};
