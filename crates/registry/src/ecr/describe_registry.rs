//! `DescribeRegistry` tells the caller's registry and where it replicates to.

use serde::{Deserialize, Serialize};

use crate::{Call, Result};

#[derive(Deserialize)]
pub(super) struct Input {}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Output {
    registry_id: String,
    replication_configuration: ReplicationConfiguration,
}

#[derive(Serialize)]
struct ReplicationConfiguration {
    /// None can be set yet: `PutReplicationConfiguration` is not served.
    rules: [(); 0],
}

pub(super) async fn run(call: &Call, _: Input) -> Result<Output> {
    call.authorize("ecr:DescribeRegistry", &call.account, "*").await?;
    Ok(Output {
        registry_id: call.account.to_string(),
        replication_configuration: ReplicationConfiguration { rules: [] },
    })
}
