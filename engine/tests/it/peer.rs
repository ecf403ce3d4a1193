//! Real restic, looked up on PATH.
//!
//! Invariants: a peer that is missing fails where `WINDLASS_REQUIRE_PEERS` is set, and is told
//! otherwise; no test passes in silence for lack of it.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use super::scene::HOST;

/// restic on one repository.
#[derive(Clone, Debug)]
pub(super) struct Restic {
    /// Major and minor.
    pub(super) version: (u32, u32),
    repository: PathBuf,
    options: Vec<String>,
    environment: Vec<(&'static str, String)>,
    password: String,
}

impl Restic {
    /// restic for the repository at `repository`, or nothing where there is no restic.
    pub(super) fn at(repository: &Path) -> Option<Self> {
        let told = Command::new("restic").arg("version").stderr(Stdio::null()).output();
        let Ok(told) = told else {
            assert!(
                std::env::var_os("WINDLASS_REQUIRE_PEERS").is_none(),
                "no restic on PATH, and WINDLASS_REQUIRE_PEERS asks for it"
            );
            #[expect(clippy::print_stderr, reason = "whoever runs the tests must see it")]
            {
                eprintln!("skipped: no restic on PATH");
            }
            return None;
        };
        let text = String::from_utf8(told.stdout).expect("UTF-8");
        let number = text.split_ascii_whitespace().nth(1).expect("a version");
        let mut parts = number.split(['.', '-']).map(|part| part.parse().expect("a number"));
        let version = (parts.next().expect("major"), parts.next().expect("minor"));
        let password = "secret".to_owned();
        let repository = repository.to_owned();
        let (options, environment) = <_>::default();
        Some(Self { version, repository, options, environment, password })
    }

    /// The same for a repository in a store, with options for its backend.
    pub(super) fn reaching(location: &str, options: &[String]) -> Option<Self> {
        let options = options.to_vec();
        Some(Self { options, ..Self::at(Path::new(location))? })
    }

    /// The same with a variable set.
    #[must_use]
    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.to_owned()));
        self
    }

    /// Whether it is no older than that; told where it is.
    pub(super) fn is_at_least(&self, wanted: (u32, u32)) -> bool {
        let is_new = self.version >= wanted;
        if !is_new {
            #[expect(clippy::print_stderr, reason = "whoever runs the tests must see it")]
            {
                eprintln!("skipped: restic {:?} is older than {wanted:?}", self.version);
            }
        }
        is_new
    }

    /// Runs restic whatever its end.
    pub(super) fn run(&self, arguments: &[&str]) -> Output {
        self.run_in(Path::new("."), arguments)
    }

    /// Runs restic with its cache in `cache`; it has to succeed without a complaint.
    pub(super) fn good_with_cache(&self, cache: &str, arguments: &[&str]) -> String {
        let output = self.command_with(&["--cache-dir", cache], arguments).output();
        judge(&output.expect("restic runs"), arguments)
    }

    fn run_in(&self, directory: &Path, arguments: &[&str]) -> Output {
        self.command(arguments).current_dir(directory).output().expect("restic runs")
    }

    /// restic, ready to be run.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        self.command_with(&["--no-cache"], arguments)
    }

    fn command_with(&self, cache: &[&str], arguments: &[&str]) -> Command {
        let mut command = Command::new("restic");
        command
            .args(cache)
            .arg("-r")
            .arg(&self.repository)
            .args(self.options.iter().flat_map(|option| ["-o", option.as_str()]))
            .args(arguments)
            .envs(self.environment.iter().map(|(name, value)| (*name, value)))
            .env("RESTIC_PASSWORD", &self.password)
            .env_remove("RESTIC_COMPRESSION")
            .stdin(Stdio::null());
        command
    }

    /// Runs restic, which has to succeed without a complaint, and gives what it says.
    pub(super) fn good(&self, arguments: &[&str]) -> String {
        self.good_in(Path::new("."), arguments)
    }

    /// The same, typed in a directory.
    pub(super) fn good_in(&self, directory: &Path, arguments: &[&str]) -> String {
        judge(&self.run_in(directory, arguments), arguments)
    }

    /// Backs up `source`, and gives the numbers of the summary and the new snapshot's name.
    pub(super) fn back_up(&self, source: &Path) -> (HashMap<String, u64>, String) {
        let source = source.to_str().expect("UTF-8");
        let told = self.good(&["backup", "--json", "--host", HOST, source]);
        let summary = told.lines().find(|line| line.contains("\"summary\"")).expect("a summary");
        let summary: serde_json::Value = serde_json::from_str(summary).expect("JSON");
        let fields = summary.as_object().expect("an object");
        let numbers = fields.iter().filter_map(|(key, value)| Some((key.clone(), value.as_u64()?)));
        let id = summary["snapshot_id"].as_str().expect("an id").to_owned();
        (numbers.collect(), id)
    }

    /// Every pack, index, snapshot and chunk is as restic wants it.
    pub(super) fn check(&self) {
        let told = self.good(&["check", "--read-data"]);
        assert!(told.contains("no errors were found"), "{told}");
    }

    /// What restic says of the tree of `directory` in a snapshot.
    pub(super) fn tree_id(&self, snapshot: &str, directory: &Path) -> String {
        let told = self.good(&["cat", "--no-lock", "snapshot", snapshot]);
        let json: serde_json::Value = serde_json::from_str(&told).expect("JSON");
        let mut tree = json["tree"].as_str().expect("a tree").to_owned();
        for name in directory.iter().skip(1) {
            let told = self.good(&["cat", "--no-lock", "blob", &tree]);
            let json: serde_json::Value = serde_json::from_str(&told).expect("JSON");
            let nodes = json["nodes"].as_array().expect("nodes");
            let node = nodes.iter().find(|node| node["name"].as_str() == name.to_str());
            tree = node.expect("its name")["subtree"].as_str().expect("a tree").to_owned();
        }
        tree
    }

    /// The lines of `diff` about what is below `directory`.
    pub(super) fn diff(&self, old: &str, new: &str, directory: &Path) -> Vec<String> {
        let told = self.good(&["diff", "--no-lock", "--metadata", old, new]);
        let below = format!("{}/", directory.display());
        told.lines().filter(|line| line.contains(&below)).map(str::to_owned).collect()
    }
}

/// What restic said, having succeeded without a complaint.
fn judge(output: &Output, arguments: &[&str]) -> String {
    let (told, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "restic {arguments:?}: {complained}\n{told}");
    let complaint = complained.lines().find(|line| {
        let line = line.to_lowercase();
        ["error", "fatal", "damaged", "mixed", "ignoring"].iter().any(|bad| line.contains(bad))
    });
    assert_eq!(complaint, None, "restic {arguments:?}");
    told.into_owned()
}
