//! A directory as an archive: entries wait in a short queue so that chunks of the files behind are
//! opened while those in front are written.

use std::{
    collections::{HashSet, VecDeque},
    io::{BufWriter, Write},
    ops::ControlFlow,
};

use super::{DumpError, Format, Refused, stream::Stream, tar, wrong_size, zip};
use crate::{
    fault::Fault,
    find::Visitor,
    model::{
        chunk::ChunkKey,
        directory::{Entry, Kind, Target},
        object::Content,
    },
    reader::Reader,
    target::fs::is_safe_name,
};

/// Entries that wait at most.
const MOST_PENDING: usize = 256;
/// Their chunks.
const MOST_KEYS: usize = 4096;
/// Small writes are joined.
const OUT_BYTES: usize = 128 << 10;
/// The longest target a symbolic link can have.
const MOST_TARGET_BYTES: u64 = 4095;

/// An entry as archives take it.
pub(super) struct Item<'a> {
    /// Without a slash at either end.
    pub(super) path: &'a [u8],
    pub(super) entry: &'a Entry,
    pub(super) what: What<'a>,
}

/// What is written of it.
#[derive(Clone, Copy)]
pub(super) enum What<'a> {
    File { size_bytes: u64 },
    Directory,
    Symlink { target: &'a [u8] },
}

/// Why an item was not begun.
pub(super) enum BeginError {
    Unfit(String),
    Write(std::io::Error),
}

enum Writer<'a> {
    Tar(tar::Writer<BufWriter<&'a mut dyn Write>>),
    Zip(Box<zip::Writer<BufWriter<&'a mut dyn Write>>>),
}

struct Pending {
    path: Vec<u8>,
    entry: Entry,
    keys: Vec<ChunkKey>,
    /// Of its keys, those asked for.
    asked: usize,
    target: Vec<u8>,
}

/// Writes what a walk meets.
pub(super) struct Archiver<'a> {
    writer: Writer<'a>,
    stream: &'a Stream<'a>,
    reader: Reader,
    refused: &'a mut dyn FnMut(&[u8], &Refused),
    /// Directories whose names were refused.
    closed: HashSet<Vec<u8>>,
    pending: VecDeque<Pending>,
    pending_keys: usize,
    /// Entries in front whose chunks were all asked for.
    fed: usize,
    failed: Option<DumpError>,
}

impl<'a> Archiver<'a> {
    pub(super) fn new(
        format: Format,
        out: &'a mut dyn Write,
        stream: &'a Stream<'a>,
        reader: Reader,
        refused: &'a mut dyn FnMut(&[u8], &Refused),
    ) -> Self {
        let out = BufWriter::with_capacity(OUT_BYTES, out);
        Self {
            writer: match format {
                Format::Tar => Writer::Tar(tar::Writer::new(out)),
                Format::Zip => Writer::Zip(Box::new(zip::Writer::new(out))),
            },
            stream,
            reader,
            refused,
            closed: HashSet::new(),
            pending: VecDeque::new(),
            pending_keys: 0,
            fed: 0,
            failed: None,
        }
    }

    /// Writes what is left and the end of the archive.
    pub(super) fn finish(mut self) -> Result<(), DumpError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        while !self.pending.is_empty() {
            self.write_front()?;
        }
        let finished = match self.writer {
            Writer::Tar(writer) => writer.finish(),
            Writer::Zip(writer) => writer.finish(),
        };
        let mut out = finished.map_err(DumpError::Write)?;
        out.flush().map_err(DumpError::Write)
    }

    fn push(&mut self, path: &[u8], entry: &Entry) -> Result<(), DumpError> {
        let failed = |fault| DumpError::File { path: lossy(path), fault };
        let mut keys = Vec::new();
        let mut target = Vec::new();
        match &entry.kind {
            Kind::File { content, .. } => keys = self.reader.chunks_of(content).map_err(failed)?,
            Kind::Directory { .. } => {}
            Kind::Symlink { target: Target::Inline(bytes) } => target = bytes.to_vec(),
            Kind::Symlink { target: stored @ Target::Stored(_) } => {
                let read = self.reader.target(stored, MOST_TARGET_BYTES).map_err(failed)?;
                target = read.ok_or_else(|| failed(wrong_size("symbolic link")))?.into_vec();
            }
            _ => return Ok(()),
        }
        self.pending_keys += keys.len();
        // The chunk list was taken out; the entry is kept for its metadata.
        let entry = match &entry.kind {
            Kind::File { size_bytes, .. } => Entry {
                kind: Kind::File { size_bytes: *size_bytes, content: Content::EMPTY },
                ..without_content(entry)
            },
            _ => entry.clone(),
        };
        self.pending.push_back(Pending { path: path.to_vec(), entry, keys, asked: 0, target });
        self.feed();
        while self.pending.len() > MOST_PENDING || self.pending_keys > MOST_KEYS {
            self.write_front()?;
        }
        Ok(())
    }

    /// Asks for the next chunks of what is pending.
    fn feed(&mut self) {
        while let Some(pending) = self.pending.get_mut(self.fed) {
            while let Some(key) = pending.keys.get(pending.asked) {
                if !self.stream.has_room() {
                    return;
                }
                self.stream.want(*key);
                pending.asked += 1;
            }
            self.fed += 1;
        }
    }

    fn write_front(&mut self) -> Result<(), DumpError> {
        self.feed();
        let Some(front) = self.pending.front() else { return Ok(()) };
        let path = front.path.strip_prefix(b"/").unwrap_or(&front.path).to_vec();
        let size_bytes = match &front.entry.kind {
            Kind::File { size_bytes, .. } => *size_bytes,
            _ => 0,
        };
        let what = match &front.entry.kind {
            Kind::Directory { .. } => What::Directory,
            Kind::Symlink { .. } => What::Symlink { target: &front.target },
            _ => What::File { size_bytes },
        };
        let item = Item { path: &path, entry: &front.entry, what };
        let begun = match &mut self.writer {
            Writer::Tar(writer) => writer.begin(&item),
            Writer::Zip(writer) => writer.begin(&item),
        };
        let is_begun = match begun {
            Ok(()) => true,
            Err(BeginError::Write(error)) => return Err(DumpError::Write(error)),
            Err(BeginError::Unfit(why)) => {
                (self.refused)(&front.path, &Refused::Unfit(why));
                false
            }
        };
        let chunks = front.keys.len();
        let failed = |fault| DumpError::File { path: lossy(&path), fault };
        let mut left = size_bytes;
        for _chunk in 0..chunks {
            let plain = self.stream.next().ok_or(Fault::Bug("a chunk was not asked for"))?;
            let plain = plain.map_err(failed)?;
            left =
                left.checked_sub(plain.len() as u64).ok_or_else(|| failed(wrong_size("file")))?;
            if is_begun {
                let written = match &mut self.writer {
                    Writer::Tar(writer) => writer.write(&plain),
                    Writer::Zip(writer) => writer.write(&plain),
                };
                written.map_err(DumpError::Write)?;
            }
            self.stream.give_back(plain);
            self.feed();
        }
        if left > 0 {
            return Err(failed(wrong_size("file")));
        }
        if is_begun && let Writer::Tar(writer) = &mut self.writer {
            writer.pad(size_bytes).map_err(DumpError::Write)?;
        }
        self.pending.pop_front();
        self.pending_keys -= chunks;
        // Everything of the front was asked for, or it would not have been taken.
        self.fed = self.fed.saturating_sub(1);
        Ok(())
    }
}

impl Visitor for Archiver<'_> {
    fn entry(&mut self, path: &[u8], _parent: &ChunkKey, entry: &Entry) -> ControlFlow<()> {
        if !is_safe_name(&entry.name) {
            self.closed.insert(path.to_vec());
            (self.refused)(path, &Refused::Name);
            return ControlFlow::Continue(());
        }
        match self.push(path, entry) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.failed = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    fn descends(&self, path: &[u8], _tree: &ChunkKey) -> bool {
        !self.closed.contains(path)
    }

    fn problem(&mut self, path: &[u8], _tree: Option<&ChunkKey>, fault: Fault) {
        (self.refused)(path, &Refused::Fault(fault));
    }
}

fn lossy(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// A copy without the part that may be large.
fn without_content(entry: &Entry) -> Entry {
    Entry {
        name: entry.name.clone(),
        kind: Kind::Unknown,
        user: entry.user.clone(),
        group: entry.group.clone(),
        xattrs: entry.xattrs.clone(),
        residue: None,
        ..*entry
    }
}
