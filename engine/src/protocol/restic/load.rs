//! The index, out of the index files and out of what an earlier run has kept of them.
//!
//! Invariants
//! - What is kept stands for index files that are still listed; a pack of a file that is gone is in
//!   no index.
//! - Where nothing can be kept, or what was kept is not to be believed, all files are read.

use std::{cell::OnceCell, collections::HashSet, io, sync::Arc};

use windlass_format::{
    damage::Damage,
    restic::{
        index::{self, IndexPack},
        path::{FileKind, FileName},
    },
};

use super::{Protocol, key_of};
use crate::{
    dialect::restic as dialect,
    fault::Fault,
    index::{
        Index,
        kept::{
            Kept, KeptAt, KeptPack, Row,
            build::{self, Parts},
        },
    },
    model::pack::{Location, PackName, PackNumber, PackedChunk},
    protocol::Segments,
    records::sort::Sorter,
    store::{Key, trace::StoreEvent},
};

/// Places that are as well held in memory: 20 MiB.
const FEW_ROWS: u64 = 1 << 18;
/// What came since is held in memory up to this part of what is kept.
const FEW_OF_KEPT: u64 = 8;

impl Protocol {
    pub(in crate::protocol) async fn load_index(
        &self,
        index: &Arc<Index>,
        listed: Option<Segments>,
    ) -> Result<Segments, Fault> {
        let name = |key: &Key| FileName::parse(key.as_str());
        let listed = listed.map(|listed| listed.0.iter().filter_map(name).collect());
        let segments = match &self.kept {
            None => self.load_all(listed, index).await?,
            Some(at) => self.load_kept(at, listed, index).await?,
        };
        let packs = OnceCell::new();
        let packs = || packs.get_or_init(|| index.pack_names().into_iter().collect::<HashSet<_>>());
        let is_known = |key: &Key| match FileName::parse(key.as_str()) {
            Some(FileName::Pack(id)) => packs().contains(&PackName::Hash(id.0)),
            _ => false,
        };
        self.store.retain_copies(&is_known);
        Ok(segments)
    }

    /// Everything into memory.
    async fn load_all(
        &self,
        listed: Option<Vec<FileName>>,
        index: &Index,
    ) -> Result<Segments, Fault> {
        let mut segments = Vec::new();
        let mut outcome = Ok(());
        self.read_others(FileKind::Index, listed, HashSet::new(), |name, json| {
            segments.push(key_of(name));
            let read = decode(name, json).and_then(|packs| {
                packs.iter().try_for_each(|pack| add(index, pack).map_err(|it| damaged(name, it)))
            });
            if outcome.is_ok() {
                outcome = read;
            }
        })
        .await?;
        outcome.map(|()| Segments(segments))
    }

    /// What is kept, and what came since.
    async fn load_kept(
        &self,
        at: &Arc<KeptAt>,
        listed: Option<Vec<FileName>>,
        index: &Arc<Index>,
    ) -> Result<Segments, Fault> {
        let opening = Arc::clone(at);
        let kept = blocking(move || Kept::open(&opening)).await?;
        let known: HashSet<FileName> = kept
            .iter()
            .flat_map(|kept| kept.segments())
            .filter_map(|key| FileName::parse(key.as_str()))
            .collect();
        let mut news = News::new(at);
        let mut outcome = Ok(());
        let listed = self
            .read_others(FileKind::Index, listed, known.clone(), |name, json| {
                let read = decode(name, json).and_then(|packs| news.add(name, packs));
                if outcome.is_ok() {
                    outcome = read;
                }
            })
            .await?;
        outcome?;
        let gone: Vec<Key> = known.difference(&listed).map(|name| key_of(*name)).collect();
        let mut segments: Vec<Key> =
            known.intersection(&listed).map(|name| key_of(*name)).collect();
        segments.extend(news.every_segment());
        if news.is_unsortable {
            return self.load_all(None, index).await;
        }
        let marked = std::mem::take(&mut news.marked);
        let (target, to) = (Arc::clone(index), Arc::clone(at));
        match blocking(move || news.settle(kept, &gone, &to, &target)).await? {
            Ok(()) => {}
            // No room, or a disk that fails: the run goes on without.
            Err(Settling::Disk(error)) => {
                at.observer.tell(|| StoreEvent::Cache {
                    path: at.path.display().to_string(),
                    why: error.to_string(),
                });
                return self.load_all(None, index).await;
            }
            Err(Settling::Fault(fault)) => return Err(fault),
        }
        for (name, pack) in &marked {
            add(index, pack).map_err(|damage| damaged(*name, damage))?;
        }
        Ok(Segments(segments))
    }
}

/// What index files say that came since.
struct News {
    segments: Vec<Key>,
    packs: Vec<KeptPack>,
    rows: Sorter<{ Row::BYTES }>,
    /// Files with packs that rustic is about to remove, which are never kept, and what they name.
    marked: Vec<(FileName, IndexPack)>,
    marked_segments: Vec<Key>,
    /// Whether rows could not be put aside.
    is_unsortable: bool,
}

/// Why news are not settled.
enum Settling {
    Disk(io::Error),
    Fault(Fault),
}

impl From<io::Error> for Settling {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

impl News {
    fn new(at: &KeptAt) -> Self {
        Self {
            segments: Vec::new(),
            packs: Vec::new(),
            rows: Sorter::new(at.path.parent().unwrap_or(&at.path)),
            marked: Vec::new(),
            marked_segments: Vec::new(),
            is_unsortable: false,
        }
    }

    fn add(&mut self, name: FileName, packs: Vec<IndexPack>) -> Result<(), Fault> {
        if packs.iter().any(|pack| pack.to_delete) {
            self.marked_segments.push(key_of(name));
            self.marked.extend(packs.into_iter().map(|pack| (name, pack)));
            return Ok(());
        }
        let segment = self.segments.len() as u32;
        self.segments.push(key_of(name));
        for pack in packs {
            let (chunks, end) = chunks_of(&pack).map_err(|damage| damaged(name, damage))?;
            let number = PackNumber(self.packs.len() as u32);
            self.packs.push(KeptPack { segment, end, hash: pack.id.0 });
            for chunk in &chunks {
                let row = Row::new(number, chunk).ok_or(Fault::Bug("a row of this format"))?;
                self.is_unsortable |= self.rows.push(*row.bytes()).is_err();
            }
        }
        Ok(())
    }

    fn every_segment(&self) -> impl Iterator<Item = Key> {
        self.segments.iter().chain(&self.marked_segments).cloned()
    }

    /// Puts all into an index: into memory what is little, into a new table what is much.
    fn settle(
        self,
        kept: Option<Kept>,
        gone: &[Key],
        at: &KeptAt,
        index: &Index,
    ) -> Result<(), Settling> {
        let kept_rows = kept.as_ref().map_or(0, Kept::rows);
        let few = FEW_ROWS.max(kept_rows / FEW_OF_KEPT);
        if gone.is_empty() && self.rows.len() <= few {
            if let Some(kept) = kept {
                index.rest_on(kept).map_err(Settling::Fault)?;
            }
            return Ok(self.into_memory(index)?);
        }
        if (kept_rows + self.rows.len()).saturating_mul(Row::BYTES as u64) > at.most_bytes {
            return Err(io::Error::from(io::ErrorKind::QuotaExceeded).into());
        }
        let old = kept.as_ref().map(|kept| (kept, gone));
        let Self { segments, packs, rows, .. } = self;
        build::write(at, Parts { old, segments, packs, rows })?;
        let kept =
            Kept::open(at).ok_or_else(|| io::Error::other("what was written is not whole"))?;
        index.rest_on(kept).map_err(Settling::Fault)
    }

    fn into_memory(self, index: &Index) -> io::Result<()> {
        index.reserve(self.rows.len() as usize);
        let number = |pack: &KeptPack| index.add_pack(PackName::Hash(pack.hash), pack.end);
        let numbers: Vec<PackNumber> = self.packs.iter().map(number).collect();
        let mut rows = self.rows.sorted()?;
        while let Some(row) = rows.take()?.map(Row::of) {
            let at = row.location();
            let pack = numbers[at.pack.0 as usize];
            index.insert(row.key(), Location { pack, ..at });
        }
        Ok(())
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Fault> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_panic| Fault::Bug("loading an index panicked"))
}

fn damaged(name: FileName, damage: Damage) -> Fault {
    Fault::damaged(name.to_string(), damage)
}

fn decode(name: FileName, json: Result<Vec<u8>, Fault>) -> Result<Vec<IndexPack>, Fault> {
    index::decode(&json?).map_err(|damage| damaged(name, damage))
}

/// The chunks of a pack, and one past the last byte of them.
fn chunks_of(pack: &IndexPack) -> Result<(Vec<PackedChunk>, u64), Damage> {
    let chunks: Option<Vec<PackedChunk>> = pack.blobs.iter().map(dialect::chunk_of).collect();
    let chunks = chunks.ok_or(Damage::Invalid { what: "length of a blob in an index" })?;
    let ends = chunks.iter().map(|c| u64::from(c.offset) + u64::from(c.stored_bytes));
    let end = ends.max().unwrap_or(0);
    Ok((chunks, end))
}

/// Adds what an index file says of a pack. What lies in packs that rustic is about to remove counts
/// as removed, as it does for restic: whoever needs it again has to store it again.
fn add(index: &Index, pack: &IndexPack) -> Result<(), Damage> {
    let (chunks, end) = chunks_of(pack)?;
    if pack.to_delete {
        let marked_at = pack.time.map_or(0, |time| time.seconds);
        chunks.iter().for_each(|chunk| index.bury(chunk.key, marked_at));
        return Ok(());
    }
    index.reserve(chunks.len());
    let number = index.add_pack(PackName::Hash(pack.id.0), end);
    for chunk in chunks {
        index.insert(chunk.key, chunk.at(number));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use windlass_format::restic::{
        BlobId, PackId,
        pack::{BlobKind, Entry},
    };

    use super::*;
    use crate::{index::Claim, model::pack::PackName};

    fn read(json: &[u8], index: &Index) {
        let packs = index::decode(json).expect("an index");
        packs.iter().for_each(|pack| add(index, pack).expect("read"));
    }

    #[test]
    fn what_rustic_is_about_to_remove_is_stored_again() {
        let entry = Entry {
            kind: BlobKind::Data,
            id: BlobId([7; 32]),
            offset: 0,
            length: 40,
            raw_length: None,
        };
        let pack = |to_delete, name: u8| IndexPack {
            id: PackId([name; 32]),
            blobs: vec![entry],
            to_delete,
            time: None,
            size: None,
        };
        let key = dialect::chunk_of(&entry).expect("a chunk").key;
        let (leaving, staying) =
            (index::encode(&[pack(true, 1)]), index::encode(&[pack(false, 2)]));
        let index = Index::new();
        read(&leaving, &index);
        assert_eq!(index.find(&key), None);
        assert_eq!(index.claim(&key), Claim::Yours);

        for order in [[&leaving, &staying], [&staying, &leaving]] {
            let index = Index::new();
            order.iter().for_each(|json| read(json, &index));
            let found = index.find(&key).expect("it stays in the other pack");
            assert_eq!(index.pack_name(found.pack), Some(PackName::Hash([2; 32])));
            assert_eq!(index.claim(&key), Claim::Known);
        }
    }
}
