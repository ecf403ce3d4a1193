//! Rules about words: where a format may be named, what may not import what, what may not be
//! left behind.

use super::source::{Source, has_word};
use super::{Finding, Tree};

const FORMATS: [&str; 2] = ["restic", "kopia"];

/// Engine code outside the two seams knows no format by name. Comments may compare; code may not.
pub(super) fn dialect_words(tree: &Tree) -> Vec<Finding> {
    let sources = tree.below("engine/src/").filter(|source| !may_name_formats(&source.path));
    let mut findings = Vec::new();
    for source in sources {
        let declares = declares_format_modules(&source.path);
        for (number, line) in source.production(&source.code) {
            let lower = line.to_ascii_lowercase();
            let Some(word) = FORMATS.iter().find(|word| lower.contains(**word)) else { continue };
            if declares && is_module_declaration(line) {
                continue;
            }
            let advice = format!(
                "`{word}` in neutral code: ask `Dialect` or `Protocol` a question that has an \
                 answer for both formats"
            );
            findings.push(finding(source, number, "dialect words", advice));
        }
    }
    findings
}

/// The seams, and the operations that differ in kind.
fn may_name_formats(path: &str) -> bool {
    let path = path.strip_prefix("engine/src/").unwrap_or(path);
    path.starts_with("dialect")
        || path.starts_with("protocol")
        // On the wire and on the command line of these servers, a format's name is a fixed word.
        || ["store/rest", "store/rclone"].iter().any(|server| path.starts_with(server))
        || ["reclaim/", "retention/"].iter().any(|operation| {
            let file = path.strip_prefix(operation).unwrap_or_default();
            FORMATS.iter().any(|format| file.starts_with(format))
        })
}

/// The parents of `reclaim/restic.rs` and its like have to declare them.
fn declares_format_modules(path: &str) -> bool {
    matches!(path, "engine/src/reclaim.rs" | "engine/src/retention.rs")
}

fn is_module_declaration(line: &str) -> bool {
    line.trim_end().ends_with(';') && has_word(line, "mod")
}

/// The two formats do not know each other.
pub(super) fn sibling_formats(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for [format, other] in [["restic", "kopia"], ["kopia", "restic"]] {
        let advice =
            || format!("{format} code uses {other}'s: move what both need to a module of its own");
        for source in tree.below(&format!("repo-format/src/{format}")) {
            for (number, line) in source.production(&source.bare) {
                if has_word(line, &format!("crate::{other}")) {
                    findings.push(finding(source, number, "sibling formats", advice()));
                }
            }
        }
    }
    findings
}

/// Operations do not know each other: what two of them need has a name of its own.
pub(super) fn sibling_operations(tree: &Tree) -> Vec<Finding> {
    const OPERATIONS: [&str; 5] = ["backup", "restore", "check", "reclaim", "copy"];
    let mut findings = Vec::new();
    for source in tree.below("engine/src/") {
        let path = source.path.strip_prefix("engine/src/").unwrap_or_default();
        let own = path.split(['/', '.']).next().unwrap_or_default();
        if !OPERATIONS.contains(&own) {
            continue;
        }
        for (number, line) in source.production(&source.bare) {
            let other = OPERATIONS.iter().filter(|operation| **operation != own);
            for other in other.filter(|other| has_word(line, &format!("crate::{other}"))) {
                let advice = format!(
                    "`{own}` uses `{other}`: operations do not import each other; move what both \
                     need below them"
                );
                findings.push(finding(source, number, "sibling operations", advice));
            }
        }
    }
    findings
}

/// What is not finished is not landed.
pub(super) fn unfinished_work(tree: &Tree) -> Vec<Finding> {
    const MACROS: [&str; 2] = ["todo!", "unimplemented!"];
    const MARKS: [&str; 3] = ["FIXME", "TODO", "XXX"];
    let mut findings = Vec::new();
    for source in &tree.sources {
        let code = source.bare.lines().zip(source.comments.lines()).enumerate();
        for (at, (code, comment)) in code {
            let macros = MACROS.iter().filter(|word| has_word(code, word));
            for word in macros.chain(MARKS.iter().filter(|word| has_word(comment, word))) {
                let advice = format!("`{word}`: finish it, or open an issue and say why here");
                findings.push(finding(source, at + 1, "unfinished work", advice));
            }
        }
    }
    findings
}

/// The tree builds anywhere, so it names no place on one machine.
pub(super) fn machine_paths(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts.iter().filter(|(path, _)| !is_recorded(path)) {
        for (at, line) in text.lines().enumerate() {
            if let Some(found) = machine_path(line) {
                let advice = format!(
                    "`{found}` is a place on one machine: use a relative path, PATH or an option"
                );
                let path = path.clone();
                findings.push(Finding { path, line: at + 1, rule: "machine paths", advice });
            }
        }
    }
    findings
}

/// Data that a tool wrote, not a person; the paths in it were made up for the recording.
fn is_recorded(path: &str) -> bool {
    let in_fixtures = path.starts_with("fixtures/") && !path.ends_with(".md");
    in_fixtures || path.starts_with("fuzz/seeds/") || path.ends_with(".tsv")
}

/// First directories of absolute paths that exist on somebody's machine only.
const PRIVATE_ROOTS: [&str; 6] = ["home", "Users", "root", "work", "workspace", "opt"];

/// Paths of the kind `/home/user` stay free for examples.
fn is_example(user: &str) -> bool {
    user.len() <= 2 || ["user", "alice", "bob", "you", "USER"].contains(&user)
}

fn machine_path(line: &str) -> Option<&str> {
    line.match_indices('/').find_map(|(start, _)| {
        let before = line[..start].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || "/._-~*<>)}]$".contains(c)) {
            return None;
        }
        let is_end = |c: char| !(c.is_alphanumeric() || "/._-+".contains(c));
        let rest = &line[start + 1..];
        let found = &rest[..rest.find(is_end).unwrap_or(rest.len())];
        let mut parts = found.split('/');
        let (root, next) = (parts.next()?, parts.next()?);
        let is_private = PRIVATE_ROOTS.contains(&root)
            && !next.is_empty()
            && !(root == "home" && is_example(next));
        is_private.then(|| &line[start..start + 1 + found.len()])
    })
}

fn finding(source: &Source, line: usize, rule: &'static str, advice: String) -> Finding {
    Finding { path: source.path.clone(), line, rule, advice }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: fn(&Tree) -> Vec<Finding>, path: &str, text: &str, lines: &[usize]) {
        let findings = rule(&Tree::with(&[(path, text)]));
        let found: Vec<usize> = findings.iter().map(|finding| finding.line).collect();
        assert_eq!(found, lines, "{path}: {text}");
    }

    #[test]
    fn neutral_engine_code_names_no_format() {
        let path = "engine/src/backup.rs";
        check(dialect_words, path, "fn a() {\n    Dialect::Restic(b)\n}", &[2]);
        check(dialect_words, path, "use windlass_format::kopia;", &[1]);
        check(dialect_words, path, "let name = \"restic\";", &[1]);
        check(dialect_words, path, "mod restic;", &[1]);
        check(dialect_words, path, "// as restic does\nfn a() {}", &[]);
        check(dialect_words, path, "#[cfg(test)]\nmod tests {\n  fn kopia() {}\n}", &[]);
    }

    #[test]
    fn the_seams_may_name_the_formats() {
        for path in [
            "engine/src/dialect.rs",
            "engine/src/dialect/restic.rs",
            "engine/src/protocol/kopia.rs",
            "engine/src/reclaim/restic.rs",
            "engine/src/retention/kopia/weeks.rs",
            "engine/tests/it/backup.rs",
            "mover/src/main.rs",
        ] {
            check(dialect_words, path, "fn restic() {}", &[]);
        }
        check(dialect_words, "engine/src/reclaim.rs", "mod restic;\nfn kopia() {}", &[2]);
    }

    #[test]
    fn one_format_does_not_import_the_other() {
        let text = "use crate::kopia::Id;";
        check(sibling_formats, "repo-format/src/restic/tree.rs", text, &[1]);
        check(sibling_formats, "repo-format/src/kopia/object.rs", text, &[]);
        check(sibling_formats, "repo-format/src/restic.rs", "// crate::kopia", &[]);
    }

    #[test]
    fn one_operation_does_not_import_another() {
        let text = "use crate::restore::Plan;\nuse crate::index;";
        check(sibling_operations, "engine/src/backup.rs", text, &[1]);
        check(sibling_operations, "engine/src/backup/walk.rs", text, &[1]);
        check(sibling_operations, "engine/src/restore/write.rs", text, &[]);
        check(sibling_operations, "engine/src/lib.rs", text, &[]);
    }

    #[test]
    fn unfinished_work_is_found_in_code_and_in_comments() {
        let path = "mover/src/main.rs";
        check(unfinished_work, path, "fn a() {\n    todo!()\n}", &[2]);
        check(unfinished_work, path, "fn a() { unimplemented!(\"x\") }", &[1]);
        check(unfinished_work, path, "// FIXME: later", &[1]);
        check(unfinished_work, path, "let a = \"FIXME todo!\";", &[]);
        check(unfinished_work, path, "#[cfg(test)]\nmod tests {\n  todo!();\n}", &[3]);
    }

    #[test]
    fn a_place_on_one_machine_is_found_in_any_text() {
        let somebody = ["home", "somebody", "src"].join("/");
        let line = format!("see `/{somebody}/notes`");
        check(machine_paths, "docs/guide.md", &format!("fine\n{line}"), &[2]);
        for root in ["work", "workspace", "root", "Users"] {
            let line = format!("path = \"/{root}/x\"");
            check(machine_paths, "a.toml", &line, &[1]);
            check(machine_paths, "fixtures/PROVENANCE.md", &line, &[1]);
            check(machine_paths, "engine/tests/it/filter/recorded.tsv", &line, &[]);
        }
    }

    #[test]
    fn relative_paths_urls_and_examples_are_no_places() {
        for line in [
            "repo-format/src/work/tree.rs",
            "https://example.org/home/somebody",
            "~/work/x and $HOME/work/x",
            "/home/user/data /home/u/x /srv/backup /tmp/x /homework/x",
            "a / work / b, 1/work",
            "/work alone, /home",
        ] {
            check(machine_paths, "docs/guide.md", line, &[]);
        }
    }
}
