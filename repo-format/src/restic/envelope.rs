//! Sealing: AES-256-CTR, then Poly1305-AES over the ciphertext.
//!
//! ```text
//! 0      16                    n-16        n
//! | nonce | ciphertext           | tag (16) |
//! ```
//!
//! The nonce is the whole initial counter, incremented as one 128-bit big-endian number. The
//! one-time key of Poly1305 is r followed by AES-128 under k of the nonce. The tag covers the
//! ciphertext alone, so what a blob *is* gets proved by hashing its plaintext. Checked against
//! `internal/repository/crypto/crypto.go`.
//!
//! Invariants
//! - Key schedules are expanded once, in [`MasterKey`]; sealing and opening expand nothing.
//! - [`open`] and [`open_in_place`] compare the tag in constant time before they decrypt.
//! - Neither an all-zero key part nor an all-zero nonce is accepted.

use aes::{
    Aes128Enc,
    cipher::{Array, BlockCipherEncrypt as _, KeyInit as _},
};
use subtle::ConstantTimeEq as _;
use windlass_lanes::{aes_ctr::Aes256Ctr, poly1305};
use zeroize::Zeroizing;

use crate::{
    cursor::count,
    damage::Damage,
    go_json::{Object, push_base64, read::Reader},
    secret::Secret,
};

/// Bytes a sealed item is longer than its plaintext.
pub const OVERHEAD: usize = NONCE + TAG;
const NONCE: usize = 16;
const TAG: usize = 16;

/// A repository's keys, or the ones derived from a password, ready for use.
#[derive(Clone)]
pub struct MasterKey {
    encrypt: Secret<32>,
    mac_k: Secret<16>,
    mac_r: Secret<16>,
    cipher: Aes256Ctr,
    mac_cipher: Aes128Enc,
}

impl core::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("MasterKey")
    }
}

impl MasterKey {
    /// Takes 32 bytes for AES, 16 of Poly1305's k, 16 of its r: the order a derivation gives.
    pub fn from_bytes(bytes: &[u8; 64]) -> Result<Self, Damage> {
        let key = Self::generate(bytes);
        let zero = *key.encrypt.expose() == [0; 32]
            || *key.mac_k.expose() == [0; 16]
            || *key.mac_r.expose() == [0; 16];
        if zero { Err(Damage::Invalid { what: "master key of zeros" }) } else { Ok(key) }
    }

    /// A new key out of 64 bytes of good randomness.
    #[must_use]
    pub fn generate(random: &[u8; 64]) -> Self {
        let (encrypt, rest) = take(random);
        let (mac_k, rest) = take(rest);
        let (mac_r, _) = take(rest);
        Self {
            cipher: Aes256Ctr::new(&encrypt),
            mac_cipher: Aes128Enc::new(&Array(mac_k)),
            encrypt: Secret::new(encrypt),
            mac_k: Secret::new(mac_k),
            mac_r: Secret::new(mac_r),
        }
    }

    /// Reads the JSON a key file seals: `mac` with `k` and `r`, and `encrypt`, in base64.
    pub fn from_json(json: &[u8]) -> Result<Self, Damage> {
        let mut bytes = Zeroizing::new([0; 64]);
        let (encrypt, mac) = bytes.split_at_mut(32);
        let (mac_k, mac_r) = mac.split_at_mut(16);
        let mut reader = Reader::new("master key", json);
        reader.object(|reader, key| match key {
            "mac" => reader.object(|reader, key| match key {
                "k" => read_part(reader, mac_k),
                "r" => read_part(reader, mac_r),
                _ => reader.skip_value(),
            }),
            "encrypt" => read_part(reader, encrypt),
            _ => reader.skip_value(),
        })?;
        reader.finish()?;
        Self::from_bytes(&bytes)
    }

    /// Writes the JSON a key file seals.
    #[must_use]
    pub fn to_json(&self) -> Zeroizing<Vec<u8>> {
        // Room for all of it, so that no copy is left behind by growing.
        let mut out = Zeroizing::new(Vec::with_capacity(160));
        let mut object = Object::open(&mut out);
        let mut mac = Object::open(object.key("mac"));
        push_base64(self.mac_k.expose(), mac.key("k"));
        push_base64(self.mac_r.expose(), mac.key("r"));
        mac.close();
        push_base64(self.encrypt.expose(), object.key("encrypt"));
        object.close();
        out
    }

    fn tag(&self, nonce: &[u8; NONCE], cipher: &[u8]) -> [u8; TAG] {
        let mut encrypted = Array(*nonce);
        self.mac_cipher.encrypt_block(&mut encrypted);
        let mut key = Zeroizing::new([0; 32]);
        let (r, s) = key.split_at_mut(16);
        r.copy_from_slice(self.mac_r.expose());
        s.copy_from_slice(&encrypted);
        poly1305::tag(&key, cipher)
    }
}

/// Appends nonce, ciphertext and tag to `out`; the only allocation is `out` growing.
///
/// A nonce must never be used twice under one key, so it comes fresh from a random source.
pub fn seal(key: &MasterKey, nonce: &[u8; NONCE], plain: &[u8], out: &mut Vec<u8>) {
    debug_assert_ne!(*nonce, [0; NONCE], "a nonce must be random");
    out.reserve(plain.len() + OVERHEAD);
    out.extend_from_slice(nonce);
    let start = out.len();
    key.cipher.append(nonce, plain, out);
    let tag = key.tag(nonce, out.get(start..).unwrap_or_default());
    out.extend_from_slice(&tag);
}

/// Replaces what is in `out` by the plaintext of `sealed`; `what` names it in a [`Damage`].
pub fn open(
    key: &MasterKey,
    what: &'static str,
    sealed: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Damage> {
    out.clear();
    open_onto(key, what, sealed, out)
}

/// Appends the plaintext of `sealed` to `out`, or nothing.
pub fn open_onto(
    key: &MasterKey,
    what: &'static str,
    sealed: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Damage> {
    let (nonce, cipher) = authenticated(key, what, sealed)?;
    key.cipher.append(nonce, cipher, out);
    Ok(())
}

/// Decrypts within `sealed` and returns the part that is plaintext now.
pub fn open_in_place<'a>(
    key: &MasterKey,
    what: &'static str,
    sealed: &'a mut [u8],
) -> Result<&'a mut [u8], Damage> {
    let length = authenticated(key, what, sealed)?.1.len();
    let (nonce, rest) = sealed.split_first_chunk_mut::<NONCE>().ok_or(Damage::BadTag { what })?;
    let cipher = rest.get_mut(..length).unwrap_or_default();
    key.cipher.apply(nonce, cipher);
    Ok(cipher)
}

/// Whether `sealed` opens to `plain`: its tag and every byte.
///
/// For proving right after [`seal`] that what is about to be stored can be read back, with nothing
/// written anywhere.
#[must_use]
pub fn opens_to(key: &MasterKey, sealed: &[u8], plain: &[u8]) -> bool {
    let Ok((nonce, cipher)) = authenticated(key, "sealed bytes", sealed) else { return false };
    key.cipher.decrypts_to(nonce, cipher, plain)
}

type Parts<'a> = (&'a [u8; NONCE], &'a [u8], &'a [u8; TAG]);

fn split<'a>(what: &'static str, sealed: &'a [u8]) -> Result<Parts<'a>, Damage> {
    let short = Damage::Truncated { what, need: count(OVERHEAD), have: count(sealed.len()) };
    let (nonce, rest) = sealed.split_first_chunk().ok_or(short)?;
    let (cipher, tag) = rest.split_last_chunk().ok_or(short)?;
    if *nonce == [0; NONCE] {
        return Err(Damage::Invalid { what: "nonce of zeros" });
    }
    Ok((nonce, cipher, tag))
}

fn authenticated<'a>(
    key: &MasterKey,
    what: &'static str,
    sealed: &'a [u8],
) -> Result<(&'a [u8; NONCE], &'a [u8]), Damage> {
    let (nonce, cipher, tag) = split(what, sealed)?;
    let computed = key.tag(nonce, cipher);
    if bool::from(computed.as_slice().ct_eq(tag.as_slice())) {
        Ok((nonce, cipher))
    } else {
        Err(Damage::BadTag { what })
    }
}

fn read_part(reader: &mut Reader<'_>, into: &mut [u8]) -> Result<(), Damage> {
    let part = Zeroizing::new(reader.base64()?.unwrap_or_default());
    if part.len() != into.len() {
        return Err(Damage::Invalid { what: "length of a master key part" });
    }
    into.copy_from_slice(&part);
    Ok(())
}

/// The first `N` bytes of key material whose length is fixed by type at the only caller.
fn take<const N: usize>(bytes: &[u8]) -> ([u8; N], &[u8]) {
    match bytes.split_first_chunk() {
        Some((head, rest)) => (*head, rest),
        None => ([0; N], &[]),
    }
}
