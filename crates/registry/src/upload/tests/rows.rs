//! Small blobs, whose bytes lie in a row and not in an object.

use super::*;

const IN_ROWS: &str = "SELECT COUNT(*) FROM segment_bytes";
const LIMIT: usize = 64 * 1024;

#[tokio::test]
async fn a_small_blob_has_no_object_and_costs_one_sync() {
    let harness = Harness::new().await;
    harness.repository("app").await;
    let client = Client::root(&harness, "app");
    let database = || harness.db().metrics().syncs.load(std::sync::atomic::Ordering::Relaxed);
    let files = || harness.syncs.files() + harness.syncs.folders();
    let (files_before, before) = (files(), database());
    client.push(b"by POST").await;
    assert_eq!(database() - before, 1);
    let before = database();
    let id = client.begin().await.unwrap();
    client.put(id, sha256(b"by POST and PUT"), b"by POST and PUT").await.unwrap();
    assert_eq!(database() - before, 1);
    let before = database();
    let id = client.begin().await.unwrap();
    client.append(id, None, b"by POST, PATCH and PUT").await.unwrap();
    client.put(id, sha256(b"by POST, PATCH and PUT"), b"").await.unwrap();
    assert_eq!(database() - before, 2);
    assert_eq!(files(), files_before);
    assert_eq!(harness.count(IN_ROWS).await, 3);
    assert_eq!(harness.count(REMOVALS).await, 0);
    for bytes in ["by POST", "by POST and PUT", "by POST, PATCH and PUT"] {
        assert_eq!(client.read(sha256(bytes.as_bytes())).await.unwrap(), bytes.as_bytes());
    }
}

#[tokio::test]
async fn what_is_small_is_known_by_its_bytes() {
    let harness = Harness::new().await;
    harness.repository("app").await;
    let client = Client::root(&harness, "app");
    let mut in_rows = 0;
    for size in [1, 59_999, 60_000, 60_001, LIMIT, LIMIT + 1, 2 * LIMIT] {
        let all = bytes(size);
        // Without a length, as docker pushes.
        let id = client.begin().await.unwrap();
        client.append(id, None, &all).await.unwrap();
        client.put(id, sha256(&all), b"").await.unwrap();
        in_rows += i64::from(size <= LIMIT);
        assert_eq!(harness.count(IN_ROWS).await, in_rows, "{size}");
        assert_eq!(client.read(sha256(&all)).await.unwrap(), all);
    }
    assert_eq!(harness.count(REMOVALS).await, 0);
}

#[tokio::test]
async fn only_a_first_append_lies_in_a_row() {
    let harness = Harness::new().await;
    harness.repository("app").await;
    let client = Client::root(&harness, "app");
    let all = bytes(200_000);
    let id = client.begin().await.unwrap();
    client.append(id, Some(0), &all[..1_000]).await.unwrap();
    // It may come once more.
    client.append(id, Some(0), &all[..1_000]).await.unwrap();
    client.append(id, Some(1_000), &all[1_000..2_000]).await.unwrap();
    client.put(id, sha512(&all), &all[2_000..]).await.unwrap();
    assert_eq!(harness.count(IN_ROWS).await, 1);
    assert_eq!(harness.count(SEGMENTS).await, 3);
    assert_eq!(client.read(sha512(&all)).await.unwrap(), all);
}

#[tokio::test]
async fn what_is_not_kept_leaves_no_row() {
    let harness = Harness::new().await;
    harness.repository("app").await;
    let client = Client::root(&harness, "app");
    let wrong = sha256(b"something else");
    assert!(matches!(client.single(wrong, b"bytes").await, Err(Error::InvalidLayer)));
    let id = client.begin().await.unwrap();
    client.append(id, None, b"bytes").await.unwrap();
    client.cancel(id).await.unwrap();
    let id = client.begin().await.unwrap();
    client.append(id, None, b"bytes").await.unwrap();
    assert!(matches!(client.put(id, wrong, b"").await, Err(Error::InvalidLayer)));
    harness.until(SEGMENTS, 0).await;
    harness.until(IN_ROWS, 0).await;
    // The same blob twice is there once.
    client.push(b"bytes").await;
    let id = client.begin().await.unwrap();
    client.append(id, None, b"bytes").await.unwrap();
    client.put(id, sha256(b"bytes"), b"").await.unwrap();
    harness.until(IN_ROWS, 1).await;
    assert_eq!(client.read(sha256(b"bytes")).await.unwrap(), b"bytes");
}

#[tokio::test]
async fn a_damaged_row_is_noticed_and_healed() {
    let harness = Harness::new().await;
    harness.repository("app").await;
    let client = Client::root(&harness, "app");
    let all = bytes(40_000);
    client.push(&all).await;
    for change in [
        "UPDATE segment_bytes SET bytes = substr(bytes, 1, length(bytes) - 1)",
        "UPDATE segment_bytes SET bytes = zeroblob(length(bytes))",
        "DELETE FROM segment_bytes",
    ] {
        harness.db().write(move |tx| tx.execute(change, &[])).await.unwrap();
        let error = client.read(sha256(&all)).await.unwrap_err();
        assert!(matches!(error, Error::LayerNotFound { .. }), "{change}: {error:?}");
        client.push(&all).await;
        assert_eq!(client.read(sha256(&all)).await.unwrap(), all, "{change}");
        assert_eq!(harness.count(BLOBS).await, 1);
        harness.until(IN_ROWS, 1).await;
    }
}
