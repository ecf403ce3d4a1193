//! Chunks out of their packs into new ones, for operations that know which.
//!
//! Invariants
//! - A chunk is stored only after it was opened and proved to be what its key says. Where it is not
//!   good in one place, it is looked for in every other; where it is good nowhere, that is an error.
//!
//! Not here: which chunks, by how many threads, and what is read together (operations).

use std::{ops::Range as Span, sync::Arc};

use tokio::runtime::Handle;

use crate::{
    catalogue::{Catalogue, Row},
    deposit::{Added, Chunk, Deposit, Sealed},
    dialect::{Dialect, Scratch},
    fault::{Class, Fault},
    model::{
        chunk::{ChunkKey, Role},
        pack::Location,
    },
    monitor::Monitor,
    store::{Range, Store},
};

/// Plaintext held at once by a carrier; more only where one chunk is longer.
pub(crate) const PLAIN_BYTES: usize = 8 << 20;

/// Where chunks come from.
pub(crate) struct Source {
    pub(crate) store: Store,
    pub(crate) dialect: Dialect,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) runtime: Handle,
}

/// What becomes of the sealed bytes of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sealing {
    /// They are made anew: the target has another key.
    Anew,
    /// They stay as they are, but for metadata that is not compressed and could be.
    Kept {
        /// And for files that are not.
        compress_files: bool,
    },
}

/// Carries chunks from a source into a deposit.
pub(crate) struct Carrier<'a, B> {
    pub(crate) source: &'a Source,
    pub(crate) deposit: &'a Deposit<B>,
    pub(crate) sealing: Sealing,
    pub(crate) monitor: &'a dyn Monitor,
}

/// What a thread works with.
pub(crate) struct Room {
    scratch: Scratch,
    stored: Vec<u8>,
    plain: Vec<u8>,
    /// What came of it so far.
    pub(crate) added: Added,
}

/// A row that was opened, and where its sealed bytes and its plaintext are in the room.
struct Opened {
    row: Row,
    sealed: Span<usize>,
    plain: Span<usize>,
}

impl Source {
    /// Room for one thread.
    pub(crate) fn room(&self) -> Result<Room, Fault> {
        let scratch = self.dialect.scratch()?;
        Ok(Room { scratch, stored: Vec::new(), plain: Vec::new(), added: Added::default() })
    }

    fn read(&self, pack: usize, span: Span<u64>, out: &mut Vec<u8>) -> Result<(), Fault> {
        let key = self.dialect.pack_key(&self.catalogue.packs[pack].name);
        let range = Range::At { start: span.start, len: span.end - span.start };
        Ok(self.store.append_blocking(&self.runtime, &key, range, out)?)
    }
}

impl<B> Carrier<'_, B> {
    /// Carries rows of one pack, which are read at once.
    pub(crate) fn carry(&self, rows: &[Row], room: &mut Room) -> Result<(), Fault> {
        self.go_over(rows, room, |opened, room| self.put(opened, room))
    }

    /// Proves rows of one pack, which are read at once. What is not good is carried from another
    /// place.
    pub(crate) fn prove(&self, rows: &[Row], room: &mut Room) -> Result<(), Fault> {
        self.go_over(rows, room, |opened, room| Ok(self.wrong(opened, room)))
    }

    /// Opens rows, gives them to `each` in batches, which says which of them are not good, and
    /// carries those from another place.
    fn go_over(
        &self,
        rows: &[Row],
        room: &mut Room,
        each: impl Fn(&[Opened], &mut Room) -> Result<Vec<Row>, Fault>,
    ) -> Result<(), Fault> {
        let Source { dialect, .. } = self.source;
        let Some(first) = rows.first() else { return Ok(()) };
        let places = || rows.iter().map(|row| row.location().span());
        let start = places().map(|span| span.start).min().unwrap_or_default();
        let end = places().map(|span| span.end).max().unwrap_or(start);
        room.stored.clear();
        let read = self.source.read(first.pack(), start..end, &mut room.stored);
        let mut opened = Vec::new();
        let mut again = Vec::new();
        room.plain.clear();
        for row in rows {
            let (key, place) = (row.key(), row.location());
            let from = (u64::from(place.offset) - start) as usize;
            let sealed = from..from + place.stored_bytes as usize;
            let before = room.plain.len();
            let Room { scratch, stored, plain, .. } = &mut *room;
            let bytes = stored.get(sealed.clone()).filter(|_bytes| read.is_ok());
            let result = bytes.map(|bytes| dialect.open_chunk(&key, &place, bytes, scratch, plain));
            if let Some(Ok(())) = result {
                opened.push(Opened { row: *row, sealed, plain: before..plain.len() });
                if plain.len() >= PLAIN_BYTES {
                    again.extend(each(&std::mem::take(&mut opened), room)?);
                    room.plain.clear();
                }
            } else {
                plain.truncate(before);
                again.push(*row);
            }
        }
        again.extend(each(&opened, room)?);
        for row in again {
            self.carry_copy(&row, room)?;
        }
        let bytes = rows.iter().map(Row::stored_bytes).sum();
        self.monitor.counters().bytes_done.add(bytes);
        Ok(())
    }

    /// Stores what was opened; the rows of those that are not what their keys say.
    fn put(&self, opened: &[Opened], room: &mut Room) -> Result<Vec<Row>, Fault> {
        let dialect = &self.source.dialect;
        let key_of = |one: &Opened| one.row.key();
        let mut wrong = Vec::new();
        for role in [Role::File, Role::Directory, Role::Links] {
            let these: Vec<&Opened> =
                opened.iter().filter(|one| dialect.role(&key_of(one)) == role).collect();
            if these.is_empty() {
                continue;
            }
            let chunk = |one: &&Opened| {
                let plain = room.plain.get(one.plain.clone()).unwrap_or_default();
                let sealed = room.stored.get(one.sealed.clone()).unwrap_or_default();
                self.chunk(role, key_of(one), &one.row.location(), sealed, plain)
            };
            let chunks: Vec<Chunk<'_>> = these.iter().map(chunk).collect();
            let (added, others) = self.deposit.store(role, &chunks)?;
            room.added += added;
            wrong.extend(others.into_iter().map(|place| these[place].row));
        }
        Ok(wrong)
    }

    /// The rows of those that are not what their keys say.
    fn wrong(&self, opened: &[Opened], room: &Room) -> Vec<Row> {
        let proof = |one: &Opened| {
            let plain = room.plain.get(one.plain.clone()).unwrap_or_default();
            (one.row.key(), plain)
        };
        let proofs: Vec<(ChunkKey, &[u8])> = opened.iter().map(proof).collect();
        let mut wrong = Vec::new();
        let mut proved = 0;
        while let Some(rest) = proofs.get(proved..)
            && let Err(differs) = self.source.dialect.prove(rest)
        {
            wrong.push(opened[proved + differs].row);
            proved += differs + 1;
        }
        wrong
    }

    fn chunk<'c>(
        &self,
        role: Role,
        key: ChunkKey,
        place: &Location,
        sealed: &'c [u8],
        plain: &'c [u8],
    ) -> Chunk<'c> {
        let is_kept = match self.sealing {
            Sealing::Anew => false,
            Sealing::Kept { compress_files } => {
                let is_raw = self.source.dialect.uncompressed_bytes(place.raw_bytes).is_some()
                    && place.coding.0 == 0;
                !is_raw || (role == Role::File && !compress_files)
            }
        };
        let Location { raw_bytes, coding, .. } = *place;
        let kept = is_kept.then_some(Sealed { bytes: sealed, raw_bytes, coding });
        Chunk { key, plain, sealed: kept }
    }

    /// Carries a chunk over that was not good where it was looked for, from any place that is.
    fn carry_copy(&self, row: &Row, room: &mut Room) -> Result<(), Fault> {
        let Source { dialect, catalogue, .. } = self.source;
        let key = row.key();
        let role = dialect.role(&key);
        let mut why = Fault::Missing { key };
        for copy in catalogue.places(&key)? {
            let row = catalogue.row(copy)?;
            let place = row.location();
            let (mut sealed, mut plain) = (Vec::new(), Vec::new());
            let read = self.source.read(row.pack(), place.span(), &mut sealed);
            let opened = read.and_then(|()| {
                let unsealed = dialect.unseal(&key, &place, &sealed, &mut room.scratch, &mut plain);
                unsealed.map_err(|damage| {
                    let pack = &catalogue.packs[row.pack()].name;
                    Fault::damaged(format!("chunk {key} in pack {pack}"), damage)
                })
            });
            match opened {
                Ok(()) => {
                    let chunk = self.chunk(role, key, &place, &sealed, &plain);
                    let (added, _proved_before) = self.deposit.store(role, &[chunk])?;
                    room.added += added;
                    return Ok(());
                }
                // One that cannot be reached now may be good the next time.
                Err(fault) if fault.class() != Class::Damaged => return Err(fault),
                Err(fault) => why = fault,
            }
        }
        Err(why)
    }
}
