//! OpenSSH: its file server alone, spoken to over pipes, and its whole daemon.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{Availability, Server, find};

/// The file server, where it is installed.
#[derive(Clone, Debug)]
pub struct SftpServer(PathBuf);

impl SftpServer {
    /// Looks for it.
    #[must_use]
    pub fn find() -> Option<Self> {
        let places = ["/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server"];
        find("sftp-server", &places, Availability::Always).map(Self)
    }

    /// The command that speaks the protocol on its standard input and output.
    #[must_use]
    pub fn command(&self) -> String {
        self.0.display().to_string()
    }
}

/// A daemon with a host key of its own, and a user's key that it lets in.
#[derive(Debug)]
pub struct Sshd {
    server: Server,
    directory: PathBuf,
}

impl Sshd {
    /// Starts one that keeps its keys in `directory`; `None` where there is no OpenSSH.
    ///
    /// # Panics
    /// Where OpenSSH is there and does not start.
    #[must_use]
    pub fn start(directory: &Path) -> Option<Self> {
        let sftp = SftpServer::find()?;
        // Its package would start it for everyone, so the tests do not install it.
        let daemon = find("sshd", &["/usr/sbin/sshd"], Availability::Perhaps)?;
        find("ssh", &[], Availability::Always)?;
        let keygen = find("ssh-keygen", &[], Availability::Always)?;
        for name in ["host", "user", "stranger"] {
            let made = Command::new(&keygen)
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(directory.join(name))
                .stdin(Stdio::null())
                .status()
                .expect("ssh-keygen runs");
            assert!(made.success());
        }
        let authorized = directory.join("authorized");
        fs::copy(directory.join("user.pub"), &authorized).expect("copied");
        fs::set_permissions(&authorized, Permissions::from_mode(0o600)).expect("permissions");
        // A daemon that root starts wants this directory, which only the init system makes.
        let _not_root = fs::create_dir_all("/run/sshd");
        let server = Server::start(directory, |address| {
            let config = format!(
                "ListenAddress {address}\nHostKey {host}\nAuthorizedKeysFile {authorized}\n\
                 PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n\
                 KbdInteractiveAuthentication no\nSubsystem sftp {sftp}\n",
                host = directory.join("host").display(),
                authorized = authorized.display(),
                sftp = sftp.command(),
            );
            let path = directory.join("sshd_config");
            fs::write(&path, config).expect("written");
            let mut command = Command::new(&daemon);
            command.args(["-D", "-e", "-f"]).arg(path);
            command
        });
        let key = fs::read_to_string(directory.join("host.pub")).expect("read");
        let known = format!("[127.0.0.1]:{} {key}", server.address().port());
        fs::write(directory.join("known_hosts"), known).expect("written");
        Some(Self { server, directory: directory.to_owned() })
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.server.address().port()
    }

    /// Arguments for `ssh` as a user who has the key `key`: `user` is let in, `stranger` is not.
    #[must_use]
    pub fn arguments(&self, key: &str) -> String {
        let (key, known) = (self.directory.join(key), self.directory.join("known_hosts"));
        self.arguments_with(&key, &known)
    }

    /// Arguments for `ssh` that do not know this host.
    #[must_use]
    pub fn arguments_of_a_newcomer(&self) -> String {
        self.arguments_with(&self.directory.join("user"), Path::new("/dev/null"))
    }

    fn arguments_with(&self, key: &Path, known: &Path) -> String {
        format!(
            "-F /dev/null -o BatchMode=yes -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes \
             -i {} -o UserKnownHostsFile={}",
            key.display(),
            known.display()
        )
    }
}
