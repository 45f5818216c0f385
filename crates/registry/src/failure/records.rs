//! What is written behind the answers: pull times, and records of reads and refusals.

use bonded_oci::Reference;
use uuid::Uuid;

use super::OnPostgres;
use super::operation::Operation;
use super::stage::{Fault, Stage};
use crate::harness::permit;
use crate::image;
use crate::layer;
use crate::upload::tests::sha256;

const PULLED: &str = "SELECT COUNT(*) FROM image_pull WHERE pulled_at = 1772612130250000";
const BLOCKS: &str = "SELECT CAST(COALESCE(SUM(records), 0) AS BIGINT) FROM audit_block";

async fn pull(stage: &Stage) {
    let call = stage.harness.call("BatchGetImage");
    let permit = permit(&call, "ecr:BatchGetImage", "app").await.unwrap();
    let latest = Reference::Tag("latest".parse().unwrap());
    assert!(image::pull(&call, &permit, &latest).await.unwrap().is_some());
}

/// A write fails, for every n of a kind that it has; gives how many.
async fn pull_times_wait_on(stage: &mut Stage, kind: impl Fn(i64) -> Fault) -> u64 {
    let start = stage.copy().await;
    for nth in 1.. {
        stage.restore(&start).await;
        pull(stage).await;
        let injected = stage.injected();
        stage.inject(kind(nth));
        let answer = stage.harness.registry.pulls.write(stage.harness.db()).await;
        let failed = stage.injected() > injected;
        stage.heal().await;
        assert_eq!(answer.is_err(), failed);
        assert_eq!(stage.harness.registry.pulls.is_empty(), !failed);
        stage.harness.registry.pulls.write(stage.harness.db()).await.unwrap();
        assert_eq!(stage.harness.count(PULLED).await, 1);
        if !failed {
            stage.restore(&start).await;
            return u64::try_from(nth).unwrap() - 1;
        }
    }
    unreachable!("a write ends");
}

/// As a refused `HEAD` of a blob is recorded: the answer waits for its block.
async fn refuse(stage: &Stage) {
    let call = stage.harness.call("BatchCheckLayerAvailability");
    let permit = permit(&call, "ecr:BatchCheckLayerAvailability", "app").await.unwrap();
    let answer = layer::find(&call, &permit, &sha256(b"nobody's")).await;
    assert!(answer.is_err());
    call.end(&answer).await;
}

/// Each record is there once, whatever fails while its block is written.
async fn blocks_are_written_once(stage: &mut Stage, kind: impl Fn(i64) -> Fault) -> u64 {
    let start = stage.copy().await;
    for nth in 1.. {
        let injected = stage.injected();
        stage.inject(kind(nth));
        refuse(stage).await;
        let failed = stage.injected() > injected;
        stage.heal().await;
        assert_eq!(stage.harness.count(BLOCKS).await, nth);
        if !failed {
            stage.restore(&start).await;
            return u64::try_from(nth).unwrap() - 1;
        }
    }
    unreachable!("a block is written in the end");
}

async fn all(mut stage: Stage) {
    Operation::Push.prepare(&stage.harness).await;
    Operation::Push.act(&stage.harness, Uuid::nil()).await.unwrap();
    let kinds = stage.kinds(false);
    let mut pulls = 0;
    let mut blocks = 0;
    for kind in kinds {
        if matches!(kind(1), Fault::Statement(_) | Fault::Commit(_) | Fault::CommitLost(_)) {
            pulls += pull_times_wait_on(&mut stage, kind).await;
            blocks += blocks_are_written_once(&mut stage, kind).await;
        }
    }
    assert!(pulls >= 2 && blocks >= 2, "{pulls} and {blocks} failures");
}

#[tokio::test]
async fn what_is_written_behind_the_answers_waits_on() {
    all(Stage::new(None).await).await;
}

#[tokio::test]
async fn what_is_written_behind_the_answers_waits_on_on_postgres() {
    let Some(database) = OnPostgres::new() else { return };
    all(Stage::new(Some(database.location.clone())).await).await;
}
