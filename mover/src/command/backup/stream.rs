//! What comes from standard input or from a command, as a backup reads it.
//!
//! Invariants
//! - A command that fails makes the last read fail, so that no snapshot of half a dump is made.
//! - Waiting for bytes ends when the backup is cancelled; a command that was not read to its end is
//!   killed.

use std::{
    ffi::OsString,
    io::{self, Read},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    time::Duration,
};

use windlass_engine::cancel::Cancel;

use crate::failure::Failure;

/// Bytes that are passed on together, and how many of them may wait.
const BLOCK_BYTES: usize = 1 << 20;
const BLOCKS: usize = 2;
/// How often it is asked whether the backup was cancelled.
const PATIENCE: Duration = Duration::from_millis(100);

/// Bytes that another thread reads.
pub(super) struct Bytes {
    blocks: Receiver<io::Result<Vec<u8>>>,
    block: Vec<u8>,
    used: usize,
    cancel: Cancel,
    child: Option<Child>,
}

impl Bytes {
    /// What comes from standard input.
    pub(super) fn of_stdin(cancel: &Cancel) -> Self {
        Self::new(io::stdin(), cancel, None)
    }

    /// What a command prints.
    pub(super) fn of_command(words: &[OsString], cancel: &Cancel) -> Result<Self, Failure> {
        let Some((program, words)) = words.split_first() else {
            return Err(Failure::input(
                "no command was specified as argument",
                "write it behind --, like `windlass backup --stdin-from-command -- pg_dump app`",
            ));
        };
        let failed = |error| Failure::io(format!("running {}", program.display()), error);
        let mut command = Command::new(program);
        command.args(words).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        let out = child.stdout.take().ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
        Ok(Self::new(out, cancel, Some(child)))
    }

    fn new(from: impl Read + Send + 'static, cancel: &Cancel, child: Option<Child>) -> Self {
        let (sender, blocks) = sync_channel(BLOCKS);
        let _detached = std::thread::spawn(move || pass_on(from, &sender));
        Self { blocks, block: Vec::new(), used: 0, cancel: cancel.clone(), child }
    }

    /// The next block; none at the end.
    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if self.cancel.is_cancelled() {
                return Err(io::Error::other("cancelled"));
            }
            match self.blocks.recv_timeout(PATIENCE) {
                Ok(block) => return block.map(Some),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
            }
        }
    }

    fn ended(&mut self) -> io::Result<()> {
        let Some(child) = &mut self.child else { return Ok(()) };
        let status = child.wait()?;
        if !status.success() {
            return Err(io::Error::other(format!("command failed: {status}")));
        }
        Ok(())
    }
}

impl Read for Bytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.used == self.block.len() {
            match self.next()? {
                Some(block) => (self.block, self.used) = (block, 0),
                None => return self.ended().map(|()| 0),
            }
        }
        let rest = &self.block[self.used..];
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        self.used += len;
        Ok(len)
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Both do nothing where it has ended and was waited for.
            let _has_ended = child.kill();
            let _was_waited_for = child.wait();
        }
    }
}

fn pass_on(mut from: impl Read, to: &SyncSender<io::Result<Vec<u8>>>) {
    loop {
        let mut block = Vec::with_capacity(BLOCK_BYTES);
        let read = from.by_ref().take(BLOCK_BYTES as u64).read_to_end(&mut block);
        let block = match read {
            Ok(0) => return,
            Ok(_) => Ok(block),
            Err(error) => Err(error),
        };
        let is_last = block.is_err();
        if to.send(block).is_err() || is_last {
            return;
        }
    }
}
