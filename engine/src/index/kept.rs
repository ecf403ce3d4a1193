//! A sorted table of places in a file of the cache, for indexes too large for memory.
//!
//! ```text
//! magic │ rows, sorted, 50 bytes each │ tail: segments, packs, every 16th hash │ 4 lengths │ hash
//! ```
//!
//! Invariants
//! - It is derived: it says what the segments say that it names, nothing else, and can be made again
//!   at any time.
//! - It is believed only with a keyed hash of all its bytes under a key of the repository: a file
//!   that another wrote, or that was damaged, is no file.
//! - A look-up reads one stretch of 16 rows, seldom two; nothing is mapped, so that a file cut short
//!   meanwhile is an error and not a signal, and what is in use is not counted as memory of ours.
//!
//! Not here: making one ([`build`]), and what came since ([`super::Index`]).

pub(crate) mod build;

use std::{
    fs::File,
    io::{self, Read},
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use crate::{
    model::{
        chunk::ChunkKey,
        pack::{Coding, Location, PackName, PackNumber, PackedChunk},
    },
    records::fence,
    store::{Key, trace::Observer},
};

const MAGIC: [u8; 16] = *b"windlass index 1";
/// Rows between two hashes that are kept in memory.
const FENCE_ROWS: u64 = 16;
const STRETCH_BYTES: usize = FENCE_ROWS as usize * Row::BYTES;
const LENGTHS: usize = 4;
const FOOTER_BYTES: usize = LENGTHS * 8 + blake3::OUT_LEN;
/// Bytes read at once from front to back.
const SWEEP_BYTES: usize = 1 << 20;

/// What proves that a file belongs to a repository.
#[derive(Clone)]
pub(crate) struct KeptKey(pub(crate) [u8; 32]);

impl std::fmt::Debug for KeptKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeptKey")
    }
}

/// Where the table of a repository is, and under which key.
#[derive(Clone, Debug)]
pub(crate) struct KeptAt {
    pub(crate) path: PathBuf,
    pub(crate) key: KeptKey,
    /// Bytes that it may have at most.
    pub(crate) most_bytes: u64,
    /// Who is told that it cannot be kept.
    pub(crate) observer: Observer,
}

/// One place of a chunk. Its bytes sort by chunk, then by pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Row([u8; Self::BYTES]);

impl Row {
    pub(crate) const BYTES: usize = 50;

    /// `None` for what only other formats have: shorter hashes, wider codings.
    pub(crate) fn new(pack: PackNumber, chunk: &PackedChunk) -> Option<Self> {
        if chunk.key.hash().len() != 32 {
            return None;
        }
        let mut row = [0; Self::BYTES];
        row[..32].copy_from_slice(chunk.key.hash());
        row[32] = chunk.key.tag();
        row[33..37].copy_from_slice(&pack.0.to_be_bytes());
        row[37..41].copy_from_slice(&chunk.offset.to_be_bytes());
        row[41..45].copy_from_slice(&chunk.stored_bytes.to_be_bytes());
        row[45..49].copy_from_slice(&chunk.raw_bytes.to_be_bytes());
        row[49] = u8::try_from(chunk.coding.0).ok()?;
        Some(Self(row))
    }

    /// The row of these bytes, which another gave.
    pub(crate) fn of(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    pub(crate) fn bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    fn number(&self, at: Range<usize>) -> u32 {
        self.0[at].iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
    }

    fn fence(&self) -> u64 {
        fence(&self.0)
    }

    pub(crate) fn key(&self) -> ChunkKey {
        let mut hash = [0; 32];
        hash.copy_from_slice(&self.0[..32]);
        ChunkKey::full(self.0[32], hash)
    }

    pub(crate) fn location(&self) -> Location {
        Location {
            pack: PackNumber(self.number(33..37)),
            offset: self.offset(),
            stored_bytes: self.number(41..45),
            raw_bytes: self.number(45..49),
            coding: self.coding(),
        }
    }

    pub(crate) fn pack(&self) -> usize {
        self.number(33..37) as usize
    }

    pub(crate) fn offset(&self) -> u32 {
        self.number(37..41)
    }

    pub(crate) fn stored_bytes(&self) -> u64 {
        self.number(41..45).into()
    }

    pub(crate) fn coding(&self) -> Coding {
        Coding(self.0[49].into())
    }

    /// What it says of the chunk in its pack.
    pub(crate) fn chunk(&self) -> PackedChunk {
        let Location { offset, stored_bytes, raw_bytes, coding, .. } = self.location();
        PackedChunk { key: self.key(), offset, stored_bytes, raw_bytes, coding }
    }

    fn in_pack(mut self, pack: u32) -> Self {
        self.0[33..37].copy_from_slice(&pack.to_be_bytes());
        self
    }
}

/// A pack as one segment names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeptPack {
    /// The segment, by its place in the list.
    pub(crate) segment: u32,
    /// One past the last byte of a chunk in it.
    pub(crate) end: u64,
    pub(crate) hash: [u8; 32],
}

/// A proved table.
#[derive(Debug)]
pub(crate) struct Kept {
    file: File,
    rows: u64,
    fences: Vec<u64>,
    segments: Vec<Key>,
    packs: Vec<KeptPack>,
    path: PathBuf,
    is_broken: AtomicBool,
}

impl Kept {
    /// Opens and proves the table at a path; `None` where there is none that can be believed.
    pub(crate) fn open(at: &KeptAt) -> Option<Self> {
        let file = File::open(&at.path).ok()?;
        let opened = Self::prove(file, at);
        if opened.is_none() {
            // It would only be read in vain again.
            let _or_it_stays = std::fs::remove_file(&at.path);
        }
        opened
    }

    fn prove(mut file: File, at: &KeptAt) -> Option<Self> {
        let bytes = file.metadata().ok()?.len();
        let hashed = bytes.checked_sub(blake3::OUT_LEN as u64)?;
        let mut footer = [0; FOOTER_BYTES];
        file.read_exact_at(&mut footer, bytes.checked_sub(FOOTER_BYTES as u64)?).ok()?;
        let (lengths, proof) = footer.split_at(LENGTHS * 8);
        let length =
            |at: usize| Some(u64::from_le_bytes(lengths.get(at * 8..at * 8 + 8)?.try_into().ok()?));
        let (rows, segments, packs, fences) = (length(0)?, length(1)?, length(2)?, length(3)?);
        let tail = (MAGIC.len() as u64).checked_add(rows.checked_mul(Row::BYTES as u64)?)?;
        let tail_bytes = bytes.checked_sub(FOOTER_BYTES as u64)?.checked_sub(tail)?;
        let mut hasher = blake3::Hasher::new_keyed(&at.key.0);
        let mut left = hashed;
        let mut buffer = vec![0; SWEEP_BYTES];
        let mut is_first = true;
        while left > 0 {
            let len = usize::try_from(left).unwrap_or(usize::MAX).min(SWEEP_BYTES);
            file.read_exact(&mut buffer[..len]).ok()?;
            if is_first && !buffer.starts_with(&MAGIC) {
                return None;
            }
            is_first = false;
            hasher.update(&buffer[..len]);
            left -= len as u64;
        }
        // Compared in constant time.
        if hasher.finalize() != blake3::Hash::from_slice(proof).ok()? {
            return None;
        }
        let mut text = vec![0; usize::try_from(tail_bytes).ok()?];
        file.read_exact_at(&mut text, tail).ok()?;
        let mut tail = Tail(&text);
        let segments = (0..segments).map(|_| tail.segment()).collect::<Option<_>>()?;
        let packs = (0..packs).map(|_| tail.pack()).collect::<Option<_>>()?;
        let fences = (0..fences).map(|_| tail.number()).collect::<Option<_>>()?;
        let (path, is_broken) = (at.path.clone(), AtomicBool::new(false));
        Some(Self { file, rows, fences, segments, packs, path, is_broken })
    }

    /// The segments it was made from.
    pub(crate) fn segments(&self) -> &[Key] {
        &self.segments
    }

    /// Number of places.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Its packs; the place of each is its number in rows.
    pub(crate) fn packs(&self) -> &[KeptPack] {
        &self.packs
    }

    /// Every place of a chunk.
    pub(crate) fn places(&self, key: &ChunkKey) -> Vec<Location> {
        let wanted = fence(key.padded());
        // Rows that begin alike may begin before the stretch that begins so.
        let first = self.fences.partition_point(|fence| *fence < wanted).saturating_sub(1);
        let mut places = Vec::new();
        for at in first..self.fences.len() {
            if self.fences[at] > wanted {
                break;
            }
            let mut room = [0; STRETCH_BYTES];
            let Ok(bytes) = self.stretch(at, &mut room) else {
                self.give_up();
                return places;
            };
            // Compared where they are: nearly all of them are of others.
            let is_wanted = |row: &&[u8]| row[..32] == *key.padded() && row[32] == key.tag();
            let wanted = bytes.chunks_exact(Row::BYTES).filter(is_wanted);
            places.extend(wanted.flat_map(rows_in).map(|row| row.location()));
        }
        places
    }

    /// The disk fails. What is not found counts as absent, which at worst stores it once more; the
    /// next run makes another table.
    fn give_up(&self) {
        if !self.is_broken.swap(true, Ordering::Relaxed) {
            let _or_it_stays = std::fs::remove_file(&self.path);
        }
    }

    fn stretch<'b>(&self, at: usize, room: &'b mut [u8; STRETCH_BYTES]) -> io::Result<&'b [u8]> {
        let first = at as u64 * FENCE_ROWS;
        let count = FENCE_ROWS.min(self.rows.saturating_sub(first)) as usize;
        let bytes = &mut room[..count * Row::BYTES];
        self.file.read_exact_at(bytes, MAGIC.len() as u64 + first * Row::BYTES as u64)?;
        Ok(bytes)
    }

    /// Calls `each` for every row that can be read.
    pub(crate) fn sweep_all(&self, mut each: impl FnMut(Row)) {
        let swept = self.sweep(|row| {
            each(row);
            Ok(())
        });
        if swept.is_err() {
            self.give_up();
        }
    }

    /// Calls `each` for every row, in their order.
    pub(crate) fn sweep(&self, mut each: impl FnMut(Row) -> io::Result<()>) -> io::Result<()> {
        let rows_at_once = SWEEP_BYTES / Row::BYTES;
        let mut buffer = vec![0; rows_at_once * Row::BYTES];
        let mut done = 0;
        while done < self.rows {
            let count = (self.rows - done).min(rows_at_once as u64) as usize;
            let bytes = &mut buffer[..count * Row::BYTES];
            self.file.read_exact_at(bytes, MAGIC.len() as u64 + done * Row::BYTES as u64)?;
            rows_in(bytes).try_for_each(&mut each)?;
            done += count as u64;
        }
        Ok(())
    }

    pub(crate) fn name(pack: &KeptPack) -> PackName {
        PackName::Hash(pack.hash)
    }
}

fn rows_in(bytes: &[u8]) -> impl Iterator<Item = Row> + '_ {
    bytes.chunks_exact(Row::BYTES).map(|row| {
        let mut copy = [0; Row::BYTES];
        copy.copy_from_slice(row);
        Row(copy)
    })
}

/// What is left of the tail.
struct Tail<'a>(&'a [u8]);

impl Tail<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, left) = self.0.split_first_chunk()?;
        self.0 = left;
        Some(*taken)
    }

    fn number(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn segment(&mut self) -> Option<Key> {
        let len = usize::try_from(self.number()?).ok()?;
        let (name, left) = self.0.split_at_checked(len)?;
        self.0 = left;
        Some(Key::new(str::from_utf8(name).ok()?))
    }

    fn pack(&mut self) -> Option<KeptPack> {
        let segment = u32::try_from(self.number()?).ok()?;
        Some(KeptPack { segment, end: self.number()?, hash: self.take()? })
    }
}

/// The name of the file in the directory of a repository's cache.
pub(crate) fn path_in(directory: &Path) -> PathBuf {
    directory.join("windlass-index")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{
        build::{Parts, write},
        *,
    };
    use crate::{entropy::Entropy, records::sort::Sorter};

    struct Model {
        room: tempfile::TempDir,
        at: KeptAt,
        entropy: Entropy,
    }

    type Places = BTreeMap<(ChunkKey, [u8; 32]), Location>;

    impl Model {
        fn new() -> Self {
            let room = tempfile::tempdir().expect("a directory");
            let at = KeptAt {
                path: path_in(room.path()),
                key: KeptKey([7; 32]),
                most_bytes: u64::MAX,
                observer: Observer::default(),
            };
            Self { room, at, entropy: Entropy::seeded(5) }
        }

        /// Segments with packs of chunks, some of them chunks that others have too.
        fn grow(&self, names: &[&str], shared: &[ChunkKey]) -> (Parts<'static>, Places) {
            let mut parts = Parts {
                old: None,
                segments: Vec::new(),
                packs: Vec::new(),
                rows: Sorter::new(self.room.path()),
            };
            let mut places = Places::new();
            for (segment, name) in names.iter().enumerate() {
                parts.segments.push(Key::new(*name));
                for _pack in 0..7 {
                    let hash: [u8; 32] = self.entropy.bytes().expect("seeded");
                    let number = PackNumber(parts.packs.len() as u32);
                    parts.packs.push(KeptPack { segment: segment as u32, end: 4000, hash });
                    let random = (0..40).map(|at| {
                        let mut hash: [u8; 32] = self.entropy.bytes().expect("seeded");
                        // Many that begin alike, so that stretches end among them.
                        if at % 2 == 0 {
                            hash[..8].fill(3);
                        }
                        ChunkKey::full(at % 3, hash)
                    });
                    for (at, key) in random.chain(shared.iter().copied()).enumerate() {
                        let chunk = PackedChunk {
                            key,
                            offset: at as u32 * 100,
                            stored_bytes: 100,
                            raw_bytes: 68,
                            coding: Coding(1),
                        };
                        let row = Row::new(number, &chunk).expect("a row");
                        parts.rows.push(*row.bytes()).expect("pushed");
                        places.insert((key, hash), chunk.at(number));
                    }
                }
            }
            (parts, places)
        }

        fn check(&self, expected: &Places) -> Kept {
            let kept = Kept::open(&self.at).expect("proved");
            assert_eq!(kept.rows(), expected.len() as u64);
            let mut found = 0;
            for ((key, pack), place) in expected {
                let places = kept.places(key);
                let here = |at: &&Location| kept.packs()[at.pack.0 as usize].hash == *pack;
                let at = places.iter().find(here).expect("it is there");
                assert_eq!((at.offset, at.raw_bytes), (place.offset, place.raw_bytes));
                found += 1;
            }
            assert_eq!(found, expected.len());
            for _absent in 0..100 {
                let hash = self.entropy.bytes().expect("seeded");
                assert_eq!(kept.places(&ChunkKey::full(0, hash)), []);
            }
            let mut last = None;
            kept.sweep_all(|row| {
                assert!(last.is_none_or(|last| last < row), "rows are sorted");
                last = Some(row);
            });
            kept
        }
    }

    #[test]
    fn every_place_is_found_and_goes_with_its_segment() {
        let model = Model::new();
        let shared = [ChunkKey::full(0, [3; 32]), ChunkKey::full(1, [255; 32])];
        let (parts, mut expected) = model.grow(&["index/a", "index/b", "index/c"], &shared);
        let owner: Vec<([u8; 32], usize)> =
            parts.packs.iter().map(|pack| (pack.hash, pack.segment as usize)).collect();
        write(&model.at, parts).expect("written");
        let kept = model.check(&expected);
        // One segment goes, two come.
        let gone = [Key::new("index/b")];
        let (mut parts, more) = model.grow(&["index/d", "index/e"], &shared);
        parts.old = Some((&kept, &gone));
        write(&model.at, parts).expect("written");
        expected.retain(|(_, pack), _| !owner.contains(&(*pack, 1)));
        expected.extend(more);
        let kept = model.check(&expected);
        let segments: Vec<&str> = kept.segments().iter().map(Key::as_str).collect();
        assert_eq!(segments, ["index/a", "index/c", "index/d", "index/e"]);
        // All go.
        let gone = kept.segments().to_vec();
        let (mut parts, _nothing) = model.grow(&[], &[]);
        parts.old = Some((&kept, &gone));
        write(&model.at, parts).expect("written");
        model.check(&Places::new());
    }

    #[test]
    fn what_is_damaged_cut_or_of_another_is_no_table() {
        let model = Model::new();
        let (parts, _) = model.grow(&["index/a"], &[]);
        write(&model.at, parts).expect("written");
        let whole = std::fs::read(&model.at.path).expect("read");
        for at in (0..whole.len()).step_by(97).chain(whole.len() - FOOTER_BYTES..whole.len()) {
            let mut bytes = whole.clone();
            bytes[at] ^= 4;
            std::fs::write(&model.at.path, &bytes).expect("written");
            assert!(Kept::open(&model.at).is_none(), "byte {at}");
            assert!(!model.at.path.exists(), "it is not read again");
            std::fs::write(&model.at.path, &whole[..at]).expect("written");
            assert!(Kept::open(&model.at).is_none(), "cut at {at}");
        }
        std::fs::write(&model.at.path, &whole).expect("written");
        assert!(Kept::open(&model.at).is_some());
        let other = KeptAt { key: KeptKey([8; 32]), ..model.at.clone() };
        assert!(Kept::open(&other).is_none(), "another repository's");
    }
}
