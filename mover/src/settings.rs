//! What the engine is told, out of what was typed, the environment and files.
//!
//! Invariants
//! - An option beats `WINDLASS_…` beats `RESTIC_…` beats `KOPIA_…`; an empty variable is not set.
//! - A value that cannot be read is an error wherever it comes from.
//!
//! Not here: opening anything (`session`).

pub(crate) mod connection;
pub(crate) mod environment;
mod features;
mod options;
pub(crate) mod password;
pub(crate) mod source;
mod store;
mod transport;

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::ValueEnum;
use windlass_engine::{
    filter::list_file, format::restic::compress::Level, protocol::open::OpenOptions,
    store::settings::StoreSettings,
};

use crate::{
    args::{Compression, GlobalArgs},
    default_repository::DefaultRepository,
    failure::Failure,
    location::{self, Location},
    units,
};
use connection::Connection;
use environment::Variables;
use transport::Transport;

/// Bytes that a file with a location, a password or patterns may have.
const MOST_FILE_BYTES: u64 = 64 << 20;
/// Files that are read at the same time at most.
const MOST_READERS: u64 = 1024;
/// What is before the file of a connection, or kopia's words for a storage, in a location.
const CONNECTION: &str = "kopia:";
/// How large packs are where nothing was said.
const PACK_MIB: u64 = 16;

/// What was decided before a command runs.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) global: GlobalArgs,
    pub(crate) variables: Variables,
    pub(crate) compression: Compression,
    pub(crate) pack_bytes: u64,
    pub(crate) lock_patience: Duration,
    /// Who this is of those there are never two of.
    pub(crate) lineage: Option<String>,
    pub(crate) transport: Transport,
    /// What the repository is called when its password is asked for.
    whose: &'static str,
}

/// The repository that a command works on.
#[derive(Debug)]
pub(crate) enum Chosen {
    /// Somebody said where.
    Given(Location),
    /// kopia was told where.
    Connected(Box<Connection>),
    /// Nobody did.
    Default(DefaultRepository),
}

impl Chosen {
    /// Where it is.
    pub(crate) fn location(&self) -> Location {
        match self {
            Self::Given(location) => location.clone(),
            Self::Connected(connection) => connection.location.clone(),
            Self::Default(default) => default.location(),
        }
    }
}

impl Settings {
    pub(crate) fn new(global: GlobalArgs, variables: Variables) -> Result<Self, Failure> {
        let compression = match global.compression {
            Some(mode) => mode,
            None => match variables.text("COMPRESSION")? {
                Some((name, mode)) => Compression::from_str(&mode, false).map_err(|_unknown| {
                    Failure::input(
                        format!("invalid value for {name}: {mode:?}"),
                        "use one of auto, off, fastest, better and max",
                    )
                })?,
                None => Compression::default(),
            },
        };
        let (named, pack_mib) = match global.pack_size {
            Some(mib) => ("--pack-size".into(), mib),
            None => variables.named_number("PACK_SIZE")?.unwrap_or_default(),
        };
        // As restic has it, zero is the usual size.
        let pack_mib = if pack_mib == 0 { PACK_MIB } else { pack_mib };
        if !(4..=128).contains(&pack_mib) {
            return Err(Failure::input(
                format!("{named}: packs of {pack_mib} MiB are not possible"),
                "choose a size of 4 to 128 MiB",
            ));
        }
        let lock_patience =
            global.retry_lock.as_deref().map_or(Ok(Duration::ZERO), units::parse_duration)?;
        let lineage = match &global.lineage {
            Some(name) => Some(name.clone()),
            None => variables.of("WINDLASS_", "LINEAGE")?,
        };
        let lineage = lineage.filter(|name| !name.is_empty());
        let places = [
            ("--repo", global.repo.is_some()),
            ("--repository-file", global.repository_file.is_some()),
            ("--kopia-config", global.kopia_config.is_some()),
        ];
        let mut given = places.iter().filter(|(_name, is_given)| *is_given);
        if let (Some((one, _)), Some((other, _))) = (given.next(), given.next()) {
            return Err(Failure::input(
                format!("options {one} and {other} are mutually exclusive"),
                "give one of them",
            ));
        }
        features::check(&variables)?;
        let transport = Transport::new(&global.transport, &variables)?;
        let pack_bytes = pack_mib << 20;
        let whose = "repository";
        Ok(Self {
            global,
            variables,
            compression,
            pack_bytes,
            lock_patience,
            lineage,
            transport,
            whose,
        })
    }

    /// The repository to work on.
    pub(crate) fn chosen(&self) -> Result<Chosen, Failure> {
        if let Some(text) = self.global.repo.as_deref().filter(|text| !text.is_empty()) {
            return chosen_by(text, &self.variables);
        }
        if let Some(file) = &self.global.repository_file {
            return location_in(file, &self.variables);
        }
        if let Some(file) = &self.global.kopia_config {
            return Ok(Chosen::Connected(Box::new(Connection::read(file)?)));
        }
        for prefix in environment::PREFIXES {
            if let Some(text) = self.variables.of(prefix, "REPOSITORY")? {
                return chosen_by(&text, &self.variables);
            }
            if let Some(file) = self.variables.path_of(prefix, "REPOSITORY_FILE") {
                return location_in(&file, &self.variables);
            }
        }
        Ok(Chosen::Default(DefaultRepository::of(&self.variables)?))
    }

    /// Where caches of repositories are, which restic shares; `None` if none is to be used.
    pub(crate) fn cache_directory(&self) -> Result<Option<PathBuf>, Failure> {
        let global = &self.global;
        if global.no_cache {
            return Ok(None);
        }
        if let Some(directory) = &global.cache_dir {
            return Ok(Some(directory.clone()));
        }
        if let Some((_name, directory)) = self.variables.text("CACHE_DIR")? {
            return Ok(Some(directory.into()));
        }
        let of = |name: &str| self.variables.get(name).map(PathBuf::from);
        let users = of("XDG_CACHE_HOME").or_else(|| of("HOME").map(|home| home.join(".cache")));
        Ok(users.map(|users| users.join("restic")))
    }

    /// How to reach it.
    pub(crate) fn store_settings(&self, chosen: &Chosen) -> Result<StoreSettings, Failure> {
        let settings = store::settings(&chosen.location(), &self.transport, &self.variables)?;
        let settings = StoreSettings { spool: self.cache_directory()?, ..settings };
        Ok(match chosen {
            Chosen::Connected(connection) => connection.over(settings),
            Chosen::Given(_) | Chosen::Default(_) => settings,
        })
    }

    /// How large the cache of one repository may become.
    pub(crate) fn cache_limit(&self) -> Result<Option<u64>, Failure> {
        let text = match &self.global.cache_limit {
            Some(text) => Some(text.clone()),
            None => self.variables.text("CACHE_LIMIT")?.map(|(_name, text)| text),
        };
        text.as_deref().map(units::parse_size).transpose()
    }

    /// Files to read at the same time; zero, which is also restic's word for it, is as many as CPUs.
    pub(crate) fn source_threads(&self, typed: Option<u64>) -> Result<usize, Failure> {
        let (named, readers) = match typed {
            Some(readers) => ("--read-concurrency".into(), readers),
            None => self.variables.named_number("READ_CONCURRENCY")?.unwrap_or_default(),
        };
        let within = usize::try_from(readers).ok().filter(|_| readers <= MOST_READERS);
        within.ok_or_else(|| {
            Failure::input(
                format!("{named}: {readers} files cannot be read at the same time"),
                format!("choose a number up to {MOST_READERS}"),
            )
        })
    }

    /// How to open it.
    pub(crate) fn open_options(&self) -> Result<OpenOptions, Failure> {
        let key_hint = match &self.global.key_hint {
            Some(hint) => Some(hint.clone()),
            None => self.variables.text("KEY_HINT")?.map(|(_name, hint)| hint),
        };
        let verify = !self.global.no_extra_verify;
        Ok(OpenOptions { level: Level::from(self.compression), verify, key_hint, cache: None })
    }
}

/// The text of a small file, converted and without white space around it.
pub(crate) fn read_text(path: &Path) -> Result<String, Failure> {
    let data = read(path)?;
    let text = String::from_utf8_lossy(&list_file::decode_text(&data)).into_owned();
    Ok(text.trim().to_owned())
}

/// A file that lists something.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error| Failure::io(format!("reading {}", path.display()), error);
    let mut data = Vec::new();
    let mut file = File::open(path).map_err(failed)?.take(MOST_FILE_BYTES + 1);
    file.read_to_end(&mut data).map_err(failed)?;
    if data.len() as u64 > MOST_FILE_BYTES {
        return Err(Failure::input(
            format!("{} is longer than {}", path.display(), units::bytes(MOST_FILE_BYTES)),
            "look whether it is the right file",
        ));
    }
    Ok(data)
}

fn location_in(file: &Path, variables: &Variables) -> Result<Chosen, Failure> {
    let text = read_text(file)?;
    if text.is_empty() {
        return Err(Failure::input(
            format!("{} names no repository", file.display()),
            "write the location into its first line",
        ));
    }
    chosen_by(&text, variables)
}

/// What a location names.
fn chosen_by(text: &str, variables: &Variables) -> Result<Chosen, Failure> {
    match text.strip_prefix(CONNECTION) {
        Some(text) => Ok(Chosen::Connected(Box::new(Connection::of(text, variables)?))),
        None => Ok(Chosen::Given(location::parse(text)?)),
    }
}
