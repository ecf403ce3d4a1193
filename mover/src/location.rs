//! Where a repository is, as restic's users write it.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use windlass_engine::repository::Place;

use crate::failure::Failure;

/// A place for a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    /// A directory.
    Local(PathBuf),
}

/// What restic knows besides directories.
const OTHER_SCHEMES: [&str; 8] = ["s3", "sftp", "rest", "b2", "azure", "gs", "swift", "rclone"];

impl Location {
    /// Reads a location: a path, `local:path` or `scheme:rest`.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        if let Some(path) = text.strip_prefix("local:") {
            return Ok(Self::Local(path.into()));
        }
        let scheme = text.split_once(':').map(|(scheme, _rest)| scheme);
        if let Some(scheme) = scheme.filter(|scheme| OTHER_SCHEMES.contains(scheme)) {
            return Err(Failure::input(
                format!("repositories at {scheme}: are not supported by this build yet"),
                "use a directory, for example one that is mounted from there",
            ));
        }
        // A path may have colons, but not before its first slash: that is a misspelt scheme.
        if scheme.is_some_and(|scheme| !scheme.contains('/') && !scheme.starts_with('.')) {
            return Err(Failure::input(
                format!("parsing repository location failed: invalid backend in {text:?}"),
                "if the repository is in a local directory, write `local:` before it",
            ));
        }
        Ok(Self::Local(text.into()))
    }

    /// The directory, where it is one.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::Local(path) => Some(path),
        }
    }

    /// For the engine.
    pub(crate) fn place(&self) -> Place {
        match self {
            Self::Local(path) => Place::local(path.clone()),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_directories_with_or_without_a_scheme() {
        for (text, path) in [
            ("/a/b", "/a/b"),
            ("a", "a"),
            ("local:a:b", "a:b"),
            ("./s3:x", "./s3:x"),
            ("/x:y", "/x:y"),
            ("a/b:c", "a/b:c"),
        ] {
            assert_eq!(Location::parse(text).expect("parses"), Location::Local(path.into()));
        }
    }

    #[test]
    fn other_schemes_are_refused_by_name() {
        let refused = |text| Location::parse(text).expect_err("refused").message();
        assert!(refused("s3:host/bucket").contains("s3: are not supported by this build yet"));
        assert!(refused("rest:http://host/").contains("rest:"));
        assert!(refused("foo:bar").contains("invalid backend"));
    }
}
