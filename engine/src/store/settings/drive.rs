//! What Google Drive needs.

use std::path::PathBuf;

use super::SecretText;

/// Google Drive.
#[derive(Clone, Debug, Default)]
pub struct Drive {
    /// Another address of the service.
    pub endpoint: Option<String>,
    /// Whether a token is asked for that lets nothing be changed.
    pub read_only: bool,
    /// Who asks.
    pub credentials: DriveCredentials,
}

/// The first of these that is there.
#[derive(Clone, Debug, Default)]
pub struct DriveCredentials {
    /// A token that is used as it is.
    pub access_token: Option<SecretText>,
    /// What such a file as the next one holds.
    pub key: Option<SecretText>,
    /// A file with a service account's key or a user's login.
    pub file: Option<PathBuf>,
    /// Where the service's command line leaves such a file.
    pub usual_file: Option<PathBuf>,
}
