//! The files of the image.
//!
//! Invariants: nothing in it has to be written to; whoever runs it needs no entry in `passwd`.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::{licences, packages, sbom};
use crate::{compare::scratch::Scratch, workspace};

const PROGRAM: &str = "usr/bin/windlass";
/// Where VolSync's controller looks for its movers.
const ENTRIES: [&str; 1] = ["mover-restic/entry.sh"];
const PASSWD: &str =
    "root:x:0:0:root:/:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nnogroup:x:65534:\n";
const AUTHORITIES: &str = "etc/ssl/certs/ca-certificates.crt";

/// Makes them in a new directory and gives their size in bytes.
pub(super) fn make(directory: &Path, profile: &str) -> Result<u64, String> {
    if directory.exists() && fs::read_dir(directory).map_err(|it| it.to_string())?.next().is_some()
    {
        return Err(format!("{} is not empty", directory.display()));
    }
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let program = build(profile)?;
    let packages = packages::of_program(&target)?;
    let papers = [
        ("sbom.cdx.json", format!("{:#}\n", sbom::document(&packages))),
        ("THIRD-PARTY-LICENCES", licences::text(&packages)?),
    ];
    let failed = |error: io::Error| format!("{}: {error}", directory.display());
    lay_out(directory, &program, &papers).map_err(failed)?;
    strip(&directory.join(PROGRAM));
    size_of(directory).map_err(failed)
}

/// Links the program without any library that would have to be there when it runs. Only its last
/// step differs from any other build, so that nothing it is made of is compiled again.
fn build(profile: &str) -> Result<PathBuf, String> {
    let mut command = workspace::cargo();
    command.args(["rustc", "--locked", "--package", "windlass", "--bin", "windlass"]);
    command.args(["--profile", profile, "--"]);
    command.args(["-C", "target-feature=+crt-static", "-C", "relocation-model=static"]);
    workspace::run(&mut command)?;
    let directory = if profile == "dev" { "debug" } else { profile };
    Ok(workspace::target_dir()?.join(directory).join("windlass"))
}

fn lay_out(root: &Path, program: &Path, papers: &[(&str, String)]) -> io::Result<()> {
    let documents = "usr/share/doc/windlass";
    for directory in ["usr/bin", "etc/ssl/certs", documents, "dev", "tmp", "data", "cache"] {
        fs::create_dir_all(root.join(directory))?;
    }
    fs::set_permissions(root.join("tmp"), Permissions::from_mode(0o1777))?;
    fs::copy(program, root.join(PROGRAM))?;
    fs::set_permissions(root.join(PROGRAM), Permissions::from_mode(0o755))?;
    for entry in ENTRIES {
        let entry = root.join(entry);
        if let Some(directory) = entry.parent() {
            fs::create_dir_all(directory)?;
        }
        symlink(Path::new("/").join(PROGRAM), entry)?;
    }
    fs::write(root.join("etc/passwd"), PASSWD)?;
    fs::write(root.join("etc/group"), GROUP)?;
    fs::write(root.join("etc/nsswitch.conf"), "hosts: files dns\n")?;
    let authorities = Path::new("/").join(AUTHORITIES);
    // Without them the program falls back to those it was built with.
    if authorities.is_file() {
        fs::copy(authorities, root.join(AUTHORITIES))?;
    }
    let documents = root.join(documents);
    for name in ["LICENSE-APACHE", "LICENSE-MIT"] {
        fs::copy(workspace::root().join(name), documents.join(name))?;
    }
    papers.iter().try_for_each(|(name, text)| fs::write(documents.join(name), text))
}

/// Takes away what only debuggers read; an image without that is only larger.
fn strip(program: &Path) {
    let mut command = std::process::Command::new("strip");
    let _larger = workspace::run(command.arg("--strip-debug").arg(program));
}

fn size_of(directory: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { size_of(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

/// A directory of its own with the files in it.
pub(super) fn in_scratch(profile: &str) -> Result<(Scratch, PathBuf), String> {
    let scratch = Scratch::new(&std::env::temp_dir())?;
    let root = scratch.path().join("root");
    make(&root, profile)?;
    Ok((scratch, root))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mover_is_where_the_controller_looks_and_leads_to_the_program() {
        let scratch = Scratch::new(&std::env::temp_dir()).unwrap();
        let program = scratch.path().join("program");
        fs::write(&program, "program").unwrap();
        let root = scratch.path().join("root");
        lay_out(&root, &program, &[("sbom.cdx.json", "{}".into())]).unwrap();
        let entry = fs::read_link(root.join("mover-restic/entry.sh")).unwrap();
        assert_eq!(entry, Path::new("/usr/bin/windlass"));
        assert_eq!(fs::read_to_string(root.join(PROGRAM)).unwrap(), "program");
        assert_eq!(fs::metadata(root.join("tmp")).unwrap().permissions().mode() & 0o7777, 0o1777);
        assert_eq!(
            fs::read_to_string(root.join("usr/share/doc/windlass/sbom.cdx.json")).unwrap(),
            "{}"
        );
    }
}
