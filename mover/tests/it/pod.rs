//! A pod of VolSync's: directories that stand for its volumes, and the mover started in it exactly
//! as the controller starts it.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::place::{PASSWORD, Place, Said};

/// Volumes, and a repository in a directory.
pub(crate) struct Pod {
    pub(crate) place: Place,
}

/// Where the controller looks for the mover.
pub(crate) const ENTRY: &str = "/mover-restic/entry.sh";

impl Pod {
    /// With two files and a directory on the data volume and nothing anywhere else.
    pub(crate) fn new() -> Self {
        let pod = Self { place: Place { dir: tempfile::tempdir().expect("a directory") } };
        for volume in ["data/d", "cache", "tmp"] {
            fs::create_dir_all(pod.path(volume)).expect("a volume");
        }
        pod.write("data/a", b"first");
        pod.write("data/d/b", &[7; 100_000]);
        pod.write("termination-log", b"");
        pod
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.place.path(name)
    }

    pub(crate) fn write(&self, name: &str, content: &[u8]) {
        self.place.write(name, content);
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("a text")
    }

    /// The mover with the environment that the controller gives to every pod.
    pub(crate) fn mover(&self, words: &[&str]) -> Command {
        self.mover_at(Path::new(env!("CARGO_BIN_EXE_windlass")), words)
    }

    /// The same program from another place.
    pub(crate) fn mover_at(&self, program: &Path, words: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.arg0(ENTRY).args(words).env_clear().stdin(Stdio::null()).current_dir("/");
        command.env("DATA_DIR", self.path("data")).env("RESTIC_CACHE_DIR", self.path("cache"));
        command.env("RESTIC_REPOSITORY", self.path("repo")).env("RESTIC_PASSWORD", PASSWORD);
        command.env("FORGET_OPTIONS", "--keep-last 1").env("PRIVILEGED_MOVER", "0");
        command.env("RESTORE_AS_OF", "").env("SELECT_PREVIOUS", "0").env("RESTORE_OPTIONS", "");
        // Of the test, not of the controller: no pod has these directories to itself here.
        command.env("TMPDIR", self.path("tmp"));
        command.env("WINDLASS_TERMINATION_LOG", self.path("termination-log"));
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Said {
        Said::of(&mut self.mover(words))
    }

    /// Runs what has to work.
    pub(crate) fn done(&self, words: &[&str]) -> Said {
        self.done_with(words, &[])
    }

    /// The same with more, or other, variables.
    pub(crate) fn done_with(&self, words: &[&str], variables: &[(&str, &str)]) -> Said {
        let said = Said::of(self.mover(words).envs(variables.iter().copied()));
        assert_eq!(said.code, Some(0), "{said:?}");
        said
    }

    /// What the container left as its last message.
    pub(crate) fn result(&self) -> Value {
        serde_json::from_str(&self.read("termination-log")).expect("a JSON document")
    }

    /// The snapshots, as the command line lists them; oldest first.
    pub(crate) fn snapshots(&self) -> Vec<Value> {
        self.place.snapshots()
    }

    /// Whether a repository was made.
    pub(crate) fn has_repository(&self) -> bool {
        self.path("repo").exists()
    }
}

/// The lines that the controller keeps of a run that succeeded, by the patterns of its filter.
pub(crate) fn kept(said: &Said) -> Vec<&str> {
    said.out.lines().chain(said.err.lines()).filter(|line| is_kept(line)).collect()
}

fn is_kept(line: &str) -> bool {
    let text = line.trim_start();
    let begins = |word: &str| {
        let mut chars = text.chars();
        let first = chars.next().map(|char| char.to_ascii_lowercase());
        first == word.chars().next() && chars.as_str().starts_with(&word[1..])
    };
    // White space behind the first word, then anything, then the second word.
    let around = |first: &str, second: &str| {
        let rest = begins(first).then(|| &text[first.len()..]);
        let capital = format!("{}{}", second[..1].to_uppercase(), &second[1..]);
        rest.and_then(|rest| rest.strip_prefix(char::is_whitespace)).is_some_and(|rest| {
            [second, &capital].iter().any(|word| rest.rfind(word).is_some_and(|at| at > 0))
        })
    };
    let initializes = ["i", "I"]
        .iter()
        .any(|i| ["d", "D"].iter().any(|d| line.contains(&format!("{i}nitialize {d}ir"))));
    around("processed", "files")
        || around("snapshot", "saved")
        || around("repository", "opened")
        || text.starts_with("No eligible")
        || ["No data", "Directory is empty", "RESTORE_OPTIONS"].iter().any(|it| line.contains(it))
        || ["created", "restoring", "no parent snapshot", "using parent snapshot"]
            .iter()
            .any(|word| begins(word))
        || ["added to the repository", "successfully", "fatal", "restic completed in"]
            .iter()
            .any(|word| begins(word))
        || text.starts_with("ERROR")
        || initializes
}

/// Fails where a line that begins so is not kept, in this order.
pub(crate) fn check_kept(said: &Said, beginnings: &[&str]) {
    let lines = kept(said);
    let mut rest = lines.iter();
    for beginning in beginnings {
        let found = rest.any(|line| line.trim_start().starts_with(beginning));
        assert!(found, "{beginning:?} is not among {lines:#?} after what comes before it");
    }
}
