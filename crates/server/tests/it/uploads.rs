//! Uploads of `/v2/`.

use serde_json::json;

use crate::harness::{Harness, digest};

const DATA: &[u8] = b"0123456789abcdefghij";

#[tokio::test]
async fn a_new_upload_tells_where_it_goes_on() {
    let harness = Harness::with_repository("app").await;
    let v2 = harness.v2(&harness.root).await;
    let answer = v2.request("POST", "/v2/app/blobs/uploads/", &[], "").await;
    assert_eq!(answer.status, 202);
    let id = answer.header("docker-upload-uuid");
    assert_eq!(answer.header("location"), format!("/v2/app/blobs/uploads/{id}"));
    assert_eq!(answer.header("range"), "0-0");
    assert_eq!(answer.header("docker-distribution-api-version"), "registry/2.0");
}

#[tokio::test]
async fn chunks_come_in_order() {
    let harness = Harness::with_repository("app").await;
    let v2 = harness.v2(&harness.root).await;
    let location = v2.begin("app").await;
    let append = async |range: &str, data: &[u8]| {
        v2.request("PATCH", &location, &[("content-range", range)], data).await
    };
    let first = append("0-9", &DATA[..10]).await;
    assert_eq!((first.status.as_u16(), first.header("range")), (202, "0-9"));
    for start in [0_usize, 9, 11] {
        let end = start + 4;
        let refused = append(&format!("{start}-{end}"), b"xxxxx").await;
        assert_eq!(
            (refused.status.as_u16(), refused.code().as_str()),
            (416, "BLOB_UPLOAD_INVALID")
        );
    }
    assert_eq!(v2.get(&location).await.header("range"), "0-9");
    // The last part once more is answered as the first time.
    assert_eq!(append("0-9", &DATA[..10]).await.status, 202);
    assert_eq!(append("10-19", &DATA[10..]).await.header("range"), "0-19");
    let done = v2.request("PUT", &format!("{location}?digest={}", digest(DATA)), &[], "").await;
    assert_eq!(done.status, 201);
    assert_eq!(done.header("location"), format!("/v2/app/blobs/{}", digest(DATA)));
    assert_eq!(v2.get(done.header("location")).await.body, DATA);
}

#[tokio::test]
async fn a_range_that_is_not_the_body_is_refused() {
    let harness = Harness::with_repository("app").await;
    let v2 = harness.v2(&harness.root).await;
    let location = v2.begin("app").await;
    for range in ["0-8", "0-10", "junk", "bytes 0-9", "9-0"] {
        let answer = v2.request("PATCH", &location, &[("content-range", range)], &DATA[..10]).await;
        assert_eq!(answer.status, 416, "{range}");
        assert_eq!(v2.get(&location).await.header("range"), "0-0");
    }
}

#[tokio::test]
async fn a_wrong_digest_leaves_nothing() {
    let harness = Harness::with_repository("app").await;
    let v2 = harness.v2(&harness.root).await;
    let wrong = digest("something else");
    for target in [
        format!("{}?digest={wrong}", v2.begin("app").await),
        format!("{}?digest=sha256:abc", v2.begin("app").await),
        v2.begin("app").await,
    ] {
        let answer = v2.request("PUT", &target, &[], DATA).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "DIGEST_INVALID"));
    }
    let single = format!("/v2/app/blobs/uploads/?digest={wrong}");
    assert_eq!(v2.request("POST", &single, &[], DATA).await.status, 400);
    for blob in [wrong, digest(DATA)] {
        assert_eq!(v2.head(&format!("/v2/app/blobs/{blob}")).await.status, 404);
    }
}

#[tokio::test]
async fn one_post_is_enough() {
    let harness = Harness::with_repository("app").await;
    let v2 = harness.v2(&harness.root).await;
    let target = format!("/v2/app/blobs/uploads/?digest={}", digest(DATA));
    let answer = v2.request("POST", &target, &[], DATA).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("docker-content-digest")),
        (201, &*digest(DATA))
    );
}

#[tokio::test]
async fn a_cancelled_upload_is_unknown() {
    let harness = Harness::with_repository("app").await;
    let v2 = harness.v2(&harness.root).await;
    let location = v2.begin("app").await;
    assert_eq!(v2.delete(&location).await.status, 204);
    for method in ["GET", "PATCH", "DELETE"] {
        let answer = v2.request(method, &location, &[], "").await;
        assert_eq!(answer.status, 404, "{method}");
    }
    assert_eq!(v2.get("/v2/app/blobs/uploads/junk").await.code(), "BLOB_UPLOAD_UNKNOWN");
}

#[tokio::test]
async fn the_algorithm_is_announced_or_found_out() {
    let harness = Harness::with_repository("app").await;
    let v2 = harness.v2(&harness.root).await;
    let wanted = bonded_oci::Digest::of(bonded_oci::Algorithm::Sha512, DATA).to_string();
    for query in ["", "?digest-algorithm=sha512"] {
        let begin = format!("/v2/app/blobs/uploads/{query}");
        let begun = v2.request("POST", &begin, &[], "").await;
        let location = begun.header("location").to_owned();
        v2.request("PATCH", &location, &[], DATA).await;
        let done = v2.request("PUT", &format!("{location}?digest={wanted}"), &[], "").await;
        assert_eq!((done.status.as_u16(), done.header("docker-content-digest")), (201, &*wanted));
    }
    let unknown = v2.request("POST", "/v2/app/blobs/uploads/?digest-algorithm=md5", &[], "").await;
    assert_eq!(unknown.status, 400);
}

#[tokio::test]
async fn what_can_be_mounted_is_not_uploaded() {
    let harness = Harness::with_repository("app").await;
    harness.ecr("CreateRepository", json!({ "repositoryName": "other" })).await;
    let v2 = harness.v2(&harness.root).await;
    let blob = v2.push_blob("app", DATA).await;
    let mount = async |digest: &str, from: &str| {
        let target = format!("/v2/other/blobs/uploads/?mount={digest}{from}");
        v2.request("POST", &target, &[], "").await
    };
    for from in ["&from=missing", "&from=Bad%20Name"] {
        assert_eq!(mount(&blob, from).await.status, 202, "{from}");
    }
    let mounted = mount(&blob, "&from=app").await;
    assert_eq!(mounted.status, 201);
    assert_eq!(mounted.header("location"), format!("/v2/other/blobs/{blob}"));
    assert_eq!(v2.get(mounted.header("location")).await.body, DATA);
    assert_eq!(mount(&blob, "").await.status, 201);
    assert_eq!(mount(&digest("nothing"), "").await.status, 202);
    assert_eq!(harness.records_of("MountLayer").await.len(), 2);
}
