//! A hash in progress that can be saved with an upload and taken up again by another process.

use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest as _, Sha256, Sha512};

use crate::{Algorithm, Digest};

/// Computes a [`Digest`] of bytes that come in pieces.
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    Sha256(Sha256),
    Sha512(Sha512),
}

/// The first byte of a saved state. A change of the form gets another number, so that an
/// upload begun under the release before is refused and not continued wrongly.
const FORMAT: u8 = 1;

/// A saved state that counts more blocks than this is false: 2^48 blocks of 64 bytes are more
/// than any blob has, and `sha2` counts bits without looking for an overflow.
const MAX_BLOCKS: u128 = 1 << 48;

impl Hasher {
    pub fn new(algorithm: Algorithm) -> Hasher {
        Hasher(match algorithm {
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
            Algorithm::Sha512 => State::Sha512(Sha512::new()),
        })
    }

    pub fn algorithm(&self) -> Algorithm {
        match self.0 {
            State::Sha256(_) => Algorithm::Sha256,
            State::Sha512(_) => Algorithm::Sha512,
        }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
        }
    }

    pub fn finish(self) -> Digest {
        match self.0 {
            State::Sha256(state) => Digest::Sha256(state.finalize().into()),
            State::Sha512(state) => Digest::Sha512(state.finalize().into()),
        }
    }

    /// The state, to be continued by [`Hasher::restore`]: 106 bytes for SHA-256, 210 for
    /// SHA-512. Equal states give equal bytes.
    ///
    /// It contains up to a block of the plaintext, so it is sealed before it is stored.
    pub fn save(&self) -> Vec<u8> {
        match &self.0 {
            State::Sha256(state) => tagged(Algorithm::Sha256, &state.serialize()),
            State::Sha512(state) => tagged(Algorithm::Sha512, &state.serialize()),
        }
    }

    /// Continues from a saved state; `None` if [`Hasher::save`] did not make it for this algorithm.
    ///
    /// The form is fixed and checked in full, but a state is not authenticated: whoever could
    /// write one could choose the digest. The caller unseals it first.
    pub fn restore(algorithm: Algorithm, saved: &[u8]) -> Option<Hasher> {
        let [FORMAT, tag, state @ ..] = saved else { return None };
        if *tag != algorithm_tag(algorithm) {
            return None;
        }
        Some(Hasher(match algorithm {
            Algorithm::Sha256 if is_countable(state, 32, 8) => State::Sha256(deserialize(state)?),
            Algorithm::Sha512 if is_countable(state, 64, 16) => State::Sha512(deserialize(state)?),
            _ => return None,
        }))
    }
}

/// Says the algorithm only: the state contains plaintext.
impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Hasher").field(&self.algorithm()).finish()
    }
}

fn algorithm_tag(algorithm: Algorithm) -> u8 {
    match algorithm {
        Algorithm::Sha256 => 1,
        Algorithm::Sha512 => 2,
    }
}

fn tagged(algorithm: Algorithm, state: &[u8]) -> Vec<u8> {
    let mut saved = Vec::with_capacity(2 + state.len());
    saved.extend([FORMAT, algorithm_tag(algorithm)]);
    saved.extend(state);
    saved
}

fn deserialize<T: SerializableState>(state: &[u8]) -> Option<T> {
    let state = <&SerializedState<T>>::try_from(state).ok()?;
    T::deserialize(state).ok()
}

/// Whether the little-endian count of whole blocks behind the chaining value can be true.
fn is_countable(state: &[u8], offset: usize, width: usize) -> bool {
    let count = state.get(offset..offset + width).unwrap_or_default();
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(count) {
        *to = *from;
    }
    u128::from_le_bytes(bytes) <= MAX_BLOCKS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALGORITHMS: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha512];

    #[test]
    fn resumed_at_every_cut_it_equals_one_go() {
        let bytes: Vec<u8> = (0..=255).cycle().take(300).collect();
        for algorithm in ALGORITHMS {
            let whole = Digest::of(algorithm, &bytes);
            for cut in 0..=bytes.len() {
                let mut first = Hasher::new(algorithm);
                first.update(&bytes[..cut]);
                let mut second = Hasher::restore(algorithm, &first.save()).unwrap();
                assert_eq!(second.save(), first.save(), "{algorithm} at {cut}");
                second.update(&bytes[cut..]);
                assert_eq!(second.finish(), whole, "{algorithm} at {cut}");
            }
        }
    }

    /// Saved states outlive a process, so the form must not change with a new `sha2`.
    #[test]
    fn the_form_is_known() {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(b"abc");
        let saved = hasher.save();
        assert_eq!(saved.len(), 106);
        let mut expected = vec![1, 1];
        for word in [
            0x6a09e667u32,
            0xbb67ae85,
            0x3c6ef372,
            0xa54ff53a,
            0x510e527f,
            0x9b05688c,
            0x1f83d9ab,
            0x5be0cd19,
        ] {
            expected.extend(word.to_le_bytes());
        }
        expected.extend(0u64.to_le_bytes());
        expected.push(3);
        expected.extend(b"abc");
        expected.resize(106, 0);
        assert_eq!(saved, expected);
        assert_eq!(Hasher::new(Algorithm::Sha512).save().len(), 210);
    }

    #[test]
    fn a_false_state_is_refused() {
        let check = |algorithm, saved: &[u8]| {
            assert!(Hasher::restore(algorithm, saved).is_none());
        };
        for algorithm in ALGORITHMS {
            let saved = Hasher::new(algorithm).save();
            for length in 0..saved.len() {
                check(algorithm, &saved[..length]);
            }
            check(algorithm, &[saved.as_slice(), &[0]].concat());
            for other in ALGORITHMS.into_iter().filter(|other| *other != algorithm) {
                check(other, &saved);
            }
            let mut format = saved.clone();
            format[0] = 2;
            check(algorithm, &format);
            let mut endless = saved.clone();
            let (offset, width) = if algorithm == Algorithm::Sha256 { (34, 8) } else { (66, 16) };
            endless[offset..offset + width].fill(0xff);
            check(algorithm, &endless);
            let mut position = saved;
            position[offset + width] = 0xff;
            check(algorithm, &position);
        }
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..400), 0..8)
        ) {
            for algorithm in ALGORITHMS {
                let mut hasher = Hasher::new(algorithm);
                for piece in &pieces {
                    hasher = Hasher::restore(algorithm, &hasher.save()).unwrap();
                    hasher.update(piece);
                }
                prop_assert_eq!(hasher.finish(), Digest::of(algorithm, &pieces.concat()));
            }
        }

        /// Any state that is taken can be continued and finished without a panic.
        #[test]
        fn any_bytes_are_taken_or_refused(mut saved in proptest::collection::vec(any::<u8>(), 106),
                                          position in 0u8..70) {
            saved[0] = 1;
            saved[1] = 1;
            saved[40..42].fill(0);
            saved[42] = position;
            saved[43 + usize::from(position.min(63))..].fill(0);
            if let Some(mut hasher) = Hasher::restore(Algorithm::Sha256, &saved) {
                hasher.update(&[0; 100]);
                hasher.finish();
            } else {
                prop_assert!(position > 63 || saved[39] > 0);
            }
        }
    }
}
