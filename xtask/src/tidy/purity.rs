//! Rules about what a crate may touch: files, network, clock, random numbers, terminal.

use super::source::{Source, has_word};
use super::{Finding, Tree};

/// The codecs see bytes and nothing else.
pub(super) fn codecs_do_no_io(tree: &Tree) -> Vec<Finding> {
    const STD: [&str; 5] = ["fs", "net", "env", "process", "thread"];
    const WORDS: [&str; 6] = ["SystemTime", "Instant", "tokio", "getrandom", "rand", "rustix"];
    let advice = |what: &str| {
        format!("`{what}` in repo-format: take the bytes, the time or the nonce as an argument")
    };
    let sources = tree.below("repo-format/src/");
    sources.flat_map(|source| banned(source, "codecs do no I/O", &STD, &WORDS, advice)).collect()
}

/// The engine neither prints nor reads the environment: whoever embeds it decides both.
pub(super) fn engine_keeps_to_itself(tree: &Tree) -> Vec<Finding> {
    const STD: [&str; 1] = ["env"];
    const WORDS: [&str; 8] =
        ["stdout", "stderr", "println!", "print!", "eprintln!", "eprint!", "dbg!", "clap"];
    /// There the first two are the pipes of a program that the engine runs.
    const RUNS_PROGRAMS: &str = "engine/src/store/child.rs";
    let advice = |what: &str| {
        format!(
            "`{what}` in the engine: report through the monitor or the result, take settings as \
             options; only the mover prints and reads the environment"
        )
    };
    let sources = tree.below("engine/src/").chain(tree.below("lanes/src/"));
    let banned = |source: &Source| {
        let words = if source.path == RUNS_PROGRAMS { &WORDS[2..] } else { &WORDS[..] };
        banned(source, "the engine keeps to itself", &STD, words, advice)
    };
    sources.flat_map(banned).collect()
}

/// Time and random numbers come in at one place each, so that tests can hold them still.
pub(super) fn clock_and_entropy_are_injected(tree: &Tree) -> Vec<Finding> {
    const HOMES: [&str; 3] =
        ["engine/src/clock.rs", "engine/src/entropy.rs", "engine/src/resources.rs"];
    const WORDS: [&str; 5] =
        ["SystemTime::now", "Timestamp::now", "Zoned::now", "getrandom", "available_parallelism"];
    let advice = |what: &str| {
        format!("`{what}` outside clock.rs, entropy.rs and resources.rs: take it as an argument")
    };
    let is_home = |source: &&Source| HOMES.contains(&source.path.as_str());
    let sources = tree.below("engine/src/").filter(|source| !is_home(source));
    sources.flat_map(|source| banned(source, "injected clock", &[], &WORDS, advice)).collect()
}

/// Where production code of `source` names one of the modules of `std` or one of the words.
fn banned(
    source: &Source,
    rule: &'static str,
    std_modules: &[&str],
    words: &[&str],
    advice: impl Fn(&str) -> String,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut found = |line: usize, what: &str| {
        findings.push(Finding { path: source.path.clone(), line, rule, advice: advice(what) });
    };
    for (number, line) in source.production(&source.bare) {
        for word in words.iter().filter(|word| has_word(line, word)) {
            found(number, word);
        }
        for module in std_modules {
            let path = format!("std::{module}");
            if has_word(line, &path) {
                found(number, &path);
            }
        }
    }
    for (number, module) in grouped_std_modules(&source.bare) {
        if !source.is_test(number) && std_modules.contains(&module) {
            found(number, &format!("std::{module}"));
        }
    }
    findings
}

/// The modules named directly in a group `std::{…}`, each with its line.
fn grouped_std_modules(bare: &str) -> Vec<(usize, &str)> {
    const GROUP: &str = "std::{";
    let mut modules = Vec::new();
    for (start, _) in bare.match_indices(GROUP) {
        let body = start + GROUP.len();
        let (mut depth, mut item) = (1, body);
        for (offset, byte) in bare[body..].bytes().enumerate() {
            let at = body + offset;
            match byte {
                b'{' => depth += 1,
                b'}' => depth -= 1,
                _ => {}
            }
            let ends = depth == 0 || (depth == 1 && byte == b',');
            if ends {
                let name = bare[item..at].trim_start();
                let line = 1 + bare[..at - name.len()].matches('\n').count();
                let name = name.split([':', ' ', ';', '\n']).next().unwrap_or_default();
                modules.push((line, name));
                item = at + 1;
            }
            if depth == 0 {
                break;
            }
        }
    }
    modules
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(findings: &[Finding]) -> Vec<usize> {
        findings.iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn io_in_a_codec_is_found_however_it_is_imported() {
        for text in [
            "use std::fs::File;",
            "use std::{fmt, fs};",
            "use std::{\n    fmt,\n    fs::{self, File},\n};",
            "fn a() { std::env::var(b) }",
            "fn now() -> SystemTime {}",
            "use tokio::sync;",
            "fn a() { getrandom::fill(b) }",
        ] {
            let tree = Tree::with(&[("repo-format/src/a.rs", text)]);
            assert_eq!(codecs_do_no_io(&tree).len(), 1, "{text}");
        }
    }

    #[test]
    fn a_grouped_import_is_reported_on_its_own_line() {
        let text = "use std::{\n    fmt::{self, Debug},\n    net,\n};";
        let tree = Tree::with(&[("repo-format/src/a.rs", text)]);
        assert_eq!(lines(&codecs_do_no_io(&tree)), [3]);
    }

    #[test]
    fn codecs_may_speak_of_files_and_test_with_them() {
        for text in [
            "//! Does not use std::fs.",
            "const WHY: &str = \"std::fs\";",
            "use std::{fmt, io::{fs_like}};",
            "#[cfg(test)]\nmod tests {\n    use std::fs;\n}",
        ] {
            let tree = Tree::with(&[("repo-format/src/a.rs", text)]);
            assert_eq!(codecs_do_no_io(&tree), [], "{text}");
        }
        assert_eq!(codecs_do_no_io(&Tree::with(&[("engine/src/a.rs", "use std::fs;")])), []);
    }

    #[test]
    fn the_engine_neither_prints_nor_reads_the_environment() {
        for text in ["println!(\"x\")", "std::io::stdout()", "use std::env;", "use clap::Parser;"] {
            let tree = Tree::with(&[("engine/src/a.rs", text)]);
            assert_eq!(engine_keeps_to_itself(&tree).len(), 1, "{text}");
        }
        for text in ["env!(\"CARGO_PKG_VERSION\")", "writeln!(out)", "/// println!(x)\nfn a() {}"] {
            let tree = Tree::with(&[("engine/src/a.rs", text)]);
            assert_eq!(engine_keeps_to_itself(&tree), [], "{text}");
        }
        for (text, count) in [("Stdio::piped(); child.stdout.take()", 0), ("println!(\"x\")", 1)] {
            let tree = Tree::with(&[("engine/src/store/child.rs", text)]);
            assert_eq!(engine_keeps_to_itself(&tree).len(), count, "{text}");
        }
        let mover = Tree::with(&[("mover/src/output.rs", "println!(\"x\")")]);
        assert_eq!(engine_keeps_to_itself(&mover), []);
    }

    #[test]
    fn the_clock_is_read_in_its_own_file_only() {
        let text = "fn now() { SystemTime::now() }";
        let find = |path| clock_and_entropy_are_injected(&Tree::with(&[(path, text)])).len();
        assert_eq!(find("engine/src/backup.rs"), 1);
        assert_eq!(find("engine/src/clock.rs"), 0);
        assert_eq!(find("mover/src/main.rs"), 0);
    }
}
