//! From stored bytes to a content.
//!
//! Invariants: what is returned has the length and the hash that the index and the id promise.
//!
//! Checked against `repo/content/committed_read_manager.go`.

use super::compress::Decompression;
use super::crypter::Crypter;
use super::index::Entry;
use crate::damage::Damage;

/// Buffers that are kept from content to content so that reading allocates nothing.
#[derive(Debug, Default)]
pub struct Scratch {
    decompression: Decompression,
    raw: Vec<u8>,
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
    let iv = entry.content.iv().ok_or(Damage::Invalid { what: "content hash length" })?;
    let plain = crypter.cipher.open(&iv, stored, "content")?;
    let plain = if entry.compression == 0 {
        &*plain
    } else {
        let Scratch { decompression, raw } = scratch;
        decompression.run(entry.compression, plain, entry.raw_len, raw)?;
        raw.as_slice()
    };
    if u32::try_from(plain.len()) != Ok(entry.raw_len) {
        return Err(Damage::Invalid { what: "content length" });
    }
    if crypter.hasher.hash(plain).as_ref() != entry.content.hash() {
        return Err(Damage::BadHash { what: "content" });
    }
    Ok(plain)
}
