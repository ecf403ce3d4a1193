//! Objects made of more than one content.
//!
//! Invariants: the entries of a decoded list start at 0 and follow each other without gap, so the
//! end of the last is the size of the object.
//!
//! ```text
//! {"stream":"kopia:indirect","entries":[{"l":100,"o":"aa.."},{"s":100,"l":50,"o":"bb.."}]}
//! ```
//!
//! Checked against `repo/object/indirect.go` and `object_reader.go`.

use std::borrow::Cow;

use serde::Deserialize;

use super::compress::{CONTENT_LEN_MAX, Decompression};
use super::id::ObjectId;
use super::json;
use crate::damage::Damage;

/// Bytes of the largest list that is decoded in one piece: a file of about 1 TiB at the smallest
/// splitter, of 30 TiB at the default one.
pub const LIST_LEN_MAX: usize = 512 << 20;

/// One part of an indirect object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where the part begins in the whole.
    pub start: u64,
    /// Bytes of the part.
    pub len: u64,
    /// The object that holds them.
    pub object: ObjectId,
}

#[derive(Deserialize)]
struct Wire<'j> {
    #[serde(borrow)]
    stream: Cow<'j, str>,
    #[serde(borrow)]
    entries: Vec<WirePart<'j>>,
}

#[derive(Deserialize)]
struct WirePart<'j> {
    #[serde(default)]
    s: u64,
    #[serde(default)]
    l: u64,
    #[serde(borrow)]
    o: Cow<'j, str>,
}

/// Decodes the list of an indirect object.
pub fn decode_list(bytes: &[u8]) -> Result<Vec<Part>, Damage> {
    let what = "indirect list";
    let wire: Wire<'_> = json::read(bytes, what, LIST_LEN_MAX)?;
    if wire.stream != "kopia:indirect" || wire.entries.is_empty() {
        return Err(Damage::Invalid { what });
    }
    let mut parts = Vec::with_capacity(wire.entries.len());
    let mut end = 0_u64;
    for WirePart { s: start, l: len, o } in wire.entries {
        let object =
            ObjectId::parse(&o).ok_or(Damage::Invalid { what: "id in an indirect list" })?;
        if start != end {
            return Err(Damage::Invalid { what: "gap in an indirect list" });
        }
        end = start.checked_add(len).ok_or(Damage::Invalid { what })?;
        parts.push(Part { start, len, object });
    }
    Ok(parts)
}

/// Decompresses the content of an object whose id says `Z`, as format version 1 wrote them.
pub fn open_compressed(
    content: &[u8],
    decompression: &mut Decompression,
    raw: &mut Vec<u8>,
) -> Result<(), Damage> {
    decompression.run_by_header(content, CONTENT_LEN_MAX, raw)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::decode_list;
    use crate::damage::Damage;

    const LIST: &str =
        r#"{"stream":"kopia:indirect","entries":[{"l":100,"o":"aa"},{"s":100,"l":50,"o":"Ixbb"}]}"#;

    #[test]
    fn parts_follow_each_other_from_zero() {
        let parts = decode_list(LIST.as_bytes()).unwrap();
        assert_eq!(parts.len(), 2);
        assert_eq!((parts[0].start, parts[0].len), (0, 100));
        assert_eq!((parts[1].start, parts[1].len), (100, 50));
        assert_eq!(parts[1].object.to_string(), "Ixbb");
    }

    #[test]
    fn gaps_overlaps_and_nothing_at_all_are_damage() {
        let gap = Damage::Invalid { what: "gap in an indirect list" };
        for start in ["99", "101"] {
            let text = LIST.replace("\"s\":100", &format!("\"s\":{start}"));
            assert_eq!(decode_list(text.as_bytes()), Err(gap));
        }
        for (from, to) in [
            ("\"l\":50", "\"l\":18446744073709551615"),
            ("\"l\":50", "\"l\":-1"),
            ("Ixbb", "IZbb"),
            ("kopia:indirect", "kopia:directory"),
        ] {
            assert!(decode_list(LIST.replace(from, to).as_bytes()).is_err(), "{to}");
        }
        assert!(decode_list(br#"{"stream":"kopia:indirect","entries":[]}"#).is_err());
    }

    proptest! {
        #[test]
        fn altered_lists_never_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut text = LIST.as_bytes().to_vec();
            let at = at.index(text.len());
            prop_assert!(decode_list(&text[..at]).is_err());
            text[at] = byte;
            drop(decode_list(&text));
        }
    }
}
