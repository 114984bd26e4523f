//! Plain hashes.

use md5::Md5;
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};
use sha3::Keccak256;

use super::codec::Digest;
use super::spec::Hash;

/// The hash of these pieces, one after the other.
pub(super) fn hash<'a>(algorithm: Hash, pieces: impl IntoIterator<Item = &'a [u8]>) -> Digest {
    fn of<'a, H: sha2::Digest>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Digest {
        let mut state = H::new();
        for piece in pieces {
            state.update(piece);
        }
        Digest::from_slice(&state.finalize())
    }
    match algorithm {
        Hash::Md5 => of::<Md5>(pieces),
        Hash::Sha1 => of::<Sha1>(pieces),
        Hash::Sha256 => of::<Sha256>(pieces),
        Hash::Sha384 => of::<Sha384>(pieces),
        Hash::Sha512 => of::<Sha512>(pieces),
        Hash::Keccak256 => of::<Keccak256>(pieces),
    }
}
