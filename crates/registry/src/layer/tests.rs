//! Layers against a real database and a real store: of which repository, for whom, how long.

mod links;

use bonded_account::Caller;
use bonded_oci::Digest;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::harness::{ACCOUNT, Harness, OTHER_ACCOUNT, permit, root};
use crate::upload::tests::{Client, bytes, sha256};

/// Mounts into a repository; the caller is its registry's root.
async fn mount_as(
    harness: &Harness,
    caller: &Caller,
    target: &str,
    digest: Digest,
    from: Option<&str>,
) -> Result<bool> {
    let call = harness.call_of(caller, "MountLayer");
    let permit = permit(&call, "ecr:InitiateLayerUpload", target).await?;
    let mounted = mount(&call, &permit, &digest, from).await;
    if !matches!(mounted, Ok(false)) {
        call.end(&mounted).await;
    }
    mounted
}

async fn mounted(harness: &Harness, target: &str, digest: Digest, from: Option<&str>) -> bool {
    mount_as(harness, &root(ACCOUNT), target, digest, from).await.unwrap()
}

async fn delete_from(harness: &Harness, name: &str, digest: Digest) -> Result<()> {
    let call = harness.call("DeleteLayer");
    let permit = permit(&call, "ecr:BatchDeleteImage", name).await?;
    delete(&call, &permit, &digest).await
}

/// An image that uses these blobs, by its rows alone.
async fn use_blobs(harness: &Harness, repository_id: Uuid, blobs: &[Digest]) -> Uuid {
    let id = bonded_account::clock::new_id(harness.clock.now());
    let row = bonded_db::ImageRow {
        id,
        digest: sha256(id.as_bytes()).to_string(),
        tagged: false,
        status: "ACTIVE".to_owned(),
        media_kind: "image".to_owned(),
        media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
        artifact_type: None,
        manifest_size: 1,
        image_size: 1,
        subject_digest: None,
        depth: 0,
        pushed_at: harness.clock.now(),
    };
    let new = bonded_db::NewImage {
        row,
        manifest: b"sealed".to_vec(),
        blobs: blobs.iter().map(|it| (it.to_string(), "text/x-layer".to_owned())).collect(),
        children: Vec::new(),
        annotations: b"{}".to_vec(),
    };
    harness.db().write(move |tx| tx.insert_image(&repository_id, &new)).await.unwrap();
    id
}

async fn api(harness: &Harness, operation: &'static str, input: Value) -> Result<Value> {
    let call = harness.call(operation);
    let output = crate::ecr::run(&call, serde_json::to_vec(&input).unwrap()).await?;
    Ok(serde_json::from_slice(&output).unwrap())
}

/// Collects all that may be collected now.
async fn collect_garbage(harness: &Harness) {
    crate::jobs::step(&harness.registry, &crate::jobs::Schedule::default()).await.unwrap();
}

fn is_missing(result: Result<impl Sized>) -> bool {
    matches!(result.err(), Some(Error::LayerNotFound { .. }))
}

#[tokio::test]
async fn a_blob_is_its_repositorys() {
    let harness = Harness::new().await;
    for name in ["one", "two"] {
        harness.repository(name).await;
    }
    let digest = Client::root(&harness, "one").push(b"bytes").await;
    let two = Client::root(&harness, "two");
    assert!(is_missing(two.read(digest).await));
    assert!(is_missing(two.head(digest).await));
    assert!(is_missing(delete_from(&harness, "two", digest).await));
    two.push(b"bytes").await;
    assert_eq!(two.read(digest).await.unwrap(), b"bytes");
    // Taken out of one, it stays in the other.
    delete_from(&harness, "one", digest).await.unwrap();
    assert!(is_missing(Client::root(&harness, "one").read(digest).await));
    assert!(is_missing(delete_from(&harness, "one", digest).await));
    assert_eq!(two.read(digest).await.unwrap(), b"bytes");
}

#[tokio::test]
async fn every_range_of_a_layer_can_be_read() {
    let harness = Harness::new().await;
    harness.repository("app").await;
    let all = bytes(100_000);
    let client = Client::root(&harness, "app");
    let id = client.begin().await.unwrap();
    client.append(id, None, &all[..40_000]).await.unwrap();
    let digest = client.put(id, sha256(&all), &all[40_000..]).await.unwrap();
    let call = harness.call("GetDownloadUrlForLayer");
    let permit = permit(&call, "ecr:GetDownloadUrlForLayer", "app").await.unwrap();
    let layer = find(&call, &permit, &digest).await.unwrap();
    for (start, end) in
        [(0, 1), (39_999, 40_001), (16_384, 16_385), (0, 100_000), (99_999, 100_000)]
    {
        let body = layer.body(&call, &permit, start..end).await.unwrap();
        assert_eq!(body.left(), end - start);
        let (start, end) = (usize::try_from(start).unwrap(), usize::try_from(end).unwrap());
        let read = crate::upload::tests::collect(body).await.unwrap();
        assert_eq!(read, all[start..end]);
    }
}

#[tokio::test]
async fn a_mount_needs_a_membership_and_the_right_to_read() {
    let harness = Harness::new().await;
    let one = harness.repository("one").await;
    for name in ["two", "three"] {
        harness.repository(name).await;
    }
    let digest = Client::root(&harness, "one").push(b"bytes").await;
    assert!(mounted(&harness, "two", digest, Some("one")).await);
    let two = Client::root(&harness, "two");
    assert_eq!(two.read(digest).await.unwrap(), b"bytes");
    assert!(mounted(&harness, "two", digest, Some("two")).await);
    // What is not there, and what is no name.
    for from in ["three", "missing", "Bad Name", ""] {
        assert!(!mounted(&harness, "three", digest, Some(from)).await, "{from}");
    }
    assert!(!mounted(&harness, "three", sha256(b"other"), Some("one")).await);
    let deny = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Deny",
        "Principal":{{"AWS":"{ACCOUNT}"}},"Action":"ecr:GetDownloadUrlForLayer"}}]}}"#
    );
    harness.set_policy(one, &deny).await;
    assert!(!mounted(&harness, "three", digest, Some("one")).await);
    // Without a name it is found where it may be read.
    assert!(mounted(&harness, "three", digest, None).await);
    assert!(!mounted(&harness, "three", sha256(b"other"), None).await);
}

#[tokio::test]
async fn nobody_mounts_what_he_may_not_read() {
    let harness = Harness::new().await;
    harness.repository("secret").await;
    let open = harness.repository("open").await;
    let grant = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow",
        "Principal":{{"AWS":"{OTHER_ACCOUNT}"}},"Action":"ecr:*"}}]}}"#
    );
    harness.set_policy(open, &grant).await;
    let digest = Client::root(&harness, "secret").push(b"bytes").await;
    let stranger = root(OTHER_ACCOUNT);
    for from in [Some("secret"), Some("missing"), None] {
        assert!(!mount_as(&harness, &stranger, "open", digest, from).await.unwrap());
    }
    let call = harness.call_of(&stranger, "MountLayer");
    let denied = permit(&call, "ecr:InitiateLayerUpload", "secret").await;
    assert!(matches!(denied, Err(Error::AccessDenied(_))));
    // The refusals of the sources that were named are on record, in both accounts.
    let refused = "SELECT COUNT(*) FROM audit_key WHERE attribute = 'EventName' \
         AND value = 'MountLayer' AND account = $1";
    for account in [ACCOUNT, OTHER_ACCOUNT] {
        assert!(harness.count_of(refused, &[account]).await >= 1);
    }
}

#[tokio::test]
async fn without_a_source_the_newest_that_may_be_read_is_taken() {
    let harness = Harness::new().await;
    let mut ids = Vec::new();
    let names: Vec<String> = (0..34).map(|number| format!("repository-{number}")).collect();
    for name in &names {
        ids.push(harness.repository(name).await);
        Client::root(&harness, name).push(b"bytes").await;
        harness.clock.advance(1);
    }
    harness.repository("target").await;
    let digest = sha256(b"bytes");
    // Who may read all but the newest 31 finds the 32nd; the 33rd is not tried any more.
    for (readable, expected) in [(&names[2], true), (&names[1], false)] {
        let policy = format!(
            r#"{{"Version":"2012-10-17","Statement":[
            {{"Effect":"Allow","Action":"ecr:*","Resource":[
            "arn:aws:ecr:us-east-1:{ACCOUNT}:repository/target",
            "arn:aws:ecr:us-east-1:{ACCOUNT}:repository/{readable}"]}}]}}"#
        );
        let caller = harness.user(&format!("u{expected}"), &policy).await;
        let answer = mount_as(&harness, &caller, "target", digest, None).await.unwrap();
        assert_eq!(answer, expected, "{readable}");
        if answer {
            delete_from(&harness, "target", digest).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_mount_stays_in_its_key_domain_and_obeys_the_setting() {
    let harness = Harness::new().await;
    for name in ["one", "two"] {
        harness.repository(name).await;
    }
    harness.repository_in("sealed", "KMS", "own").await;
    let digest = Client::root(&harness, "one").push(b"bytes").await;
    for from in [Some("one"), None] {
        assert!(!mounted(&harness, "sealed", digest, from).await);
    }
    harness.execute("UPDATE registry SET blob_mounting = 'DISABLED'").await;
    for from in [Some("one"), None] {
        assert!(!mounted(&harness, "two", digest, from).await);
    }
    harness.execute("UPDATE registry SET blob_mounting = 'ENABLED'").await;
    harness.execute("UPDATE blob SET damaged = 1").await;
    for from in [Some("one"), None] {
        assert!(!mounted(&harness, "two", digest, from).await);
    }
}

#[tokio::test]
async fn a_mount_is_recorded_with_its_target_first() {
    let harness = Harness::new().await;
    for name in ["one", "two"] {
        harness.repository(name).await;
    }
    let digest = Client::root(&harness, "one").push(b"bytes").await;
    let before = harness.count("SELECT COUNT(*) FROM audit_record").await;
    assert!(mounted(&harness, "two", digest, Some("one")).await);
    let records = harness
        .db()
        .read(|tx| tx.audit_records(ACCOUNT, crate::harness::REGION, 0, 100))
        .await
        .unwrap();
    assert_eq!(i64::try_from(records.len()).unwrap(), before + 1);
    let record = records.iter().find(|it| it.record.contains("\"MountLayer\"")).unwrap();
    let record: Value = serde_json::from_str(&record.record).unwrap();
    assert_eq!(record["p"]["repositoryName"], "two");
    assert_eq!(record["p"]["sourceRepositoryName"], "one");
    assert_eq!(record["o"]["layerDigest"], digest.to_string());
    assert_eq!(record["x"][0]["arn"], "arn:aws:ecr:us-east-1:123456789012:repository/two");
}

#[tokio::test]
async fn a_layer_that_an_image_uses_is_not_deleted() {
    let harness = Harness::new().await;
    let app = harness.repository("app").await;
    let digest = Client::root(&harness, "app").push(b"bytes").await;
    let image = use_blobs(&harness, app, &[digest]).await;
    let error = delete_from(&harness, "app", digest).await.unwrap_err();
    assert!(matches!(&error, Error::Referenced(text) if text.contains("by image: [sha256:")));
    let now = harness.clock.now();
    harness.db().write(move |tx| tx.delete_image(&app, &image, now)).await.unwrap();
    delete_from(&harness, "app", digest).await.unwrap();
}

#[tokio::test]
async fn who_is_told_of_an_unused_layer_has_time_to_use_it() {
    let grace = crate::Settings::default().grace_micros;
    let harness = Harness::new().await;
    for name in ["app", "source"] {
        harness.repository(name).await;
    }
    let client = Client::root(&harness, "app");
    let kept = ["head", "get", "check", "mount"];
    for name in kept {
        client.push(name.as_bytes()).await;
    }
    Client::root(&harness, "source").push(b"mount").await;
    client.push(b"forgotten").await;
    harness.clock.advance(grace - 1);
    client.head(sha256(b"head")).await.unwrap();
    client.read(sha256(b"get")).await.unwrap();
    let digests = [sha256(b"check").to_string()];
    let input = json!({ "repositoryName": "app", "layerDigests": digests });
    api(&harness, "BatchCheckLayerAvailability", input).await.unwrap();
    assert!(mounted(&harness, "app", sha256(b"mount"), Some("source")).await);
    harness.clock.advance(grace - 1);
    collect_garbage(&harness).await;
    for name in kept {
        assert_eq!(client.read(sha256(name.as_bytes())).await.unwrap(), name.as_bytes());
    }
    assert!(is_missing(client.head(sha256(b"forgotten")).await));
    // It was found fresh a moment ago, so it is not written again.
    let stamps = "SELECT CAST(SUM(unused_since) AS BIGINT) FROM membership";
    let before = harness.count(stamps).await;
    harness.clock.advance(grace / 4 - 1);
    client.head(sha256(b"head")).await.unwrap();
    assert_eq!(harness.count(stamps).await, before);
    harness.clock.advance(grace + 1);
    collect_garbage(&harness).await;
    for name in kept {
        assert!(is_missing(client.head(sha256(name.as_bytes())).await));
    }
}

#[tokio::test]
async fn collected_bytes_can_be_pushed_again() {
    let grace = crate::Settings::default().grace_micros;
    let harness = Harness::new().await;
    harness.repository("app").await;
    let client = Client::root(&harness, "app");
    let digest = client.push(b"bytes").await;
    harness.clock.advance(grace + 1);
    collect_garbage(&harness).await;
    assert!(is_missing(client.read(digest).await));
    // The membership is gone, the blob is still there: it is used again as it is.
    assert_eq!(harness.count("SELECT COUNT(*) FROM blob WHERE unused_since > 0").await, 1);
    client.push(b"bytes").await;
    assert_eq!(harness.count("SELECT COUNT(*) FROM blob WHERE unused_since > 0").await, 0);
    assert_eq!(client.read(digest).await.unwrap(), b"bytes");
    // Twice the time, and the blob goes too.
    for _ in 0..2 {
        harness.clock.advance(grace + 1);
        collect_garbage(&harness).await;
    }
    assert_eq!(harness.count("SELECT COUNT(*) FROM blob").await, 0);
    assert_eq!(harness.count("SELECT COUNT(*) FROM segment").await, 0);
    harness.clock.advance(2 * 3_600_000_000);
    collect_garbage(&harness).await;
    assert_eq!(harness.count("SELECT COUNT(*) FROM object_removal").await, 0);
    client.push(b"bytes").await;
    assert_eq!(client.read(digest).await.unwrap(), b"bytes");
}

#[tokio::test]
async fn availability_of_layers() {
    let harness = Harness::new().await;
    let app = harness.repository("app").await;
    let client = Client::root(&harness, "app");
    let (used, unused) = (client.push(b"used").await, client.push(b"not used").await);
    use_blobs(&harness, app, &[used]).await;
    let missing = format!("sha256:{}", "2".repeat(64));
    let capital = format!("sha256:{}", "A".repeat(64));
    let input = json!({ "repositoryName": "app", "layerDigests": [
        used.to_string(), missing, unused.to_string(), "junk", capital, "", "md5:00", "a/b:00",
    ] });
    let answer = api(&harness, "BatchCheckLayerAvailability", input).await.unwrap();
    let unavailable =
        |digest: &str| json!({ "layerDigest": digest, "layerAvailability": "UNAVAILABLE" });
    assert_eq!(
        answer["layers"],
        json!([
            {
                "layerDigest": used.to_string(),
                "layerAvailability": "AVAILABLE",
                "layerSize": 4,
                "mediaType": "text/x-layer",
            },
            unavailable(&missing),
            {
                "layerDigest": unused.to_string(),
                "layerAvailability": "AVAILABLE",
                "layerSize": 8,
            },
            unavailable(&capital),
            unavailable("md5:00"),
        ])
    );
    let failures: Vec<_> = answer["failures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["layerDigest"].as_str(), it["failureCode"].as_str().unwrap()))
        .collect();
    assert_eq!(
        failures,
        [
            (Some("junk"), "InvalidLayerDigest"),
            (None, "MissingLayerDigest"),
            (Some("a/b:00"), "InvalidLayerDigest"),
        ]
    );
    for digests in [json!([]), json!(vec!["x"; 101]), json!(["x".repeat(1_001)]), json!(null)] {
        let input = json!({ "repositoryName": "app", "layerDigests": digests });
        let answer = api(&harness, "BatchCheckLayerAvailability", input).await;
        assert!(matches!(answer, Err(Error::InvalidParameter { member: "layerDigests", .. })));
    }
}

#[tokio::test]
async fn the_operations_of_an_upload() {
    let harness = Harness::new().await;
    harness.repository("app").await;
    let begun = api(&harness, "InitiateLayerUpload", json!({ "repositoryName": "app" })).await;
    let begun = begun.unwrap();
    assert_eq!(begun["partSize"], 10_485_760);
    let id = begun["uploadId"].as_str().unwrap();
    let part = |first: i64, last: i64, blob: Value| {
        json!({
            "repositoryName": "app",
            "uploadId": id,
            "partFirstByte": first,
            "partLastByte": last,
            "layerPartBlob": blob,
        })
    };
    let answer = api(&harness, "UploadLayerPart", part(0, 4, json!("Ynl0ZXM="))).await.unwrap();
    assert_eq!(
        answer,
        json!({
            "registryId": ACCOUNT,
            "repositoryName": "app",
            "uploadId": id,
            "lastByteReceived": 4,
        })
    );
    let refused = |answer: Result<Value>| answer.unwrap_err().exception();
    for (first, last) in [(5, 8), (5, 10), (5, 4), (6, 10), (0, 5)] {
        let answer = api(&harness, "UploadLayerPart", part(first, last, json!("Ynl0ZXM="))).await;
        assert_eq!(refused(answer), "InvalidLayerPartException", "{first} {last}");
    }
    for (first, last) in [(-1, 4), (5, -1)] {
        let answer = api(&harness, "UploadLayerPart", part(first, last, json!("Ynl0ZXM="))).await;
        assert_eq!(refused(answer), "InvalidParameterException");
    }
    for blob in [json!("not base64"), json!(5), json!(["Ynl0ZXM="])] {
        let answer = api(&harness, "UploadLayerPart", part(5, 9, blob)).await;
        assert_eq!(refused(answer), "SerializationException");
    }
    let answer = api(&harness, "UploadLayerPart", part(5, 9, json!(null))).await;
    assert_eq!(refused(answer), "InvalidParameterException");
    let digest = sha256(b"bytes").to_string();
    let done = json!({
        "repositoryName": "app",
        "uploadId": id,
        "layerDigests": ["other:00", digest],
    });
    let answer = api(&harness, "CompleteLayerUpload", done.clone()).await.unwrap();
    assert_eq!(answer["layerDigest"], digest);
    assert_eq!(answer["uploadId"], id);
    let answer = api(&harness, "CompleteLayerUpload", done).await;
    assert_eq!(refused(answer), "UploadNotFoundException");
}
