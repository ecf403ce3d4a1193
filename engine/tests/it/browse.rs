//! Roots shown as one tree: every byte and attribute of what was backed up, from any place, with
//! each chunk and directory read once.

use std::{
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileExt, FileTypeExt, MetadataExt},
    },
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::fs::{lgetxattr, llistxattr};
use windlass_engine::{
    browse::{Attributes, BrowseError, Browser, Node, Options, Shape},
    cancel::Cancel,
    entropy::Entropy,
    repository::Repository,
};
use windlass_format::restic::config::Version;
use windlass_testkit::{
    recording::{Action, RecordingStore},
    tree,
};

use super::scene::{Scene, empty, noise};

fn browser_with(
    scene: &Scene,
    repository: Repository,
    change: impl FnOnce(&mut Options),
) -> Browser {
    let repository = Arc::new(repository);
    let mut options = Options::new(&repository);
    change(&mut options);
    scene.runtime.block_on(Browser::new(repository, options, &Cancel::new())).expect("opened")
}

fn browser(scene: &Scene, repository: Repository) -> Browser {
    browser_with(scene, repository, |_usual| {})
}

fn find(browser: &Browser, path: &str) -> Result<(Node, Attributes), BrowseError> {
    browser.find(path.split('/').filter(|name| !name.is_empty()).map(str::as_bytes))
}

/// The names in a directory, asked for a few at a time.
fn names(browser: &Browser, node: &Node) -> Vec<(Box<[u8]>, Node, Attributes)> {
    let listing = browser.list(node).expect("a directory");
    let (mut names, mut from) = (Vec::new(), Some(0));
    while let Some(at) = from {
        let page = browser.page(&listing, at, 3).expect("a page");
        names.extend(page.items.into_iter().map(|item| (item.name, item.node, item.attributes)));
        from = page.next;
    }
    names
}

/// The names as text.
fn words(browser: &Browser, path: &str) -> Vec<String> {
    let (node, _) = find(browser, path).expect("there");
    let text = |name: Box<[u8]>| String::from_utf8(name.into()).expect("UTF-8");
    names(browser, &node).into_iter().map(|(name, ..)| text(name)).collect()
}

/// Everything, in steps of this many bytes.
fn content(browser: &Browser, node: &Node, step: usize) -> Vec<u8> {
    let file = browser.open(node).expect("a file");
    let mut bytes = Vec::new();
    loop {
        let part = browser.read(&file, bytes.len() as u64, step).expect("read");
        if part.is_empty() {
            return bytes;
        }
        bytes.extend(part);
    }
}

/// Everything below `path` is as it is shown.
fn check_same(browser: &Browser, path: &Path, node: &Node, dice: &Entropy) -> usize {
    let mut there: Vec<_> =
        fs::read_dir(path).expect("a directory").map(|e| e.expect("one")).collect();
    there.sort_by_key(fs::DirEntry::file_name);
    let shown = names(browser, node);
    let expected: Vec<_> = there.iter().map(|entry| entry.file_name()).collect();
    assert!(shown.iter().map(|(name, ..)| &**name).eq(expected.iter().map(|name| name.as_bytes())));
    let mut count = shown.len();
    for (entry, (name, child, listed)) in there.iter().zip(shown) {
        let path = entry.path();
        let metadata = fs::symlink_metadata(&path).expect("there");
        let (found, attributes) = browser.look_up(node, &name).expect("found");
        assert_eq!((&found, attributes), (&child, listed), "{path:?}");
        assert_eq!(browser.attributes(&child).expect("known"), listed, "{path:?}");
        let kind = metadata.file_type();
        let shape = match kind {
            _ if kind.is_dir() => Shape::Directory,
            _ if kind.is_symlink() => Shape::Symlink,
            _ if kind.is_fifo() => Shape::Fifo,
            _ if kind.is_block_device() => Shape::BlockDevice,
            _ if kind.is_char_device() => Shape::CharDevice,
            _ => Shape::File,
        };
        assert_eq!(listed.shape, shape, "{path:?}");
        assert_eq!(listed.mode, metadata.mode() & 0o7777, "{path:?}");
        assert_eq!(listed.owner, Some((metadata.uid(), metadata.gid())), "{path:?}");
        let mtime = (metadata.mtime(), metadata.mtime_nsec() as u32);
        assert_eq!(listed.mtime.instant(), mtime, "{path:?}");
        let is_linked = metadata.nlink() > 1 && shape != Shape::Directory;
        let identity = is_linked.then(|| (metadata.dev(), metadata.ino()));
        assert_eq!(listed.identity, identity, "{path:?}");
        check_xattrs(browser, &path, &child);
        match shape {
            Shape::Directory => count += check_same(browser, &path, &child, dice),
            Shape::Symlink => {
                let target = fs::read_link(&path).expect("a link");
                assert_eq!(
                    &*browser.target(&child).expect("a link"),
                    target.as_os_str().as_bytes()
                );
                assert_eq!(listed.size_bytes, metadata.len());
            }
            Shape::File => {
                assert_eq!(listed.size_bytes, metadata.len());
                let bytes = fs::read(&path).expect("read");
                assert!(content(browser, &child, 100_003) == bytes, "{path:?}");
                check_parts(browser, &path, &child, dice);
            }
            _ => assert_eq!(listed.rdev, metadata.rdev(), "{path:?}"),
        }
    }
    count
}

fn check_xattrs(browser: &Browser, path: &Path, node: &Node) {
    let mut room = vec![0; 1 << 16];
    let length = llistxattr(path, &mut room[..]).unwrap_or(0);
    let mut expected: Vec<(Vec<u8>, Vec<u8>)> = room[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let mut value = vec![0; 1 << 16];
            let length = lgetxattr(path, name, &mut value[..]).expect("a value");
            value.truncate(length);
            (name.to_vec(), value)
        })
        .collect();
    let shown = browser.xattrs(node).expect("known").into_iter();
    let mut shown: Vec<_> = shown.map(|one| (one.name.into_vec(), one.value.into_vec())).collect();
    expected.sort();
    shown.sort();
    assert_eq!(shown, expected, "{path:?}");
}

/// Parts from anywhere, also from behind the end.
fn check_parts(browser: &Browser, path: &Path, node: &Node, dice: &Entropy) {
    let file = browser.open(node).expect("opened");
    let original = fs::File::open(path).expect("opened");
    for _part in 0..4 {
        let [from, most] = [0, 1].map(|_| u32::from_le_bytes(dice.bytes().expect("seeded")));
        let from = u64::from(from) % (file.size_bytes() * 9 / 8 + 1);
        let most = most as usize % 300_000;
        let mut expected = vec![0; most];
        let mut length = 0;
        while length < most {
            let more = original.read_at(&mut expected[length..], from + length as u64);
            match more.expect("read") {
                0 => break,
                more => length += more,
            }
        }
        expected.truncate(length);
        let shown = browser.read(&file, from, most).expect("read");
        assert!(shown == expected, "{path:?} {from} {most}");
    }
}

#[test]
fn every_byte_and_attribute_is_shown_as_it_was_saved() {
    let scene = Scene::new();
    let options = tree::Options { seed: 41, entries: 160, ..tree::Options::default() };
    tree::grow(&scene.source(), &options).expect("grown");
    scene.write("large", noise(3, 9_000_000));
    let store = empty(Version::V2);
    scene.back_up(&scene.open(store.clone()));
    // So little that what is read has to make room for what comes next.
    let browser = browser_with(&scene, scene.open(store), |options| options.memory_bytes = 2 << 20);
    let path = format!("snapshots/latest{}", scene.source().display());
    let (node, attributes) = find(&browser, &path).expect("there");
    assert_eq!(attributes.shape, Shape::Directory);
    let count = check_same(&browser, &scene.source(), &node, &Entropy::seeded(5));
    assert!(count > 100, "{count}");
}

#[test]
fn chunks_and_directories_are_read_once() {
    let scene = Scene::new();
    for file in 0..300 {
        scene.write(&format!("many/{file:03}"), "small");
    }
    scene.write("large", noise(1, 6_000_000));
    let recording = RecordingStore::new(empty(Version::V2));
    let log = recording.log();
    let repository = scene.open(recording);
    scene.back_up(&repository);
    let browser = browser(&scene, repository);
    let path = |name: &str| format!("snapshots/latest{}/{name}", scene.source().display());
    let _before = log.take();

    let (node, _) = find(&browser, &path("large")).expect("there");
    let once = content(&browser, &node, 4096);
    assert!(once == noise(1, 6_000_000));
    let reads = log.count(Action::Read, "data/");
    assert!((2..40).contains(&reads), "{reads}");
    let _before = log.take();
    assert!(content(&browser, &node, 10_000) == once);
    for file in 0..300 {
        find(&browser, &path(&format!("many/{file:03}"))).expect("there");
    }
    let reads = log.count(Action::Read, "data/");
    assert!(reads <= 1, "{reads}: the directory");
}

#[test]
fn who_reads_on_finds_the_next_chunk_read_already() {
    let scene = Scene::new();
    scene.write("large", noise(1, 8_000_000));
    let recording = RecordingStore::new(empty(Version::V2));
    let log = recording.log();
    let repository = scene.open(recording);
    scene.back_up(&repository);
    let browser = browser(&scene, repository);
    let path = format!("snapshots/latest{}/large", scene.source().display());
    let (node, _) = find(&browser, &path).expect("there");
    let file = browser.open(&node).expect("opened");
    let reads = || log.count(Action::Read, "data/");
    let before = reads();
    browser.read(&file, 0, 1000).expect("read");
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(reads() - before, 1, "nobody has read on yet");
    browser.read(&file, 1000, 1000).expect("read");
    let began = Instant::now();
    while reads() - before < 3 && began.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(reads() - before, 3, "two more than were asked for");
}

#[test]
fn roots_are_where_the_templates_say() {
    let scene = Scene::new();
    scene.write("file", "content");
    let store = empty(Version::V2);
    let repository = scene.open(store.clone());
    let mut times = Vec::new();
    for (number, tag) in ["a", "a", "b/c"].into_iter().enumerate() {
        let mut options = scene.options();
        options.tags = vec![tag.into()];
        let time = format!("2024-02-0{}T03:04:05Z", 1 + number / 2);
        options.time = windlass_format::time::Timestamp::parse_rfc3339(&time);
        times.push(time);
        scene.write("file", format!("content {number}"));
        scene.try_back_up(&repository, options).expect("backed up");
    }
    let roots = scene.roots(&repository);
    let browser_of = |templates: &[&str], layout: &str| {
        browser_with(&scene, scene.open(store.clone()), |options| {
            options.templates = templates.iter().map(|text| (*text).into()).collect();
            options.time_layout = layout.into();
            options.choose = Arc::new(|root| root.hostname == super::scene::HOST);
        })
    };
    let usual = windlass_engine::browse::USUAL_TIME;
    let browser = browser_of(&[], usual);
    assert_eq!(words(&browser, ""), ["hosts", "ids", "snapshots", "tags"]);
    let mut ids: Vec<_> = roots.iter().map(|(id, _)| id.short().to_owned()).collect();
    ids.sort();
    assert_eq!(words(&browser, "ids"), ids);
    let all = [&times[0], &format!("{}-1", times[0]), &times[2], "latest"];
    assert_eq!(words(&browser, "snapshots"), all);
    assert_eq!(words(&browser, "hosts/host"), all);
    assert_eq!(words(&browser, "tags"), ["a", "b_c"]);
    assert_eq!(words(&browser, "tags/a"), [&times[0], &format!("{}-1", times[0]), "latest"]);
    let source = scene.source();
    let shown = |path: &str| {
        let (node, _) = find(&browser, &format!("{path}{}/file", source.display())).expect("there");
        String::from_utf8(content(&browser, &node, 5)).expect("UTF-8")
    };
    assert_eq!(shown("snapshots/latest"), "content 2");
    assert_eq!(shown("tags/b_c/latest"), "content 2");
    let of_both = [shown("tags/a/latest"), shown(&format!("tags/a/{}", times[0]))];
    assert!(of_both == ["content 0", "content 1"] || of_both == ["content 1", "content 0"]);

    let browser = browser_of(&["by/%T/%h", "by/%T", "%u"], "2006/01/02");
    assert_eq!(words(&browser, "by/2024"), ["02"]);
    assert_eq!(words(&browser, "by/2024/02"), ["01", "01-1", "01-2", "02", "02-1"]);
    let (link, _) =
        browser.look_up(&find(&browser, "by").expect("there").0, b"latest").expect("it");
    assert_eq!(&*browser.target(&link).expect("a link"), b"2024/02/02-1");
    for (path, is) in [
        ("by/nothing", "not found"),
        ("by/latest/nothing", "not found"),
        ("..", "not found"),
        ("by/../by", "not found"),
    ] {
        assert_eq!(find(&browser, path).expect_err(path).to_string(), is, "{path}");
    }
}

#[test]
fn roots_that_come_later_are_shown_and_what_is_open_stays() {
    let scene = Scene::new();
    scene.write("file", "one");
    let store = empty(Version::V2);
    scene.back_up(&scene.open(store.clone()));
    let browser = browser_with(&scene, scene.open(store.clone()), |options| {
        options.refresh = Duration::ZERO;
    });
    let path = format!("snapshots/latest{}/file", scene.source().display());
    let (old, _) = find(&browser, &path).expect("there");
    let file = browser.open(&old).expect("opened");
    let listing = browser.list(&find(&browser, "ids").expect("there").0).expect("listed");
    scene.write("file", noise(9, 70_000));
    scene.back_up(&scene.open(store.clone()));
    assert_eq!(words(&browser, "ids").len(), 2);
    let (new, _) = find(&browser, &path).expect("there");
    assert!(content(&browser, &new, 1 << 20) == noise(9, 70_000));
    assert_eq!(browser.read(&file, 0, 10).expect("read"), b"one");
    assert_eq!(browser.page(&listing, 0, 10).expect("a page").items.len(), 1);
}

#[test]
fn damage_is_an_error_of_what_is_damaged() {
    let scene = Scene::new();
    scene.write("bad", noise(1, 3_000_000));
    scene.write("good", "good");
    let store = empty(Version::V2);
    let repository = scene.open(store.clone());
    scene.back_up(&repository);
    let reader = scene.runtime.block_on(repository.reader()).expect("an index");
    let mut last = None;
    let root = scene.roots(&repository).remove(0).1;
    let walked = scene.walk(&repository, &root, |_, directory| {
        for entry in &directory.entries {
            if let windlass_engine::model::directory::Kind::File { content, .. } = &entry.kind
                && *entry.name == *b"bad"
            {
                last = reader.chunks_of(content).expect("chunks").last().copied();
            }
        }
    });
    walked.expect("whole");
    let at = reader.location(&last.expect("a chunk")).expect("known");
    let index = scene.runtime.block_on(repository.index()).expect("an index");
    let name = index.pack_name(at.pack).expect("a pack");
    let key = repository.dialect().pack_key(&name);
    let mut bytes = store.contents().remove(&key).expect("a pack").to_vec();
    bytes[at.offset as usize + 40] ^= 1;
    store.overwrite(&key, bytes);

    let browser = browser(&scene, scene.open(store));
    let path = |name: &str| format!("snapshots/latest{}/{name}", scene.source().display());
    let (good, _) = find(&browser, &path("good")).expect("there");
    assert_eq!(content(&browser, &good, 10), b"good");
    let (bad, attributes) = find(&browser, &path("bad")).expect("there");
    let file = browser.open(&bad).expect("opened");
    assert!(browser.read(&file, 0, 1000).expect("whole there") == noise(1, 3_000_000)[..1000]);
    let fault = browser.read(&file, attributes.size_bytes - 10, 10).expect_err("damaged");
    assert!(fault.to_string().contains("damaged"), "{fault}");
    assert!(matches!(
        browser.open(&find(&browser, "ids").expect("there").0),
        Err(BrowseError::NotAFile)
    ));
}
