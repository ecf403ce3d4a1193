//! Names of files as lines show them.
//!
//! Invariant: what a file is called cannot move the cursor, colour the terminal or look like
//! another line.

use std::borrow::Cow;

/// The name as it is, or in quotes and with escapes where it has what cannot be shown.
pub(crate) fn quoted(name: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(name) {
        Ok(text) if text.chars().all(is_harmless) => Cow::Borrowed(text),
        Ok(text) => Cow::Owned(format!("{text:?}")),
        Err(_) => Cow::Owned(format!("\"{}\"", name.escape_ascii())),
    }
}

fn is_harmless(char: char) -> bool {
    // Marks of direction can make a line read as another one.
    !char.is_control()
        && !matches!(char, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_deceive_is_escaped() {
        for harmless in ["", "/a/b c", "ä€", "quote\"and\\"] {
            assert_eq!(quoted(harmless.as_bytes()), harmless);
        }
        assert_eq!(quoted(b"a\nb"), r#""a\nb""#);
        assert_eq!(quoted(b"\x1b[31m"), r#""\u{1b}[31m""#);
        assert_eq!(quoted("a\u{202e}b".as_bytes()), r#""a\u{202e}b""#);
        assert_eq!(quoted(b"\xff\n"), r#""\xff\n""#);
    }
}
