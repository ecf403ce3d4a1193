//! What damage costs: the files that hold it, named, and nothing else.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    sync::mpsc,
    time::Duration,
};

use windlass_engine::{
    fault::Class,
    model::{
        chunk::ChunkKey,
        pack::{Location, PackName},
    },
    restore::Outcome,
    store::{Failure, Key},
};
use windlass_testkit::{
    faulty::{Fault, Rule},
    recording::Action,
};

use super::{Stage, noise};

/// Places of data chunks, as the index knows them.
fn chunks(stage: &Stage) -> Vec<(ChunkKey, Location)> {
    let index = stage.runtime.block_on(stage.repository.index()).expect("an index");
    let mut found = Vec::new();
    index.for_each(|key, at| found.push((*key, *at)));
    found.sort_by_key(|(_, at)| (at.pack, at.offset));
    found
}

fn pack_key(stage: &Stage, at: &Location) -> Key {
    let index = stage.runtime.block_on(stage.repository.index()).expect("an index");
    let name: PackName = index.pack_name(at.pack).expect("known");
    stage.repository.dialect().pack_key(&name)
}

/// Flips a bit in the middle of a stored chunk.
fn spoil(stage: &Stage, at: &Location) {
    let key = pack_key(stage, at);
    let mut bytes = stage.store.contents()[&key].to_vec();
    bytes[(at.offset + at.stored_bytes / 2) as usize] ^= 1;
    stage.store.overwrite(&key, bytes);
}

/// The largest chunk: one of the file that is made of noise.
fn largest(stage: &Stage) -> (ChunkKey, Location) {
    chunks(stage).into_iter().max_by_key(|(_, at)| at.raw_bytes).expect("one")
}

fn noisy() -> Stage {
    let stage = Stage::new();
    stage.write("dir/noise", noise(1, 12 << 20));
    for at in 0..50 {
        stage.write(&format!("dir/small {at}"), noise(100 + at, 300));
    }
    stage
}

#[test]
fn a_damaged_chunk_costs_the_files_that_hold_it() {
    let stage = noisy();
    let root = stage.back_up();
    spoil(&stage, &largest(&stage).1);
    let report = stage.restore(&root, stage.options()).unwrap();
    assert_eq!((report.problem_count, report.outcome()), (1, Outcome::Partial));
    assert_eq!(report.problems[0].path, b"/dir/noise");
    assert!(report.problems[0].error.contains("damaged"), "{}", report.problems[0].error);
    assert_eq!(report.files_restored, 50);
    let differing = stage.differences();
    assert!(differing.iter().all(|difference| difference.path.ends_with("noise")));
    // What is left of it is in its place, and nothing takes it for the real one.
    let (kept, content) = (fs::read(stage.target("dir/noise")).unwrap(), noise(1, 12 << 20));
    assert_eq!(kept.len(), content.len());
    let lost = largest(&stage).1.raw_bytes as usize;
    let differing = kept.iter().zip(&content).filter(|(kept, content)| kept != content).count();
    assert!((lost / 2..=lost).contains(&differing), "{differing} of {lost}");
    let (real, spoiled) =
        (stage.path("source/dir/noise").metadata(), stage.target("dir/noise").metadata());
    assert_ne!(real.unwrap().mtime_nsec(), spoiled.unwrap().mtime_nsec());
}

#[test]
fn a_second_copy_of_a_damaged_chunk_is_found() {
    let stage = noisy();
    let root = stage.back_up();
    let (key, at) = largest(&stage);
    let original = stage.store.contents()[&pack_key(&stage, &at)].clone();
    let copy = PackName::Hash([7; 32]);
    stage.store.overwrite(&stage.repository.dialect().pack_key(&copy), original);
    let index = stage.runtime.block_on(stage.repository.index()).expect("an index");
    let pack = index.add_pack(copy, index.pack_end(at.pack));
    index.insert(key, Location { pack, ..at });
    spoil(&stage, &at);
    stage.restore_well(&root, stage.options());
    assert_eq!(stage.differences(), []);
}

#[test]
fn a_missing_pack_names_every_file_that_is_lost() {
    let stage = noisy();
    stage.write("other", noise(9, 300));
    let root = stage.back_up();
    let lost = pack_key(&stage, &largest(&stage).1);
    stage.faults.always(Action::Read, lost.as_str(), Fault::Fail(Failure::NotFound));
    let report = stage.restore(&root, stage.options()).unwrap();
    assert!(report.problem_count > 0);
    assert_eq!(report.files_restored + report.problem_count, 52);
}

#[test]
fn a_cut_off_pack_gives_what_is_left_of_it() {
    let stage = noisy();
    let root = stage.back_up();
    let (_, at) = largest(&stage);
    let key = pack_key(&stage, &at);
    let bytes = stage.store.contents()[&key].clone();
    let cut = (at.offset + at.stored_bytes / 2) as usize;
    stage.store.overwrite(&key, bytes.slice(..cut));
    let report = stage.restore(&root, stage.options()).unwrap();
    let whole = chunks(&stage)
        .iter()
        .filter(|(_, other)| other.pack == at.pack && other.raw_bytes == 300)
        .filter(|(_, other)| (other.offset + other.stored_bytes) as usize <= cut)
        .count() as u64;
    assert!(report.problem_count > 0 && report.files_restored >= whole);
    assert_eq!(report.files_restored + report.problem_count, 51);
}

#[test]
fn a_damaged_directory_costs_what_is_in_it_and_nothing_is_deleted_there() {
    let stage = Stage::new();
    stage.write("good/file", "x");
    stage.write("bad/file", "y");
    let root = stage.back_up();
    stage.restore_well(&root, stage.options());
    fs::write(stage.target("bad/extra"), "extra").unwrap();
    fs::write(stage.target("good/extra"), "extra").unwrap();
    let reader = stage.runtime.block_on(stage.repository.reader()).unwrap();
    let mut tree = root.tree;
    let path = stage.path("source/bad").into_os_string().into_encoded_bytes();
    for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        let directory = reader.directory(&tree).unwrap();
        let entry = directory.entries.into_iter().find(|entry| *entry.name == *name).unwrap();
        let windlass_engine::model::directory::Kind::Directory { tree: Some(below) } = entry.kind
        else {
            panic!("a directory");
        };
        tree = below;
    }
    let index = stage.runtime.block_on(stage.repository.index()).unwrap();
    spoil(&stage, &index.find(&tree).unwrap());
    let mut options = stage.options();
    options.delete = true;
    let report = stage.restore(&root, options).unwrap();
    assert_eq!(report.problem_count, 1);
    assert_eq!(report.problems[0].path, b"/bad");
    assert!(stage.target("bad/extra").exists() && stage.target("bad/file").exists());
    assert!(!stage.target("good/extra").exists());
}

#[test]
fn a_store_that_refuses_ends_the_restore() {
    let stage = noisy();
    let root = stage.back_up();
    let lost = pack_key(&stage, &largest(&stage).1);
    stage.faults.always(Action::Read, lost.as_str(), Fault::Fail(Failure::Denied));
    let error = stage.restore(&root, stage.options()).expect_err("denied");
    assert_eq!(error.class(), Class::WrongInput);
}

#[test]
fn a_hiccup_of_the_store_costs_nothing() {
    let stage = noisy();
    let root = stage.back_up();
    let pack = pack_key(&stage, &largest(&stage).1);
    stage.faults.add(Rule {
        action: Action::Read,
        prefix: pack.as_str().to_owned(),
        skip: 0,
        times: 1,
        fault: Fault::Fail(Failure::Transient),
    });
    stage.restore_well(&root, stage.options());
    assert_eq!(stage.differences(), []);
}

#[test]
fn an_adapter_that_panics_ends_the_restore_and_leaves_nobody_waiting() {
    // More to read than there are workers and places in their queue.
    let content = noise(1, 64 << 20);
    for skip in 0..3 {
        let stage = Stage::new();
        stage.write("dir/noise", &content);
        let root = stage.back_up();
        let prefix = "data/".into();
        let (action, times, fault) = (Action::Read, usize::MAX, Fault::Panic);
        stage.faults.add(Rule { action, prefix, skip, times, fault });
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let result = stage.restore(&root, stage.options());
            sender.send(result.expect_err("a panic is no success").class()).unwrap();
        });
        let class = receiver.recv_timeout(Duration::from_secs(60));
        assert_eq!(class, Ok(Class::Bug), "from read {skip} on");
    }
}

#[test]
fn an_earlier_version_that_stays_unfinished_is_closed_to_others() {
    let stage = Stage::new();
    stage.write("file", noise(1, 12 << 20));
    let root = stage.back_up();
    stage.restore_well(&root, stage.options());
    // Two chunks differ in what is there; one of them cannot be had.
    let mut changed = noise(1, 12 << 20);
    changed.iter_mut().for_each(|byte| *byte ^= 1);
    let target = stage.target("file");
    fs::write(&target, changed).unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o4755)).unwrap();
    spoil(&stage, &largest(&stage).1);
    let report = stage.restore(&root, stage.options()).unwrap();
    assert_eq!(report.problem_count, 1);
    assert_eq!(fs::metadata(&target).unwrap().mode() & 0o7777, 0o600);
}
