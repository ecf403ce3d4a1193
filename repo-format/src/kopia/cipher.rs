//! Opening what a repository sealed.
//!
//! Invariants: plaintext leaves only after its tag was checked; opening works in the buffer that
//! held the sealed bytes and allocates nothing.
//!
//! ```text
//! root key  = HKDF-SHA256(master key, salt "encryption", info "")
//! item key  = HMAC-SHA256(root key, iv)
//! stored    = | nonce 12 | ciphertext | tag 16 |      additional data: the iv
//! ```
//!
//! The iv is 16 bytes for contents and standalone blobs, a whole hash for the index in a pack.
//!
//! Checked against `repo/encryption/`.

use core::fmt;

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{AeadInOut, KeyInit};
use chacha20poly1305::ChaCha20Poly1305;
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::format::KeyBytes;
use super::refusal::Refusal;
use crate::damage::Damage;

/// Bytes that sealing adds.
pub const OVERHEAD: usize = NONCE_LEN + TAG_LEN;

const NONCE_LEN: usize = 12;
const TAG_LEN: usize = 16;

/// A repository's cipher, keyed with its master key.
#[derive(Clone)]
pub struct Cipher {
    algorithm: Algorithm,
    root: Hmac<Sha256>,
}

#[derive(Clone, Copy, Debug)]
enum Algorithm {
    Aes256Gcm,
    ChaCha20Poly1305,
}

impl Cipher {
    /// The cipher kopia calls `name`, keyed with the format's master key.
    pub fn new(name: &str, master_key: &KeyBytes) -> Result<Self, Refusal> {
        let algorithm = match name {
            "AES256-GCM-HMAC-SHA256" => Algorithm::Aes256Gcm,
            "CHACHA20-POLY1305-HMAC-SHA256" => Algorithm::ChaCha20Poly1305,
            _ => return Err(Refusal::algorithm("encryption", name)),
        };
        let failed = Damage::Invalid { what: "master key" };
        let mut root = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(Some(b"encryption"), master_key.expose())
            .expand(b"", root.as_mut())
            .map_err(|_error| failed)?;
        let root = Hmac::new_from_slice(root.as_ref()).map_err(|_error| failed)?;
        Ok(Self { algorithm, root })
    }

    /// Opens sealed bytes in place and returns the part of the buffer that holds the plaintext.
    pub fn open<'b>(
        &self,
        iv: &[u8],
        sealed: &'b mut [u8],
        what: &'static str,
    ) -> Result<&'b mut [u8], Damage> {
        let have = u64::try_from(sealed.len()).unwrap_or(u64::MAX);
        let truncated = Damage::Truncated { what, need: 28, have };
        let (nonce, rest) = sealed.split_first_chunk_mut::<NONCE_LEN>().ok_or(truncated)?;
        let (body, tag) = rest.split_last_chunk_mut::<TAG_LEN>().ok_or(truncated)?;
        let (nonce, tag) = ((&*nonce).into(), (&*tag).into());
        let key = self.root.clone().chain_update(iv).finalize().into_bytes();
        let opened = match self.algorithm {
            Algorithm::Aes256Gcm => {
                Aes256Gcm::new(&key).decrypt_inout_detached(nonce, iv, (&mut *body).into(), tag)
            }
            Algorithm::ChaCha20Poly1305 => ChaCha20Poly1305::new(&key).decrypt_inout_detached(
                nonce,
                iv,
                (&mut *body).into(),
                tag,
            ),
        };
        opened.map_err(|_error| Damage::BadTag { what })?;
        Ok(body)
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cipher({:?})", self.algorithm)
    }
}

#[cfg(test)]
mod tests {
    use aes_gcm::aead::{AeadInOut, KeyInit};
    use proptest::prelude::*;

    use super::{Aes256Gcm, Algorithm, ChaCha20Poly1305, Cipher, Mac};
    use crate::damage::Damage;
    use crate::id::from_hex;
    use crate::kopia::format::KeyBytes;

    const IV: &[u8] = b"aabbccddeeffgghhiijjkkllmmnnoopp";

    impl Cipher {
        /// What [`Cipher::open`] opens.
        pub(crate) fn seal(&self, iv: &[u8], nonce: [u8; 12], plain: &[u8]) -> Vec<u8> {
            let key = self.root.clone().chain_update(iv).finalize().into_bytes();
            let mut body = plain.to_vec();
            let (nonce, inout) = ((&nonce).into(), body.as_mut_slice().into());
            let tag: [u8; 16] = match self.algorithm {
                Algorithm::Aes256Gcm => {
                    Aes256Gcm::new(&key).encrypt_inout_detached(nonce, iv, inout).unwrap().into()
                }
                Algorithm::ChaCha20Poly1305 => ChaCha20Poly1305::new(&key)
                    .encrypt_inout_detached(nonce, iv, inout)
                    .unwrap()
                    .into(),
            };
            [nonce.as_slice(), &body, &tag].concat()
        }
    }

    proptest! {
        #[test]
        fn sealed_bytes_open_to_themselves(
            plain in prop::collection::vec(any::<u8>(), 0..200),
            iv in prop::collection::vec(any::<u8>(), 16..33),
            nonce in any::<[u8; 12]>(),
        ) {
            for (cipher, _) in samples() {
                let mut sealed = cipher.seal(&iv, nonce, &plain);
                prop_assert_eq!(sealed.len(), plain.len() + super::OVERHEAD);
                prop_assert_eq!(&*cipher.open(&iv, &mut sealed, "sample").unwrap(), &plain[..]);
            }
        }
    }

    /// Both ciphers with a sealed `foo` each, as kopia publishes them for its own tests.
    fn samples() -> [(Cipher, Vec<u8>); 2] {
        [
            (
                "AES256-GCM-HMAC-SHA256",
                "e43ba07f85a6d70c5f1102ca06cf19c597e5f91e527b21f00fb76e8bec3fd1",
            ),
            (
                "CHACHA20-POLY1305-HMAC-SHA256",
                "118359f3d4d589d939efbbc3168ae4c77c51bcebce6845fe6ef5d11342faa6",
            ),
        ]
        .map(|(name, hex)| {
            let key = KeyBytes::of(b"01234567890123456789012345678901");
            let mut sealed = vec![0; hex.len() / 2];
            from_hex(hex.as_bytes(), &mut sealed).unwrap();
            (Cipher::new(name, &key).unwrap(), sealed)
        })
    }

    #[test]
    fn what_kopia_sealed_opens() {
        for (cipher, mut sealed) in samples() {
            assert_eq!(cipher.open(IV, &mut sealed, "sample").unwrap(), b"foo");
        }
    }

    #[test]
    fn any_altered_bit_and_any_other_iv_is_refused() {
        let bad = Err(Damage::BadTag { what: "sample" });
        for (cipher, sealed) in samples() {
            for bit in 0..sealed.len() * 8 {
                let mut altered = sealed.clone();
                altered[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(cipher.open(IV, &mut altered, "sample").map(|_| ()), bad);
            }
            assert_eq!(cipher.open(&IV[1..], &mut sealed.clone(), "sample").map(|_| ()), bad);
        }
    }

    #[test]
    fn too_few_bytes_are_truncated() {
        for (cipher, sealed) in samples() {
            for len in 0..28 {
                let mut cut = sealed[..len].to_vec();
                let damage = cipher.open(IV, &mut cut, "sample").unwrap_err();
                let have = len as u64;
                assert_eq!(damage, Damage::Truncated { what: "sample", need: 28, have });
            }
        }
    }
}
