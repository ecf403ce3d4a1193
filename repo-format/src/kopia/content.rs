//! From stored bytes to a content.
//!
//! Invariants: what [`open`] returns has the length and the hash that the index and the id promise.
//!
//! Checked against `repo/content/committed_read_manager.go`.

use super::compress::Decompression;
use super::crypter::Crypter;
use super::id::ContentId;
use super::index::Entry;
use crate::damage::Damage;

/// Buffers that are kept from content to content so that reading allocates nothing.
#[derive(Debug, Default)]
pub struct Scratch {
    decompression: Decompression,
    raw: Vec<u8>,
}

/// What a reader has to know of a content to open it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Which content.
    pub content: ContentId,
    /// Plaintext bytes.
    pub raw_len: u32,
    /// Compression header id, 0 if stored raw.
    pub compression: u32,
}

/// Opens one content: `stored` holds the bytes `entry.offset .. + entry.packed_len` of its pack and
/// is opened in place; the result lies in `stored` or, if it was compressed, in `scratch`.
pub fn open<'b>(
    crypter: &Crypter,
    entry: &Entry,
    stored: &'b mut [u8],
    scratch: &'b mut Scratch,
) -> Result<&'b [u8], Damage> {
    let have = u64::try_from(stored.len()).unwrap_or(u64::MAX);
    let need = u64::from(entry.packed_len);
    if have < need {
        return Err(Damage::Truncated { what: "content", need, have });
    }
    if have > need {
        return Err(Damage::Trailing { what: "content" });
    }
    if entry.key_id != 0 {
        return Err(Damage::Unsupported { what: "content key id" });
    }
    let Entry { content, raw_len, compression, .. } = *entry;
    let plain = open_unproved(crypter, Sealed { content, raw_len, compression }, stored, scratch)?;
    prove(crypter, content, plain)?;
    Ok(plain)
}

/// The first half of [`open`]: decrypts and decompresses. What comes out was written by someone who
/// has the key, and is still to be [proved](prove).
pub fn open_unproved<'b>(
    crypter: &Crypter,
    sealed: Sealed,
    stored: &'b mut [u8],
    scratch: &'b mut Scratch,
) -> Result<&'b [u8], Damage> {
    let iv = sealed.content.iv().ok_or(Damage::Invalid { what: "content hash length" })?;
    let plain = crypter.cipher.open(&iv, stored, "content")?;
    let plain = if sealed.compression == 0 {
        &*plain
    } else {
        let Scratch { decompression, raw } = scratch;
        decompression.run(sealed.compression, plain, sealed.raw_len, raw)?;
        raw.as_slice()
    };
    if u32::try_from(plain.len()) != Ok(sealed.raw_len) {
        return Err(Damage::Invalid { what: "content length" });
    }
    Ok(plain)
}

/// The second half of [`open`]: whether `plain` is the content that was asked for.
pub fn prove(crypter: &Crypter, content: ContentId, plain: &[u8]) -> Result<(), Damage> {
    if crypter.hasher.hash(plain).as_ref() != content.hash() {
        return Err(Damage::BadHash { what: "content" });
    }
    Ok(())
}
