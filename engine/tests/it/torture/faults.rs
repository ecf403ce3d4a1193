//! A store that goes wrong once, at any call of any operation.

use std::time::Duration;

use sha2::{Digest, Sha256};
use windlass_engine::{
    fault::Class,
    store::{Backend, Failure, Key, memory::MemoryStore},
};
use windlass_format::id::to_hex;
use windlass_testkit::{
    faulty::{Fault, FaultyStore},
    recording::{Action, RecordingStore},
    rounds::{Rounds, case},
};

use super::{
    super::scene::locks,
    AT_ONCE,
    work::{Site, Work},
};

/// What goes wrong with a kind of call.
fn faults(action: Action) -> &'static [Fault] {
    const SLOW: Fault = Fault::Delay(Duration::from_millis(300));
    const LATER: Fault = Fault::Fail(Failure::Transient);
    const DENIED: Fault = Fault::Fail(Failure::Denied);
    match action {
        Action::Create => &[],
        Action::List => &[LATER, DENIED, Fault::LoseAnswer, SLOW],
        Action::Stat => &[LATER, DENIED, SLOW],
        Action::Read => &[
            LATER,
            Fault::Fail(Failure::Permanent),
            Fault::Fail(Failure::NotFound),
            Fault::CutShort,
            Fault::FlipBit(3),
            Fault::FlipBit(1_000_003),
            SLOW,
        ],
        Action::Write => {
            &[LATER, Fault::Fail(Failure::NoSpace), Fault::LoseAnswer, Fault::Tear, SLOW]
        }
        Action::Delete => &[LATER, DENIED, Fault::LoseAnswer, SLOW],
    }
}

/// A call that goes wrong.
#[derive(Clone, Copy, Debug)]
struct Case {
    work: Work,
    action: Action,
    nth: usize,
    fault: Fault,
}

fn cases(site: &Site) -> Vec<Case> {
    let mut cases = Vec::new();
    for work in Work::ALL {
        let recording = RecordingStore::new(site.store.fork());
        let log = recording.log();
        let repository = site.scene.open(recording);
        let _opening = log.take();
        site.run(work, &repository).unwrap_or_else(|ended| panic!("{work:?}: {ended:?}"));
        for action in [Action::List, Action::Stat, Action::Read, Action::Write, Action::Delete] {
            for nth in 0..log.count(action, "") {
                let case = |fault: &Fault| Case { work, action, nth, fault: *fault };
                cases.extend(faults(action).iter().map(case));
            }
        }
    }
    cases
}

/// Objects that are not what they are called.
fn torn(store: &MemoryStore) -> Vec<Key> {
    let mut torn = store.contents();
    torn.retain(|key, bytes| match key.as_str().rsplit_once('/') {
        Some((_, name)) => name != to_hex(&<[u8; 32]>::from(Sha256::digest(bytes))),
        None => false,
    });
    torn.into_keys().collect()
}

fn check(site: &Site, case: Case, told: &str) {
    let Case { work, action, nth, fault } = case;
    let store = site.store.fork();
    let faulty = FaultyStore::new(store.clone());
    let faults = faulty.faults();
    let repository = site.scene.open(faulty);
    faults.once(action, "", nth, fault);
    let done = site.run(work, &repository);
    faults.clear();
    if let Err(ended) = &done {
        assert_ne!(ended.class, Class::Bug, "{told}: {ended:?}");
        assert!(!matches!(fault, Fault::Delay(_)), "{told}: {ended:?}");
    }
    for lock in locks(&store) {
        // What cannot be deleted stays, and is told.
        assert!(action == Action::Delete && done.is_err(), "{told}: {lock}");
        site.scene.runtime.block_on(store.delete(&Key::new(lock))).expect("deleted");
    }
    for key in torn(&store) {
        assert!(done.is_err() && fault == Fault::Tear, "{told}: {key} is torn");
        // Half an object is told by whoever meets it, and is nothing but in the way.
        let fresh = site.scene.open(store.clone());
        if let Err(ended) = site.run(work, &fresh) {
            let name = key.as_str().rsplit_once('/').expect("a name").1;
            assert_eq!(ended.class, Class::Damaged, "{told}: {ended:?}");
            assert!(ended.text.contains(&name[..8]), "{told}: {ended:?}");
        }
        match site.scene.runtime.block_on(store.delete(&key)) {
            Err(error) if error.failure != Failure::NotFound => panic!("{told}: {error}"),
            _ => {}
        }
    }
    site.check_whole(work, &store, told);
    site.check_goes_on(work, &store, Some(&repository), told);
}

#[test]
fn a_store_that_fails_at_any_call_of_any_operation_harms_nothing() {
    let site = Site::new();
    let cases = cases(&site);
    let rounds = Rounds::new("stores that fail", 60).at_most(cases.len());
    rounds.run_on(AT_ONCE, |seed| {
        let case = cases[case(seed, cases.len())];
        check(&site, case, &format!("seed {seed}: {case:?}"));
    });
}
