//! restic's own REST server.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{Availability, Server, find};

/// The server, where it is installed.
#[derive(Clone, Debug)]
pub struct RestServer(PathBuf);

impl RestServer {
    /// Looks for it.
    #[must_use]
    pub fn find() -> Option<Self> {
        find("rest-server", &[], Availability::Perhaps).map(Self)
    }

    /// Serves `directory`.
    #[must_use]
    pub fn serve(&self, directory: &Path, scratch: &Path, more: &[&str]) -> Server {
        Server::start(scratch, |address| {
            let mut command = Command::new(&self.0);
            command.arg("--listen").arg(address.to_string()).arg("--path").arg(directory);
            command.args(more);
            command
        })
    }

    /// The program to serve `directory` on a socket.
    #[must_use]
    pub fn on_socket(&self, directory: &Path, socket: &Path) -> Command {
        let mut command = Command::new(&self.0);
        command.arg("--listen").arg(format!("unix:{}", socket.display()));
        command.arg("--path").arg(directory).arg("--no-auth");
        command
    }
}
