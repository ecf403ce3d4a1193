//! The directory that holds caches, one directory for each repository.
//!
//! Invariants: only directories that are named like a repository are ever removed.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::entropy::name_suffix;

/// The one layout there is, as its file says it.
pub(super) const VERSION: u64 = 1;
const VERSION_FILE: &str = "version";
const TAG_FILE: &str = "CACHEDIR.TAG";
const TAG: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55\n";

/// One repository's cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheDirectory {
    /// The repository's id.
    pub repository: String,
    /// Where it is.
    pub path: PathBuf,
    /// When it was last used.
    pub used: SystemTime,
}

/// The caches below `base`, the one that was used last first; none where there is no such directory.
pub fn caches(base: &Path) -> io::Result<Vec<CacheDirectory>> {
    let entries = match fs::read_dir(base) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut caches = Vec::new();
    for entry in entries {
        let entry = entry?;
        let Ok(repository) = entry.file_name().into_string() else { continue };
        let is_named_so =
            repository.len() == 64 && repository.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_named_so && entry.file_type()?.is_dir() {
            let used = entry.metadata()?.modified()?;
            caches.push(CacheDirectory { repository, path: entry.path(), used });
        }
    }
    caches.sort_by(|a, b| b.used.cmp(&a.used).then_with(|| a.repository.cmp(&b.repository)));
    Ok(caches)
}

impl CacheDirectory {
    /// Bytes of all its files.
    pub fn bytes(&self) -> io::Result<u64> {
        bytes_below(&self.path)
    }

    /// Removes it.
    pub fn remove(&self) -> io::Result<()> {
        fs::remove_dir_all(&self.path)
    }
}

fn bytes_below(path: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        // Others may remove files meanwhile.
        let Ok(metadata) = entry.metadata() else { continue };
        bytes += if metadata.is_dir() { bytes_below(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

/// The version of a cache.
pub(super) fn version_of(path: &Path) -> io::Result<u64> {
    let text = fs::read_to_string(path.join(VERSION_FILE))?;
    text.trim().parse().map_err(|_unreadable| io::Error::other("its version cannot be read"))
}

/// Makes a cache, and the directory of caches where there is none.
pub(crate) fn make(base: &Path, path: &Path) -> io::Result<()> {
    let directory = |path: &Path| DirBuilder::new().recursive(true).mode(0o700).create(path);
    directory(base)?;
    match write_new(&base.join(TAG_FILE), TAG) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    for kind in ["data", "index", "snapshots"] {
        directory(&path.join(kind))?;
    }
    match write_new(&path.join(VERSION_FILE), VERSION.to_string().as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// A new file in the cache of a repository, which is made where there is none.
pub(crate) fn temporary(directory: &Path) -> io::Result<(PathBuf, File)> {
    let suffix = name_suffix().map_err(io::Error::other)?;
    let path = directory.join(format!("tmp-{suffix:016x}"));
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    let file = match options.open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make(directory.parent().unwrap_or(directory), directory)?;
            options.open(&path)?
        }
        opened => opened?,
    };
    Ok((path, file))
}

/// A file in the cache of a repository that goes with its handle.
pub(crate) fn nameless(directory: &Path) -> io::Result<File> {
    let (path, file) = temporary(directory)?;
    fs::remove_file(path)?;
    Ok(file)
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path)?;
    file.write_all(content)
}
