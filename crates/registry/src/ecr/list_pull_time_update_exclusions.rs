//! `ListPullTimeUpdateExclusions` lists the principals whose pulls leave pull times alone.

use serde::{Deserialize, Serialize};

use crate::{Call, Result, check};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    max_results: Option<i64>,
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Output {
    pull_time_update_exclusions: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

pub(super) async fn run(call: &Call, input: Input) -> Result<Output> {
    let limit = check::max_results(input.max_results, 100, 1_000)?;
    call.authorize("ecr:ListPullTimeUpdateExclusions", &call.account, "*").await?;
    let after = call.page(&call.account, input.next_token.as_deref())?.unwrap_or_default();
    let (account, region) = (call.account.to_string(), call.region().to_owned());
    let mut arns = call
        .db()
        .read(move |tx| tx.pull_time_exclusions(&account, &region, &after, limit + 1))
        .await?;
    let more = i64::try_from(arns.len()).unwrap_or(i64::MAX) > limit;
    arns.truncate(usize::try_from(limit).unwrap_or(0));
    let last = arns.last().filter(|_| more);
    let next_token = last.map(|last| call.next_token(&call.account, last.clone()));
    Ok(Output { pull_time_update_exclusions: arns, next_token })
}
