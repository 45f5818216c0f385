//! `RegisterPullTimeUpdateExclusion`: pulls by a user or role leave pull times alone from now on.

use serde::{Deserialize, Serialize};

use crate::ecr::types::{principal_arn, timestamp};
use crate::{Call, Error, Result};

/// Principals that one registry can exclude.
const MAX_EXCLUSIONS: i64 = 100;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    principal_arn: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Output {
    principal_arn: String,
    created_at: serde_json::Number,
}

pub(super) async fn run(call: &Call, input: Input) -> Result<Output> {
    let principal = principal_arn(input.principal_arn)?;
    call.authorize("ecr:RegisterPullTimeUpdateExclusion", &call.account, "*").await?;
    let created_at = call.now();
    let output = Output { principal_arn: principal.clone(), created_at: timestamp(created_at) };
    let note = call.note(serde_json::to_value(&output).ok().as_ref(), &[]);
    let (account, region) = (call.account.to_string(), call.region().to_owned());
    call.db()
        .write(move |tx| {
            if tx.count_pull_time_exclusions(&account, &region)? >= MAX_EXCLUSIONS {
                return Err(Error::LimitExceeded(format!(
                    "A registry can have at most {MAX_EXCLUSIONS} pull time update exclusions"
                )));
            }
            if !tx.insert_pull_time_exclusion(&account, &region, &principal, created_at)? {
                return Err(Error::ExclusionAlreadyExists(principal.clone()));
            }
            tx.note(&note)?;
            Ok(())
        })
        .await?;
    Ok(output)
}
