//! Object lock: what is kept from deletion, for how long, and what is not.

use std::time::{Duration, SystemTime};

use windlass_engine::{
    cancel::Cancel,
    immutability::{self, ImmutabilityError, Options, Report},
    protocol::Access,
    repository::Repository,
    store::settings::{Lock, LockMode, StoreSettings},
};

use super::{Cloud, Version, location, place, settings};
use crate::scene::{self, Scene, announcement, noise};

const DAY: Duration = Duration::from_hours(24);

/// Settings under which objects are kept for so long.
fn keeping(mode: LockMode, days: u32) -> StoreSettings {
    let mut settings = settings();
    settings.s3.lock = Some(Lock { mode, period: DAY * days });
    settings
}

struct Vault {
    cloud: Cloud,
    scene: Scene,
}

impl Vault {
    fn new(settings: &StoreSettings) -> Self {
        let (cloud, scene) = (Cloud::new(), Scene::new());
        scene.write("large", noise(1, 2 << 20));
        scene::init(&place(&location(cloud.address(), "bucket/r"), settings), Version::V2);
        Self { cloud, scene }
    }

    fn open(&self, settings: &StoreSettings) -> Repository {
        let place = place(&location(self.cloud.address(), "bucket/r"), settings);
        self.scene.try_open_at(&place).expect("opened")
    }

    fn check(&self, settings: &StoreSettings, renew: bool) -> Result<Report, ImmutabilityError> {
        let (repository, cancel) = (self.open(settings), Cancel::new());
        let options = Options { renew };
        self.scene.runtime.block_on(immutability::run(&repository, options, &cancel))
    }

    /// How many days each object is kept, rounded.
    fn days(&self) -> Vec<(String, Option<(String, u64)>)> {
        let keys = self.cloud.server.keys("bucket").into_iter();
        keys.map(|key| {
            let kept = self.cloud.server.retention("bucket", &key).map(|kept| {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                let left = kept.until_seconds() - now.expect("after 1970").as_secs();
                (kept.mode, (left + 43_200) / 86_400)
            });
            (key, kept)
        })
        .collect()
    }
}

#[test]
fn every_new_object_is_kept_but_locks() {
    for (mode, word) in [(LockMode::Governance, "GOVERNANCE"), (LockMode::Compliance, "COMPLIANCE")]
    {
        let settings = keeping(mode, 30);
        let vault = Vault::new(&settings);
        let repository = vault.open(&settings);
        // The server would refuse to remove its lock if that were kept.
        let report = vault.scene.back_up(&repository);
        assert_eq!(report.lock_left, None);
        let found = vault.days();
        assert!(found.len() >= 6, "{found:?}");
        for (key, kept) in found {
            assert_eq!(kept, Some((word.to_owned(), 30)), "{key}");
        }
        vault.scene.runtime.block_on(async {
            let cancel = Cancel::new();
            let announced =
                repository.protocol().announce(&announcement(Access::Shared), &cancel).await;
            let presence = announced.expect("announced");
            let locks: Vec<_> =
                vault.days().into_iter().filter(|(key, _)| key.contains("/locks/")).collect();
            assert!(matches!(&locks[..], [(_, None)]), "{locks:?}");
            presence.release().await.expect("removed");
        });
    }
}

#[test]
fn what_could_be_deleted_is_named_and_the_rest_has_a_date() {
    let kept = keeping(LockMode::Governance, 30);
    let vault = Vault::new(&kept);
    vault.scene.back_up(&vault.open(&kept));
    let whole = vault.check(&settings(), false).expect("told");
    assert_eq!((whole.unprotected.len(), whole.renewed), (0, 0), "{whole:?}");
    assert_eq!(whole.kept, vault.cloud.server.keys("bucket").len() as u64);
    assert!(whole.kept_bytes > 2 << 20);
    let left = whole.earliest.expect("a date").duration_since(SystemTime::now()).expect("later");
    assert!(left > DAY * 29 && left <= DAY * 30, "{left:?}");

    // By somebody who does not ask for it.
    vault.scene.write("more", noise(2, 1 << 20));
    vault.scene.back_up(&vault.open(&settings()));
    let part = vault.check(&settings(), false).expect("told");
    assert_eq!(part.kept, whole.kept);
    let mut kinds: Vec<&str> =
        part.unprotected.iter().filter_map(|key| Some(key.as_str().split_once('/')?.0)).collect();
    kinds.dedup();
    assert_eq!(kinds, ["data", "index", "snapshots"], "{part:?}");
}

#[test]
fn keeping_is_renewed_for_everything_that_would_end_too_soon() {
    let vault = Vault::new(&settings());
    vault.scene.back_up(&vault.open(&settings()));
    let refused = vault.check(&settings(), true).expect_err("for how long?");
    assert!(matches!(refused, ImmutabilityError::NoPeriod), "{refused}");

    let all = vault.cloud.server.keys("bucket").len() as u64;
    let month = keeping(LockMode::Governance, 30);
    let renewed = vault.check(&month, true).expect("renewed");
    assert_eq!((renewed.renewed, renewed.kept, renewed.unprotected.len()), (all, all, 0));
    let again = vault.check(&month, true).expect("nothing to do");
    assert_eq!((again.renewed, again.kept), (0, all), "nothing is asked for twice in a day");
    let longer = vault.check(&keeping(LockMode::Governance, 60), true).expect("renewed");
    assert_eq!(longer.renewed, all);
    for (key, kept) in vault.days() {
        assert_eq!(kept, Some(("GOVERNANCE".to_owned(), 60)), "{key}");
    }
    // It never becomes shorter.
    let shorter = vault.check(&month, true).expect("nothing to do");
    assert_eq!((shorter.renewed, shorter.kept), (0, all));
}
