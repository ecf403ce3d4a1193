//! Listings that lag behind what is stored.

use windlass_engine::fault::Class;
use windlass_testkit::{
    rounds::{Rounds, case},
    stale::StaleListing,
};

use super::{
    AT_ONCE,
    work::{Site, Work},
};

/// Operations that may remove something.
const ALONE: [Work; 8] = [
    Work::Forget,
    Work::Tag,
    Work::Prune,
    Work::Rewrite,
    Work::RepairIndex,
    Work::RepairPacks,
    Work::Mend,
    Work::Heal,
];

#[test]
fn whoever_removes_does_not_go_by_listings_that_lag() {
    let site = Site::new();
    let cases: Vec<(Work, &str)> =
        Work::ALL.into_iter().flat_map(|work| ["", "data"].map(|kind| (work, kind))).collect();
    let rounds = Rounds::new("listings that lag", cases.len() as u64).at_most(cases.len());
    rounds.run_on(AT_ONCE, |seed| {
        let (work, kind) = cases[case(seed, cases.len())];
        let told = format!("seed {seed}: {work:?}, listings of {kind:?} lag");
        let store = site.store.fork();
        let stale = StaleListing::new(store.clone());
        site.scene.runtime.block_on(stale.freeze(kind)).expect("listed");
        // Of what this one stores nothing is listed.
        site.run(Work::Backup, &site.scene.open(store.clone())).expect("backed up");
        let before = store.contents();
        let repository = site.scene.open(stale.clone());
        let done = site.run(work, &repository);
        if let Err(ended) = &done {
            assert_ne!(ended.class, Class::Bug, "{told}: {ended:?}");
        }
        if kind.is_empty() && ALONE.contains(&work) {
            let ended = done.expect_err(&told);
            assert!(ended.text.contains("lag behind"), "{told}: {ended:?}");
            let now = store.contents();
            assert!(before.iter().all(|(key, bytes)| now.get(key) == Some(bytes)), "{told}");
        }
        // The new snapshot is as whole as the old ones, and what it needs is still found.
        site.check_whole(work, &store, &told);
        stale.thaw();
        site.check_goes_on(work, &store, Some(&repository), &told);
    });
}
