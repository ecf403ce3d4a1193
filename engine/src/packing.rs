//! Packs while they are being filled, and how small ones are joined at the end.
//!
//! Invariants
//! - A pack is hashed while it grows, never in a second pass.
//! - `fresh` holds what was appended and not hashed yet: the next batch hashes it beside its own
//!   chunks, so that several streams share the processor's pipeline. Then it goes into the draft,
//!   many small chunks with one write.
//! - Each lane has two open packs and every chunk goes to one of them at random: the order of
//!   lengths in a pack does not give away the order of chunks in a file.

use crate::{
    dialect::{Encoder, PackBuilder},
    entropy::Entropy,
    fault::Fault,
    model::{
        chunk::ChunkKey,
        pack::{Coding, Lane, PackInfo, PackName},
    },
    store::{Draft, Store},
};

/// Open packs of each lane.
const OPEN_PACKS: usize = 2;

/// A pack complete but for its name and its commit.
#[derive(Debug)]
pub(crate) struct FinishedPack {
    pub(crate) draft: Box<dyn Draft>,
    pub(crate) info: PackInfo,
}

/// A pack that is being filled.
#[derive(Debug)]
pub(crate) struct OpenPack {
    draft: Box<dyn Draft>,
    lane: Lane,
    builder: PackBuilder,
    fresh: Vec<u8>,
}

/// The open packs of one worker.
#[derive(Debug)]
pub(crate) struct PackSet {
    store: Store,
    encoder: Encoder,
    pack_bytes: u64,
    data: Vec<OpenPack>,
    meta: Vec<OpenPack>,
    closing: Vec<OpenPack>,
    /// Room of packs that are gone, for the next ones.
    spare: Vec<Vec<u8>>,
}

impl OpenPack {
    /// Lets `seal` append a sealed chunk.
    pub(crate) fn append(
        &mut self,
        seal: impl FnOnce(&mut Vec<u8>) -> Result<(ChunkKey, u32, Coding), Fault>,
    ) -> Result<u32, Fault> {
        let start = self.fresh.len();
        let (key, raw_bytes, coding) = seal(&mut self.fresh)?;
        let stored_bytes = (self.fresh.len() - start) as u32;
        self.builder.add(key, stored_bytes, raw_bytes, coding);
        Ok(stored_bytes)
    }

    fn bytes(&self) -> u64 {
        self.builder.stored_bytes()
    }

    /// Appends every chunk of `small`, whose bytes are read back from its draft.
    fn join(&mut self, mut small: Self) -> Result<(), Fault> {
        self.fresh.extend_from_slice(&small.draft.read_back()?);
        self.builder.join(small.builder);
        Ok(())
    }
}

impl PackSet {
    pub(crate) fn new(store: Store, encoder: Encoder, pack_bytes: u64) -> Self {
        Self {
            store,
            encoder,
            pack_bytes,
            data: Vec::new(),
            meta: Vec::new(),
            closing: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// Calls `each` for every stream of bytes that still has to be hashed.
    pub(crate) fn unhashed(&mut self) -> impl Iterator<Item = (&mut PackBuilder, &[u8])> {
        let packs = self.data.iter_mut().chain(&mut self.meta).chain(&mut self.closing);
        packs
            .filter(|pack| !pack.fresh.is_empty())
            .map(|pack| (&mut pack.builder, pack.fresh.as_slice()))
    }

    /// All that was [unhashed](Self::unhashed) is hashed now: packs that were closing are complete.
    pub(crate) fn hashed(&mut self) -> Result<Vec<FinishedPack>, Fault> {
        for pack in self.data.iter_mut().chain(&mut self.meta).chain(&mut self.closing) {
            if !pack.fresh.is_empty() {
                pack.draft.append(&pack.fresh)?;
                pack.fresh.clear();
            }
        }
        let finished = self.closing.drain(..).map(|mut pack| {
            self.spare.push(pack.fresh);
            let (name, chunks) = pack.builder.finish();
            if let PackName::Hash(sum) = &name {
                pack.draft.will_hash_to(*sum);
            }
            FinishedPack { draft: pack.draft, info: PackInfo { name, lane: pack.lane, chunks } }
        });
        Ok(finished.collect())
    }

    /// One of the lane's open packs, at random.
    pub(crate) fn pick(&mut self, lane: Lane, entropy: &Entropy) -> Result<&mut OpenPack, Fault> {
        let packs = match lane {
            Lane::Data => &mut self.data,
            Lane::Meta => &mut self.meta,
        };
        let [random] = entropy.bytes()?;
        let at = usize::from(random) % OPEN_PACKS;
        // Small chunks can fill the room for names long before that for bytes.
        if packs.get(at).is_some_and(|pack| pack.builder.is_full()) {
            let full = packs.swap_remove(at);
            self.close(full, entropy)?;
        }
        let packs = match lane {
            Lane::Data => &mut self.data,
            Lane::Meta => &mut self.meta,
        };
        if at >= packs.len() {
            let mut draft = self.store.draft(self.pack_bytes)?;
            if lane == Lane::Data {
                draft.may_be_cold();
            }
            packs.push(OpenPack {
                draft,
                lane,
                builder: self.encoder.start_pack(),
                fresh: self.spare.pop().unwrap_or_default(),
            });
        }
        let at = at.min(packs.len() - 1);
        Ok(&mut packs[at])
    }

    /// Closes packs of `lane` that are full.
    pub(crate) fn close_full(&mut self, lane: Lane, entropy: &Entropy) -> Result<(), Fault> {
        let packs = match lane {
            Lane::Data => &mut self.data,
            Lane::Meta => &mut self.meta,
        };
        let pack_bytes = self.pack_bytes;
        let full: Vec<_> = packs
            .extract_if(.., |pack| pack.bytes() >= pack_bytes || pack.builder.is_full())
            .collect();
        full.into_iter().try_for_each(|pack| self.close(pack, entropy))
    }

    fn close(&mut self, mut pack: OpenPack, entropy: &Entropy) -> Result<(), Fault> {
        self.encoder.close_pack(&mut pack.builder, entropy, &mut pack.fresh)?;
        self.closing.push(pack);
        Ok(())
    }

    /// Takes the open packs of another worker over. Both sets must be [hashed](Self::hashed).
    pub(crate) fn absorb(&mut self, other: Self) {
        self.data.extend(other.data);
        self.meta.extend(other.meta);
        self.closing.extend(other.closing);
    }

    /// Joins what fits into one pack, and closes everything that is left.
    pub(crate) fn close_all(&mut self, entropy: &Entropy) -> Result<(), Fault> {
        for lane in [Lane::Data, Lane::Meta] {
            let mut packs = std::mem::take(match lane {
                Lane::Data => &mut self.data,
                Lane::Meta => &mut self.meta,
            });
            packs.retain(|pack| pack.bytes() > 0);
            packs.sort_by_key(OpenPack::bytes);
            let mut packs = packs.into_iter();
            let mut joined: Option<OpenPack> = None;
            while let Some(pack) = packs.next_back() {
                match &mut joined {
                    Some(into)
                        if into.bytes() + pack.bytes() <= self.pack_bytes
                            && into.builder.has_room_for(&pack.builder) =>
                    {
                        into.join(pack)?;
                    }
                    _ => {
                        if let Some(full) = joined.replace(pack) {
                            self.close(full, entropy)?;
                        }
                    }
                }
            }
            if let Some(last) = joined {
                self.close(last, entropy)?;
            }
        }
        Ok(())
    }
}
