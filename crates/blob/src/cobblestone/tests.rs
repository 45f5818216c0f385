use std::path::PathBuf;

use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;

const OWN_KEY: [u8; 32] = [0x42; 32];
const OWN_SALT: [u8; SALT] = [0x24; SALT];

/// Seals in pieces of `step` bytes.
fn sealed(key: &[u8; 32], salt: [u8; SALT], context: &[u8], plain: &[u8], step: usize) -> Vec<u8> {
    let mut sealer = Sealer::new(key, salt, context);
    let mut all = Vec::new();
    for mut piece in plain.chunks(step) {
        while let Some(full) = sealer.push(&mut piece) {
            assert!(full.len() >= CHUNKS_AT_ONCE * SEALED_CHUNK);
            all.extend_from_slice(&full);
        }
    }
    assert_eq!(sealer.size(), count(plain.len()));
    all.extend_from_slice(&sealer.finish());
    all
}

/// Opens a stream whose plaintext should have `size` bytes.
fn opened(
    key: &[u8; 32],
    context: &[u8],
    stream: &[u8],
    size: usize,
) -> Result<Vec<u8>, NotAuthentic> {
    let header = stream.get(..HEADER).ok_or(NotAuthentic)?.try_into().unwrap();
    let opener = Opener::new(key, header, context)?;
    let mut plain = vec![0; size];
    let mut rest = stream.get(HEADER..).unwrap();
    for index in 0..=count(size / CHUNK) {
        let length = chunk_size(count(size), index);
        let at = usize::try_from(index).unwrap() * CHUNK;
        let chunk = rest.split_off(..length + TAG).ok_or(NotAuthentic)?;
        opener.open(index, chunk, &mut plain[at..at + length])?;
    }
    assert!(rest.is_empty());
    Ok(plain)
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap()
}

/// Bytes that repeat nowhere near.
fn plaintext(size: usize) -> Vec<u8> {
    (0u64..).flat_map(|it| Sha256::digest(format!("kat{it}")).to_vec()).take(size).collect()
}

#[expect(clippy::disallowed_methods, reason = "tests have no configuration file")]
fn shared(path: &str) -> Option<PathBuf> {
    let named = std::env::var("BONDED_SHARED").ok().map(PathBuf::from);
    let near = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let near = near.ancestors().map(|it| it.join("shared"));
    named.into_iter().chain(near).map(|it| it.join("data").join(path)).find(|it| it.exists())
}

#[derive(serde::Deserialize)]
struct Vector {
    suite: String,
    key: String,
    salt: String,
    context: String,
    plaintext_len: usize,
    plaintext_sha256: String,
    commitment: String,
    ciphertext_len: usize,
    ciphertext_sha256: String,
    ciphertext: Option<String>,
}

#[test]
#[expect(clippy::print_stdout, reason = "what was not run is told")]
fn known_answers() {
    let Some(path) = shared("keys/cobblestone-kat.json") else {
        return println!("not run: shared vectors are missing");
    };
    let all: Vec<Vector> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let ours: Vec<&Vector> = all.iter().filter(|it| it.suite == "Cobblestone-256").collect();
    assert_eq!(ours.len(), 16);
    for vector in &ours {
        let key = const_hex::decode_to_array(&vector.key).unwrap();
        let salt = const_hex::decode_to_array(&vector.salt).unwrap();
        let plain = plaintext(vector.plaintext_len);
        assert_eq!(const_hex::encode(Sha256::digest(&plain)), vector.plaintext_sha256);
        let stream = sealed(&key, salt, vector.context.as_bytes(), &plain, 5_000);
        assert_eq!(stream.len(), vector.ciphertext_len);
        assert_eq!(count(stream.len()), sealed_size(count(plain.len())));
        assert_eq!(const_hex::encode(&stream[SALT..HEADER]), vector.commitment);
        assert_eq!(const_hex::encode(Sha256::digest(&stream)), vector.ciphertext_sha256);
        if let Some(text) = &vector.ciphertext {
            assert_eq!(const_hex::encode(&stream), *text);
        }
        let again = opened(&key, vector.context.as_bytes(), &stream, plain.len()).unwrap();
        assert_eq!(again, plain);
    }
    println!("{} known answers of Cobblestone-256", ours.len());
}

/// Our own answers, so that stored objects stay readable wherever the tests run. They were
/// computed with another implementation of HKDF and AES-GCM.
#[test]
fn kept_answers() {
    let context = segment_context(ObjectName([0xab; 16]), 1 << 33);
    assert_eq!(const_hex::encode(context), "abababababababababababababababab0000000200000000");
    for (size, expected) in [
        (0, "5f16cf54d323d48c048decf06ee216e8caa84c2467c213573d9cb16a669999da"),
        (5, "2e0ef62d09e19371f4c418f909af783a3df5b9ff1546e95289f638ab2b004e8b"),
        (CHUNK, "289acda891a3f4e8b366bd095264d34e2f93646b2791e238022a2e5127ee9249"),
        (300_000, "9c7e97c780a59630a0c732b388aeff9f70bf6b576710cd2da0b55992f4d85f4e"),
    ] {
        let stream = sealed(&OWN_KEY, OWN_SALT, &context, &plaintext(size), size.max(1));
        assert_eq!(const_hex::encode(Sha256::digest(&stream)), expected, "{size} bytes");
    }
}

#[test]
fn sizes_and_places() {
    assert_eq!(sealed_size(0), 72);
    assert_eq!(sealed_size(16_383), 16_455);
    assert_eq!(sealed_size(16_384), 16_472, "a full chunk is followed by an empty one");
    assert_eq!(sealed_size(52_000 << 20), 54_525_952_000 + 56 + 16 * (3_328_000 + 1));
    assert_eq!(chunk_offset(0), 56);
    assert_eq!(chunk_offset(3), 49_256);
    assert_eq!([0, 1, 2, 3].map(|it| chunk_size(32_768, it)), [16_384, 16_384, 0, 0]);
    let span_of = |range: Range<u64>| {
        let Span { chunks, sealed, skip } = span(40_000, &range);
        (chunks, sealed, skip)
    };
    assert_eq!(span_of(0..1), (0..1, 56..16_456, 0));
    assert_eq!(span_of(16_383..16_385), (0..2, 56..32_856, 16_383));
    assert_eq!(span_of(16_384..32_768), (1..2, 16_456..32_856, 0));
    assert_eq!(span_of(39_999..90_000), (2..3, 32_856..40_104, 7_231));
    assert_eq!(span_of(5..5), (0..1, 56..16_456, 5));
    assert_eq!(span(32_768, &(0..32_768)).chunks, 0..3, "the end mark is read too");
    assert_eq!(span(0, &(0..0)).sealed, 56..72);
}

#[test]
fn another_key_context_or_place_does_not_open() {
    let plain = plaintext(20_000);
    let stream = sealed(&OWN_KEY, OWN_SALT, b"here", &plain, 20_000);
    assert_eq!(opened(&OWN_KEY, b"here", &stream, 20_000), Ok(plain));
    assert_eq!(opened(&[0; 32], b"here", &stream, 20_000), Err(NotAuthentic));
    assert_eq!(opened(&OWN_KEY, b"there", &stream, 20_000), Err(NotAuthentic));
}

#[test]
fn every_kind_of_damage_is_noticed() {
    let size = 3 * CHUNK + 100;
    let good = sealed(&OWN_KEY, OWN_SALT, b"", &plaintext(size), size);
    let second = HEADER + SEALED_CHUNK;
    let third = second + SEALED_CHUNK;
    let last = third + SEALED_CHUNK;
    let flips = [
        0,
        SALT - 1,
        SALT,
        HEADER - 1,
        HEADER,
        second - TAG - 1,
        second - TAG,
        second - 1,
        second,
        last - 1,
        last,
        last + 99,
        last + 100,
        good.len() - 1,
    ];
    for place in flips {
        for bit in [0x01, 0x80] {
            let mut bad = good.clone();
            bad[place] ^= bit;
            assert_eq!(opened(&OWN_KEY, b"", &bad, size), Err(NotAuthentic), "flipped at {place}");
        }
    }
    for length in [0, 1, HEADER - 1, HEADER, HEADER + 1, second, third + 5, last, good.len() - 1] {
        let bad = &good[..length];
        assert_eq!(opened(&OWN_KEY, b"", bad, size), Err(NotAuthentic), "cut at {length}");
    }
    let swapped = [&good[..HEADER], &good[second..third], &good[HEADER..second], &good[third..]];
    assert_eq!(opened(&OWN_KEY, b"", &swapped.concat(), size), Err(NotAuthentic));
    let repeated = [&good[..second], &good[HEADER..second], &good[third..]];
    assert_eq!(opened(&OWN_KEY, b"", &repeated.concat(), size), Err(NotAuthentic));
}

/// A stream of another size does not open, whichever of the two is the wrong one: a chunk
/// that should be last is full, or the other way round.
#[test]
fn a_stream_can_be_neither_cut_nor_continued() {
    let size = 2 * CHUNK;
    let good = sealed(&OWN_KEY, OWN_SALT, b"", &plaintext(size), size);
    let end_mark = good.len() - TAG;
    for wrong in [CHUNK, CHUNK + 1, size - 1] {
        let cut = &good[..HEADER + SEALED_CHUNK + TAG + wrong - CHUNK];
        assert_eq!(opened(&OWN_KEY, b"", cut, wrong), Err(NotAuthentic), "as {wrong} bytes");
    }
    let longer = sealed(&OWN_KEY, OWN_SALT, b"", &plaintext(size + 5), size);
    let mixed = [&longer[..end_mark], &longer[end_mark + 5..]].concat();
    assert_eq!(opened(&OWN_KEY, b"", &mixed, size), Err(NotAuthentic));
}

#[test]
fn lengths_that_cannot_be_are_refused() {
    let stream = sealed(&OWN_KEY, OWN_SALT, b"", b"x", 1);
    let opener = Opener::new(&OWN_KEY, stream[..HEADER].try_into().unwrap(), b"").unwrap();
    assert_eq!(opener.open(0, &[0; TAG - 1], &mut []), Err(NotAuthentic));
    assert_eq!(opener.open(0, &stream[HEADER..], &mut []), Err(NotAuthentic));
    let long = CHUNK + 1;
    assert_eq!(opener.open(0, &vec![0; long + TAG], &mut vec![0; long]), Err(NotAuthentic));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pieces_of_any_size_seal_to_the_same(
        size in 0usize..600_000, step in 1usize..400_000, other in 1usize..400_000,
    ) {
        let plain = plaintext(size);
        let one = sealed(&OWN_KEY, OWN_SALT, b"", &plain, step);
        prop_assert_eq!(count(one.len()), sealed_size(count(size)));
        prop_assert!(one == sealed(&OWN_KEY, OWN_SALT, b"", &plain, other));
        prop_assert!(opened(&OWN_KEY, b"", &one, size).unwrap() == plain);
    }
}

proptest! {
    /// A span's chunks are whole, hold the range, and no fewer would.
    #[test]
    fn a_span_holds_its_range(size in 0u64..200_000, start in 0u64..200_000, length in 0u64..100_000) {
        let range = start.min(size)..(start + length).min(size);
        let span = span(size, &range);
        let first = span.chunks.start * CHUNK_U64;
        let last = span.chunks.end * CHUNK_U64;
        prop_assert_eq!(first + count(span.skip), range.start);
        prop_assert!(span.skip < CHUNK);
        prop_assert!(range.end <= last);
        prop_assert!(last - range.end.max(range.start + 1) < CHUNK_U64 || range.end == size);
        let sizes = span.chunks.clone().map(|it| count(chunk_size(size, it)) + 16);
        prop_assert_eq!(span.sealed.end - span.sealed.start, sizes.sum::<u64>());
        prop_assert!(span.sealed.end <= sealed_size(size));
    }
}
