//! Who may in on `/v2/`.

use crate::harness::{ACCOUNT, Harness, OTHER_REGION, allow};

const HOURS: i64 = 3_600 * 1_000_000;

#[tokio::test]
async fn a_token_is_good_for_twelve_hours() {
    let harness = Harness::with_repository("app").await;
    let v2 = harness.v2(&harness.root).await;
    assert!(!v2.password.as_ref().unwrap().contains(':'));
    assert_eq!(v2.get("/v2/").await.status, 200);
    harness.clock.advance(12 * HOURS - 1);
    assert_eq!(v2.get("/v2/").await.status, 200);
    harness.clock.advance(1);
    let expired = v2.get("/v2/app/tags/list").await;
    assert_eq!((expired.status.as_u16(), expired.code().as_str()), (403, "DENIED"));
    assert_eq!(
        expired.json()["errors"][0]["message"],
        "Your authorization token has expired. Reauthenticate and try again."
    );
}

#[tokio::test]
async fn a_token_is_for_its_region() {
    let harness = Harness::with_repository("app").await;
    let password = harness.password_in(&harness.root, OTHER_REGION).await;
    let v2 = harness.v2_of_nobody().with_password(&password);
    let answer = v2.get("/v2/app/tags/list").await;
    assert_eq!(answer.status, 403);
    let message = answer.json()["errors"][0]["message"].to_string();
    assert!(message.contains("eu-central-1") && message.contains("us-east-1"), "{message}");
}

#[tokio::test]
async fn whatever_is_wrong_is_the_challenge() {
    let harness = Harness::with_repository("app").await;
    let challenge = harness.v2_of_nobody().get("/v2/").await;
    assert_eq!(
        challenge.header("www-authenticate"),
        "Basic realm=\"http://localhost:5000/\",service=\"ecr.amazonaws.com\""
    );
    let challenge = challenge.seen("");
    for password in ["", "junk", &"x".repeat(9_000)] {
        let v2 = harness.v2_of_nobody().with_password(password);
        for path in ["/v2/", "/v2/app/tags/list", "/v2/no/route", "/v2/Bad/tags/list"] {
            assert_eq!(v2.get(path).await.seen(""), challenge, "{path}");
        }
    }
}

#[tokio::test]
async fn a_token_dies_with_its_key() {
    let harness = Harness::with_repository("app").await;
    let user = harness.user(ACCOUNT, "ann", &allow(&["ecr:*"])).await;
    let v2 = harness.v2(&user).await;
    let challenge = harness.v2_of_nobody().get("/v2/").await.seen("");
    let paths = ["/v2/", "/v2/app/tags/list", "/v2/no/route", "/v2/Bad/tags/list"];
    for path in paths {
        assert_ne!(v2.get(path).await.status, 401, "{path}");
    }
    let key = user.id.clone();
    let deactivate =
        move |tx: &mut bonded_db::Tx<'_>| tx.set_access_key_active(ACCOUNT, &key, false);
    assert!(harness.db().write(deactivate).await.unwrap());
    for path in paths {
        assert_eq!(v2.get(path).await.seen(""), challenge, "{path}");
    }
}

#[tokio::test]
async fn a_policy_acts_on_the_next_request() {
    let harness = Harness::with_repository("app").await;
    let user = harness.user(ACCOUNT, "ann", &allow(&["ecr:*"])).await;
    let v2 = harness.v2(&user).await;
    assert_eq!(v2.get("/v2/app/tags/list").await.status, 200);
    harness.set_policy(&user, &allow(&["ecr:GetAuthorizationToken"])).await;
    let denied = v2.get("/v2/app/tags/list").await;
    assert_eq!((denied.status.as_u16(), denied.code().as_str()), (403, "DENIED"));
    let message = denied.json()["errors"][0]["message"].as_str().unwrap().to_owned();
    assert_eq!(
        message,
        "User: arn:aws:iam::123456789012:user/ann is not authorized to perform: ecr:ListImages on \
         resource: arn:aws:ecr:us-east-1:123456789012:repository/app because no identity-based \
         policy allows the ecr:ListImages action"
    );
}
