//! The options and variables of a second repository, which a command reads from.
//!
//! Invariants
//! - Names are restic's: `--from-…` and `RESTIC_FROM_…`, and `WINDLASS_FROM_…` before those.
//! - What belongs to the first repository (location, password, key hint) never leaks into the
//!   second one, and there is no default for it.

use std::path::PathBuf;

use super::Settings;
use crate::args::GlobalArgs;

/// Where a second repository is and what opens it.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Source repository")]
pub(crate) struct SourceArgs {
    /// Repository to read from [env: WINDLASS_FROM_REPOSITORY, RESTIC_FROM_REPOSITORY]
    #[arg(long, value_name = "LOCATION")]
    pub(crate) from_repo: Option<String>,
    /// File to read its location from [env: WINDLASS_FROM_REPOSITORY_FILE,
    /// RESTIC_FROM_REPOSITORY_FILE]
    #[arg(long, value_name = "FILE")]
    pub(crate) from_repository_file: Option<PathBuf>,
    /// File to read its password from [env: WINDLASS_FROM_PASSWORD_FILE, RESTIC_FROM_PASSWORD_FILE]
    #[arg(long, value_name = "FILE")]
    pub(crate) from_password_file: Option<PathBuf>,
    /// Command whose output is its password [env: WINDLASS_FROM_PASSWORD_COMMAND,
    /// RESTIC_FROM_PASSWORD_COMMAND]
    #[arg(long, value_name = "COMMAND")]
    pub(crate) from_password_command: Option<String>,
    /// Its password is empty
    #[arg(long)]
    pub(crate) from_insecure_no_password: bool,
    /// Key of it to try first, by the start of its id [env: WINDLASS_FROM_KEY_HINT,
    /// RESTIC_FROM_KEY_HINT]
    #[arg(long, value_name = "KEY")]
    pub(crate) from_key_hint: Option<String>,
}

impl SourceArgs {
    /// Whether an option names a repository.
    pub(crate) fn names_one(&self) -> bool {
        self.from_repo.is_some() || self.from_repository_file.is_some()
    }
}

impl Settings {
    /// These settings with the second repository in the place of the first.
    pub(crate) fn of_source(&self, source: &SourceArgs) -> Result<Self, crate::failure::Failure> {
        let global = GlobalArgs {
            repo: source.from_repo.clone(),
            repository_file: source.from_repository_file.clone(),
            kopia_config: None,
            password_file: source.from_password_file.clone(),
            password_command: source.from_password_command.clone(),
            insecure_no_password: source.from_insecure_no_password,
            key_hint: source.from_key_hint.clone(),
            ..self.global.clone()
        };
        let settings = Self::new(global, self.variables.of_source())?;
        Ok(Self { whose: "source repository", ..settings })
    }
}
