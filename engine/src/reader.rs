//! Chunks back out of a repository, one at a time, with metadata read in spans.
//!
//! Invariants
//! - What comes out is proved: its hash is its key.
//! - A chunk that cannot be read in one place is looked for in every other place it is known at, and
//!   where none is good once more in the first: what came out wrong once need not be damaged.
//! - Neighbours of a metadata chunk are read with it and kept for a while, bounded in bytes: a walk
//!   over a tree reads each part of a metadata pack about once, whatever the latency of the store.
//!
//! For threads that may block; not for tasks of the runtime. Bulk reading of data is `restore`'s.

pub(crate) mod ahead;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use tokio::runtime::Handle;
use windlass_format::damage::Damage;

use crate::{
    dialect::{Dialect, Scratch},
    fault::{Class, Fault},
    index::Index,
    model::{
        chunk::ChunkKey,
        directory::{Directory, Target},
        object::Content,
        pack::{Location, PackNumber},
    },
    store::{Range, Store},
};

/// Bytes read at once around a metadata chunk, local and remote.
const SPAN_BYTES: u64 = 1 << 20;

/// A buffer for stored bytes larger than this is not kept: most chunks are smaller.
const KEPT_BYTES: usize = 9 << 20;

/// Spans kept.
const SPANS: usize = 8;

/// Levels of link lists that are followed.
const MOST_LEVELS: u8 = 16;

/// Bytes of the largest directory or link list that is put together from parts.
const MOST_LINKED_BYTES: u64 = 512 << 20;

/// Chunks of the largest object: two terabytes of chunks of 64 KiB.
const MOST_CHUNKS: u64 = 1 << 25;

/// Reads chunks of one repository. Clones share what they keep.
#[derive(Clone, Debug)]
pub struct Reader(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    store: Store,
    dialect: Dialect,
    index: Arc<Index>,
    runtime: Handle,
    spans: Mutex<VecDeque<Span>>,
    idle: Mutex<Vec<(Scratch, Vec<u8>)>>,
}

/// A stretch of a pack.
#[derive(Clone, Debug)]
struct Span {
    pack: PackNumber,
    start: u64,
    bytes: Bytes,
}

impl Span {
    fn slice(&self, at: &Location) -> Option<Bytes> {
        let start = u64::from(at.offset).checked_sub(self.start)? as usize;
        let end = start.checked_add(at.stored_bytes as usize)?;
        (self.pack == at.pack && end <= self.bytes.len()).then(|| self.bytes.slice(start..end))
    }
}

impl Reader {
    /// A reader of what `index` knows.
    #[must_use]
    pub fn new(store: Store, dialect: Dialect, index: Arc<Index>, runtime: Handle) -> Self {
        let spans = Mutex::default();
        let idle = Mutex::default();
        Self(Arc::new(Shared { store, dialect, index, runtime, spans, idle }))
    }

    /// Where a chunk is, as far as the index knows it.
    #[must_use]
    pub fn location(&self, key: &ChunkKey) -> Option<Location> {
        self.0.index.find(key)
    }

    /// The plaintext of a chunk, appended to `out`.
    pub fn chunk(&self, key: &ChunkKey, out: &mut Vec<u8>) -> Result<(), Fault> {
        self.read(key, out, |at, room| self.append(at, room).map(|()| None))
    }

    /// A directory, put together from its parts where it was cut into several.
    pub fn directory(&self, key: &ChunkKey) -> Result<Directory, Fault> {
        if let Some(directory) = self.0.dialect.made_up_directory(key) {
            return Ok(directory);
        }
        let mut plain = Vec::new();
        self.read(key, &mut plain, |at, _room| self.with_neighbours(at).map(Some))?;
        let mut level = 0;
        while self.0.dialect.is_links(&plain) {
            level += 1;
            let mut parts = Vec::new();
            self.parts(key, &plain, level, &mut parts, &mut None)?;
            plain = self.joined(key, &parts)?;
        }
        let damaged = |damage| Fault::damaged(format!("directory {key}"), damage);
        self.0.dialect.read_directory(&plain).map_err(damaged)
    }

    /// Where a symbolic link leads; `None` if that is longer than a target can be.
    pub fn target(&self, target: &Target, most_bytes: u64) -> Result<Option<Box<[u8]>>, Fault> {
        let bytes = match target {
            Target::Inline(bytes) => bytes.clone(),
            Target::Stored(content) => {
                let mut bytes = Vec::new();
                for key in self.chunks_of(content)? {
                    let at = self.location(&key).ok_or(Fault::Missing { key })?;
                    if bytes.len() as u64 + u64::from(at.raw_bytes) > most_bytes {
                        return Ok(None);
                    }
                    self.chunk(&key, &mut bytes)?;
                }
                bytes.into()
            }
        };
        Ok((bytes.len() as u64 <= most_bytes).then_some(bytes))
    }

    /// The chunks of an object in order, following link lists.
    pub fn chunks_of(&self, content: &Content) -> Result<Vec<ChunkKey>, Fault> {
        match content {
            Content::Chunks(keys) => Ok(keys.clone()),
            Content::Linked { list, depth } => {
                let mut keys = Vec::new();
                self.follow(*list, *depth, 0, &mut keys, &mut None)?;
                Ok(keys)
            }
        }
    }

    /// The chunks of an object and those of its link lists.
    pub fn every_chunk_of(&self, content: &Content) -> Result<Vec<ChunkKey>, Fault> {
        match content {
            Content::Chunks(keys) => Ok(keys.clone()),
            Content::Linked { list, depth } => {
                let mut keys = Vec::new();
                let mut lists = Some(Vec::new());
                self.follow(*list, *depth, 0, &mut keys, &mut lists)?;
                keys.extend(lists.unwrap_or_default());
                Ok(keys)
            }
        }
    }

    /// Appends the chunks below `key`, over which lie `depth` lists, and those of the lists.
    fn follow(
        &self,
        key: ChunkKey,
        depth: u8,
        level: u8,
        keys: &mut Vec<ChunkKey>,
        lists: &mut Option<Vec<ChunkKey>>,
    ) -> Result<(), Fault> {
        let Some(depth) = depth.checked_sub(1) else {
            keys.push(key);
            return within("chunks of one object", keys.len(), MOST_CHUNKS)
                .map_err(|damage| Fault::damaged(format!("object with chunk {key}"), damage));
        };
        // The text of a list is an object too, with one list less above it.
        let mut pieces = Vec::new();
        within("levels of link lists", usize::from(level), MOST_LEVELS.into())
            .map_err(|damage| Fault::damaged(format!("link list {key}"), damage))?;
        self.follow(key, depth, level + 1, &mut pieces, lists)?;
        if let Some(lists) = lists {
            lists.extend(&pieces);
        }
        let list = self.joined(&key, &pieces)?;
        self.parts(&key, &list, level + 1, keys, lists)
    }

    /// Appends the chunks of all parts of a list.
    fn parts(
        &self,
        key: &ChunkKey,
        list: &[u8],
        level: u8,
        keys: &mut Vec<ChunkKey>,
        lists: &mut Option<Vec<ChunkKey>>,
    ) -> Result<(), Fault> {
        let damaged = |damage| Fault::damaged(format!("link list {key}"), damage);
        within("levels of link lists", usize::from(level), MOST_LEVELS.into()).map_err(damaged)?;
        for (part, depth) in self.0.dialect.read_links(list).map_err(damaged)? {
            self.follow(part, depth, level, keys, lists)?;
        }
        Ok(())
    }

    /// The bytes of metadata chunks in a row.
    fn joined(&self, object: &ChunkKey, chunks: &[ChunkKey]) -> Result<Vec<u8>, Fault> {
        let mut plain = Vec::new();
        for key in chunks {
            self.read(key, &mut plain, |at, _room| self.with_neighbours(at).map(Some))?;
            within("bytes of metadata in parts", plain.len(), MOST_LINKED_BYTES)
                .map_err(|damage| Fault::damaged(format!("object {object}"), damage))?;
        }
        Ok(plain)
    }

    /// Tries every place of a chunk until one gives what its key promises.
    fn read(
        &self,
        key: &ChunkKey,
        out: &mut Vec<u8>,
        fetch: impl Fn(&Location, &mut Vec<u8>) -> Result<Option<Bytes>, Fault>,
    ) -> Result<(), Fault> {
        let shared = &*self.0;
        let first = shared.index.locate(key)?.ok_or(Fault::Missing { key: *key })?;
        let start = out.len();
        let (mut scratch, mut room) = self.scratch()?;
        let mut attempt = |at: &Location| -> Result<(), Fault> {
            out.truncate(start);
            room.clear();
            let shares = fetch(at, &mut room)?;
            let stored = shares.as_deref().unwrap_or(&room);
            shared.dialect.unseal(key, at, stored, &mut scratch, out).map_err(|damage| {
                let pack = shared.index.pack_name(at.pack);
                let pack = pack.map_or_else(String::new, |name| name.to_string());
                Fault::damaged(format!("chunk {key} in pack {pack}"), damage)
            })
        };
        let mut result = attempt(&first);
        if result.is_err() && self.doubt(&first) {
            result = attempt(&first);
        }
        if result.is_err() {
            for at in shared.index.locate_others(key)? {
                if attempt(&at).is_ok() || (self.doubt(&at) && attempt(&at).is_ok()) {
                    result = Ok(());
                    break;
                }
            }
        }
        if result.as_ref().is_err_and(|fault| fault.class() == Class::Damaged) {
            result = attempt(&first);
        }
        if room.capacity() > KEPT_BYTES {
            room = Vec::new();
        }
        shared.idle.lock().unwrap_or_else(PoisonError::into_inner).push((scratch, room));
        result
    }

    /// Lets go of what is kept of a pack that did not pass; whether what was read was a copy, so that
    /// reading it again is likely to help.
    fn doubt(&self, at: &Location) -> bool {
        let shared = &*self.0;
        let mut kept = shared.spans.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|span| span.pack != at.pack);
        drop(kept);
        let Some(name) = shared.index.pack_name(at.pack) else { return false };
        shared.store.doubt(&shared.dialect.pack_key(&name))
    }

    fn scratch(&self) -> Result<(Scratch, Vec<u8>), Fault> {
        let idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| Ok((self.0.dialect.scratch()?, Vec::new())), Ok)
    }

    /// Into room that is used again: a stream of chunks touches the same memory.
    fn append(&self, at: &Location, room: &mut Vec<u8>) -> Result<(), Fault> {
        let shared = &*self.0;
        let name = shared.index.pack_name(at.pack).ok_or(Fault::Bug("a location names no pack"))?;
        let key = shared.dialect.pack_key(&name);
        let range = Range::At { start: at.offset.into(), len: at.stored_bytes.into() };
        Ok(shared.store.append_blocking(&shared.runtime, &key, range, room)?)
    }

    fn exactly(&self, at: &Location) -> Result<Bytes, Fault> {
        self.range(at.pack, u64::from(at.offset), u64::from(at.stored_bytes))
    }

    fn range(&self, pack: PackNumber, start: u64, len: u64) -> Result<Bytes, Fault> {
        let shared = &*self.0;
        let name = shared.index.pack_name(pack).ok_or(Fault::Bug("a location names no pack"))?;
        let key = shared.dialect.pack_key(&name);
        let range = Range::At { start, len };
        let pack_bytes = shared.index.pack_end(pack);
        Ok(shared.store.read_again_blocking(&shared.runtime, &key, range, pack_bytes)?)
    }

    fn with_neighbours(&self, at: &Location) -> Result<Bytes, Fault> {
        let kept = self.0.spans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = kept.iter().find_map(|span| span.slice(at)) {
            return Ok(bytes);
        }
        drop(kept);
        let end = at.span().end;
        let known_end = self.0.index.pack_end(at.pack).max(end);
        let start = u64::from(at.offset) / SPAN_BYTES * SPAN_BYTES;
        let end = (start + SPAN_BYTES).max(end).min(known_end);
        let span = match self.range(at.pack, start, end - start) {
            Ok(bytes) => Span { pack: at.pack, start, bytes },
            // A truncated pack may still hold this very chunk.
            Err(_cut_short) => return self.exactly(at),
        };
        let bytes = span.slice(at).ok_or(Fault::Bug("a span misses what it was read for"))?;
        let mut kept = self.0.spans.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= SPANS {
            kept.pop_front();
        }
        kept.push_back(span);
        Ok(bytes)
    }
}

fn within(what: &'static str, count: usize, max: u64) -> Result<(), Damage> {
    if count as u64 > max { Err(Damage::OverLimit { what, max }) } else { Ok(()) }
}
