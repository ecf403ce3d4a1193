//! Making roots anew: what is left out is gone, what is not is whole, as restic would have it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use windlass_engine::{
    cancel::Cancel,
    fault::Class,
    filter::{PatternTexts, Selection},
    model::{
        directory::Kind,
        root::{Root, RootId},
    },
    protocol::{Access, amend::Amendment},
    repository::{Place, Repository},
    rewrite::{self, Content, Options, Report, RewriteError},
    store::{Backend, Failure, Key, memory::MemoryStore},
};
use windlass_format::{restic::config::Version, time::Timestamp};
use windlass_testkit::{
    faulty::{Fault as Broken, FaultyStore},
    recording::{Action, Call, RecordingStore, replay},
    stale::StaleListing,
};

use super::{
    peer::Restic,
    scene::{Scene, announcement, empty, empty_on_disk, locks, noise},
};

fn excluding(patterns: &[&str]) -> Content {
    let sensitive = patterns.iter().map(|pattern| pattern.as_bytes().to_vec()).collect();
    let exclude = PatternTexts { sensitive, insensitive: Vec::new() };
    Content::Selected(Selection::new(&PatternTexts::default(), &exclude).expect("patterns"))
}

fn including(patterns: &[&str]) -> Content {
    let sensitive = patterns.iter().map(|pattern| pattern.as_bytes().to_vec()).collect();
    let include = PatternTexts { sensitive, insensitive: Vec::new() };
    Content::Selected(Selection::new(&include, &PatternTexts::default()).expect("patterns"))
}

fn options(content: Content, forget: bool) -> Options {
    Options {
        roots: Vec::new(),
        content,
        amendment: Amendment::default(),
        mark: "rewrite".into(),
        forget,
        pack_bytes: 1 << 20,
    }
}

/// Rewrites all roots.
fn try_rewrite(
    scene: &Scene,
    repository: &Repository,
    options: Options,
    dry_run: bool,
) -> Result<Report, RewriteError> {
    let options = Options { roots: scene.roots(repository), ..options };
    let cancel = Cancel::new();
    let announcement =
        announcement(if options.forget { Access::Exclusive } else { Access::Shared });
    let step = Arc::new(|_: rewrite::Step<'_>| {});
    scene.runtime.block_on(async {
        if dry_run {
            return rewrite::run(repository, &options, None, &cancel, step).await;
        }
        let announced = repository.protocol().announce(&announcement, &cancel).await;
        let presence = announced.expect("announced");
        let done = rewrite::run(repository, &options, Some(&presence), &cancel, step).await;
        presence.release().await.expect("released");
        done
    })
}

fn do_rewrite(scene: &Scene, repository: &Repository, content: Content, forget: bool) -> Report {
    try_rewrite(scene, repository, options(content, forget), false).expect("rewritten")
}

/// Two backups; the second has nothing of what is called `secret`.
fn history(scene: &Scene, repository: &Repository) {
    scene.write("keep", noise(1, 900_000));
    scene.write("d/secret", noise(2, 400_000));
    scene.write("d/e/f", "deep");
    scene.write("secret/x", "x");
    scene.back_up(repository);
    std::fs::remove_file(scene.source().join("d/secret")).expect("removed");
    std::fs::remove_dir_all(scene.source().join("secret")).expect("removed");
    scene.back_up(repository);
}

/// The paths of files below the source.
fn files(scene: &Scene, repository: &Repository, root: &Root) -> Vec<String> {
    let mut files = Vec::new();
    let prefix = scene.source().to_str().expect("UTF-8").to_owned();
    scene
        .walk(repository, root, |path, directory| {
            for entry in &directory.entries {
                let name = [path, b"/", &entry.name].concat();
                let name = String::from_utf8(name).expect("UTF-8");
                if let Some(below) = name.strip_prefix(&format!("{prefix}/")) {
                    files.push(below.to_owned());
                }
            }
        })
        .expect("whole");
    files.sort();
    files
}

#[test]
fn what_is_left_out_is_gone_and_what_has_none_of_it_is_left_alone() {
    let scene = Scene::new();
    let store = empty(Version::V2);
    let repository = scene.open(store.clone());
    history(&scene, &repository);
    let before = scene.roots(&repository);
    let dry = try_rewrite(&scene, &repository, options(excluding(&["secret"]), true), true);
    assert_eq!(dry.expect("told").changed, [(before[0].0.clone(), None)]);
    assert_eq!(scene.roots(&scene.open(store.clone())), before);
    let report = do_rewrite(&scene, &repository, excluding(&["secret"]), false);
    let [(old, Some(new))] = &report.changed[..] else { panic!("{report:?}") };
    assert_eq!(old, &before[0].0);
    let fresh = scene.open(store.clone());
    scene.check_whole(&fresh);
    let roots = scene.roots(&fresh);
    assert_eq!(roots.len(), 3);
    let made = &roots.iter().find(|(id, _)| id == new).expect("there").1;
    assert_eq!(files(&scene, &fresh, made), ["d", "d/e", "d/e/f", "keep"]);
    assert_eq!(
        (made.tags.as_slice(), made.original.as_ref()),
        (&["rewrite".to_owned()][..], Some(old))
    );
    let summary = made.summary.expect("a summary");
    assert_eq!((summary.total_files, summary.total_bytes), (2, 900_004));
    assert_eq!(summary.files_new, before[0].1.summary.expect("a summary").files_new);
    // What is left needs nothing more, and nothing is changed twice.
    let again = do_rewrite(&scene, &fresh, excluding(&["nothing like that"]), true);
    assert_eq!(again, Report::default());
    let last = do_rewrite(&scene, &fresh, excluding(&["secret"]), true);
    assert_eq!(last.changed.len(), 1);
    let left = scene.roots(&scene.open(store.clone()));
    assert!(left.iter().all(|(id, _)| *id != before[0].0) && left.len() == 3);
    assert_eq!(locks(&store), [""; 0]);
}

#[test]
fn only_what_is_named_is_kept_and_a_root_without_it_is_left_alone() {
    let scene = Scene::new();
    let store = empty(Version::V2);
    let repository = scene.open(store.clone());
    history(&scene, &repository);
    let report = do_rewrite(&scene, &repository, including(&["d/secret"]), true);
    assert_eq!((report.changed.len(), report.emptied.len()), (1, 0));
    let fresh = scene.open(store);
    let roots = scene.roots(&fresh);
    let told: Vec<Vec<String>> =
        roots.iter().map(|(_, root)| files(&scene, &fresh, root)).collect();
    assert!(told.contains(&vec!["d".into(), "d/secret".into()]), "{told:?}");
    assert_eq!(roots.len(), 2);
}

#[test]
fn another_host_and_time_cost_no_data() {
    let scene = Scene::new();
    let store = empty(Version::V2);
    let repository = scene.open(store.clone());
    history(&scene, &repository);
    let packs = || store.contents().keys().filter(|key| key.as_str().starts_with("data/")).count();
    let before = packs();
    let amendment = Amendment {
        hostname: Some("elsewhere".into()),
        time: Some(Timestamp::utc(1_600_000_000, 0)),
        ..Amendment::default()
    };
    let all = Options { amendment, ..options(Content::Same, true) };
    let report = try_rewrite(&scene, &repository, all, false).expect("rewritten");
    assert_eq!(report.changed.len(), 2);
    assert_eq!(packs(), before);
    for (_, root) in scene.roots(&scene.open(store)) {
        assert_eq!((root.hostname.as_str(), root.time.seconds), ("elsewhere", 1_600_000_000));
        assert_eq!(root.tags, [""; 0]);
    }
}

/// A copy of a repository in a directory.
fn clone_of(scene: &Scene, at: &Path, name: &str) -> PathBuf {
    let to = scene.path(name);
    let copied = std::process::Command::new("cp").arg("-r").arg(at).arg(&to).status();
    assert!(copied.expect("cp runs").success());
    to
}

fn told(restic: &Restic) -> Vec<serde_json::Value> {
    let told = restic.good(&["snapshots", "--json"]);
    let mut told: Vec<serde_json::Value> = serde_json::from_str(&told).expect("JSON");
    for snapshot in &mut told {
        let fields = snapshot.as_object_mut().expect("an object");
        fields.remove("id");
        fields.remove("short_id");
    }
    // Those of one time are listed by their ids.
    told.sort_by_key(ToString::to_string);
    told
}

#[test]
fn restic_makes_the_same_of_it() {
    let scene = Scene::new();
    let at = scene.path("repository");
    empty_on_disk(&at, Version::V2);
    let Some(restic) = Restic::at(&at) else { return };
    history(&scene, &scene.try_open_at(&Place::local(&at)).expect("opened"));
    scene.write("d/secret", noise(3, 100_000));
    restic.back_up(&scene.source());
    let cases: [(&str, Content, &[&str]); 3] = [
        ("exclude", excluding(&["secret"]), &["--exclude", "secret"]),
        ("include", including(&["d"]), &["--include", "d"]),
        ("nothing", excluding(&["/no/such/path"]), &["--exclude", "/no/such/path"]),
    ];
    for (name, content, words) in cases {
        if restic.version < (0, 19) && name == "include" {
            continue;
        }
        for forget in [false, true] {
            let theirs = clone_of(&scene, &at, &format!("theirs {name} {forget}"));
            let ours = clone_of(&scene, &at, &format!("ours {name} {forget}"));
            let theirs = Restic::at(&theirs).expect("restic");
            let mut command = [&["rewrite"][..], words].concat();
            if forget {
                command.push("--forget");
            }
            // What 0.14 does not have cannot be compared.
            if !theirs.run(&command).status.success() {
                continue;
            }
            let repository = scene.try_open_at(&Place::local(&ours)).expect("opened");
            do_rewrite(&scene, &repository, content.clone(), forget);
            let ours = Restic::at(&ours).expect("restic");
            ours.check();
            if restic.version >= (0, 19) {
                assert_eq!(told(&ours), told(&theirs), "{name} {forget}");
            }
        }
    }
}

#[test]
fn a_crash_at_any_change_leaves_the_old_root_or_the_new_one() {
    let scene = Scene::new();
    let base = empty(Version::V2);
    history(&scene, &scene.open(base.clone()));
    let old = scene.roots(&scene.open(base.clone()));
    let recording = RecordingStore::new(base.fork());
    let log = recording.log();
    do_rewrite(&scene, &scene.open(recording), excluding(&["secret"]), true);
    let changes: Vec<Call> =
        log.changes().into_iter().filter(|call| !call.object.starts_with("locks/")).collect();
    let kinds: Vec<(Action, &str)> = changes
        .iter()
        .map(|call| (call.action, call.object.split('/').next().expect("a kind")))
        .collect();
    let data = (Action::Write, "data");
    let ends =
        [(Action::Write, "index"), (Action::Write, "snapshots"), (Action::Delete, "snapshots")];
    assert!(kinds.starts_with(&[data]) && kinds.ends_with(&ends), "{kinds:?}");
    for cut in 0..=changes.len() {
        let store = base.fork();
        scene.runtime.block_on(replay(&changes[..cut], &store)).expect("replayed");
        let repository = scene.open(store.clone());
        scene.check_whole(&repository);
        let roots = scene.roots(&repository);
        let lives = |id: &RootId| {
            roots.iter().any(|(it, root)| it == id || root.original.as_ref() == Some(id))
        };
        assert!(old.iter().all(|(id, _)| lives(id)), "after {cut}");
        do_rewrite(&scene, &scene.open(store.clone()), excluding(&["secret"]), true);
        let fresh = scene.open(store);
        scene.check_whole(&fresh);
        for (_, root) in scene.roots(&fresh) {
            assert!(!files(&scene, &fresh, &root).iter().any(|name| name.contains("secret")));
        }
    }
}

#[test]
fn what_fails_removes_no_root_without_a_successor() {
    let scene = Scene::new();
    let base = empty(Version::V2);
    history(&scene, &scene.open(base.clone()));
    let old = scene.roots(&scene.open(base.clone()));
    for (action, prefix, fault) in [
        (Action::Write, "data/", Broken::Fail(Failure::NoSpace)),
        (Action::Write, "index/", Broken::Fail(Failure::Transient)),
        (Action::Write, "snapshots/", Broken::Fail(Failure::Denied)),
        (Action::Delete, "snapshots/", Broken::Fail(Failure::Denied)),
        (Action::Read, "data/", Broken::Fail(Failure::Transient)),
    ] {
        let store = base.fork();
        let faulty = FaultyStore::new(store.clone());
        let faults = faulty.faults();
        let repository = scene.open(faulty);
        // Both the span and the chunk alone.
        faults.always(action, prefix, fault);
        for content in [excluding(&["secret"]), Content::Mended] {
            let mends = matches!(content, Content::Mended);
            let done = try_rewrite(&scene, &repository, options(content, true), false);
            // What is whole is left alone, and nothing is written.
            assert_eq!(done.is_err(), !mends || action == Action::Read, "{action:?} {prefix}");
        }
        let fresh = scene.open(store.clone());
        scene.check_whole(&fresh);
        let roots = scene.roots(&fresh);
        assert!(old.iter().all(|(id, _)| roots.iter().any(|(it, _)| it == id)), "{prefix}");
        assert_eq!(locks(&store), [""; 0], "{prefix}");
    }
}

/// The pack of a chunk of the file with this name in the newest root that has it.
fn pack_of(scene: &Scene, repository: &Repository, name: &[u8]) -> Key {
    use windlass_engine::model::object::Content;
    let index = scene.runtime.block_on(repository.index()).expect("an index");
    let mut found = None;
    for (_, root) in scene.roots(repository) {
        scene
            .walk(repository, &root, |_, directory| {
                for entry in &directory.entries {
                    match &entry.kind {
                        Kind::File { content: Content::Chunks(chunks), .. }
                            if *entry.name == *name =>
                        {
                            found = chunks.first().copied();
                        }
                        _ => {}
                    }
                }
            })
            .expect("whole");
    }
    let place = index.find(&found.expect("there")).expect("indexed");
    repository.dialect().pack_key(&index.pack_name(place.pack).expect("a name"))
}

/// A repository in which each file has a pack of its own.
fn scattered(scene: &Scene, repository: Repository) -> Repository {
    scene.write("d/good", noise(5, 1_200_000));
    let small =
        |scene: &Scene| windlass_engine::backup::Options { pack_bytes: 1 << 20, ..scene.options() };
    scene.try_back_up(&repository, small(scene)).expect("backed up");
    scene.write("d/bad", noise(6, 1_300_000));
    scene.try_back_up(&repository, small(scene)).expect("backed up");
    repository
}

#[test]
fn what_is_gone_is_taken_out_and_the_rest_stays() {
    let scene = Scene::new();
    let store = empty(Version::V2);
    let repository = scattered(&scene, scene.open(store.clone()));
    let old = scene.roots(&repository);
    let whole = do_rewrite(&scene, &repository, Content::Mended, true);
    assert_eq!(whole, Report::default());
    scene.runtime.block_on(store.delete(&pack_of(&scene, &repository, b"bad"))).expect("deleted");
    let report = do_rewrite(&scene, &scene.open(store.clone()), Content::Mended, false);
    assert_eq!(report.changed.len(), 1, "{report:?}");
    assert_eq!(report.changed[0].0, old[1].0);
    let fresh = scene.open(store);
    let roots = scene.roots(&fresh);
    assert_eq!(roots.len(), 3);
    let new = report.changed[0].1.clone().expect("stored");
    let root = &roots.iter().find(|(id, _)| *id == new).expect("there").1;
    assert_eq!(files(&scene, &fresh, root), ["d", "d/bad", "d/good"]);
    assert_eq!(root.tags, ["rewrite"]);
    assert_eq!(root.summary, old[1].1.summary);
}

#[test]
fn an_unreadable_directory_is_emptied_and_an_unreadable_root_goes_only_when_asked() {
    let scene = Scene::new();
    let store = empty(Version::V2);
    let repository = scattered(&scene, scene.open(store.clone()));
    let (_, newest) = scene.roots(&repository).pop().expect("a root");
    let index = scene.runtime.block_on(repository.index()).expect("an index");
    let place = index.find(&newest.tree).expect("indexed");
    let pack = repository.dialect().pack_key(&index.pack_name(place.pack).expect("a name"));
    // The pack of the second backup's directories.
    scene.runtime.block_on(store.delete(&pack)).expect("deleted");
    for forget in [false, true] {
        let before = scene.roots(&scene.open(store.clone())).len();
        let report = do_rewrite(&scene, &scene.open(store.clone()), Content::Mended, forget);
        assert_eq!((report.changed.len(), report.emptied.len()), (0, 1), "{report:?}");
        let after = scene.roots(&scene.open(store.clone())).len();
        assert_eq!(after, before - usize::from(forget));
    }
    scene.check_whole(&scene.open(store));
}

/// The pack of the directory of this name, and where it is in there.
fn directory(scene: &Scene, store: &MemoryStore, name: &[u8]) -> (Key, usize) {
    let repository = scene.open(store.clone());
    let (_, root) = scene.roots(&repository).pop().expect("a root");
    let mut tree = None;
    let walked = scene.walk(&repository, &root, |_, directory| {
        for entry in directory.entries.iter().filter(|entry| *entry.name == *name) {
            if let Kind::Directory { tree: below } = entry.kind {
                tree = below;
            }
        }
    });
    walked.expect("whole");
    let index = scene.runtime.block_on(repository.index()).expect("an index");
    let place = index.find(&tree.expect("there")).expect("indexed");
    let pack = repository.dialect().pack_key(&index.pack_name(place.pack).expect("a name"));
    (pack, place.offset as usize)
}

#[test]
fn what_is_put_in_the_place_of_damage_is_not_damaged_itself() {
    let scene = Scene::new();
    let store = empty(Version::V2);
    scene.write("d/file", "content");
    std::fs::create_dir(scene.source().join("hollow")).expect("made");
    scene.back_up(&scene.open(store.clone()));
    // An empty directory, which is what takes the place of a directory that cannot be read.
    let pieces = [b"d".as_slice(), b"hollow"].map(|name| directory(&scene, &store, name));
    for (pack, offset) in pieces {
        let mut bytes = store.contents()[&pack].to_vec();
        bytes[offset + 20] ^= 1;
        store.overwrite(&pack, bytes);
    }
    let report = do_rewrite(&scene, &scene.open(store.clone()), Content::Mended, true);
    assert_eq!(report.changed.len(), 1, "{report:?}");
    let fresh = scene.open(store);
    scene.check_whole(&fresh);
    let root = &scene.roots(&fresh)[0].1;
    assert_eq!(files(&scene, &fresh, root), ["d", "hollow"]);
    assert_eq!(do_rewrite(&scene, &fresh, Content::Mended, true), Report::default());
}

#[test]
fn what_comes_out_wrong_once_is_not_taken_out() {
    let scene = Scene::new();
    let store = empty(Version::V2);
    history(&scene, &scene.open(store.clone()));
    let before = scene.roots(&scene.open(store.clone()));
    for fault in [Broken::FlipBit(99), Broken::CutShort, Broken::Fail(Failure::NotFound)] {
        for nth in 0..4 {
            let faulty = FaultyStore::new(store.fork());
            let faults = faulty.faults();
            let repository = scene.open(faulty);
            faults.once(Action::Read, "data/", nth, fault);
            let report = do_rewrite(&scene, &repository, Content::Mended, true);
            assert_eq!(report, Report::default(), "{fault:?} {nth}");
            assert_eq!(scene.roots(&repository), before);
        }
    }
}

#[test]
fn what_is_not_listed_yet_is_not_taken_out() {
    let scene = Scene::new();
    let store = empty(Version::V2);
    let stale = StaleListing::new(store.clone());
    scene.runtime.block_on(stale.freeze("data")).expect("listed");
    history(&scene, &scene.open(store));
    let report = do_rewrite(&scene, &scene.open(stale), Content::Mended, true);
    assert_eq!(report, Report::default());
}

#[test]
fn restic_mends_the_same() {
    let scene = Scene::new();
    let at = scene.path("repository");
    empty_on_disk(&at, Version::V2);
    let Some(restic) = Restic::at(&at) else { return };
    if !restic.is_at_least((0, 19)) {
        return;
    }
    let repository = scene.try_open_at(&Place::local(&at)).expect("opened");
    let repository = scattered(&scene, repository);
    let key = pack_of(&scene, &repository, b"bad");
    let name = key.as_str().strip_prefix("data/").expect("a pack");
    std::fs::remove_file(at.join("data").join(&name[..2]).join(name)).expect("removed");
    restic.run(&["repair", "index"]);
    let theirs = Restic::at(&clone_of(&scene, &at, "theirs")).expect("restic");
    let ours = clone_of(&scene, &at, "ours");
    theirs.run(&["repair", "snapshots", "--forget"]);
    let repository = scene.try_open_at(&Place::local(&ours)).expect("opened");
    let report = do_rewrite(&scene, &repository, Content::Mended, true);
    assert_eq!(report.changed.len(), 1);
    let ours = Restic::at(&ours).expect("restic");
    ours.check();
    assert_eq!(told(&ours), told(&theirs));
}

#[test]
fn an_unreadable_directory_ends_leaving_out() {
    let scene = Scene::new();
    let store = empty(Version::V2);
    let repository = scattered(&scene, scene.open(store.clone()));
    let (_, newest) = scene.roots(&repository).pop().expect("a root");
    let index = scene.runtime.block_on(repository.index()).expect("an index");
    let place = index.find(&newest.tree).expect("indexed");
    let pack = repository.dialect().pack_key(&index.pack_name(place.pack).expect("a name"));
    scene.runtime.block_on(store.delete(&pack)).expect("deleted");
    let broken = scene.open(store.clone());
    let error = try_rewrite(&scene, &broken, options(excluding(&["x"]), true), false);
    assert_eq!(error.expect_err("unreadable").class(), Class::Damaged);
    assert_eq!(scene.roots(&scene.open(store)).len(), 2);
}
