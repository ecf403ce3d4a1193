//! The repository that something is taken from, beside the one that is worked on.
//!
//! Invariants: nothing that is said of the one counts for the other, the password least of all.

use std::path::PathBuf;

use super::Settings;
use crate::{args::GlobalArgs, failure::Failure};

/// Options that name the other repository and what opens it.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct SourceArgs {
    /// The other repository [env: WINDLASS_FROM_REPOSITORY, RESTIC_FROM_REPOSITORY]
    #[arg(long, value_name = "LOCATION")]
    from_repo: Option<String>,
    /// File to read the location of the other repository from [env: WINDLASS_FROM_REPOSITORY_FILE,
    /// RESTIC_FROM_REPOSITORY_FILE]
    #[arg(long, value_name = "FILE")]
    from_repository_file: Option<PathBuf>,
    /// File to read the password of the other repository from [env: WINDLASS_FROM_PASSWORD_FILE,
    /// RESTIC_FROM_PASSWORD_FILE]
    #[arg(long, value_name = "FILE")]
    from_password_file: Option<PathBuf>,
    /// Command whose output is the password of the other repository [env:
    /// WINDLASS_FROM_PASSWORD_COMMAND, RESTIC_FROM_PASSWORD_COMMAND]
    #[arg(long, value_name = "COMMAND")]
    from_password_command: Option<String>,
    /// Key of the other repository to try first, by the start of its id [env: WINDLASS_FROM_KEY_HINT,
    /// RESTIC_FROM_KEY_HINT]
    #[arg(long, value_name = "KEY")]
    from_key_hint: Option<String>,
    /// The password of the other repository is empty
    #[arg(long)]
    from_insecure_no_password: bool,
}

impl SourceArgs {
    /// Whether anything was typed.
    pub(crate) fn is_given(&self) -> bool {
        self.from_repo.is_some() || self.from_repository_file.is_some()
    }
}

impl Settings {
    /// The same about the repository to take something from.
    pub(crate) fn source(&self, args: &SourceArgs) -> Result<Self, Failure> {
        let global = GlobalArgs {
            repo: args.from_repo.clone(),
            repository_file: args.from_repository_file.clone(),
            password_file: args.from_password_file.clone(),
            password_command: args.from_password_command.clone(),
            key_hint: args.from_key_hint.clone(),
            insecure_no_password: args.from_insecure_no_password,
            ..self.global.clone()
        };
        let settings = Self::new(global, self.variables.of_source())?;
        Ok(Self { is_source: true, ..settings })
    }
}
