//! A command to be killed, and what has to be true whenever that was.
//!
//! Invariants: snapshots are known by their first tag, which names the state of the source that they
//! are of; each round works on a copy of the repository that was made ready for its command.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{Numbers, check_same, copy_tree, kill_after, locks};
use crate::{
    place::{PASSWORD, Place, Said, noise},
    restic::there_is_restic,
    rewrite::restic,
};

/// The states of the source that are backed up.
const STATES: [&str; 3] = ["s0", "s1", "s2"];

/// The one that it is in.
const NOW: &str = "now";

/// Three snapshots, each with something that the others do not have.
pub(super) fn history() -> Place {
    let place = Place::with_cheap_repository();
    fs::create_dir(place.path("truth")).expect("made");
    place.write("src/stays", &noise(1, 900_000));
    for (number, state) in STATES.into_iter().chain([NOW]).enumerate() {
        let seed = 10 * number as u64;
        place.write("src/changes", &noise(2 + seed, 1_800_000));
        place.write("src/d/small", state.as_bytes());
        place.write("src/secret", &noise(3 + seed, 4_000));
        let own = format!("src/own-{state}");
        place.write(&own, &noise(4 + seed, 700_000));
        copy_tree(&place.path("src"), &place.path("truth").join(state));
        if state != NOW {
            place.done(&["backup", "src", "--host=h", "--pack-size=4", "--tag", state]);
            fs::remove_file(place.path(&own)).expect("removed");
        }
    }
    place
}

/// A snapshot of which something is not whole before the command has come to its end.
#[derive(Clone, Copy)]
pub(super) struct Lack {
    pub(super) tag: &'static str,
    /// What starts so, below the source.
    pub(super) paths: &'static [&'static str],
    /// Whether the command cannot bring it back either, and takes it out.
    pub(super) for_good: bool,
}

/// What is killed.
pub(super) struct Work {
    pub(super) name: &'static str,
    pub(super) place: Place,
    pub(super) args: Vec<String>,
    /// The repository that it changes.
    pub(super) target: &'static str,
    /// Tags of snapshots that are there at any moment.
    pub(super) stays: Vec<&'static str>,
    /// Tags of the snapshots that are there at its end.
    pub(super) after: Vec<&'static str>,
    pub(super) lack: Option<Lack>,
    /// Whether it takes `secret` out of snapshots.
    pub(super) takes_secrets: bool,
    /// Whether a backup may come before its next run, and changes nothing about what that does.
    pub(super) bears_backups: bool,
    /// What it says where it had come to its end already.
    pub(super) over: Option<&'static str>,
}

impl Work {
    /// A command on a copy of `history`, which leaves all snapshots as they are.
    pub(super) fn new(
        name: &'static str,
        history: &Place,
        args: &[&str],
        prepare: impl FnOnce(&Place),
    ) -> Self {
        let place = Place { dir: tempfile::tempdir().expect("a directory") };
        for part in ["repo", "src", "truth"] {
            copy_tree(&history.path(part), &place.path(part));
        }
        prepare(&place);
        Self {
            name,
            place,
            args: args.iter().map(|word| (*word).to_owned()).collect(),
            target: "repo",
            stays: STATES.to_vec(),
            after: STATES.to_vec(),
            lack: None,
            takes_secrets: false,
            bears_backups: true,
            over: None,
        }
    }

    /// How long it takes where nobody kills it; it does what it should.
    pub(super) fn measure(&self) -> Duration {
        let round = self.round(format!("{}, not killed", self.name));
        let began = Instant::now();
        round.done(&self.args);
        let whole = began.elapsed();
        round.check_end(&self.after);
        whole
    }

    /// Kills it at the moment that a seed says, looks, and lets it come to its end. Whether it was
    /// killed and had not ended before.
    pub(super) fn kill(&self, seed: u64, whole: Duration) -> bool {
        let mut numbers = Numbers(seed);
        let round = self.round(format!("{}, seed {seed}", self.name));
        let killed = kill_after(&mut round.command(&self.args), numbers.moment(whole));
        round.check_any_time();
        let mut after = self.after.clone();
        if self.bears_backups && numbers.next(2) == 0 {
            // Somebody who must not rely on what is half gone.
            round.done(&["backup", "src", "--host=h", "--force", "--tag", NOW]);
            after.push(NOW);
        }
        let said = round.run(&self.args);
        let over = self.over.is_some_and(|words| said.err.contains(words));
        assert!(said.code == Some(0) || over, "{}: {said:?}", round.told);
        round.check_end(&after);
        killed
    }

    fn round(&self, told: String) -> Round<'_> {
        let place = Place { dir: tempfile::tempdir().expect("a directory") };
        for part in ["repo", "other", "src"] {
            let from = self.place.path(part);
            if from.exists() {
                copy_tree(&from, &place.path(part));
            }
        }
        Round { work: self, place, told }
    }
}

/// One of it.
struct Round<'w> {
    work: &'w Work,
    place: Place,
    told: String,
}

impl Round<'_> {
    fn command<A: AsRef<std::ffi::OsStr>>(&self, args: &[A]) -> Command {
        let mut command = self.place.command(args);
        command.env("RESTIC_REPOSITORY", self.work.target).env("RESTIC_FROM_PASSWORD", PASSWORD);
        command
    }

    fn run<A: AsRef<std::ffi::OsStr>>(&self, args: &[A]) -> Said {
        Said::of(&mut self.command(args))
    }

    fn done<A: AsRef<std::ffi::OsStr>>(&self, args: &[A]) -> Said {
        let said = self.run(args);
        assert_eq!(said.code, Some(0), "{}: {said:?}", self.told);
        said
    }

    /// What has to hold whenever it was killed.
    fn check_any_time(&self) {
        if self.work.lack.is_none() {
            // The lock of the dead one is in restic's way: it cannot know.
            self.check_with_restic(&["--no-lock"]);
        }
        let there = self.restore_all(false);
        let stays = self.work.stays.iter().all(|tag| there.contains(*tag));
        assert!(stays, "{}: {there:?}", self.told);
    }

    fn check_end(&self, after: &[&str]) {
        let locks = locks(&self.place.path(self.work.target));
        assert!(locks.is_empty(), "{}: {locks:?}", self.told);
        self.check_with_restic(&[]);
        let there = self.restore_all(true);
        let after: BTreeSet<String> = after.iter().map(|tag| (*tag).to_owned()).collect();
        assert_eq!(there, after, "{}", self.told);
    }

    fn check_with_restic(&self, options: &[&str]) {
        if !there_is_restic() {
            return;
        }
        let args = [&["check", "--read-data"], options].concat();
        let said = restic(&self.place, self.work.target, &args);
        // Packs that no index names are what such a moment leaves, and no error.
        let good = said.code == Some(0) && said.out.contains("no errors were found");
        assert!(good, "{}: {said:?}", self.told);
    }

    /// Restores every snapshot and compares it with what it is of; their tags.
    fn restore_all(&self, ended: bool) -> BTreeSet<String> {
        let listed = self.done(&["snapshots", "--json"]).out;
        let listed: Vec<Value> = serde_json::from_str(&listed).expect("an array");
        let mut tags = BTreeSet::new();
        for (number, snapshot) in listed.iter().enumerate() {
            let tag = snapshot["tags"][0].as_str().expect("a tag").to_owned();
            self.restore(snapshot, &tag, number == 0, ended);
            tags.insert(tag);
        }
        tags
    }

    fn restore(&self, snapshot: &Value, tag: &str, locked: bool, ended: bool) {
        let told = format!("{}, snapshot {snapshot}", self.told);
        let lack = self.work.lack.filter(|lack| lack.tag == tag && (lack.for_good || !ended));
        let id = snapshot["id"].as_str().expect("an id");
        let mut args = vec!["restore", id, "--target=out"];
        if !locked {
            args.push("--no-lock");
        }
        let said = self.run(&args);
        assert!(said.code == Some(0) || lack.is_some(), "{told}: {said:?}");
        let out = self.place.path("out");
        // One that was recovered has it below the name of a directory.
        let Some(restored) = find(&out, "src") else {
            assert!(lack.is_some_and(|lack| lack.paths == [""]), "{told}: {said:?}");
            return;
        };
        let state = if tag == "recovered" { "s2" } else { tag };
        let without = self.work.takes_secrets && snapshot.get("original").is_some();
        let lacks = lack.map_or(&[][..], |lack| lack.paths);
        let but = if without { &["secret"] } else { lacks };
        check_same(&self.work.place.path("truth").join(state), &restored, but, &told);
        assert!(!without || !restored.join("secret").exists(), "{told}");
        fs::remove_dir_all(out).expect("removed");
    }
}

/// The first directory of that name, here or below.
fn find(at: &Path, name: &str) -> Option<PathBuf> {
    let here = at.join(name);
    if here.is_dir() {
        return Some(here);
    }
    let entries = fs::read_dir(at).ok()?.map(|entry| entry.expect("an entry").path());
    entries.filter(|path| path.is_dir()).find_map(|path| find(&path, name))
}
