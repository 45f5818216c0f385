//! `GetAuthorizationToken` gives a docker password: twelve hours, one region, no rights in it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bonded_account::keys::Token;
use bonded_iam::AccountId;
use serde::{Deserialize, Serialize};

use crate::ecr::types::timestamp;
use crate::{Call, Result, check};

/// How long a token is good, microseconds.
const TOKEN_MICROS: i64 = 12 * 3_600 * 1_000_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    registry_ids: Option<Vec<String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Output {
    authorization_data: Vec<AuthorizationData>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AuthorizationData {
    authorization_token: String,
    expires_at: serde_json::Number,
    proxy_endpoint: String,
}

impl Input {
    /// One registry for each id, in order; the caller's own when none is named.
    fn check(self, call: &Call) -> Result<Vec<AccountId>> {
        let Some(ids) = self.registry_ids else { return Ok(vec![call.account]) };
        check::length("registryIds", ids.len(), 1, 10)?;
        ids.iter().map(|id| check::registry_id(call, Some(id))).collect()
    }
}

pub(super) async fn run(call: &Call, input: Input) -> Result<Output> {
    let registries = input.check(call)?;
    call.authorize("ecr:GetAuthorizationToken", &call.account, "*").await?;
    let caller = &call.request.caller;
    let expires_at = call.now() + TOKEN_MICROS;
    let token = Token {
        principal_id: caller.principal_id.clone(),
        access_key_id: caller.access_key_id.clone(),
        account: caller.account.clone(),
        region: call.region().to_owned(),
        expires_at,
    };
    let password = token.seal(&call.services().keys);
    let authorization_token = STANDARD.encode(format!("AWS:{password}"));
    let data = |registry: AccountId| AuthorizationData {
        authorization_token: authorization_token.clone(),
        expires_at: timestamp(expires_at),
        proxy_endpoint: (call.registry.endpoints)(&registry.to_string(), call.region()).url,
    };
    Ok(Output { authorization_data: registries.into_iter().map(data).collect() })
}
