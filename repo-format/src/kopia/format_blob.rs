//! `kopia.repository`: the way into a repository.
//!
//! Invariants: nothing of the format is believed before the password has opened it; the cost of
//! the key derivation is fixed by its name, never read from the blob.
//!
//! Layout: plain JSON; `encryptedBlockFormat` is base64 of
//!
//! ```text
//! | nonce 12 | AES-256-GCM ciphertext | tag 16 |    additional data: 32 derived bytes
//! ```
//!
//! with key = HKDF-SHA256(password key, salt unique id, info "AES") and additional data =
//! HKDF-SHA256(.., info "CHECKSUM"): a second derived key, not a constant.
//!
//! Checked against `repo/format/format_blob.go`, `internal/crypto/aesgcm.go` and
//! `internal/crypto/pb_key_deriver_*.go`.

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use serde::Deserialize;
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

use super::format::Format;
use super::json;
use super::refusal::Refusal;
use crate::damage::Damage;
use crate::secret::{Password, Secret};

const BLOB_LEN_MAX: usize = 256 << 10;
const UNIQUE_ID_LEN_MIN: usize = 16;
const UNIQUE_ID_LEN_MAX: usize = 1024;
const PBKDF2_ROUNDS: u32 = 600_000;

/// The plain part of the format blob, and the sealed part still sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatBlob {
    /// Random bytes that name the repository and salt its keys.
    pub unique_id: Vec<u8>,
    /// Name of the derivation from password to key.
    pub key_algorithm: String,
    /// Version of kopia that wrote the blob.
    pub build_version: String,
    encryption: String,
    sealed: Vec<u8>,
}

#[derive(Deserialize)]
struct Wire {
    #[serde(default, rename = "buildVersion")]
    build_version: String,
    #[serde(rename = "uniqueID")]
    unique_id: String,
    #[serde(default, rename = "keyAlgo")]
    key_algorithm: String,
    #[serde(default)]
    encryption: String,
    #[serde(default, rename = "encryptedBlockFormat")]
    sealed: String,
}

impl FormatBlob {
    /// Decodes `kopia.repository`.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        let what = "kopia.repository";
        let wire: Wire = json::read(bytes, what, BLOB_LEN_MAX)?;
        let decode = |text: &str| STANDARD.decode(text).map_err(|_error| Damage::Invalid { what });
        let unique_id = decode(&wire.unique_id)?;
        if !(UNIQUE_ID_LEN_MIN..=UNIQUE_ID_LEN_MAX).contains(&unique_id.len()) {
            return Err(Damage::Invalid { what: "unique id of the repository" });
        }
        Ok(Self {
            unique_id,
            key_algorithm: wire.key_algorithm,
            build_version: wire.build_version,
            encryption: wire.encryption,
            sealed: decode(&wire.sealed)?,
        })
    }

    /// Derives the key that opens this blob and `kopia.blobcfg`: a fifth of a second and 64 MiB.
    pub fn derive_key(&self, password: &Password) -> Result<Secret<32>, Refusal> {
        let mut key = [0; 32];
        match self.key_algorithm.as_str() {
            "scrypt-65536-8-1" => {
                let failed = Damage::Invalid { what: "scrypt parameters" };
                let params = scrypt::Params::new(16, 8, 1).map_err(|_error| failed)?;
                scrypt::scrypt(password.expose(), &self.unique_id, &params, &mut key)
                    .map_err(|_error| failed)?;
            }
            "pbkdf2-sha256-600000" => pbkdf2(password.expose(), &self.unique_id, &mut key)?,
            name => return Err(Refusal::algorithm("key derivation", name)),
        }
        let secret = Secret::new(key);
        key.zeroize();
        Ok(secret)
    }

    /// Opens the format with the derived key; a wrong password is [`Damage::BadTag`].
    pub fn open(&self, key: &Secret<32>) -> Result<Format, Refusal> {
        Format::decode(&self.open_block(key, &self.sealed, "format block")?)
    }

    /// Opens something sealed as the format block is.
    pub(super) fn open_block(
        &self,
        key: &Secret<32>,
        sealed: &[u8],
        what: &'static str,
    ) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        if self.encryption != "AES256_GCM" {
            return Err(Refusal::algorithm("format encryption", &self.encryption));
        }
        let have = u64::try_from(sealed.len()).unwrap_or(u64::MAX);
        let truncated = Damage::Truncated { what, need: 28, have };
        let (nonce, rest) = sealed.split_first_chunk::<12>().ok_or(truncated)?;
        let (ciphertext, tag) = rest.split_last_chunk::<16>().ok_or(truncated)?;
        let hkdf = Hkdf::<Sha256>::new(Some(&self.unique_id), key.expose());
        let mut plain = Zeroizing::new(ciphertext.to_vec());
        let mut aes_key = Zeroizing::new([0; 32]);
        let mut additional = Zeroizing::new([0; 32]);
        let bad = Damage::BadTag { what };
        hkdf.expand(b"AES", aes_key.as_mut()).map_err(|_error| bad)?;
        hkdf.expand(b"CHECKSUM", additional.as_mut()).map_err(|_error| bad)?;
        Aes256Gcm::new((&*aes_key).into())
            .decrypt_inout_detached(
                nonce.into(),
                additional.as_slice(),
                plain.as_mut_slice().into(),
                tag.into(),
            )
            .map_err(|_error| bad)?;
        Ok(plain)
    }
}

/// PBKDF2-HMAC-SHA256 for one block of output.
fn pbkdf2(password: &[u8], salt: &[u8], key: &mut [u8; 32]) -> Result<(), Damage> {
    let failed = Damage::Invalid { what: "password" };
    let keyed = Hmac::<Sha256>::new_from_slice(password).map_err(|_error| failed)?;
    let mut round = keyed.clone().chain_update(salt).chain_update([0, 0, 0, 1]).finalize();
    let mut sum: [u8; 32] = round.as_bytes().as_slice().try_into().map_err(|_error| failed)?;
    for _ in 1..PBKDF2_ROUNDS {
        round = keyed.clone().chain_update(round.as_bytes()).finalize();
        for (sum, byte) in sum.iter_mut().zip(round.as_bytes()) {
            *sum ^= byte;
        }
    }
    *key = sum;
    sum.zeroize();
    Ok(())
}
