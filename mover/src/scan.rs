//! How much a backup will have to look at, so that progress can be given as a share.
//!
//! Invariants: an estimate. What cannot be read counts nothing, and it is given up when the backup
//! ends first.

use std::{
    fs,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use windlass_engine::filter::Filter;

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scanned {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    pub(crate) took: Duration,
}

/// Counts the files in `targets`; nothing if it is stopped.
pub(crate) fn scan(
    targets: &[PathBuf],
    filter: &Filter,
    one_file_system: bool,
    stop: &AtomicBool,
) -> Option<Scanned> {
    let started = Instant::now();
    let mut scanned = Scanned::default();
    let mut waiting: Vec<(PathBuf, Option<u64>)> = Vec::new();
    for target in targets {
        waiting.extend(std::path::absolute(target).ok().map(|path| (path, None)));
    }
    while let Some((path, device)) = waiting.pop() {
        if stop.load(Ordering::Relaxed) {
            return None;
        }
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        if device.is_some() && filter.path_excluded(path.as_os_str().as_bytes()) {
            continue;
        }
        if meta.is_dir() {
            if one_file_system && device.is_some_and(|device| device != meta.dev()) {
                continue;
            }
            let Ok(entries) = fs::read_dir(&path) else { continue };
            let entries = entries.filter_map(|entry| Some((entry.ok()?.path(), Some(meta.dev()))));
            waiting.extend(entries);
        } else if device.is_none() || !filter.file_too_large(meta.len()) {
            scanned.files += u64::from(meta.is_file());
            scanned.bytes += if meta.is_file() { meta.len() } else { 0 };
        }
    }
    scanned.took = started.elapsed();
    Some(scanned)
}

#[cfg(test)]
mod tests {
    use windlass_engine::filter::{FilterOptions, PatternTexts};

    use super::*;

    #[test]
    fn files_are_counted_but_for_those_left_out() {
        let tree = tempfile::tempdir().expect("a directory");
        fs::create_dir(tree.path().join("d")).expect("a directory");
        for (name, size) in [("a", 3), ("d/b", 5), ("d/c.tmp", 7)] {
            fs::write(tree.path().join(name), vec![0; size]).expect("a file");
        }
        let exclude = PatternTexts { sensitive: vec![b"*.tmp".to_vec()], insensitive: vec![] };
        let filter = Filter::new(&FilterOptions { exclude, ..FilterOptions::default() });
        let filter = filter.expect("a filter");
        let targets = [tree.path().to_owned()];
        let stop = AtomicBool::new(false);
        let scanned = scan(&targets, &filter, false, &stop).expect("not stopped");
        assert_eq!((scanned.files, scanned.bytes), (2, 8));
        stop.store(true, Ordering::Relaxed);
        assert_eq!(scan(&targets, &filter, false, &stop), None);
    }
}
