//! What was typed: the options every command has, and the commands.
//!
//! Invariants: names and letters are restic's wherever the concept is the same.
//!
//! Not here: what the options of one command are (beside the command), what an option that was not
//! given means (`settings`).

use std::{collections::BTreeSet, ffi::OsString, path::PathBuf};

use clap::{Arg, ArgAction, Args, CommandFactory, Parser, Subcommand, ValueEnum};
use windlass_engine::format::restic::compress::Level;

#[cfg(feature = "mount")]
use crate::command::mount;
#[cfg(feature = "serve")]
use crate::command::serve;
use crate::{
    command::{
        backup, cache, cat, check, copy, diff, dump, find, forget, generate, init, key, list, ls,
        prune, recover, repair, restore, rewrite, snapshots, stats, tag, unlock,
    },
    settings::environment::parse_bool,
};

/// Back up to and restore from restic and kopia repositories.
#[derive(Debug, Parser)]
#[command(name = "windlass", version, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 success, 1 failure, 3 something could not be read, \
    10 no repository, 11 repository locked, 12 wrong password, 130 interrupted.")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Backup(Box<backup::Args>),
    Cache(cache::Args),
    Cat(cat::Args),
    Check(check::Args),
    Copy(copy::Args),
    Diff(diff::Args),
    Dump(dump::Args),
    Find(Box<find::Args>),
    Forget(Box<forget::Args>),
    Generate(generate::Args),
    Completion(generate::CompletionArgs),
    Init(init::Args),
    #[command(subcommand)]
    Key(key::Args),
    List(list::Args),
    Ls(Box<ls::Args>),
    #[cfg(feature = "mount")]
    Mount(mount::Args),
    Prune(prune::Args),
    Recover(recover::Args),
    Repair(Box<repair::Args>),
    Restore(Box<restore::Args>),
    Rewrite(Box<rewrite::Args>),
    #[cfg(feature = "serve")]
    Serve(serve::Args),
    Snapshots(snapshots::Args),
    Stats(stats::Args),
    Tag(tag::Args),
    Unlock(unlock::Args),
    /// Print the version of this program
    Version,
}

/// Options of every command.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// Repository to work on [env: WINDLASS_REPOSITORY, RESTIC_REPOSITORY; default: one in the
    /// user's data directory]
    #[arg(short, long, global = true, value_name = "LOCATION")]
    pub(crate) repo: Option<String>,
    /// File to read the repository location from [env: WINDLASS_REPOSITORY_FILE,
    /// RESTIC_REPOSITORY_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) repository_file: Option<PathBuf>,
    /// kopia's configuration of a connection, whose repository is to be read; the same as -r
    /// kopia:FILE. Without one, -r 'kopia:s3 --bucket=…' and the like take kopia's own flags
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) kopia_config: Option<PathBuf>,
    /// File to read the password from [env: WINDLASS_PASSWORD_FILE, RESTIC_PASSWORD_FILE,
    /// KOPIA_PASSWORD_FILE]
    #[arg(short, long, global = true, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// Command whose output is the password [env: WINDLASS_PASSWORD_COMMAND,
    /// RESTIC_PASSWORD_COMMAND, KOPIA_PASSWORD_COMMAND]
    #[arg(long, global = true, value_name = "COMMAND")]
    pub(crate) password_command: Option<String>,
    /// Use an empty password: anyone who gets at the repository can read it
    #[arg(long, global = true)]
    pub(crate) insecure_no_password: bool,
    /// Key to try first, by the start of its id [env: WINDLASS_KEY_HINT, RESTIC_KEY_HINT]
    #[arg(long, global = true, value_name = "KEY")]
    pub(crate) key_hint: Option<String>,
    /// Do not lock the repository: only for reading repositories that cannot be written to
    #[arg(long, global = true)]
    pub(crate) no_lock: bool,
    /// How long to wait for others' locks, like 90s, 5m or 2h [default: not at all]
    #[arg(long, global = true, value_name = "DURATION")]
    pub(crate) retry_lock: Option<String>,
    /// Name of whoever backs up here, where somebody sees to it that there are never two of that
    /// name at work: locks that an earlier one left are removed at once [env: WINDLASS_LINEAGE]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) lineage: Option<String>,
    /// Print JSON messages instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print errors and results only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Print more; twice or =2 for every item, thrice for every request to a store too
    #[arg(short, long, global = true, value_name = "N", action = ArgAction::Append)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = ONE_MORE)]
    #[arg(value_parser = verbosity_step)]
    pub(crate) verbose: Vec<String>,
    /// How hard to compress [env: WINDLASS_COMPRESSION, RESTIC_COMPRESSION; default: auto]
    #[arg(long, global = true, value_name = "MODE")]
    pub(crate) compression: Option<Compression>,
    /// Size of packs in MiB, 4 to 128 [env: WINDLASS_PACK_SIZE, RESTIC_PACK_SIZE; default: 16]
    #[arg(long, global = true, value_name = "MIB")]
    pub(crate) pack_size: Option<u64>,
    /// Do not read back what was encoded before it is stored
    #[arg(long, global = true)]
    pub(crate) no_extra_verify: bool,
    /// Directory of the local cache [env: WINDLASS_CACHE_DIR, RESTIC_CACHE_DIR; default: restic's]
    #[arg(long, global = true, value_name = "DIRECTORY")]
    pub(crate) cache_dir: Option<PathBuf>,
    /// How large the cache of one repository may become, like 500M or 2G [env:
    /// WINDLASS_CACHE_LIMIT; default: until 5 % or 1 GiB of its file system are left]
    #[arg(long, global = true, value_name = "SIZE")]
    pub(crate) cache_limit: Option<String>,
    /// Use no local cache
    #[arg(long, global = true)]
    pub(crate) no_cache: bool,
    /// Remove caches of repositories that were not used for a long time
    #[arg(long, global = true)]
    pub(crate) cleanup_cache: bool,
    #[command(flatten)]
    pub(crate) transport: TransportArgs,
}

/// Options for stores that are reached over a network.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Options for remote repositories")]
pub(crate) struct TransportArgs {
    /// Option of one kind of storage, like s3.region=eu-central-1; may be given several times
    #[arg(short, long, global = true, value_name = "KEY=VALUE")]
    pub(crate) option: Vec<String>,
    /// Send no more than this many KiB a second; 0 for no limit
    #[arg(
        long,
        global = true,
        value_name = "RATE",
        default_value = "0",
        hide_default_value = true
    )]
    pub(crate) limit_upload: u32,
    /// Receive no more than this many KiB a second; 0 for no limit
    #[arg(
        long,
        global = true,
        value_name = "RATE",
        default_value = "0",
        hide_default_value = true
    )]
    pub(crate) limit_download: u32,
    /// File of root certificates to trust instead of the system's, may be given several times
    /// [env: WINDLASS_CACERT, RESTIC_CACERT]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) cacert: Vec<String>,
    /// PEM file of a client certificate and its key [env: WINDLASS_TLS_CLIENT_CERT,
    /// RESTIC_TLS_CLIENT_CERT]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) tls_client_cert: Option<PathBuf>,
    /// Do not look at the certificates of servers: anyone in between can read and change what is
    /// sent
    #[arg(long, global = true)]
    pub(crate) insecure_tls: bool,
    /// What to call this program in HTTP requests [env: WINDLASS_HTTP_USER_AGENT,
    /// RESTIC_HTTP_USER_AGENT]
    #[arg(long, global = true, value_name = "TEXT")]
    pub(crate) http_user_agent: Option<String>,
    /// After how long without progress a request is sent again [default: 5m]
    #[arg(long, global = true, value_name = "DURATION")]
    pub(crate) stuck_request_timeout: Option<String>,
}

/// How hard to compress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compression {
    #[default]
    Auto,
    Off,
    Fastest,
    Better,
    Max,
}

impl Compression {
    /// As the option is written.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Off => "off",
            Self::Fastest => "fastest",
            Self::Better => "better",
            Self::Max => "max",
        }
    }
}

impl From<Compression> for Level {
    fn from(compression: Compression) -> Self {
        match compression {
            Compression::Auto => Self::Auto,
            Compression::Off => Self::Off,
            Compression::Fastest => Self::Fastest,
            Compression::Better => Self::Better,
            Compression::Max => Self::Max,
        }
    }
}

/// What `-v` stands for without a number.
const ONE_MORE: &str = "+";

fn verbosity_step(text: &str) -> Result<String, String> {
    if text != ONE_MORE && text.parse::<u8>().is_err() {
        return Err("a number from 0 to 3 is wanted".into());
    }
    Ok(text.to_owned())
}

impl Cli {
    /// What was typed; switches may have values, as Go's have.
    pub(crate) fn of_process() -> Result<Self, clap::Error> {
        let switches = switches(&Self::command());
        Self::try_parse_from(without_values(std::env::args_os(), &switches))
    }
}

/// The long names of what is on or off.
fn switches(command: &clap::Command) -> BTreeSet<String> {
    let is_switch = |arg: &&Arg| matches!(arg.get_action(), ArgAction::SetTrue);
    let own = command.get_arguments().filter(is_switch);
    let own = own.filter_map(|arg| arg.get_long().map(str::to_owned));
    own.chain(command.get_subcommands().flat_map(switches)).collect()
}

/// `--json=true` is `--json`, and `--json=false` is nothing.
fn without_values(
    words: impl Iterator<Item = OsString>,
    switches: &BTreeSet<String>,
) -> Vec<OsString> {
    let mut is_over = false;
    let keep = |word: OsString| {
        is_over |= word == "--";
        let is_on = word.to_str().filter(|_| !is_over).and_then(|text| {
            let (name, value) = text.strip_prefix("--")?.split_once('=')?;
            Some((format!("--{name}"), parse_bool(value).filter(|_| switches.contains(name))?))
        });
        match is_on {
            Some((switch, true)) => Some(switch.into()),
            Some((_switch, false)) => None,
            None => Some(word),
        }
    };
    words.filter_map(keep).collect()
}

impl GlobalArgs {
    /// 0 with `--quiet`, else 1 and what `--verbose` adds, 4 at most.
    pub(crate) fn verbosity(&self) -> u8 {
        if self.quiet {
            return 0;
        }
        let more = self.verbose.iter().fold(0_u8, |more, value| match value.parse() {
            Ok(level) => level,
            Err(_) => more.saturating_add(1),
        });
        more.saturating_add(1).min(4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn switches_may_have_values() {
        let parsed = |words: &[&str]| {
            let words = words.iter().map(OsString::from);
            without_values(words, &switches(&Cli::command()))
        };
        assert_eq!(
            parsed(&["backup", "--json=true", "--dry-run=0", "--force=F", "--no-scan=t", "x"]),
            ["backup", "--json", "--no-scan", "x"]
        );
        // Values of other options, words of commands and nonsense stay as they are.
        let as_they_are =
            ["backup", "--host=true", "--json=maybe", "--verbose=1", "-q", "--", "--json=true"];
        assert_eq!(parsed(&as_they_are), as_they_are);
        Cli::try_parse_from(["windlass", "version", "--json=maybe"]).expect_err("neither");
    }

    #[test]
    fn verbosity_counts_letters_and_takes_numbers() {
        let verbosity = |words: &[&str]| {
            let words = ["windlass", "version"].iter().chain(words);
            Cli::try_parse_from(words).expect("parses").global.verbosity()
        };
        assert_eq!(verbosity(&[]), 1);
        assert_eq!(verbosity(&["-q"]), 0);
        assert_eq!(verbosity(&["-v"]), 2);
        assert_eq!(verbosity(&["-vv"]), 3);
        assert_eq!(verbosity(&["-v", "--verbose"]), 3);
        assert_eq!(verbosity(&["--verbose=2"]), 3);
        assert_eq!(verbosity(&["-vvvv"]), 4);
        Cli::try_parse_from(["windlass", "version", "--verbose=much"]).expect_err("no number");
    }
}
