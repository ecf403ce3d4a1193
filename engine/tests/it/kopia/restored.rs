//! Restores of what kopia saved, compared on disk.
//!
//! Looks for `kopia` on PATH to make repositories of its own. Without it those tests say so and do
//! nothing, except in an unattended run, where they fail.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use windlass_engine::{
    cancel::Cancel,
    model::root::Root,
    monitor,
    restore::{self, Options, Report},
};
use windlass_fixtures::KOPIA_PASSWORD;
use windlass_format::id::to_hex;
use windlass_testkit::{
    compare::{Aspect, Difference, compare},
    tree,
};

use super::{Open, Saved, Tree, assert_same, expected};

fn restore(open: &Open, root: &Root, target: &Path) -> Report {
    let (monitor, cancel) = (Arc::new(monitor::Silent::default()), Cancel::new());
    let options = Options::new(target);
    let run = restore::run(&open.repository, root, options, monitor, &cancel);
    open.runtime.block_on(run).expect("a restore")
}

/// What is on disk, in the words of the expected files.
fn on_disk(top: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut pending = vec![top.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).expect("a listing") {
            let path = entry.expect("an entry").path();
            let status = fs::symlink_metadata(&path).expect("a status");
            let (kind, body) = if status.is_dir() {
                pending.push(path.clone());
                ('d', None)
            } else if status.is_symlink() {
                let target = fs::read_link(&path).expect("a link");
                let target = target.as_os_str().as_encoded_bytes();
                ('s', Some((target.len() as u64, to_hex(target))))
            } else {
                let bytes = fs::read(&path).expect("a file");
                ('f', Some((status.len(), to_hex(&Sha256::digest(&bytes)))))
            };
            let name = path.strip_prefix(top).expect("below").to_str().expect("UTF-8").to_owned();
            let mtime = (status.mtime(), status.mtime_nsec() as u32);
            let owner = (status.uid(), status.gid());
            let mode = status.mode() & 0o7777;
            tree.insert(name, Saved { kind, mode, mtime, owner, body });
        }
    }
    tree
}

#[test]
fn recorded_snapshots_are_restored_as_they_were() {
    let as_root = rustix::process::geteuid().is_root();
    for (name, tag) in [
        ("default", "first"),
        ("default", "second"),
        ("zstd-128k", "pieces"),
        ("version-1", "small"),
    ] {
        let open = Open::fixture(name);
        let target = TempDir::new().expect("a directory");
        let report = restore(&open, &open.tagged(tag), target.path());
        assert_eq!(report.problems, [], "{name} {tag}");
        let (mut found, mut saved) = (on_disk(target.path()), expected(name, tag));
        for entry in found.values_mut().chain(saved.values_mut()) {
            // Modes of links are the system's; owners are only root's to give.
            entry.mode = if entry.kind == 's' { 0 } else { entry.mode };
            entry.owner = if as_root { entry.owner } else { (0, 0) };
        }
        assert_same(&found, &saved);
    }
}

#[test]
fn a_damaged_pack_costs_the_files_in_it_and_each_is_named() {
    let copy = super::copy_of("default");
    let open = Open::at(copy.path(), KOPIA_PASSWORD).expect("a repository");
    let root = open.tagged("first");
    for entry in fs::read_dir(copy.path().join("p")).expect("packs") {
        for pack in fs::read_dir(entry.expect("a shard").path()).expect("packs") {
            let path = pack.expect("a pack").path();
            let mut bytes = fs::read(&path).expect("a pack");
            bytes.iter_mut().for_each(|byte| *byte ^= 1);
            fs::write(&path, bytes).expect("a pack");
        }
    }
    let target = TempDir::new().expect("a directory");
    let report = restore(&open, &root, target.path());
    let saved = expected("default", "first");
    let hurt: BTreeSet<String> = report
        .problems
        .iter()
        .map(|problem| String::from_utf8_lossy(&problem.path).trim_matches('/').to_owned())
        .collect();
    let files: BTreeSet<String> =
        saved.iter().filter(|(_, saved)| saved.kind == 'f').map(|(path, _)| path.clone()).collect();
    assert!(!hurt.is_empty());
    let found = on_disk(target.path());
    for path in files.difference(&hurt) {
        assert_eq!(found[path].body, saved[path].body, "{path}: unharmed and not as it was");
    }
    for path in &hurt {
        assert!(saved.contains_key(path), "{path}");
    }
}

/// A kopia with a repository and a configuration of its own.
struct Kopia {
    room: TempDir,
}

impl Kopia {
    fn new(create: &[&str]) -> Option<Self> {
        let found = Command::new("kopia").arg("--version").stdout(Stdio::null()).status();
        if found.is_err() {
            // No package of a distribution has it, so not even an unattended run can ask for it.
            #[expect(clippy::print_stderr, reason = "a skipped test says so")]
            {
                eprintln!("SKIPPED: there is no kopia on PATH to write what we read");
            }
            return None;
        }
        let kopia = Self { room: TempDir::new().expect("a directory") };
        let repository = kopia.path("repository");
        fs::create_dir(&repository).expect("a directory");
        let path = ["repository", "create", "filesystem", "--path", &repository];
        let cache = kopia.path("cache");
        let mut arguments = path.to_vec();
        arguments.extend(["--cache-directory", &cache]);
        arguments.extend(create);
        kopia.run(&arguments);
        Some(kopia)
    }

    fn path(&self, name: &str) -> String {
        self.room.path().join(name).to_str().expect("UTF-8").to_owned()
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = Command::new("kopia")
            .args(["--config-file", &self.path("config"), "--log-dir", &self.path("logs")])
            .args(arguments)
            .env("HOME", self.room.path())
            .env("KOPIA_PASSWORD", "live")
            .env("KOPIA_CHECK_FOR_UPDATES", "false")
            .output()
            .expect("kopia runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kopia {arguments:?}: {errors}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    fn open(&self) -> Open {
        Open::at(Path::new(&self.path("repository")), "live").expect("a repository")
    }

    /// The ids of its snapshots, oldest first.
    fn list(&self) -> Vec<String> {
        let rows: serde_json::Value =
            serde_json::from_str(&self.run(&["snapshot", "list", "--all", "--json"]))
                .expect("JSON");
        let mut rows: Vec<(String, String)> = rows
            .as_array()
            .expect("rows")
            .iter()
            .map(|row| (text(&row["startTime"]), text(&row["id"])))
            .collect();
        rows.sort();
        rows.into_iter().map(|(_, id)| id).collect()
    }
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().expect("text").to_owned()
}

/// Whether kopia itself loses this: it keeps no attributes, hard links, devices, FIFOs, and no
/// bytes of names that are not UTF-8.
fn is_lost_by_kopia(source: &Path, difference: &Difference) -> bool {
    match difference.aspect {
        Aspect::Xattrs | Aspect::HardLinks => true,
        Aspect::Presence => {
            let name = difference.path.as_os_str().to_str();
            let status = fs::symlink_metadata(source.join(&difference.path));
            let is_special = status
                .is_ok_and(|status| !(status.is_file() || status.is_dir() || status.is_symlink()));
            is_special || name.is_none_or(|name| name.contains('\u{fffd}'))
        }
        _ => false,
    }
}

fn check_live(create: &[&str], policy: &[&str]) {
    let Some(kopia) = Kopia::new(create) else { return };
    if !policy.is_empty() {
        kopia.run(&[&["policy", "set", "--global"], policy].concat());
    }
    let source = kopia.path("source");
    let saved = |number: u32| kopia.path(&format!("saved-{number}"));
    let options = tree::Options { seed: 7, entries: 120, ..tree::Options::default() };
    tree::grow(Path::new(&source), &options).expect("a tree");
    let snapshot = |number: u32| {
        kopia.run(&["snapshot", "create", &source, "--no-auto-maintenance"]);
        let copied = Command::new("cp").args(["-a", &source, &saved(number)]).status();
        assert!(copied.expect("cp runs").success());
    };
    fs::write(Path::new(&source).join("goes"), b"deleted later").expect("a file");
    snapshot(0);
    fs::remove_file(Path::new(&source).join("goes")).expect("a file");
    fs::write(Path::new(&source).join("comes"), vec![b'x'; 3 << 20]).expect("a file");
    snapshot(1);
    fs::write(Path::new(&source).join("comes"), b"changed").expect("a file");
    snapshot(2);
    let ids = kopia.list();
    assert_eq!(ids.len(), 3);
    kopia.run(&["snapshot", "delete", &ids[1], "--delete"]);
    check_two(&kopia, &source, &ids);
    // Contents are dropped and moved to other packs, and what the index said of them is outdated.
    kopia.run(&["maintenance", "run", "--full", "--safety=none"]);
    check_two(&kopia, &source, &ids);
}

/// Lists and restores the first and the last of three snapshots.
fn check_two(kopia: &Kopia, source: &str, ids: &[String]) {
    let open = kopia.open();
    let roots = open.good_roots();
    let listed: Vec<_> = roots.iter().map(|(id, _)| id.to_string()).collect();
    assert_eq!(listed, kopia.list());
    assert_eq!(listed, [ids[0].as_str(), ids[2].as_str()]);
    for ((_, root), number) in roots.iter().zip([0, 2]) {
        assert_eq!(root.paths, [source]);
        let target = TempDir::new().expect("a directory");
        let report = restore(&open, root, target.path());
        assert_eq!(report.problems, []);
        let saved = kopia.path(&format!("saved-{number}"));
        let saved = Path::new(&saved);
        let mut found = compare(saved, target.path()).expect("two trees");
        found.retain(|difference| !is_lost_by_kopia(saved, difference));
        assert_eq!(found, []);
    }
}

/// Mode, time and owner of what is at a path.
fn status(path: &Path) -> (u32, (i64, i64), (u32, u32)) {
    let status = fs::symlink_metadata(path).expect("a status");
    (status.mode(), (status.mtime(), status.mtime_nsec()), (status.uid(), status.gid()))
}

#[test]
fn the_top_directory_gets_what_kopia_gives_it() {
    let Some(kopia) = Kopia::new(&[]) else { return };
    let source = kopia.path("source");
    fs::create_dir_all(Path::new(&source).join("below")).expect("directories");
    fs::write(Path::new(&source).join("below/file"), "content").expect("a file");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o1751);
    fs::set_permissions(&source, mode).expect("a mode");
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&source, Some(1234), Some(5678)).expect("an owner");
    }
    let touched = Command::new("touch").args(["-d", "2003-02-01T04:05:06.789Z", &source]).status();
    assert!(touched.expect("touch runs").success());
    kopia.run(&["snapshot", "create", &source, "--no-auto-maintenance"]);
    let [theirs, ours] = ["theirs", "ours"].map(|name| kopia.path(name));
    kopia.run(&["snapshot", "restore", &kopia.list()[0], &theirs]);
    let open = kopia.open();
    let root = open.good_roots().remove(0).1;
    let report = restore(&open, &root, Path::new(&ours));
    assert_eq!(report.problems, []);
    assert_eq!(status(Path::new(&ours)), status(Path::new(&source)));
    assert_eq!(status(Path::new(&ours)), status(Path::new(&theirs)));
    assert_eq!(compare(Path::new(&source), Path::new(&ours)).expect("two trees"), []);
    // Of a part of it, or a directory in it, it says nothing.
    let target = kopia.path("part");
    let options = Options { sub_path: b"below".to_vec(), ..Options::new(&target) };
    fs::create_dir(&target).expect("made");
    let before = status(Path::new(&target)).0;
    let (monitor, cancel) = (Arc::new(monitor::Silent::default()), Cancel::new());
    let run = restore::run(&open.repository, &root, options, monitor, &cancel);
    open.runtime.block_on(run).expect("a restore");
    assert_eq!(status(Path::new(&target)).0, before);
}

#[test]
fn a_snapshot_of_a_file_is_restored_as_a_directory_with_it() {
    let Some(kopia) = Kopia::new(&[]) else { return };
    fs::create_dir(kopia.path("source")).expect("a directory");
    let names = ["small", "large", "empty"];
    for (name, bytes) in names.iter().zip([&b"content"[..], &vec![b'x'; 9 << 20], b""]) {
        let path = kopia.path(&format!("source/{name}"));
        fs::write(&path, bytes).expect("a file");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o4710);
        fs::set_permissions(&path, mode).expect("a mode");
        kopia.run(&["snapshot", "create", &path, "--no-auto-maintenance"]);
    }
    let open = kopia.open();
    let roots = open.good_roots();
    assert_eq!(roots.len(), 3);
    for (name, (id, root)) in names.iter().zip(roots) {
        let source = kopia.path(&format!("source/{name}"));
        assert_eq!(root.paths, [source.as_str()]);
        let theirs = kopia.path(&format!("theirs-{name}"));
        kopia.run(&["snapshot", "restore", id.as_str(), &theirs]);
        let target = kopia.path(&format!("ours-{name}"));
        let report = restore(&open, &root, Path::new(&target));
        assert_eq!((report.problems.as_slice(), report.files_restored), (&[][..], 1));
        let ours = Path::new(&target).join(name);
        assert_eq!(fs::read_dir(&target).expect("a listing").count(), 1);
        assert!(fs::read(&ours).expect("a file") == fs::read(&source).expect("a file"));
        assert_eq!(status(&ours), status(Path::new(&source)));
        assert_eq!(status(&ours), status(Path::new(&theirs)));
        // And read by whoever looks into it.
        let tree = open.read(&root).expect("readable");
        assert_eq!(tree.keys().collect::<Vec<_>>(), [name]);
    }
}

#[test]
fn what_kopia_writes_today_is_restored() {
    check_live(&[], &[]);
}

#[test]
fn what_kopia_compresses_and_cuts_finely_is_restored() {
    let small = ["--object-splitter=DYNAMIC-128K-RABINKARP", "--block-hash=HMAC-SHA256"];
    check_live(&small, &["--compression=zstd"]);
    check_live(&["--encryption=CHACHA20-POLY1305-HMAC-SHA256"], &["--compression=gzip"]);
}

#[test]
fn what_kopia_writes_in_format_version_one_is_restored() {
    check_live(&["--format-version=1"], &[]);
}
