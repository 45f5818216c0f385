//! Appends: in order, once more, at once, of whom.

use std::sync::Arc;

use bonded_account::Caller;
use bytes::Bytes;
use futures::channel::mpsc::{UnboundedSender, unbounded};

use super::*;
use crate::harness::OTHER_ACCOUNT;

#[tokio::test]
async fn bytes_are_added_in_order() {
    let harness = harness().await;
    harness.repository("app").await;
    let client = Client::root(&harness, "app");
    let all = bytes(700_000);
    let id = client.begin().await.unwrap();
    assert_eq!(client.status(id).await.unwrap(), 0);
    assert_eq!(client.append(id, None, &all[..1]).await.unwrap(), 1);
    assert_eq!(client.append(id, Some(1), &all[1..600_000]).await.unwrap(), 600_000);
    assert_eq!(client.append(id, None, b"").await.unwrap(), 600_000);
    assert_eq!(client.append(id, None, &all[600_000..]).await.unwrap(), 700_000);
    assert_eq!(client.status(id).await.unwrap(), 700_000);
    assert_eq!(client.put(id, sha256(&all), b"").await.unwrap(), sha256(&all));
    assert_eq!(client.read(sha256(&all)).await.unwrap(), all);
    // An append without bytes leaves no segment, and no append leaves a name behind.
    assert_eq!(harness.count(SEGMENTS).await, 3);
    assert_eq!(harness.count(REMOVALS).await, 0);
    assert_eq!(harness.count(UPLOADS).await, 0);
}

#[tokio::test]
async fn it_goes_on_where_it_was_acknowledged_after_a_restart() {
    let harness = harness().await;
    harness.repository("app").await;
    let all = bytes(100_000);
    let client = Client::root(&harness, "app");
    let id = client.begin().await.unwrap();
    let unused = client.begin().await.unwrap();
    client.append(id, None, &all[..33_333]).await.unwrap();
    let harness = harness.restart().await;
    let client = Client::root(&harness, "app");
    assert_eq!(client.status(id).await.unwrap(), 33_333);
    assert_eq!(client.append(id, Some(33_333), &all[33_333..]).await.unwrap(), 100_000);
    client.put(id, sha256(&all), b"").await.unwrap();
    assert_eq!(client.read(sha256(&all)).await.unwrap(), all);
    // The name that was registered at the begin is forgotten: another one takes its place.
    client.append(unused, None, b"other").await.unwrap();
    client.put(unused, sha256(b"other"), b"").await.unwrap();
    assert_eq!(client.read(sha256(b"other")).await.unwrap(), b"other");
}

#[tokio::test]
async fn a_gap_or_an_overlap_is_refused() {
    let harness = harness().await;
    harness.repository("app").await;
    let client = Client::root(&harness, "app");
    let id = client.begin().await.unwrap();
    assert_eq!(expected(client.append(id, Some(5), b"x").await), Some(0));
    client.append(id, Some(0), b"0123456789").await.unwrap();
    client.append(id, Some(10), b"abc").await.unwrap();
    for start in [0, 5, 9, 11, 12, 14, u64::MAX] {
        assert_eq!(expected(client.append(id, Some(start), b"xy").await), Some(13), "{start}");
    }
    assert_eq!(expected(client.part(id, 5, b"xy").await), Some(13));
    client.put(id, sha256(b"0123456789abc"), b"").await.unwrap();
}

#[tokio::test]
async fn a_part_has_the_length_that_was_said() {
    let harness = harness().await;
    harness.repository("app").await;
    let client = Client::root(&harness, "app");
    let id = client.begin().await.unwrap();
    for plane in [Plane::Api, Plane::V2] {
        for length in [0, 1, 9, 11, 100] {
            let part = Part { plane, start: Some(0), length: Some(length) };
            assert_eq!(expected(client.send(id, part, b"0123456789").await), Some(0));
        }
    }
    // In the API a part has bytes.
    let part = Part { plane: Plane::Api, start: Some(0), length: Some(0) };
    assert_eq!(expected(client.send(id, part, b"").await), Some(0));
    assert_eq!(client.status(id).await.unwrap(), 0);
    harness.until(REMOVALS_LATER, 0).await;
}

#[tokio::test]
async fn the_last_part_may_come_again() {
    let harness = harness().await;
    harness.repository("app").await;
    let client = Client::root(&harness, "app");
    let all = bytes(200_000);
    let id = client.begin().await.unwrap();
    client.append(id, Some(0), &all[..70_000]).await.unwrap();
    for _ in 0..2 {
        assert_eq!(client.append(id, Some(0), &all[..70_000]).await.unwrap(), 70_000);
    }
    client.part(id, 70_000, &all[70_000..]).await.unwrap();
    assert_eq!(client.part(id, 70_000, &all[70_000..]).await.unwrap(), 200_000);
    assert_eq!(client.append(id, Some(70_000), &all[70_000..]).await.unwrap(), 200_000);
    // Other bytes, fewer, more, or an earlier part.
    let mut other = all[70_000..].to_vec();
    other[100_000] ^= 1;
    assert_eq!(expected(client.part(id, 70_000, &other).await), Some(200_000));
    assert_eq!(expected(client.part(id, 70_000, &all[70_000..199_999]).await), Some(200_000));
    assert_eq!(expected(client.part(id, 0, &all[..70_000]).await), Some(200_000));
    let unsaid = Part { plane: Plane::V2, start: Some(70_000), length: None };
    assert_eq!(client.send(id, unsaid, &all[70_000..]).await.unwrap(), 200_000);
    assert_eq!(expected(client.send(id, unsaid, &all).await), Some(200_000));
    assert_eq!(expected(client.send(id, unsaid, b"").await), Some(200_000));
    // Nothing was stored twice, and it counts once.
    assert_eq!(harness.count(SEGMENTS).await, 2);
    assert_eq!(harness.count("SELECT parts FROM upload").await, 1);
    client.complete_api(id, &[sha256(&all)]).await.unwrap();
    assert_eq!(client.read(sha256(&all)).await.unwrap(), all);
}

#[tokio::test]
async fn the_last_part_may_come_again_after_a_restart() {
    let harness = harness().await;
    harness.repository("app").await;
    let id = Client::root(&harness, "app").begin().await.unwrap();
    Client::root(&harness, "app").append(id, Some(0), b"first").await.unwrap();
    let harness = harness.restart().await;
    let client = Client::root(&harness, "app");
    assert_eq!(client.append(id, Some(0), b"first").await.unwrap(), 5);
    assert_eq!(expected(client.append(id, Some(0), b"worst").await), Some(5));
}

#[tokio::test]
async fn an_upload_is_its_principals_and_its_repositorys() {
    let harness = harness().await;
    let app = harness.repository("app").await;
    harness.repository("other").await;
    let everything = r#"{"Version":"2012-10-17","Statement":[
        {"Effect":"Allow","Action":"ecr:*","Resource":"*"}]}"#;
    let grant = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow",
        "Principal":{{"AWS":"{OTHER_ACCOUNT}"}},"Action":"ecr:*"}}]}}"#
    );
    harness.set_policy(app, &grant).await;
    let owner = Client::root(&harness, "app");
    let id = owner.begin().await.unwrap();
    owner.append(id, None, b"bytes").await.unwrap();
    let others: [(Caller, &str); 3] = [
        (harness.user("ci", everything).await, "app"),
        (root(OTHER_ACCOUNT), "app"),
        (root(ACCOUNT), "other"),
    ];
    for (caller, name) in others {
        let client = Client { harness: &harness, caller, name };
        // He may push here: it is the upload that is not his.
        client.push(b"own").await;
        assert!(is_unknown(client.status(id).await));
        assert!(is_unknown(client.append(id, Some(5), b"more").await));
        assert!(is_unknown(client.append(id, Some(0), b"bytes").await));
        assert!(is_unknown(client.part(id, 5, b"more").await));
        assert!(is_unknown(client.put(id, sha256(b"bytes"), b"").await));
        assert!(is_unknown(client.complete_api(id, &[sha256(b"bytes")]).await));
        assert!(is_unknown(client.cancel(id).await));
    }
    owner.put(id, sha256(b"bytes"), b"").await.unwrap();
}

#[tokio::test]
async fn a_caller_without_the_right_is_denied_whether_it_exists_or_not() {
    let harness = harness().await;
    harness.repository("app").await;
    let nothing = r#"{"Version":"2012-10-17","Statement":[
        {"Effect":"Deny","Action":"ecr:UploadLayerPart","Resource":"*"},
        {"Effect":"Allow","Action":"ecr:*","Resource":"*"}]}"#;
    let caller = harness.user("ci", nothing).await;
    let client = Client { harness: &harness, caller, name: "app" };
    let id = client.begin().await.unwrap();
    for id in [id, Uuid::nil()] {
        assert!(matches!(client.append(id, None, b"x").await, Err(Error::AccessDenied(_))));
        // A PUT that brings bytes is an append too.
        assert!(matches!(client.put(id, sha256(b"x"), b"x").await, Err(Error::AccessDenied(_))));
    }
    assert!(matches!(client.single(sha256(b"x"), b"x").await, Err(Error::AccessDenied(_))));
    client.put(id, sha256(b""), b"").await.unwrap();
    assert!(is_unknown(client.put(Uuid::nil(), sha256(b""), b"").await));
}

#[tokio::test]
async fn an_id_has_one_form() {
    let harness = harness().await;
    harness.repository("app").await;
    let call = harness.call("UploadLayerPart");
    let permit = permit(&call, "ecr:UploadLayerPart", "app").await.unwrap();
    let text = "6cb64b8a-9378-4e33-9ab1-b780fab8a9e9";
    assert_eq!(upload::parse_id(&permit, text).unwrap().to_string(), text);
    for other in [&text.to_uppercase(), &text.replace('-', ""), &format!("{{{text}}}"), "junk", ""]
    {
        assert!(is_unknown(upload::parse_id(&permit, other)), "{other}");
    }
}

/// An append whose body is fed by hand.
fn start(
    harness: &Arc<Harness>,
    id: Uuid,
) -> (UnboundedSender<Result<Bytes>>, tokio::task::JoinHandle<Result<u64>>) {
    let (sender, body) = unbounded();
    let harness = Arc::clone(harness);
    let append = tokio::spawn(async move {
        let call = harness.call("UploadLayerPart");
        let permit = permit(&call, "ecr:UploadLayerPart", "app").await?;
        let part = Part { plane: Plane::V2, start: None, length: None };
        Ok(upload::append(&call, &permit, id, part, body).await?.size)
    });
    (sender, append)
}

async fn until_running(harness: &Harness, count: usize) {
    while harness.registry.appends.len() != count {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn of_two_appends_the_first_to_end_wins_and_a_third_is_refused() {
    let harness = Arc::new(harness().await);
    harness.repository("app").await;
    let client = Client::root(&harness, "app");
    let id = client.begin().await.unwrap();
    let (mut first, loser) = start(&harness, id);
    first.start_send(Ok(Bytes::from_static(b"lo"))).unwrap();
    until_running(&harness, 1).await;
    let (mut second, winner) = start(&harness, id);
    second.start_send(Ok(Bytes::from_static(b"winner"))).unwrap();
    until_running(&harness, 2).await;
    assert!(matches!(client.append(id, None, b"x").await, Err(Error::TooManyRequests(_))));
    assert!(matches!(client.put(id, sha256(b"x"), b"x").await, Err(Error::TooManyRequests(_))));
    drop(second);
    assert_eq!(winner.await.unwrap().unwrap(), 6);
    first.start_send(Ok(Bytes::from_static(b"ser!"))).unwrap();
    drop(first);
    assert_eq!(expected(loser.await.unwrap()), Some(6));
    assert!(harness.registry.appends.is_empty());
    // The loser's object may go at once; the winner's is a part of the upload.
    harness.until(REMOVALS_DUE, 1).await;
    client.put(id, sha256(b"winner"), b"").await.unwrap();
    assert_eq!(client.read(sha256(b"winner")).await.unwrap(), b"winner");
}

#[tokio::test]
async fn an_append_to_an_upload_that_ended_meanwhile_is_lost() {
    let harness = Arc::new(harness().await);
    harness.repository("app").await;
    let client = Client::root(&harness, "app");
    let id = client.begin().await.unwrap();
    let (mut body, append) = start(&harness, id);
    body.start_send(Ok(Bytes::from_static(b"bytes"))).unwrap();
    until_running(&harness, 1).await;
    client.cancel(id).await.unwrap();
    drop(body);
    assert!(is_unknown(append.await.unwrap()));
}

#[tokio::test]
async fn an_upload_is_not_idle_while_bytes_come() {
    let hour = upload::HOUR;
    let harness = Arc::new(harness().await);
    harness.repository("app").await;
    let client = Client::root(&harness, "app");
    let id = client.begin().await.unwrap();
    harness.clock.advance(20 * hour);
    let (mut body, append) = start(&harness, id);
    body.start_send(Ok(Bytes::from_static(b"slow "))).unwrap();
    harness.until(REMOVALS, 2).await;
    harness.clock.advance(5 * hour);
    crate::jobs::step(&harness.registry, &crate::jobs::Schedule::default()).await.unwrap();
    body.start_send(Ok(Bytes::from_static(b"bytes"))).unwrap();
    drop(body);
    assert_eq!(append.await.unwrap().unwrap(), 10);
    client.put(id, sha256(b"slow bytes"), b"").await.unwrap();
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing() {
    let harness = Arc::new(harness().await);
    harness.repository("app").await;
    let client = Client::root(&harness, "app");
    let id = client.begin().await.unwrap();
    // Its request is dropped, or its body ends in an error.
    let (mut body, append) = start(&harness, id);
    body.start_send(Ok(Bytes::from_static(b"half"))).unwrap();
    harness.until(REMOVALS, 1).await;
    until_running(&harness, 1).await;
    append.abort();
    assert!(append.await.unwrap_err().is_cancelled());
    let (mut body, append) = start(&harness, id);
    body.start_send(Ok(Bytes::from_static(b"half"))).unwrap();
    body.start_send(Err(Error::InvalidRequest("gone".to_owned()))).unwrap();
    let error = append.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::InvalidRequest(text) if text == "gone"));
    assert!(harness.registry.appends.is_empty());
    assert_eq!(client.status(id).await.unwrap(), 0);
    client.append(id, Some(0), b"whole").await.unwrap();
    client.put(id, sha256(b"whole"), b"").await.unwrap();
    assert_eq!(client.read(sha256(b"whole")).await.unwrap(), b"whole");
    harness.until(REMOVALS_LATER, 0).await;
}
