//! The pattern of one path component: `*`, `?`, `[a-z]`, `[^a-z]` and `\` before any of them.
//!
//! Invariants
//! - What compiles is well formed to its end, so matching cannot fail.
//! - Matching allocates nothing and takes at most |pattern| x |name| steps: a `*` never has to be
//!   tried again once the piece after it was found.
//! - `?` and classes take a character, everything else compares bytes.

use super::runes;

/// A compiled component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wildcard {
    /// The pieces between the stars, none empty.
    pieces: Vec<Piece>,
    /// Whether there is a star before the first piece.
    leading_star: bool,
    /// Whether there is a star after the last piece.
    trailing_star: bool,
}

/// What stands between two stars.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(Box<[u8]>),
    Items(Box<[Item]>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    Byte(u8),
    AnyCharacter,
    Class { negated: bool, ranges: Box<[(char, char)]> },
}

/// The pattern breaks off or has an impossible class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Wildcard {
    /// Compiles the text of one component.
    pub(super) fn parse(text: &[u8]) -> Result<Self, Malformed> {
        let mut pieces = Vec::new();
        let mut items = Vec::new();
        let mut rest = text;
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            match byte {
                b'*' => pieces.extend(Piece::new(std::mem::take(&mut items))),
                b'?' => items.push(Item::AnyCharacter),
                b'[' => {
                    let (class, after) = parse_class(after)?;
                    items.push(class);
                    rest = after;
                }
                b'\\' => {
                    let (&escaped, after) = after.split_first().ok_or(Malformed)?;
                    items.push(Item::Byte(escaped));
                    rest = after;
                }
                _ => items.push(Item::Byte(byte)),
            }
        }
        let trailing_star = items.is_empty() && text.ends_with(b"*");
        pieces.extend(Piece::new(items));
        Ok(Self { pieces, leading_star: text.starts_with(b"*"), trailing_star })
    }

    /// The name this matches if it matches one name only.
    pub(super) fn literal(&self) -> Option<&[u8]> {
        match (self.pieces.as_slice(), self.leading_star || self.trailing_star) {
            ([], false) => Some(b""),
            ([Piece::Literal(literal)], false) => Some(literal),
            _ => None,
        }
    }

    /// Whether this is nothing but stars.
    pub(super) fn matches_all(&self) -> bool {
        self.pieces.is_empty() && self.leading_star
    }

    /// Whether the whole of `name`, which has no slash, is described.
    pub(super) fn matches(&self, mut name: &[u8]) -> bool {
        let mut star = self.leading_star;
        let mut pieces = self.pieces.iter().peekable();
        while let Some(piece) = pieces.next() {
            let to_the_end = pieces.peek().is_none() && !self.trailing_star;
            let found = match (star, to_the_end) {
                (false, _) => piece.strip(name).filter(|rest| !to_the_end || rest.is_empty()),
                (true, true) => piece.ends(name).then_some(&[][..]),
                (true, false) => piece.find(name),
            };
            let Some(rest) = found else { return false };
            name = rest;
            star = true;
        }
        name.is_empty() || self.trailing_star || (self.pieces.is_empty() && self.leading_star)
    }
}

impl Piece {
    fn new(items: Vec<Item>) -> Option<Self> {
        let bytes: Option<Box<[u8]>> = items
            .iter()
            .map(|item| match item {
                Item::Byte(byte) => Some(*byte),
                Item::AnyCharacter | Item::Class { .. } => None,
            })
            .collect();
        match bytes {
            Some(bytes) if bytes.is_empty() => None,
            Some(bytes) => Some(Self::Literal(bytes)),
            None => Some(Self::Items(items.into())),
        }
    }

    /// What follows this piece at the start of `name`.
    fn strip<'a>(&self, name: &'a [u8]) -> Option<&'a [u8]> {
        match self {
            Self::Literal(literal) => name.strip_prefix(&**literal),
            Self::Items(items) => items.iter().try_fold(name, |name, item| item.strip(name)),
        }
    }

    /// What follows the first occurrence in `name`.
    fn find<'a>(&self, name: &'a [u8]) -> Option<&'a [u8]> {
        (0..=name.len()).find_map(|at| self.strip(name.get(at..)?))
    }

    /// Whether `name` ends with this piece, read from any byte on.
    fn ends(&self, name: &[u8]) -> bool {
        match self {
            Self::Literal(literal) => name.ends_with(literal),
            Self::Items(_) => (0..=name.len())
                .filter_map(|at| self.strip(name.get(at..)?))
                .any(|rest| rest.is_empty()),
        }
    }
}

impl Item {
    fn strip<'a>(&self, name: &'a [u8]) -> Option<&'a [u8]> {
        match self {
            Self::Byte(byte) => name.split_first().filter(|(first, _)| *first == byte).map(|s| s.1),
            Self::AnyCharacter => name.get(runes::first(name)?.1..),
            Self::Class { negated, ranges } => {
                let (char, width) = runes::first(name)?;
                let inside = ranges.iter().any(|(low, high)| (low..=high).contains(&&char));
                if inside == *negated { None } else { name.get(width..) }
            }
        }
    }
}

/// The class after its `[`, and what follows its `]`. A class has at least one range; `]` and `-`
/// stand for themselves only after a backslash.
fn parse_class(text: &[u8]) -> Result<(Item, &[u8]), Malformed> {
    let (negated, mut rest) = match text.strip_prefix(b"^") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut ranges = Vec::new();
    loop {
        if let Some(after) = rest.strip_prefix(b"]")
            && !ranges.is_empty()
        {
            return Ok((Item::Class { negated, ranges: ranges.into() }, after));
        }
        let (low, after) = parse_bound(rest)?;
        let (high, after) = match after.strip_prefix(b"-") {
            Some(after) => parse_bound(after)?,
            None => (low, after),
        };
        ranges.push((low, high));
        rest = after;
    }
}

fn parse_bound(text: &[u8]) -> Result<(char, &[u8]), Malformed> {
    if text.starts_with(b"-") || text.starts_with(b"]") {
        return Err(Malformed);
    }
    let text = text.strip_prefix(b"\\").unwrap_or(text);
    if !runes::starts_well(text) {
        return Err(Malformed);
    }
    let (char, width) = runes::first(text).ok_or(Malformed)?;
    let rest = text.get(width..).filter(|rest| !rest.is_empty()).ok_or(Malformed)?;
    Ok((char, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, name: &[u8]) -> Option<bool> {
        Wildcard::parse(pattern.as_bytes()).ok().map(|wildcard| wildcard.matches(name))
    }

    #[test]
    fn a_component_matches_as_a_whole() {
        let cases = [
            ("*", "", true),
            ("*", ".hidden", true),
            ("***", "a", true),
            ("a*", "a", true),
            ("a*", "ba", false),
            ("*a", "aaa", true),
            ("*.tar.*", "x.tar.gz", true),
            ("*.tar.*", "x.tar", false),
            ("a*b*c", "abbbc", true),
            ("a*b*c", "abbb", false),
            ("*ab*ab", "ab", false),
            ("*ab*ab", "abab", true),
            ("?", "é", true),
            ("??", "é", false),
            ("a?", "a", false),
            ("[a-c]x", "bx", true),
            ("[a-c]x", "dx", false),
            ("[^a-c]x", "dx", true),
            ("[^a-c]x", "x", false),
            ("[c-a]", "b", false),
            ("[[]", "[", true),
            ("[a\\]]", "]", true),
            ("[\\^a]", "^", true),
            ("[a^]", "^", true),
            ("[!a]", "!", true),
            ("[α-ω]*", "λx", true),
            ("x[0-9]*[0-9]", "x12", true),
            ("x[0-9]*[0-9]", "x1", false),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a]", "a]", true),
            ("", "", true),
            ("", "a", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(matches(pattern, name.as_bytes()), Some(expected), "{pattern} {name}");
        }
    }

    #[test]
    fn patterns_that_break_off_are_malformed() {
        for pattern in
            ["[", "[]", "[]a]", "[^]", "[^]a]", "[a", "[a-", "[a-]", "[-a]", "[a\\", "a\\", "*["]
        {
            assert_eq!(matches(pattern, b"a"), None, "{pattern}");
        }
        assert_eq!(Wildcard::parse(b"[\xff]"), Err(Malformed));
    }

    #[test]
    fn stray_bytes_match_as_bytes_and_as_one_character() {
        assert_eq!(matches("?x", b"\xffx"), Some(true));
        assert_eq!(matches("[^a]x", b"\xffx"), Some(true));
        let wildcard = Wildcard::parse(b"\xff*").unwrap();
        assert!(wildcard.matches(b"\xffx") && !wildcard.matches(b"\xfex"));
        // After a star a piece may start inside a character.
        assert_eq!(matches("*??", "日".as_bytes()), Some(true));
    }

    proptest! {
        #[test]
        fn any_pattern_and_name_get_an_answer(
            pattern in "[ab*?\\[\\]^\\\\é-]{0,10}", name in "[ab*\\[\\]é-]{0,10}"
        ) {
            if let Ok(wildcard) = Wildcard::parse(pattern.as_bytes()) {
                prop_assert_eq!(wildcard.matches(name.as_bytes()), plainly(pattern.as_bytes(), name.as_bytes()));
            }
        }

        #[test]
        fn an_escaped_name_matches_itself_only(
            name in proptest::collection::vec(any::<u8>(), 0..12), other: Vec<u8>
        ) {
            let escaped: Vec<u8> = name.iter().flat_map(|byte| [b'\\', *byte]).collect();
            let wildcard = Wildcard::parse(&escaped).unwrap();
            prop_assert_eq!(wildcard.literal(), Some(&*name));
            prop_assert!(wildcard.matches(&name));
            prop_assert_eq!(wildcard.matches(&other), other == name);
        }
    }

    /// The same by trying everything.
    fn plainly(pattern: &[u8], name: &[u8]) -> bool {
        let Some((&first, rest)) = pattern.split_first() else { return name.is_empty() };
        let (item, rest) = match first {
            b'*' => return (0..=name.len()).any(|at| plainly(rest, &name[at..])),
            b'?' => (Item::AnyCharacter, rest),
            b'[' => parse_class(rest).unwrap(),
            b'\\' => (Item::Byte(rest[0]), &rest[1..]),
            byte => (Item::Byte(byte), rest),
        };
        item.strip(name).is_some_and(|name| plainly(rest, name))
    }
}
