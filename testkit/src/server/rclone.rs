//! Debian's rclone as a server: of the REST protocol and of WebDAV.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{Availability, Server, find};

/// rclone, where it is installed.
#[derive(Clone, Debug)]
pub struct Rclone(PathBuf);

impl Rclone {
    /// Looks for it.
    #[must_use]
    pub fn find() -> Option<Self> {
        find("rclone", &[], Availability::Always).map(Self)
    }

    /// Its path.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.0
    }

    /// Serves `directory` as `protocol`: `restic` or `webdav`.
    #[must_use]
    pub fn serve(&self, protocol: &str, directory: &Path, scratch: &Path, more: &[&str]) -> Server {
        Server::start(scratch, |address| {
            let mut command = Command::new(&self.0);
            command.env("RCLONE_CONFIG", scratch.join("rclone.conf"));
            command.args(["serve", protocol, "--addr"]).arg(address.to_string());
            command.args(more).arg(directory);
            command
        })
    }
}
