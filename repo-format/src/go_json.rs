//! JSON as Go's `encoding/json` writes and reads it.
//!
//! restic and kopia address metadata by the hash of its JSON, so text must be escaped the way Go
//! does it, not merely validly. Checked against Go 1.26 `encoding/json/encode.go`.
//!
//! Invariants
//! - [`push_string`] escapes `<`, `>`, `&`, U+2028 and U+2029, uses the short forms of Go 1.22 and
//!   later for the control characters that have one, and writes bytes that are not UTF-8 as
//!   `\ufffd`, one for each.
//! - Output is compact: no space between tokens.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::time::Timestamp;

pub mod read;

/// Appends `text` as a JSON string; `text` need not be UTF-8.
pub fn push_string(text: impl AsRef<[u8]>, out: &mut Vec<u8>) {
    out.push(b'"');
    push_escaped(text.as_ref(), out);
    out.push(b'"');
}

/// Appends `text` as the inside of a JSON string.
pub fn push_escaped(text: &[u8], out: &mut Vec<u8>) {
    let (plain, rest) = split_plain(text);
    out.extend_from_slice(plain);
    if rest.is_empty() {
        return;
    }
    for chunk in rest.utf8_chunks() {
        for character in chunk.valid().chars() {
            push_char(character, out);
        }
        for _ in chunk.invalid() {
            out.extend_from_slice(br"\ufffd");
        }
    }
}

/// Appends `bytes` as a string of standard base64 with padding.
pub fn push_base64(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
    out.push(b'"');
}

/// Appends `ids`' hex digits as a string.
pub fn push_hex(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend(bytes.iter().flat_map(|byte| hex_digits(*byte)));
    out.push(b'"');
}

/// Appends a number in decimal.
pub fn push_u64(mut number: u64, out: &mut Vec<u8>) {
    // Twenty digits hold any u64; filled from the end.
    let mut digits = [0; 20];
    let mut used = 0;
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + low_byte(number % 10);
        used += 1;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    let start = digits.len() - used;
    out.extend_from_slice(digits.get(start..).unwrap_or_default());
}

/// Appends a number in decimal with a sign where it needs one.
pub fn push_i64(number: i64, out: &mut Vec<u8>) {
    if number < 0 {
        out.push(b'-');
    }
    push_u64(number.unsigned_abs(), out);
}

/// Appends a time in RFC 3339 as a string.
pub fn push_timestamp(time: &Timestamp, out: &mut Vec<u8>) {
    out.push(b'"');
    time.push_rfc3339(out);
    out.push(b'"');
}

/// Appends `true` or `false`.
pub fn push_bool(value: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

/// Appends a value that is JSON already, without its white space and escaped as Go does when it
/// carries a raw message through.
pub fn push_compact(json: &[u8], out: &mut Vec<u8>) {
    let mut in_string = false;
    let mut rest = json;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match (byte, in_string) {
            (b' ' | b'\t' | b'\n' | b'\r', false) => {}
            (b'<' | b'>' | b'&', _) => push_u_escape(u32::from(*byte), out),
            (0xe2, _) => {
                if let [0x80, last @ (0xa8 | 0xa9), tail @ ..] = tail {
                    push_u_escape(0x2000 + u32::from(*last) - 0x80, out);
                    rest = tail;
                } else {
                    out.push(*byte);
                }
            }
            (b'\\', true) => {
                out.push(b'\\');
                if let [escaped, tail @ ..] = tail {
                    out.push(*escaped);
                    rest = tail;
                }
            }
            _ => {
                in_string ^= *byte == b'"';
                out.push(*byte);
            }
        }
    }
}

/// Writes the fields of one object: commas are its business, braces too.
#[derive(Debug)]
pub struct Object<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> Object<'a> {
    /// Opens the object.
    pub fn open(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    /// Writes the next key; the value goes into what it returns.
    pub fn key(&mut self, key: &str) -> &mut Vec<u8> {
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
        push_string(key, self.out);
        self.out.push(b':');
        self.out
    }

    /// A text field.
    pub fn string(&mut self, key: &str, value: impl AsRef<[u8]>) {
        push_string(value, self.key(key));
    }

    /// A text field that an empty value leaves out.
    pub fn string_unless_empty(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.string(key, value);
        }
    }

    /// A number field.
    pub fn u64(&mut self, key: &str, value: impl Into<u64>) {
        push_u64(value.into(), self.key(key));
    }

    /// A number field that zero leaves out.
    pub fn u64_unless_zero(&mut self, key: &str, value: impl Into<u64>) {
        let value = value.into();
        if value != 0 {
            self.u64(key, value);
        }
    }

    /// A time in RFC 3339.
    pub fn timestamp(&mut self, key: &str, value: &Timestamp) {
        push_timestamp(value, self.key(key));
    }

    /// A list of texts.
    pub fn strings<T: AsRef<[u8]>>(&mut self, key: &str, values: &[T]) {
        let out = self.key(key);
        out.push(b'[');
        for (at, value) in values.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            push_string(value, out);
        }
        out.push(b']');
    }

    /// Closes the object.
    pub fn close(self) {
        self.out.push(b'}');
    }
}

/// Everything up to the first byte that Go would escape or that is not ASCII.
fn split_plain(text: &[u8]) -> (&[u8], &[u8]) {
    let plain = text
        .iter()
        .position(|byte| {
            !matches!(byte, 0x20..=0x7f) || matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&')
        })
        .unwrap_or(text.len());
    text.split_at_checked(plain).unwrap_or((text, &[]))
}

fn push_char(character: char, out: &mut Vec<u8>) {
    let short = match character {
        '"' => b'"',
        '\\' => b'\\',
        '\u{8}' => b'b',
        '\u{c}' => b'f',
        '\n' => b'n',
        '\r' => b'r',
        '\t' => b't',
        '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
            return push_u_escape(u32::from(character), out);
        }
        _ => {
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

fn push_u_escape(code: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(br"\u");
    let [_, _, high, low] = code.to_be_bytes();
    out.extend(hex_digits(high));
    out.extend(hex_digits(low));
}

pub(crate) fn hex_digits(byte: u8) -> [u8; 2] {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' - 10 + nibble };
    [digit(byte >> 4), digit(byte & 15)]
}

fn low_byte(number: u64) -> u8 {
    let [byte, ..] = number.to_le_bytes();
    byte
}

#[cfg(test)]
mod tests;
