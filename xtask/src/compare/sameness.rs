//! Whether two trees are the same: names, kinds, contents, modes, owners, modification times.
//!
//! Not here: extended attributes and links between files, which the generated data has none of,
//! and the time of a symbolic link, which not every tool restores.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// One way in which two trees differ.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    path: PathBuf,
    what: &'static str,
    /// Whether data is wrong or missing, and not only what is noted beside it.
    pub(crate) is_data: bool,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.what)
    }
}

/// How the trees below `left` and `right` differ.
pub(crate) fn differences(left: &Path, right: &Path) -> Result<Vec<Difference>, String> {
    let mut found = Vec::new();
    compare(left, right, Path::new(""), &mut found)?;
    Ok(found)
}

fn compare(
    left: &Path,
    right: &Path,
    below: &Path,
    found: &mut Vec<Difference>,
) -> Result<(), String> {
    let (ours, theirs) = (entries(&left.join(below))?, entries(&right.join(below))?);
    for name in theirs.keys().filter(|name| !ours.contains_key(*name)) {
        let path = below.join(name);
        found.push(Difference { path, what: "not in the original", is_data: true });
    }
    for (name, our) in &ours {
        let path = below.join(name);
        let Some(their) = theirs.get(name) else {
            found.push(Difference { path, what: "missing", is_data: true });
            continue;
        };
        let is_link = our.file_type().is_symlink();
        let mut differ = |what: &'static str, is_data: bool, differs: bool| {
            if differs {
                found.push(Difference { path: path.clone(), what, is_data });
            }
            differs
        };
        if differ("another kind of file", true, our.file_type() != their.file_type()) {
            continue;
        }
        differ("another mode", false, our.mode() != their.mode());
        differ("another owner", false, (our.uid(), our.gid()) != (their.uid(), their.gid()));
        let time = |meta: &fs::Metadata| (meta.mtime(), meta.mtime_nsec());
        differ("another modification time", false, !is_link && time(our) != time(their));
        let (our_path, their_path) = (left.join(&path), right.join(&path));
        if is_link {
            differ("another target", true, read_link(&our_path)? != read_link(&their_path)?);
        } else if our.is_dir() {
            compare(left, right, &path, found)?;
        } else {
            let differs = our.len() != their.len() || !same_content(&our_path, &their_path)?;
            differ("another content", true, differs);
        }
    }
    Ok(())
}

fn entries(directory: &Path) -> Result<BTreeMap<PathBuf, fs::Metadata>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", directory.display());
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.map_err(failed)?;
        Ok((entry.file_name().into(), entry.metadata().map_err(failed)?))
    };
    fs::read_dir(directory).map_err(failed)?.map(read).collect()
}

fn read_link(path: &Path) -> Result<PathBuf, String> {
    fs::read_link(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn same_content(left: &Path, right: &Path) -> Result<bool, String> {
    const BLOCK: u64 = 1 << 20;
    let open = |path: &Path| File::open(path).map_err(|e| format!("{}: {e}", path.display()));
    let (left_file, right_file) = (open(left)?, open(right)?);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    loop {
        for (file, block, path) in
            [(&left_file, &mut ours, left), (&right_file, &mut theirs, right)]
        {
            block.clear();
            file.take(BLOCK)
                .read_to_end(block)
                .map_err(|error| format!("{}: {error}", path.display()))?;
        }
        if ours != theirs {
            return Ok(false);
        }
        if ours.is_empty() {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::compare::scratch::Scratch;

    /// Makes two equal trees, lets `change` alter the second and expects `difference` alone.
    fn check(change: impl Fn(&Path), difference: Option<&str>) {
        let scratch = Scratch::new(&std::env::temp_dir()).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 5);
        let roots = ["left", "right"].map(|name| {
            let root = scratch.path().join(name);
            fs::create_dir_all(root.join("d")).unwrap();
            fs::write(root.join("d/a"), "same").unwrap();
            symlink("a", root.join("d/l")).unwrap();
            File::open(root.join("d/a")).unwrap().set_modified(time).unwrap();
            root
        });
        change(&roots[1]);
        for root in &roots {
            File::open(root.join("d")).unwrap().set_modified(time).unwrap();
        }
        let found = differences(&roots[0], &roots[1]).unwrap();
        let lines: Vec<String> = found.iter().map(Difference::to_string).collect();
        assert_eq!(lines, Vec::from_iter(difference));
    }

    #[test]
    fn equal_trees_have_no_difference() {
        check(|_| {}, None);
    }

    #[test]
    fn every_kind_of_difference_is_found() {
        let keeping_time = |path: PathBuf, change: &dyn Fn(&Path)| {
            let time = fs::metadata(&path).unwrap().modified().unwrap();
            change(&path);
            File::options().append(true).open(&path).unwrap().set_modified(time).unwrap();
        };
        check(|root| fs::write(root.join("d/b"), "").unwrap(), Some("d/b: not in the original"));
        check(|root| fs::remove_file(root.join("d/a")).unwrap(), Some("d/a: missing"));
        check(
            |root| keeping_time(root.join("d/a"), &|path| fs::write(path, "sane").unwrap()),
            Some("d/a: another content"),
        );
        check(
            |root| File::open(root.join("d/a")).unwrap().set_modified(SystemTime::now()).unwrap(),
            Some("d/a: another modification time"),
        );
        check(
            |root| fs::set_permissions(root.join("d/a"), PermissionsExt::from_mode(0o600)).unwrap(),
            Some("d/a: another mode"),
        );
        check(
            |root| {
                fs::remove_file(root.join("d/l")).unwrap();
                symlink("b", root.join("d/l")).unwrap();
            },
            Some("d/l: another target"),
        );
        check(
            |root| {
                fs::remove_file(root.join("d/a")).unwrap();
                fs::create_dir(root.join("d/a")).unwrap();
            },
            Some("d/a: another kind of file"),
        );
    }
}
