//! `DeregisterPullTimeUpdateExclusion`: pulls by a user or role move pull times again.

use serde::{Deserialize, Serialize};

use crate::ecr::types::principal_arn;
use crate::{Call, Error, Result};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    principal_arn: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Output {
    principal_arn: String,
}

pub(super) async fn run(call: &Call, input: Input) -> Result<Output> {
    let principal = principal_arn(input.principal_arn)?;
    call.authorize("ecr:DeregisterPullTimeUpdateExclusion", &call.account, "*").await?;
    let output = Output { principal_arn: principal.clone() };
    let note = call.note(serde_json::to_value(&output).ok().as_ref(), &[]);
    let (account, region) = (call.account.to_string(), call.region().to_owned());
    call.db()
        .write(move |tx| {
            if !tx.delete_pull_time_exclusion(&account, &region, &principal)? {
                return Err(Error::ExclusionNotFound(principal.clone()));
            }
            tx.note(&note)?;
            Ok(())
        })
        .await?;
    Ok(output)
}
