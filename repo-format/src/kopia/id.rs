//! Names: of blobs, of contents inside them, of objects made of contents.
//!
//! Invariants
//! - A [`ContentId`] is `Copy` and orders as the key it has in an index: prefix byte first (0 where
//!   there is none), then the hash.
//! - A [`BlobId`] is safe to append to a directory: no separator, no leading dot, no control
//!   character.
//!
//! Checked against `repo/content/index/id.go` and `repo/object/objectid.go`.

use core::fmt;

use crate::id::{from_hex, to_hex};

/// Bytes of the longest content hash.
pub const HASH_LEN_MAX: usize = 32;
/// Bytes of the longest blob name.
pub const BLOB_NAME_LEN_MAX: usize = 255;
/// Levels of indirect lists that are followed; each level multiplies the size by tens of thousands.
pub const INDIRECTION_MAX: u8 = 8;

/// A content: an optional letter `g`..`z` telling its role, and the keyed hash of its plaintext.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentId {
    prefix: u8,
    len: u8,
    hash: [u8; HASH_LEN_MAX],
}

impl ContentId {
    /// From the parts; `None` if the prefix or the length of the hash is not legal.
    #[must_use]
    pub fn new(prefix: Option<u8>, hash: &[u8]) -> Option<Self> {
        let prefix = match prefix {
            None => 0,
            Some(letter @ b'g'..=b'z') => letter,
            Some(_) => return None,
        };
        let len = u8::try_from(hash.len()).ok().filter(|len| *len > 0)?;
        let mut padded = [0; HASH_LEN_MAX];
        padded.get_mut(..hash.len())?.copy_from_slice(hash);
        Some(Self { prefix, len, hash: padded })
    }

    /// From a key of an index: the prefix byte or 0, then the hash.
    #[must_use]
    pub fn from_key(key: &[u8]) -> Option<Self> {
        let (prefix, hash) = key.split_first()?;
        Self::new((*prefix != 0).then_some(*prefix), hash)
    }

    /// Reads an optional letter and an even number of lowercase hex digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.as_bytes();
        let (prefix, digits) = match text.split_first() {
            Some((letter, digits)) if text.len() % 2 == 1 => (Some(*letter), digits),
            _ => (None, text),
        };
        let mut hash = [0; HASH_LEN_MAX];
        let hash = hash.get_mut(..digits.len() / 2)?;
        from_hex(digits, hash)?;
        Self::new(prefix, hash)
    }

    /// The letter in front, if there is one: `k` directory, `m` manifest, `x` indirect list.
    #[must_use]
    pub fn prefix(&self) -> Option<u8> {
        (self.prefix != 0).then_some(self.prefix)
    }

    /// The keyed hash of the plaintext.
    #[must_use]
    pub fn hash(&self) -> &[u8] {
        self.hash.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// The last 16 bytes of the hash, from which the content's key is made.
    #[must_use]
    pub fn iv(&self) -> Option<[u8; 16]> {
        self.hash().last_chunk().copied()
    }
}

impl PartialOrd for ContentId {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ContentId {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        (self.prefix, self.hash()).cmp(&(other.prefix, other.hash()))
    }
}

impl fmt::Display for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(letter) = self.prefix() {
            write!(f, "{}", char::from(letter))?;
        }
        f.write_str(&to_hex(self.hash()))
    }
}

impl fmt::Debug for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentId({self})")
    }
}

/// An object: one content, or a list of objects that is itself an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ObjectId {
    /// How many lists are above the data.
    indirection: u8,
    /// Whether the content begins with a compression header of its own (format version 1).
    compressed: bool,
    content: ContentId,
}

impl ObjectId {
    /// The object that is just this content.
    #[must_use]
    pub fn direct(content: ContentId) -> Self {
        Self { indirection: 0, compressed: false, content }
    }

    /// Reads `I`... or `Z`, a legacy `D`, and a content id.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.trim_start_matches('I');
        let indirection = u8::try_from(text.len().checked_sub(rest.len())?).ok()?;
        let (compressed, rest) = match rest.strip_prefix('Z') {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let rest = rest.strip_prefix('D').unwrap_or(rest);
        if indirection > INDIRECTION_MAX || (indirection > 0 && compressed) {
            return None;
        }
        Some(Self { indirection, compressed, content: ContentId::parse(rest)? })
    }

    /// The object that holds this one's list, or `None` if this one is a content.
    #[must_use]
    pub fn list(&self) -> Option<Self> {
        let indirection = self.indirection.checked_sub(1)?;
        Some(Self { indirection, ..*self })
    }

    /// The content at the bottom: the data itself, or the (first) list.
    #[must_use]
    pub fn content(&self) -> ContentId {
        self.content
    }

    /// Whether the content has a compression header of its own, see
    /// [`object::open_compressed`](super::object::open_compressed).
    #[must_use]
    pub fn is_compressed(&self) -> bool {
        self.compressed
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for _ in 0..self.indirection {
            f.write_str("I")?;
        }
        if self.compressed {
            f.write_str("Z")?;
        }
        self.content.fmt(f)
    }
}

/// The name of a stored blob.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId(String);

impl BlobId {
    /// The format blob.
    pub const REPOSITORY: &'static str = "kopia.repository";
    /// The blob with the storage's retention settings.
    pub const BLOBCFG: &'static str = "kopia.blobcfg";
    /// The blob with the maintenance schedule.
    pub const MAINTENANCE: &'static str = "kopia.maintenance";

    /// Takes a name that is printable ASCII without separators and without a leading dot.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        is_blob_name(name.as_bytes()).then(|| Self(name.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether these bytes may be a blob's name.
pub(super) fn is_blob_name(name: &[u8]) -> bool {
    (1..=BLOB_NAME_LEN_MAX).contains(&name.len())
        && !name.starts_with(b".")
        && name.iter().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'/' | b'\\'))
}

#[cfg(test)]
mod tests {
    use super::{BlobId, ContentId, ObjectId};

    #[test]
    fn content_ids_round_trip_and_order_as_index_keys() {
        let texts = ["00ff", "ab", "g01", "k00ff", "z00"];
        let ids: Vec<_> = texts.iter().map(|text| ContentId::parse(text).unwrap()).collect();
        assert!(ids.is_sorted());
        for (id, text) in ids.iter().zip(texts) {
            assert_eq!(id.to_string(), text);
        }
        for bad in ["", "k", "a00ff", "K00ff", "00fF", "0g00", &"0".repeat(66), &"é".repeat(3)] {
            assert_eq!(ContentId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn object_ids_peel_one_list_at_a_time() {
        let id = ObjectId::parse("IIx0123").unwrap();
        assert_eq!(id.to_string(), "IIx0123");
        assert_eq!(id.list().unwrap().to_string(), "Ix0123");
        assert_eq!(id.list().unwrap().list().unwrap().list(), None);
        assert_eq!(ObjectId::parse("D0123").unwrap().to_string(), "0123");
        assert!(ObjectId::parse("Z0123").unwrap().is_compressed());
        for bad in ["", "I", "IZ0123", "ZI0123", "DD0123", "IIIIIIIIIx0123"] {
            assert_eq!(ObjectId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn blob_names_cannot_leave_a_directory() {
        assert!(BlobId::parse("_log_20260101_a-b").is_some());
        for bad in ["", ".", "..", ".shards", "a/b", "a\\b", "a\nb", "ü", &"a".repeat(256)] {
            assert_eq!(BlobId::parse(bad), None, "{bad}");
        }
    }
}
