//! What can be typed after `backup`, and what it means to the engine.

use std::{
    ffi::OsString,
    io::Read,
    num::NonZeroU32,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Component, Path, PathBuf},
};

use windlass_engine::{
    backup::{Options, SkipUnchanged, Stream, compare::Policy, parent::ParentChoice},
    cancel::Cancel,
    filter::{Filter, FilterOptions, PatternTexts, glob, list_file},
};

use super::stream::Bytes;
use crate::{
    failure::Failure,
    output::Output,
    session::{self, Session},
    settings::{self, Chosen, Settings, environment::Variables},
    snapshot::{filter::split_tags, group::GroupBy},
    units,
};

/// Back up files and directories into a new snapshot
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 success, 1 no snapshot was made, 3 a snapshot was made \
    without what could not be read, 10 no repository, 11 repository locked, 12 wrong password.")]
pub(crate) struct Args {
    /// Files and directories to back up
    #[arg(value_name = "FILE/DIR")]
    targets: Vec<OsString>,
    /// Write nothing, show what would be done
    #[arg(short = 'n', long)]
    pub(super) dry_run: bool,
    /// Leave out what matches a pattern
    #[arg(short, long, value_name = "PATTERN")]
    exclude: Vec<OsString>,
    /// The same without regard to case
    #[arg(long, value_name = "PATTERN")]
    iexclude: Vec<OsString>,
    /// Read exclude patterns from a file
    #[arg(long, value_name = "FILE")]
    exclude_file: Vec<PathBuf>,
    /// The same without regard to case
    #[arg(long, value_name = "FILE")]
    iexclude_file: Vec<PathBuf>,
    /// Leave out the content of directories marked with CACHEDIR.TAG
    #[arg(long)]
    exclude_caches: bool,
    /// Leave out the content of directories that hold a file of this name, which may have to begin
    /// with a header
    #[arg(long, value_name = "FILENAME[:HEADER]")]
    exclude_if_present: Vec<OsString>,
    /// Leave out files larger than this: a number with K, M, G or T
    #[arg(long, value_name = "SIZE")]
    exclude_larger_than: Option<String>,
    /// Read what to back up from a file: a pattern on each line, # for comments
    #[arg(long, value_name = "FILE")]
    files_from: Vec<PathBuf>,
    /// Read what to back up from a file: a path on each line
    #[arg(long, value_name = "FILE")]
    files_from_verbatim: Vec<PathBuf>,
    /// Read what to back up from a file: a zero byte after each path
    #[arg(long, value_name = "FILE")]
    files_from_raw: Vec<PathBuf>,
    /// Tags of the snapshot, may be given several times
    #[arg(long = "tag", value_name = "TAG[,TAG,...]")]
    tags: Vec<String>,
    /// Host of the snapshot [env: WINDLASS_HOST, RESTIC_HOST]
    #[arg(short = 'H', long, value_name = "HOSTNAME", alias = "hostname")]
    host: Option<String>,
    /// Time of the snapshot, like '2012-11-01 22:08:41' [default: now]
    #[arg(long, value_name = "TIME")]
    time: Option<String>,
    /// Compare with this snapshot [default: the newest one of the same group]
    #[arg(long, value_name = "SNAPSHOT")]
    parent: Option<String>,
    /// Read everything, compare with no snapshot
    #[arg(short, long)]
    force: bool,
    /// What has to be equal in the snapshot to compare with: host, paths and/or tags
    #[arg(short, long, value_name = "GROUP", default_value = "host,paths")]
    group_by: String,
    /// Name the source whatever host and paths it is seen under: compares with the newest snapshot
    /// that has this tag, and gives it to the new one
    #[arg(long, value_name = "TAG", conflicts_with_all = ["parent", "force"])]
    identity: Option<String>,
    /// What counts as changed: strict, ignore-inode, ignore-ctime, or clone-aware[:N], for sources
    /// that are volume clones, which reads one unchanged file in N again [default: strict]
    #[arg(long, value_name = "POLICY", conflicts_with_all = ["ignore_inode", "ignore_ctime"])]
    change_detection: Option<String>,
    /// Look at neither inode nor ctime to find changed files [env: RESTIC_IGNORE_INODE]
    #[arg(long)]
    ignore_inode: bool,
    /// Do not look at ctime to find changed files [env: RESTIC_IGNORE_CTIME]
    #[arg(long)]
    ignore_ctime: bool,
    /// Leave directories on other file systems empty
    #[arg(short = 'x', long)]
    one_file_system: bool,
    /// Keep access times
    #[arg(long)]
    with_atime: bool,
    /// Files to read at the same time [env: WINDLASS_READ_CONCURRENCY, RESTIC_READ_CONCURRENCY;
    /// default: as many as CPUs, at least 2]
    #[arg(long, value_name = "N")]
    read_concurrency: Option<u64>,
    /// Make no snapshot that equals the one compared with
    #[arg(long)]
    skip_if_unchanged: bool,
    /// Do not count files beforehand to estimate progress
    #[arg(long)]
    pub(super) no_scan: bool,
    /// Back up what comes from standard input
    #[arg(long)]
    stdin: bool,
    /// File name for what comes from standard input
    #[arg(long, value_name = "FILENAME", default_value = "stdin")]
    stdin_filename: String,
    /// Run the arguments as a command and back up its output
    #[arg(long)]
    stdin_from_command: bool,
}

/// Of how many unchanged files a clone-aware backup reads one again.
pub(crate) const SAMPLE_EVERY: NonZeroU32 = NonZeroU32::new(100).unwrap();

impl Args {
    /// Refuses what is clear to be wrong before a password is asked for.
    pub(super) fn check(&self, settings: &Settings) -> Result<(), Failure> {
        let lists = || [&self.files_from, &self.files_from_verbatim, &self.files_from_raw];
        let reads_stdin = self.stdin || lists().into_iter().flatten().any(|file| file == "-");
        if reads_stdin && !settings.has_password()? {
            return Err(Failure::input(
                "cannot read both password and data from stdin",
                "use --password-file or RESTIC_PASSWORD",
            ));
        }
        if self.is_stream() {
            self.check_stream(lists().into_iter().all(Vec::is_empty))?;
        }
        if settings.global.no_lock && !self.dry_run {
            return Err(Failure::input(
                "--no-lock is for reading only",
                "leave it out, or add --dry-run",
            ));
        }
        Ok(())
    }

    fn check_stream(&self, no_lists: bool) -> Result<(), Failure> {
        if self.stdin && self.stdin_from_command {
            return Err(Failure::input(
                "--stdin and --stdin-from-command cannot be used together",
                "give one of them",
            ));
        }
        if !no_lists {
            return Err(Failure::input(
                "--stdin and --files-from cannot be used together",
                "make two backups",
            ));
        }
        match (self.stdin, self.targets.is_empty()) {
            (true, false) => Err(Failure::input(
                "--stdin was specified and files/dirs were listed as arguments",
                "make two backups",
            )),
            (false, true) => Err(Failure::input(
                "no command was specified as argument",
                "write it behind --, like `windlass backup --stdin-from-command -- pg_dump app`",
            )),
            _ => Ok(()),
        }
    }

    /// Whether one stream is backed up instead of files.
    pub(super) fn is_stream(&self) -> bool {
        self.stdin || self.stdin_from_command
    }

    /// The stream that is backed up.
    pub(super) fn stream(&self, cancel: &Cancel) -> Result<Stream, Failure> {
        let bytes = match self.stdin_from_command {
            true => Bytes::of_command(&self.targets, cancel)?,
            false => Bytes::of_stdin(cancel),
        };
        Ok(Stream { path: Path::new("/").join(&self.stdin_filename), bytes: Box::new(bytes) })
    }

    /// What the engine is told.
    pub(super) fn options(&self, session: &Session) -> Result<Options, Failure> {
        let (settings, output) = (&session.settings, &*session.output);
        let targets = self.targets(output)?;
        let exclude = pattern_texts(
            (&self.exclude, &self.exclude_file),
            (&self.iexclude, &self.iexclude_file),
            &settings.variables,
        )?;
        let excludes =
            exclude.sensitive.iter().map(|text| String::from_utf8_lossy(text).into_owned());
        let excludes = excludes.collect();
        let base = std::env::current_dir()
            .map_err(|error| Failure::io("finding the current directory", error))?;
        let absolute = |path: &PathBuf| base.join(path).into_os_string().into_vec();
        let largest = self.exclude_larger_than.as_deref().map(units::parse_size).transpose()?;
        let filter = Filter::new(&FilterOptions {
            exclude,
            exclude_caches: self.exclude_caches,
            exclude_if_present: bytes(&self.exclude_if_present),
            exclude_larger_than: largest,
            exclude_trees: own_trees(settings, &base, &targets)?,
            targets: targets.iter().map(absolute).collect(),
        })?;
        let hostname = match &self.host {
            Some(host) => host.clone(),
            None => {
                let host = settings.variables.text("HOST")?.map(|(_name, host)| host);
                host.unwrap_or_else(session::hostname)
            }
        };
        let mut tags: Vec<String> = self.tags.iter().flat_map(|list| split_tags(list)).collect();
        tags.extend(
            self.identity.iter().filter(|tag| !tags.contains(tag)).cloned().collect::<Vec<_>>(),
        );
        Ok(Options {
            base,
            filter,
            excludes,
            one_file_system: self.one_file_system,
            with_atime: self.with_atime,
            policy: self.policy(settings)?,
            parent: self.parent_choice()?,
            username: session::username(),
            tags,
            time: self.time.as_deref().map_or(Ok(None), units::parse_time)?,
            source_threads: settings.source_threads(self.read_concurrency)?,
            pack_bytes: settings.pack_bytes,
            dry_run: self.dry_run,
            skip_unchanged: match self.skip_if_unchanged {
                true => SkipUnchanged::Always,
                false => SkipUnchanged::Never,
            },
            holder: Some(session::hostname()),
            lock_patience: settings.lock_patience,
            lineage: settings.lineage.clone(),
            listener: session.listener(),
            ..Options::new(targets, hostname)
        })
    }

    fn targets(&self, output: &Output) -> Result<Vec<PathBuf>, Failure> {
        let mut targets = Vec::new();
        if self.is_stream() {
            return Ok(targets);
        }
        for file in &self.files_from {
            for pattern in list_file::parse_path_globs(&read_list(file)?) {
                let found = glob::expand(Path::new(""), &pattern)?;
                if found.is_empty() {
                    let pattern = String::from_utf8_lossy(&pattern);
                    output.warn(&format!("pattern {pattern:?} does not match any files, skipping"));
                }
                targets.extend(found);
            }
        }
        let path = |bytes: Vec<u8>| PathBuf::from(OsString::from_vec(bytes));
        for file in &self.files_from_verbatim {
            targets
                .extend(list_file::parse_paths_verbatim(&read_list(file)?).into_iter().map(path));
        }
        for file in &self.files_from_raw {
            targets.extend(list_file::parse_paths_raw(&read_list(file)?)?.into_iter().map(path));
        }
        targets.extend(self.targets.iter().map(PathBuf::from));
        if targets.iter().any(|target| target.as_os_str().is_empty()) {
            return Err(Failure::input("an empty text is no path", "write . for this directory"));
        }
        if targets.is_empty() {
            return Err(Failure::input(
                "nothing to backup, please specify source files/dirs",
                "name files or directories, or a list with --files-from",
            ));
        }
        Ok(targets)
    }

    fn policy(&self, settings: &Settings) -> Result<Policy, Failure> {
        let Some(word) = self.change_detection.as_deref() else {
            let variables = &settings.variables;
            return Ok(if self.ignore_inode || variables.flag("IGNORE_INODE")? {
                Policy::IgnoreInode
            } else if self.ignore_ctime || variables.flag("IGNORE_CTIME")? {
                Policy::IgnoreCtime
            } else {
                Policy::Strict
            });
        };
        let unknown = || {
            Failure::input(
                format!("there is no way to detect changes called {word:?}"),
                "use strict, ignore-inode, ignore-ctime, clone-aware or clone-aware:N",
            )
        };
        match word.split_once(':') {
            None => match word {
                "strict" => Ok(Policy::Strict),
                "ignore-inode" => Ok(Policy::IgnoreInode),
                "ignore-ctime" => Ok(Policy::IgnoreCtime),
                "clone-aware" => Ok(Policy::CloneAware { sample_every: SAMPLE_EVERY }),
                _ => Err(unknown()),
            },
            Some(("clone-aware", number)) => {
                let sample_every = number.parse().map_err(|_not_a_number| unknown())?;
                Ok(Policy::CloneAware { sample_every })
            }
            Some(_) => Err(unknown()),
        }
    }

    fn parent_choice(&self) -> Result<ParentChoice, Failure> {
        let by = GroupBy::parse(&self.group_by)?;
        Ok(if self.force {
            ParentChoice::None
        } else if let Some(id) = &self.parent {
            ParentChoice::Explicit(id.clone())
        } else if let Some(tag) = &self.identity {
            ParentChoice::Identity(tag.clone())
        } else {
            ParentChoice::Newest { host: by.host, paths: by.paths, tags: by.tags }
        })
    }
}

/// What a backup leaves out because it is made of backups: caches, which restic leaves out as well,
/// and the default repository, which is below the user's own files and would be backed up into
/// itself. Only what the targets could reach: every other tree would be compared with each path.
fn own_trees(
    settings: &Settings,
    base: &Path,
    targets: &[PathBuf],
) -> Result<Vec<Vec<u8>>, Failure> {
    let repository = match settings.chosen()? {
        Chosen::Default(default) => Some(default.path()),
        Chosen::Given(_) | Chosen::Connected(_) => None,
    };
    let trees = repository.into_iter().chain(settings.cache_directory()?);
    let is_reached = |tree: &PathBuf| {
        targets.iter().map(|target| base.join(target)).any(|target| {
            let is_unclear = [&target, tree]
                .iter()
                .any(|path| path.components().any(|component| component == Component::ParentDir));
            is_unclear || tree.starts_with(&target) || target.starts_with(tree)
        })
    };
    let trees = trees.map(|tree| base.join(tree)).filter(is_reached);
    Ok(trees.map(|tree| tree.into_os_string().into_vec()).collect())
}

fn bytes(texts: &[OsString]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Patterns of both kinds: each that were typed, then those in files.
pub(crate) fn pattern_texts(
    (typed, files): (&[OsString], &[PathBuf]),
    (insensitive_typed, insensitive_files): (&[OsString], &[PathBuf]),
    variables: &Variables,
) -> Result<PatternTexts, Failure> {
    Ok(PatternTexts {
        sensitive: patterns(typed, files, variables)?,
        insensitive: patterns(insensitive_typed, insensitive_files, variables)?,
    })
}

/// Patterns that were typed, then those in files.
fn patterns(
    typed: &[OsString],
    files: &[PathBuf],
    variables: &Variables,
) -> Result<Vec<Vec<u8>>, Failure> {
    let mut patterns = bytes(typed);
    for file in files {
        let look_up = |name: &[u8]| variables.bytes(name);
        patterns.extend(list_file::parse_patterns(&settings::read(file)?, look_up));
    }
    Ok(patterns)
}

/// A list of paths; `-` is standard input.
fn read_list(file: &Path) -> Result<Vec<u8>, Failure> {
    const MOST_BYTES: u64 = 1 << 30;
    if file != Path::new("-") {
        return settings::read(file);
    }
    let mut data = Vec::new();
    let read = std::io::stdin().lock().take(MOST_BYTES).read_to_end(&mut data);
    read.map_err(|error| Failure::io("reading the list on standard input", error))?;
    Ok(data)
}
