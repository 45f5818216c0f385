//! What a start makes, however often it was interrupted.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use bonded_db::{Db, Location, Options};
use bonded_server::first_start::{Ready, Setup, prepare, rotate_token_key};

use crate::harness::{ACCOUNT, OTHER_ACCOUNT, START};

const DAYS: i64 = 24 * 3_600 * 1_000_000;

fn setup(data: &Path, accounts: &[&str]) -> Setup {
    let accounts: BTreeMap<_, _> =
        accounts.iter().map(|id| ((*id).to_owned(), "name".to_owned())).collect();
    Setup {
        data: data.to_owned(),
        root_keys: vec![data.join("keys/root.key")],
        accounts,
        default_account: ACCOUNT.to_owned(),
        regions: vec!["us-east-1".to_owned()],
    }
}

async fn open(data: &Path) -> Db {
    let location = Location::Sqlite(data.join("bonded.db"));
    Db::open(Options { location, exclusive: false }).await.unwrap()
}

async fn start(data: &Path, accounts: &[&str]) -> anyhow::Result<Ready> {
    prepare(&open(data).await, START, &setup(data, accounts)).await
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn read(data: &Path, name: &str) -> String {
    fs::read_to_string(data.join(name)).unwrap()
}

#[tokio::test]
async fn the_first_start_makes_everything_and_the_second_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    let first = start(data, &[ACCOUNT, OTHER_ACCOUNT]).await.unwrap();
    assert_eq!(first.made_accounts, [ACCOUNT, OTHER_ACCOUNT]);
    assert_eq!(first.made_root_key, Some(data.join("keys/root.key")));
    assert_eq!((mode(&first.credentials), mode(&data.join("keys/root.key"))), (0o600, 0o600));
    let (key, credentials) = (read(data, "keys/root.key"), read(data, "credentials"));
    for profile in ["[default]", "[123456789012]", "[210987654321]"] {
        assert_eq!(credentials.matches(profile).count(), 1, "{profile}");
    }
    let second = start(data, &[ACCOUNT, OTHER_ACCOUNT]).await.unwrap();
    assert!(second.made_accounts.is_empty());
    assert_eq!(second.made_root_key, None);
    assert_eq!((read(data, "keys/root.key"), read(data, "credentials")), (key, credentials));
}

#[tokio::test]
async fn an_account_that_comes_later_gets_its_keys_too() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    start(data, &[ACCOUNT]).await.unwrap();
    let before = read(data, "credentials");
    let later = start(data, &[ACCOUNT, OTHER_ACCOUNT]).await.unwrap();
    assert_eq!(later.made_accounts, [OTHER_ACCOUNT]);
    let after = read(data, "credentials");
    assert!(after.starts_with(&before));
    assert!(after[before.len()..].contains("[210987654321]"));
}

#[tokio::test]
async fn a_file_that_was_not_renamed_is_renamed_by_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    start(data, &[ACCOUNT]).await.unwrap();
    let credentials = read(data, "credentials");
    // As if the process had died right after its transaction.
    fs::rename(data.join("credentials"), data.join("credentials.new")).unwrap();
    start(data, &[ACCOUNT]).await.unwrap();
    assert_eq!(read(data, "credentials"), credentials);
    assert!(!data.join("credentials.new").exists());
}

#[tokio::test]
async fn a_file_whose_transaction_never_was_goes() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    let never = "[default]\naws_access_key_id = AKIANEVERCOMMITTED\naws_secret_access_key = x\n";
    fs::write(data.join("credentials.new"), never).unwrap();
    start(data, &[ACCOUNT]).await.unwrap();
    assert!(!read(data, "credentials").contains("NEVERCOMMITTED"));
    assert!(!data.join("credentials.new").exists());
}

#[tokio::test]
async fn a_start_without_the_root_key_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    start(data, &[ACCOUNT]).await.unwrap();
    let key: PathBuf = data.join("keys/root.key");
    fs::rename(&key, data.join("elsewhere")).unwrap();
    assert!(start(data, &[ACCOUNT]).await.is_err());
    assert!(!key.exists(), "a new key would open nothing");
    fs::write(&key, format!("{}\n", "ab".repeat(32))).unwrap();
    let error = start(data, &[ACCOUNT]).await.err().unwrap().to_string();
    assert!(error.contains("none of the files of `keys.root` holds"), "{error}");
}

#[tokio::test]
async fn a_token_key_is_made_every_thirty_days() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    let keys = start(data, &[ACCOUNT]).await.unwrap().keys;
    let db = open(data).await;
    let ids = async || -> Vec<i64> {
        let rows = db.read(|tx| tx.token_keys()).await.unwrap();
        rows.iter().map(|row| row.id).collect()
    };
    assert!(!rotate_token_key(&db, &keys, START + 30 * DAYS - 1).await.unwrap());
    assert!(rotate_token_key(&db, &keys, START + 30 * DAYS).await.unwrap());
    assert_eq!(ids().await, [1, 2]);
    // The retired one opens for 37 hours more, then it goes.
    assert!(!rotate_token_key(&db, &keys, START + 31 * DAYS).await.unwrap());
    assert!(rotate_token_key(&db, &keys, START + 32 * DAYS).await.unwrap());
    assert_eq!(ids().await, [2]);
}
