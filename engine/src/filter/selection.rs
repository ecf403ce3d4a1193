//! What of a snapshot is restored or listed.
//!
//! Invariants
//! - Whether a path is selected does not depend on it being a directory: deleting what is not in
//!   the snapshot asks without knowing.
//! - A directory that is not selected but leads to selected ones gets its metadata when one of
//!   them was restored; that is the caller's part.

use super::{Case, FilterError, PatternList, PatternTexts, lexical};

/// What is taken; everything by default.
#[derive(Clone, Debug, Default)]
pub struct Selection(Rule);

#[derive(Clone, Debug, Default)]
enum Rule {
    #[default]
    All,
    Include(BothCases),
    Exclude(BothCases),
    Within {
        directories: Vec<Vec<u8>>,
        recursive: bool,
    },
}

/// Two lists, each with its own last match; a match in one is enough.
#[derive(Clone, Debug, Default)]
pub(super) struct BothCases {
    sensitive: PatternList,
    insensitive: PatternList,
}

/// What is done with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The entry itself is taken.
    pub selected: bool,
    /// The entry is a directory in which something may be taken.
    pub descend: bool,
}

impl Selection {
    /// Takes what `include` matches, or what `exclude` does not match, or all if both are empty.
    /// Giving both is an error.
    pub fn new(include: &PatternTexts, exclude: &PatternTexts) -> Result<Self, FilterError> {
        // Both are compiled first: a malformed pattern is the more telling error.
        let (included, excluded) = (BothCases::parse(include)?, BothCases::parse(exclude)?);
        match (include.is_empty(), exclude.is_empty()) {
            (true, true) => Ok(Self::default()),
            (false, true) => Ok(Self(Rule::Include(included))),
            (true, false) => Ok(Self(Rule::Exclude(excluded))),
            (false, false) => Err(FilterError::IncludeAndExclude),
        }
    }

    /// Takes these absolute paths and what is in them: all of it, or with `recursive` off one
    /// level. No paths at all take everything.
    pub fn within<P: AsRef<[u8]>>(
        paths: impl IntoIterator<Item = P>,
        recursive: bool,
    ) -> Result<Self, FilterError> {
        let mut directories = Vec::new();
        for path in paths {
            let path = path.as_ref();
            if !path.starts_with(b"/") {
                return Err(FilterError::NotAbsolute(String::from_utf8_lossy(path).into_owned()));
            }
            directories.push(lexical::clean(path));
        }
        Ok(match directories.is_empty() {
            true => Self::default(),
            false => Self(Rule::Within { directories, recursive }),
        })
    }

    /// Whether everything is taken.
    pub fn is_all(&self) -> bool {
        matches!(self.0, Rule::All)
    }

    /// Whether what is taken was named, and not what is left out.
    pub fn is_include(&self) -> bool {
        matches!(self.0, Rule::Include(_))
    }

    /// What to do with the entry at `path`, which starts with `/` and is clean. (The name of an
    /// extended attribute is a path as well, a relative one.)
    pub fn choose(&self, path: &[u8], is_dir: bool) -> Choice {
        let (selected, below) = match &self.0 {
            Rule::All => (true, true),
            Rule::Include(lists) => lists.match_with_below(path),
            Rule::Exclude(lists) => {
                let selected = !lists.matches(path);
                (selected, selected)
            }
            Rule::Within { directories, recursive } => {
                let selected = directories.iter().any(|base| lexical::is_within(base, path));
                let leads = || directories.iter().any(|target| lexical::is_within(path, target));
                (selected, (selected && *recursive) || leads())
            }
        };
        Choice { selected, descend: below && is_dir }
    }

    /// Whether the entry itself is taken.
    pub fn is_selected(&self, path: &[u8]) -> bool {
        self.choose(path, false).selected
    }

    /// Whether something in the directory at `path` may be taken.
    pub fn child_may_be_selected(&self, path: &[u8]) -> bool {
        self.choose(path, true).descend
    }
}

impl BothCases {
    pub(super) fn parse(texts: &PatternTexts) -> Result<Self, FilterError> {
        Ok(Self {
            sensitive: PatternList::parse(&texts.sensitive, Case::Sensitive)?,
            insensitive: PatternList::parse(&texts.insensitive, Case::Insensitive)?,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sensitive.is_empty() && self.insensitive.is_empty()
    }

    pub(super) fn matches(&self, path: &[u8]) -> bool {
        self.sensitive.matches(path) || self.insensitive.matches(path)
    }

    fn match_with_below(&self, path: &[u8]) -> (bool, bool) {
        let one = self.sensitive.match_with_below(path);
        if one.here && one.below {
            return (true, true);
        }
        let other = self.insensitive.match_with_below(path);
        (one.here || other.here, one.below || other.below)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(patterns: &[&str]) -> PatternTexts {
        PatternTexts {
            sensitive: patterns.iter().map(|pattern| pattern.as_bytes().to_vec()).collect(),
            insensitive: Vec::new(),
        }
    }

    fn check(selection: &Selection, path: &str, selected: bool, descend: bool) {
        let choice = selection.choose(path.as_bytes(), true);
        assert_eq!(choice, Choice { selected, descend }, "{path}");
        assert!(!selection.choose(path.as_bytes(), false).descend);
        assert_eq!(selection.is_selected(path.as_bytes()), selected);
        assert_eq!(selection.child_may_be_selected(path.as_bytes()), descend);
    }

    #[test]
    fn including_walks_only_where_something_may_match() {
        let selection = Selection::new(&texts(&["/a/b", "/c/**/d"]), &texts(&[])).unwrap();
        check(&selection, "/a", false, true);
        check(&selection, "/a/b", true, true);
        check(&selection, "/a/x", false, false);
        check(&selection, "/c", false, true);
        check(&selection, "/c/x/y", false, true);
        check(&selection, "/x", false, false);
        let anywhere = Selection::new(&texts(&["b"]), &texts(&[])).unwrap();
        check(&anywhere, "/x/y", false, true);
    }

    #[test]
    fn excluding_skips_what_is_in_an_excluded_directory() {
        let selection = Selection::new(&texts(&[]), &texts(&["/a", "!/a/keep"])).unwrap();
        check(&selection, "/a", false, false);
        check(&selection, "/b", true, true);
    }

    #[test]
    fn nothing_given_is_everything_and_empty_patterns_are_nothing() {
        let all = Selection::new(&texts(&[]), &texts(&[])).unwrap();
        check(&all, "/a", true, true);
        assert!(all.is_all());
        check(&Selection::new(&texts(&[""]), &texts(&[])).unwrap(), "/a", false, false);
        check(&Selection::new(&texts(&[]), &texts(&[""])).unwrap(), "/a", true, true);
    }

    #[test]
    fn the_two_lists_of_different_case_add_up() {
        let include = PatternTexts {
            sensitive: vec![b"*.TXT".to_vec(), b"!x.TXT".to_vec()],
            insensitive: vec![b"X.*".to_vec()],
        };
        let selection = Selection::new(&include, &PatternTexts::default()).unwrap();
        check(&selection, "/a.TXT", true, true);
        check(&selection, "/a.txt", false, true);
        // Taken back in one list, still matched by the other.
        check(&selection, "/x.TXT", true, true);
    }

    #[test]
    fn including_and_excluding_at_once_is_refused() {
        let both = Selection::new(&texts(&["a"]), &texts(&["b"]));
        assert!(matches!(both, Err(FilterError::IncludeAndExclude)));
    }

    #[test]
    fn listing_within_a_directory_passes_through_those_above() {
        let flat = Selection::within(["/a/b/"], false).unwrap();
        check(&flat, "/a", false, true);
        check(&flat, "/a/b", true, true);
        check(&flat, "/a/b/c", true, false);
        check(&flat, "/a/bc", false, false);
        let deep = Selection::within(["/a/b"], true).unwrap();
        check(&deep, "/a/b/c", true, true);
        assert!(Selection::within(["a"], true).is_err());
        assert!(Selection::within([""; 0], false).unwrap().is_all());
    }
}
