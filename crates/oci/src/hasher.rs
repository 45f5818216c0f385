//! A hash that can be saved and gone on with: an upload survives a restart.

use sha2::digest::common::hazmat::SerializableState;
use sha2::{Digest as _, Sha256, Sha512};

use crate::{Algorithm, Digest};

/// Hashes bytes that come piece by piece.
#[derive(Clone)]
pub enum Hasher {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    pub fn new(algorithm: Algorithm) -> Hasher {
        match algorithm {
            Algorithm::Sha256 => Hasher::Sha256(Sha256::new()),
            Algorithm::Sha512 => Hasher::Sha512(Sha512::new()),
        }
    }

    pub fn algorithm(&self) -> Algorithm {
        match self {
            Hasher::Sha256(_) => Algorithm::Sha256,
            Hasher::Sha512(_) => Algorithm::Sha512,
        }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(hash) => hash.update(bytes),
            Hasher::Sha512(hash) => hash.update(bytes),
        }
    }

    /// The digest of all that was given.
    pub fn finish(self) -> Digest {
        match self {
            Hasher::Sha256(hash) => Digest::Sha256(hash.finalize().into()),
            Hasher::Sha512(hash) => Digest::Sha512(hash.finalize().into()),
        }
    }

    /// The state, of a fixed length. It holds up to a block of what was hashed: keep it sealed.
    pub fn save(&self) -> Vec<u8> {
        match self {
            Hasher::Sha256(hash) => hash.serialize().to_vec(),
            Hasher::Sha512(hash) => hash.serialize().to_vec(),
        }
    }

    /// Goes on from a saved state; `None` if it is none of this algorithm.
    pub fn restore(algorithm: Algorithm, state: &[u8]) -> Option<Hasher> {
        match algorithm {
            Algorithm::Sha256 => {
                Sha256::deserialize(state.try_into().ok()?).ok().map(Hasher::Sha256)
            }
            Algorithm::Sha512 => {
                Sha512::deserialize(state.try_into().ok()?).ok().map(Hasher::Sha512)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_hash_can_be_cut_anywhere(bytes: Vec<u8>, cut: prop::sample::Index, long: bool) {
            let algorithm = if long { Algorithm::Sha512 } else { Algorithm::Sha256 };
            let (head, tail) = bytes.split_at(cut.index(bytes.len() + 1));
            let mut first = Hasher::new(algorithm);
            first.update(head);
            let mut second = Hasher::restore(algorithm, &first.save()).unwrap();
            second.update(tail);
            prop_assert_eq!(second.finish(), Digest::of(algorithm, &bytes));
        }

        #[test]
        fn no_state_makes_it_panic(state: Vec<u8>) {
            for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
                if let Some(mut hasher) = Hasher::restore(algorithm, &state) {
                    hasher.update(b"x");
                    hasher.finish();
                }
            }
        }
    }
}
