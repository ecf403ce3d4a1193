//! Files that list patterns or paths.
//!
//! Invariants: pure functions of the bytes and of the look-up that is passed in; names need not
//! be UTF-8.
//!
//! Not here: reading the files, and the file system ([`super::glob`]).

use std::borrow::Cow;

use super::{FilterError, runes};

/// The text of a file without its byte order mark, converted if that says UTF-16.
pub fn decode_text(data: &[u8]) -> Cow<'_, [u8]> {
    const UTF8: &[u8] = b"\xef\xbb\xbf";
    if let Some(text) = data.strip_prefix(UTF8) {
        Cow::Borrowed(text)
    } else if let Some(units) = data.strip_prefix(b"\xfe\xff") {
        Cow::Owned(from_utf16(units, u16::from_be_bytes))
    } else if let Some(units) = data.strip_prefix(b"\xff\xfe") {
        Cow::Owned(from_utf16(units, u16::from_le_bytes))
    } else {
        Cow::Borrowed(data)
    }
}

/// The patterns of an exclude or include file: one per line, white space around it does not
/// count, `#` starts a comment line. `$NAME` and `${NAME}` are what `look_up` says, or nothing;
/// `$$` is a dollar sign.
pub fn parse_patterns(
    data: &[u8],
    mut look_up: impl FnMut(&[u8]) -> Option<Vec<u8>>,
) -> Vec<Vec<u8>> {
    parse_path_globs(data).iter().map(|line| expand(line, &mut look_up)).collect()
}

/// The lines of a list of paths with wildcards: trimmed, without empty ones and comments.
pub fn parse_path_globs(data: &[u8]) -> Vec<Vec<u8>> {
    let text = decode_text(data);
    let lines = lines(&text).map(runes::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with(b"#")).map(<[u8]>::to_vec).collect()
}

/// The lines of a list of paths that are taken as they are, without empty ones.
pub fn parse_paths_verbatim(data: &[u8]) -> Vec<Vec<u8>> {
    let text = decode_text(data);
    lines(&text).filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect()
}

/// A list of paths each of which ends with a zero byte.
pub fn parse_paths_raw(data: &[u8]) -> Result<Vec<Vec<u8>>, FilterError> {
    if data.is_empty() {
        return Ok(Vec::new());
    }
    let data = data.strip_suffix(b"\0").ok_or(FilterError::RawListUnterminated)?;
    let paths: Vec<Vec<u8>> = data.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
    // An empty path would become the current directory further on.
    if paths.iter().any(Vec::is_empty) { Err(FilterError::RawListEmptyPath) } else { Ok(paths) }
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

fn from_utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Vec<u8> {
    let (pairs, odd) = bytes.as_chunks();
    let mut text: String = char::decode_utf16(pairs.iter().copied().map(unit))
        .map(|char| char.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect();
    if !odd.is_empty() {
        text.push(char::REPLACEMENT_CHARACTER);
    }
    text.into_bytes()
}

/// Replaces variables. A dollar sign that starts no name stays; one that starts a broken one
/// goes, together with its braces.
fn expand(line: &[u8], look_up: &mut impl FnMut(&[u8]) -> Option<Vec<u8>>) -> Vec<u8> {
    let mut expanded = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'$' || after.is_empty() {
            expanded.push(byte);
            continue;
        }
        let (name, width) = variable_name(after);
        rest = after.get(width..).unwrap_or_default();
        match name {
            b"$" => expanded.push(b'$'),
            b"" if width == 0 => expanded.push(b'$'),
            b"" => {}
            name => expanded.extend(look_up(name).unwrap_or_default()),
        }
    }
    expanded
}

/// The name at the start of what follows a dollar sign, and how many bytes it takes with braces.
fn variable_name(text: &[u8]) -> (&[u8], usize) {
    let is_special = |byte: &u8| b"*#$@!?-0123456789".contains(byte);
    match text {
        [b'{', special, b'}', ..] if is_special(special) => (std::slice::from_ref(special), 3),
        [b'{', inner @ ..] => match inner.iter().position(|byte| *byte == b'}') {
            Some(length) => (inner.get(..length).unwrap_or_default(), length + 2),
            None => (b"", 1),
        },
        [special, ..] if is_special(special) => (std::slice::from_ref(special), 1),
        _ => {
            let in_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
            let length = text.iter().position(|byte| !in_name(byte)).unwrap_or(text.len());
            (text.get(..length).unwrap_or_default(), length)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn look_up(name: &[u8]) -> Option<Vec<u8>> {
        match name {
            b"HOME" => Some(b"/home/u".to_vec()),
            b"_A1" => Some(b"$HOME".to_vec()),
            b"odd name" => Some(b"odd".to_vec()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_replaced_once() {
        let cases = [
            ("$HOME/x", "/home/u/x"),
            ("${HOME}x", "/home/ux"),
            ("$HOMEx/y", "/y"),
            ("$_A1", "$HOME"),
            ("${odd name}", "odd"),
            ("$$HOME", "$HOME"),
            ("${$}HOME", "$HOME"),
            ("a$", "a$"),
            ("a$/b", "a$/b"),
            ("$12", "2"),
            ("*.$*", "*."),
            ("${}a", "a"),
            ("${HOME", "HOME"),
            ("é$HOMEé", "é/home/ué"),
        ];
        for (line, expected) in cases {
            let found = parse_patterns(line.as_bytes(), look_up);
            assert_eq!(found, [expected.as_bytes()], "{line}");
        }
    }

    #[test]
    fn pattern_files_have_comments_and_blank_lines() {
        let data = b"\xef\xbb\xbf# comment\r\n\r\n  a b \t\n!c\n\t#d\ne#f\r\n\xff\n$UNSET\nlast";
        let expected: [&[u8]; 6] = [b"a b", b"!c", b"e#f", b"\xff", b"", b"last"];
        assert_eq!(parse_patterns(data, look_up), expected);
        assert_eq!(parse_path_globs(data).get(4).unwrap(), b"$UNSET");
    }

    #[test]
    fn verbatim_lists_keep_white_space_and_hashes() {
        let data = b" a \r\n\n#b\n*\n";
        let expected: [&[u8]; 3] = [b" a ", b"#b", b"*"];
        assert_eq!(parse_paths_verbatim(data), expected);
    }

    #[test]
    fn raw_lists_end_every_path_with_zero() {
        let expected: [&[u8]; 2] = [b"a\nb", b" \xff"];
        assert_eq!(parse_paths_raw(b"a\nb\0 \xff\0").unwrap(), expected);
        assert!(parse_paths_raw(b"").unwrap().is_empty());
        assert!(matches!(parse_paths_raw(b"a\0b"), Err(FilterError::RawListUnterminated)));
        for data in [b"\0".as_slice(), b"a\0\0", b"\0a\0"] {
            assert!(matches!(parse_paths_raw(data), Err(FilterError::RawListEmptyPath)));
        }
    }

    #[test]
    fn utf_16_files_are_read() {
        for (mark, unit) in [
            ([0xfe, 0xff], u16::to_be_bytes as fn(u16) -> [u8; 2]),
            ([0xff, 0xfe], u16::to_le_bytes),
        ] {
            let mut data = mark.to_vec();
            data.extend("ä*\n😀\n".encode_utf16().flat_map(unit));
            data.push(0);
            let expected = ["ä*".as_bytes(), "😀".as_bytes(), "\u{fffd}".as_bytes()];
            assert_eq!(parse_paths_verbatim(&data), expected);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(data: Vec<u8>, line in "[${}A-B_*1 ]{0,20}") {
            let _: usize = parse_patterns(&data, |_| None).len();
            let _: usize = parse_paths_verbatim(&data).len();
            let _: bool = parse_paths_raw(&data).is_ok();
            let _: usize = parse_patterns(line.as_bytes(), look_up).len();
        }
    }
}
