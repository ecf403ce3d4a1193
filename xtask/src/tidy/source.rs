//! A Rust file seen three ways: its code, its code without string contents, its comments.
//!
//! Invariants: every view has the same bytes at the same places, with what does not belong to it
//! blanked by spaces, so an offset or a line number means the same in all of them.
//!
//! Not here: a parser. Rules look for words, and for that a scanner which knows where comments
//! and literals end is enough.

/// A Rust source file.
pub(super) struct Source {
    /// Path from the root of the workspace, with `/`.
    pub(super) path: String,
    /// The file as it is.
    pub(super) text: String,
    /// Comments blanked.
    pub(super) code: String,
    /// Comments and the contents of literals blanked.
    pub(super) bare: String,
    /// Everything but comments blanked.
    pub(super) comments: String,
    /// Per line: whether it belongs to an item that exists in tests only.
    in_test: Vec<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Code,
    Literal,
    Comment,
}

impl Source {
    pub(super) fn parse(path: &str, text: &str) -> Self {
        let classes = classify(text.as_bytes());
        let view = |keep: &dyn Fn(Class) -> bool| -> String {
            let kept = text
                .bytes()
                .zip(&classes)
                .map(|(byte, &class)| if byte == b'\n' || keep(class) { byte } else { b' ' });
            // Classes change only at ASCII bytes, so no character is cut in half.
            String::from_utf8_lossy(&kept.collect::<Vec<u8>>()).into_owned()
        };
        let bare = view(&|class| class == Class::Code);
        let in_test = test_lines(path, &bare);
        Self {
            path: path.to_string(),
            text: text.to_string(),
            code: view(&|class| class != Class::Comment),
            comments: view(&|class| class == Class::Comment),
            bare,
            in_test,
        }
    }

    /// Whether line `number` (from 1) exists in tests only.
    pub(super) fn is_test(&self, number: usize) -> bool {
        self.in_test.get(number - 1).copied().unwrap_or(false)
    }

    /// How many lines are built into what users run.
    pub(super) fn production_lines(&self) -> usize {
        self.in_test.iter().filter(|test| !**test).count()
    }

    /// The lines of `view` that are not test code, with their numbers from 1.
    pub(super) fn production<'a>(
        &'a self,
        view: &'a str,
    ) -> impl Iterator<Item = (usize, &'a str)> {
        view.lines()
            .enumerate()
            .map(|(at, line)| (at + 1, line))
            .filter(|(at, _)| !self.is_test(*at))
    }
}

/// Whether `word` stands in `line` by itself and not as part of a longer identifier.
pub(super) fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(is_identifier) && !after.is_some_and(is_identifier)
    })
}

fn is_identifier(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn classify(text: &[u8]) -> Vec<Class> {
    let mut classes = vec![Class::Code; text.len()];
    let mut at = 0;
    while at < text.len() {
        let (class, len) = piece(text, at);
        classes[at..at + len].fill(class);
        // Quotes stay visible as code, so that "bare" shows where a literal was.
        if class == Class::Literal {
            classes[at] = Class::Code;
            classes[at + len - 1] = Class::Code;
        }
        at += len;
    }
    classes
}

/// Class and length (at least 1) of the piece of source that starts at `at`.
fn piece(text: &[u8], at: usize) -> (Class, usize) {
    let rest = &text[at..];
    let starts_identifier = at == 0 || !is_identifier(char::from(text[at - 1]));
    if rest.starts_with(b"//") {
        let len = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
        return (Class::Comment, len);
    }
    if rest.starts_with(b"/*") {
        return (Class::Comment, block_comment(rest));
    }
    if rest[0] == b'"' {
        return (Class::Literal, quoted(rest, b'"'));
    }
    if rest[0] == b'\'' {
        return char_literal(rest).map_or((Class::Code, 1), |len| (Class::Literal, len));
    }
    if starts_identifier && let Some(len) = raw_string(rest) {
        return (Class::Literal, len);
    }
    (Class::Code, 1)
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length of a character literal; a lifetime is none.
fn char_literal(rest: &[u8]) -> Option<usize> {
    if rest.get(1) == Some(&b'\\') {
        return Some(quoted(rest, b'\''));
    }
    let text = std::str::from_utf8(rest.get(1..rest.len().min(6))?);
    let character = match text {
        Ok(text) => text.chars().next()?,
        Err(error) => {
            std::str::from_utf8(&rest[1..1 + error.valid_up_to()]).ok()?.chars().next()?
        }
    };
    let end = 1 + character.len_utf8();
    (rest.get(end) == Some(&b'\'')).then_some(end + 1)
}

/// The length of a raw string with its prefix: `r"…"`, `br#"…"#`, `cr"…"`.
fn raw_string(rest: &[u8]) -> Option<usize> {
    let prefix = [&b"br"[..], b"cr", b"r"].into_iter().find(|prefix| rest.starts_with(prefix))?;
    let hashes = rest[prefix.len()..].iter().take_while(|&&byte| byte == b'#').count();
    let open = prefix.len() + hashes;
    if rest.get(open) != Some(&b'"') {
        return None;
    }
    let close: Vec<u8> = [b"\"".to_vec(), vec![b'#'; hashes]].concat();
    let body = &rest[open + 1..];
    let end = body.windows(close.len()).position(|window| window == close);
    Some(end.map_or(rest.len(), |end| open + 1 + end + close.len()))
}

/// Marks the lines of items under `#[cfg(test)]`, or all lines of a file of tests.
fn test_lines(path: &str, bare: &str) -> Vec<bool> {
    let mut marks = vec![is_test_path(path); bare.lines().count()];
    for attribute in ["#[cfg(test)]", "#[cfg(all(test"] {
        for (start, _) in bare.match_indices(attribute) {
            let end = start + item_len(&bare[start..]);
            let first = bare[..start].matches('\n').count();
            let last = bare[..end].matches('\n').count();
            for mark in marks.iter_mut().take(last + 1).skip(first) {
                *mark = true;
            }
        }
    }
    marks
}

fn is_test_path(path: &str) -> bool {
    path.ends_with("/tests.rs")
        || path.split('/').any(|part| matches!(part, "tests" | "testkit" | "benches" | "fuzz"))
}

/// The length of the item that starts at the beginning of `bare`, attributes included.
fn item_len(bare: &str) -> usize {
    let mut depth = 0_usize;
    let mut brackets = 0_usize;
    for (at, byte) in bare.bytes().enumerate() {
        match byte {
            b'[' | b'(' => brackets += 1,
            b']' | b')' => brackets = brackets.saturating_sub(1),
            b'{' => depth += 1,
            b'}' if depth <= 1 => return at + 1,
            b'}' => depth -= 1,
            b';' if depth == 0 && brackets == 0 => return at + 1,
            _ => {}
        }
    }
    bare.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_views(text: &str, code: &str, bare: &str) {
        let source = Source::parse("engine/src/a.rs", text);
        let squeeze = |view: &str| view.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(squeeze(&source.code), code);
        assert_eq!(squeeze(&source.bare), bare);
        assert_eq!(source.code.len(), text.len());
    }

    #[test]
    fn comments_are_no_code_and_nest() {
        check_views("a // x\nb /* c /* d */ e */ f", "a b f", "a b f");
    }

    #[test]
    fn strings_hide_comment_marks_and_escaped_quotes() {
        check_views(r#"f("// \" x"); g"#, r#"f("// \" x"); g"#, r#"f(" "); g"#);
    }

    #[test]
    fn raw_strings_end_at_their_own_hashes() {
        check_views(r##"a r#"x " y"# b"##, r##"a r#"x " y"# b"##, "a r # b");
        check_views("for r in r_x", "for r in r_x", "for r in r_x");
    }

    #[test]
    fn lifetimes_are_no_character_literals() {
        check_views(
            "f<'a>('\"', 'é', '\\'') // z",
            "f<'a>('\"', 'é', '\\'')",
            "f<'a>(' ', ' ', ' ')",
        );
    }

    #[test]
    fn only_comments_remain_in_the_comment_view() {
        let source = Source::parse("a.rs", "let x = \"// no\"; // yes");
        assert_eq!(source.comments.trim(), "// yes");
    }

    #[test]
    fn test_modules_are_no_production_code() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n  fn b() { c() }\n}\nfn d() {}\n";
        let source = Source::parse("engine/src/a.rs", text);
        let tests: Vec<bool> = (1..=6).map(|line| source.is_test(line)).collect();
        assert_eq!(tests, [false, true, true, true, true, false]);
        assert_eq!(source.production_lines(), 2);
    }

    #[test]
    fn a_test_only_import_ends_at_its_semicolon() {
        let source = Source::parse("a.rs", "#[cfg(test)]\nuse x::{a, b};\nfn d() {}\n");
        assert!(!source.is_test(3));
        let source = Source::parse("a.rs", "#[cfg(test)]\nmod tests;\nfn d() {}\n");
        assert!(source.is_test(2) && !source.is_test(3));
    }

    #[test]
    fn files_of_tests_are_tests_throughout() {
        for path in ["engine/tests/it/a.rs", "engine/src/store/tests.rs", "testkit/src/lib.rs"] {
            assert!(Source::parse(path, "fn a() {}").is_test(1), "{path}");
        }
        assert!(!Source::parse("engine/src/tested.rs", "fn a() {}").is_test(1));
    }

    #[test]
    fn words_are_whole_identifiers() {
        assert!(has_word("use tokio::fs;", "tokio") && has_word("tokio", "tokio"));
        assert!(!has_word("tokio_util", "tokio") && !has_word("my_tokio", "tokio"));
    }
}
