//! Wildcards of a list of paths, looked up in the file system.
//!
//! Invariants
//! - One directory is read per component with a wildcard and match so far; `**` is no more than
//!   `*` here, and a leading dot needs no dot in the pattern.
//! - What cannot be read has no matches: only a malformed pattern is an error.

use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

use super::{
    FilterError, lexical,
    wildcard::{Malformed, Wildcard},
};

/// The existing paths that `pattern` describes, sorted within each directory; relative ones are
/// looked up in `base` and stay relative.
pub fn expand(base: &Path, pattern: &[u8]) -> Result<Vec<PathBuf>, FilterError> {
    if !has_wildcard(pattern) {
        let path = PathBuf::from(OsStr::from_bytes(pattern));
        let exists = fs::symlink_metadata(base.join(&path)).is_ok();
        return Ok(exists.then_some(path).into_iter().collect());
    }
    let mut names = Vec::new();
    let mut start = pattern;
    while has_wildcard(start) {
        let (directory, name) = split(start);
        names.push(Wildcard::parse(name).map_err(|Malformed| {
            FilterError::Malformed(vec![String::from_utf8_lossy(pattern).into_owned()])
        })?);
        start = directory;
    }
    let mut found = vec![start.to_vec()];
    for name in names.iter().rev() {
        found = found.iter().flat_map(|directory| matches_in(base, directory, name)).collect();
    }
    Ok(found.into_iter().map(|path| PathBuf::from(OsString::from_vec(path))).collect())
}

fn has_wildcard(path: &[u8]) -> bool {
    path.iter().any(|byte| b"*?[\\".contains(byte))
}

/// The directory without its last slash, and what follows it.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        None => (b".", path),
        Some(slash) => {
            let (directory, name) = path.split_at(slash);
            let directory = if directory.is_empty() { b"/" } else { directory };
            (directory, name.strip_prefix(b"/").unwrap_or(name))
        }
    }
}

fn matches_in(base: &Path, directory: &[u8], name: &Wildcard) -> Vec<Vec<u8>> {
    let Ok(entries) = fs::read_dir(base.join(OsStr::from_bytes(directory))) else {
        return Vec::new();
    };
    let mut names: Vec<OsString> = entries
        .filter_map(|entry| Some(entry.ok()?.file_name()))
        .filter(|entry| name.matches(entry.as_bytes()))
        .collect();
    names.sort_unstable();
    let join = |entry: &OsString| lexical::clean(&[directory, b"/", entry.as_bytes()].concat());
    names.iter().map(join).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let tree = tempfile::tempdir().unwrap();
        for directory in ["a", "b/x", "b/y"] {
            fs::create_dir_all(tree.path().join(directory)).unwrap();
        }
        for file in ["a/1.txt", "a/2.txt", "a/.txt", "b/x/1.txt", "b/y/3.log", "a*", "c[1]"] {
            fs::write(tree.path().join(file), file).unwrap();
        }
        std::os::unix::fs::symlink("missing", tree.path().join("dangling")).unwrap();
        std::os::unix::fs::symlink("b", tree.path().join("link")).unwrap();
        tree
    }

    fn check(pattern: &str, expected: &[&str]) {
        let tree = tree();
        let found = expand(tree.path(), pattern.as_bytes()).unwrap();
        let found: Vec<&str> = found.iter().map(|path| path.to_str().unwrap()).collect();
        assert_eq!(found, expected, "{pattern}");
        let absolute = [tree.path().as_os_str().as_bytes(), b"/", pattern.as_bytes()].concat();
        let found = expand(Path::new("/nowhere"), &absolute).unwrap();
        assert_eq!(found.len(), expected.len(), "{pattern}");
    }

    #[test]
    fn wildcards_find_what_is_there() {
        check("a/*.txt", &["a/.txt", "a/1.txt", "a/2.txt"]);
        check("*/1.txt", &["a/1.txt"]);
        check("b/*/*", &["b/x/1.txt", "b/y/3.log"]);
        check("*/[x-y]/?.*", &["b/x/1.txt", "b/y/3.log", "link/x/1.txt", "link/y/3.log"]);
        check("**/1.txt", &["a/1.txt"]);
        check("d*", &["dangling"]);
        check("a\\*", &["a*"]);
        check("c\\[1\\]", &["c[1]"]);
        check("c[1]", &[]);
        check("none*", &[]);
        check("a*/none", &[]);
        check("b/x/../y*", &["b/y"]);
        check("./a//2*", &["a/2.txt"]);
        check("*/", &[]);
    }

    #[test]
    fn a_path_without_wildcards_is_kept_as_written_if_it_exists() {
        check("./a//1.txt", &["./a//1.txt"]);
        check("dangling", &["dangling"]);
        check("b/", &["b/"]);
        check("none", &[]);
    }

    #[test]
    fn a_malformed_pattern_is_an_error_that_names_it() {
        for pattern in ["[a/b]", "none/[", "a\\/b", "[", "*/a\\"] {
            let error = expand(Path::new("/"), pattern.as_bytes()).unwrap_err();
            assert!(error.to_string().contains(pattern), "{error}");
        }
    }
}
