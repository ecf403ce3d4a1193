//! Lines that several commands print.

use std::path::Path;

use serde::Serialize;
use windlass_engine::repository::Identity;

use super::Output;
use crate::{args::Compression, default_repository::DefaultRepository, session::Created};

/// Characters of a new repository's id that people see.
const NEW_ID_CHARS: usize = 10;
const ID_CHARS: usize = 8;

impl Output {
    /// A repository was created.
    pub(crate) fn created(&self, created: &Created) {
        #[derive(Serialize)]
        struct Initialized<'a> {
            message_type: &'static str,
            id: &'a str,
            repository: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            key_file: Option<&'a Path>,
        }
        let Created { id, location, key_file } = created;
        if self.is_json() {
            self.json(&Initialized {
                message_type: "initialized",
                id,
                repository: location,
                key_file: key_file.as_deref(),
            });
        }
        let id = id.get(..NEW_ID_CHARS).unwrap_or(id);
        self.line(&format!("created restic repository {id} at {location}"));
        // A warning, because it is in one place only and whoever does not read this may lose all.
        if let Some(key_file) = key_file.as_deref().filter(|_| !self.is_json()) {
            self.warn(&format!(
                "Its key is in {}.\nCopy this file to a safe place on another machine: without it \
                 nobody can read the backups.",
                key_file.display()
            ));
        }
    }

    /// What follows from having chosen a password.
    pub(crate) fn password_advice(&self) {
        self.line("");
        self.line("Please note that knowledge of your password is required to access");
        self.line("the repository. Losing your password means that your data is");
        self.line("irrecoverably lost.");
    }

    /// Nobody named a repository.
    pub(crate) fn using_default_repository(&self, default: &DefaultRepository) {
        self.line(&format!("using the default repository at {}", default.location()));
    }

    /// A repository was opened.
    pub(crate) fn opened(&self, identity: &Identity, compression: Compression) {
        let line = opened(identity, compression);
        if self.is_terminal() { self.line(&line) } else { self.detail(&line) }
    }
}

/// That a repository was opened, and how.
pub(crate) fn opened(identity: &Identity, compression: Compression) -> String {
    let id = identity.id.get(..ID_CHARS).unwrap_or(&identity.id);
    let format = identity.format.strip_prefix("restic ").unwrap_or(&identity.format);
    let level = match format {
        "version 1" => String::new(),
        _ => format!(", compression level {}", compression.word()),
    };
    format!("repository {id} opened ({format}{level})")
}
