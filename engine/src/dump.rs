//! Files and directories of a root as a stream of bytes.
//!
//! ```text
//!   walk (find)     pending entries      openers (CPUs)            caller's thread
//!  ┌───────────┐   ┌───────────────┐    ┌───────────────────┐     ┌──────────────────┐
//!  │ directory │──►│ next chunks   │───►│ read, open, prove │────►│ header, chunks   │
//!  │ by name   │   │ of some files │    │ within a budget   │     │ in order → Write │
//!  └───────────┘   └───────────────┘    └───────────────────┘     └──────────────────┘
//! ```
//!
//! Invariants
//! - Bytes leave in order and proved; a chunk that cannot be read ends the stream with an error,
//!   never with a gap.
//! - Memory: the buffers of the repository's resources, whatever the sizes of files are, and the
//!   chunk lists of a few files.
//! - No name in an archive leads out of where it is unpacked: such entries are refused and named.
//! - Hard links are files of their own in an archive; devices, FIFOs and sockets are left out.

mod acl;
mod archive;
mod stream;
mod tar;
mod zip;

use std::io::{self, Write};

use windlass_format::damage::Damage;

use crate::{
    cancel::Cancel,
    fault::{Class, Fault},
    find::Walker,
    model::{
        chunk::ChunkKey,
        directory::{Entry, Kind},
    },
    repository::Repository,
};
use archive::Archiver;
use stream::Stream;

/// Requests under way to a remote store at most.
const MOST_OPENERS: usize = 32;

/// How a directory is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// tar with extended headers where they are needed.
    Tar,
    /// zip.
    Zip,
}

/// Why a dump ended early.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// The receiver takes no more.
    #[error("writing: {0}")]
    Write(#[source] io::Error),
    /// A file cannot be read.
    #[error("{path}: {fault}")]
    File {
        /// Which one; empty where there is only one.
        path: String,
        /// Why.
        fault: Fault,
    },
    /// The walk was ended.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why an entry is not in an archive.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Its name would lead elsewhere, or nowhere.
    #[error("its name is not one component of a path")]
    Name,
    /// The archive cannot hold it.
    #[error("the archive cannot hold it: {0}")]
    Unfit(String),
    /// It cannot be read.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl DumpError {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Write(_) => Class::WrongInput,
            Self::File { fault, .. } | Self::Fault(fault) => fault.class(),
        }
    }

    /// What a person can do next.
    #[must_use]
    pub fn advice(&self) -> &str {
        match self {
            Self::Write(_) => "look at where the output goes; what arrived is not complete",
            Self::File { fault, .. } | Self::Fault(fault) => fault.advice(),
        }
    }
}

/// Writes files and directories of a repository.
#[derive(Debug)]
pub struct Dumper {
    walker: Walker,
    openers: usize,
    buffer_bytes: usize,
    cancel: Cancel,
}

impl Dumper {
    /// Loads the index: list roots before.
    pub async fn new(repository: &Repository, cancel: &Cancel) -> Result<Self, Fault> {
        let capabilities = repository.store().capabilities();
        let resources = &repository.environment().resources;
        let openers = if capabilities.remote {
            capabilities.connections.clamp(1, MOST_OPENERS)
        } else {
            resources.cpus.max(1)
        };
        Ok(Self {
            walker: Walker::new(repository, cancel).await?,
            openers,
            buffer_bytes: resources.buffers(),
            cancel: cancel.clone(),
        })
    }

    /// What finds the entry to write.
    #[must_use]
    pub fn walker(&self) -> &Walker {
        &self.walker
    }

    /// Writes the content of a file; returns its bytes.
    pub fn file(&self, entry: &Entry, out: &mut dyn Write) -> Result<u64, DumpError> {
        let failed = |fault| DumpError::File { path: String::new(), fault };
        let Kind::File { content, size_bytes } = &entry.kind else {
            return Err(DumpError::Fault(Fault::Bug("only files have content")));
        };
        let keys = self.walker.reader().chunks_of(content).map_err(failed)?;
        let stream = Stream::new(self.walker.reader(), self.buffer_bytes, &self.cancel);
        let written = stream.run(self.openers, |stream| {
            let mut written = 0;
            let mut wanted = keys.iter();
            loop {
                while stream.has_room()
                    && let Some(key) = wanted.next()
                {
                    stream.want(*key);
                }
                let Some(plain) = stream.next() else { return Ok::<u64, DumpError>(written) };
                let plain = plain.map_err(failed)?;
                out.write_all(&plain).map_err(DumpError::Write)?;
                written += plain.len() as u64;
                stream.give_back(plain);
            }
        })?;
        out.flush().map_err(DumpError::Write)?;
        if written == *size_bytes { Ok(written) } else { Err(failed(wrong_size("file"))) }
    }

    /// Writes everything in the directory `top`, whose path in the archive is `path`; `/` puts its
    /// entries at the archive's top. `refused` gets what is not in it, and why.
    pub fn archive(
        &self,
        format: Format,
        top: &ChunkKey,
        path: &[u8],
        out: &mut dyn Write,
        refused: &mut dyn FnMut(&[u8], &Refused),
    ) -> Result<(), DumpError> {
        let stream = Stream::new(self.walker.reader(), self.buffer_bytes, &self.cancel);
        stream.run(self.openers, |stream| {
            let mut archiver =
                Archiver::new(format, out, stream, self.walker.reader().clone(), refused);
            self.walker.walk(top, path, &mut archiver)?;
            archiver.finish()
        })
    }
}

fn wrong_size(what: &str) -> Fault {
    Fault::damaged(what, Damage::Invalid { what: "size: its chunks have another" })
}
