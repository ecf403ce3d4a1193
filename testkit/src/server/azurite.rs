//! Azurite, the emulator of Azure Blob Storage.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{Availability, Server, find};

/// The account that every emulator has, and its published key.
pub const ACCOUNT: &str = "devstoreaccount1";
/// See [`ACCOUNT`].
pub const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// The emulator, where it is installed.
#[derive(Clone, Debug)]
pub struct Azurite(PathBuf);

impl Azurite {
    /// Looks for it.
    #[must_use]
    pub fn find() -> Option<Self> {
        find("azurite-blob", &[], Availability::Always).map(Self)
    }

    /// Serves what is in `directory`.
    #[must_use]
    pub fn serve(&self, directory: &Path, scratch: &Path) -> Server {
        Server::start(scratch, |address| {
            let mut command = Command::new(&self.0);
            command.args(["--silent", "--skipApiVersionCheck", "--disableTelemetry"]);
            command.arg("--blobHost").arg(address.ip().to_string());
            command.arg("--blobPort").arg(address.port().to_string());
            command.arg("--location").arg(directory);
            command
        })
    }
}
