//! The tools that are compared, and how each is told to do the same thing.
//!
//! Invariants: every tool gets the same empty environment, a home, a temporary directory and a
//! cache of its own, the same password, and the options it has by default; the exceptions are
//! written down in [`NOTES`] and printed with the table.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a reader of the table has to know about the tools.
pub(super) const NOTES: [&str; 3] = [
    "kopia compresses nothing by default; here it is told `policy set --global \
     --compression=zstd`, as the others do by themselves.",
    "rustic trusts size and modification time of existing files on restore; restic and windlass \
     read them; kopia writes everything again.",
    "Each tool keeps its cache between the steps of one run and has a new one in the next.",
];

/// A tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Windlass,
    Restic,
    Rustic,
    Kopia,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Windlass, Self::Restic, Self::Rustic, Self::Kopia];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Windlass => "windlass",
            Self::Restic => "restic",
            Self::Rustic => "rustic",
            Self::Kopia => "kopia",
        }
    }
}

/// A tool as found on this machine.
#[derive(Clone, Debug)]
pub(super) struct Tool {
    pub(super) kind: Kind,
    pub(super) program: PathBuf,
    /// What it says when asked for its version.
    pub(super) version: String,
}

impl Tool {
    pub(super) fn new(kind: Kind, program: PathBuf) -> Self {
        let words: &[&str] = match kind {
            Kind::Windlass | Kind::Restic => &["version"],
            Kind::Rustic | Kind::Kopia => &["--version"],
        };
        let output = Command::new(&program).args(words).output();
        let text = output.map(|output| output.stdout).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let version = text.lines().next().unwrap_or("version unknown");
        let version = version.trim_end_matches([' ', ':']).to_string();
        Self { kind, program, version }
    }
}

/// A tool with a place of its own to work in.
#[derive(Clone)]
pub(super) struct Bench<'a> {
    pub(super) tool: &'a Tool,
    /// Holds repository, cache, home and logs.
    pub(super) place: PathBuf,
    /// Where the repository is, if not in there.
    pub(super) cloud: Option<Cloud>,
}

/// A bucket behind the S3 protocol, without TLS.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cloud {
    pub(super) address: SocketAddr,
    pub(super) bucket: &'static str,
    pub(super) key_id: &'static str,
    pub(super) secret_key: &'static str,
}

impl<'a> Bench<'a> {
    pub(super) fn new(tool: &'a Tool, place: PathBuf) -> Result<Self, String> {
        for name in ["home", "temporary", "cache"] {
            let path = place.join(name);
            fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(Self { tool, place, cloud: None })
    }

    /// The same with the repository in a bucket.
    pub(super) fn over(self, cloud: Cloud) -> Self {
        Self { cloud: Some(cloud), ..self }
    }

    pub(super) fn repository(&self) -> PathBuf {
        self.place.join("repository")
    }

    /// Commands that make the repository.
    pub(super) fn init(&self) -> Vec<Command> {
        let repository = self.repository();
        match self.tool.kind {
            Kind::Windlass | Kind::Restic | Kind::Rustic => vec![self.on_repository("init")],
            Kind::Kopia => {
                let mut create = self.command();
                create.args(["repository", "create"]);
                match &self.cloud {
                    None => create.args(["filesystem", "--path"]).arg(repository),
                    Some(cloud) => create
                        .args(["s3", "--disable-tls", "--bucket", cloud.bucket])
                        .args(["--endpoint", &cloud.address.to_string()])
                        .args(["--access-key", cloud.key_id])
                        .args(["--secret-access-key", cloud.secret_key]),
                };
                let mut policy = self.command();
                policy.args(["policy", "set", "--global", "--compression=zstd"]);
                vec![create, policy]
            }
        }
    }

    /// The command that backs `source` up.
    pub(super) fn backup(&self, source: &Path) -> Command {
        let mut command = match self.tool.kind {
            Kind::Windlass | Kind::Restic | Kind::Rustic => self.on_repository("backup"),
            Kind::Kopia => {
                let mut command = self.command();
                command.args(["snapshot", "create"]);
                command
            }
        };
        command.arg(source);
        command
    }

    /// Any other command of restic's and ours.
    pub(super) fn with(&self, verb: &str, words: &[&str]) -> Command {
        let mut command = self.on_repository(verb);
        command.args(words);
        command
    }

    /// The command that restores the latest snapshot of `source` into `target`.
    pub(super) fn restore(&self, source: &Path, target: &Path) -> Command {
        match self.tool.kind {
            Kind::Windlass | Kind::Restic => {
                let mut command = self.on_repository("restore");
                command.args(["latest", "--target"]).arg(target);
                command
            }
            Kind::Rustic => {
                let mut command = self.on_repository("restore");
                command.arg("latest").arg(target);
                command
            }
            Kind::Kopia => {
                let mut command = self.command();
                command.arg("restore").arg(source).arg(target);
                command
            }
        }
    }

    /// Where a restore into `target` put the content of `source`: some tools strip the path the
    /// source was given by, others keep it.
    pub(super) fn restored(&self, source: &Path, target: &Path) -> PathBuf {
        let kept = target.join(source.strip_prefix("/").unwrap_or(source));
        if kept.is_dir() { kept } else { target.to_path_buf() }
    }

    fn on_repository(&self, verb: &str) -> Command {
        let mut command = self.command();
        command.arg(verb).arg("-r");
        match (&self.cloud, self.tool.kind) {
            (None, _) => command.arg(self.repository()),
            (Some(_), Kind::Rustic) => command.arg("opendal:s3"),
            (Some(cloud), _) => {
                command.arg(format!("s3:http://{}/{}", cloud.address, cloud.bucket))
            }
        };
        if self.tool.kind == Kind::Rustic {
            command.arg("--cache-dir").arg(self.place.join("cache"));
        }
        command
    }

    fn command(&self) -> Command {
        const PASSWORD: &str = "correct horse";
        let mut command = Command::new(&self.tool.program);
        let cache = self.place.join("cache");
        command.env_clear().env("HOME", self.place.join("home"));
        command.env("TMPDIR", self.place.join("temporary")).env("LANG", "C.UTF-8");
        match self.tool.kind {
            Kind::Windlass | Kind::Restic => {
                command.env("RESTIC_PASSWORD", PASSWORD).env("RESTIC_CACHE_DIR", cache);
            }
            Kind::Rustic => {
                command.env("RUSTIC_PASSWORD", PASSWORD).env("RUSTIC_NO_PROGRESS", "true");
            }
            Kind::Kopia => {
                command.env("KOPIA_PASSWORD", PASSWORD).env("KOPIA_CACHE_DIRECTORY", cache);
                command.env("KOPIA_CHECK_FOR_UPDATES", "false");
                command.env("KOPIA_CONFIG_PATH", self.place.join("home/repository.config"));
            }
        }
        match (&self.cloud, self.tool.kind) {
            (None, _) | (Some(_), Kind::Kopia) => {}
            (Some(cloud), Kind::Windlass | Kind::Restic) => {
                command.env("AWS_ACCESS_KEY_ID", cloud.key_id);
                command.env("AWS_SECRET_ACCESS_KEY", cloud.secret_key);
            }
            (Some(cloud), Kind::Rustic) => {
                command.env("OPENDAL_ENDPOINT", format!("http://{}", cloud.address));
                command.env("OPENDAL_BUCKET", cloud.bucket).env("OPENDAL_REGION", "us-east-1");
                command.env("OPENDAL_ACCESS_KEY_ID", cloud.key_id);
                command.env("OPENDAL_SECRET_ACCESS_KEY", cloud.secret_key);
            }
        }
        command
    }

    /// `command` as printed below the table: without this run's directories.
    pub(super) fn line(&self, command: &Command) -> String {
        let words = command.get_args().map(|word| word.to_string_lossy());
        let line = words.collect::<Vec<_>>().join(" ");
        let place = self.place.display().to_string();
        format!("{} {}", self.tool.kind.name(), line.replace(&format!("{place}/"), ""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::scratch::Scratch;

    fn lines(kind: Kind) -> [String; 2] {
        let scratch = Scratch::new(&std::env::temp_dir()).unwrap();
        let tool = Tool { kind, program: kind.name().into(), version: String::new() };
        let bench = Bench::new(&tool, scratch.path().join("place")).unwrap();
        let (source, target) = (Path::new("/data/tree"), bench.place.join("out"));
        let backup = bench.line(&bench.backup(source));
        [backup, bench.line(&bench.restore(source, &target))]
    }

    #[test]
    fn each_tool_is_told_the_same_in_its_own_words() {
        assert_eq!(
            lines(Kind::Windlass),
            [
                "windlass backup -r repository /data/tree",
                "windlass restore -r repository latest --target out"
            ]
        );
        assert_eq!(
            lines(Kind::Rustic)[1],
            "rustic restore -r repository --cache-dir cache latest out"
        );
        assert_eq!(
            lines(Kind::Kopia),
            ["kopia snapshot create /data/tree", "kopia restore /data/tree out"]
        );
    }

    #[test]
    fn no_variable_of_the_caller_reaches_a_tool() {
        let scratch = Scratch::new(&std::env::temp_dir()).unwrap();
        let tool = Tool { kind: Kind::Restic, program: "env".into(), version: String::new() };
        let bench = Bench::new(&tool, scratch.path().join("place")).unwrap();
        let mut command = bench.command();
        command.env("PATH", std::env::var_os("PATH").unwrap());
        let output = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let mut names: Vec<&str> = output.lines().filter_map(|l| l.split('=').next()).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            ["HOME", "LANG", "PATH", "RESTIC_CACHE_DIR", "RESTIC_PASSWORD", "TMPDIR"]
        );
    }
}
