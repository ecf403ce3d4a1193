//! What a backup leaves out, what a restore takes, and the lists of paths and patterns users
//! write for both.
//!
//! Invariants
//! - No function here does I/O, but for [`glob::expand`]; nothing reads the environment.
//! - Everything is immutable after construction and may be asked from any thread.
//! - Paths are bytes: they need not be UTF-8.
//! - What is left out is left out with all below it; a pattern that takes something back is
//!   only asked about entries of directories that are walked.
//!
//! Not here: limits to one file system (the walker knows devices), sizes with units and which
//! options exist (the command line).

pub mod glob;
pub(crate) mod lexical;
pub mod list_file;
pub mod marker;
mod pattern;
mod runes;
pub mod selection;
mod wildcard;

use self::{marker::Marker, selection::BothCases};
pub use self::{
    pattern::{Case, Match, PatternList},
    selection::Selection,
};
use crate::fault::Class;

/// What cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Patterns that break off or have an impossible class.
    #[error("malformed pattern: {}", .0.join(", "))]
    Malformed(Vec<String>),
    /// Both kinds of list were given.
    #[error("patterns to include and patterns to exclude cannot be used together")]
    IncludeAndExclude,
    /// A marker file without a name.
    #[error("marker file {0:?} has no name")]
    MarkerWithoutName(String),
    /// A path that has to be absolute.
    #[error("path {0:?} does not start with a slash")]
    NotAbsolute(String),
    /// The last path of a raw list may be cut off.
    #[error("the list of paths does not end with a zero byte")]
    RawListUnterminated,
    /// A raw list with a path of no bytes.
    #[error("the list of paths has an empty path")]
    RawListEmptyPath,
}

impl FilterError {
    /// What to do about it.
    pub fn class(&self) -> Class {
        Class::WrongInput
    }
}

/// Patterns as they were written: first those of the command line, then those of files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatternTexts {
    /// Upper and lower case differ.
    pub sensitive: Vec<Vec<u8>>,
    /// Upper and lower case are the same.
    pub insensitive: Vec<Vec<u8>>,
}

impl PatternTexts {
    /// Whether no pattern was given, not even an empty one.
    pub fn is_empty(&self) -> bool {
        self.sensitive.is_empty() && self.insensitive.is_empty()
    }
}

/// What a backup is told to leave out.
#[derive(Clone, Debug, Default)]
pub struct FilterOptions {
    /// Patterns of paths to leave out.
    pub exclude: PatternTexts,
    /// Whether directories marked as caches are left empty but for the mark.
    pub exclude_caches: bool,
    /// Marker files as `name` or `name:header` whose directories are left empty but for them.
    pub exclude_if_present: Vec<Vec<u8>>,
    /// Size above which something is left out that is not a directory.
    pub exclude_larger_than: Option<u64>,
    /// Absolute paths left out with all below them, such as our own cache.
    pub exclude_trees: Vec<Vec<u8>>,
    /// Absolute paths of what was asked for by name: never left out themselves.
    pub targets: Vec<Vec<u8>>,
}

/// What a backup leaves out.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    patterns: BothCases,
    markers: Vec<Marker>,
    largest: Option<u64>,
    trees: Vec<Vec<u8>>,
    /// Ascending.
    targets: Vec<Vec<u8>>,
}

impl Filter {
    /// Compiles the patterns.
    pub fn new(options: &FilterOptions) -> Result<Self, FilterError> {
        let marks = options.exclude_if_present.iter().map(|text| Marker::parse(text));
        let mut markers = marks.collect::<Result<Vec<_>, _>>()?;
        if options.exclude_caches {
            markers.push(Marker::cache_tag());
        }
        let mut targets = cleaned(&options.targets)?;
        targets.sort_unstable();
        Ok(Self {
            patterns: BothCases::parse(&options.exclude)?,
            markers,
            largest: options.exclude_larger_than,
            trees: cleaned(&options.exclude_trees)?,
            targets,
        })
    }

    /// Whether no path is left out for its name, so that none need be put together.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty() && self.trees.is_empty()
    }

    /// Whether the entry at this clean absolute path is left out, and what is below it not
    /// walked. (Nothing depends on it being a directory.)
    pub fn path_excluded(&self, absolute_path: &[u8]) -> bool {
        !self.is_empty()
            && (self.trees.iter().any(|tree| lexical::is_within(tree, absolute_path))
                || self.patterns.matches(absolute_path))
            && !self.is_target(absolute_path)
    }

    /// Whether something of this size, which is no directory and no target, is left out. (A
    /// symbolic link has the size of its text.)
    pub fn file_too_large(&self, size_bytes: u64) -> bool {
        self.largest.is_some_and(|largest| size_bytes > largest)
    }

    /// The markers to look for in every directory; see [`marker::Marked`] for what they do.
    pub fn markers(&self) -> &[Marker] {
        &self.markers
    }

    /// Whether this was asked for by name: neither its path nor its size nor a marker beside it
    /// leave it out.
    pub fn is_target(&self, absolute_path: &[u8]) -> bool {
        self.targets.binary_search_by(|target| (**target).cmp(absolute_path)).is_ok()
    }

    /// Whether something below this directory was asked for by name, so that even one that is
    /// left out has to be walked that far.
    pub fn has_target_below(&self, absolute_path: &[u8]) -> bool {
        let directory = absolute_path.strip_suffix(b"/").unwrap_or(absolute_path);
        let prefix = || directory.iter().chain(b"/");
        let next = self.targets.partition_point(|target| target.iter().le(prefix()));
        self.targets.get(next).is_some_and(|target| {
            target.get(..=directory.len()).is_some_and(|start| start.iter().eq(prefix()))
        })
    }
}

fn cleaned(paths: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, FilterError> {
    let clean = |path: &Vec<u8>| match path.starts_with(b"/") {
        true => Ok(lexical::clean(path)),
        false => Err(FilterError::NotAbsolute(String::from_utf8_lossy(path).into_owned())),
    };
    paths.iter().map(clean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(texts: &[&str]) -> Vec<Vec<u8>> {
        texts.iter().map(|text| text.as_bytes().to_vec()).collect()
    }

    fn check(filter: &Filter, excluded: &[&str], kept: &[&str]) {
        for path in excluded {
            assert!(filter.path_excluded(path.as_bytes()), "{path} is kept");
        }
        for path in kept {
            assert!(!filter.path_excluded(path.as_bytes()), "{path} is excluded");
        }
    }

    #[test]
    fn an_empty_filter_leaves_nothing_out() {
        let filter = Filter::new(&FilterOptions::default()).unwrap();
        assert!(filter.is_empty() && filter.markers().is_empty());
        assert!(!filter.file_too_large(u64::MAX));
        check(&filter, &[], &["/", "/a"]);
    }

    #[test]
    fn lists_of_both_cases_and_trees_add_up() {
        let filter = Filter::new(&FilterOptions {
            exclude: PatternTexts {
                sensitive: bytes(&["*.o", "!keep.o"]),
                insensitive: bytes(&["*.TMP"]),
            },
            exclude_trees: bytes(&["/cache/"]),
            ..FilterOptions::default()
        })
        .unwrap();
        check(&filter, &["/a/b.o", "/a.tmp", "/A.Tmp", "/cache", "/cache/x"], &[]);
        check(&filter, &[], &["/a/keep.o", "/a/b.O", "/caches", "/"]);
    }

    #[test]
    fn what_was_asked_for_by_name_is_not_left_out() {
        let filter = Filter::new(&FilterOptions {
            exclude: PatternTexts { sensitive: bytes(&["skip"]), insensitive: Vec::new() },
            targets: bytes(&["/a/skip", "/b/skip/deep/", "/b-", "/c"]),
            ..FilterOptions::default()
        })
        .unwrap();
        check(&filter, &["/a/skip/x", "/b/skip", "/c/skip"], &["/a/skip", "/b/skip/deep"]);
        assert!(filter.is_target(b"/b/skip/deep") && !filter.is_target(b"/b/skip"));
        for (directory, expected) in
            [("/", true), ("/b", true), ("/b/skip", true), ("/b/skip/deep", false), ("/c", false)]
        {
            assert_eq!(filter.has_target_below(directory.as_bytes()), expected, "{directory}");
        }
    }

    #[test]
    fn only_larger_files_are_too_large() {
        let options = FilterOptions { exclude_larger_than: Some(10), ..FilterOptions::default() };
        let filter = Filter::new(&options).unwrap();
        assert!(!filter.file_too_large(10) && filter.file_too_large(11));
    }

    #[test]
    fn caches_are_one_more_marker() {
        let filter = Filter::new(&FilterOptions {
            exclude_caches: true,
            exclude_if_present: bytes(&[".nobackup"]),
            ..FilterOptions::default()
        })
        .unwrap();
        let names: Vec<_> = filter.markers().iter().map(Marker::name).collect();
        assert_eq!(names, [b".nobackup".as_slice(), b"CACHEDIR.TAG"]);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let refused = |options: FilterOptions| Filter::new(&options).unwrap_err();
        let exclude = PatternTexts { sensitive: bytes(&["a", "[", "x[]"]), insensitive: vec![] };
        let error = refused(FilterOptions { exclude, ..FilterOptions::default() });
        assert_eq!(error, FilterError::Malformed(vec!["[".into(), "x[]".into()]));
        assert_eq!(error.class(), Class::WrongInput);
        let exclude_if_present = bytes(&[":header"]);
        refused(FilterOptions { exclude_if_present, ..FilterOptions::default() });
        refused(FilterOptions { targets: bytes(&["relative"]), ..FilterOptions::default() });
    }
}
