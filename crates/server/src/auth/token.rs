//! Who asks on `/v2/`: the password of `GetAuthorizationToken`, as Basic with the user `AWS`.

use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bonded_account::Caller;
use bonded_account::keys::{Token, sealed_bytes};
use bonded_registry as registry;
use http::{HeaderMap, header};

use crate::service::Service;
use crate::v2::Error;

const USER: &str = "AWS";

/// With or without its padding: not every client sends it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Who a request's password speaks for, in the region that its host names. Whether the key that it was got with is still good is
/// seen where access is decided, or by [`check_key`].
///
/// # Errors
/// `Unauthorized`: there is no password, or it is none of ours.
pub(crate) async fn caller(
    service: &Service,
    headers: &HeaderMap,
    region: Option<&str>,
) -> Result<Caller, Error> {
    let password = password(headers).ok_or(Error::Unauthorized)?;
    let token = open(service, &password).await?.ok_or(Error::Unauthorized)?;
    if service.registry.now() >= token.expires_at {
        return Err(Error::TokenExpired);
    }
    if let Some(here) = region.filter(|here| *here != token.region) {
        return Err(Error::TokenOfRegion { token: token.region.clone(), here: here.to_owned() });
    }
    Ok(Caller {
        account: token.account.clone(),
        principal_id: token.principal_id.clone(),
        access_key_id: token.access_key_id.clone(),
    })
}

/// For what was answered without a decision on access: the key may still be used.
///
/// # Errors
/// `Unauthorized`: the key is gone or inactive.
pub(crate) async fn check_key(service: &Service, caller: &Caller) -> Result<(), Error> {
    let active = service.registry.services.is_key_active(caller).await;
    if active.map_err(registry::Error::from)? { Ok(()) } else { Err(Error::Unauthorized) }
}

async fn open(service: &Service, password: &str) -> Result<Option<Arc<Token>>, Error> {
    let services = &service.registry.services;
    let token = services.open_token(password);
    if token.is_some() {
        return Ok(token);
    }
    // Another node may have made a new token key.
    let is_unknown =
        sealed_bytes(password).is_some_and(|sealed| !services.keys.knows_token_key(&sealed));
    if is_unknown && service.reload_token_keys().await? {
        return Ok(services.open_token(password));
    }
    Ok(None)
}

/// The password of the one `Authorization` header.
fn password(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (scheme, credentials) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = BASE64.decode(credentials.trim()).ok()?;
    let decoded = String::from_utf8(decoded).ok()?;
    let (user, password) = decoded.split_once(':')?;
    (user == USER).then(|| password.to_owned())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn check(value: &str, expected: Option<&str>) {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        assert_eq!(password(&headers).as_deref(), expected, "{value}");
    }

    #[test]
    fn a_password_is_read_from_basic_alone() {
        check("Basic QVdTOnBhc3M=", Some("pass"));
        check("basic  QVdTOnBhc3M", Some("pass"));
        check("Basic QVdTOg==", Some(""));
        check("Basic Ym9iOnBhc3M=", None);
        check("Basic QVdT", None);
        check("Basic !!!", None);
        check("Bearer QVdTOnBhc3M=", None);
        check("Basic", None);
    }

    #[test]
    fn two_headers_are_none() {
        let mut headers = HeaderMap::new();
        for _ in 0..2 {
            headers.append(header::AUTHORIZATION, HeaderValue::from_static("Basic QVdTOnBhc3M="));
        }
        assert_eq!(password(&headers), None);
    }
}
