//! The two planes are one truth: what docker pushes the API sees, and the reverse.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bonded_server::exchange::Plane;
use serde_json::json;

use crate::harness::{
    CONFIG, Draft, Harness, OCI_MANIFEST, REGION, digest, image, manifest_digest,
};

const LAYER: &[u8] = b"a layer of nobody else";

#[tokio::test]
async fn the_api_sees_what_docker_pushed() {
    let harness = Harness::with_repository("app").await;
    let v2 = harness.v2(&harness.root).await;
    let manifest = v2.push_image("app", "1", LAYER).await;
    let id = json!({ "imageDigest": manifest_digest(&manifest), "imageTag": "1" });

    let (_, listed) = harness.ecr("ListImages", json!({ "repositoryName": "app" })).await;
    assert_eq!(listed["imageIds"], json!([id]));
    let ids = json!({ "repositoryName": "app", "imageIds": [{ "imageTag": "1" }] });
    let (_, got) = harness.ecr("BatchGetImage", ids).await;
    assert_eq!(got["images"][0]["imageManifest"], manifest.to_string());
    assert_eq!(got["images"][0]["imageManifestMediaType"], OCI_MANIFEST);
    let layers = json!({ "repositoryName": "app", "layerDigests": [digest(LAYER)] });
    let (_, available) = harness.ecr("BatchCheckLayerAvailability", layers).await;
    assert_eq!(available["layers"][0]["layerAvailability"], "AVAILABLE");
    assert_eq!(available["layers"][0]["layerSize"], LAYER.len());
}

#[tokio::test]
async fn docker_sees_what_the_api_pushed() {
    let harness = Harness::with_repository("app").await;
    for data in [LAYER, CONFIG] {
        push_by_api(&harness, data).await;
    }
    let manifest = image(LAYER);
    let put = json!({
        "repositoryName": "app",
        "imageManifest": manifest.to_string(),
        "imageTag": "1",
    });
    let (status, body) = harness.ecr("PutImage", put).await;
    assert_eq!(status, 200, "{body}");

    let v2 = harness.v2(&harness.root).await;
    let got = v2.get("/v2/app/manifests/1").await;
    assert_eq!(got.body, manifest.to_string().as_bytes());
    assert_eq!(got.header("docker-content-digest"), manifest_digest(&manifest));
    let blob = v2.get(&format!("/v2/app/blobs/{}", digest(LAYER))).await;
    assert_eq!(blob.body, LAYER);
}

#[tokio::test]
async fn an_upload_ends_on_the_other_plane() {
    let harness = Harness::with_repository("app").await;
    let v2 = harness.v2(&harness.root).await;

    let location = v2.begin("app").await;
    let id = location.rsplit('/').next().unwrap().to_owned();
    append_by_api(&harness, &id, LAYER).await;
    let status = v2.get(&location).await;
    assert_eq!(status.header("range"), format!("0-{}", LAYER.len() - 1));
    let target = format!("{location}?digest={}", digest(LAYER));
    assert_eq!(v2.request("PUT", &target, &[], "").await.status, 201);

    let (_, begun) = harness.ecr("InitiateLayerUpload", json!({ "repositoryName": "app" })).await;
    let id = begun["uploadId"].as_str().unwrap();
    let location = format!("/v2/app/blobs/uploads/{id}");
    assert_eq!(v2.request("PATCH", &location, &[], CONFIG).await.status, 202);
    complete_by_api(&harness, id, CONFIG).await;
    assert_eq!(v2.get(&format!("/v2/app/blobs/{}", digest(CONFIG))).await.body, CONFIG);
}

#[tokio::test]
async fn a_link_reads_the_layer() {
    let harness = Harness::with_repository("app").await;
    harness.v2(&harness.root).await.push_image("app", "1", LAYER).await;
    let asked = json!({ "repositoryName": "app", "layerDigest": digest(LAYER) });
    let (_, answer) = harness.ecr("GetDownloadUrlForLayer", asked).await;
    let url = answer["downloadUrl"].as_str().unwrap();
    let path = url.strip_prefix("http://localhost:5000").unwrap();
    let nobody = harness.v2_of_nobody();
    assert_eq!(nobody.get(path).await.body, LAYER);
    let part = nobody.request("GET", path, &[("range", "bytes=2-6")], "").await;
    assert_eq!((part.status.as_u16(), &part.body[..]), (206, &LAYER[2..7]));
    assert_eq!(nobody.head(path).await.header("content-length"), LAYER.len().to_string());

    let challenge = nobody.get("/v2/").await.seen("");
    assert_eq!(nobody.get("/v2/-/layer/junk").await.seen(""), challenge);
    harness.clock.advance(3_600 * 1_000_000);
    assert_eq!(nobody.get(path).await.seen(""), challenge);
}

async fn push_by_api(harness: &Harness, data: &[u8]) {
    let (_, begun) = harness.ecr("InitiateLayerUpload", json!({ "repositoryName": "app" })).await;
    let id = begun["uploadId"].as_str().unwrap();
    append_by_api(harness, id, data).await;
    complete_by_api(harness, id, data).await;
}

async fn append_by_api(harness: &Harness, id: &str, data: &[u8]) {
    let part = json!({
        "repositoryName": "app",
        "uploadId": id,
        "partFirstByte": 0,
        "partLastByte": data.len() - 1,
        "layerPartBlob": STANDARD.encode(data),
    });
    let (status, body) = harness.ecr("UploadLayerPart", part).await;
    assert_eq!(status, 200, "{body}");
}

async fn complete_by_api(harness: &Harness, id: &str, data: &[u8]) {
    let complete =
        json!({ "repositoryName": "app", "uploadId": id, "layerDigests": [digest(data)] });
    let (status, body) = harness.ecr("CompleteLayerUpload", complete).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["layerDigest"], digest(data));
}

#[tokio::test]
async fn both_planes_say_who_and_what_in_the_log() {
    let harness = Harness::with_repository("app").await;
    let v2 = harness.v2(&harness.root).await;
    let manifest = v2.push_image("app", "1", LAYER).await;
    let noted = v2.get("/v2/app/manifests/1").await.noted;
    assert_eq!(noted.plane, Plane::V2);
    assert_eq!(noted.operation, Some("BatchGetImage"));
    assert_eq!(noted.principal.as_deref(), Some("arn:aws:iam::123456789012:root"));
    assert_eq!(noted.access_key_id, Some(harness.root.id.clone()));
    assert_eq!(noted.account.as_deref(), Some("123456789012"));
    assert_eq!(noted.repository.as_deref(), Some("app"));
    assert_eq!(noted.digest, Some(manifest_digest(&manifest)));
    assert_eq!(v2.get("/v2/app/manifests/2").await.noted.error, Some("MANIFEST_UNKNOWN"));

    let mut draft = Draft::call("DescribeImages", b"{\"repositoryName\":\"other\"}");
    draft.sign(&harness.root, REGION, harness.clock.now());
    let noted = harness.send(draft).await.noted;
    assert_eq!(noted.plane, Plane::Json);
    assert_eq!(noted.operation, Some("DescribeImages"));
    assert_eq!(noted.principal.as_deref(), Some("arn:aws:iam::123456789012:root"));
    assert_eq!(noted.repository.as_deref(), Some("other"));
    assert_eq!(noted.error, Some("RepositoryNotFoundException"));
}

#[tokio::test]
async fn a_push_has_its_records_and_no_manifest_in_them() {
    let harness = Harness::with_repository("app").await;
    let v2 = harness.v2(&harness.root).await;
    v2.push_image("app", "1", LAYER).await;
    v2.get("/v2/app/manifests/1").await;
    let put = json!({
        "repositoryName": "app", "imageManifest": image(LAYER).to_string(), "imageTag": "2",
    });
    let (status, body) = harness.ecr("PutImage", put).await;
    assert_eq!(status, 200, "{body}");
    for (operation, count) in [
        ("InitiateLayerUpload", 2),
        ("CompleteLayerUpload", 2),
        ("PutImage", 2),
        ("BatchGetImage", 1),
    ] {
        let records = harness.records_of(operation).await;
        assert_eq!(records.len(), count, "{operation}");
        for record in records {
            let text = serde_json::to_string(&record).unwrap();
            assert!(!text.contains("schemaVersion"), "{text}");
            assert_eq!(
                record.resources[0].arn,
                "arn:aws:ecr:us-east-1:123456789012:repository/app"
            );
        }
    }
}
