use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::future::join_all;
use futures::{TryStreamExt, stream};
use tempfile::TempDir;

use super::*;

async fn store() -> (TempDir, DirectoryStore) {
    let directory = tempfile::tempdir().unwrap();
    let store = DirectoryStore::open(directory.path().join("a/b")).await.unwrap();
    (directory, store)
}

fn name(number: u64) -> ObjectName {
    let mut name = [0; 16];
    name[8..].copy_from_slice(&number.to_be_bytes());
    ObjectName(name)
}

fn body(content: &'static [u8]) -> ByteStream {
    Box::pin(stream::iter([Ok(Bytes::from_static(content))]))
}

async fn read(store: &DirectoryStore, name: ObjectName) -> Result<Vec<u8>, Error> {
    let frames = store.get(name, 0..1_000).await?.unwrap();
    Ok(frames.try_collect::<Vec<Bytes>>().await?.concat())
}

#[tokio::test]
async fn only_the_owner_may_look() {
    let (directory, store) = store().await;
    store.put(name(1), body(b"secret")).await.unwrap();
    let mode = |path: &str| {
        fs::metadata(directory.path().join(path)).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(mode("a/b/00/00000000000000000000000000000001"), 0o600);
    for path in ["a", "a/b", "a/b/00", "a/b/ff"] {
        assert_eq!(mode(path), 0o700, "{path}");
    }
}

#[tokio::test]
async fn a_directory_opens_again() {
    let (directory, store) = store().await;
    store.put(name(1), body(b"kept")).await.unwrap();
    drop(store);
    // As after a crash while it was opened for the first time.
    fs::remove_dir(directory.path().join("a/b/7f")).unwrap();
    let store = DirectoryStore::open(directory.path().join("a/b")).await.unwrap();
    assert_eq!(read(&store, name(1)).await.unwrap(), b"kept");
    assert_eq!(store.folders.len(), 256);
    assert!(directory.path().join("a/b/7f").is_dir());
}

#[tokio::test]
async fn a_path_that_cannot_be_opened_says_so() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("file"), "").unwrap();
    let opened = DirectoryStore::open(directory.path().join("file")).await;
    assert!(matches!(opened.err(), Some(Error::Io(_))));
    symlink("/", directory.path().join("ab")).unwrap();
    let opened = DirectoryStore::open(directory.path()).await;
    assert!(matches!(opened.err(), Some(Error::Io(_))), "a folder that is a link");
}

#[tokio::test]
async fn no_link_is_followed() {
    let (directory, store) = store().await;
    let outside = directory.path().join("outside");
    fs::write(&outside, "not ours").unwrap();
    symlink(&outside, directory.path().join("a/b/00").join(name(1).to_string())).unwrap();
    symlink(
        directory.path().join("new"),
        directory.path().join("a/b/00").join(name(2).to_string()),
    )
    .unwrap();
    assert!(matches!(read(&store, name(1)).await, Err(Error::Io(_))));
    for taken in [1, 2] {
        let put = store.put(name(taken), body(b"x")).await;
        assert!(matches!(put, Err(Error::Exists(_))));
    }
    assert_eq!(store.list(None).await.unwrap(), []);
    store.delete(name(1)).await.unwrap();
    assert_eq!(fs::read_to_string(outside).unwrap(), "not ours");
    assert!(!directory.path().join("new").exists());
}

#[tokio::test]
async fn what_a_crash_left_is_listed_and_can_be_removed() {
    let (directory, store) = store().await;
    let folder = directory.path().join("a/b/00");
    fs::write(folder.join(name(1).to_string()), "ha").unwrap();
    for other in ["lost+found", "00", &name(3).to_string()[..31], &"A".repeat(32)] {
        fs::write(folder.join(other), "not an object").unwrap();
    }
    fs::create_dir(folder.join(name(4).to_string())).unwrap();
    let listed = store.list(None).await.unwrap();
    assert_eq!(listed.iter().map(|it| (it.name, it.size)).collect::<Vec<_>>(), [(name(1), 2)]);
    assert!(matches!(store.put(name(1), body(b"x")).await, Err(Error::Exists(_))));
    store.delete(name(1)).await.unwrap();
    assert_eq!(store.list(None).await.unwrap(), []);
}

#[tokio::test]
async fn a_thousand_writers_share_the_syncs_of_a_folder() {
    let (_directory, store) = store().await;
    let puts = (0..1_000).map(|number| store.put(name(number), body(b"small")));
    for stored in join_all(puts).await {
        assert_eq!(stored.unwrap(), 5);
    }
    let syncs = store.syncs();
    assert_eq!(syncs.files(), 1_000);
    assert!((1..1_000).contains(&syncs.folders()), "{} syncs of folders", syncs.folders());
    assert_eq!(store.list(None).await.unwrap().len(), 1_000);
}

#[tokio::test]
async fn a_folder_that_cannot_be_synced_is_fatal_and_nothing_is_acknowledged() {
    let (_directory, mut store) = store().await;
    let fatal = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&fatal);
    let on_fatal: OnFatal = Arc::new(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    // A pipe cannot be synced.
    let (pipe, _writer) = io::pipe().unwrap();
    let directory = Arc::clone(&store.folders[0].directory);
    let sync = folder_sync(Arc::new(pipe.into()), Arc::clone(&store.syncs), on_fatal);
    store.folders[0] = Arc::new(Folder { directory, sync, syncs: Arc::clone(&store.syncs) });
    for content in [b"small".as_slice(), &[0; 2_000_000]] {
        let body =
            stream::iter([Ok(Bytes::from_static(b"x")), Ok(Bytes::copy_from_slice(content))]);
        store.put(name(1), Box::pin(body)).await.unwrap_err();
        assert!(store.get(name(1), 0..1).await.unwrap().is_none());
    }
    assert_eq!(fatal.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn free_bytes_are_those_of_the_file_system() {
    let (_directory, store) = store().await;
    assert!(store.free_bytes().unwrap().unwrap() > 0);
}

#[test]
fn a_folder_is_filled_for_a_minute_or_so_many_objects() {
    let mut filling = Filling::default();
    let start = Instant::now();
    let minute = Duration::from_secs(60);
    let nanosecond = Duration::from_nanos(1);
    assert_eq!(filling.next(start, 5), 5);
    assert_eq!(filling.next(start + minute - nanosecond, 6), 5);
    assert_eq!(filling.next(start + minute, 7), 7);
    for _ in 1..FILL_OBJECTS {
        assert_eq!(filling.next(start + minute, 8), 7);
    }
    assert_eq!(filling.next(start + minute, 9), 9);
}

#[tokio::test]
async fn names_meet_in_one_folder() {
    let (_directory, store) = store().await;
    let first = store.name([1; 16]);
    let second = store.name([2; 16]);
    assert_eq!(first, ObjectName([1; 16]));
    assert_eq!(second.folder(), first.folder());
    assert_eq!(second.0[1..], [2; 15]);
}
