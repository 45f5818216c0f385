//! Limits: how many, how large, how long.

use super::*;
use crate::upload::{HOUR, LONGEST_APPEND, MAX_BLOB, MAX_PARTS, MAX_SEGMENTS, hash};

fn is_limit(result: Result<impl Sized>) -> bool {
    matches!(result.err(), Some(Error::LimitExceeded(_)))
}

#[tokio::test]
async fn a_principal_has_so_many_uploads_open() {
    let settings = Settings { uploads_per_principal: 3, ..Settings::default() };
    let harness = Harness::with(settings).await;
    harness.repository("app").await;
    let client = Client::root(&harness, "app");
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(client.begin().await.unwrap());
        harness.clock.advance(1_000_000);
    }
    let full = |answer: Result<Uuid>| matches!(answer, Err(Error::TooManyRequests(_)));
    assert!(full(client.begin().await));
    assert!(matches!(client.single(sha256(b"x"), b"x").await, Err(Error::TooManyRequests(_))));
    // Another principal has uploads of its own.
    let all = r#"{"Version":"2012-10-17","Statement":[
        {"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
    let caller = harness.user("ci", all).await;
    Client { harness: &harness, caller, name: "app" }.begin().await.unwrap();
    // The first one gets bytes, so the second is idle the longest.
    harness.clock.advance(HOUR - 3_000_000);
    client.append(ids[0], None, b"bytes").await.unwrap();
    assert!(full(client.begin().await));
    harness.clock.advance(1_000_000);
    let fourth = client.begin().await.unwrap();
    assert!(is_unknown(client.status(ids[1]).await));
    for id in [ids[0], ids[2], fourth] {
        client.status(id).await.unwrap();
    }
    assert!(full(client.begin().await));
    // One that ends makes room.
    client.cancel(fourth).await.unwrap();
    client.begin().await.unwrap();
    let open = harness.db().read(|tx| tx.count_open_uploads(ACCOUNT)).await.unwrap();
    assert_eq!(open, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn uploads_that_begin_at_once_keep_to_the_limit() {
    let settings = Settings { uploads_per_principal: 5, ..Settings::default() };
    let harness = std::sync::Arc::new(Harness::with(settings).await);
    harness.repository("app").await;
    let begins = (0..16).map(|_| {
        let harness = std::sync::Arc::clone(&harness);
        tokio::spawn(async move { Client::root(&harness, "app").begin().await })
    });
    let begun = futures::future::join_all(begins).await;
    let begun = begun.into_iter().filter(|it| it.as_ref().unwrap().is_ok()).count();
    assert_eq!(begun, 5);
    assert_eq!(harness.count(UPLOADS).await, 5);
}

#[tokio::test]
async fn no_bytes_are_taken_without_room() {
    let mut harness = harness().await;
    harness.repository("app").await;
    let client = Client::root(&harness, "app");
    let id = client.begin().await.unwrap();
    client.append(id, None, b"bytes").await.unwrap();
    let other = client.begin().await.unwrap();
    let settings = Settings { min_free: u64::MAX, ..Settings::default() };
    harness = harness.restart_with(settings).await;
    let client = Client::root(&harness, "app");
    let full = |error| matches!(error, Err(Error::NoSpace));
    assert!(matches!(client.begin().await, Err(Error::NoSpace)));
    assert!(full(client.append(id, None, b"more").await));
    assert!(full(client.part(id, 5, b"more").await));
    assert!(matches!(client.put(id, sha256(b"x"), b"x").await, Err(Error::NoSpace)));
    assert!(matches!(client.single(sha256(b"x"), b"x").await, Err(Error::NoSpace)));
    // What is there can be ended, read and removed.
    client.put(id, sha256(b"bytes"), b"").await.unwrap();
    assert_eq!(client.read(sha256(b"bytes")).await.unwrap(), b"bytes");
    client.cancel(other).await.unwrap();
}

/// Gives an upload that has `size` bytes, by its row alone.
async fn grown(
    harness: &Harness,
    id: Uuid,
    change: impl Fn(&mut bonded_db::UploadRow) + Send + 'static,
) {
    let call = harness.call("InitiateLayerUpload");
    let permit = permit(&call, "ecr:InitiateLayerUpload", "app").await.unwrap();
    let key = call.domain_key(&permit).unwrap();
    harness
        .db()
        .write(move |tx| {
            let mut row = tx.upload(&id)?.unwrap();
            tx.delete_upload(&id)?;
            change(&mut row);
            let hasher = bonded_oci::Hasher::new(Algorithm::Sha256);
            let size = u64::try_from(row.size).unwrap();
            row.hash_state = hash::seal(&key, hash::Column::Now, &id, size, &hasher);
            tx.insert_upload(&row)
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_blob_has_52000_mib_at_most() {
    let harness = harness().await;
    harness.repository("app").await;
    let client = Client::root(&harness, "app");
    let id = client.begin().await.unwrap();
    let most = i64::try_from(MAX_BLOB).unwrap();
    grown(&harness, id, move |row| row.size = most - 5).await;
    let start = MAX_BLOB - 5;
    assert!(is_limit(client.part(id, start, b"123456").await));
    assert!(is_limit(client.append(id, Some(start), b"123456").await));
    // Also when nobody says how many bytes there will be.
    assert!(is_limit(client.append(id, None, b"123456").await));
    let last = Part { plane: Plane::V2, start: None, length: None };
    let wanted = Wanted::Digest(sha256(b"x"));
    assert!(is_limit(client.complete(id, wanted, last, b"123456").await));
    let part = Part { plane: Plane::V2, start: Some(start), length: Some(u64::MAX) };
    assert!(is_limit(client.send(id, part, b"1").await));
    assert_eq!(client.append(id, None, b"12345").await.unwrap(), MAX_BLOB);
    assert!(is_limit(client.append(id, None, b"1").await));
}

#[tokio::test]
async fn an_upload_has_so_many_parts_and_segments() {
    let harness = harness().await;
    harness.repository("app").await;
    let client = Client::root(&harness, "app");
    let id = client.begin().await.unwrap();
    grown(&harness, id, |row| row.parts = MAX_PARTS - 1).await;
    client.part(id, 0, b"last part").await.unwrap();
    assert!(is_limit(client.part(id, 9, b"one too many").await));
    // The same part again is not one more.
    client.part(id, 0, b"last part").await.unwrap();
    client.append(id, None, b"no part").await.unwrap();

    let id = client.begin().await.unwrap();
    grown(&harness, id, |row| row.segments = MAX_SEGMENTS - 1).await;
    client.append(id, None, b"last segment").await.unwrap();
    assert!(is_limit(client.append(id, None, b"x").await));
    assert_eq!(client.append(id, None, b"").await.unwrap(), 12);
    client.put(id, sha256(b"last segment"), b"").await.unwrap();
}

#[tokio::test]
async fn an_append_takes_a_day_at_most() {
    let harness = harness().await;
    harness.repository("app").await;
    let client = Client::root(&harness, "app");
    let id = client.begin().await.unwrap();
    let clock = harness.clock.clone();
    let frames = (0..3).map(move |_| {
        clock.advance(LONGEST_APPEND / 2);
        Ok::<_, Error>(Bytes::from_static(b"slow"))
    });
    let call = harness.call("UploadLayerPart");
    let permit = permit(&call, "ecr:UploadLayerPart", "app").await.unwrap();
    let part = Part { plane: Plane::V2, start: None, length: None };
    let answer = upload::append(&call, &permit, id, part, stream::iter(frames)).await;
    assert!(is_limit(answer));
}

#[tokio::test]
async fn an_object_that_was_taken_away_is_not_acknowledged() {
    let harness = harness().await;
    harness.repository("app").await;
    let client = Client::root(&harness, "app");
    let id = client.begin().await.unwrap();
    harness.execute("UPDATE object_removal SET taken = 1").await;
    assert!(is_limit(client.append(id, None, b"bytes").await));
    assert_eq!(client.status(id).await.unwrap(), 0);
    // So it is with the object that comes with the end.
    let id = client.begin().await.unwrap();
    harness.execute("DELETE FROM object_removal").await;
    assert!(is_limit(client.put(id, sha256(b"bytes"), b"bytes").await));
    assert_eq!(harness.count(BLOBS).await, 0);
    assert_eq!(harness.count(SEGMENTS).await, 0);
}

#[tokio::test]
async fn an_append_long_after_the_begin_has_a_name_of_its_own() {
    let harness = harness().await;
    harness.repository("app").await;
    let client = Client::root(&harness, "app");
    let id = client.begin().await.unwrap();
    harness.clock.advance(20 * HOUR);
    client.append(id, None, b"bytes").await.unwrap();
    assert_eq!(harness.count(REMOVALS).await, 1);
    // It was touched, so it is not idle.
    harness.clock.advance(5 * HOUR);
    crate::jobs::step(&harness.registry, &crate::jobs::Schedule::default()).await.unwrap();
    assert_eq!(client.status(id).await.unwrap(), 5);
    harness.clock.advance(20 * HOUR);
    crate::jobs::step(&harness.registry, &crate::jobs::Schedule::default()).await.unwrap();
    assert!(is_unknown(client.status(id).await));
    assert_eq!(harness.count(UPLOADS).await, 0);
}
