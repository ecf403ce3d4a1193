//! Two trees of files, compared by everything a backup should bring back.
//!
//! Invariants: reads through the standard library and not through the engine, so that a mistake in
//! the engine's reading cannot hide itself.
//!
//! Not here: access and change times, which nobody can restore; inode numbers, of which only the
//! grouping into hard links counts.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File, Metadata},
    io::{self, Read},
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

/// One way in which the trees differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Below both roots; empty for the roots themselves.
    pub path: PathBuf,
    /// In what, so that callers can leave out what a format does not keep.
    pub aspect: Aspect,
    /// The two values.
    pub detail: String,
}

/// What can differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Aspect {
    /// It is in one tree only.
    Presence,
    /// Its type.
    Kind,
    /// Size or bytes of a file.
    Content,
    /// Permission, setuid, setgid and sticky bits.
    Mode,
    /// Time of the last change, to the nanosecond.
    Mtime,
    /// User or group number.
    Owner,
    /// Extended attributes, in any order.
    Xattrs,
    /// Where a symbolic link leads.
    Target,
    /// Which names are the same file.
    HardLinks,
    /// Number of a device.
    Device,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {:?}: {}", self.path, self.aspect, self.detail)
    }
}

type Tree = BTreeMap<PathBuf, Metadata>;

/// All differences, by path.
pub fn compare(left: &Path, right: &Path) -> io::Result<Vec<Difference>> {
    let (mut left_tree, mut right_tree) = (Tree::new(), Tree::new());
    read(left, PathBuf::new(), &mut left_tree)?;
    read(right, PathBuf::new(), &mut right_tree)?;
    let (left_groups, right_groups) = (groups(&left_tree), groups(&right_tree));
    let mut found = Vec::new();
    let mut differ = |path: &Path, aspect, detail: String| {
        found.push(Difference { path: path.to_owned(), aspect, detail });
    };
    for path in right_tree.keys().filter(|path| !left_tree.contains_key(*path)) {
        differ(path, Aspect::Presence, "only in the right tree".to_owned());
    }
    for (path, ours) in &left_tree {
        let Some(theirs) = right_tree.get(path) else {
            differ(path, Aspect::Presence, "only in the left tree".to_owned());
            continue;
        };
        let mut unequal = |aspect, ours: &dyn fmt::Debug, theirs: &dyn fmt::Debug| {
            let (ours, theirs) = (format!("{ours:?}"), format!("{theirs:?}"));
            if ours != theirs {
                differ(path, aspect, format!("{ours} and {theirs}"));
            }
        };
        unequal(Aspect::Kind, &kind(ours), &kind(theirs));
        if kind(ours) != kind(theirs) {
            continue;
        }
        if !ours.is_symlink() {
            unequal(Aspect::Mode, &(ours.mode() & 0o7777), &(theirs.mode() & 0o7777));
        }
        let mtime = |status: &Metadata| (status.mtime(), status.mtime_nsec());
        unequal(Aspect::Mtime, &mtime(ours), &mtime(theirs));
        let owner = |status: &Metadata| (status.uid(), status.gid());
        unequal(Aspect::Owner, &owner(ours), &owner(theirs));
        unequal(Aspect::Device, &device(ours), &device(theirs));
        unequal(
            Aspect::HardLinks,
            &left_groups.get(path.as_path()),
            &right_groups.get(path.as_path()),
        );
        let (ours_at, theirs_at) = (place(left, path), place(right, path));
        unequal(Aspect::Xattrs, &xattrs(&ours_at)?, &xattrs(&theirs_at)?);
        if ours.is_symlink() {
            unequal(Aspect::Target, &fs::read_link(&ours_at)?, &fs::read_link(&theirs_at)?);
        }
        if ours.is_file() {
            unequal(Aspect::Content, &ours.len(), &theirs.len());
            if ours.len() == theirs.len()
                && let Some(at) = first_unequal_byte(&ours_at, &theirs_at)?
            {
                differ(path, Aspect::Content, format!("unequal from byte {at}"));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn read(root: &Path, below: PathBuf, tree: &mut Tree) -> io::Result<()> {
    let path = place(root, &below);
    // The roots themselves may be reached through a link.
    let status = if path == root { fs::metadata(root)? } else { fs::symlink_metadata(&path)? };
    if status.is_dir() {
        for entry in fs::read_dir(&path)? {
            read(root, below.join(entry?.file_name()), tree)?;
        }
    }
    tree.insert(below, status);
    Ok(())
}

/// Joined without the slash that an empty path would leave behind, for links to be followed through.
fn place(root: &Path, below: &Path) -> PathBuf {
    if below == Path::new("") { root.to_owned() } else { root.join(below) }
}

/// For every name of a file with several, the first of them.
fn groups(tree: &Tree) -> BTreeMap<&Path, &Path> {
    let mut first = BTreeMap::new();
    let linked = tree.iter().filter(|(_, status)| !status.is_dir() && status.nlink() > 1);
    linked
        .map(|(path, status)| {
            let group = first.entry((status.dev(), status.ino())).or_insert(path.as_path());
            (path.as_path(), *group)
        })
        .collect()
}

fn kind(status: &Metadata) -> &'static str {
    let kind = status.file_type();
    match () {
        () if kind.is_file() => "file",
        () if kind.is_dir() => "directory",
        () if kind.is_symlink() => "symlink",
        () if kind.is_fifo() => "fifo",
        () if kind.is_socket() => "socket",
        () if kind.is_char_device() => "character device",
        () if kind.is_block_device() => "block device",
        () => "other",
    }
}

fn device(status: &Metadata) -> Option<u64> {
    let kind = status.file_type();
    (kind.is_char_device() || kind.is_block_device()).then(|| status.rdev())
}

fn xattrs(path: &Path) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut names = vec![0; 64 * 1024];
    let len = match rustix::fs::llistxattr(path, &mut names[..]) {
        Ok(len) => len,
        Err(rustix::io::Errno::OPNOTSUPP) => 0,
        Err(errno) => return Err(errno.into()),
    };
    let mut found = BTreeMap::new();
    for name in names[..len].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 64 * 1024];
        let len = rustix::fs::lgetxattr(path, name, &mut value[..])?;
        value.truncate(len);
        found.insert(name.to_vec(), value);
    }
    Ok(found)
}

fn first_unequal_byte(left: &Path, right: &Path) -> io::Result<Option<u64>> {
    const STEP: u64 = 256 * 1024;
    let (mut left, mut right) = (File::open(left)?, File::open(right)?);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let mut at = 0;
    loop {
        ours.clear();
        theirs.clear();
        left.by_ref().take(STEP).read_to_end(&mut ours)?;
        right.by_ref().take(STEP).read_to_end(&mut theirs)?;
        if ours != theirs {
            let same = ours.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
            return Ok(Some(at + same as u64));
        }
        if ours.is_empty() {
            return Ok(None);
        }
        at += ours.len() as u64;
    }
}
