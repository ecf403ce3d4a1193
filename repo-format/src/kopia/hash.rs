//! Keyed hashes that make content ids.
//!
//! Invariants: the key is mixed in once, when the hasher is made; hashing a content starts from a
//! copy of that state.
//!
//! Trap: BLAKE2B-256-128 is a 32-byte digest cut in half, BLAKE2S-128 a native 16-byte digest.
//!
//! Checked against `repo/hashing/`.

use core::fmt;

use blake2::digest::consts::{U16, U32};
use blake2::digest::{FixedOutput, KeyInit, Update};
use blake2::{Blake2bMac, Blake2sMac};
use hmac::Hmac;
use sha2::{Sha224, Sha256};

use super::format::KeyBytes;
use super::refusal::Refusal;
use crate::damage::Damage;

/// A content hash: up to 32 bytes, compared and read through `as_ref`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest {
    len: u8,
    bytes: [u8; 32],
}

impl AsRef<[u8]> for Digest {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", crate::id::to_hex(self.as_ref()))
    }
}

/// A repository's hash, keyed with its secret.
#[derive(Clone)]
pub struct Hasher {
    keyed: Keyed,
    len: u8,
}

#[derive(Clone)]
enum Keyed {
    Blake2b(Blake2bMac<U32>),
    Blake2s128(Blake2sMac<U16>),
    Blake2s256(Blake2sMac<U32>),
    HmacSha224(Hmac<Sha224>),
    HmacSha256(Hmac<Sha256>),
}

impl Hasher {
    /// The hash kopia calls `name`, keyed with the format's secret.
    pub fn new(name: &str, secret: &KeyBytes) -> Result<Self, Refusal> {
        fn keyed<M: KeyInit>(secret: &KeyBytes) -> Result<M, Damage> {
            let what = "length of the hash secret";
            M::new_from_slice(secret.expose()).map_err(|_error| Damage::Invalid { what })
        }
        let (keyed, len) = match name {
            "BLAKE2B-256-128" => (Keyed::Blake2b(keyed(secret)?), 16),
            "BLAKE2B-256" => (Keyed::Blake2b(keyed(secret)?), 32),
            "BLAKE2S-128" => (Keyed::Blake2s128(keyed(secret)?), 16),
            "BLAKE2S-256" => (Keyed::Blake2s256(keyed(secret)?), 32),
            "HMAC-SHA224" => (Keyed::HmacSha224(keyed(secret)?), 28),
            "HMAC-SHA256" => (Keyed::HmacSha256(keyed(secret)?), 32),
            "HMAC-SHA256-128" => (Keyed::HmacSha256(keyed(secret)?), 16),
            _ => return Err(Refusal::algorithm("hash", name)),
        };
        Ok(Self { keyed, len })
    }

    /// Bytes of every digest.
    #[must_use]
    pub fn digest_len(&self) -> usize {
        usize::from(self.len)
    }

    /// Hashes one content.
    #[must_use]
    pub fn hash(&self, plain: &[u8]) -> Digest {
        let mut bytes = [0; 32];
        match &self.keyed {
            Keyed::Blake2b(keyed) => finish(keyed.clone(), plain, &mut bytes),
            Keyed::Blake2s128(keyed) => finish(keyed.clone(), plain, &mut bytes),
            Keyed::Blake2s256(keyed) => finish(keyed.clone(), plain, &mut bytes),
            Keyed::HmacSha224(keyed) => finish(keyed.clone(), plain, &mut bytes),
            Keyed::HmacSha256(keyed) => finish(keyed.clone(), plain, &mut bytes),
        }
        bytes.iter_mut().skip(usize::from(self.len)).for_each(|byte| *byte = 0);
        Digest { len: self.len, bytes }
    }
}

fn finish<M: Update + FixedOutput>(mut keyed: M, plain: &[u8], bytes: &mut [u8; 32]) {
    keyed.update(plain);
    let digest = keyed.finalize_fixed();
    bytes.iter_mut().zip(digest.iter()).for_each(|(byte, digit)| *byte = *digit);
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hasher({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::Hasher;
    use crate::id::to_hex;
    use crate::kopia::format::KeyBytes;
    use crate::kopia::refusal::Refusal;

    fn hash(name: &str, secret: &[u8]) -> Result<String, Refusal> {
        let hasher = Hasher::new(name, &KeyBytes::of(secret))?;
        let digest = hasher.hash(b"abc");
        assert_eq!(digest.as_ref().len(), hasher.digest_len());
        Ok(to_hex(digest.as_ref()))
    }

    #[test]
    fn digests_are_those_of_an_independent_implementation() {
        let secret: Vec<u8> = (0..32).collect();
        let blake2b = "d63a32d3e44738d7907f964316c241adaba0abfeabc32349677578a15a203f7f";
        let hmac_sha256 = "f0133729c4163dede81e21cd47839256da58171238c8a0d874397c73b14e1e47";
        for (name, expected) in [
            ("BLAKE2B-256", blake2b),
            ("BLAKE2B-256-128", &blake2b[..32]),
            ("BLAKE2S-128", "61ba5f165c194692e09d12520cc4c74a"),
            ("BLAKE2S-256", "a281f725754969a702f6fe36fc591b7def866e4b70173ece402fc01c064d6b65"),
            ("HMAC-SHA224", "f8930d410fdd27f8d703d1f9852a2202569224942a0a8cc02a25db71"),
            ("HMAC-SHA256", hmac_sha256),
            ("HMAC-SHA256-128", &hmac_sha256[..32]),
        ] {
            assert_eq!(hash(name, &secret).as_deref(), Ok(expected), "{name}");
        }
        assert_eq!(
            hash("BLAKE2B-256", b"key").as_deref(),
            Ok("0330531d097355a3f72e80d55c1245ccf79f1704431c6e3887938320442c23c0")
        );
    }

    #[test]
    fn hashes_we_lack_are_refused_by_name_and_long_keys_are_damage() {
        for name in ["BLAKE3-256", "HMAC-SHA3-256", ""] {
            let refusal = Refusal::Algorithm { kind: "hash", name: name.into() };
            assert_eq!(hash(name, &[0; 32]), Err(refusal));
        }
        assert!(matches!(hash("BLAKE2S-256", &[0; 33]), Err(Refusal::Damage(_))));
    }
}
