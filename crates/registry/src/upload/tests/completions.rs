//! Completions: which digest, on which plane, when the bytes are known already.

use super::*;

#[tokio::test]
async fn a_wrong_digest_leaves_nothing() {
    let harness = harness().await;
    harness.repository("app").await;
    let client = Client::root(&harness, "app");
    let all = bytes(50_000);
    let wrong = sha256(b"something else");
    let id = client.begin().await.unwrap();
    assert!(matches!(client.put(id, wrong, &all).await, Err(Error::InvalidLayer)));
    let id = client.begin().await.unwrap();
    client.append(id, None, &all).await.unwrap();
    assert!(matches!(client.put(id, wrong, b"").await, Err(Error::InvalidLayer)));
    let id = client.begin().await.unwrap();
    client.part(id, 0, &all).await.unwrap();
    assert!(matches!(client.complete_api(id, &[wrong]).await, Err(Error::InvalidLayer)));
    assert!(is_unknown(client.complete_api(id, &[sha256(&all)]).await));
    assert!(matches!(client.single(wrong, &all).await, Err(Error::InvalidLayer)));
    for digest in [wrong, sha256(&all)] {
        assert!(matches!(client.head(digest).await, Err(Error::LayerNotFound { .. })));
    }
    assert_eq!(harness.count(BLOBS).await, 0);
    harness.until(UPLOADS, 0).await;
    harness.until(SEGMENTS, 0).await;
    harness.until(REMOVALS_DUE, 4).await;
    assert_eq!(harness.count(REMOVALS).await, 4);
}

#[tokio::test]
async fn the_last_bytes_may_come_along() {
    let harness = harness().await;
    harness.repository("app").await;
    let client = Client::root(&harness, "app");
    let all = bytes(100_000);
    let id = client.begin().await.unwrap();
    client.append(id, None, &all[..40_000]).await.unwrap();
    let digest = sha256(&all);
    for start in [0, 39_999, 40_001] {
        let last = Part { plane: Plane::V2, start: Some(start), length: None };
        let wanted = Wanted::Digest(digest);
        let answer = client.complete(id, wanted, last, &all[40_000..]).await;
        assert_eq!(expected(answer), Some(40_000));
    }
    client.put(id, digest, &all[40_000..]).await.unwrap();
    assert_eq!(client.read(digest).await.unwrap(), all);
    assert_eq!(harness.count(SEGMENTS).await, 2);
    assert_eq!(harness.count(REMOVALS).await, 0);
}

#[tokio::test]
async fn an_upload_ends_once() {
    let harness = harness().await;
    harness.repository("app").await;
    let client = Client::root(&harness, "app");
    let id = client.begin().await.unwrap();
    client.put(id, sha256(b"bytes"), b"bytes").await.unwrap();
    assert!(is_unknown(client.status(id).await));
    assert!(is_unknown(client.append(id, None, b"more").await));
    assert!(is_unknown(client.put(id, sha256(b"bytes"), b"").await));
    assert!(is_unknown(client.cancel(id).await));
}

#[tokio::test]
async fn a_cancelled_upload_is_unknown_and_its_objects_go() {
    let harness = harness().await;
    harness.repository("app").await;
    let client = Client::root(&harness, "app");
    let id = client.begin().await.unwrap();
    client.append(id, None, b"some").await.unwrap();
    client.append(id, None, b"more").await.unwrap();
    client.cancel(id).await.unwrap();
    assert!(is_unknown(client.status(id).await));
    assert!(is_unknown(client.append(id, None, b"bytes").await));
    assert!(is_unknown(client.cancel(id).await));
    assert_eq!(harness.count(UPLOADS).await, 0);
    assert_eq!(harness.count(REMOVALS_DUE).await, 2);
}

#[tokio::test]
async fn the_algorithm_is_what_the_end_says() {
    let harness = harness().await;
    harness.repository("app").await;
    let client = Client::root(&harness, "app");
    let all = bytes(90_000);
    for announced in [Algorithm::Sha256, Algorithm::Sha512] {
        for named in [sha256(&all), sha512(&all)] {
            for cut in [0, 50_000, 90_000] {
                let id = client.begin_by(announced).await.unwrap();
                client.append(id, None, &all[..cut]).await.unwrap();
                client.put(id, named, &all[cut..]).await.unwrap();
                assert_eq!(client.read(named).await.unwrap(), all);
            }
        }
    }
    // Each digest is a blob of its own.
    assert_eq!(harness.count(BLOBS).await, 2);
    let wrong = sha512(b"other");
    let id = client.begin().await.unwrap();
    client.append(id, None, &all).await.unwrap();
    assert!(matches!(client.put(id, wrong, b"").await, Err(Error::InvalidLayer)));
}

#[tokio::test]
async fn in_the_api_one_digest_of_several_is_enough() {
    let harness = harness().await;
    harness.repository("app").await;
    let client = Client::root(&harness, "app");
    let all = bytes(1_000);
    let id = client.begin().await.unwrap();
    client.part(id, 0, &all).await.unwrap();
    let digests = [sha256(b"other"), sha256(&all)];
    assert_eq!(client.complete_api(id, &digests).await.unwrap(), sha256(&all));
    let all = bytes(2_000);
    for announced in [Algorithm::Sha256, Algorithm::Sha512] {
        let client = Client::root(&harness, "app");
        let id = client.begin_by(announced).await.unwrap();
        client.part(id, 0, &all).await.unwrap();
        let answer = client.complete_api(id, &[sha256(b"other"), sha512(&all)]).await;
        match announced {
            // The sha256 is the blob's name all the same.
            Algorithm::Sha256 => assert_eq!(answer.unwrap(), sha256(&all)),
            Algorithm::Sha512 => {
                assert!(matches!(answer, Err(Error::LayerAlreadyExists { .. })));
            }
        }
    }
    assert_eq!(client.read(sha256(&all)).await.unwrap(), all);
}

#[tokio::test]
async fn parts_before_the_last_are_large() {
    let harness = harness().await;
    harness.repository("app").await;
    let client = Client::root(&harness, "app");
    let all = bytes(11 * MIB);
    let id = client.begin().await.unwrap();
    client.part(id, 0, &all[..5 * MIB]).await.unwrap();
    client.part(id, count(&all[..5 * MIB]), &all[5 * MIB..10 * MIB]).await.unwrap();
    client.part(id, count(&all[..10 * MIB]), &all[10 * MIB..]).await.unwrap();
    client.complete_api(id, &[sha256(&all)]).await.unwrap();
    assert_eq!(client.read(sha256(&all)).await.unwrap(), all);

    let id = client.begin().await.unwrap();
    let short = 5 * MIB - 1;
    client.part(id, 0, &all[..short]).await.unwrap();
    client.part(id, count(&all[..short]), b"last").await.unwrap();
    let digest = sha256(&[&all[..short], b"last"].concat());
    let answer = client.complete_api(id, &[digest]).await;
    assert!(matches!(answer, Err(Error::LayerPartTooSmall)));
    // It is the API's rule: the other plane ends it.
    client.put(id, digest, b"").await.unwrap();
}

#[tokio::test]
async fn appends_of_the_registry_are_no_parts() {
    let harness = harness().await;
    harness.repository("app").await;
    let client = Client::root(&harness, "app");
    let id = client.begin().await.unwrap();
    client.append(id, None, b"short").await.unwrap();
    client.append(id, None, b"and short").await.unwrap();
    client.part(id, 14, b"part").await.unwrap();
    client.append(id, None, b"!").await.unwrap();
    let digest = sha256(b"shortand shortpart!");
    assert_eq!(client.complete_api(id, &[digest]).await.unwrap(), digest);
    // Begun and filled on one plane, ended on the other.
    let id = client.begin().await.unwrap();
    client.append(id, None, b"registry").await.unwrap();
    client.complete_api(id, &[sha256(b"registry")]).await.unwrap();
    assert_eq!(client.read(sha256(b"registry")).await.unwrap(), b"registry");
}

#[tokio::test]
async fn nothing_can_be_stored_but_not_by_the_api() {
    let harness = harness().await;
    harness.repository("app").await;
    let client = Client::root(&harness, "app");
    let id = client.begin().await.unwrap();
    let answer = client.complete_api(id, &[sha256(b"")]).await;
    assert!(matches!(answer, Err(Error::EmptyUpload { upload_id, .. }) if upload_id == id));
    client.put(id, sha256(b""), b"").await.unwrap();
    assert_eq!(client.read(sha256(b"")).await.unwrap(), b"");
    assert_eq!(client.single(sha512(b""), b"").await.unwrap(), sha512(b""));
    assert_eq!(client.head(sha512(b"")).await.unwrap(), 0);
    assert_eq!(harness.count(SEGMENTS).await, 0);
}

#[tokio::test]
async fn bytes_of_the_domain_are_kept_once() {
    let harness = harness().await;
    for name in ["one", "two"] {
        harness.repository(name).await;
    }
    harness.repository_in("sealed", "KMS", "own").await;
    let all = bytes(30_000);
    let digest = sha256(&all);
    let one = Client::root(&harness, "one");
    one.push(&all).await;
    let two = Client::root(&harness, "two");
    assert!(two.head(digest).await.is_err());
    two.push(&all).await;
    assert_eq!(two.read(digest).await.unwrap(), all);
    // By appends too, and on top of what is there.
    let id = two.begin().await.unwrap();
    two.append(id, None, &all[..10]).await.unwrap();
    two.append(id, None, &all[10..]).await.unwrap();
    two.put(id, digest, b"").await.unwrap();
    assert_eq!(harness.count(BLOBS).await, 1);
    assert_eq!(harness.count(SEGMENTS).await, 1);
    assert_eq!(harness.count(UPLOADS).await, 0);
    // The three objects of the second and the third push go.
    harness.until(REMOVALS_DUE, 3).await;
    // That the domain has the bytes is no business of a third repository.
    harness.repository("three").await;
    let three = Client::root(&harness, "three");
    let id = three.begin().await.unwrap();
    three.part(id, 0, &all).await.unwrap();
    assert_eq!(three.complete_api(id, &[digest]).await.unwrap(), digest);
    // Another key is another domain, which shares nothing.
    let sealed = Client::root(&harness, "sealed");
    sealed.push(&all).await;
    assert_eq!(harness.count(BLOBS).await, 2);
    assert_eq!(sealed.read(digest).await.unwrap(), all);
    assert_eq!(one.read(digest).await.unwrap(), all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_pushes_of_the_same_bytes_at_once_one_makes_the_blob() {
    let harness = std::sync::Arc::new(harness().await);
    let names = ["one", "two", "three"];
    for name in names {
        harness.repository(name).await;
    }
    let all = bytes(20_000);
    let pushes = (0..12).map(|number| {
        let (harness, all) = (std::sync::Arc::clone(&harness), all.clone());
        tokio::spawn(async move {
            let client = Client::root(&harness, names[number % names.len()]);
            let id = client.begin().await.unwrap();
            client.append(id, None, &all).await.unwrap();
            client.put(id, sha256(&all), b"").await.unwrap();
        })
    });
    for push in futures::future::join_all(pushes).await {
        push.unwrap();
    }
    for name in names {
        assert_eq!(Client::root(&harness, name).read(sha256(&all)).await.unwrap(), all);
    }
    assert_eq!(harness.count(BLOBS).await, 1);
    assert_eq!(harness.count(SEGMENTS).await, 1);
    assert_eq!(harness.count(UPLOADS).await, 0);
    assert_eq!(harness.count(REMOVALS_DUE).await, 11);
}

#[tokio::test]
async fn the_api_tells_what_exists_and_keeps_it() {
    let grace = Settings::default().grace_micros;
    let harness = harness().await;
    harness.repository("app").await;
    let client = Client::root(&harness, "app");
    let digest = client.push(b"bytes").await;
    harness.clock.advance(grace - 1);
    let id = client.begin().await.unwrap();
    client.part(id, 0, b"bytes").await.unwrap();
    let records = "SELECT COUNT(*) FROM audit_record";
    let before = harness.count(records).await;
    let answer = client.complete_api(id, &[digest]).await;
    assert!(matches!(answer, Err(Error::LayerAlreadyExists { digest: it, .. }) if it == digest));
    // It is no change: the end of the call records the refusal.
    assert_eq!(harness.count(records).await, before);
    assert!(is_unknown(client.status(id).await));
    // Who was told so has the whole grace time.
    harness.clock.advance(grace - 1);
    crate::jobs::step(&harness.registry, &crate::jobs::Schedule::default()).await.unwrap();
    assert_eq!(client.head(digest).await.unwrap(), 5);
    // Over the registry it is no error.
    assert_eq!(client.single(digest, b"bytes").await.unwrap(), digest);
}

#[tokio::test]
async fn pushing_again_what_an_image_uses_does_not_make_it_unused() {
    let harness = harness().await;
    harness.repository("app").await;
    let client = Client::root(&harness, "app");
    let digest = client.push(b"bytes").await;
    let unused = "SELECT COUNT(*) FROM membership WHERE unused_since IS NOT NULL";
    assert_eq!(harness.count(unused).await, 1);
    harness.execute("UPDATE membership SET unused_since = NULL").await;
    client.single(digest, b"bytes").await.unwrap();
    assert_eq!(harness.count(unused).await, 0);
}

#[tokio::test]
async fn every_change_is_recorded_and_no_bytes_are() {
    let harness = harness().await;
    harness.repository("app").await;
    let client = Client::root(&harness, "app");
    // Records are in the order of their times.
    let tick = || harness.clock.advance(1);
    let id = client.begin().await.unwrap();
    tick();
    client.part(id, 0, b"plain bytes").await.unwrap();
    tick();
    client.complete_api(id, &[sha256(b"plain bytes")]).await.unwrap();
    tick();
    let id = client.begin().await.unwrap();
    tick();
    client.append(id, None, b"plain bytes").await.unwrap();
    tick();
    client.cancel(id).await.unwrap();
    let records: Vec<String> = harness
        .db()
        .read(|tx| tx.audit_records(ACCOUNT, crate::harness::REGION, 0, 100))
        .await
        .unwrap()
        .into_iter()
        .map(|row| row.record)
        .collect();
    let names = [
        "InitiateLayerUpload",
        "UploadLayerPart",
        "CompleteLayerUpload",
        "InitiateLayerUpload",
        "UploadLayerPart",
        "CancelLayerUpload",
    ];
    assert_eq!(records.len(), names.len());
    for (record, name) in records.iter().zip(names) {
        assert!(record.contains(&format!("\"{name}\"")), "{record}");
        assert!(record.contains("repository/app"), "{record}");
        assert!(!record.contains("plain"), "{record}");
    }
    assert!(records[1].contains("\"lastByteReceived\":10"));
    assert!(records[4].contains("\"partLastByte\":10"));
    assert!(records[2].contains(&sha256(b"plain bytes").to_string()));
}

#[tokio::test]
async fn a_blob_costs_four_syncs_at_most() {
    let harness = harness().await;
    harness.repository("app").await;
    let client = Client::root(&harness, "app");
    let syncs = || {
        let database = harness.db().metrics().syncs.load(std::sync::atomic::Ordering::Relaxed);
        database + harness.syncs.files() + harness.syncs.folders()
    };
    let before = syncs();
    let id = client.begin().await.unwrap();
    client.append(id, None, b"by POST, PATCH and PUT").await.unwrap();
    client.put(id, sha256(b"by POST, PATCH and PUT"), b"").await.unwrap();
    assert_eq!(syncs() - before, 4);
    let before = syncs();
    let id = client.begin().await.unwrap();
    client.put(id, sha256(b"by POST and PUT"), b"by POST and PUT").await.unwrap();
    assert_eq!(syncs() - before, 3);
    let before = syncs();
    client.push(b"by POST").await;
    assert_eq!(syncs() - before, 3);
}
