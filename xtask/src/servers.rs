//! Servers that tests run and that nobody should have to install, built or fetched by the tools that
//! this machine has.
//!
//! Invariants: they come from the ordinary registries at one fixed version each and stay below the
//! target directory; nothing is fetched twice. What cannot be had is said, and is an error only in
//! an unattended run and only for [`Peer::required`].

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::workspace;

/// A server and where it comes from.
struct Peer {
    program: &'static str,
    source: Source,
    used_for: &'static str,
    required: bool,
}

enum Source {
    /// A command of a Go module: module, version, package.
    Go(&'static str, &'static str, &'static str),
    /// A package of npm: name, version.
    Npm(&'static str, &'static str),
    /// A package of Debian, which is unpacked and not installed, so that no service of the system
    /// begins with it: name, path in it.
    Debian(&'static str, &'static str),
}

const PEERS: [Peer; 4] = [
    Peer {
        program: "rest-server",
        source: Source::Go(
            "github.com/restic/rest-server",
            "v0.14.0",
            "github.com/restic/rest-server/cmd/rest-server",
        ),
        used_for: "restic's REST server",
        required: false,
    },
    Peer {
        program: "fake-gcs-server",
        source: Source::Go(
            "github.com/fsouza/fake-gcs-server",
            "v1.56.1",
            "github.com/fsouza/fake-gcs-server",
        ),
        used_for: "an emulator of Google Cloud Storage",
        required: false,
    },
    Peer {
        program: "azurite-blob",
        // The newest that Debian's Node runs.
        source: Source::Npm("azurite", "3.35.0"),
        used_for: "an emulator of Azure Blob Storage",
        required: true,
    },
    Peer {
        program: "nginx",
        source: Source::Debian("nginx", "usr/sbin/nginx"),
        used_for: "a server with TLS and a limit on requests before others",
        required: false,
    },
];

/// Makes the servers available as far as this machine allows, and gives the PATH they are on.
pub(crate) fn provide() -> Result<OsString, String> {
    let below = workspace::target_dir()?.join("peers");
    let bin = below.join("bin");
    fs::create_dir_all(&bin).map_err(|error| format!("{}: {error}", bin.display()))?;
    for peer in &PEERS {
        let found = workspace::find_on_path(peer.program).is_some();
        if found || bin.join(peer.program).exists() {
            continue;
        }
        let got = match &peer.source {
            Source::Go(module, version, package) => go(&below, &bin, [module, version, package]),
            Source::Npm(name, version) => npm(&below, &bin, peer.program, [name, version]),
            Source::Debian(name, path) => debian(&below, &bin, peer.program, [name, path]),
        };
        match got {
            Ok(()) => {}
            Err(why) if peer.required && workspace::is_ci() => {
                return Err(format!("{}: {why}", peer.program));
            }
            Err(why) => {
                let Peer { program, used_for, .. } = peer;
                eprintln!("xtask test: skipped: {used_for} ({program}: {why})");
            }
        }
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let all = [bin].into_iter().chain(env::split_paths(&path));
    env::join_paths(all).map_err(|error| error.to_string())
}

/// Builds a command in a module of its own: `go install` would want to know every version that the
/// module ever had, which not every proxy tells.
fn go(below: &Path, bin: &Path, [module, version, package]: [&str; 3]) -> Result<(), String> {
    let program = tool("go")?;
    let directory = below.join("go").join(package.rsplit('/').next().unwrap_or(package));
    write(
        &directory,
        "go.mod",
        &format!("module peers\n\ngo 1.24\n\nrequire {module} {version}\n"),
    )?;
    let mut build = quiet(&program, &directory);
    build.env("GOFLAGS", "-mod=mod").args(["build", "-o"]).arg(bin).arg(package);
    workspace::run(&mut build)
}

fn npm(below: &Path, bin: &Path, command: &str, [name, version]: [&str; 2]) -> Result<(), String> {
    let program = tool("npm")?;
    let directory = below.join("npm").join(name);
    write(&directory, "package.json", "{\"private\": true}\n")?;
    let mut install = quiet(&program, &directory);
    install.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]);
    workspace::run(install.arg(format!("{name}@{version}")))?;
    link(&directory.join("node_modules/.bin").join(command), &bin.join(command))
}

fn debian(below: &Path, bin: &Path, command: &str, [name, path]: [&str; 2]) -> Result<(), String> {
    let (fetch, unpack) = (tool("apt-get")?, tool("dpkg-deb")?);
    let directory = below.join("debian").join(name);
    fs::create_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    workspace::run(quiet(&fetch, &directory).args(["-q", "download", name]))?;
    let found = fs::read_dir(&directory).map_err(|error| error.to_string())?;
    let mut files = found.filter_map(|entry| Some(entry.ok()?.path()));
    let package = files.find(|file| file.extension().is_some_and(|ending| ending == "deb"));
    let package = package.ok_or("apt-get download brought no package")?;
    workspace::run(quiet(&unpack, &directory).arg("-x").arg(package).arg("."))?;
    link(&directory.join(path), &bin.join(command))
}

fn link(target: &Path, name: &Path) -> Result<(), String> {
    // One of a target directory that has been moved since leads nowhere.
    if name.is_symlink() {
        fs::remove_file(name).map_err(|error| error.to_string())?;
    }
    std::os::unix::fs::symlink(target, name).map_err(|error| error.to_string())
}

fn tool(name: &str) -> Result<PathBuf, String> {
    workspace::find_on_path(name).ok_or_else(|| format!("there is no {name} on PATH"))
}

fn quiet(program: &Path, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(directory).stdin(Stdio::null());
    command
}

fn write(directory: &Path, name: &str, text: &str) -> Result<(), String> {
    let written =
        fs::create_dir_all(directory).and_then(|()| fs::write(directory.join(name), text));
    written.map_err(|error| format!("{}: {error}", directory.display()))
}
