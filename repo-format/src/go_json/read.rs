//! Reading JSON front to back, keeping raw text where it is wanted.
//!
//! Invariants
//! - Accepts what Go's `encoding/json` accepts for the same field: `null` leaves a field alone,
//!   numbers of integer fields have neither fraction nor exponent, bytes that are not UTF-8 and
//!   surrogates without a partner read as U+FFFD, the last of two equal keys wins.
//! - Nesting is limited by [`MAX_DEPTH`]; nothing else grows with the input but the values asked for.
//!
//! Not here: matching keys regardless of case, which Go does and no writer relies on.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{cursor::count, damage::Damage, id, time::Timestamp};

/// Objects and lists within each other that a skipped value may have.
pub const MAX_DEPTH: u32 = 128;

/// A position in JSON text.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    what: &'static str,
    length: usize,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the front of `json`; `what` names it in a [`Damage`].
    #[must_use]
    pub const fn new(what: &'static str, json: &'a [u8]) -> Self {
        Self { what, length: json.len(), rest: json }
    }

    /// The damage of finding something else than expected here.
    #[must_use]
    pub fn unexpected(&self) -> Damage {
        Damage::Json { what: self.what, at: count(self.length - self.rest.len()) }
    }

    /// The next byte that is not white space, without taking it.
    pub fn peek(&mut self) -> Option<u8> {
        loop {
            match self.rest {
                [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] => self.rest = rest,
                [byte, ..] => return Some(*byte),
                [] => return None,
            }
        }
    }

    /// Takes `literal` if it is exactly what follows here, white space included.
    #[inline]
    pub fn literal<const N: usize>(&mut self, literal: &[u8; N]) -> bool {
        let taken = match self.rest.split_first_chunk::<N>() {
            Some((head, rest)) if head == literal => rest,
            _ => return false,
        };
        self.rest = taken;
        true
    }

    /// Refuses anything but white space.
    pub fn finish(mut self) -> Result<(), Damage> {
        if self.peek().is_none() { Ok(()) } else { Err(Damage::Trailing { what: self.what }) }
    }

    /// Takes `null` if it is there.
    #[inline]
    pub fn null(&mut self) -> bool {
        self.peek() == Some(b'n') && self.literal(b"null")
    }

    /// As [`Self::literal`], of a length not known beforehand.
    #[inline]
    pub fn literal_slice(&mut self, literal: &[u8]) -> bool {
        let Some(rest) = self.rest.strip_prefix(literal) else { return false };
        self.rest = rest;
        true
    }

    /// An object: `field` is called at each value and must take it.
    pub fn object(
        &mut self,
        mut field: impl FnMut(&mut Self, &str) -> Result<(), Damage>,
    ) -> Result<(), Damage> {
        self.object_with(|reader| {
            let key = reader.key()?;
            field(reader, &key)
        })
    }

    /// An object: `pair` is called at each key and must take key, colon and value.
    #[inline]
    pub fn object_with(
        &mut self,
        mut pair: impl FnMut(&mut Self) -> Result<(), Damage>,
    ) -> Result<(), Damage> {
        self.byte(b'{')?;
        if self.try_byte(b'}') {
            return Ok(());
        }
        loop {
            pair(self)?;
            if !self.try_byte(b',') {
                return self.byte(b'}');
            }
        }
    }

    /// A key and its colon.
    #[inline]
    pub fn key(&mut self) -> Result<Cow<'a, str>, Damage> {
        let key = self.string()?;
        self.byte(b':')?;
        Ok(key)
    }

    /// A list: `item` is called at each value and must take it.
    pub fn array(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<(), Damage>,
    ) -> Result<(), Damage> {
        self.byte(b'[')?;
        if self.try_byte(b']') {
            return Ok(());
        }
        loop {
            item(self)?;
            if !self.try_byte(b',') {
                return self.byte(b']');
            }
        }
    }

    /// A string with its escapes resolved.
    pub fn string(&mut self) -> Result<Cow<'a, str>, Damage> {
        let here = self.clone();
        let (raw, escaped) = self.raw_string()?;
        if escaped {
            return unescape(raw).map(Cow::Owned).ok_or_else(|| here.unexpected());
        }
        Ok(match str::from_utf8(raw) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => Cow::Owned(replace_invalid(raw)),
        })
    }

    /// The inside of a string as it is written, and whether there is a backslash in it.
    #[inline]
    pub fn raw_string(&mut self) -> Result<(&'a [u8], bool), Damage> {
        self.byte(b'"')?;
        let inside = self.rest;
        let mut escaped = false;
        loop {
            let plain = plain_len(self.rest);
            self.rest = self.rest.get(plain..).unwrap_or_default();
            match self.rest {
                [b'"', rest @ ..] => {
                    let length = inside.len() - self.rest.len();
                    self.rest = rest;
                    return Ok((inside.get(..length).unwrap_or_default(), escaped));
                }
                [b'\\', _, rest @ ..] => {
                    escaped = true;
                    self.rest = rest;
                }
                _ => return Err(self.unexpected()),
            }
        }
    }

    /// A string, or the empty one for `null`.
    pub fn text(&mut self) -> Result<String, Damage> {
        if self.null() { Ok(String::new()) } else { self.string().map(Cow::into_owned) }
    }

    /// A list of strings, or the empty one for `null`.
    pub fn texts(&mut self, max: usize) -> Result<Vec<String>, Damage> {
        let mut texts = Vec::new();
        if self.null() {
            return Ok(texts);
        }
        let what = self.what;
        self.array(|reader| {
            if texts.len() == max {
                return Err(Damage::OverLimit { what, max: count(max) });
            }
            texts.push(reader.text()?);
            Ok(())
        })?;
        Ok(texts)
    }

    /// `true`, `false`, or false for `null`.
    pub fn bool(&mut self) -> Result<bool, Damage> {
        match self.peek() {
            Some(b't') if self.literal(b"true") => Ok(true),
            Some(b'f') if self.literal(b"false") => Ok(false),
            Some(b'n') if self.literal(b"null") => Ok(false),
            _ => Err(self.unexpected()),
        }
    }

    /// A number without sign, fraction or exponent; zero for `null`.
    #[inline]
    pub fn u64(&mut self) -> Result<u64, Damage> {
        let first = self.peek();
        let mut number = match (first, self.rest) {
            (Some(digit @ b'0'..=b'9'), [_, rest @ ..]) => {
                self.rest = rest;
                u64::from(digit - b'0')
            }
            _ if self.null() => return Ok(0),
            _ => return Err(self.unexpected()),
        };
        while let [digit @ b'0'..=b'9', rest @ ..] = self.rest {
            let next = number.checked_mul(10).and_then(|n| n.checked_add(u64::from(digit - b'0')));
            number = match next {
                Some(next) if first != Some(b'0') => next,
                _ => return Err(self.unexpected()),
            };
            self.rest = rest;
        }
        match self.rest {
            [b'.' | b'e' | b'E', ..] => Err(self.unexpected()),
            _ => Ok(number),
        }
    }

    /// As [`Self::u64`], at most `u32::MAX`.
    #[inline]
    pub fn u32(&mut self) -> Result<u32, Damage> {
        let number = self.u64()?;
        u32::try_from(number).map_err(|_| self.unexpected())
    }

    /// As [`Self::u64`], with an optional minus sign.
    pub fn i64(&mut self) -> Result<i64, Damage> {
        let negative = self.try_byte(b'-');
        let number = self.u64()?;
        let signed =
            if negative { 0_i64.checked_sub_unsigned(number) } else { number.try_into().ok() };
        signed.ok_or_else(|| self.unexpected())
    }

    /// Lowercase hex of exactly `N` bytes.
    #[inline]
    pub fn hex<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let here = self.clone();
        let (raw, _) = self.raw_string()?;
        let mut bytes = [0; N];
        id::from_hex(raw, &mut bytes).ok_or_else(|| here.unexpected())?;
        Ok(bytes)
    }

    /// As [`Self::hex`]; `None` for `null`.
    pub fn optional_hex<const N: usize>(&mut self) -> Result<Option<[u8; N]>, Damage> {
        if self.null() { Ok(None) } else { self.hex().map(Some) }
    }

    /// A time in RFC 3339; [`Timestamp::ZERO`] for `null`.
    #[inline]
    pub fn timestamp(&mut self) -> Result<Timestamp, Damage> {
        if self.null() {
            return Ok(Timestamp::ZERO);
        }
        let here = self.clone();
        let (raw, _) = self.raw_string()?;
        Timestamp::parse_rfc3339(raw).ok_or_else(|| here.unexpected())
    }

    /// Standard base64 with padding; `None` for `null`.
    pub fn base64(&mut self) -> Result<Option<Vec<u8>>, Damage> {
        if self.null() {
            return Ok(None);
        }
        let here = self.clone();
        let text = self.string()?;
        // Go's decoder skips line ends within base64.
        let decoded = if text.contains(['\r', '\n']) {
            STANDARD.decode(text.replace(['\r', '\n'], ""))
        } else {
            STANDARD.decode(text.as_bytes())
        };
        decoded.map(Some).map_err(|_| here.unexpected())
    }

    /// Any value, as it is written.
    pub fn raw_value(&mut self) -> Result<&'a [u8], Damage> {
        self.peek();
        let from = self.rest;
        self.skip_value()?;
        let length = from.len() - self.rest.len();
        Ok(from.get(..length).unwrap_or_default())
    }

    /// Any value, as Go writes it when it carries it through: see [`super::push_compact`].
    pub fn compact_value(&mut self) -> Result<String, Damage> {
        let raw = String::from_utf8_lossy(self.raw_value()?);
        let mut compact = Vec::with_capacity(raw.len());
        super::push_compact(raw.as_bytes(), &mut compact);
        Ok(String::from_utf8_lossy(&compact).into_owned())
    }

    /// Passes over any value.
    pub fn skip_value(&mut self) -> Result<(), Damage> {
        self.skip_nested(0)
    }

    fn skip_nested(&mut self, depth: u32) -> Result<(), Damage> {
        if depth == MAX_DEPTH {
            return Err(Damage::OverLimit { what: self.what, max: u64::from(MAX_DEPTH) });
        }
        match self.peek() {
            Some(b'{') => self.object(|reader, _| reader.skip_nested(depth + 1)),
            Some(b'[') => self.array(|reader| reader.skip_nested(depth + 1)),
            Some(b'"') => {
                let here = self.clone();
                match self.raw_string()? {
                    (raw, true) => unescape(raw).map(drop).ok_or_else(|| here.unexpected()),
                    (_, false) => Ok(()),
                }
            }
            Some(b'-' | b'0'..=b'9') => self.skip_number(),
            _ if self.null() || self.literal(b"true") || self.literal(b"false") => Ok(()),
            _ => Err(self.unexpected()),
        }
    }

    fn skip_number(&mut self) -> Result<(), Damage> {
        self.try_byte(b'-');
        match self.rest {
            [b'0', rest @ ..] => self.rest = rest,
            _ => self.skip_digits()?,
        }
        if let [b'.', rest @ ..] = self.rest {
            self.rest = rest;
            self.skip_digits()?;
        }
        if let [b'e' | b'E', b'+' | b'-', rest @ ..] | [b'e' | b'E', rest @ ..] = self.rest {
            self.rest = rest;
            self.skip_digits()?;
        }
        Ok(())
    }

    fn skip_digits(&mut self) -> Result<(), Damage> {
        let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return Err(self.unexpected());
        }
        self.rest = self.rest.get(digits..).unwrap_or_default();
        Ok(())
    }

    #[inline]
    fn byte(&mut self, wanted: u8) -> Result<(), Damage> {
        if self.try_byte(wanted) { Ok(()) } else { Err(self.unexpected()) }
    }

    #[inline]
    fn try_byte(&mut self, wanted: u8) -> bool {
        if self.peek() != Some(wanted) {
            return false;
        }
        self.rest = self.rest.get(1..).unwrap_or_default();
        true
    }
}

/// How many bytes lie before the first quote, backslash or control character.
#[inline]
fn plain_len(text: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    // The high bit of each zero byte; a borrow can only reach above a byte that is one.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word;
    let (words, tail) = text.as_chunks::<8>();
    let mut passed = 0;
    for word in words {
        let word = u64::from_le_bytes(*word);
        let found = zeros(word ^ (ONES * 0x22))
            | zeros(word ^ (ONES * 0x5c))
            | (word.wrapping_sub(ONES * 0x20) & !word);
        let found = found & HIGHS;
        if found != 0 {
            let byte = found.trailing_zeros() / 8;
            return passed + usize::try_from(byte).unwrap_or_default();
        }
        passed += 8;
    }
    let stops = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    passed + tail.iter().position(stops).unwrap_or(tail.len())
}

/// Resolves the escapes inside a string; `None` if one is not JSON's.
fn unescape(raw: &[u8]) -> Option<String> {
    let mut text = Vec::with_capacity(raw.len());
    let mut rest = raw;
    loop {
        let plain = rest.iter().position(|byte| *byte == b'\\').unwrap_or(rest.len());
        let (before, escape) = rest.split_at_checked(plain)?;
        text.extend_from_slice(before);
        let [_, kind, tail @ ..] = escape else { break };
        rest = tail;
        let simple = match kind {
            b'"' | b'\\' | b'/' => *kind,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let (character, tail) = unicode_escape(rest)?;
                text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                rest = tail;
                continue;
            }
            _ => return None,
        };
        text.push(simple);
    }
    Some(String::from_utf8(text).unwrap_or_else(|wrong| replace_invalid(wrong.as_bytes())))
}

/// The character of `\u` and these four digits, or of a pair of them.
fn unicode_escape(digits: &[u8]) -> Option<(char, &[u8])> {
    let (first, rest) = hex_quad(digits)?;
    if let Some(character) = char::from_u32(first) {
        return Some((character, rest));
    }
    // A surrogate: with its partner one character, alone U+FFFD and what follows stays.
    let pair = rest.strip_prefix(br"\u").and_then(hex_quad);
    match pair {
        Some((second @ 0xdc00..=0xdfff, rest)) if first < 0xdc00 => {
            let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            char::from_u32(code).map(|character| (character, rest))
        }
        _ => Some((char::REPLACEMENT_CHARACTER, rest)),
    }
}

fn hex_quad(digits: &[u8]) -> Option<(u32, &[u8])> {
    let (quad, rest) = digits.split_first_chunk::<4>()?;
    let code = quad
        .iter()
        .try_fold(0, |code, digit| Some(code << 4 | char::from(*digit).to_digit(16)?))?;
    Some((code, rest))
}

/// Text with U+FFFD for each byte that is not UTF-8, as Go decodes it.
fn replace_invalid(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    text
}
