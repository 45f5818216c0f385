//! What goes wrong beneath: stores that fail, bytes that are damaged, repositories that are
//! deleted. And what must never be on a disk.

use std::path::{Path, PathBuf};

use super::*;

/// A push makes two calls: its object is put, and got once more for the other algorithm.
#[tokio::test]
async fn whichever_call_of_the_store_fails_the_push_can_go_on() {
    let all = bytes(400_000);
    for lost in [false, true] {
        for nth in 1..=2 {
            let harness = harness().await;
            harness.repository("app").await;
            let client = Client::root(&harness, "app");
            let id = client.begin().await.unwrap();
            if lost {
                harness.store.lose(nth);
            } else {
                harness.store.fail(nth);
            }
            let first = append_and_put(&client, id, &all).await;
            assert!(matches!(first, Err(Error::Internal(_))));
            assert_eq!(harness.store.calls(), nth);
            harness.store.heal();
            // An object that was not acknowledged goes, also when it was stored after all.
            let acknowledged = client.status(id).await.unwrap();
            assert_eq!(acknowledged, if nth == 1 { 0 } else { count(&all) });
            harness.until(REMOVALS_DUE, if nth == 1 { 1 } else { 0 }).await;
            append_and_put(&client, id, &all).await.unwrap();
            assert_eq!(client.read(sha512(&all)).await.unwrap(), all);
        }
    }
}

async fn append_and_put(client: &Client<'_>, id: Uuid, all: &[u8]) -> Result<Digest> {
    client.append(id, Some(0), all).await?;
    client.put(id, sha512(all), b"").await
}

#[tokio::test]
async fn a_damaged_blob_is_absent_until_it_is_pushed_again() {
    let harness = harness().await;
    for name in ["one", "two"] {
        harness.repository(name).await;
    }
    let (one, two) = (Client::root(&harness, "one"), Client::root(&harness, "two"));
    let all = bytes(600_000);
    let digest = one.push(&all).await;
    two.push(&all).await;
    harness.until(REMOVALS_DUE, 1).await;
    // In the second frame, so that the first one is sent.
    damage(&harness, |sealed| sealed[500_000] ^= 1).await;
    let error = one.read(digest).await.unwrap_err();
    assert!(matches!(error, Error::Internal(_)), "the stream breaks off: {error}");
    assert_eq!(harness.count("SELECT damaged FROM blob").await, 1);
    for client in [&one, &two] {
        assert!(matches!(client.head(digest).await, Err(Error::LayerNotFound { .. })));
        assert!(matches!(client.read(digest).await, Err(Error::LayerNotFound { .. })));
    }
    // The API's client is not told that it exists, because it does not.
    let id = two.begin().await.unwrap();
    two.part(id, 0, &all).await.unwrap();
    assert_eq!(two.complete_api(id, &[digest]).await.unwrap(), digest);
    for client in [&one, &two] {
        assert_eq!(client.read(digest).await.unwrap(), all);
    }
    assert_eq!(harness.count(BLOBS).await, 1);
    assert_eq!(harness.count(SEGMENTS).await, 1);
    assert_eq!(harness.count(UPLOADS).await, 0);
    // The damaged object goes, when no reader can have it open.
    assert_eq!(harness.count(REMOVALS).await, 2);
    assert_eq!(harness.count(REMOVALS_DUE).await, 1);
}

#[tokio::test]
async fn a_blob_that_is_damaged_from_its_start_or_missing_is_absent_at_once() {
    let harness = harness().await;
    harness.repository("app").await;
    let client = Client::root(&harness, "app");
    let digest = client.push(&bytes(1_000)).await;
    damage(&harness, |sealed| sealed.truncate(500)).await;
    assert!(matches!(client.read(digest).await, Err(Error::LayerNotFound { .. })));
    assert_eq!(client.push(&bytes(1_000)).await, digest);
    assert_eq!(client.read(digest).await.unwrap(), bytes(1_000));
    for path in objects(&harness) {
        std::fs::remove_file(path).unwrap();
    }
    assert!(matches!(client.read(digest).await, Err(Error::LayerNotFound { .. })));
    assert!(matches!(client.head(digest).await, Err(Error::LayerNotFound { .. })));
}

#[tokio::test]
async fn a_late_reader_of_damaged_bytes_does_no_harm_to_the_new_ones() {
    let harness = harness().await;
    harness.repository("app").await;
    let client = Client::root(&harness, "app");
    let digest = client.push(b"bytes").await;
    let call = harness.call("GetDownloadUrlForLayer");
    let permit = permit(&call, "ecr:GetDownloadUrlForLayer", "app").await.unwrap();
    let old = layer::find(&call, &permit, &digest).await.unwrap();
    damage(&harness, |sealed| sealed.clear()).await;
    harness.execute("UPDATE blob SET damaged = 1").await;
    client.push(b"bytes").await;
    let answer = old.body(&call, &permit, 0..old.size).await;
    assert!(matches!(answer, Err(Error::LayerNotFound { .. })));
    assert_eq!(client.read(digest).await.unwrap(), b"bytes");
}

#[tokio::test]
async fn a_store_that_is_away_does_no_damage() {
    let harness = harness().await;
    harness.repository("app").await;
    let client = Client::root(&harness, "app");
    let digest = client.push(b"bytes").await;
    harness.store.fail(1);
    assert!(matches!(client.read(digest).await, Err(Error::Internal(_))));
    assert_eq!(client.read(digest).await.unwrap(), b"bytes");
}

#[tokio::test]
async fn many_segments_of_a_damaged_blob_are_replaced() {
    let harness = harness().await;
    harness.repository("app").await;
    let client = Client::root(&harness, "app");
    let id = client.begin().await.unwrap();
    for piece in bytes(300).chunks(10) {
        client.append(id, None, piece).await.unwrap();
    }
    let digest = client.put(id, sha256(&bytes(300)), b"").await.unwrap();
    assert_eq!(harness.count(SEGMENTS).await, 30);
    harness.execute("UPDATE blob SET damaged = 1").await;
    let id = client.begin().await.unwrap();
    for piece in bytes(300).chunks(100) {
        client.append(id, None, piece).await.unwrap();
    }
    client.put(id, digest, b"").await.unwrap();
    assert_eq!(harness.count(SEGMENTS).await, 3);
    assert_eq!(harness.count(REMOVALS).await, 30);
    assert_eq!(client.read(digest).await.unwrap(), bytes(300));
    let range = read_range(&client, digest, 95..205).await;
    assert_eq!(range, bytes(300)[95..205]);
}

async fn read_range(client: &Client<'_>, digest: Digest, range: std::ops::Range<u64>) -> Vec<u8> {
    let call = client.harness.call("GetDownloadUrlForLayer");
    let permit = permit(&call, "ecr:GetDownloadUrlForLayer", client.name).await.unwrap();
    let layer = layer::find(&call, &permit, &digest).await.unwrap();
    collect(layer.body(&call, &permit, range).await.unwrap()).await.unwrap()
}

#[tokio::test]
async fn an_upload_ends_with_its_repository() {
    let harness = harness().await;
    let old = harness.repository("app").await;
    let client = Client::root(&harness, "app");
    let id = client.begin().await.unwrap();
    client.append(id, None, b"bytes").await.unwrap();
    let call = harness.call("CompleteLayerUpload");
    let permit = permit(&call, "ecr:CompleteLayerUpload", "app").await.unwrap();
    harness.db().write(move |tx| tx.mark_repository_deleted(&old, 1)).await.unwrap();
    // What was decided before it was deleted comes too late.
    let body = stream::empty::<Result<Bytes>>();
    let part = Part { plane: Plane::V2, start: None, length: Some(0) };
    let wanted = Wanted::Digest(sha256(b"bytes"));
    let answer = upload::complete(&call, &permit, id, wanted, part, body).await;
    assert!(matches!(answer, Err(Error::RepositoryNotFound { .. })));
    let body = stream::iter([Ok::<_, Error>(Bytes::from_static(b"more"))]);
    let part = Part { plane: Plane::V2, start: None, length: None };
    let answer = upload::append(&call, &permit, id, part, body).await;
    assert!(matches!(answer, Err(Error::RepositoryNotFound { .. })));
    let answer = upload::begin(&call, &permit, Plane::V2, Algorithm::Sha256).await;
    assert!(matches!(answer, Err(Error::RepositoryNotFound { .. })));
    // A new one of that name does not know it.
    harness.repository("app").await;
    assert!(is_unknown(client.status(id).await));
    crate::jobs::step(&harness.registry, &crate::jobs::Schedule::default()).await.unwrap();
    assert_eq!(harness.count(UPLOADS).await, 0);
    assert_eq!(harness.count(SEGMENTS).await, 0);
}

#[tokio::test]
async fn a_key_that_is_not_enabled_seals_and_opens_nothing() {
    let harness = harness().await;
    harness.repository("app").await;
    let client = Client::root(&harness, "app");
    let digest = client.push(b"bytes").await;
    let id = client.begin().await.unwrap();
    harness.execute("UPDATE key_domain SET enabled = 0").await;
    assert!(matches!(client.begin().await, Err(Error::Kms { .. })));
    assert!(matches!(client.append(id, None, b"x").await, Err(Error::Kms { .. })));
    assert!(matches!(client.put(id, sha256(b""), b"").await, Err(Error::Kms { .. })));
    assert!(matches!(client.read(digest).await, Err(Error::Kms { .. })));
    harness.execute("UPDATE key_domain SET enabled = 1").await;
    assert_eq!(client.read(digest).await.unwrap(), b"bytes");
}

#[tokio::test]
async fn a_saved_state_of_another_upload_or_place_is_not_gone_on_with() {
    let harness = harness().await;
    harness.repository("app").await;
    let client = Client::root(&harness, "app");
    for change in [
        "UPDATE upload SET hash_state = \
         (SELECT o.hash_state FROM upload o ORDER BY o.touched_at DESC LIMIT 1)",
        "UPDATE upload SET hash_state = last_hash_state",
        "UPDATE upload SET size = size - 1",
        "UPDATE upload SET hash_state = wrapped_key",
    ] {
        let id = client.begin().await.unwrap();
        client.append(id, None, b"bytes").await.unwrap();
        harness.clock.advance(1);
        let other = client.begin().await.unwrap();
        client.append(other, None, b"bytes").await.unwrap();
        assert_eq!(harness.execute(change).await, 2);
        assert!(matches!(client.append(id, None, b"x").await, Err(Error::Internal(_))));
        let answer = client.put(id, sha256(b"bytes"), b"").await;
        assert!(matches!(answer, Err(Error::Internal(_))), "{change}");
        client.cancel(id).await.unwrap();
        client.cancel(other).await.unwrap();
    }
}

#[tokio::test]
async fn no_plaintext_is_on_the_disk() {
    let harness = harness().await;
    harness.repository("app").await;
    let client = Client::root(&harness, "app");
    let marker = b"MARKER-that-nobody-else-writes";
    let all: Vec<u8> = marker.iter().copied().cycle().take(100_001).collect();
    let id = client.begin().await.unwrap();
    // Its last bytes are in the hash state.
    client.append(id, None, &all).await.unwrap();
    client.append(id, None, &all).await.unwrap();
    client.push(&all).await;
    let id = client.begin().await.unwrap();
    assert!(client.put(id, sha256(b"x"), &all).await.is_err());
    let mut seen = 0;
    for path in files(harness.directory.path()) {
        let content = std::fs::read(&path).unwrap();
        let found = content.windows(16).any(|window| marker.starts_with(window));
        assert!(!found, "{}", path.display());
        seen += content.len();
    }
    assert!(seen > 400_000, "{seen}");
    assert!(files(harness.directory.path()).iter().any(|it| it.ends_with("bonded.db-wal")));
}

/// Changes every object that a segment names, as a bad disk would.
async fn damage(harness: &Harness, change: impl Fn(&mut Vec<u8>)) {
    let kept: Vec<[u8; 16]> = harness
        .db()
        .read(|tx| tx.query("SELECT object FROM segment", &[], |row| row.get(0)))
        .await
        .unwrap();
    for path in objects(harness) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if kept.iter().any(|object| bonded_blob::ObjectName(*object).to_string() == name) {
            let mut sealed = std::fs::read(&path).unwrap();
            change(&mut sealed);
            std::fs::remove_file(&path).unwrap();
            std::fs::write(&path, sealed).unwrap();
        }
    }
}

fn objects(harness: &Harness) -> Vec<PathBuf> {
    files(&harness.directory.path().join("objects"))
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}
