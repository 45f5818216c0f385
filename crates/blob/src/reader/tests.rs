use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use proptest::prelude::*;
use rustix::fs::Advice;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::*;
use crate::cobblestone::{CHUNK, SALT, SEALED_CHUNK, sealed_size};
use crate::faulty::Faulty;
use crate::{DirectoryStore, seal};

const KEY: [u8; 32] = [5; 32];

/// A blob in a store, in segments, beside its plaintext.
struct Blob {
    directory: TempDir,
    store: Arc<dyn BlobStore>,
    plain: Vec<u8>,
    segments: Vec<Segment>,
}

impl Blob {
    async fn new(sizes: &[usize]) -> Blob {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(DirectoryStore::open(directory.path()).await.unwrap());
        let plain: Vec<u8> = (0u32..).flat_map(u32::to_le_bytes).take(sizes.iter().sum()).collect();
        let mut segments = Vec::new();
        let mut rest = plain.as_slice();
        let mut offset = 0;
        for (number, size) in (1u8..).zip(sizes) {
            let (now, later) = rest.split_at(*size);
            let object = store.name([number; 16]);
            let context = cobblestone::segment_context(object, offset);
            let (mut writer, body) = seal(&KEY, [number; SALT], &context);
            let feed = async move {
                writer.write(now).await?;
                writer.finish().await
            };
            let (fed, stored) = tokio::join!(feed, store.put(object, body));
            let size = fed.unwrap();
            assert_eq!(stored.unwrap(), sealed_size(size));
            segments.push(Segment { object, offset, size, bytes: None });
            offset += size;
            rest = later;
        }
        Blob { directory, store, plain, segments }
    }

    async fn read(&self, range: Range<usize>) -> Result<Vec<u8>, Error> {
        let (read, end) = self.read_on(range).await;
        end.map(|()| read)
    }

    /// What was read, and how it ended.
    async fn read_on(&self, range: Range<usize>) -> (Vec<u8>, Result<(), Error>) {
        let range = length(range.start)..length(range.end);
        let store = Arc::clone(&self.store);
        let mut reader = match BlobReader::open(store, &KEY, self.segments.clone(), range).await {
            Ok(reader) => reader,
            Err(error) => return (Vec::new(), Err(error)),
        };
        let mut read = Vec::new();
        loop {
            match reader.next().await {
                Some(Ok(frame)) => {
                    assert!((1..=CHUNKS_AT_ONCE * CHUNK).contains(&frame.len()));
                    read.extend_from_slice(&frame);
                }
                Some(Err(error)) => return (read, Err(error)),
                None => {
                    assert_eq!(reader.left(), 0);
                    return (read, Ok(()));
                }
            }
        }
    }

    fn path(&self, segment: usize) -> PathBuf {
        let name = self.segments[segment].object.to_string();
        self.directory.path().join(&name[..2]).join(name)
    }

    async fn is_damaged(&self, range: Range<usize>, what: &str) {
        let (read, end) = self.read_on(range.clone()).await;
        assert!(self.plain[range].starts_with(&read), "{what}: wrong bytes were served");
        assert!(matches!(end, Err(Error::Damaged { .. })), "{what}: {end:?}");
    }
}

#[tokio::test]
async fn a_range_at_every_boundary() {
    let sizes = [0, 1, CHUNK - 1, CHUNK, 16 * CHUNK, 0, 16 * CHUNK + 1, 40_000];
    let blob = Blob::new(&sizes).await;
    let mut places = vec![];
    for segment in &blob.segments {
        let start = usize::try_from(segment.offset).unwrap();
        let size = usize::try_from(segment.size).unwrap();
        for inner in [0, CHUNK, 16 * CHUNK, size] {
            let place = start + inner.min(size);
            places.extend([place.saturating_sub(1), place, place + 1]);
        }
    }
    places.retain(|it| *it <= blob.plain.len());
    places.sort_unstable();
    places.dedup();
    for start in &places {
        for end in places.iter().filter(|it| *it >= start) {
            let read = blob.read(*start..*end).await.unwrap();
            assert!(read == blob.plain[*start..*end], "{start}..{end}");
        }
    }
}

#[tokio::test]
async fn an_empty_blob_has_no_frames() {
    let blob = Blob::new(&[0]).await;
    let mut reader =
        BlobReader::open(Arc::clone(&blob.store), &KEY, blob.segments.clone(), 0..0).await.unwrap();
    assert!(reader.is_end_stream());
    assert!(reader.next().await.is_none());
}

#[tokio::test]
async fn a_body_knows_its_length() {
    let blob = Blob::new(&[300_000]).await;
    let store = Arc::clone(&blob.store);
    let mut reader =
        BlobReader::open(store, &KEY, blob.segments.clone(), 10..300_000).await.unwrap();
    let mut expected = 299_990;
    loop {
        assert_eq!(Body::size_hint(&reader).exact(), Some(expected));
        let frame = std::future::poll_fn(|it| Pin::new(&mut reader).poll_frame(it)).await;
        let Some(frame) = frame else { break };
        expected -= length(frame.unwrap().into_data().unwrap().len());
    }
    assert_eq!(expected, 0);
}

#[tokio::test]
async fn what_is_not_in_memory_is_read_from_the_disk() {
    let blob = Blob::new(&[3_000_000]).await;
    let file = OpenOptions::new().read(true).open(blob.path(0)).unwrap();
    rustix::fs::fadvise(&file, 0, None, Advice::DontNeed).unwrap();
    assert!(blob.read(0..3_000_000).await.unwrap() == blob.plain);
    rustix::fs::fadvise(&file, 1_000_000, None, Advice::DontNeed).unwrap();
    assert!(blob.read(5..2_999_999).await.unwrap() == blob.plain[5..2_999_999]);
}

#[tokio::test]
async fn flipped_bits_are_noticed_and_what_came_before_is_right() {
    let size = 40 * CHUNK + 77;
    let blob = Blob::new(&[size]).await;
    let file = OpenOptions::new().read(true).write(true).open(blob.path(0)).unwrap();
    let chunk = |it: usize| HEADER + it * SEALED_CHUNK;
    let places = [
        0,
        SALT - 1,
        SALT,
        HEADER - 1,
        chunk(0),
        chunk(1) - TAG,
        chunk(1) - 1,
        chunk(16) - 1,
        chunk(16),
        chunk(20) + 9,
        chunk(40) - 1,
        chunk(40),
        chunk(40) + 76,
        chunk(40) + 77,
        chunk(40) + 77 + TAG - 1,
    ];
    for place in places {
        let mut byte = [0];
        file.read_exact_at(&mut byte, length(place)).unwrap();
        file.write_all_at(&[byte[0] ^ 4], length(place)).unwrap();
        blob.is_damaged(0..size, &format!("flipped at {place}")).await;
        // A range in the chunk alone, and one that needs no damaged byte.
        let hit = place.saturating_sub(HEADER) / SEALED_CHUNK;
        blob.is_damaged(hit * CHUNK..hit * CHUNK + 5, &format!("range over {place}")).await;
        if place >= HEADER {
            let other = if hit == 3 { 4 } else { 3 };
            let range = other * CHUNK..other * CHUNK + 5;
            assert_eq!(blob.read(range.clone()).await.unwrap(), blob.plain[range]);
        }
        file.write_all_at(&byte, length(place)).unwrap();
    }
    assert!(blob.read(0..size).await.unwrap() == blob.plain, "the damage was undone");
}

#[tokio::test]
async fn a_cut_object_is_noticed() {
    let size = 20 * CHUNK;
    let chunk = |it: usize| HEADER + it * SEALED_CHUNK;
    // The last is the end mark of a blob whose chunks are all full.
    for cut in [0, 1, HEADER - 1, HEADER, HEADER + 1, chunk(1), chunk(16), chunk(19) + 1, chunk(20)]
    {
        let blob = Blob::new(&[size]).await;
        let file = OpenOptions::new().write(true).open(blob.path(0)).unwrap();
        file.set_len(length(cut)).unwrap();
        blob.is_damaged(0..size, &format!("cut at {cut}")).await;
    }
}

#[tokio::test]
async fn swapped_chunks_and_objects_are_noticed() {
    let size = 3 * CHUNK;
    let blob = Blob::new(&[size, size]).await;
    let (one, two) = (std::fs::read(blob.path(0)).unwrap(), std::fs::read(blob.path(1)).unwrap());
    let (first, second) = (HEADER, HEADER + SEALED_CHUNK);
    let swapped = [
        &one[..first],
        &one[second..second + SEALED_CHUNK],
        &one[first..second],
        &one[second + SEALED_CHUNK..],
    ];
    std::fs::write(blob.path(0), swapped.concat()).unwrap();
    blob.is_damaged(0..2 * size, "swapped chunks").await;

    // One object under the other's name, whole and of the right size and key.
    std::fs::write(blob.path(0), &two).unwrap();
    blob.is_damaged(0..2 * size, "another object").await;

    // The chunks of one object behind the header of the other.
    std::fs::write(blob.path(0), [&one[..HEADER], &two[HEADER..]].concat()).unwrap();
    blob.is_damaged(0..2 * size, "another object's chunks").await;

    std::fs::write(blob.path(0), &one).unwrap();
    assert!(blob.read(0..2 * size).await.unwrap() == blob.plain);
}

#[tokio::test]
async fn a_row_that_is_wrong_opens_nothing() {
    let mut blob = Blob::new(&[CHUNK, 2 * CHUNK]).await;
    let right = blob.segments.clone();
    blob.segments[0].offset = 0;
    blob.segments[0].size -= 1;
    blob.segments[1].offset -= 1;
    blob.is_damaged(0..100, "another size").await;
    blob.is_damaged(CHUNK..CHUNK + 5, "another offset").await;

    blob.segments = right.clone();
    (blob.segments[0].object, blob.segments[1].object) = (right[1].object, right[0].object);
    blob.is_damaged(0..5, "objects in the wrong order").await;

    blob.segments = vec![right[1].clone()];
    let error = blob.read(0..5).await.unwrap_err();
    assert!(matches!(error, Error::Io(_)), "there is no segment for it: {error:?}");
}

#[tokio::test]
async fn a_segment_may_hold_its_bytes_itself() {
    let mut blob = Blob::new(&[3 * CHUNK + 5, CHUNK]).await;
    let sealed = std::fs::read(blob.path(0)).unwrap();
    std::fs::remove_file(blob.path(0)).unwrap();
    blob.segments[0].bytes = Some(Bytes::from(sealed.clone()));
    for range in [0..4 * CHUNK + 5, 0..1, CHUNK..CHUNK + 1, 3 * CHUNK + 4..3 * CHUNK + 7] {
        assert!(blob.read(range.clone()).await.unwrap() == blob.plain[range]);
    }
    for length in [0, 1, HEADER, sealed.len() / 2, sealed.len() - 1] {
        blob.segments[0].bytes = Some(Bytes::from(sealed[..length].to_vec()));
        blob.is_damaged(0..3 * CHUNK + 5, "cut bytes").await;
    }
    for at in [0, HEADER + 1, sealed.len() - 1] {
        let mut flipped = sealed.clone();
        flipped[at] ^= 1;
        blob.segments[0].bytes = Some(Bytes::from(flipped));
        blob.is_damaged(0..3 * CHUNK + 5, "flipped bytes").await;
    }
}

#[tokio::test]
async fn another_key_opens_nothing() {
    let blob = Blob::new(&[10]).await;
    let store = Arc::clone(&blob.store);
    let opened = BlobReader::open(store, &[6; 32], blob.segments.clone(), 0..10).await;
    assert!(matches!(opened.err(), Some(Error::Damaged { .. })));
}

#[tokio::test]
async fn a_missing_object_is_known_at_once_if_it_is_the_first() {
    let blob = Blob::new(&[10, 10]).await;
    std::fs::remove_file(blob.path(1)).unwrap();
    let (read, end) = blob.read_on(0..20).await;
    assert_eq!(read, blob.plain[..10]);
    assert!(matches!(end, Err(Error::Damaged { object, .. }) if object == blob.segments[1].object));
    std::fs::remove_file(blob.path(0)).unwrap();
    let store = Arc::clone(&blob.store);
    let opened = BlobReader::open(store, &KEY, blob.segments.clone(), 0..20).await;
    assert!(matches!(opened.err(), Some(Error::Damaged { .. })));
}

#[tokio::test]
async fn a_store_that_fails_is_no_damage() {
    let mut blob = Blob::new(&[40_000, 40_000]).await;
    let faulty = Arc::new(Faulty::new(Arc::clone(&blob.store)));
    blob.store = Arc::<Faulty>::clone(&faulty);
    assert!(blob.read(20_000..80_000).await.unwrap() == blob.plain[20_000..]);
    let calls = faulty.calls();
    assert_eq!(calls, 3, "a header, the rest of it, and the second object");
    for nth in 1..=calls {
        faulty.fail(nth);
        assert!(matches!(blob.read(20_000..80_000).await, Err(Error::Io(_))), "failed {nth}");
        faulty.lose(nth);
        assert!(matches!(blob.read(20_000..80_000).await, Err(Error::Io(_))), "lost {nth}");
    }
    faulty.heal();
    assert!(blob.read(20_000..80_000).await.unwrap() == blob.plain[20_000..]);
}

#[test]
fn any_range_of_any_segments() {
    let runtime = Runtime::new().unwrap();
    let sizes = prop::collection::vec(0usize..120_000, 1..6);
    let cuts = prop::collection::vec((0.0..=1.0f64, 0.0..=1.0f64), 10..30);
    proptest!(ProptestConfig::with_cases(12), |(sizes in sizes, cuts in cuts)| {
        runtime.block_on(async {
            let blob = Blob::new(&sizes).await;
            for (one, other) in &cuts {
                let place = |share: &f64| places(blob.plain.len(), *share);
                let range = place(one).min(place(other))..place(one).max(place(other));
                assert!(blob.read(range.clone()).await.unwrap() == blob.plain[range]);
            }
        });
    });
}

#[expect(clippy::as_conversions, reason = "a share of a length has no exact form")]
fn places(size: usize, share: f64) -> usize {
    (size as f64 * share) as usize
}
