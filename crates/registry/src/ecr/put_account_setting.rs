//! `PutAccountSetting` changes a setting of the caller's account in this region.

use bonded_account::access::Ask;
use bonded_db::AccountSetting;
use serde::{Deserialize, Serialize};

use crate::ecr::types::account_setting;
use crate::{Call, Result, check};

#[derive(Deserialize)]
pub(super) struct Input {
    name: Option<String>,
    value: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Output {
    name: String,
    value: String,
}

pub(super) async fn run(call: &Call, input: Input) -> Result<Output> {
    let name = check::required("name", input.name)?;
    let setting = account_setting(&name)?;
    let value = check::required("value", input.value)?;
    let values: &[&str] = match setting {
        AccountSetting::BasicScanTypeVersion => &["AWS_NATIVE", "CLAIR"],
        AccountSetting::RegistryPolicyScope => &["V1", "V2"],
        AccountSetting::BlobMounting => &["ENABLED", "DISABLED"],
    };
    check::one_of("value", &value, values)?;
    let ask = Ask::new("ecr:PutAccountSetting").with("ecr:AccountSetting", vec![name.clone()]);
    call.authorize(ask, &call.account, "*").await?;
    let output = Output { name, value };
    let note = call.note(serde_json::to_value(&output).ok().as_ref(), &[]);
    let (account, region) = (call.account.to_string(), call.region().to_owned());
    let value = output.value.clone();
    call.db()
        .write(move |tx| {
            tx.set_account_setting(&account, &region, setting, &value)?;
            tx.note(&note)
        })
        .await?;
    Ok(output)
}
