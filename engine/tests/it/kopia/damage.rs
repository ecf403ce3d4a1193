//! Damage is told, never taken for data.

use std::{
    fs,
    path::{Path, PathBuf},
};

use windlass_engine::{
    fault::{Class, Fault},
    protocol::keys::OpenError,
};
use windlass_fixtures::KOPIA_PASSWORD;

use super::{Open, Tree, assert_same, copy_of, expected};

/// The files of the objects whose name begins so, in the layout of the default fixture.
fn files(root: &Path, prefix: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).expect("a listing") {
            let path = entry.expect("an entry").path();
            let below = path.strip_prefix(root).expect("below").to_str().expect("ASCII");
            if path.is_dir() {
                pending.push(path);
            } else if below.replace('/', "").starts_with(prefix) {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "{prefix}");
    found
}

fn class_of<T>(result: Result<T, Fault>) -> Option<Class> {
    result.err().map(|fault| fault.class())
}

/// Alters every `step`-th byte of a file, one at a time, and calls `check` each time.
fn alter(path: &Path, step: usize, mut check: impl FnMut(usize)) {
    let whole = fs::read(path).expect("a file");
    for at in (0..whole.len()).step_by(step) {
        let mut altered = whole.clone();
        altered[at] ^= 0x20;
        fs::write(path, &altered).expect("a file");
        check(at);
    }
    fs::write(path, &whole).expect("a file");
}

#[test]
fn an_index_object_with_any_byte_altered_is_named() {
    let copy = copy_of("default");
    let open = Open::at(copy.path(), KOPIA_PASSWORD).expect("a repository");
    for path in files(copy.path(), "xn0_") {
        alter(&path, 7, |at| {
            let fault = open.fresh_index().expect_err("damage");
            assert_eq!(fault.class(), Class::Damaged);
            assert!(fault.to_string().contains("index xn0_"), "{at}: {fault}");
            assert_eq!(class_of(open.roots()), Some(Class::Damaged));
        });
        let whole = fs::read(&path).expect("a file");
        fs::write(&path, &whole[..whole.len() / 2]).expect("a file");
        assert_eq!(class_of(open.fresh_index()), Some(Class::Damaged));
        fs::write(&path, whole).expect("a file");
    }
    open.fresh_index().expect("all is whole again");
}

#[test]
fn a_pack_with_any_byte_altered_gives_the_truth_or_an_error() {
    let copy = copy_of("default");
    let open = Open::at(copy.path(), KOPIA_PASSWORD).expect("a repository");
    let (root, saved) = (open.tagged("first"), expected("default", "first"));
    let index = open.fresh_index().expect("an index");
    for prefix in ["p", "q"] {
        let mut noticed = 0;
        for path in files(copy.path(), prefix) {
            // Past the contents lie padding and what only a recovery reads.
            alter(&path, 41, |at| match super::read(&open.fresh_reader(&index), &root) {
                Ok(tree) => assert_same(&tree, &saved),
                Err(fault) => {
                    assert_eq!(fault.class(), Class::Damaged, "{at}: {fault}");
                    noticed += 1;
                }
            });
        }
        assert!(noticed > 5, "{prefix}: only {noticed}");
    }
}

#[test]
fn manifests_that_cannot_be_read_do_not_hide_the_others() {
    let copy = copy_of("default");
    let open = Open::at(copy.path(), KOPIA_PASSWORD).expect("a repository");
    let count = |rows: &[(_, Result<_, Fault>)]| {
        let bad = rows.iter().filter(|(_, row)| row.is_err()).count();
        (bad, rows.len() - bad)
    };
    let (mut fewer, mut bad_rows) = (0, 0);
    for path in files(copy.path(), "q") {
        alter(&path, 61, |_at| {
            let rows = open.roots().expect("a list");
            let (bad, good) = count(&rows);
            for (_, row) in &rows {
                let class = row.as_ref().err().map(Fault::class);
                assert!(class.is_none_or(|class| class == Class::Damaged));
            }
            bad_rows += bad;
            if good < 2 {
                assert_eq!(bad, 1, "what is missing is told");
                fewer += 1;
            }
        });
    }
    assert!(fewer > 0 && bad_rows >= fewer);
}

#[test]
fn a_pack_that_is_gone_or_cut_is_an_error_and_not_an_empty_file() {
    for prefix in ["p", "q"] {
        let copy = copy_of("default");
        let open = Open::at(copy.path(), KOPIA_PASSWORD).expect("a repository");
        let root = open.tagged("first");
        let index = open.fresh_index().expect("an index");
        let mut faults = 0;
        for path in files(copy.path(), prefix) {
            let whole = fs::read(&path).expect("a file");
            fs::write(&path, &whole[..100]).expect("a file");
            let cut = super::read(&open.fresh_reader(&index), &root);
            fs::remove_file(&path).expect("gone");
            let gone = super::read(&open.fresh_reader(&index), &root);
            fs::write(&path, whole).expect("a file");
            assert_eq!(cut.is_err(), gone.is_err());
            if let (Err(cut), Err(gone)) = (cut, gone) {
                assert_eq!((cut.class(), gone.class()), (Class::Damaged, Class::Damaged));
                faults += 1;
            }
        }
        assert!(faults > 0, "{prefix}");
    }
}

#[test]
fn an_altered_format_never_opens_as_something_else() {
    let copy = copy_of("default");
    let path = files(copy.path(), "kopia.repository").remove(0);
    let whole = expected("default", "first");
    let mut opened = 0;
    alter(&path, 37, |at| match Open::at(copy.path(), KOPIA_PASSWORD) {
        // Who wrote it, and when, may change unnoticed.
        Ok(open) => {
            assert_same(&open.read(&open.tagged("first")).expect("a whole snapshot"), &whole);
            opened += 1;
        }
        Err(OpenError::WrongPassword { .. }) => {}
        Err(error) => {
            let class = error.class();
            assert!(matches!(class, Class::Damaged | Class::Unsupported), "{at}: {error}");
        }
    });
    assert!(opened < 12, "{opened}");
}

/// How much of the first snapshot can still be read: all of it, or an error that says so.
fn readable(open: &Open) -> Result<Tree, Class> {
    let roots = open.roots().map_err(|fault| fault.class())?;
    let tag = "fixture:first".to_owned();
    let root = roots.into_iter().filter_map(|(_, root)| root.ok()).find(|r| r.tags.contains(&tag));
    let Some(root) = root else { return Err(Class::WrongInput) };
    open.read(&root).map_err(|fault| fault.class())
}

#[test]
fn without_one_index_object_nothing_false_is_read() {
    let saved = expected("default", "first");
    let copy = copy_of("default");
    let open = Open::at(copy.path(), KOPIA_PASSWORD).expect("a repository");
    let mut refused = 0;
    for path in files(copy.path(), "xn0_") {
        let whole = fs::read(&path).expect("a file");
        fs::remove_file(&path).expect("gone");
        match readable(&open) {
            Ok(tree) => assert_same(&tree, &saved),
            Err(class) => {
                // Either its root is not known either, or what it names is missing.
                assert!(matches!(class, Class::WrongInput | Class::Damaged), "{class:?}");
                refused += 1;
            }
        }
        fs::write(&path, whole).expect("a file");
    }
    assert!(refused > 0);
}

#[test]
fn a_compaction_counts_only_when_all_of_its_set_are_there() {
    let saved = expected("default", "first");
    let copy = copy_of("default");
    let open = Open::at(copy.path(), KOPIA_PASSWORD).expect("a repository");
    // Epoch 0 settles when two more have begun.
    for epoch in [1, 2] {
        fs::write(copy.path().join(format!("xe{epoch}.f")), b"").expect("a marker");
    }
    assert_same(&readable(&open).expect("nothing is compacted yet"), &saved);
    // One object that claims to be half, then all, of the compaction of epoch 0.
    let original = files(copy.path(), "xn0_").remove(0);
    let name = original.file_name().expect("a name").to_str().expect("ASCII");
    let hash = name.split('-').next().expect("a hash");
    let place = copy.path().join("x/s0_");
    fs::create_dir_all(&place).expect("a directory");
    let compacted = |members: u8| place.join(format!("{hash}-s0123-c{members}.f"));
    fs::copy(&original, compacted(2)).expect("a copy");
    assert_same(&readable(&open).expect("half a set counts for nothing"), &saved);
    fs::rename(compacted(2), compacted(1)).expect("renamed");
    let index = open.fresh_index().expect("an index");
    let all = Open::fixture("default").fresh_index().expect("an index");
    assert!(index.chunk_count() < all.chunk_count(), "a whole set replaces its epoch");
}

#[test]
fn files_of_others_in_the_location_are_not_looked_at() {
    let copy = copy_of("default");
    for name in ["x/.tmp.0123456789", "x/n0_/no-suffix", "q/README", "lost+found.txt"] {
        fs::write(copy.path().join(name), b"not kopia's").expect("a file");
    }
    let open = Open::at(copy.path(), KOPIA_PASSWORD).expect("a repository");
    assert_same(&readable(&open).expect("a whole snapshot"), &expected("default", "first"));
}
