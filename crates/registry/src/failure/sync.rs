//! A sync of the database or of a folder fails: nobody knows what the disk holds, so the process
//! ends, and what it has told to be kept is there when it starts again.
//!
//! The process that ends is this test program once more, told by an environment variable what is
//! to fail.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;

use bonded_account::Clock;
use bonded_db::Location;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::operation::{api, delete, manifest, put};
use super::stage::Stage;
use super::state::{Rows, State, View};
use super::{OnPostgres, assert_same};
use crate::harness::{Harness, Place, START};
use crate::upload::tests::{Client, bytes, sha256};
use crate::{Result, Settings};

const ASKED: &str = "BONDED_TEST_FAILING_SYNC";
/// How a process ends that aborts.
const SIGABRT: i32 = 6;
const SIZE: usize = 150_000;

/// What a client does, one thing after the other; the upload is the only one that is open.
const STEPS: usize = 10;
/// The step that is several transactions.
const SINGLE: usize = 1;

async fn step(harness: &Harness, number: usize) -> Result<()> {
    let client = Client::root(harness, "app");
    let whole = bytes(SIZE);
    let (half, rest) = whole.split_at(SIZE / 2);
    match number {
        0 => {
            let input = json!({ "repositoryName": "app" });
            api(harness, "CreateRepository", input).await.map(drop)
        }
        SINGLE => client.single(sha256(b"{}"), b"{}").await.map(drop),
        2 => client.begin().await.map(drop),
        3 => client.append(upload(harness).await, Some(0), half).await.map(drop),
        4 => {
            let start = half.len().try_into().unwrap();
            client.append(upload(harness).await, Some(start), rest).await.map(drop)
        }
        5 => client.put(upload(harness).await, sha256(&whole), b"").await.map(drop),
        6 => put(harness, &manifest(None), &["latest"]).await,
        7 => put(harness, &manifest(Some("subject")), &["latest", "second"]).await,
        8 => delete(harness, "latest").await,
        _ => {
            let input = json!({ "repositoryName": "app", "force": true });
            api(harness, "DeleteRepository", input).await.map(drop)
        }
    }
}

async fn upload(harness: &Harness) -> uuid::Uuid {
    let open = "SELECT id FROM upload WHERE state = 'open'";
    let found = harness.db().read(|tx| tx.query_opt(open, &[], |row| row.get(0))).await;
    found.unwrap().expect("one upload is open")
}

/// What every number of steps leaves.
async fn clean() -> (Vec<Rows>, State) {
    let stage = Stage::new(None).await;
    let mut states = vec![Rows::read(stage.harness.db()).await];
    for number in 0..STEPS {
        step(&stage.harness, number).await.unwrap();
        stage.heal().await;
        states.push(Rows::read(stage.harness.db()).await);
    }
    let end = stage.settle(false).await.state(wide());
    (states, end)
}

fn wide() -> View {
    View { records: false, times: false, ..View::ALL }
}

/// What the process that ends is told.
fn asked(directory: &Path, database: Option<&OnPostgres>, what: &str, nth: u64) -> Value {
    let url = database.map(|database| match &database.location {
        Location::Postgres(url) => url.clone(),
        Location::Sqlite(_) => unreachable!("it is on PostgreSQL"),
    });
    json!({ "directory": directory, "url": url, "what": what, "nth": nth })
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "it is told by its environment what is to fail")]
#[expect(clippy::print_stdout, reason = "what was acknowledged must be known outside")]
async fn process_that_ends() {
    let Ok(asked) = std::env::var(ASKED) else { return };
    let asked: Value = serde_json::from_str(&asked).unwrap();
    let directory = tempfile::tempdir_in(asked["directory"].as_str().unwrap()).unwrap();
    let own = Location::Sqlite(directory.path().join("bonded.db"));
    let url = asked["url"].as_str().map(|url| Location::Postgres(url.to_owned()));
    let harness = Harness::make(directory, url.unwrap_or(own), Settings::default()).await;
    println!("\nplace={}", harness.directory.path().display());
    println!("key={}", harness.place.root_key);
    let nth = asked["nth"].as_u64().unwrap();
    match asked["what"].as_str().unwrap() {
        "folder" => harness.syncs.fail_folder(nth),
        _ => harness.faults.fail_sync(nth.try_into().unwrap()),
    }
    for number in 0..STEPS {
        step(&harness, number).await.unwrap();
        println!("done={number}");
    }
}

/// Runs it; `None` if all went well, else what it has said before it ended.
fn run(asked: &Value) -> Option<BTreeMap<String, String>> {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["failure::sync::process_that_ends", "--exact", "--nocapture"])
        .env(ASKED, asked.to_string())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        assert!(text.contains(&format!("done={}", STEPS - 1)), "{text}");
        return None;
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(SIGABRT), "{asked}: {text}\n{errors}");
    let said = text.lines().filter_map(|line| line.split_once('='));
    Some(said.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// Starts again on what the process has left.
async fn start_again(
    said: &BTreeMap<String, String>,
    outside: &TempDir,
    database: Option<&OnPostgres>,
) -> Stage {
    let directory = tempfile::tempdir_in(outside.path()).unwrap();
    std::fs::rename(&said["place"], directory.path()).unwrap();
    let own = Location::Sqlite(directory.path().join("bonded.db"));
    let location = database.map_or(own, |database| database.location.clone());
    let place = Place { location, root_key: said["key"].clone() };
    let clock = Clock::stopped(START);
    Stage::of(Harness::start(directory, place, clock, Settings::default()).await)
}

/// Every sync of a kind fails in a process of its own; gives how many there are.
async fn every_sync(what: &str, on_postgres: bool) -> u64 {
    let (states, end) = clean().await;
    for nth in 1.. {
        let database = if on_postgres { OnPostgres::new() } else { None };
        let outside = tempfile::tempdir().unwrap();
        let Some(said) = run(&asked(outside.path(), database.as_ref(), what, nth)) else {
            return nth - 1;
        };
        let stage = start_again(&said, &outside, database.as_ref()).await;
        let acknowledged = said.get("done").map_or(0, |last| last.parse::<usize>().unwrap() + 1);
        let rows = Rows::read(stage.harness.db()).await;
        stage.check_objects(&rows);
        stage.verify().await;
        let is = |number: usize, view| rows.state(view) == states[number].state(view);
        // The step that failed is there whole or not at all; one of several transactions may
        // have left an upload.
        let next = acknowledged + 1;
        let step_view = View { uploads: acknowledged != SINGLE, ..View::ALL };
        let is_there = is(next, step_view);
        assert!(
            is_there || is(acknowledged, step_view),
            "{what} {nth}: {}",
            rows.state(View::ALL).difference(&states[acknowledged].state(View::ALL)),
        );
        for number in acknowledged + usize::from(is_there)..STEPS {
            step(&stage.harness, number).await.unwrap();
        }
        stage.heal().await;
        assert_same(&stage.settle(false).await.state(wide()), &end);
    }
    unreachable!("the steps end");
}

#[tokio::test]
async fn a_failed_sync_of_the_database_ends_the_process_and_loses_nothing() {
    let count = every_sync("database", false).await;
    assert!(count >= u64::try_from(STEPS).unwrap() - 1, "{count} syncs");
}

#[tokio::test]
async fn a_failed_sync_of_a_folder_ends_the_process_and_loses_nothing() {
    let count = every_sync("folder", false).await;
    assert!(count >= 2, "{count} syncs");
}

#[tokio::test]
async fn a_failed_sync_of_a_folder_loses_nothing_on_postgres() {
    if OnPostgres::new().is_none() {
        return;
    }
    let count = every_sync("folder", true).await;
    assert!(count >= 2, "{count} syncs");
}
