//! What is kept, compared with what real restic keeps of the same snapshots.

use std::collections::BTreeMap;

use serde_json::Value;
use windlass_engine::{
    cancel::Cancel,
    clock::{Clock, SystemClock, Zone},
    entropy::Entropy,
    model::{chunk::ChunkKey, root::Root},
    protocol::{Access, Announcement, Published, listener::Listener},
    repository::{Place, Repository},
    retention::{Candidate, Count, Decision, Policy, decide},
};
use windlass_format::{restic::config::Version, time::Timestamp};

use super::{
    peer::Restic,
    scene::{Scene, empty_on_disk},
};

const HISTORIES: usize = 120;

/// Numbers that are the same in every run.
struct Dice(Entropy);

impl Dice {
    fn below(&self, end: u64) -> u64 {
        u64::from_le_bytes(self.0.bytes().expect("seeded")) % end
    }

    fn one_of<T: Copy>(&self, choices: &[T]) -> T {
        choices[usize::try_from(self.below(choices.len() as u64)).expect("small")]
    }
}

/// The snapshots of a host: bursts and long pauses, of several zones, some from the future.
fn history(dice: &Dice, host: usize) -> Vec<Root> {
    let zones = ["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Pacific/Auckland"];
    let zones = zones.map(|name| Zone::named(name).expect("a zone"));
    let newest = 1_711_843_200 + i64::try_from(dice.below(200 * 86_400)).expect("small");
    let mut seconds = if host % 10 == 9 { newest + 4_000_000_000 } else { newest };
    let mut zone = &zones[host % zones.len()];
    let roots = (0..=dice.below(24)).map(|number| {
        let pause = dice.one_of(&[600, 5_000, 40_000, 100_000, 900_000, 5_000_000, 40_000_000]);
        seconds -= 1 + i64::try_from(dice.below(pause)).expect("small");
        if number == 2 && host % 10 == 8 {
            seconds += 4_000_000_000;
        }
        if dice.below(6) == 0 {
            zone = &zones[usize::try_from(dice.below(5)).expect("small")];
        }
        let nanos = dice.one_of(&[0, 1, 999_999_999, 123_456_000]);
        let tags: &[&str] = dice.one_of(&[&[][..], &["a"], &["b"], &["a", "b"], &["a", "c"]]);
        Root {
            time: zone.timestamp((seconds, nanos)),
            parent: None,
            tree: ChunkKey::full(1, [1; 32]),
            top: None,
            paths: vec!["/data".into()],
            hostname: format!("host {host}"),
            username: "me".into(),
            uid: 0,
            gid: 0,
            excludes: Vec::new(),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            original: None,
            description: String::new(),
            program: String::new(),
            summary: None,
        }
    });
    roots.collect()
}

fn write_all(scene: &Scene, repository: &Repository) {
    let dice = Dice(Entropy::seeded(20));
    let announcement = Announcement {
        access: Access::Shared,
        hostname: "host".into(),
        username: "me".into(),
        patience: std::time::Duration::ZERO,
        lineage: None,
        listener: Listener::default(),
    };
    scene.runtime.block_on(async {
        let protocol = repository.protocol();
        let presence = protocol.announce(&announcement, &Cancel::new()).await.expect("announced");
        for host in 0..HISTORIES {
            for root in history(&dice, host) {
                let published = Published::default();
                protocol.commit_root(&presence, published, &root).await.expect("stored");
            }
        }
        presence.release().await.expect("released");
    });
}

/// The reasons to keep each snapshot that is kept, by id, and the ids of the others.
type Outcome = (BTreeMap<String, Vec<String>>, Vec<String>);

fn ours(roots: &[(String, Root)], policy: &Policy, now: &Timestamp, zone: &Zone) -> Outcome {
    let mut groups: BTreeMap<&str, Vec<&(String, Root)>> = BTreeMap::new();
    roots.iter().for_each(|row| groups.entry(&row.1.hostname).or_default().push(row));
    let (mut kept, mut gone) = (BTreeMap::new(), Vec::new());
    for group in groups.into_values() {
        let candidates: Vec<Candidate<'_>> =
            group.iter().map(|(_, root)| Candidate { time: root.time, tags: &root.tags }).collect();
        for decision in decide(policy, &candidates, now, zone) {
            let id = group[decision.at].0.clone();
            if decision.is_kept() {
                kept.insert(id, words(&decision));
            } else {
                gone.push(id);
            }
        }
    }
    gone.sort();
    (kept, gone)
}

fn words(decision: &Decision) -> Vec<String> {
    let told = decision.reasons().map(|(rule, oldest)| match oldest {
        true => format!("oldest {rule}"),
        false => rule.to_string(),
    });
    told.collect()
}

fn theirs(restic: &Restic, policy: &[&str], zone: &str) -> Outcome {
    let arguments = [&["forget", "--dry-run", "--json", "--group-by", "host"], policy].concat();
    let output = restic.command(&arguments).env("TZ", zone).output().expect("restic runs");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{policy:?}: {complaint}");
    let told = String::from_utf8(output.stdout).expect("UTF-8");
    let json = told.lines().find(|line| line.starts_with('[')).expect("groups");
    let groups: Value = serde_json::from_str(json).expect("JSON");
    let id = |snapshot: &Value| snapshot["id"].as_str().map(str::to_owned);
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let (mut kept, mut gone) = (BTreeMap::new(), Vec::new());
    for group in groups.as_array().expect("an array") {
        let list = |key: &str| group[key].as_array().cloned().unwrap_or_default();
        gone.extend(list("remove").iter().map(|it| id(it).expect("an id")));
        // Older versions name no id here, and list both in the same order.
        for (keep, reason) in list("keep").iter().zip(list("reasons")) {
            let words = reason["matches"].as_array().expect("an array").iter().map(text);
            kept.insert(id(keep).expect("an id"), words.collect());
        }
    }
    gone.sort();
    (kept, gone)
}

fn period(text: &str) -> windlass_engine::retention::Period {
    text.parse().expect("a period")
}

fn policies() -> Vec<(Vec<&'static str>, Policy)> {
    let none = Policy::default;
    let lists = |list: &[&[&str]]| -> Vec<Vec<String>> {
        let list = list.iter().map(|tags| tags.iter().map(|tag| (*tag).into()).collect());
        list.collect()
    };
    vec![
        (vec!["--keep-last=3"], Policy { last: Count::Of(3), ..none() }),
        (vec!["--keep-hourly=5"], Policy { hourly: Count::Of(5), ..none() }),
        (vec!["--keep-daily=7"], Policy { daily: Count::Of(7), ..none() }),
        (vec!["--keep-weekly=4"], Policy { weekly: Count::Of(4), ..none() }),
        (
            vec!["--keep-monthly=5", "--keep-yearly=3"],
            Policy { monthly: Count::Of(5), yearly: Count::Of(3), ..none() },
        ),
        (
            vec![
                "--keep-last=1",
                "--keep-hourly=3",
                "--keep-daily=4",
                "--keep-weekly=2",
                "--keep-monthly=12",
                "--keep-yearly=75",
            ],
            Policy {
                last: Count::Of(1),
                hourly: Count::Of(3),
                daily: Count::Of(4),
                weekly: Count::Of(2),
                monthly: Count::Of(12),
                yearly: Count::Of(75),
                ..none()
            },
        ),
        (vec!["--keep-within=1m"], Policy { within: period("1m"), ..none() }),
        (vec!["--keep-within=1y5m7d2h"], Policy { within: period("1y5m7d2h"), ..none() }),
        (
            vec!["--keep-within-hourly=3d", "--keep-within-daily=2m"],
            Policy { within_hourly: period("3d"), within_daily: period("2m"), ..none() },
        ),
        (
            vec![
                "--keep-within-weekly=7m",
                "--keep-within-monthly=13m40d",
                "--keep-within-yearly=9y",
            ],
            Policy {
                within_weekly: period("7m"),
                within_monthly: period("13m40d"),
                within_yearly: period("9y"),
                ..none()
            },
        ),
        (
            vec!["--keep-tag=a,c", "--keep-tag=b", "--keep-tag=", "--keep-weekly=1"],
            Policy { tags: lists(&[&["a", "c"], &["b"], &[""]]), weekly: Count::Of(1), ..none() },
        ),
        (
            vec!["--keep-daily=unlimited", "--keep-within=2d"],
            Policy { daily: Count::All, within: period("2d"), ..none() },
        ),
    ]
}

#[test]
fn decisions_about_random_histories_are_those_of_restic() {
    let scene = Scene::new();
    let at = scene.path("repository");
    empty_on_disk(&at, Version::V2);
    let Some(restic) = Restic::at(&at) else { return };
    // Older ones do not keep the oldest for rules that are not used up.
    if !restic.is_at_least((0, 16)) {
        return;
    }
    let repository = scene.try_open_at(&Place::local(&at)).expect("opened");
    write_all(&scene, &repository);
    let roots = scene.roots(&repository);
    let roots: Vec<(String, Root)> =
        roots.into_iter().map(|(id, root)| (id.as_str().to_owned(), root)).collect();
    assert!(roots.len() > 1000, "{}", roots.len());
    let now = SystemClock.now();
    let mut verdicts = (0, 0);
    for (arguments, policy) in policies() {
        for name in ["UTC", "Europe/Berlin"] {
            let zone = Zone::named(name).expect("a zone");
            let (kept, gone) = ours(&roots, &policy, &now, &zone);
            let (restic_kept, restic_gone) = theirs(&restic, &arguments, name);
            assert_eq!(gone, restic_gone, "{arguments:?} in {name}");
            let ids = |kept: &BTreeMap<String, Vec<String>>| -> Vec<String> {
                kept.keys().cloned().collect()
            };
            assert_eq!(ids(&kept), ids(&restic_kept), "{arguments:?} in {name}");
            // The words changed with time; those of today are the measure.
            if restic.version >= (0, 17) {
                assert_eq!(kept, restic_kept, "{arguments:?} in {name}");
            }
            verdicts = (verdicts.0 + kept.len(), verdicts.1 + gone.len());
        }
    }
    assert!(verdicts.0 > 1000 && verdicts.1 > 1000, "{verdicts:?}");
}
