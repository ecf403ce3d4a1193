//! Patterns over a tree of files, as the tool that the pattern language comes from decided.

use std::{collections::BTreeSet, time::Instant};

use proptest::prelude::*;
use windlass_engine::filter::{
    Case, Filter, FilterError, FilterOptions, PatternList, PatternTexts, Selection,
};

const RECORDED: &str = include_str!("filter/recorded.tsv");

/// The entries of the tree, parents first, and for each list the three outcomes.
fn recorded() -> (Vec<&'static str>, Vec<(&'static str, [&'static str; 3])>) {
    let (mut entries, mut lists) = (Vec::new(), Vec::new());
    for line in RECORDED.lines().filter(|line| !line.starts_with('#')) {
        match *line.split('\t').collect::<Vec<_>>() {
            ["entry", path] => entries.push(path),
            ["list", patterns, backup, exclude, include] => {
                lists.push((patterns, [backup, exclude, include]));
            }
            _ => panic!("cannot read {line:?}"),
        }
    }
    assert!(entries.len() > 30 && lists.len() > 90);
    (entries, lists)
}

fn texts(list: &str) -> PatternTexts {
    let mut texts = PatternTexts::default();
    for pattern in list.split(" ; ") {
        match pattern.strip_prefix("i ") {
            Some(pattern) => texts.insensitive.push(pattern.into()),
            None => texts.sensitive.push(pattern.into()),
        }
    }
    texts
}

fn check_recorded(
    column: usize,
    decide: impl Fn(PatternTexts, &[&'static str]) -> Result<BTreeSet<&'static str>, FilterError>,
) {
    let (entries, lists) = recorded();
    for (list, outcomes) in lists {
        let expected = outcomes[column];
        match decide(texts(list), &entries) {
            Err(FilterError::Malformed(_)) => assert_eq!(expected, "malformed", "{list}"),
            Err(error) => panic!("{list}: {error}"),
            Ok(taken) => {
                assert_eq!(expected.len(), entries.len(), "{list} is not malformed");
                let expected = entries.iter().zip(expected.chars());
                let expected = expected.filter(|(_, digit)| *digit == '1').map(|(path, _)| *path);
                assert_eq!(taken, expected.collect(), "{list}");
            }
        }
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').unwrap().0
}

fn is_dir(path: &str, entries: &[&str]) -> bool {
    entries.iter().any(|entry| parent(entry) == path)
}

fn restored(selection: &Selection, entries: &[&'static str]) -> BTreeSet<&'static str> {
    let mut walked = BTreeSet::from([""]);
    let mut taken = BTreeSet::new();
    for &path in entries.iter().filter(|path| !path.is_empty()) {
        if !walked.contains(parent(path)) {
            continue;
        }
        let choice = selection.choose(path.as_bytes(), is_dir(path, entries));
        if choice.selected {
            taken.insert(path);
        }
        if choice.descend {
            walked.insert(path);
        }
    }
    // Directories that lead to something are made for it.
    for &path in entries.iter().rev() {
        if taken.iter().any(|taken| parent(taken) == path) {
            taken.insert(path);
        }
    }
    taken
}

#[test]
fn a_backup_leaves_out_what_was_recorded() {
    check_recorded(0, |exclude, entries| {
        let targets = vec![b"/base".to_vec()];
        let filter = Filter::new(&FilterOptions { exclude, targets, ..FilterOptions::default() })?;
        assert!(!filter.path_excluded(b"/base"));
        let mut taken = BTreeSet::from([""]);
        for &path in entries {
            if taken.contains(parent(path))
                && !filter.path_excluded(format!("/base{path}").as_bytes())
            {
                taken.insert(path);
            }
        }
        taken.remove("");
        Ok(taken)
    });
}

#[test]
fn a_restore_leaves_out_what_was_recorded() {
    check_recorded(1, |exclude, entries| {
        Ok(restored(&Selection::new(&PatternTexts::default(), &exclude)?, entries))
    });
}

#[test]
fn a_restore_takes_what_was_recorded() {
    check_recorded(2, |include, entries| {
        Ok(restored(&Selection::new(&include, &PatternTexts::default())?, entries))
    });
}

#[test]
fn many_paths_and_patterns_take_little_time() {
    let patterns = [
        "*.o",
        "*.tmp",
        "node_modules",
        ".cache",
        "/home/*/Downloads",
        "target/debug",
        "**/.git",
        "/var/**/log/*.gz",
        "*~",
        "[Tt]humbs.db",
    ];
    let list = PatternList::parse(patterns, Case::Sensitive).unwrap();
    let paths: Vec<String> = (0..55_000)
        .map(|n| {
            format!("/home/user{}/projects/dir{}/src/part{}/file{n}.rs", n % 7, n % 89, n % 13)
        })
        .collect();
    let start = Instant::now();
    let matches = paths.iter().filter(|path| list.matches(path.as_bytes())).count();
    let took = start.elapsed();
    assert_eq!(matches, 0);
    // Optimised it takes a few milliseconds; the bound is for loaded machines.
    assert!(took.as_millis() < 2_000, "{took:?}");
}

#[test]
fn repeated_gaps_do_not_multiply_the_work() {
    let pattern = format!("{}/**/b", "**/a*a*a/".repeat(12));
    let list = PatternList::parse([&pattern], Case::Sensitive).unwrap();
    let path = "/aaaaaaaaaaaaaaaa".repeat(120);
    let start = Instant::now();
    assert!(!list.matches(path.as_bytes()));
    assert!(start.elapsed().as_secs() < 5);
}

proptest! {
    #[test]
    fn any_pattern_and_path_get_an_answer(
        pattern: Vec<u8>,
        text in "!?/?([ab*?\\[\\]^\\\\é.-]{1,3}/?){0,6}",
        path in "/?([abé*.]{0,2}/?){0,6}",
        stray: Vec<u8>,
    ) {
        for case in [Case::Sensitive, Case::Insensitive] {
            for pattern in [&*pattern, text.as_bytes()] {
                let Ok(list) = PatternList::parse([pattern], case) else { continue };
                for path in [path.as_bytes(), &stray] {
                    let found = list.match_with_below(path);
                    prop_assert_eq!(found.here, list.matches(path));
                }
            }
        }
    }

    #[test]
    fn a_plain_path_matches_itself_and_all_below(
        path in "(/[a-zA-Z0-9 é_-]{1,5}){1,6}", below in "(/[a-z*\\[]{1,3}){0,3}"
    ) {
        let relative = &path[1..];
        for pattern in [path.as_str(), relative] {
            let list = PatternList::parse([pattern], Case::Sensitive).unwrap();
            let below = format!("{path}{below}");
            prop_assert!(list.matches(path.as_bytes()) && list.matches(below.as_bytes()));
            let above = parent(&path);
            prop_assert!(above.is_empty() || list.match_with_below(above.as_bytes()).below);
            prop_assert!(pattern == relative || !list.matches(above.as_bytes()));
            let other = format!("!{pattern}");
            let back = PatternList::parse([pattern, &other], Case::Sensitive).unwrap();
            prop_assert!(!back.matches(path.as_bytes()));
        }
        let upper = PatternList::parse([path.to_uppercase()], Case::Insensitive).unwrap();
        prop_assert!(upper.matches(path.to_lowercase().as_bytes()));
    }
}
