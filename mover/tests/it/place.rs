//! A directory with a source and a repository, and the program run in it.

use std::{
    ffi::OsStr,
    fs,
    io::Write,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;
use windlass_engine::format::restic::config::Version;
use windlass_testkit::bare;

/// The password of every repository here.
pub(crate) const PASSWORD: &str = "correct horse";

/// A user without privileges.
pub(crate) const NOBODY: u32 = 65_534;

/// Where a test works.
pub(crate) struct Place {
    pub(crate) dir: TempDir,
}

/// What the program said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Place {
    /// With a source of two files and a directory.
    pub(crate) fn new() -> Self {
        let place = Self { dir: tempfile::tempdir().expect("a directory") };
        fs::create_dir_all(place.path("src/d")).expect("a directory");
        place.write("src/a", b"first");
        place.write("src/d/b", &[7; 100_000]);
        place
    }

    /// And with a repository.
    pub(crate) fn with_repository() -> Self {
        let place = Self::new();
        let said = place.run(&["init"]);
        assert_eq!(said.code, Some(0), "{said:?}");
        place
    }

    /// And with one that opens without cost, for those who open it many times.
    pub(crate) fn with_cheap_repository() -> Self {
        let place = Self::new();
        bare::write_for(PASSWORD, &place.path("repo"), Version::V2);
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &[u8]) {
        fs::write(self.path(name), content).expect("a file is written");
    }

    /// The program in this directory, with nothing in its environment but a home.
    pub(crate) fn bare(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_windlass"));
        command.env_clear().current_dir(self.dir.path()).stdin(Stdio::null());
        command.env("HOME", self.path("home")).env("TZ", "UTC");
        command
    }

    /// The program on the repository of this place.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, args: &[A]) -> Command {
        let mut command = self.bare();
        command.env("RESTIC_REPOSITORY", "repo").env("RESTIC_PASSWORD", PASSWORD).args(args);
        command
    }

    pub(crate) fn run<A: AsRef<OsStr>>(&self, args: &[A]) -> Said {
        Said::of(&mut self.command(args))
    }

    /// Runs it as a user without privileges, who may read the repository and write into the
    /// directory of the place; as ourselves where we have none.
    pub(crate) fn run_as_nobody<A: AsRef<OsStr>>(&self, args: &[A]) -> Said {
        Said::of(self.as_nobody(&mut self.command_for_all(args)))
    }

    /// The program on the repository of this place, where everybody may run it.
    pub(crate) fn command_for_all<A: AsRef<OsStr>>(&self, args: &[A]) -> Command {
        let ours = self.command(args);
        // The program may lie where only we may go.
        let program = self.path("windlass");
        if !program.exists() {
            fs::copy(env!("CARGO_BIN_EXE_windlass"), &program).expect("copied");
        }
        let mut command = Command::new(program);
        command.args(args).current_dir(self.dir.path()).stdin(Stdio::null()).env_clear();
        command.envs(ours.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
    }

    /// The same for any program.
    pub(crate) fn as_nobody<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        if rustix::process::geteuid().is_root() {
            let open = |path: &Path, mode| {
                fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
            };
            open(self.dir.path(), 0o777);
            let repository = self.path("repo");
            for path in directories(&repository) {
                open(&path, 0o777);
            }
            files(&repository).iter().for_each(|path| open(path, 0o444));
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    /// Runs what has to work.
    pub(crate) fn done<A: AsRef<OsStr>>(&self, args: &[A]) -> Said {
        let said = self.run(args);
        assert_eq!(said.code, Some(0), "{said:?}");
        said
    }

    /// The snapshots, as `snapshots --json` lists them.
    pub(crate) fn snapshots(&self) -> Vec<Value> {
        let said = self.done(&["snapshots", "--json"]);
        serde_json::from_str(&said.out).expect("an array")
    }

    /// The only file in a directory of the repository.
    pub(crate) fn only_file(&self, directory: &str) -> PathBuf {
        let files = files(&self.path("repo").join(directory));
        assert_eq!(files.len(), 1, "{files:?}");
        files[0].clone()
    }
}

impl Said {
    pub(crate) fn of(command: &mut Command) -> Self {
        Self::from(command.output().expect("the program starts"))
    }

    /// The lines of JSON on standard output.
    pub(crate) fn messages(&self) -> Vec<Value> {
        let lines = self.out.lines();
        lines.map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    /// The only message of this type.
    pub(crate) fn message(&self, of_type: &str) -> Value {
        let found = self.messages().into_iter().filter(|it| it["message_type"] == of_type);
        let found: Vec<Value> = found.collect();
        assert_eq!(found.len(), 1, "{of_type} in {self:?}");
        found[0].clone()
    }

    /// Fails with this code, saying these words.
    pub(crate) fn refused(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "{word:?} is not said: {self:?}");
        }
        assert!(!self.err.contains("panicked"), "{self:?}");
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// A directory and all those below it.
fn directories(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory");
    let below = entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_dir());
    let below: Vec<PathBuf> = below.flat_map(|path| directories(&path)).collect();
    [vec![directory.to_owned()], below].concat()
}

/// All files below a directory.
pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// All files below a directory with their contents.
pub(crate) fn bytes_of(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let read = |path: PathBuf| {
        let bytes = fs::read(&path).expect("a file is read");
        (path, bytes)
    };
    files(directory).into_iter().map(read).collect()
}

/// Says what a test could not look at here.
pub(crate) fn skipped(why: &str) {
    writeln!(std::io::stderr(), "skipped: {why}").expect("said");
}

/// Bytes that do not compress and are the same for the same seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let bytes = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    });
    bytes.take(len).collect()
}
