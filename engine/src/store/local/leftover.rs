//! Temporary files that writers left when they were killed.
//!
//! Invariants
//! - A leftover is a regular file with the name that a writer of such a repository gives to an
//!   object it is still writing, in the place where it would do so ([`Layout::is_temporary`]).
//!   Nothing else is ever listed here or removed.
//! - One that was written to since it was found stays.
//!
//! Not here: whether somebody is still writing it (`protocol`).
//!
//! [`Layout::is_temporary`]: crate::store::layout::Layout::is_temporary

use std::{
    fs::{self, DirEntry},
    io,
};

use super::{Place, io_error};
use crate::store::{Leftover, StoreError};

/// All there are, wherever objects are written.
pub(super) fn find(place: &Place) -> Result<Vec<Leftover>, StoreError> {
    let mut found = Vec::new();
    let below = place.layout.directories().iter().map(String::as_str);
    for directory in std::iter::once("").chain(below) {
        match find_in(place, directory, &mut found) {
            Ok(()) => {}
            // No writer has needed it yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(io_error("list", place.root.join(directory).display(), error));
            }
        }
    }
    Ok(found)
}

fn find_in(place: &Place, directory: &str, found: &mut Vec<Leftover>) -> io::Result<()> {
    for entry in fs::read_dir(place.root.join(directory))? {
        let entry: DirEntry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let path = match directory {
            "" => name.to_owned(),
            _ => format!("{directory}/{name}"),
        };
        if !place.layout.is_temporary(&path) {
            continue;
        }
        match leftover(place, path) {
            // It has become an object meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => found.extend(result?),
        }
    }
    Ok(())
}

fn leftover(place: &Place, path: String) -> io::Result<Option<Leftover>> {
    let stat = fs::symlink_metadata(place.root.join(&path))?;
    let modified = stat.modified()?;
    Ok(stat.is_file().then_some(Leftover { path, stored_bytes: stat.len(), modified }))
}

/// Removes one; says whether it was still there as it was found.
pub(super) fn remove(place: &Place, found: &Leftover) -> Result<bool, StoreError> {
    let path = place.root.join(&found.path);
    let removed = match leftover(place, found.path.clone()) {
        Ok(Some(now)) if now == *found && place.layout.is_temporary(&now.path) => {
            fs::remove_file(&path).map(|()| true)
        }
        Ok(_) => Ok(false),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        result => result.map_err(|error| io_error("delete", path.display(), error)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::store::layout::Layout;

    fn layout() -> Layout {
        Layout::Sharded { dirs: ["data", "data/4e", "data/4f", "index"].map(str::to_owned).into() }
    }

    #[test]
    fn only_what_a_writer_leaves_is_found_and_removed() {
        let room = tempfile::tempdir().expect("a temporary directory");
        let place = Place::new(room.path().to_owned(), layout());
        place.create().expect("created");
        let id = "4f2a".repeat(16);
        let leftovers = [
            format!("data/4f/{id}-tmp-1234567890"),
            format!("data/4f/{id}-tmp-0123456789abcdef"),
            format!("index/{id}-tmp-7"),
            "config-tmp-42".to_owned(),
            "data/draft-tmp-0123456789abcdef".to_owned(),
        ];
        let others = [
            "config".to_owned(),
            format!("data/4f/{id}"),
            format!("data/4f/{id}-tmp-"),
            format!("data/4f/{id}-tmp-x"),
            format!("data/4f/{id}-tmp-12345678901"),
            format!("data/4f/{id}-tmp-0123456789ABCDEF"),
            format!("data/4e/{id}-tmp-12"),
            format!("data/4f/{}-tmp-12", &id[..62]),
            "index/draft-tmp-0123456789abcdef".to_owned(),
            "draft-tmp-12".to_owned(),
            "notes-tmp-12".to_owned(),
            "my config-tmp-12".to_owned(),
        ];
        for path in leftovers.iter().chain(&others) {
            fs::write(place.root.join(path), "content").expect("written");
        }
        let id = "5f2a".repeat(16);
        fs::create_dir(place.root.join(format!("index/{id}-tmp-1"))).expect("made");
        symlink("config", place.root.join(format!("index/{id}-tmp-2"))).expect("linked");
        let mut found = find(&place).expect("listed");
        let mut paths: Vec<_> = found.iter().map(|found| found.path.clone()).collect();
        let mut expected = leftovers.to_vec();
        paths.sort();
        expected.sort();
        assert_eq!(paths, expected);
        // One is written to, one is finished, and one was never such a file.
        let [grown, gone, foreign, ..] = &mut found[..] else { panic!("{paths:?}") };
        fs::write(place.root.join(&grown.path), "more content").expect("written");
        fs::remove_file(place.root.join(&gone.path)).expect("removed");
        foreign.path = "config".to_owned();
        let removed: Vec<_> =
            found.iter().map(|found| remove(&place, found).expect("tried")).collect();
        assert_eq!(removed, [false, false, false, true, true]);
        assert!(others.iter().all(|path| place.root.join(path).is_file()));
    }

    #[test]
    fn a_location_that_is_not_there_is_an_answer_and_one_that_cannot_be_read_an_error() {
        let room = tempfile::tempdir().expect("a temporary directory");
        let place = |name: &str| Place::new(room.path().join(name), layout());
        assert_eq!(find(&place("absent")).expect("nothing"), []);
        fs::write(room.path().join("file"), "").expect("written");
        find(&place("file")).expect_err("not a directory");
    }
}
