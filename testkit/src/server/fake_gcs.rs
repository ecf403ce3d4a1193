//! fake-gcs-server, an emulator of Google Cloud Storage.

mod uploads;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use self::uploads::Uploads;
use super::{Availability, Server, find};

/// The emulator, where it is installed.
#[derive(Clone, Debug)]
pub struct FakeGcs(PathBuf);

/// The emulator, and what it lacks.
#[derive(Debug)]
pub struct Serving {
    uploads: Uploads,
    _emulator: Server,
}

impl FakeGcs {
    /// Looks for it.
    #[must_use]
    pub fn find() -> Option<Self> {
        find("fake-gcs-server", &[], Availability::Perhaps).map(Self)
    }

    /// Serves what is in `directory`, where each directory is a bucket.
    #[must_use]
    pub fn serve(&self, directory: &Path, scratch: &Path) -> Serving {
        let server = Server::start(scratch, |address| {
            let mut command = Command::new(&self.0);
            command.args(["-scheme", "http", "-backend", "filesystem"]);
            command.arg("-filesystem-root").arg(directory);
            command.arg("-host").arg(address.ip().to_string());
            command.arg("-port").arg(address.port().to_string());
            command.arg("-public-host").arg(address.to_string());
            command.arg("-external-url").arg(format!("http://{address}"));
            command
        });
        Serving { uploads: Uploads::before(server.address()), _emulator: server }
    }
}

impl Serving {
    /// Where it is reached.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.uploads.address()
    }
}
