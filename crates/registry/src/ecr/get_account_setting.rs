//! `GetAccountSetting` tells a setting of the caller's account in this region.

use bonded_account::access::Ask;
use serde::{Deserialize, Serialize};

use crate::ecr::types::account_setting;
use crate::{Call, Result, check};

#[derive(Deserialize)]
pub(super) struct Input {
    name: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Output {
    name: String,
    value: String,
}

pub(super) async fn run(call: &Call, input: Input) -> Result<Output> {
    let name = check::required("name", input.name)?;
    let setting = account_setting(&name)?;
    let ask = Ask::new("ecr:GetAccountSetting").with("ecr:AccountSetting", vec![name.clone()]);
    let registry = call.authorize(ask, &call.account, "*").await?;
    let value = match setting {
        bonded_db::AccountSetting::BasicScanTypeVersion => registry.basic_scan_type,
        bonded_db::AccountSetting::RegistryPolicyScope => registry.policy_scope,
        bonded_db::AccountSetting::BlobMounting => registry.blob_mounting,
    };
    Ok(Output { name, value })
}
