//! Manifests, tags, referrers and the catalogue of `/v2/`.

use serde_json::{Value, json};

use crate::harness::{CONFIG, Harness, OCI_MANIFEST, digest, image, manifest_digest};

#[tokio::test]
async fn a_manifest_comes_back_byte_for_byte() {
    let harness = Harness::with_repository("app").await;
    let v2 = harness.v2(&harness.root).await;
    let manifest = v2.push_image("app", "1", b"layer").await;
    let digest = manifest_digest(&manifest);
    for reference in ["1", &digest] {
        let path = format!("/v2/app/manifests/{reference}");
        let got = v2.get(&path).await;
        assert_eq!(got.body, manifest.to_string().as_bytes());
        let head = v2.head(&path).await;
        assert!(head.body.is_empty());
        for answer in [&got, &head] {
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("docker-content-digest"), digest);
            assert_eq!(answer.header("content-type"), OCI_MANIFEST);
            assert_eq!(answer.header("content-length"), manifest.to_string().len().to_string());
        }
        let etag = got.header("etag").to_owned();
        let known = v2.request("GET", &path, &[("if-none-match", &etag)], "").await;
        assert_eq!(known.status, 304);
    }
}

#[tokio::test]
async fn several_tags_are_set_at_once() {
    let harness = Harness::with_repository("app").await;
    let v2 = harness.v2(&harness.root).await;
    let manifest = v2.push_image("app", "1", b"layer").await;
    let reference = format!("{}?tag=b&tag=a&tag=b", manifest_digest(&manifest));
    let answer = v2.put_manifest("app", &reference, &manifest).await;
    assert_eq!((answer.status.as_u16(), answer.header("oci-tag")), (201, "b, a"));
    let listed = v2.get("/v2/app/tags/list").await.json();
    assert_eq!(listed, json!({ "name": "app", "tags": ["1", "a", "b"] }));
    let bad = format!("{}?tag=good&tag=-bad", manifest_digest(&manifest));
    assert_eq!(v2.put_manifest("app", &bad, &manifest).await.code(), "TAG_INVALID");
}

#[tokio::test]
async fn pages_go_on_by_link() {
    let harness = Harness::with_repository("app").await;
    let v2 = harness.v2(&harness.root).await;
    let manifest = v2.push_image("app", "c", b"layer").await;
    for tag in ["a", "b"] {
        v2.put_manifest("app", tag, &manifest).await;
    }
    let page = v2.get("/v2/app/tags/list?n=2").await;
    assert_eq!(page.json()["tags"], json!(["a", "b"]));
    assert_eq!(page.header("link"), "</v2/app/tags/list?n=2&last=b>; rel=\"next\"");
    let last = v2.get("/v2/app/tags/list?n=2&last=b").await;
    assert_eq!(last.json()["tags"], json!(["c"]));
    assert!(last.headers.get("link").is_none());
    let none = v2.get("/v2/app/tags/list?n=0").await;
    assert_eq!(none.json()["tags"], json!([]));
    assert!(none.headers.get("link").is_none());
    for target in ["/v2/app/tags/list?n=x", "/v2/_catalog?n=-1"] {
        let answer = v2.get(target).await;
        assert_eq!(answer.code(), "PAGINATION_NUMBER_INVALID");
    }
    harness.ecr("CreateRepository", json!({ "repositoryName": "app/b" })).await;
    let page = v2.get("/v2/_catalog?n=1").await;
    assert_eq!(page.json(), json!({ "repositories": ["app"] }));
    assert_eq!(page.header("link"), "</v2/_catalog?n=1&last=app>; rel=\"next\"");
}

#[tokio::test]
async fn a_deleted_tag_leaves_the_image() {
    let harness = Harness::with_repository("app").await;
    let v2 = harness.v2(&harness.root).await;
    let manifest = v2.push_image("app", "1", b"layer").await;
    assert_eq!(v2.delete("/v2/app/manifests/1").await.status, 202);
    assert_eq!(v2.get("/v2/app/manifests/1").await.code(), "MANIFEST_UNKNOWN");
    let path = format!("/v2/app/manifests/{}", manifest_digest(&manifest));
    assert_eq!(v2.get(&path).await.status, 200);
    assert_eq!(v2.delete(&path).await.status, 202);
    assert_eq!(v2.get(&path).await.status, 404);
}

#[tokio::test]
async fn a_child_of_an_index_stays() {
    let harness = Harness::with_repository("app").await;
    let v2 = harness.v2(&harness.root).await;
    let child = v2.push_image("app", "1", b"layer").await;
    let index = index_of(&child);
    assert_eq!(v2.put_manifest("app", "all", &index).await.status, 201);
    let kept = v2.delete(&format!("/v2/app/manifests/{}", manifest_digest(&child))).await;
    assert_eq!(kept.status, 405);
    let wanted =
        format!("Requested image referenced by manifest list: [{}]", manifest_digest(&index));
    assert_eq!(kept.json()["errors"][0]["message"], wanted);
}

fn index_of(child: &Value) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{
            "mediaType": OCI_MANIFEST,
            "digest": manifest_digest(child),
            "size": child.to_string().len(),
        }],
    })
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let harness = Harness::with_repository("app").await;
    let v2 = harness.v2(&harness.root).await;
    v2.push_blob("app", CONFIG).await;
    let answer = v2.put_manifest("app", "1", &image(b"not pushed")).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (404, "MANIFEST_BLOB_UNKNOWN"));
    let message = answer.json()["errors"][0]["message"].as_str().unwrap().to_owned();
    assert!(message.contains(&digest("not pushed")), "{message}");
}

#[tokio::test]
async fn bad_manifests_and_references_are_refused() {
    let harness = Harness::with_repository("app").await;
    let v2 = harness.v2(&harness.root).await;
    let put = async |reference: &str, body: &str| {
        let target = format!("/v2/app/manifests/{reference}");
        let answer = v2.request("PUT", &target, &[("content-type", OCI_MANIFEST)], body).await;
        (answer.status.as_u16(), answer.code())
    };
    assert_eq!(put("1", "junk").await, (400, "MANIFEST_INVALID".to_owned()));
    assert_eq!(put("-x", "{}").await, (400, "TAG_INVALID".to_owned()));
    assert_eq!(put("sha256:abc", "{}").await, (400, "DIGEST_INVALID".to_owned()));
    let long = "x".repeat(4 * 1024 * 1024 + 1);
    assert_eq!(put("1", &long).await, (413, "MANIFEST_INVALID".to_owned()));
    let wrong = digest("other");
    let valid = v2.push_image("app", "1", b"layer").await.to_string();
    assert_eq!(put(&wrong, &valid).await, (400, "DIGEST_INVALID".to_owned()));
}

#[tokio::test]
async fn referrers_are_listed_and_filtered() {
    let harness = Harness::with_repository("app").await;
    let v2 = harness.v2(&harness.root).await;
    let subject = v2.push_image("app", "1", b"layer").await;
    let mut sbom = image(b"layer");
    sbom["artifactType"] = json!("application/spdx+json");
    sbom["annotations"] = json!({ "made": "today" });
    sbom["subject"] = json!({
        "mediaType": OCI_MANIFEST,
        "digest": manifest_digest(&subject),
        "size": subject.to_string().len(),
    });
    let put = v2.put_manifest("app", &manifest_digest(&sbom), &sbom).await;
    assert_eq!(put.header("oci-subject"), manifest_digest(&subject));

    let path = format!("/v2/app/referrers/{}", manifest_digest(&subject));
    let all = v2.get(&path).await;
    assert_eq!(all.header("content-type"), "application/vnd.oci.image.index.v1+json");
    let descriptor = json!({
        "mediaType": OCI_MANIFEST,
        "digest": manifest_digest(&sbom),
        "size": sbom.to_string().len(),
        "artifactType": "application/spdx+json",
        "annotations": { "made": "today" },
    });
    assert_eq!(all.json()["manifests"], json!([descriptor]));
    assert!(all.headers.get("oci-filters-applied").is_none());
    let none = v2.get(&format!("{path}?artifactType=application/none")).await;
    assert_eq!(none.header("oci-filters-applied"), "artifactType");
    assert_eq!(none.json()["manifests"], json!([]));
}

#[tokio::test]
async fn an_old_client_gets_a_converted_manifest() {
    let harness = Harness::with_repository("app").await;
    let v2 = harness.v2(&harness.root).await;
    v2.push_image("app", "1", b"layer").await;
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    let accept = [("accept", docker)];
    let got = v2.request("GET", "/v2/app/manifests/1", &accept, "").await;
    assert_eq!(got.header("content-type"), docker);
    assert_eq!(got.header("docker-content-digest"), digest(&got.body));
    let head = v2.request("HEAD", "/v2/app/manifests/1", &accept, "").await;
    assert_eq!(head.header("docker-content-digest"), digest(&got.body));
    assert_eq!(head.header("content-length"), got.body.len().to_string());
}

#[tokio::test]
async fn methods_that_are_not_there_are_told() {
    let harness = Harness::with_repository("app").await;
    let v2 = harness.v2(&harness.root).await;
    let answer = v2.request("PATCH", "/v2/app/manifests/1", &[], "").await;
    assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, "GET, HEAD, PUT, DELETE"));
    assert_eq!(v2.get("/v2/app/nothing/here").await.status, 404);
    assert_eq!(v2.get("/v2/Upper/tags/list").await.code(), "NAME_INVALID");
    assert_eq!(v2.get("/v2/missing/tags/list").await.code(), "NAME_UNKNOWN");
}
