//! `DescribeRepositories` describes repositories by name, or all of a registry.

use bonded_iam::AccountId;
use bonded_oci::RepositoryName;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ecr::types::Repository;
use crate::{Call, Error, Result, check, repository_arn};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    registry_id: Option<String>,
    repository_names: Option<Vec<String>>,
    next_token: Option<String>,
    max_results: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Output {
    repositories: Vec<Repository>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

pub(super) async fn run(call: &Call, input: Input) -> Result<Output> {
    let account = check::registry_id(call, input.registry_id.as_deref())?;
    if let Some(names) = input.repository_names {
        check::length("repositoryNames", names.len(), 1, 100)?;
        let name = |name: &String| check::repository_name("repositoryNames", Some(name));
        let names = names.iter().map(name).collect::<Result<Vec<_>>>()?;
        if input.next_token.is_some() || input.max_results.is_some() {
            return Err(Error::InvalidRequest(
                "Invalid request parameters: repositoryNames cannot be given with nextToken or \
                 maxResults"
                    .to_owned(),
            ));
        }
        return by_names(call, &account, names).await;
    }
    let limit = check::max_results(input.max_results, 100, 1_000)?;
    page(call, &account, input.next_token.as_deref(), limit).await
}

async fn by_names(call: &Call, account: &AccountId, names: Vec<RepositoryName>) -> Result<Output> {
    let mut repositories = Vec::with_capacity(names.len());
    for name in names {
        let permit = call.repository("ecr:DescribeRepositories", account, &name).await?;
        let row = call.db().read_point(move |tx| permit.repository(tx)).await?;
        repositories.push(Repository::from_row(call, &row)?);
    }
    Ok(Output { repositories, next_token: None })
}

/// In the order they were made. Who may describe `repository/*` sees them all.
async fn page(
    call: &Call,
    account: &AccountId,
    next_token: Option<&str>,
    limit: i64,
) -> Result<Output> {
    let arn = repository_arn(call.region(), account, "*");
    call.authorize("ecr:DescribeRepositories", account, &arn).await?;
    let after: Option<Uuid> = call
        .page(account, next_token)?
        .map(|text| text.parse())
        .transpose()
        .map_err(|_| check::invalid("nextToken", "Member must be a token of this request"))?;
    let (owner, region) = (account.to_string(), call.region().to_owned());
    let mut rows = call
        .db()
        .read(move |tx| tx.repositories_by_age(&owner, &region, after.as_ref(), limit + 1))
        .await?;
    let more = i64::try_from(rows.len()).unwrap_or(i64::MAX) > limit;
    rows.truncate(usize::try_from(limit).unwrap_or(0));
    let last = rows.last().filter(|_| more);
    let next_token = last.map(|row| call.next_token(account, row.id.to_string()));
    let repositories =
        rows.iter().map(|row| Repository::from_row(call, row)).collect::<Result<_>>()?;
    Ok(Output { repositories, next_token })
}
