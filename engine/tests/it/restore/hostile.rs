//! Snapshots made to do harm.

use std::{fs, path::Path};

use windlass_engine::{
    fault::Class,
    model::{
        chunk::{ChunkKey, Role},
        directory::{Directory, Entry, Kind, Target},
        object::Content,
        pack::{Location, PackName},
        root::Root,
    },
    restore::{MOST_LEVELS, Options, Report},
};
use windlass_format::time::Timestamp;

use super::Stage;

/// Chunks put into the repository behind everyone's back.
struct Planter<'a> {
    stage: &'a Stage,
    planted: u32,
}

impl Planter<'_> {
    fn chunk(&mut self, role: Role, plain: &[u8]) -> ChunkKey {
        let stage = self.stage;
        let encoder = stage.repository.dialect().encoder().unwrap();
        let mut keys = Vec::new();
        encoder.hash(std::iter::once((role, plain)), std::iter::empty(), &mut keys);
        let (mut scratch, mut stored) = (encoder.scratch().unwrap(), Vec::new());
        self.planted += 1;
        let mut name = [7; 32];
        name[..4].copy_from_slice(&self.planted.to_le_bytes());
        let nonce = *name.first_chunk().unwrap();
        let sealed = encoder.seal(role, plain, &nonce, &mut scratch, &mut stored).unwrap();
        let name = PackName::Hash(name);
        let index = stage.runtime.block_on(stage.repository.index()).unwrap();
        let pack = index.add_pack(name.clone(), stored.len() as u64);
        let at = Location {
            pack,
            offset: 0,
            stored_bytes: stored.len() as u32,
            raw_bytes: sealed.raw_bytes,
            coding: sealed.coding,
        };
        stage.store.overwrite(&stage.repository.dialect().pack_key(&name), stored);
        index.insert(keys[0], at);
        keys[0]
    }

    fn directory(&mut self, entries: Vec<Entry>) -> ChunkKey {
        let encoder = self.stage.repository.dialect().encoder().unwrap();
        let mut plain = Vec::new();
        encoder.write_directory(&Directory { entries }, &mut plain).unwrap();
        self.chunk(Role::Directory, &plain)
    }

    fn file(&mut self, name: &[u8], content: &[u8], size_bytes: u64) -> Entry {
        let key = self.chunk(Role::File, content);
        entry(name, Kind::File { size_bytes, content: Content::Chunks(vec![key]) })
    }
}

fn entry(name: &[u8], kind: Kind) -> Entry {
    let time = Timestamp::utc(1_700_000_000, 0);
    Entry {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        ..Entry::plain(name, kind, 0o755, time)
    }
}

fn root(tree: ChunkKey) -> Root {
    Root {
        time: Timestamp::utc(0, 0),
        parent: None,
        tree,
        top: None,
        paths: Vec::new(),
        hostname: String::new(),
        username: String::new(),
        uid: 0,
        gid: 0,
        excludes: Vec::new(),
        tags: Vec::new(),
        original: None,
        description: String::new(),
        program: String::new(),
        summary: None,
    }
}

/// Restores a planted snapshot into `target`, where all that it may touch is.
fn restore(stage: &Stage, tree: ChunkKey) -> Report {
    let mut options = Options::new(stage.path("room/target"));
    options.delete = true;
    stage.restore(&root(tree), options).unwrap()
}

fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn names_that_lead_out_are_left_out_and_the_rest_comes() {
    let stage = Stage::new();
    fs::create_dir_all(stage.path("room")).unwrap();
    for name in [&b"../escaped"[..], b"a/b", b"/absolute", b".."] {
        let mut planter = Planter { stage: &stage, planted: 0 };
        let inner = planter.directory(Vec::new());
        let bad = vec![planter.file(name, b"evil", 4), planter.file(b"good", b"good", 4)];
        let tree = planter.directory(bad);
        let also = planter.directory(vec![
            entry(name, Kind::Directory { tree: Some(inner) }),
            entry(b"good", Kind::Directory { tree: Some(inner) }),
        ]);
        for tree in [tree, also] {
            let report = restore(&stage, tree);
            assert_eq!(
                (report.problem_count, report.files_restored + report.dirs_restored),
                (1, 1)
            );
            assert_eq!(names(&stage.path("room")), ["target"]);
            assert_eq!(names(&stage.path("room/target")), ["good"]);
            fs::remove_dir_all(stage.path("room/target")).unwrap();
        }
    }
}

#[test]
fn a_link_planted_by_the_snapshot_itself_is_not_followed() {
    let stage = Stage::new();
    fs::create_dir_all(stage.path("room/victim")).unwrap();
    let mut planter = Planter { stage: &stage, planted: 0 };
    let inner = vec![planter.file(b"evil", b"evil", 4)];
    let inner = planter.directory(inner);
    // The same name twice: first as a link, then as a directory through it.
    let link = Kind::Symlink { target: Target::Inline((*b"../victim").into()) };
    let encoder = stage.repository.dialect().encoder().unwrap();
    let mut plain = Vec::new();
    let entries = vec![entry(b"xa", link), entry(b"xb", Kind::Directory { tree: Some(inner) })];
    encoder.write_directory(&Directory { entries }, &mut plain).unwrap();
    let at = plain.windows(4).position(|bytes| bytes == b"\"xb\"").expect("the second name");
    plain[at + 2] = b'a';
    let tree = planter.chunk(Role::Directory, &plain);
    let result = stage.restore(&root(tree), Options::new(stage.path("room/target")));
    assert_eq!(result.expect_err("refused").class(), Class::Damaged);
    assert_eq!(names(&stage.path("room/victim")), [""; 0]);
}

#[test]
fn absurd_depth_is_refused_and_the_rest_comes() {
    let stage = Stage::new();
    let mut planter = Planter { stage: &stage, planted: 0 };
    let mut tree = planter.directory(Vec::new());
    for _level in 0..MOST_LEVELS + 2 {
        let deeper = entry(b"d", Kind::Directory { tree: Some(tree) });
        tree = planter.directory(vec![deeper]);
    }
    // Nothing here could remove so deep a tree again.
    let mut options = Options::new(stage.path("target"));
    options.dry_run = true;
    let report = stage.restore(&root(tree), options).unwrap();
    assert_eq!((report.problem_count, report.dirs_restored), (1, MOST_LEVELS as u64));
}

#[test]
fn sizes_that_lie_are_told_and_make_no_room() {
    let stage = Stage::new();
    let mut planter = Planter { stage: &stage, planted: 0 };
    let files = vec![planter.file(b"huge", b"tiny", u64::MAX), planter.file(b"zero", b"tiny", 0)];
    let tree = planter.directory(files);
    let report = restore(&stage, tree);
    assert_eq!(report.problem_count, 2);
    for name in ["huge", "zero"] {
        assert_eq!(fs::read(stage.path("room/target").join(name)).unwrap(), b"tiny");
    }
}

#[test]
fn an_index_that_lies_about_lengths_writes_nothing_wrong() {
    let stage = Stage::new();
    let mut planter = Planter { stage: &stage, planted: 0 };
    let file = planter.file(b"file", b"content", 7);
    let Kind::File { content: Content::Chunks(keys), .. } = &file.kind else { panic!("a file") };
    let key = keys[0];
    let tree = planter.directory(vec![file]);
    let index = stage.runtime.block_on(stage.repository.index()).unwrap();
    let at = index.find(&key).unwrap();
    // A new index in which the first place of the chunk is the lie.
    let other = ChunkKey::full(key.tag(), [9; 32]);
    index.insert(other, Location { raw_bytes: 1 << 30, ..at });
    let lying =
        entry(b"lying", Kind::File { size_bytes: 1 << 30, content: Content::Chunks(vec![other]) });
    let lies = planter.directory(vec![lying]);
    assert_eq!(restore(&stage, tree).problem_count, 0);
    let report = restore(&stage, lies);
    assert_eq!((report.problem_count, report.files_restored), (1, 0));
}

#[test]
fn chunks_that_no_index_knows_cost_their_file() {
    let stage = Stage::new();
    let mut planter = Planter { stage: &stage, planted: 0 };
    let unknown = ChunkKey::full(planter.chunk(Role::File, b"x").tag(), [1; 32]);
    let content = Content::Chunks(vec![unknown]);
    let files = vec![
        entry(b"lost", Kind::File { size_bytes: 1, content }),
        planter.file(b"whole", b"y", 1),
    ];
    let tree = planter.directory(files);
    let report = restore(&stage, tree);
    assert_eq!((report.problem_count, report.files_restored), (1, 1));
    assert_eq!(names(&stage.path("room/target")), ["whole"]);
}

#[test]
fn a_stale_inode_joins_no_group() {
    let stage = Stage::new();
    let mut planter = Planter { stage: &stage, planted: 0 };
    let mut one = planter.file(b"one", b"1", 1);
    let mut two = planter.file(b"two", b"2", 1);
    // Taken over from older backups: the same inode, but one link each.
    for entry in [&mut one, &mut two] {
        (entry.inode, entry.device, entry.links) = (5, 1, 1);
    }
    let tree = planter.directory(vec![one, two]);
    restore(&stage, tree);
    assert_eq!(fs::read(stage.path("room/target/one")).unwrap(), b"1");
    assert_eq!(fs::read(stage.path("room/target/two")).unwrap(), b"2");
}
