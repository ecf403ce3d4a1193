//! Rules about files as a whole: how long they are, how they open, what they are called.

use super::{Finding, Tree};

/// Lines of production code above which a file is refused.
const MAX_LINES: usize = 800;

/// Files that may be longer, each with the reason.
const LONG_FILES: [(&str, &str); 0] = [];

/// No file outgrows what one can keep in mind.
pub(super) fn sizes(tree: &Tree) -> Vec<Finding> {
    sizes_except(tree, &LONG_FILES)
}

fn sizes_except(tree: &Tree, exceptions: &[(&str, &str)]) -> Vec<Finding> {
    const RULE: &str = "size";
    let is_excepted = |path: &str| exceptions.iter().any(|(long, _)| *long == path);
    let is_long = |path: &str| {
        tree.sources
            .iter()
            .any(|source| source.path == path && source.production_lines() > MAX_LINES)
    };
    let too_long = tree.sources.iter().filter(|source| !is_excepted(&source.path)).filter_map(|source| {
        let lines = source.production_lines();
        let advice = format!(
            "{lines} lines of production code, at most {MAX_LINES}; find the second noun in it and \
             give it a file, or list it in xtask/src/tidy/files.rs with the reason"
        );
        (lines > MAX_LINES).then(|| finding(&source.path, MAX_LINES + 1, RULE, advice))
    });
    let stale = exceptions.iter().filter(|(path, _)| !is_long(path)).map(|(path, _)| {
        finding(path, 1, RULE, "listed as a long file but is none; take it off the list".into())
    });
    too_long.chain(stale).collect()
}

/// Every file says first what is true in it.
pub(super) fn opening_docs(tree: &Tree) -> Vec<Finding> {
    let silent = tree.sources.iter().filter(|source| !opens_with_docs(&source.text));
    silent
        .map(|source| {
            let advice = "open with `//!`: the purpose in one line, then what holds here";
            finding(&source.path, 1, "module docs", advice.into())
        })
        .collect()
}

fn opens_with_docs(text: &str) -> bool {
    let docs = text.strip_prefix("//!").unwrap_or_default();
    docs.lines().next().is_some_and(|line| !line.trim().is_empty())
}

/// A file is called after the noun or the operation it holds.
pub(super) fn names(tree: &Tree) -> Vec<Finding> {
    const BANNED: [&str; 12] = [
        "util", "utils", "common", "helper", "helpers", "misc", "types", "manager", "managers",
        "shared", "stuff", "mod",
    ];
    let mut findings = Vec::new();
    for source in &tree.sources {
        let stem = source.path.strip_suffix(".rs").unwrap_or(&source.path);
        for part in stem.split('/').filter(|part| BANNED.contains(part)) {
            let advice = if part == "mod" {
                "no mod.rs: call the file after the module, beside its directory".into()
            } else {
                format!("`{part}` says nothing: find the noun this code is about")
            };
            findings.push(finding(&source.path, 1, "file names", advice));
        }
    }
    findings
}

fn finding(path: &str, line: usize, rule: &'static str, advice: String) -> Finding {
    Finding { path: path.to_string(), line, rule, advice }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_after_the_cap_is_refused() {
        let of = |lines: usize| "fn a() {}\n".repeat(lines);
        let tree = Tree::with(&[("a/src/b.rs", &of(801)), ("a/src/c.rs", &of(800))]);
        let findings = sizes_except(&tree, &[]);
        assert_eq!(findings.len(), 1);
        assert_eq!((findings[0].path.as_str(), findings[0].line), ("a/src/b.rs", 801));
    }

    #[test]
    fn unit_tests_do_not_count_towards_the_cap() {
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "fn a() {}\n".repeat(900));
        assert!(sizes_except(&Tree::with(&[("a/src/b.rs", &tests)]), &[]).is_empty());
    }

    #[test]
    fn a_listed_file_may_be_long_but_must_then_be_long() {
        let long = "fn a() {}\n".repeat(801);
        let tree = Tree::with(&[("long.rs", &long), ("short.rs", "fn a() {}\n")]);
        let findings = sizes_except(&tree, &[("long.rs", "why"), ("short.rs", "why")]);
        assert_eq!(findings.iter().map(|f| f.path.as_str()).collect::<Vec<_>>(), ["short.rs"]);
    }

    #[test]
    fn a_file_opens_with_its_purpose() {
        for (text, ok) in [
            ("//! Purpose.\n", true),
            ("//!\n//! Purpose.\n", false),
            ("use a;\n//! Late.\n", false),
            ("// A comment.\n", false),
            ("", false),
        ] {
            let findings = opening_docs(&Tree::with(&[("a/src/b.rs", text)]));
            assert_eq!(findings.is_empty(), ok, "{text:?}");
        }
    }

    #[test]
    fn names_without_a_noun_are_refused_also_as_directories() {
        for (path, ok) in [
            ("engine/src/util.rs", false),
            ("engine/src/common/path.rs", false),
            ("engine/src/store/mod.rs", false),
            ("engine/src/module.rs", true),
            ("engine/src/common_prefix.rs", true),
        ] {
            assert_eq!(names(&Tree::with(&[(path, "")])).is_empty(), ok, "{path}");
        }
    }
}
