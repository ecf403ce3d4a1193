//! A bad day: a proxy in front of the server spoils requests, and a backup survives.
//!
//! Invariants: every test sees that its faults have happened, and restic agrees with what was
//! stored, over the same bucket without the proxy.
//!
//! `WINDLASS_BAD_DAY_MIB=1024` makes the source so large, and what happens to data happens again for
//! every 84 MiB; 42 MiB are enough for each fault once.

use std::time::Duration;

use windlass_testkit::toxic::Seen;

use super::{Cloud, Dose, Poison, Toxic, Version, good_restic, location, noise, place, settings};
use crate::{peer::Restic, scene, scene::Scene};

/// A repository behind a proxy.
struct BadDay {
    cloud: Cloud,
    toxic: Toxic,
    scene: Scene,
    /// How often what happens to data does.
    rounds: usize,
}

impl BadDay {
    fn new() -> Self {
        let cloud = Cloud::new();
        let scene = Scene::new();
        let mebibytes = std::env::var("WINDLASS_BAD_DAY_MIB").ok();
        let mebibytes = mebibytes.and_then(|text| text.parse().ok()).unwrap_or(LEAST_MIB);
        for number in 0..mebibytes.div_ceil(LARGE_MIB) {
            scene.write(&format!("large {number}"), noise(number, (LARGE_MIB as usize) << 20));
        }
        for number in 0..40 {
            scene.write(&format!("{}/small {number}", number % 4), format!("content {number}"));
        }
        scene::init(&place(&location(cloud.address(), "bucket/r"), &settings()), Version::V2);
        let toxic = Toxic::before(cloud.address());
        let rounds = usize::try_from(mebibytes / (2 * LEAST_MIB)).expect("a number").max(1);
        Self { cloud, toxic, scene, rounds }
    }

    /// Orders a fault of packs in each round.
    fn spoil_packs(&self, method: &str, skip: usize, times: usize, poison: &Poison) {
        for round in 0..self.rounds {
            // Those spoilt before are not counted.
            self.toxic.add(Dose::of(method, "/data/", skip + 2 * round, times, poison.clone()));
        }
    }

    /// Backs up and restores through the proxy; then restic looks at it directly.
    fn check(&self, stuck_after: Duration) {
        let mut settings = settings();
        settings.http.stuck_after = stuck_after;
        let repository = self
            .scene
            .try_open_at(&place(&location(self.toxic.address(), "bucket/r"), &settings))
            .expect("opened");
        let report = self.scene.back_up(&repository);
        let root = self.scene.root(&repository, &report);
        self.scene.check_restore(&repository, &root, "restored");
        assert!(self.toxic.all_happened(), "the faults that were ordered have happened");
        assert!(self.toxic.take_seen().iter().any(|seen| seen.is_spoilt));
        if Restic::at(std::path::Path::new("none")).is_some() {
            let direct = location(self.cloud.address(), "bucket/r");
            good_restic(&direct, &["check", "--read-data"]);
            let locks = good_restic(&direct, &["list", "locks", "--no-lock"]);
            assert_eq!(locks, "", "no lock is left behind");
        }
    }
}

const USUAL: Duration = Duration::from_secs(300);
/// The source, unless it is to be larger.
const LEAST_MIB: u64 = 42;
/// One large file of it.
const LARGE_MIB: u64 = 7;

#[test]
fn a_backup_survives_latency() {
    let day = BadDay::new();
    day.toxic.add(Dose::always(Poison::Latency(Duration::from_millis(50))));
    let repository =
        day.scene.try_open_at(&place(&location(day.toxic.address(), "bucket/r"), &settings()));
    drop(repository.expect("opened"));
    day.toxic.clear();
    day.spoil_packs("PUT", 1, 2, &Poison::Latency(Duration::from_secs(1)));
    day.toxic.add(Dose::of("", "", 0, 12, Poison::Latency(Duration::from_millis(200))));
    day.check(USUAL);
}

#[test]
fn a_backup_survives_resets_and_lost_answers() {
    let day = BadDay::new();
    day.spoil_packs("PUT", 0, 2, &Poison::Reset);
    day.spoil_packs("PUT", 0, 2, &Poison::LoseAnswer);
    day.toxic.add(Dose::of("PUT", "/index/", 0, 1, Poison::LoseAnswer));
    day.toxic.add(Dose::of("PUT", "/snapshots/", 0, 1, Poison::LoseAnswer));
    day.toxic.add(Dose::of("PUT", "/locks/", 0, 1, Poison::LoseAnswer));
    day.toxic.add(Dose::of("DELETE", "/locks/", 0, 1, Poison::LoseAnswer));
    day.toxic.add(Dose::of("GET", "list-type=2", 0, 1, Poison::Reset));
    day.spoil_packs("GET", 1, 2, &Poison::Reset);
    day.check(USUAL);
}

#[test]
fn a_backup_survives_a_store_that_asks_for_less() {
    let day = BadDay::new();
    day.toxic.add(Dose::of("", "", 3, 6, Poison::Busy { retry_after: None }));
    day.spoil_packs("PUT", 1, 2, &Poison::Busy { retry_after: Some(1) });
    day.check(USUAL);
}

#[test]
fn a_backup_survives_answers_that_end_half_way() {
    let day = BadDay::new();
    day.toxic.add(Dose::of("GET", "/config", 0, 1, Poison::Truncate));
    day.toxic.add(Dose::of("GET", "list-type=2", 0, 2, Poison::Truncate));
    day.spoil_packs("GET", 0, 3, &Poison::Truncate);
    day.check(USUAL);
}

#[test]
fn a_backup_survives_answers_that_stand_still() {
    let day = BadDay::new();
    day.toxic.add(Dose::of("GET", "/keys/", 0, 1, Poison::Stall));
    day.toxic.add(Dose::of("GET", "list-type=2", 1, 1, Poison::Stall));
    day.spoil_packs("GET", 1, 1, &Poison::Stall);
    day.check(Duration::from_secs(2));
}

#[test]
fn a_slow_answer_is_no_stuck_one() {
    let day = BadDay::new();
    // A kilobyte at a time: together longer than the patience for a standstill.
    day.toxic.add(Dose::of("GET", "/index/", 0, 1, Poison::Drip(Duration::from_millis(700))));
    day.toxic.add(Dose::of("GET", "/config", 0, 1, Poison::Drip(Duration::from_millis(700))));
    let repository = {
        let mut settings = settings();
        settings.http.stuck_after = Duration::from_secs(1);
        // What takes an index to be read.
        let direct = place(&location(day.cloud.address(), "bucket/r"), &settings);
        day.scene.back_up(&day.scene.try_open_at(&direct).expect("opened"));
        day.scene.try_open_at(&place(&location(day.toxic.address(), "bucket/r"), &settings))
    };
    let repository = repository.expect("opened");
    day.scene.check_whole(&repository);
    assert!(day.toxic.all_happened());
    let asked = day.toxic.take_seen();
    let indexes = asked.iter().filter(|seen| seen.target.contains("/index/")).count();
    assert_eq!(indexes, 1, "it was not asked for again: {asked:?}");
}

#[test]
fn an_unchanged_backup_makes_these_requests_and_no_others() {
    let day = BadDay::new();
    let open = |address| day.scene.try_open_at(&place(&location(address, "bucket/r"), &settings()));
    day.scene.back_up(&open(day.cloud.address()).expect("opened"));
    let repository = open(day.toxic.address()).expect("opened");
    let opening = asked(&day.toxic);
    assert_eq!(opening, ["GET config", "GET keys", "GET kopia.repository", "GET list keys"]);
    day.scene.back_up(&repository);
    let mut backup = asked(&day.toxic);
    // The directories above the source may have changed, and then there is a pack of their trees.
    let more = ["PUT data", "PUT index", "HEAD locks"];
    backup.retain(|request| !more.contains(&request.as_str()));
    assert_eq!(
        backup,
        [
            "DELETE locks",
            "GET data",
            "GET index",
            "GET list index",
            "GET list index",
            "GET list locks",
            "GET list snapshots",
            "GET snapshots",
            "PUT locks",
            "PUT snapshots",
        ]
    );
}

/// Method and kind of object of each request, sorted: some are made side by side.
fn asked(toxic: &Toxic) -> Vec<String> {
    let mut asked: Vec<String> = toxic.take_seen().iter().map(words).collect();
    asked.sort();
    asked
}

/// Method and kind of object of a request.
pub(super) fn words(seen: &Seen) -> String {
    let (path, query) = seen.target.split_once('?').unwrap_or((&seen.target, ""));
    let name = path.strip_prefix("/bucket/r/").unwrap_or(path);
    let kind = name.split('/').next().unwrap_or_default();
    let listed = query.split('&').find_map(|part| part.strip_prefix("prefix=r%2F"));
    match listed.filter(|_listed| query.contains("list-type=2")) {
        Some(prefix) => format!("{} list {}", seen.method, prefix.trim_end_matches("%2F")),
        None => format!("{} {kind}", seen.method),
    }
}
