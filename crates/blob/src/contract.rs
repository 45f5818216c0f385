//! What every [`BlobStore`] must do, run against each store.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::future::join_all;
use futures::{StreamExt, TryStreamExt, stream};

use crate::cobblestone::{sealed_size, segment_context};
use crate::faulty::Faulty;
use crate::{
    BlobReader, BlobStore, ByteStream, DirectoryStore, Error, LIST_LIMIT, ObjectName,
    S3Credentials, S3Settings, S3Store, Segment, seal,
};

#[tokio::test]
async fn directory() {
    let directory = tempfile::tempdir().unwrap();
    all(Arc::new(DirectoryStore::open(directory.path()).await.unwrap())).await;
}

#[tokio::test]
async fn faulty_when_it_does_not_fail() {
    let directory = tempfile::tempdir().unwrap();
    let store = DirectoryStore::open(directory.path()).await.unwrap();
    all(Arc::new(Faulty::new(Arc::new(store)))).await;
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "what was not run is told")]
async fn s3() {
    match s3_settings() {
        Some(settings) => all(Arc::new(S3Store::new(&settings).unwrap())).await,
        None => println!("not run: BONDED_TEST_S3 is not set"),
    }
}

/// `BONDED_TEST_S3` is `http://KEY:SECRET@HOST:PORT/BUCKET`. Each run has a prefix of its own.
#[expect(clippy::disallowed_methods, reason = "tests have no configuration file")]
fn s3_settings() -> Option<S3Settings> {
    let text = std::env::var("BONDED_TEST_S3").ok()?;
    let (scheme, rest) = text.split_once("://").unwrap();
    let (credentials, rest) = rest.rsplit_once('@').unwrap();
    let (key, secret) = credentials.split_once(':').unwrap();
    let (host, bucket) = rest.split_once('/').unwrap();
    let run = tempfile::tempdir().unwrap();
    let run = run.path().file_name().unwrap().to_string_lossy().replace('.', "");
    Some(S3Settings {
        bucket: bucket.to_owned(),
        prefix: format!("contract/{run}"),
        endpoint: Some(format!("{scheme}://{host}")),
        region: "us-east-1".to_owned(),
        credentials: Some(S3Credentials {
            access_key_id: key.to_owned(),
            secret_access_key: secret.to_owned(),
            session_token: None,
        }),
    })
}

async fn all(shared: Arc<dyn BlobStore>) {
    let store = shared.as_ref();
    what_is_not_there_is_none(store).await;
    what_was_put_can_be_read_in_any_range(store).await;
    an_empty_body_is_an_object(store).await;
    a_long_body_in_any_frames_is_whole(store).await;
    a_name_is_written_once(store).await;
    one_of_many_writers_wins(store).await;
    a_body_that_breaks_off_leaves_nothing_to_read(store).await;
    a_put_that_is_given_up_leaves_nothing_to_read(store).await;
    what_was_deleted_is_gone(store).await;
    a_reader_that_is_open_is_not_harmed_by_others(store).await;
    a_sealed_blob_is_read_back(&shared).await;
    names_keep_their_randomness(store);
    a_list_shows_every_object_once(store).await;
}

/// A name that no other test of this process has.
fn fresh(store: &dyn BlobStore) -> ObjectName {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    // Spread over the folders as random bytes would be.
    let mixed = next.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut random = [0; 16];
    random[..8].copy_from_slice(&mixed.to_be_bytes());
    random[8..].copy_from_slice(&next.to_be_bytes());
    store.name(random)
}

/// Bytes that tell their place.
fn content(size: usize) -> Bytes {
    (0u32..).flat_map(u32::to_le_bytes).take(size).collect()
}

fn body(content: &Bytes, frame: usize) -> ByteStream {
    let content = content.clone();
    let starts = (0..content.len()).step_by(frame);
    let frames: Vec<_> =
        starts.map(|it| Ok(content.slice(it..(it + frame).min(content.len())))).collect();
    Box::pin(stream::iter(frames))
}

async fn read(store: &dyn BlobStore, name: ObjectName, range: Range<u64>) -> Option<Vec<u8>> {
    let frames = store.get(name, range).await.unwrap()?;
    Some(frames.try_collect::<Vec<Bytes>>().await.unwrap().concat())
}

async fn what_is_not_there_is_none(store: &dyn BlobStore) {
    let name = fresh(store);
    assert_eq!(read(store, name, 0..10).await, None);
    assert_eq!(read(store, name, 0..0).await, None);
    assert_eq!(read(store, name, 7..7).await, None);
    store.delete(name).await.unwrap();
}

async fn what_was_put_can_be_read_in_any_range(store: &dyn BlobStore) {
    let name = fresh(store);
    let content = content(600_000);
    assert_eq!(store.put(name, body(&content, 100_000)).await.unwrap(), 600_000);
    let ends =
        [0, 1, 4_095, 262_399, 262_400, 262_401, 524_800, 599_999, 600_000, 600_001, 900_000];
    for start in ends {
        for end in ends.into_iter().filter(|it| *it >= start) {
            let expected = &content[start.min(600_000)..end.min(600_000)];
            let range = u64::try_from(start).unwrap()..u64::try_from(end).unwrap();
            assert_eq!(read(store, name, range).await.unwrap(), expected, "{start}..{end}");
        }
    }
    store.delete(name).await.unwrap();
}

async fn an_empty_body_is_an_object(store: &dyn BlobStore) {
    let name = fresh(store);
    assert_eq!(store.put(name, Box::pin(stream::empty())).await.unwrap(), 0);
    assert_eq!(read(store, name, 0..10).await.unwrap(), b"");
    store.delete(name).await.unwrap();
}

async fn a_long_body_in_any_frames_is_whole(store: &dyn BlobStore) {
    // Around the sizes where a store goes over to pieces or parts, and several of those.
    let part = 8 * 1024 * 1024;
    for (size, frame) in [
        (524_288, 524_288),
        (524_289, 1_000),
        (part - 1, part),
        (part, 262_144),
        (part + 1, 1_000_000),
        (2 * part, part),
        (20_000_000, 333_333),
    ] {
        let name = fresh(store);
        let content = content(size);
        let stored = store.put(name, body(&content, frame)).await.unwrap();
        assert_eq!(stored, u64::try_from(size).unwrap(), "{frame}");
        assert!(read(store, name, 0..stored).await.unwrap() == content, "{size} in {frame}");
        store.delete(name).await.unwrap();
    }
}

async fn a_name_is_written_once(store: &dyn BlobStore) {
    for size in [10, 9_000_000] {
        let name = fresh(store);
        store.put(name, body(&content(10), 10)).await.unwrap();
        let error = store.put(name, body(&content(size), 500_000)).await.unwrap_err();
        assert!(matches!(error, Error::Exists(it) if it == name), "{error:?}");
        assert_eq!(read(store, name, 0..100).await.unwrap(), content(10));
        store.delete(name).await.unwrap();
    }
}

async fn one_of_many_writers_wins(store: &dyn BlobStore) {
    let name = fresh(store);
    let puts = (1..9).map(|size| store.put(name, body(&content(size), 1)));
    let won: Vec<u64> = join_all(puts).await.into_iter().filter_map(Result::ok).collect();
    let [size] = won[..] else { panic!("{} writers won", won.len()) };
    assert_eq!(read(store, name, 0..size + 1).await.unwrap().len(), usize::try_from(size).unwrap());
    store.delete(name).await.unwrap();
}

async fn a_body_that_breaks_off_leaves_nothing_to_read(store: &dyn BlobStore) {
    for size in [0, 10, 600_000, 9_000_000, 20_000_000] {
        let name = fresh(store);
        let broken = Err(Error::Io(io::Error::from(io::ErrorKind::ConnectionReset)));
        let body = body(&content(size), 262_144).chain(stream::iter([broken]));
        let error = store.put(name, Box::pin(body)).await.unwrap_err();
        let kind = io::ErrorKind::ConnectionReset;
        assert!(matches!(error, Error::Io(it) if it.kind() == kind), "the body's own error");
        assert_eq!(read(store, name, 0..1).await, None, "after {size} bytes");
    }
}

async fn a_put_that_is_given_up_leaves_nothing_to_read(store: &dyn BlobStore) {
    for size in [10, 600_000, 9_000_000] {
        let name = fresh(store);
        let (sent, arrived) = futures::channel::oneshot::channel::<()>();
        // All is sent and the end never comes; the store has taken what it can.
        let stuck = stream::once(async move {
            let _ = sent.send(());
            futures::future::pending().await
        });
        let put = store.put(name, Box::pin(body(&content(size), 262_144).chain(stuck)));
        tokio::select! {
            _ = put => panic!("the body has not ended"),
            it = arrived => it.unwrap(),
        }
        // The store removes it when it comes to it.
        while read(store, name, 0..1).await.is_some() {
            tokio::task::yield_now().await;
        }
    }
}

async fn what_was_deleted_is_gone(store: &dyn BlobStore) {
    let name = fresh(store);
    store.put(name, body(&content(10), 10)).await.unwrap();
    store.delete(name).await.unwrap();
    assert_eq!(read(store, name, 0..10).await, None);
    store.delete(name).await.unwrap();
}

async fn a_reader_that_is_open_is_not_harmed_by_others(store: &dyn BlobStore) {
    let name = fresh(store);
    let all = content(700_000);
    store.put(name, body(&all, 700_000)).await.unwrap();
    let readers = (0..10).map(|_| read(store, name, 0..700_000));
    for read in join_all(readers).await {
        assert!(read.unwrap() == all);
    }
    store.delete(name).await.unwrap();
}

async fn a_sealed_blob_is_read_back(store: &Arc<dyn BlobStore>) {
    let name = fresh(store.as_ref());
    let plain = content(10_000_000);
    let (mut writer, body) = seal(&[1; 32], [2; 24], &segment_context(name, 0));
    let feed = async {
        writer.write(&plain).await?;
        writer.finish().await
    };
    let (size, stored) = tokio::join!(feed, store.put(name, body));
    assert_eq!(stored.unwrap(), sealed_size(10_000_000));
    let segment = Segment { object: name, offset: 0, size: size.unwrap(), bytes: None };
    for range in [0..10_000_000, 5_000_000..5_000_001, 9_999_999..10_000_000] {
        let (start, end) = (usize::try_from(range.start), usize::try_from(range.end));
        let expected = &plain[start.unwrap()..end.unwrap()];
        let store = Arc::clone(store);
        let reader = BlobReader::open(store, &[1; 32], vec![segment.clone()], range).await.unwrap();
        assert!(reader.try_collect::<Vec<Bytes>>().await.unwrap().concat() == expected);
    }
    store.delete(name).await.unwrap();
}

fn names_keep_their_randomness(store: &dyn BlobStore) {
    let name = store.name([7; 16]);
    assert_eq!(name.0[1..], [7; 15]);
}

async fn a_list_shows_every_object_once(store: &dyn BlobStore) {
    assert_eq!(store.list(None).await.unwrap(), [], "the tests before cleaned up");
    let names: BTreeSet<ObjectName> = (0..LIST_LIMIT + 5).map(|_| fresh(store)).collect();
    for some in names.iter().collect::<Vec<_>>().chunks(50) {
        join_all(some.iter().map(|name| async {
            store.put(**name, body(&content(3), 3)).await.unwrap();
        }))
        .await;
    }
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = store.list(after).await.unwrap();
        assert!(page.len() <= LIST_LIMIT);
        let Some(last) = page.last() else { break };
        after = Some(last.name);
        assert!(page.iter().all(|it| it.size == 3));
        seen.extend(page);
    }
    assert!(seen.iter().map(|it| it.name).eq(names.iter().copied()), "all, in order, once");
    let written: Vec<_> = seen.iter().filter_map(|it| it.modified.elapsed().ok()).collect();
    assert!(written.iter().all(|it| it.as_secs() < 3_600), "they are new");
    let last = names.last().copied();
    assert_eq!(store.list(last).await.unwrap(), []);
    for name in names {
        store.delete(name).await.unwrap();
    }
}
