//! The paths to back up, and the directories above them that a backup shows.
//!
//! Targets are stored below their path as it was given: `/srv/data` as `srv` → `data`, `data` as
//! `data`, `.` as the entries of the directory itself. The directories in between carry their own
//! metadata and nothing but what leads to targets.
//!
//! Invariants
//! - Two targets that would take the same name in the backup get `-1`, `-2`, … appended.
//! - A target inside another is part of it already and not stored twice.
//! - A target without a name of its own, as `.` and `/` are, is a target alone; beside others it is
//!   each of its entries, and rules apply to those as to any that are found, markers included.

use std::{
    collections::BTreeMap,
    io,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Component, Path, PathBuf},
};

use super::BackupError;

/// The targets of a backup as a tree of names.
#[derive(Clone, Debug)]
pub(super) struct Targets {
    pub(super) top: Node,
    absolute: Vec<PathBuf>,
    /// Targets that cannot be looked at.
    pub(super) missing: Vec<(PathBuf, String)>,
}

/// A name in the backup that leads to targets, or is one.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Where it is in the source.
    pub(super) path: PathBuf,
    /// Whether all of it is to be backed up.
    pub(super) is_target: bool,
    /// Whether nobody asked for it by name: an entry of a target that has none.
    pub(super) is_found: bool,
    /// What lies below, for one that only leads to targets.
    pub(super) below: BTreeMap<Vec<u8>, Self>,
}

impl Targets {
    /// Looks whether the targets are there; an error if none is. Relative ones are below `base`.
    pub(super) fn look_at(paths: &[PathBuf], base: &Path) -> Result<Self, BackupError> {
        let mut targets = Self {
            top: Node::leading(PathBuf::from("/")),
            absolute: Vec::new(),
            missing: Vec::new(),
        };
        let mut first_error = None;
        for path in paths {
            let absolute = clean(&base.join(path));
            if let Err(error) = std::fs::symlink_metadata(&absolute) {
                targets.missing.push((path.clone(), error.to_string()));
                first_error.get_or_insert((path.display().to_string(), error));
                continue;
            }
            if let Err(error) = targets.add(path, &absolute, paths.len() == 1) {
                targets.missing.push((path.clone(), error.to_string()));
                first_error.get_or_insert((path.display().to_string(), error));
            }
        }
        if targets.absolute.is_empty() {
            let (path, error) =
                first_error.unwrap_or_else(|| (String::new(), io::ErrorKind::InvalidInput.into()));
            return Err(BackupError::NoSource { path, error });
        }
        Ok(targets)
    }

    /// The absolute paths, sorted.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut paths: Vec<String> =
            self.absolute.iter().map(|path| path.to_string_lossy().into_owned()).collect();
        paths.sort_unstable();
        paths.dedup();
        paths
    }

    fn add(&mut self, given: &Path, absolute: &Path, alone: bool) -> io::Result<()> {
        let given = clean(given);
        let names: Vec<&[u8]> = given
            .components()
            .filter_map(|part| match part {
                Component::Normal(name) => Some(name.as_bytes()),
                _ => None,
            })
            .collect();
        let mut base = absolute.to_owned();
        names.iter().for_each(|_name| {
            base.pop();
        });
        if !names.is_empty() {
            insert(&mut self.top, base, &names, false);
        } else if alone {
            self.top.is_target = true;
            self.top.path = absolute.to_owned();
        } else {
            for entry in std::fs::read_dir(absolute)? {
                let name = entry?.file_name();
                insert(&mut self.top, absolute.to_owned(), &[name.as_bytes()], true);
            }
        }
        self.absolute.push(absolute.to_owned());
        Ok(())
    }
}

impl Node {
    fn leading(path: PathBuf) -> Self {
        Self { path, is_target: false, is_found: false, below: BTreeMap::new() }
    }
}

fn insert(node: &mut Node, path: PathBuf, names: &[&[u8]], is_found: bool) {
    let [name, rest @ ..] = names else { return };
    if node.is_target {
        return;
    }
    let mut child_path = path;
    child_path.push(std::ffi::OsStr::from_bytes(name));
    let mut key = name.to_vec();
    let mut suffix = 0;
    while node.below.get(&key).is_some_and(|other| other.path != child_path) {
        suffix += 1;
        key = [name, format!("-{suffix}").as_bytes()].concat();
    }
    let child = node.below.entry(key).or_insert_with(|| Node::leading(child_path.clone()));
    if rest.is_empty() {
        child.is_found = is_found && (!child.is_target || child.is_found);
        child.is_target = true;
        child.below.clear();
    } else {
        insert(child, child_path, rest, is_found);
    }
}

/// The path without `.`, `..` and doubled slashes, by its text alone.
fn clean(path: &Path) -> PathBuf {
    let mut clean: Vec<&std::ffi::OsStr> = Vec::new();
    let mut up = 0;
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir if clean.is_empty() => up += 1,
            Component::ParentDir => {
                clean.pop();
            }
            _ => {}
        }
    }
    let mut bytes = Vec::new();
    if path.is_absolute() {
        bytes.push(b'/');
    } else {
        (0..up).for_each(|_step| bytes.extend_from_slice(b"../"));
    }
    for (at, name) in clean.iter().enumerate() {
        if at > 0 {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name.as_bytes());
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(node: &Node) -> Vec<String> {
        let mut found = Vec::new();
        for (name, child) in &node.below {
            let name = String::from_utf8_lossy(name).into_owned();
            if child.is_target {
                found.push(format!("{name}={}", child.path.display()));
            }
            found.extend(names(child).into_iter().map(|below| format!("{name}/{below}")));
        }
        found
    }

    fn layout(paths: &[&str]) -> Vec<String> {
        let mut targets = Targets {
            top: Node::leading(PathBuf::from("/")),
            absolute: Vec::new(),
            missing: Vec::new(),
        };
        let here = Path::new("/home/me");
        for path in paths {
            let path = Path::new(path);
            let alone = paths.len() == 1;
            targets.add(path, &clean(&here.join(path)), alone).expect("readable");
        }
        names(&targets.top)
    }

    #[test]
    fn absolute_targets_lie_below_their_whole_path() {
        assert_eq!(layout(&["/srv/a", "/srv/b/"]), ["srv/a=/srv/a", "srv/b=/srv/b"]);
    }

    #[test]
    fn relative_targets_lie_below_their_relative_path() {
        assert_eq!(layout(&["x/y"]), ["x/y=/home/me/x/y"]);
        assert_eq!(layout(&["../you/z"]), ["you/z=/home/you/z"]);
    }

    #[test]
    fn names_that_clash_are_told_apart() {
        assert_eq!(layout(&["x", "../x"]), ["x=/home/me/x", "x-1=/home/x"]);
    }

    #[test]
    fn a_target_inside_another_is_part_of_it() {
        assert_eq!(layout(&["/a", "/a/b"]), ["a=/a"]);
        assert_eq!(layout(&["/a/b", "/a"]), ["a=/a"]);
    }
}
