//! Standard input or the output of a command as the one file of a backup.
//!
//! Invariant: the end of a command's output counts as the end of the file only when the command
//! says that it succeeded; otherwise reading fails, and nothing is saved.

use std::{
    ffi::OsString,
    io::{self, Read},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use windlass_engine::backup::Stream;

use crate::failure::Failure;

/// Standard input under the name of `file`.
pub(super) fn standard_input(file: &str) -> Stream {
    Stream { path: path_of(file), bytes: Box::new(io::stdin()) }
}

/// What `command` prints, under the name of `file`.
pub(super) fn output_of(command: &[OsString], file: &str) -> Result<Stream, Failure> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(Failure::input(
            "--stdin-from-command needs a command",
            "put the command and its arguments behind `--`",
        ));
    };
    let name = program.to_string_lossy().into_owned();
    let failed = |error| Failure::io(format!("starting {name}"), error);
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let output = child.stdout.take().ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
    let bytes = Box::new(CommandOutput { child, output, name });
    Ok(Stream { path: path_of(file), bytes })
}

fn path_of(file: &str) -> PathBuf {
    Path::new("/").join(file)
}

/// A command that runs; ended when nobody reads it any more.
struct CommandOutput {
    child: Child,
    output: ChildStdout,
    name: String,
}

impl Read for CommandOutput {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.output.read(buffer)?;
        if len == 0 && !buffer.is_empty() {
            let status = self.child.wait()?;
            if !status.success() {
                return Err(io::Error::other(format!("{} failed: {status}", self.name)));
            }
        }
        Ok(len)
    }
}

impl Drop for CommandOutput {
    fn drop(&mut self) {
        // Both fail where it has ended by itself, which is the usual case.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
