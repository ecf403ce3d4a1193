//! `cargo xtask tidy`: the house rules that no compiler checks.
//!
//! Invariants: a rule is a function from the tree (or cargo's metadata) to findings, so each is
//! tested on text made up for it; a finding says where it is and what to do about it. The rules
//! run among this crate's tests too, so `cargo xtask test` alone refuses an untidy tree.

mod edges;
mod files;
mod purity;
mod source;
mod wiring;
mod words;

use std::fmt;
use std::fs;
use std::path::Path;

use crate::workspace;
use source::Source;

/// A place where a rule is broken.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    path: String,
    line: usize,
    rule: &'static str,
    advice: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.path, self.line, self.rule, self.advice)
    }
}

/// What the rules look at: every text file of the project.
struct Tree {
    /// Rust files, split into code and comments.
    sources: Vec<Source>,
    /// Every text file, the Rust ones too: path and content.
    texts: Vec<(String, String)>,
}

/// Directories that hold no work of ours: version control, build output, fuzzing output.
const SKIPPED: [&str; 5] = [".git", "target", "corpus", "artifacts", "node_modules"];

impl Tree {
    fn read(root: &Path) -> Result<Self, String> {
        let mut texts = Vec::new();
        collect(root, "", &mut texts)?;
        Ok(Self::of(texts))
    }

    fn of(mut texts: Vec<(String, String)>) -> Self {
        texts.sort();
        let rust = texts.iter().filter(|(path, _)| path.ends_with(".rs"));
        let sources = rust.map(|(path, text)| Source::parse(path, text)).collect();
        Self { sources, texts }
    }

    #[cfg(test)]
    fn with(files: &[(&str, &str)]) -> Self {
        Self::of(files.iter().map(|(path, text)| (path.to_string(), text.to_string())).collect())
    }

    /// The Rust files below `prefix`.
    fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Source> {
        self.sources.iter().filter(move |source| source.path.starts_with(prefix))
    }
}

fn collect(root: &Path, below: &str, texts: &mut Vec<(String, String)>) -> Result<(), String> {
    let directory = root.join(below);
    let failed = |error: std::io::Error| format!("{}: {error}", directory.display());
    for entry in fs::read_dir(&directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        // Names and contents that are not text belong to fixtures; no rule concerns them.
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        let kind = entry.file_type().map_err(failed)?;
        if SKIPPED.contains(&name.as_str()) {
            continue;
        } else if kind.is_dir() {
            collect(root, &path, texts)?;
        } else if kind.is_file() {
            let bytes = fs::read(entry.path()).map_err(|error| format!("{path}: {error}"))?;
            if let Ok(text) = String::from_utf8(bytes) {
                texts.push((path, text));
            }
        }
    }
    Ok(())
}

/// Checks the workspace and prints what it finds.
pub(crate) fn run() -> Result<(), String> {
    let findings = findings(&workspace::root())?;
    for finding in &findings {
        eprintln!("{finding}");
    }
    match findings.len() {
        0 => Ok(()),
        count => Err(format!("{count} places to put right")),
    }
}

fn findings(root: &Path) -> Result<Vec<Finding>, String> {
    let tree = Tree::read(root)?;
    let rules: [fn(&Tree) -> Vec<Finding>; 12] = [
        files::sizes,
        files::opening_docs,
        files::names,
        purity::codecs_do_no_io,
        purity::engine_keeps_to_itself,
        purity::clock_and_entropy_are_injected,
        words::dialect_words,
        words::sibling_formats,
        words::sibling_operations,
        words::unfinished_work,
        words::machine_paths,
        wiring::behaviour_tests,
    ];
    let mut findings: Vec<Finding> = rules.iter().flat_map(|rule| rule(&tree)).collect();
    findings.extend(edges::crate_edges(&edges::read_metadata()?));
    findings.sort();
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_is_tidy() {
        let findings = findings(&workspace::root()).unwrap();
        let report: Vec<String> = findings.iter().map(Finding::to_string).collect();
        assert!(findings.is_empty(), "\n{}", report.join("\n"));
    }

    #[test]
    fn the_tree_holds_this_very_file() {
        let tree = Tree::read(&workspace::root()).unwrap();
        assert!(tree.below("xtask/src/tidy.rs").next().is_some());
        assert!(tree.texts.iter().any(|(path, _)| path == ".ci/run"));
        assert!(!tree.texts.iter().any(|(path, _)| path.starts_with(".git/")));
    }
}
