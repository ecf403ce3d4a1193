//! The storage adapters: one suite for all, and what only directories can do wrong.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};
use windlass_engine::store::{
    Backend, Existing, Failure, Key, Range, layout::Layout, local::LocalStore, memory::MemoryStore,
};
use windlass_testkit::conformance::{
    Naming, absent_location, check_failure, conformance, listed, put,
};

fn sharded() -> Layout {
    let mut dirs = ["data", "index", "keys", "locks", "snapshots"].map(str::to_owned).to_vec();
    dirs.extend((0..256).map(|shard| format!("data/{shard:02x}")));
    Layout::Sharded { dirs }
}

fn leading() -> Layout {
    let suffix = ".f".to_owned();
    Layout::Leading { shards: vec![1, 3], overrides: Vec::new(), max_unsharded: 20, suffix }
}

fn check(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(work);
}

fn data_key(first: u8) -> Key {
    Key::new(format!("data/{first:02x}{}", "e".repeat(62)))
}

/// Every file below `root` with its permissions, relative and sorted.
fn files(root: &Path) -> Vec<(PathBuf, u32)> {
    let mut found = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).expect("a directory") {
            let entry = entry.expect("an entry");
            let status = entry.metadata().expect("its status");
            if status.is_dir() {
                pending.push(entry.path());
            } else {
                let path = entry.path().strip_prefix(root).expect("below").to_owned();
                found.push((path, status.mode() & 0o7777));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn memory_conforms() {
    check(async {
        absent_location(&MemoryStore::absent(), Naming::Typed).await;
        conformance(&MemoryStore::new(), Naming::Typed).await;
        conformance(&MemoryStore::new(), Naming::Flat).await;
    });
}

#[test]
fn directories_conform_in_every_layout() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    for (name, layout, naming) in [
        ("a/sharded", sharded(), Naming::Typed),
        ("b/leading", leading(), Naming::Flat),
        ("c/plain", Layout::Plain, Naming::Typed),
    ] {
        let root = scratch.path().join(name);
        let store = LocalStore::new(&root, layout);
        check(async {
            absent_location(&store, naming).await;
            conformance(&store, naming).await;
        });
        assert_eq!(files(&root), [], "no temporary file is left in {name}");
    }
}

#[test]
fn a_symlinked_repository_with_linked_parts_conforms() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let (real, link) = (scratch.path().join("real"), scratch.path().join("link"));
    let elsewhere = scratch.path().join("elsewhere");
    fs::create_dir_all(&real).expect("made");
    fs::create_dir_all(&elsewhere).expect("made");
    symlink(&real, &link).expect("linked");
    symlink(&elsewhere, real.join("data")).expect("linked");
    let store = LocalStore::new(link, sharded());
    check(async {
        store.create().await.expect("created");
        conformance(&store, Naming::Typed).await;
    });
    assert!(elsewhere.join("4f").is_dir());
}

#[test]
fn objects_are_read_only_and_the_group_is_let_in_where_it_was_before() {
    for (config, object, directory) in [(0o400, 0o400, 0o700), (0o440, 0o440, 0o770)] {
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let store = LocalStore::new(scratch.path(), sharded());
        check(store_config(&store));
        let path = scratch.path().join("config");
        fs::set_permissions(path, fs::Permissions::from_mode(config)).expect("permissions");
        fs::remove_dir(scratch.path().join("data/4f")).expect("removed");

        let store = LocalStore::new(scratch.path(), sharded());
        check(async {
            for size in [10, 1_000_000] {
                let key = data_key(if size == 10 { 0x4f } else { 0x50 });
                put(&store, &key, &vec![1; size], Existing::Keep).await.expect("put");
            }
        });
        let modes: Vec<u32> = files(scratch.path()).into_iter().map(|(_, mode)| mode).collect();
        assert_eq!(modes, [config, object, object]);
        let made = fs::metadata(scratch.path().join("data/4f")).expect("made on demand");
        assert_eq!(made.mode() & 0o705, directory & 0o705);
    }
}

async fn store_config(store: &LocalStore) {
    store.create().await.expect("created");
    put(store, &Key::new("config"), b"config", Existing::Keep).await.expect("put");
}

#[test]
fn replacing_leaves_one_whole_object() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let store = LocalStore::new(scratch.path(), sharded());
    check(async {
        store_config(&store).await;
        put(&store, &Key::new("config"), b"new config", Existing::Replace).await.expect("put");
    });
    assert_eq!(files(scratch.path()), [(PathBuf::from("config"), 0o400)]);
    assert_eq!(fs::read(scratch.path().join("config")).expect("read"), b"new config");
}

#[test]
fn directories_that_were_never_made_are_made_on_demand() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let store = LocalStore::new(scratch.path(), sharded());
    check(async {
        assert_eq!(listed(&store, "data/").await.expect("the location is there"), []);
        put(&store, &data_key(2), &[1; 1_000_000], Existing::Keep).await.expect("put");
        put(&store, &data_key(1), b"small", Existing::Keep).await.expect("put");
        assert_eq!(listed(&store, "data/").await.expect("listed").len(), 2);
    });
}

#[test]
fn leftovers_and_foreign_files_are_not_listed() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let store = LocalStore::new(scratch.path(), sharded());
    check(async {
        store_config(&store).await;
        let name = format!("4f{}", "e".repeat(62));
        for path in [
            "data/draft-tmp-12".to_owned(),
            format!("data/4f/{name}-tmp-12"),
            format!("data/50/{name}"),
            format!("index/{name}.par2"),
            "README".to_owned(),
        ] {
            fs::write(scratch.path().join(path), "foreign").expect("written");
        }
        fs::create_dir_all(scratch.path().join(format!("index/{name}"))).expect("made");
        fs::create_dir_all(scratch.path().join("lost+found/x")).expect("made");
        let rows = listed(&store, "").await.expect("listed");
        assert_eq!(rows.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(), ["config"]);
        let directory = Key::new(format!("index/{name}"));
        check_failure(store.read(&directory, Range::All).await, Failure::Permanent);
        check_failure(store.stat(&directory).await, Failure::Permanent);
    });
}

#[test]
fn a_key_without_a_place_is_refused() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let store = LocalStore::new(scratch.path().join("inner"), sharded());
    check(async {
        store.create().await.expect("created");
        for key in ["../escaped", "data/../../escaped", "data/4f", "other", "/etc/passwd"] {
            let key = Key::new(key);
            check_failure(put(&store, &key, b"x", Existing::Keep).await, Failure::Permanent);
            check_failure(store.read(&key, Range::All).await, Failure::Permanent);
            check_failure(store.delete(&key).await, Failure::Permanent);
        }
    });
    assert_eq!(files(scratch.path()), []);
}

#[test]
fn a_location_that_vanishes_is_not_begun_again() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let root = scratch.path().join("volume/repository");
    let store = LocalStore::new(&root, sharded());
    check(async {
        store_config(&store).await;
        fs::rename(&root, scratch.path().join("unmounted")).expect("renamed");
        for size in [10, 1_000_000] {
            let result = put(&store, &data_key(1), &vec![1; size], Existing::Keep).await;
            check_failure(result, Failure::NotFound);
        }
        let error = store.stat(&data_key(1)).await.expect_err("it has gone");
        assert!(error.object.ends_with("volume/repository"), "{error}");
    });
    assert!(!root.exists());
}

#[test]
fn a_failed_append_poisons_the_draft() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let store = LocalStore::new(scratch.path().join("repository"), sharded());
    check(async {
        store.create().await.expect("created");
        let mut draft = store.draft(0).expect("draft");
        fs::rename(scratch.path().join("repository"), scratch.path().join("gone")).expect("moved");
        check_failure(draft.append(&[1; 1_000_000]), Failure::NotFound);
        fs::rename(scratch.path().join("gone"), scratch.path().join("repository")).expect("back");
        assert!(draft.append(b"rest").is_err());
        assert!(draft.read_back().is_err());
        assert!(draft.commit(&data_key(1), Existing::Keep).await.is_err());
    });
    assert_eq!(files(scratch.path()), []);
}

#[test]
fn a_full_disk_is_no_space() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    // Only root may mount a disk that is small enough to fill; elsewhere the classes of errnos
    // are checked beside the adapter.
    let Some(disk) = TinyDisk::mount(&scratch.path().join("data")) else { return };
    let store = LocalStore::new(scratch.path(), sharded());
    check(async {
        let mut draft = store.draft(0).expect("draft");
        let result = (0..64).try_for_each(|_| draft.append(&[1; 64 * 1024]));
        check_failure(result, Failure::NoSpace);
        drop(draft);
    });
    assert_eq!(files(scratch.path()), []);
    drop(disk);
}

#[test]
fn a_read_only_mount_can_be_read() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let root = scratch.path().join("repository");
    let Some(disk) = TinyDisk::mount(&root) else { return };
    let store = LocalStore::new(&root, sharded());
    check(store_config(&store));
    mount_remount(&root, MountFlags::RDONLY, c"").expect("remounted");
    let store = LocalStore::new(&root, sharded());
    check(async {
        assert_eq!(listed(&store, "").await.expect("listed").len(), 1);
        assert_eq!(store.read(&Key::new("config"), Range::All).await.expect("read"), "config");
        let put = put(&store, &data_key(1), b"x", Existing::Keep).await;
        check_failure(put, Failure::NoSpace);
        check_failure(store.delete(&Key::new("config")).await, Failure::NoSpace);
        store.create().await.expect("there is nothing to create");
    });
    drop(disk);
}

#[test]
fn parts_on_other_file_systems_work() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let Some(disk) = TinyDisk::mount(&scratch.path().join("data")) else { return };
    let store = LocalStore::new(scratch.path(), sharded());
    check(async {
        store.create().await.expect("created");
        let key = Key::new(format!("index/{}", "e".repeat(64)));
        let bytes: Vec<u8> = (0..600_000_u32).map(|number| (number >> 3) as u8).collect();
        put(&store, &key, &bytes, Existing::Keep).await.expect("put");
        put(&store, &key, &bytes, Existing::Keep).await.expect("the same again is stored");
        let other = put(&store, &key, &bytes[1..], Existing::Keep).await;
        check_failure(other, Failure::Permanent);
        assert!(store.read(&key, Range::All).await.expect("read") == bytes);
    });
    let index = format!("index/{}", "e".repeat(64));
    assert_eq!(files(scratch.path()), [(PathBuf::from(index), 0o400)]);
    drop(disk);
}

struct TinyDisk(PathBuf);

impl TinyDisk {
    fn mount(at: &Path) -> Option<Self> {
        fs::create_dir_all(at).expect("made");
        let flags = MountFlags::empty();
        mount("none", at, "tmpfs", flags, Some(c"size=2m")).is_ok().then(|| Self(at.to_owned()))
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        unmount(&self.0, UnmountFlags::DETACH).expect("unmounted");
    }
}
