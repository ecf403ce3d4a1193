//! File names as restic writes them: a Go string literal without its quotes, inside a JSON string.
//!
//! Checked against `internal/data/node.go` and Go 1.26 `strconv/quote.go`.
//!
//! Invariants
//! - Any bytes survive [`quote`] and [`unquote`].
//! - What Go would not print is escaped by the table in [`printable`], of one Unicode version.

use crate::{damage::Damage, go_json::hex_digits};

pub mod printable;

/// Appends `name` quoted by Go's rules, without the outer quotes.
pub fn quote(name: &[u8], out: &mut Vec<u8>) {
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            quote_char(character, out);
        }
        for byte in chunk.invalid() {
            push_hex_escape(*byte, out);
        }
    }
}

/// Whether [`quote`] and JSON would both leave `name` as it is.
#[must_use]
pub fn is_plain(name: &[u8]) -> bool {
    let plain = |byte: &u8| {
        matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&')
    };
    name.iter().all(plain)
}

/// Appends the bytes that were quoted.
pub fn unquote(quoted: &str, out: &mut Vec<u8>) -> Result<(), Damage> {
    let wrong = Damage::Invalid { what: "quoted name" };
    let mut rest = quoted.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match byte {
            b'"' | b'\n' => return Err(wrong),
            b'\\' => rest = unquote_escape(tail, out).ok_or(wrong)?,
            _ => out.push(*byte),
        }
    }
    Ok(())
}

/// Whether a name from a tree may become a file: not empty, no separator or NUL, not `.` or `..`.
///
/// A tree is only as trustworthy as who wrote it; everything that turns names into paths asks.
#[must_use]
pub fn is_safe(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.iter().any(|byte| matches!(byte, b'/' | 0))
}

fn quote_char(character: char, out: &mut Vec<u8>) {
    let short = match character {
        '"' => b'"',
        '\\' => b'\\',
        '\u{7}' => b'a',
        '\u{8}' => b'b',
        '\u{c}' => b'f',
        '\n' => b'n',
        '\r' => b'r',
        '\t' => b't',
        '\u{b}' => b'v',
        _ if printable::is_printable(character) => {
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            return;
        }
        _ => return push_code_escape(character, out),
    };
    out.extend_from_slice(&[b'\\', short]);
}

fn push_code_escape(character: char, out: &mut Vec<u8>) {
    let bytes = u32::from(character).to_be_bytes();
    match bytes {
        [0, 0, 0, byte @ (..0x20 | 0x7f)] => push_hex_escape(byte, out),
        [0, 0, high, low] => {
            out.extend_from_slice(br"\u");
            out.extend([high, low].into_iter().flat_map(hex_digits));
        }
        _ => {
            out.extend_from_slice(br"\U");
            out.extend(bytes.into_iter().flat_map(hex_digits));
        }
    }
}

fn push_hex_escape(byte: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(br"\x");
    out.extend(hex_digits(byte));
}

/// Resolves what follows a backslash and returns what follows that.
fn unquote_escape<'a>(escape: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (kind, rest) = escape.split_first()?;
    let byte = match kind {
        b'"' | b'\\' => *kind,
        b'a' => 7,
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 11,
        b'x' => {
            let (code, rest) = number::<2>(rest, 16)?;
            out.push(u8::try_from(code).ok()?);
            return Some(rest);
        }
        b'0'..=b'7' => {
            let (code, rest) = number::<3>(escape, 8)?;
            out.push(u8::try_from(code).ok()?);
            return Some(rest);
        }
        b'u' => return push_code(number::<4>(rest, 16)?, out),
        b'U' => return push_code(number::<8>(rest, 16)?, out),
        _ => return None,
    };
    out.push(byte);
    Some(rest)
}

fn push_code<'a>((code, rest): (u32, &'a [u8]), out: &mut Vec<u8>) -> Option<&'a [u8]> {
    let character = char::from_u32(code)?;
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    Some(rest)
}

fn number<const N: usize>(digits: &[u8], radix: u32) -> Option<(u32, &[u8])> {
    let (digits, rest) = digits.split_first_chunk::<N>()?;
    let code = digits.iter().try_fold(0_u32, |code, digit| {
        code.checked_mul(radix)?.checked_add(char::from(*digit).to_digit(radix)?)
    })?;
    Some((code, rest))
}
