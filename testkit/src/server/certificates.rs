//! An authority that nobody trusts yet, and certificates of servers that it has signed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{Availability, find};

/// An authority, kept in a directory of the test.
#[derive(Debug)]
pub struct Authority {
    openssl: PathBuf,
    directory: PathBuf,
}

/// A key that nobody has to wait for.
const NEW_KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

impl Authority {
    /// Makes one in `directory`; `None` where there is no OpenSSL.
    #[must_use]
    pub fn new(directory: &Path) -> Option<Self> {
        let openssl = find("openssl", &[], Availability::Always)?;
        let authority = Self { openssl, directory: directory.to_owned() };
        authority.run(&|command| {
            command.args(["req", "-x509", "-days", "2", "-subj", "/CN=Authority of a test"]);
            command.args(NEW_KEY).args(["-keyout", "authority.key", "-out", "authority.pem"]);
        });
        Some(authority)
    }

    /// What whoever trusts it needs.
    ///
    /// # Panics
    /// Where it cannot be read.
    #[must_use]
    pub fn certificate(&self) -> Vec<u8> {
        fs::read(self.directory.join("authority.pem")).expect("read")
    }

    /// The files with a certificate and a key for a server with this name, written as
    /// `DNS:localhost` or `IP:127.0.0.1`.
    ///
    /// # Panics
    /// Where they cannot be made.
    #[must_use]
    pub fn server(&self, name: &str) -> [String; 2] {
        let file = |ending: &str| format!("{}.{ending}", name.replace(':', "-"));
        let [certificate, key, request, extensions] = ["pem", "key", "csr", "ext"].map(file);
        let text = format!("subjectAltName={name}\nbasicConstraints=CA:FALSE\n");
        fs::write(self.directory.join(&extensions), text).expect("written");
        self.run(&|command| {
            command.args(["req", "-subj", "/CN=Server of a test", "-keyout", &key]);
            command.args(NEW_KEY).args(["-out", &request]);
        });
        self.run(&|command| {
            command.args(["x509", "-req", "-days", "2", "-in", &request, "-out", &certificate]);
            command.args(["-CA", "authority.pem", "-CAkey", "authority.key", "-CAcreateserial"]);
            command.args(["-extfile", &extensions]);
        });
        [certificate, key].map(|file| self.directory.join(file).display().to_string())
    }

    fn run(&self, arguments: &dyn Fn(&mut Command)) {
        let mut command = Command::new(&self.openssl);
        arguments(&mut command);
        let output = command
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .output()
            .expect("openssl runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
