//! Who asks: SigV4 in the APIs, the password of `GetAuthorizationToken` on `/v2/`.

pub(crate) mod sigv4;
pub(crate) mod token;
