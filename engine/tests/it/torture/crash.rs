//! A crash between any two changes that an operation makes.

use windlass_testkit::{
    recording::{Call, RecordingStore, replay},
    rounds::{Rounds, case},
};

use super::{
    AT_ONCE,
    work::{Site, Work},
};

/// The changes of an operation but for locks: that of a process that runs would be in the way of the
/// next one. What becomes of those of the dead is seen where processes are killed.
fn changes(site: &Site, work: Work) -> Vec<Call> {
    let recording = RecordingStore::new(site.store.fork());
    let log = recording.log();
    let repository = site.scene.open(recording);
    site.run(work, &repository).unwrap_or_else(|ended| panic!("{work:?}: {ended:?}"));
    let mut changes = log.changes();
    changes.retain(|call| !call.object.starts_with("locks/"));
    changes
}

#[test]
fn a_crash_after_any_change_of_any_operation_harms_nothing() {
    let site = Site::new();
    let all: Vec<(Work, Vec<Call>)> =
        Work::ALL.into_iter().map(|work| (work, changes(&site, work))).collect();
    // Where all is whole there is nothing to mend or to heal.
    let idle = [Work::Restore, Work::Check, Work::CopyFrom, Work::Mend, Work::Heal, Work::Unlock];
    for (work, changes) in &all {
        assert_eq!(changes.is_empty(), idle.contains(work), "{work:?}: {changes:?}");
    }
    let cuts = all.iter().filter(|(_, changes)| !changes.is_empty());
    let cuts = cuts.flat_map(|it| (0..=it.1.len()).map(move |cut| (it, cut)));
    let cuts: Vec<_> = cuts.collect();
    let rounds = Rounds::new("crashes", 40).at_most(cuts.len());
    rounds.run_on(AT_ONCE, |seed| {
        let ((work, changes), cut) = cuts[case(seed, cuts.len())];
        let told = format!("seed {seed}: {work:?} after {cut} of {} changes", changes.len());
        let store = site.store.fork();
        site.scene.runtime.block_on(replay(&changes[..cut], &store)).expect("replayed");
        site.check_whole(*work, &store, &told);
        // Somebody else comes first, in turns.
        if seed % 2 == 0 {
            let backup = site.run(Work::Backup, &site.scene.open(store.clone()));
            backup.unwrap_or_else(|ended| panic!("{told}: then a backup: {ended:?}"));
        }
        site.check_goes_on(*work, &store, None, &told);
    });
}
