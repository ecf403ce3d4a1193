//! A repository's hash and cipher together, and blobs that are sealed as a whole.
//!
//! Invariants: a blob opened here hashes to the hash in its own name.
//!
//! Checked against `internal/blobcrypto/blob_crypto.go`.

use super::cipher::Cipher;
use super::format::Format;
use super::hash::Hasher;
use super::id::BlobId;
use super::refusal::Refusal;
use crate::damage::Damage;
use crate::id::{from_hex, to_hex};

/// What every read of sealed bytes needs.
#[derive(Clone, Debug)]
pub struct Crypter {
    /// Makes ids of plaintext.
    pub hasher: Hasher,
    /// Opens stored bytes.
    pub cipher: Cipher,
}

impl Crypter {
    /// The algorithms that the format names, with its keys.
    pub fn new(format: &Format) -> Result<Self, Refusal> {
        Ok(Self {
            hasher: Hasher::new(&format.hash, &format.secret)?,
            cipher: Cipher::new(&format.encryption, &format.master_key)?,
        })
    }

    /// Opens an index, session or log blob in place. Its iv is the 32 hex digits in front of the
    /// first `-` of its name; the whole hash stands there too.
    pub fn open_blob<'b>(
        &self,
        blob: &BlobId,
        stored: &'b mut [u8],
    ) -> Result<&'b mut [u8], Damage> {
        let bad_name = Damage::Invalid { what: "name of a sealed blob" };
        let name = blob.as_str().split('-').next().ok_or(bad_name)?;
        let digits = name.as_bytes().last_chunk::<32>().ok_or(bad_name)?;
        let mut iv = [0; 16];
        from_hex(digits, &mut iv).ok_or(bad_name)?;
        let plain = self.cipher.open(&iv, stored, "sealed blob")?;
        if !name.ends_with(&to_hex(self.hasher.hash(plain).as_ref())) {
            return Err(Damage::BadHash { what: "sealed blob" });
        }
        Ok(plain)
    }
}
