//! The rule about behaviour tests: one binary per crate, with every file wired in.

use std::collections::BTreeMap;

use super::source::{Source, has_word};
use super::{Finding, Tree};

const RULE: &str = "behaviour tests";

/// A file of tests that no `mod` line names is compiled by nobody and passes for ever.
pub(super) fn behaviour_tests(tree: &Tree) -> Vec<Finding> {
    let by_path: BTreeMap<&str, &Source> =
        tree.sources.iter().map(|source| (source.path.as_str(), source)).collect();
    let mut findings = Vec::new();
    for source in tree.sources.iter().filter(|source| !source.path.starts_with("fuzz/")) {
        let Some((krate, below)) = source.path.split_once("/tests/") else { continue };
        if krate.contains("/src") {
            continue;
        }
        let Some(inside) = below.strip_prefix("it/") else {
            let advice = format!("one test binary per crate: move it to {krate}/tests/it/");
            findings.push(finding(source, advice));
            continue;
        };
        if inside == "main.rs" {
            continue;
        }
        let (parent, module) = parent_of(inside);
        let parent = format!("{krate}/tests/it/{parent}");
        let is_wired = by_path.get(parent.as_str()).is_some_and(|parent| declares(parent, module));
        if !is_wired {
            findings.push(finding(source, format!("add `mod {module};` to {parent}")));
        }
    }
    findings
}

/// The file that has to declare the module of `inside` (a path below `tests/it`), and its name.
fn parent_of(inside: &str) -> (String, &str) {
    let stem = inside.strip_suffix(".rs").unwrap_or(inside);
    match stem.rsplit_once('/') {
        None => ("main.rs".to_string(), stem),
        Some((directory, module)) => (format!("{directory}.rs"), module),
    }
}

fn declares(parent: &Source, module: &str) -> bool {
    parent.bare.lines().any(|line| {
        line.trim_end()
            .strip_suffix(';')
            .is_some_and(|line| has_word(line, &format!("mod {module}")))
    })
}

fn finding(source: &Source, advice: String) -> Finding {
    Finding { path: source.path.clone(), line: 1, rule: RULE, advice }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn untidy(files: &[(&str, &str)]) -> Vec<String> {
        behaviour_tests(&Tree::with(files)).into_iter().map(|finding| finding.advice).collect()
    }

    #[test]
    fn a_file_that_main_does_not_declare_is_found() {
        let main = ("engine/tests/it/main.rs", "mod backup;\n// mod restore;\n");
        let files = [main, ("engine/tests/it/backup.rs", ""), ("engine/tests/it/restore.rs", "")];
        assert_eq!(untidy(&files), ["add `mod restore;` to engine/tests/it/main.rs"]);
    }

    #[test]
    fn a_nested_file_is_declared_by_its_parent() {
        let files = [
            ("engine/tests/it/main.rs", "mod store;"),
            ("engine/tests/it/store.rs", "mod local;"),
            ("engine/tests/it/store/local.rs", ""),
            ("engine/tests/it/store/memory.rs", ""),
        ];
        assert_eq!(untidy(&files), ["add `mod memory;` to engine/tests/it/store.rs"]);
    }

    #[test]
    fn a_second_test_binary_is_found() {
        let files = [("engine/tests/backup.rs", ""), ("engine/src/store/tests/a.rs", "")];
        assert_eq!(untidy(&files), ["one test binary per crate: move it to engine/tests/it/"]);
    }
}
