//! Characters in names that need not be UTF-8.
//!
//! Invariants: a byte that starts no character counts as one character, U+FFFD of width one, so
//! every name has a reading; lower-casing maps character to character, whatever the language.

use std::borrow::Cow;

/// The first character and how many bytes it takes; `None` at the end.
pub(super) fn first(bytes: &[u8]) -> Option<(char, usize)> {
    let &byte = bytes.first()?;
    if byte.is_ascii() {
        return Some((char::from(byte), 1));
    }
    let head = bytes.get(..4).unwrap_or(bytes);
    let valid = head.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next());
    Some(valid.map_or((char::REPLACEMENT_CHARACTER, 1), |char| (char, char.len_utf8())))
}

/// Whether `bytes` starts with a character and not with a stray byte.
pub(super) fn starts_well(bytes: &[u8]) -> bool {
    !matches!(first(bytes), None | Some((char::REPLACEMENT_CHARACTER, 1)))
}

/// The name in lower case; stray bytes become U+FFFD. Borrowed where nothing changes.
pub(super) fn lower(bytes: &[u8]) -> Cow<'_, [u8]> {
    if bytes.is_ascii() {
        return match bytes.iter().any(u8::is_ascii_uppercase) {
            true => Cow::Owned(bytes.to_ascii_lowercase()),
            false => Cow::Borrowed(bytes),
        };
    }
    let mut lowered = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((char, width)) = first(rest) {
        // Only U+0130 lowers to two characters; the first is its plain counterpart.
        let char = char.to_lowercase().next().unwrap_or(char);
        lowered.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
        rest = rest.get(width..).unwrap_or_default();
    }
    Cow::Owned(lowered)
}

/// Without white space at both ends.
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let Some((char, width)) = first(bytes) {
        if !char.is_whitespace() {
            break;
        }
        bytes = bytes.get(width..).unwrap_or_default();
    }
    while let Some(width) = last_space(bytes) {
        bytes = bytes.get(..bytes.len() - width).unwrap_or_default();
    }
    bytes
}

/// The width of the last character if it is white space.
fn last_space(bytes: &[u8]) -> Option<usize> {
    // No white space takes more than three bytes.
    (1..=bytes.len().min(3)).find(|width| {
        let tail = bytes.get(bytes.len() - width..).unwrap_or_default();
        str::from_utf8(tail).is_ok_and(|tail| tail.chars().all(char::is_whitespace))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stray_bytes_are_characters_of_width_one() {
        assert_eq!(first(b"\xff\x80"), Some((char::REPLACEMENT_CHARACTER, 1)));
        assert_eq!(first("é!".as_bytes()), Some(('é', 2)));
        assert_eq!(first("\u{1f600}".as_bytes()), Some(('\u{1f600}', 4)));
        assert_eq!(first(b"\xe2\x82"), Some((char::REPLACEMENT_CHARACTER, 1)));
        assert_eq!(first(b""), None);
        assert!(starts_well("\u{fffd}".as_bytes()));
        assert!(!starts_well(b"\xc3"));
    }

    #[test]
    fn lower_case_maps_character_to_character() {
        for (from, to) in [("Ab-C", "ab-c"), ("ÄÖΣΑΣ", "äöσασ"), ("İ", "i"), ("ß", "ß")]
        {
            assert_eq!(&*lower(from.as_bytes()), to.as_bytes(), "{from}");
        }
        assert_eq!(&*lower(b"A\xff\xc3"), "a\u{fffd}\u{fffd}".as_bytes());
        assert!(matches!(lower(b"plain/name"), Cow::Borrowed(_)));
    }

    #[test]
    fn trimming_knows_all_white_space_and_keeps_stray_bytes() {
        assert_eq!(trim("\u{3000}\t a b\u{a0}\r\n".as_bytes()), b"a b");
        assert_eq!(trim(b" \xa0x\xa0 "), b"\xa0x\xa0");
        assert_eq!(trim(" \u{2003}".as_bytes()), b"");
    }
}
