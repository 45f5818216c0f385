//! The chunked encryption of an object: C2SP Cobblestone-256.
//!
//! A stream is `salt(24) ‖ commitment(32) ‖ chunk ‖ chunk ‖ …`. A chunk is at most 16,384 bytes
//! sealed by AES-256-GCM with its number in the nonce, so chunks can be neither swapped nor
//! left out. Every chunk but the last is full and the last is always shorter, maybe empty:
//! that is the end mark, so a stream can be neither cut nor continued. The commitment says
//! that a stream opens under one key only. This module does no I/O.
//!
//! **Invariant:** no byte leaves an [`Opener`] whose chunk was not authentic.
//!
//! <https://c2sp.org/chunked-encryption>

use std::mem;
use std::ops::Range;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hkdf::{HKDF_SHA512, KeyType, Prk};
use bytes::{Bytes, BytesMut};
use zeroize::Zeroizing;

use crate::ObjectName;

/// Bytes of plaintext in a full chunk.
pub const CHUNK: usize = 16_384;
/// Bytes that sealing adds to a chunk.
pub const TAG: usize = 16;
/// Bytes of a full chunk when it is sealed.
pub const SEALED_CHUNK: usize = CHUNK + TAG;
/// Bytes of random salt, the beginning of every stream.
pub const SALT: usize = 24;
/// Bytes before the first chunk: the salt and the commitment.
pub const HEADER: usize = SALT + COMMITMENT;

const COMMITMENT: usize = 32;
const KEY: usize = 32;
const SUITE: &[u8] = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0";

/// Chunks that are sealed, written and read as one piece: 256 KiB of plaintext.
pub(crate) const CHUNKS_AT_ONCE: usize = 16;

// The same figures for arithmetic on offsets.
const CHUNK_U64: u64 = 16_384;
const SEALED_CHUNK_U64: u64 = 16_400;
const HEADER_U64: u64 = 56;

/// The context of a segment: which object it is, and where in the blob its plaintext begins.
///
/// So an object that was moved to another name, or a segment that was moved within its blob,
/// does not open. The bytes are the name, then the offset as eight bytes, highest first.
pub fn segment_context(object: ObjectName, offset: u64) -> [u8; 24] {
    let mut context = [0; 24];
    let (name, place) = context.split_at_mut(16);
    name.copy_from_slice(&object.0);
    place.copy_from_slice(&offset.to_be_bytes());
    context
}

/// Bytes that `plain` bytes of plaintext have when they are sealed.
pub const fn sealed_size(plain: u64) -> u64 {
    HEADER_U64 + plain + 16 * (plain / CHUNK_U64 + 1)
}

/// Where a chunk begins in a sealed stream.
pub const fn chunk_offset(index: u64) -> u64 {
    HEADER_U64 + index * SEALED_CHUNK_U64
}

/// What must be read and opened to have a range of the plaintext.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The chunks that hold the range.
    pub chunks: Range<u64>,
    /// Where those chunks lie in the sealed stream, whole.
    pub sealed: Range<u64>,
    /// Bytes of the first chunk that come before the range.
    pub skip: usize,
}

/// The span of a range in a stream of `size` bytes of plaintext.
///
/// A range that reaches the end takes the last chunk along, also when that is empty: it is
/// the end mark. For an empty range it is the chunk at its start.
pub fn span(size: u64, range: &Range<u64>) -> Span {
    let start = range.start.min(size);
    let last = match range.end {
        end if end >= size => size,
        end => end.saturating_sub(1).max(start),
    };
    let chunks = start / CHUNK_U64..last / CHUNK_U64 + 1;
    let sealed = chunk_offset(chunks.start)..chunk_offset(chunks.end).min(sealed_size(size));
    Span { chunks, sealed, skip: small(start % CHUNK_U64) }
}

/// Bytes of plaintext in one chunk of a stream of `size` bytes; 0 behind its end.
pub fn chunk_size(size: u64, index: u64) -> usize {
    small(size.saturating_sub(index.saturating_mul(CHUNK_U64)).min(CHUNK_U64))
}

/// A count that is at most a chunk's.
fn small(count: u64) -> usize {
    usize::try_from(count).expect("a chunk's size fits every usize")
}

/// Seals one stream. Plaintext comes in pieces of any size; see [`Sealer::push`].
pub struct Sealer {
    stream: Stream,
    next: u64,
    buffer: BytesMut,
    /// Where the chunk that is being filled begins in `buffer`.
    start: usize,
    size: u64,
}

impl Sealer {
    /// Begins a stream under a data key. The salt is random and never used again; with the
    /// same key, salt and context two streams would share their nonces.
    pub fn new(key: &[u8; KEY], salt: [u8; SALT], context: &[u8]) -> Sealer {
        let (stream, commitment) = Stream::derive(key, &salt, context);
        let mut buffer = BytesMut::new();
        buffer.extend_from_slice(&salt);
        buffer.extend_from_slice(&commitment);
        Sealer { stream, next: 0, buffer, start: HEADER, size: 0 }
    }

    /// Takes plaintext from the front of `plain` and gives a piece of the sealed stream when
    /// one is full. Call it until `plain` is empty.
    pub fn push(&mut self, plain: &mut &[u8]) -> Option<Bytes> {
        while !plain.is_empty() {
            let room = self.start + CHUNK - self.buffer.len();
            let (now, later) = plain.split_at(room.min(plain.len()));
            self.reserve(now.len());
            self.buffer.extend_from_slice(now);
            *plain = later;
            if now.len() == room && self.seal_chunk() {
                self.start = 0;
                return Some(mem::take(&mut self.buffer).freeze());
            }
        }
        None
    }

    /// Seals the last chunk and gives the rest of the stream.
    pub fn finish(mut self) -> Bytes {
        self.seal_chunk();
        self.buffer.freeze()
    }

    /// Bytes of plaintext sealed so far, whole chunks only, and those that wait.
    pub fn size(&self) -> u64 {
        let waiting = self.buffer.len() - self.start;
        self.size + u64::try_from(waiting).expect("a chunk's size fits u64")
    }

    /// A small stream gets a small buffer, a larger one the whole piece at once.
    fn reserve(&mut self, more: usize) {
        let needed = self.buffer.len() + more + TAG;
        if needed > self.buffer.capacity() {
            let whole = HEADER + CHUNKS_AT_ONCE * SEALED_CHUNK;
            let first = self.next == 0 && needed <= HEADER + SEALED_CHUNK;
            let wanted = if first { HEADER + SEALED_CHUNK } else { whole };
            self.buffer.reserve(wanted - self.buffer.len());
        }
    }

    /// Seals the chunk that was filled, and says whether the piece is full.
    fn seal_chunk(&mut self) -> bool {
        let chunk = self.buffer.get_mut(self.start..).expect("a chunk begins inside the buffer");
        self.size += u64::try_from(chunk.len()).expect("a chunk's size fits u64");
        let tag = self.stream.seal(self.next, chunk);
        self.buffer.extend_from_slice(&tag);
        self.next += 1;
        self.start = self.buffer.len();
        self.buffer.len() >= CHUNKS_AT_ONCE * SEALED_CHUNK
    }
}

/// The sealed bytes are not those that were sealed with this key and context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sealed bytes are not authentic")]
pub struct NotAuthentic;

/// Opens chunks of one stream, in any order.
pub struct Opener {
    stream: Stream,
}

impl Opener {
    /// Begins with the header of a stream, and fails if that is of another key or context.
    pub fn new(
        key: &[u8; KEY],
        header: &[u8; HEADER],
        context: &[u8],
    ) -> Result<Opener, NotAuthentic> {
        let (salt, commitment) = header.split_at(SALT);
        let (stream, expected) = Stream::derive(key, salt, context);
        verify_slices_are_equal(commitment, &expected).map_err(|_| NotAuthentic)?;
        Ok(Opener { stream })
    }

    /// Opens one sealed chunk into `plain`, which must be shorter by [`TAG`] bytes.
    ///
    /// That the last chunk is where the caller expects it follows from the lengths: give
    /// [`chunk_size`] bytes for each, then a stream of another size does not open.
    /// After a failure `plain` holds nothing of use and must be thrown away.
    pub fn open(&self, index: u64, sealed: &[u8], plain: &mut [u8]) -> Result<(), NotAuthentic> {
        let split = sealed.len().checked_sub(TAG).ok_or(NotAuthentic)?;
        let (ciphertext, tag) = sealed.split_at(split);
        if plain.len() != ciphertext.len() || plain.len() > CHUNK {
            return Err(NotAuthentic);
        }
        self.stream
            .key
            .open_separate_gather(self.stream.nonce(index), Aad::empty(), ciphertext, tag, plain)
            .map_err(|_| NotAuthentic)
    }
}

/// The key and the first nonce of one stream.
struct Stream {
    key: LessSafeKey,
    nonce: [u8; NONCE_LEN],
}

impl Stream {
    /// Derives a stream's key, first nonce and commitment from the data key.
    fn derive(key: &[u8; KEY], salt: &[u8], context: &[u8]) -> (Stream, [u8; COMMITMENT]) {
        let mut derived = Zeroizing::new([0; KEY + NONCE_LEN + COMMITMENT]);
        Prk::new_less_safe(HKDF_SHA512, key)
            .expand(&[SUITE, salt, context], Derived)
            .and_then(|okm| okm.fill(derived.as_mut_slice()))
            .expect("76 bytes are less than HKDF-SHA-512 gives at most");
        let (key, rest) = derived.split_at(KEY);
        let (first, last) = rest.split_at(NONCE_LEN);
        let key = UnboundKey::new(&AES_256_GCM, key).expect("the key has AES-256's length");
        let nonce = first.try_into().expect("it was split at a nonce's length");
        let commitment = last.try_into().expect("it was split at a commitment's length");
        (Stream { key: LessSafeKey::new(key), nonce }, commitment)
    }

    /// The first nonce with the chunk's number in its low bytes. The specification ends at
    /// 4 PiB; a number of 64 bits repeats no nonce far beyond that.
    fn nonce(&self, index: u64) -> Nonce {
        let mut nonce = self.nonce;
        let low = nonce.iter_mut().rev();
        low.zip(index.to_be_bytes().iter().rev()).for_each(|(byte, number)| *byte ^= number);
        Nonce::assume_unique_for_key(nonce)
    }

    fn seal(&self, index: u64, chunk: &mut [u8]) -> [u8; TAG] {
        let tag = self
            .key
            .seal_in_place_separate_tag(self.nonce(index), Aad::empty(), chunk)
            .expect("a chunk is shorter than AES-GCM's limit");
        tag.as_ref().try_into().expect("AES-GCM's tag has 16 bytes")
    }
}

/// The length of what is derived, in the form that HKDF asks for.
struct Derived;

impl KeyType for Derived {
    fn len(&self) -> usize {
        KEY + NONCE_LEN + COMMITMENT
    }
}

#[cfg(test)]
mod tests;
