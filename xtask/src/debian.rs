//! The Debian packages that the tests use as live peers, installed when they are missing.
//!
//! Invariants: nothing is installed unless this is Debian (or a descendant), the user is root and
//! the program is not on PATH. In an unattended run a package that stays missing is an error, so
//! an interop test can never be lost without anyone noticing.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

use crate::workspace;

/// A program some tests run, and the Debian package that has it.
struct Peer {
    program: &'static str,
    package: &'static str,
    used_for: &'static str,
}

const PEERS: [Peer; 9] = [
    Peer { program: "restic", package: "restic", used_for: "interop with live restic" },
    Peer { program: "setfattr", package: "attr", used_for: "extended attributes" },
    Peer { program: "setfacl", package: "acl", used_for: "access control lists" },
    Peer { program: "rclone", package: "rclone", used_for: "REST and WebDAV servers" },
    Peer { program: "ssh", package: "openssh-client", used_for: "stores behind SSH" },
    Peer { program: SFTP_SERVER, package: "openssh-sftp-server", used_for: "stores behind SSH" },
    Peer { program: "fusermount3", package: "fuse3", used_for: "mounting without root" },
    Peer { program: "openssl", package: "openssl", used_for: "servers behind TLS" },
    Peer { program: "npm", package: "npm", used_for: "the emulator of Azure Blob Storage" },
];

/// It is on nobody's PATH.
const SFTP_SERVER: &str = "/usr/lib/openssh/sftp-server";

/// Peers that no Debian release packages; tests use them where they are on PATH.
const UNPACKAGED: [(&str, &str); 1] = [("kopia", "interop with live kopia")];

/// Makes the peers available as far as this machine allows, and says what is left out.
pub(crate) fn provide_peers() -> Result<(), String> {
    let on_path = |peer: &&Peer| workspace::find_on_path(peer.program).is_some();
    let missing: Vec<&Peer> = PEERS.iter().filter(|peer| !on_path(peer)).collect();
    if !missing.is_empty() {
        match install(&missing) {
            Ok(()) => {}
            Err(why) if workspace::is_ci() => {
                return Err(format!("{}: {why}", names(&missing)));
            }
            Err(why) => eprintln!("xtask test: nothing was installed: {why}"),
        }
    }
    let packaged = PEERS.iter().map(|peer| (peer.program, peer.used_for));
    for (program, used_for) in packaged.chain(UNPACKAGED) {
        if workspace::find_on_path(program).is_none() {
            eprintln!("xtask test: skipped: {used_for} ({program} is not on PATH)");
        }
    }
    Ok(())
}

fn names(peers: &[&Peer]) -> String {
    peers.iter().map(|peer| peer.program).collect::<Vec<_>>().join(", ")
}

fn install(peers: &[&Peer]) -> Result<(), String> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    if !is_debian(&release) || workspace::find_on_path("apt-get").is_none() {
        return Err("this is not Debian; install them by hand".into());
    }
    // The owner of a process's directory is its effective user.
    if fs::metadata("/proc/self").map_or(true, |meta| meta.uid() != 0) {
        return Err("not root; run apt-get install by hand".into());
    }
    let packages: Vec<&str> = peers.iter().map(|peer| peer.package).collect();
    // A fresh machine or container has no package lists; a used one often has, and then the
    // slow update is not needed.
    apt_get(&["install"], &packages).or_else(|_| {
        apt_get(&["update"], &[])?;
        apt_get(&["install"], &packages)
    })
}

fn apt_get(verb: &[&str], packages: &[&str]) -> Result<(), String> {
    let mut command = Command::new("apt-get");
    command.args(["-q", "-y", "-o", "DPkg::Lock::Timeout=120"]).args(verb);
    command.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    if !packages.is_empty() {
        command.arg("--no-install-recommends").args(packages);
    }
    workspace::run(&mut command)
}

fn is_debian(os_release: &str) -> bool {
    os_release.lines().any(|line| {
        let Some((key, value)) = line.split_once('=') else { return false };
        matches!(key, "ID" | "ID_LIKE")
            && value.trim_matches('"').split(' ').any(|word| word == "debian")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_and_its_descendants_are_recognised() {
        assert!(is_debian("NAME=\"Debian GNU/Linux\"\nID=debian\n"));
        assert!(is_debian("ID=ubuntu\nID_LIKE=debian\n"));
        assert!(is_debian("ID=pop\nID_LIKE=\"ubuntu debian\"\n"));
    }

    #[test]
    fn other_systems_are_not_taken_for_debian() {
        assert!(!is_debian("ID=fedora\nHOME_URL=\"https://debian\"\n"));
        assert!(!is_debian("ID=debianoid\n"));
        assert!(!is_debian(""));
    }
}
