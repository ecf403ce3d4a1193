//! Index files and packs as removing needs them.

use std::sync::Arc;

use tokio::task::JoinSet;
use windlass_format::{
    damage::Damage,
    restic::{
        index::{self, IndexPack},
        path::{FileKind, FileName},
    },
};

use super::{Protocol, READ_AHEAD, index_pack, key_of, read_document};
use crate::{
    dialect::restic::{self as dialect, Codec},
    fault::Fault,
    model::pack::{Lane, PackInfo, PackName, PackedChunk},
    protocol::{
        Presence,
        reclaim::{EachSegment, NamedPack},
    },
    store::{Failure, Key, Listed, Store},
};

impl Protocol {
    pub(in crate::protocol) async fn list_segments(&self) -> Result<Vec<Key>, Fault> {
        let listed = self.store.listing(FileKind::Index.directory()).await?;
        let keys = listed.into_iter().map(|row| row.key);
        Ok(keys.filter(|key| FileName::parse(key.as_str()).is_some()).collect())
    }

    pub(in crate::protocol) async fn read_segments(
        &self,
        segments: Vec<Key>,
        each: &mut EachSegment<'_>,
    ) -> Result<(), Fault> {
        let mut reads = JoinSet::new();
        let mut segments = segments.into_iter();
        loop {
            while reads.len() < READ_AHEAD
                && let Some(key) = segments.next()
            {
                let name = FileName::parse(key.as_str()).ok_or(Fault::Bug("no index file"))?;
                let (store, codec) = (self.store.clone(), Arc::clone(&self.codec));
                reads.spawn(async move { (key, read_segment(&store, &codec, name).await) });
            }
            let Some(read) = reads.join_next().await else { return Ok(()) };
            let (key, packs) = read.map_err(|_panic| Fault::Bug("reading an index panicked"))?;
            each(&key, packs)?;
        }
    }

    pub(in crate::protocol) async fn list_packs(&self) -> Result<Vec<(PackName, u64)>, Fault> {
        let mut packs = Vec::new();
        let mut collect = |row: Listed| {
            if let Some(FileName::Pack(id)) = FileName::parse(row.key.as_str()) {
                packs.push((PackName::Hash(id.0), row.stored_bytes));
            }
        };
        self.store.list(FileKind::Data.directory(), &mut collect).await?;
        Ok(packs)
    }

    /// Those of these packs that are there, and their sizes.
    pub(in crate::protocol) async fn stat_packs(
        &self,
        packs: Vec<PackName>,
    ) -> Result<Vec<(PackName, u64)>, Fault> {
        let mut there = Vec::new();
        let mut asked = JoinSet::new();
        let mut packs = packs.into_iter();
        loop {
            while asked.len() < READ_AHEAD
                && let Some(pack) = packs.next()
            {
                let (store, key) = (self.store.clone(), self.pack_key(&pack));
                asked.spawn(async move { (pack, store.stat(&key).await) });
            }
            let Some(told) = asked.join_next().await else { return Ok(there) };
            let (pack, status) = told.map_err(|_panic| Fault::Bug("asking for a pack panicked"))?;
            match status {
                Ok(row) => there.push((pack, row.stored_bytes)),
                Err(error) if error.failure == Failure::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Writes index files that name these packs, each as full as it may be.
    pub(in crate::protocol) async fn write_segments(
        &self,
        presence: &Presence,
        packs: impl Iterator<Item = Result<PackInfo, Fault>> + Send,
    ) -> Result<(), Fault> {
        let mut segment: Vec<IndexPack> = Vec::new();
        let mut blobs = 0;
        let mut packs = packs.peekable();
        while let Some(pack) = packs.next() {
            let pack = index_pack(pack?)?;
            blobs += pack.blobs.len();
            segment.push(pack);
            if blobs >= index::FULL || packs.peek().is_none() {
                presence.check()?;
                self.put(FileKind::Index, &index::encode(&segment)).await?.into_inner();
                segment.clear();
                blobs = 0;
            }
        }
        Ok(())
    }

    pub(in crate::protocol) fn pack_key(&self, pack: &PackName) -> Key {
        match pack {
            PackName::Hash(id) => key_of(FileName::Pack(windlass_format::restic::PackId(*id))),
            PackName::Chosen(name) => Key::new(name.clone()),
        }
    }
}

async fn read_segment(
    store: &Store,
    codec: &Codec,
    name: FileName,
) -> Result<Vec<NamedPack>, Fault> {
    let json = read_document(store, codec, name).await?;
    let damaged = |damage| Fault::damaged(name.to_string(), damage);
    let packs = index::decode(&json).map_err(damaged)?;
    packs.into_iter().map(named_pack).collect::<Result<_, _>>().map_err(damaged)
}

fn named_pack(pack: IndexPack) -> Result<NamedPack, Damage> {
    let chunks: Option<Vec<PackedChunk>> = pack.blobs.iter().map(dialect::chunk_of).collect();
    let chunks = chunks.ok_or(Damage::Invalid { what: "length of a blob in an index" })?;
    let lane = match chunks.first() {
        Some(chunk) if dialect::is_tree(&chunk.key) => Lane::Meta,
        _ => Lane::Data,
    };
    let info = PackInfo { name: PackName::Hash(pack.id.0), lane, chunks };
    Ok(NamedPack { info, marked: pack.to_delete })
}
