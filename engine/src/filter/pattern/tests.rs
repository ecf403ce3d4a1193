//! What the recorded tree of files cannot show about patterns.

use super::*;

fn matches(patterns: &[&str], path: &[u8]) -> bool {
    PatternList::parse(patterns, Case::Sensitive).unwrap().matches(path)
}

#[test]
fn malformed_patterns_are_named_all_of_them() {
    let error = PatternList::parse(["ok", "a/[b/c", "d\\"], Case::Insensitive).unwrap_err();
    assert_eq!(error, FilterError::Malformed(vec!["a/[b/c".into(), "d\\".into()]));
}

#[test]
fn paths_deeper_than_the_stack_are_matched_too() {
    let path = "/a".repeat(INLINE_DEPTH - 1);
    for extra in ["/b", "/x/b", "/x/x/b", "/x/x/x/b"] {
        let path = format!("{path}{extra}");
        assert!(matches(&["b"], path.as_bytes()) && matches(&["/a/**/b"], path.as_bytes()));
        assert!(!matches(&["c"], path.as_bytes()) && !matches(&["b/a"], path.as_bytes()));
    }
}
