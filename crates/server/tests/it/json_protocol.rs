//! AWS JSON 1.1 with SigV4, and what the listener says to the protocols that are not served.

use http::Method;
use serde_json::json;

use crate::harness::{Answer, Draft, Harness, Key, REGION};

const MINUTES: i64 = 60 * 1_000_000;

fn exception(answer: &Answer) -> String {
    answer.json()["__type"].as_str().unwrap_or_default().to_owned()
}

async fn send(harness: &Harness, key: &Key, change: impl FnOnce(&mut Draft)) -> Answer {
    let mut draft = Draft::call("DescribeRegistry", b"{}");
    draft.sign(key, REGION, harness.clock.now());
    change(&mut draft);
    harness.send(draft).await
}

#[tokio::test]
async fn an_answer_has_its_type() {
    let harness = Harness::new().await;
    let answer = send(&harness, &harness.root, |_| {}).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/x-amz-json-1.1");
    let unknown = harness.ecr("DescribeImages", json!({ "repositoryName": "none" })).await;
    assert_eq!(
        unknown,
        (
            400,
            json!({
                "__type": "RepositoryNotFoundException",
                "message": "The repository with name 'none' does not exist in the registry with \
                            id '123456789012'",
            })
        )
    );
}

#[tokio::test]
async fn what_was_changed_after_signing_is_refused() {
    let harness = Harness::new().await;
    let root = &harness.root;
    let body = send(&harness, root, |draft| draft.body = b"{ }".to_vec()).await;
    assert_eq!(exception(&body), "InvalidSignatureException");
    let target = send(&harness, root, |draft| {
        let target = draft.headers.iter_mut().find(|(name, _)| name == "x-amz-target").unwrap();
        target.1 = target.1.replace("DescribeRegistry", "GetRegistryPolicy");
    });
    assert_eq!(exception(&target.await), "InvalidSignatureException");
    let secret = Key { secret: "another".to_owned(), ..root.clone() };
    assert_eq!(exception(&send(&harness, &secret, |_| {}).await), "InvalidSignatureException");
}

#[tokio::test]
async fn keys_that_are_not_good_are_one_answer() {
    let harness = Harness::new().await;
    let unknown = Key { id: "AKIAABCDEFGHIJKLMNOP".to_owned(), ..harness.root.clone() };
    let unknown = send(&harness, &unknown, |_| {}).await;
    assert_eq!(
        unknown.json(),
        json!({
            "__type": "UnrecognizedClientException",
            "message": "The security token included in the request is invalid.",
        })
    );
    let (account, id) = (harness.root.account.clone(), harness.root.id.clone());
    let deactivate =
        move |tx: &mut bonded_db::Tx<'_>| tx.set_access_key_active(&account, &id, false);
    harness.db().write(deactivate).await.unwrap();
    let inactive = send(&harness, &harness.root, |_| {}).await;
    assert_eq!(inactive.seen(""), unknown.seen(""));
    let token = send(&harness, &harness.other_root, |draft| {
        draft.headers.push(("x-amz-security-token".to_owned(), "token".to_owned()));
    });
    assert_eq!(token.await.seen(""), unknown.seen(""));
}

#[tokio::test]
async fn a_clock_may_be_five_minutes_off() {
    let harness = Harness::new().await;
    for (minutes, allowed) in [(-6, false), (-5, true), (5, true), (6, false)] {
        let mut draft = Draft::call("DescribeRegistry", b"{}");
        draft.sign(&harness.root, REGION, harness.clock.now() + minutes * MINUTES);
        let answer = harness.send(draft).await;
        assert_eq!(answer.status == 200, allowed, "{minutes}: {answer:?}");
        if !allowed {
            let message = answer.json()["message"].as_str().unwrap().to_owned();
            assert!(message.ends_with("5 min.)"), "{message}");
        }
    }
}

#[tokio::test]
async fn a_region_that_is_not_served_is_refused() {
    let harness = Harness::new().await;
    let (status, body) =
        harness.ecr_in(&harness.root, "eu-north-1", "DescribeRegistry", json!({})).await;
    assert_eq!((status, body["__type"].as_str()), (400, Some("InvalidSignatureException")));
    assert_eq!(body["message"], "Credential should be scoped to a valid region, not 'eu-north-1'.");
}

#[tokio::test]
async fn lengths_are_limited_before_the_signature_is_looked_at() {
    let harness = Harness::new().await;
    let mut draft = Draft::call("DescribeRegistry", &vec![b' '; 1024 * 1024 + 1]);
    let unsigned = harness.send(Draft { headers: draft.headers.clone(), ..draft }).await;
    assert_eq!(unsigned.status, 413);
    assert_eq!(exception(&unsigned), "RequestEntityTooLargeException");
    draft = Draft::call("PutImage", &vec![b' '; 1024 * 1024 + 1]);
    assert_eq!(exception(&harness.send(draft).await), "MissingAuthenticationTokenException");
}

#[tokio::test]
async fn unknown_operations_are_told_in_their_protocol() {
    let harness = Harness::new().await;
    for target in ["Nothing", "putImage", "", "StartImageScan"] {
        let answer = harness.send(Draft::call(target, b"{}")).await;
        assert_eq!(
            (answer.status.as_u16(), &*exception(&answer)),
            (400, "UnknownOperationException")
        );
    }
    let draft = |method: Method, target: &str, kind: &str, body: &[u8]| Draft {
        method,
        target: target.to_owned(),
        headers: vec![("content-type".to_owned(), kind.to_owned())],
        body: body.to_vec(),
    };
    let form = "application/x-www-form-urlencoded";
    let body = b"Action=Get%3CCaller&Version=2011-06-15";
    let query = harness.send(draft(Method::POST, "/", form, body)).await;
    assert_eq!(query.status, 400);
    let text = String::from_utf8_lossy(&query.body);
    assert!(text.contains("<Code>InvalidAction</Code>"), "{text}");
    assert!(text.contains("Could not find operation Get&lt;Caller for version 2011-06-15"));
    let rest = harness.send(draft(Method::GET, "/tags/x", "", b"")).await;
    assert_eq!(rest.status, 404);
    assert_eq!(rest.header("x-amzn-errortype"), "UnknownOperationException");
}

#[tokio::test]
async fn what_is_no_document_is_refused() {
    let harness = Harness::new().await;
    for body in [&b"{"[..], b"[]", b"{\"repositoryName\": 5}", b"\xff"] {
        let mut draft = Draft::call("CreateRepository", body);
        draft.sign(&harness.root, REGION, harness.clock.now());
        let answer = harness.send(draft).await;
        assert_eq!(exception(&answer), "SerializationException", "{body:?}");
    }
}

#[tokio::test]
async fn a_part_that_does_not_fit_has_its_members() {
    let harness = Harness::with_repository("app").await;
    let (_, begun) = harness.ecr("InitiateLayerUpload", json!({ "repositoryName": "app" })).await;
    let part = |first: u64, last: u64, bytes: &str| {
        json!({
            "repositoryName": "app", "uploadId": begun["uploadId"], "partFirstByte": first,
            "partLastByte": last, "layerPartBlob": bytes,
        })
    };
    let (status, body) = harness.ecr("UploadLayerPart", part(0, 2, "YWJj")).await;
    assert_eq!(status, 200, "{body}");
    let (status, body) = harness.ecr("UploadLayerPart", part(7, 9, "YWJj")).await;
    assert_eq!(status, 400);
    assert_eq!(
        body,
        json!({
            "__type": "InvalidLayerPartException",
            "message": "First byte of the layer part is 7 instead of 3",
            "registryId": "123456789012",
            "repositoryName": "app",
            "uploadId": begun["uploadId"],
            "lastValidByteReceived": 2,
        })
    );
}
