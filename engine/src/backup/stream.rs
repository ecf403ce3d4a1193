//! One stream as one file: standard input, the output of a command.
//!
//! Invariants: what the stream cannot give to its end is not saved at all; the directories above it
//! exist in the backup alone and belong to whoever runs it.

use std::{os::unix::ffi::OsStrExt, path::Component, sync::Arc};

use windlass_format::time::Timestamp;

use super::{
    Stream,
    read::Gather,
    walk::Walk,
    work::{DirWork, FileWork},
};
use crate::{
    fault::Fault,
    model::{
        chunk::ChunkKey,
        directory::{Entry, Kind},
        object::Content,
    },
};

const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;

impl Walk {
    /// Reads the stream to its end, below the directories its path names.
    pub(super) fn stream(
        &self,
        mut stream: Stream,
        old_top: Option<ChunkKey>,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let path = stream.path.to_string_lossy().into_owned();
        let names: Vec<&[u8]> = stream
            .path
            .components()
            .filter_map(|part| match part {
                Component::Normal(name) => Some(name.as_bytes()),
                _ => None,
            })
            .collect();
        let fail = |source| Fault::Stream { path: path.clone(), source };
        let Some((name, above)) = names.split_last() else {
            return Err(fail(std::io::Error::other("a stream needs the name of a file")));
        };
        let mut dirs = vec![DirWork::top(old_top, &self.run.account)];
        for name in above {
            let up = &dirs[dirs.len() - 1];
            up.alter();
            up.list(vec![Some(made_up(name, Kind::Directory { tree: None }, now))], 1);
            let below = DirWork::below(up, 0, (*name).into(), None);
            dirs.push(below);
        }
        let dir = &dirs[dirs.len() - 1];
        dir.alter();
        dir.list(vec![None], 1);
        let kind = Kind::File { size_bytes: 0, content: Content::EMPTY };
        let file = FileWork::new(dir, 0, made_up(name, kind, now), None);
        let mut gather = Gather::default();
        let current = self.run.reading(|| stream.path.as_os_str().as_bytes().to_vec());
        let size = gather.read_stream(&self.run, &mut *stream.bytes, &file);
        self.run.read(current);
        let size = size.map_err(fail)?;
        if size == 0 {
            return Err(fail(std::io::Error::other("no data was read")));
        }
        let done = file.read_done(size).map(|done| (Arc::clone(dir), done));
        self.run.pass_on_file(done);
        for dir in dirs.iter().rev() {
            let finished = dir.listed();
            self.run.pass_on(finished);
        }
        Ok(())
    }
}

/// An entry of no file system, owned by whoever runs this.
fn made_up(name: &[u8], kind: Kind, now: Timestamp) -> Entry {
    let mode = if matches!(kind, Kind::File { .. }) { FILE_MODE } else { DIRECTORY_MODE };
    Entry {
        ctime: Some(now),
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        ..Entry::plain(name, kind, mode, now)
    }
}
