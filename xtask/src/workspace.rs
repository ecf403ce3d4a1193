//! The workspace this binary was built from, and the programs around it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The root directory of the workspace.
pub(crate) fn root() -> PathBuf {
    // Cargo sets the variable at run time too; the compiled-in value would be wrong for a binary
    // that was built in another checkout with the same target directory.
    let manifest_dir = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest_dir.parent().map_or_else(|| manifest_dir.clone(), Path::to_path_buf)
}

/// The cargo that runs this task, with the workspace as its directory and no terminal input.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).stdin(Stdio::null());
    command
}

/// Where cargo puts what it builds for this workspace.
pub(crate) fn target_dir() -> Result<PathBuf, String> {
    let executable = env::current_exe().map_err(|error| format!("who am I? {error}"))?;
    // This program is <target>/<profile>/xtask.
    let target = executable.parent().and_then(Path::parent);
    target.map(Path::to_path_buf).ok_or_else(|| format!("{} is nowhere", executable.display()))
}

/// Whether this is an unattended run, in which nothing may be left out.
pub(crate) fn is_ci() -> bool {
    is_set(env::var("CI").ok().as_deref())
}

fn is_set(value: Option<&str>) -> bool {
    !matches!(value, None | Some("" | "0" | "false"))
}

/// Where `program` is found on PATH.
pub(crate) fn find_on_path(program: &str) -> Option<PathBuf> {
    find_in(env::split_paths(&env::var_os("PATH")?), program)
}

fn find_in(mut directories: impl Iterator<Item = PathBuf>, program: &str) -> Option<PathBuf> {
    directories.find_map(|directory| {
        let candidate = directory.join(program);
        is_executable(&candidate).then_some(candidate)
    })
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Runs `command` to its end; anything but success is an error that names it.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let status = command
        .status()
        .map_err(|error| format!("cannot start {}: {error}", command.get_program().display()))?;
    if status.success() { Ok(()) } else { Err(format!("{} failed: {status}", line(command))) }
}

/// The command as one would type it.
pub(crate) fn line(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ci_is_off_when_unset_empty_or_false() {
        for value in [None, Some(""), Some("0"), Some("false")] {
            assert!(!is_set(value), "{value:?}");
        }
        assert!(is_set(Some("true")) && is_set(Some("1")));
    }

    #[test]
    fn a_program_is_found_only_where_it_may_be_executed() {
        let root = root();
        let places = || [root.join("xtask"), root.join(".ci")].into_iter();
        assert_eq!(find_in(places(), "run"), Some(root.join(".ci/run")));
        assert_eq!(find_in(places(), "Cargo.toml"), None);
    }

    #[test]
    fn a_failed_command_is_named_with_its_arguments() {
        let error = run(Command::new("false").arg("x")).unwrap_err();
        assert!(error.starts_with("false x failed: "), "{error}");
    }
}
