//! Download links: for whom, to what, how long.

use bonded_account::clock::new_id;

use super::*;
use crate::harness::{REGION, origin};

async fn linked(harness: &Harness, caller: &Caller, digest: Digest) -> Result<String> {
    let call = harness.call_of(caller, "GetDownloadUrlForLayer");
    let permit = permit(&call, "ecr:GetDownloadUrlForLayer", "app").await?;
    link(&call, &permit, &digest).await
}

/// The bytes that a link gives, if it gives any.
async fn follow(harness: &Harness, url: &str) -> Option<Vec<u8>> {
    let sealed = url.rsplit('/').next().unwrap();
    let request = LinkRequest {
        id: new_id(harness.clock.now()),
        region: REGION.to_owned(),
        origin: origin(),
    };
    let opened = open_link(&harness.registry, sealed, request).await.unwrap()?;
    let OpenedLink { call, permit, layer } = opened;
    let body = layer.body(&call, &permit, 0..layer.size).await.unwrap();
    Some(crate::upload::tests::collect(body).await.unwrap())
}

/// A layer in `app` that an image uses.
async fn used_layer(harness: &Harness) -> (Uuid, Digest) {
    let app = harness.repository("app").await;
    let digest = Client::root(harness, "app").push(b"bytes").await;
    use_blobs(harness, app, &[digest]).await;
    (app, digest)
}

#[tokio::test]
async fn a_link_gives_the_layer_for_an_hour() {
    let harness = Harness::new().await;
    let (_, digest) = used_layer(&harness).await;
    let url = linked(&harness, &root(ACCOUNT), digest).await.unwrap();
    let start = "http://123456789012.dkr.ecr.us-east-1.localhost:5000/v2/-/layer/";
    assert!(url.starts_with(start), "{url}");
    assert_eq!(follow(&harness, &url).await.unwrap(), b"bytes");
    harness.clock.advance(3_599_999_999);
    assert_eq!(follow(&harness, &url).await.unwrap(), b"bytes");
    harness.clock.advance(1);
    assert_eq!(follow(&harness, &url).await, None);
}

#[tokio::test]
async fn only_what_an_image_uses_is_linked() {
    let harness = Harness::new().await;
    harness.repository("app").await;
    let digest = Client::root(&harness, "app").push(b"bytes").await;
    let answer = linked(&harness, &root(ACCOUNT), digest).await;
    assert!(matches!(answer, Err(Error::LayerInaccessible { .. })));
    assert!(is_missing(linked(&harness, &root(ACCOUNT), sha256(b"other")).await));
    for digest in ["junk", "", "sha256:"] {
        let input = json!({ "repositoryName": "app", "layerDigest": digest });
        let answer = api(&harness, "GetDownloadUrlForLayer", input).await;
        assert!(matches!(answer, Err(Error::InvalidParameter { member: "layerDigest", .. })));
    }
    let input = json!({ "repositoryName": "app", "layerDigest": "md5:00" });
    assert!(is_missing(api(&harness, "GetDownloadUrlForLayer", input).await));
}

#[tokio::test]
async fn a_changed_link_is_none() {
    let harness = Harness::new().await;
    let (_, digest) = used_layer(&harness).await;
    let url = linked(&harness, &root(ACCOUNT), digest).await.unwrap();
    let sealed = url.rsplit('/').next().unwrap();
    let (head, tail) = sealed.split_at(sealed.len() / 2);
    for other in [head, tail, "", "junk", &format!("{sealed}A"), &format!("{head}A{tail}")] {
        assert_eq!(follow(&harness, other).await, None, "{other}");
    }
    // Nor is a token of another kind.
    let call = harness.call("ListImages");
    assert_eq!(follow(&harness, &call.next_token(&(), "x".to_owned())).await, None);
}

#[tokio::test]
async fn a_link_dies_with_the_grant_and_with_the_key() {
    let harness = Harness::new().await;
    let (app, digest) = used_layer(&harness).await;
    let stranger = root(OTHER_ACCOUNT);
    assert!(matches!(linked(&harness, &stranger, digest).await, Err(Error::AccessDenied(_))));
    let policy = |effect: &str| {
        format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"{effect}",
            "Principal":{{"AWS":"{OTHER_ACCOUNT}"}},"Action":"ecr:*"}}]}}"#
        )
    };
    harness.set_policy(app, &policy("Allow")).await;
    let url = linked(&harness, &stranger, digest).await.unwrap();
    assert_eq!(follow(&harness, &url).await.unwrap(), b"bytes");
    harness.set_policy(app, &policy("Deny")).await;
    assert_eq!(follow(&harness, &url).await, None);
    harness.set_policy(app, &policy("Allow")).await;
    assert_eq!(follow(&harness, &url).await.unwrap(), b"bytes");
    let key = stranger.access_key_id;
    let gone = harness.db().write(move |tx| tx.delete_access_key(OTHER_ACCOUNT, &key)).await;
    assert!(gone.unwrap());
    assert_eq!(follow(&harness, &url).await, None);
}

#[tokio::test]
async fn a_link_dies_with_its_repository_and_with_its_layer() {
    let harness = Harness::new().await;
    let (app, digest) = used_layer(&harness).await;
    let url = linked(&harness, &root(ACCOUNT), digest).await.unwrap();
    harness.execute("UPDATE key_domain SET enabled = 0").await;
    assert_eq!(follow(&harness, &url).await, None);
    harness.execute("UPDATE key_domain SET enabled = 1").await;
    harness.execute("UPDATE blob SET damaged = 1").await;
    assert_eq!(follow(&harness, &url).await, None);
    harness.execute("UPDATE blob SET damaged = 0").await;
    assert_eq!(follow(&harness, &url).await.unwrap(), b"bytes");
    harness.db().write(move |tx| tx.mark_repository_deleted(&app, 1)).await.unwrap();
    assert_eq!(follow(&harness, &url).await, None);
    // A new one of that name, with the same bytes, is another one.
    used_layer(&harness).await;
    assert_eq!(follow(&harness, &url).await, None);
}

#[tokio::test]
async fn the_use_of_a_link_is_recorded_for_its_principal() {
    let harness = Harness::new().await;
    let (_, digest) = used_layer(&harness).await;
    let url = linked(&harness, &root(ACCOUNT), digest).await.unwrap();
    let used = "SELECT CAST(SUM(records) AS BIGINT) FROM audit_block";
    follow(&harness, &url).await.unwrap();
    assert_eq!(harness.count(used).await, 1);
    // Without a valid identity there is nobody to record it for.
    follow(&harness, "junk").await;
    assert_eq!(harness.count(used).await, 1);
}
