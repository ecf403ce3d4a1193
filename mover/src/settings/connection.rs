//! kopia's configuration of a connection: which storage a repository is in and what lets it in.
//!
//! Invariants
//! - Each kind of storage is reached by the same store as a location of our own; one that cannot be,
//!   or a setting that would be passed over in silence, is refused by its name.
//! - What the configuration says beats variables; what it does not say is as for a location.
//!
//! Not here: kopia's caches and its identity, which only its own client needs.

mod flags;
mod storage;

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use windlass_engine::store::{location::Location, settings::StoreSettings};

use super::{environment::Variables, read};
use crate::failure::Failure;
use storage::Storage;

/// A repository, as kopia was told of it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) location: Location,
    /// Where it was read; `None` if kopia's words were given.
    file: Option<PathBuf>,
    storage: Storage,
}

/// The parts of the file that matter here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    storage: Option<serde_json::Value>,
    api_server: Option<serde_json::Value>,
}

/// What is added to the file's name for that of the password.
const PASSWORD_SUFFIX: &str = ".kopia-password";

impl Connection {
    /// By what was given: a file, or a kind of storage and kopia's flags for it.
    pub(crate) fn of(text: &str, variables: &Variables) -> Result<Self, Failure> {
        let Some(storage) = flags::storage(text, variables) else {
            return Self::read(Path::new(text));
        };
        let unusable = |why: String| Failure::input(format!("kopia:… is unusable: {why}"), "");
        let storage = Storage::parse(storage?, &unusable)?;
        Ok(Self { location: storage.location()?, file: None, storage })
    }

    /// Reads `repository.config`, or the storage part of it alone.
    pub(crate) fn read(file: &Path) -> Result<Self, Failure> {
        let text = read(file)?;
        let unusable = |why: String| {
            let shown = file.display();
            Failure::input(
                format!("{shown} is no configuration of a connection: {why}"),
                "give the file that `kopia repository connect` wrote: ~/.config/kopia/repository.config",
            )
        };
        let document: Document =
            serde_json::from_slice(&text).map_err(|error| unusable(error.to_string()))?;
        if document.api_server.is_some() {
            return Err(Failure::input(
                format!("{} is of a connection to a kopia server", file.display()),
                "connect to the storage that the server uses, and give that configuration",
            ));
        }
        let storage = match document.storage {
            Some(storage) => storage,
            None => serde_json::from_slice(&text).map_err(|error| unusable(error.to_string()))?,
        };
        let storage = Storage::parse(storage, &unusable)?;
        Ok(Self { location: storage.location()?, file: Some(file.to_owned()), storage })
    }

    /// These settings with what the configuration says.
    pub(crate) fn over(&self, settings: StoreSettings) -> StoreSettings {
        self.storage.over(settings)
    }

    /// The password that kopia keeps beside the file, if it does.
    pub(crate) fn password(&self) -> Result<Option<String>, Failure> {
        let Some(file) = self.file.clone() else { return Ok(None) };
        let mut name = file.into_os_string();
        name.push(PASSWORD_SUFFIX);
        let path = PathBuf::from(name);
        let kept = match fs::metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            _ => read(&path)?,
        };
        let text = STANDARD.decode(kept.trim_ascii()).ok();
        let text = text.and_then(|text| String::from_utf8(text).ok());
        text.map(Some).ok_or_else(|| {
            Failure::input(
                format!("{} holds no password as kopia writes it", path.display()),
                "give the password in another way: KOPIA_PASSWORD, or --password-file",
            )
        })
    }
}
