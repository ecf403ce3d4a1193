//! Paths as text: what they name before anyone looks at a file system.
//!
//! Invariants: nothing here knows of symbolic links; `a/../b` is `b`.

/// The components of a path after `.`, `..` and empty ones are gone. `..` above the start of a
/// relative path stays.
pub(super) fn components(path: &[u8]) -> Vec<&[u8]> {
    let absolute = path.starts_with(b"/");
    let mut clean: Vec<&[u8]> = Vec::new();
    for component in path.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => match clean.last() {
                Some(&last) if last != b".." => drop(clean.pop()),
                _ if absolute => {}
                _ => clean.push(component),
            },
            _ => clean.push(component),
        }
    }
    clean
}

/// The shortest path that names the same; `.` for the current directory.
pub(crate) fn clean(path: &[u8]) -> Vec<u8> {
    let relative = components(path).join(&b'/');
    match (path.starts_with(b"/"), relative.is_empty()) {
        (true, _) => [b"/".as_slice(), &relative].concat(),
        (false, true) => b".".to_vec(),
        (false, false) => relative,
    }
}

/// Whether `path` is `base` or below it. Both are clean.
pub(super) fn is_within(base: &[u8], path: &[u8]) -> bool {
    match path.strip_prefix(base) {
        Some(rest) => rest.is_empty() || rest.starts_with(b"/") || base == b"/",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_paths_are_shortest() {
        let cases = [
            ("", "."),
            (".", "."),
            ("/", "/"),
            ("//", "/"),
            ("/..", "/"),
            ("a/", "a"),
            ("a//b/./c", "a/b/c"),
            ("a/../b", "b"),
            ("a/..", "."),
            ("../a/../../b", "../../b"),
            ("/../../a/b/..", "/a"),
        ];
        for (path, expected) in cases {
            assert_eq!(clean(path.as_bytes()), expected.as_bytes(), "{path}");
        }
    }

    #[test]
    fn within_ends_at_a_component() {
        assert!(is_within(b"/a", b"/a") && is_within(b"/a", b"/a/b") && is_within(b"/", b"/a"));
        assert!(!is_within(b"/a", b"/ab") && !is_within(b"/a/b", b"/a"));
    }
}
