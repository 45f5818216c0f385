//! Every operation and every route refuses a caller who has no permission, and tells him nothing.
//!
//! The list of operations is the registry's own, so an operation that forgets to ask is found by
//! this test and not by a customer.

use bonded_registry::ecr::OPERATIONS;
use serde_json::{Value, json};

use crate::harness::{
    ACCOUNT, Answer, Draft, Harness, Key, OCI_MANIFEST, REGION, V2, allow, digest, image,
};

/// What a repository that exists and one that does not are called: of one length.
const EXISTING: &str = "team/exists";
const MISSING: &str = "team/misses";
const UPLOAD: &str = "6cb64b8a-9378-4e33-9ab1-b780fab8a9e9";
const LAYER: &[u8] = b"a layer";

/// A deployment whose one repository has an image.
async fn deployment() -> Harness {
    let harness = Harness::with_repository(EXISTING).await;
    harness.v2(&harness.root).await.push_image(EXISTING, "1", LAYER).await;
    harness
}

/// A valid input of an operation: without one the parameters would be refused first.
fn sample(operation: &str, name: &str) -> Value {
    let repository = json!({ "repositoryName": name, "registryId": ACCOUNT });
    let registry = json!({ "registryId": ACCOUNT });
    let arn = format!("arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{name}");
    let with = |base: &Value, more: Value| {
        let mut all = base.as_object().unwrap().clone();
        all.extend(more.as_object().unwrap().clone());
        Value::Object(all)
    };
    match operation {
        "BatchCheckLayerAvailability" => {
            with(&repository, json!({ "layerDigests": [digest(LAYER)] }))
        }
        "BatchDeleteImage" | "BatchGetImage" => {
            with(&repository, json!({ "imageIds": [{ "imageTag": "1" }] }))
        }
        "CompleteLayerUpload" => {
            let digests = [digest(LAYER)];
            with(&repository, json!({ "uploadId": UPLOAD, "layerDigests": digests }))
        }
        "CreateRepository" => with(&repository, json!({ "repositoryName": format!("{name}-new") })),
        "DeleteRegistryPolicy" | "DescribeRegistry" | "GetRegistryPolicy" => json!({}),
        "DeleteRepository" => with(&repository, json!({ "force": true })),
        "DeleteRepositoryPolicy"
        | "GetRepositoryPolicy"
        | "InitiateLayerUpload"
        | "DescribeImages"
        | "ListImages" => repository,
        "DeregisterPullTimeUpdateExclusion" | "RegisterPullTimeUpdateExclusion" => {
            json!({ "principalArn": format!("arn:aws:iam::{ACCOUNT}:user/robot") })
        }
        "DescribeRepositories" => with(&registry, json!({ "repositoryNames": [name] })),
        "GetAccountSetting" => json!({ "name": "BLOB_MOUNTING" }),
        "GetAuthorizationToken" | "ListPullTimeUpdateExclusions" => json!({}),
        "GetDownloadUrlForLayer" => with(&repository, json!({ "layerDigest": digest(LAYER) })),
        "ListImageReferrers" => {
            with(&repository, json!({ "subjectId": { "imageDigest": digest(LAYER) } }))
        }
        "ListTagsForResource" => json!({ "resourceArn": arn }),
        "PutAccountSetting" => json!({ "name": "BLOB_MOUNTING", "value": "DISABLED" }),
        "PutImage" => {
            let manifest = image(LAYER).to_string();
            with(&repository, json!({ "imageManifest": manifest, "imageTag": "2" }))
        }
        "PutImageScanningConfiguration" => {
            with(&repository, json!({ "imageScanningConfiguration": { "scanOnPush": true } }))
        }
        "PutImageTagMutability" => with(&repository, json!({ "imageTagMutability": "IMMUTABLE" })),
        "PutRegistryPolicy" => json!({ "policyText": policy(&json!(arn)) }),
        "SetRepositoryPolicy" => with(&repository, json!({ "policyText": policy(&Value::Null) })),
        "TagResource" => {
            json!({ "resourceArn": arn, "tags": [{ "Key": "team", "Value": "blue" }] })
        }
        "UntagResource" => json!({ "resourceArn": arn, "tagKeys": ["team"] }),
        "UploadLayerPart" => {
            let part = json!({
                "uploadId": UPLOAD, "partFirstByte": 0, "partLastByte": 2, "layerPartBlob": "YWJj",
            });
            with(&repository, part)
        }
        _ => panic!("give {operation} a sample input"),
    }
}

/// A policy that lets another account replicate, with a resource if it is for a registry.
fn policy(resource: &Value) -> String {
    let mut statement = json!({
        "Sid": "replicate",
        "Effect": "Allow",
        "Principal": { "AWS": format!("arn:aws:iam::{ACCOUNT}:root") },
        "Action": "ecr:ReplicateImage",
    });
    if !resource.is_null() {
        statement["Resource"] = resource.clone();
    }
    json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string()
}

/// Operations that mean the caller's own registry, whoever he is.
fn is_of_own_registry(operation: &str) -> bool {
    !operation_names_repository(operation)
}

fn operation_names_repository(operation: &str) -> bool {
    operation != "PutRegistryPolicy" && sample(operation, EXISTING).to_string().contains(EXISTING)
}

/// Each `/v2/` request, with what it needs to be one.
fn routes(name: &str) -> Vec<(&'static str, String)> {
    let blob = digest(LAYER);
    [
        ("GET", "manifests/1".to_owned()),
        ("HEAD", "manifests/1".to_owned()),
        ("GET", "manifests/missing".to_owned()),
        ("PUT", "manifests/1".to_owned()),
        ("PUT", format!("manifests/{blob}?tag=x")),
        ("DELETE", "manifests/1".to_owned()),
        ("DELETE", format!("manifests/{blob}")),
        ("GET", format!("blobs/{blob}")),
        ("HEAD", format!("blobs/{blob}")),
        ("DELETE", format!("blobs/{blob}")),
        ("POST", "blobs/uploads/".to_owned()),
        ("POST", format!("blobs/uploads/?mount={blob}")),
        ("POST", format!("blobs/uploads/?mount={blob}&from={EXISTING}")),
        ("POST", format!("blobs/uploads/?digest={blob}")),
        ("GET", format!("blobs/uploads/{UPLOAD}")),
        ("PATCH", format!("blobs/uploads/{UPLOAD}")),
        ("PUT", format!("blobs/uploads/{UPLOAD}?digest={blob}")),
        ("DELETE", format!("blobs/uploads/{UPLOAD}")),
        ("GET", "tags/list".to_owned()),
        ("GET", format!("referrers/{blob}")),
    ]
    .into_iter()
    .map(|(method, path)| (method, format!("/v2/{name}/{path}")))
    .collect()
}

async fn ask(v2: &V2<'_>, method: &str, target: &str) -> Answer {
    v2.request(method, target, &[("content-type", OCI_MANIFEST)], LAYER).await
}

#[tokio::test]
async fn nobody_may_do_anything() {
    let harness = deployment().await;
    let user = harness.user(ACCOUNT, "nobody", &allow(&["sts:GetCallerIdentity"])).await;
    for (operation, _) in OPERATIONS {
        let input = sample(operation, EXISTING);
        let (_, body) = harness.ecr_as(&user, operation, input).await;
        assert_eq!(body["__type"], "AccessDeniedException", "{operation}: {body}");
    }
}

#[tokio::test]
async fn a_stranger_may_do_nothing_to_the_repositories_of_another() {
    let harness = deployment().await;
    for (operation, _) in OPERATIONS.iter().filter(|it| operation_names_repository(it.0)) {
        let input = sample(operation, EXISTING);
        let (_, body) = harness.ecr_as(&harness.other_root, operation, input).await;
        assert_eq!(body["__type"], "AccessDeniedException", "{operation}: {body}");
    }
}

#[tokio::test]
async fn a_refusal_does_not_tell_what_exists() {
    let harness = deployment().await;
    let nobody = harness.user(ACCOUNT, "nobody", &allow(&["sts:GetCallerIdentity"])).await;
    for key in [&nobody, &harness.other_root] {
        for (operation, _) in OPERATIONS.iter().filter(|it| !is_of_own_registry(it.0)) {
            let existing = call(&harness, key, operation, EXISTING).await;
            let missing = call(&harness, key, operation, MISSING).await;
            assert_eq!(existing, missing, "{operation} as {}", key.id);
        }
    }
}

async fn call(
    harness: &Harness,
    key: &Key,
    operation: &str,
    name: &str,
) -> (u16, Vec<(String, String)>, String) {
    let mut draft = Draft::call(operation, sample(operation, name).to_string().as_bytes());
    draft.sign(key, REGION, bonded_account::Clock::now(&harness.clock));
    harness.send(draft).await.seen(name)
}

#[tokio::test]
async fn a_reader_only_reads() {
    let harness = deployment().await;
    let reads: Vec<String> = OPERATIONS
        .iter()
        .filter(|(_, read_only)| *read_only)
        .map(|(name, _)| format!("ecr:{name}"))
        .collect();
    let reads: Vec<&str> = reads.iter().map(String::as_str).collect();
    let reader = harness.user(ACCOUNT, "reader", &allow(&reads)).await;
    for (operation, read_only) in OPERATIONS {
        let (_, body) = harness.ecr_as(&reader, operation, sample(operation, EXISTING)).await;
        let denied = body["__type"] == "AccessDeniedException";
        assert_eq!(denied, !read_only, "{operation}: {body}");
    }
    let v2 = harness.v2(&reader).await;
    for (method, target) in routes(EXISTING) {
        let answer = ask(&v2, method, &target).await;
        // To ask how far an upload is, one must be able to go on with it.
        let reads = matches!(method, "GET" | "HEAD") && !target.contains("/uploads/");
        assert_eq!(answer.status == 403, !reads, "{method} {target}: {answer:?}");
    }
}

#[tokio::test]
async fn without_credentials_every_route_is_the_same() {
    let harness = deployment().await;
    let nobody = harness.v2_of_nobody();
    let challenge = nobody.get("/v2/").await.seen("");
    assert_eq!(challenge.0, 401);
    for name in [EXISTING, MISSING, "Not-A-Name", "-"] {
        for (method, target) in routes(name) {
            let answer = ask(&nobody, method, &target).await;
            assert_eq!(answer.seen(""), challenge, "{method} {target}");
        }
    }
    for target in ["/v2", "/v2/_catalog", "/v2/x", "/v2/-/layer/", "/v2/-/layer/junk"] {
        assert_eq!(nobody.get(target).await.seen(""), challenge, "{target}");
    }
}

#[tokio::test]
async fn whom_nothing_is_allowed_every_route_refuses_alike() {
    let harness = deployment().await;
    let user = harness.user(ACCOUNT, "user", &allow(&["ecr:GetAuthorizationToken"])).await;
    for key in [&user, &harness.other_root] {
        let v2 = harness.v2(key).await;
        for ((method, existing), (_, missing)) in routes(EXISTING).into_iter().zip(routes(MISSING))
        {
            let one = ask(&v2, method, &existing).await;
            assert_eq!(one.status, 403, "{method} {existing}: {one:?}");
            assert_eq!(one.code(), "DENIED");
            let other = ask(&v2, method, &missing).await;
            assert_eq!(one.seen(EXISTING), other.seen(MISSING), "{method} {existing}");
        }
        assert_eq!(v2.get("/v2/_catalog").await.status, 403);
    }
}

/// Only whom an existing repository without policy would be allowed learns that it is missing.
#[tokio::test]
async fn who_may_ask_is_told_what_is_missing() {
    let harness = deployment().await;
    for (operation, _) in OPERATIONS.iter().filter(|it| operation_names_repository(it.0)) {
        let (_, body) = harness.ecr(operation, sample(operation, MISSING)).await;
        let expected = match *operation {
            "CreateRepository" => continue,
            _ => "RepositoryNotFoundException",
        };
        assert_eq!(body["__type"], expected, "{operation}: {body}");
    }
    let v2 = harness.v2(&harness.root).await;
    for (method, target) in routes(MISSING) {
        let answer = ask(&v2, method, &target).await;
        assert_eq!(answer.status, 404, "{method} {target}: {answer:?}");
        assert_eq!(answer.code(), "NAME_UNKNOWN", "{method} {target}");
    }
}

#[tokio::test]
async fn refusals_are_recorded() {
    let harness = deployment().await;
    let user = harness.user(ACCOUNT, "user", &allow(&["ecr:GetAuthorizationToken"])).await;
    let v2 = harness.v2(&user).await;
    assert_eq!(v2.delete(&format!("/v2/{EXISTING}/manifests/1")).await.status, 403);
    let records = harness.records_of("BatchDeleteImage").await;
    assert_eq!(records.len(), 1);
    let (code, message) = records[0].error.as_ref().unwrap();
    assert_eq!(code, "AccessDeniedException");
    assert!(message.contains("ecr:BatchDeleteImage"), "{message}");
    assert_eq!(records[0].who.user_name.as_deref(), Some("user"));
    assert_eq!(records[0].user_agent.as_deref(), Some("tests/1"));
}
