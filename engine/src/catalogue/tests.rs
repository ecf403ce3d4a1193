//! Memory and files give the same answers, and those that the segments give.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Arc, Mutex},
};

use super::*;
use crate::{
    entropy::Entropy,
    model::pack::Coding,
    records::Aside,
    store::trace::{Observer, StoreEvent},
};

/// What segments say, one after the other.
type Said = Vec<(Key, Vec<NamedPack>)>;

/// Segments of random packs: chunks in several packs and twice in one, packs named again by the
/// same and by later segments, with the same chunks and with others, marked and not, and empty.
fn said(seed: u64) -> Said {
    let random = Entropy::seeded(seed);
    let below = |limit: u64| u64::from_le_bytes(random.bytes().expect("seeded")) % limit;
    let key = || {
        let mut hash: [u8; 32] = random.bytes().expect("seeded");
        match below(3) {
            // Few of them, so that many are met again.
            0 => hash = [below(20) as u8; 32],
            // Many that begin alike.
            1 => hash[..8].fill(3),
            _ => {}
        }
        ChunkKey::full(below(2) as u8, hash)
    };
    let mut packs: Vec<PackInfo> = Vec::new();
    let segment = |number: u64| {
        let mut named = Vec::new();
        for _pack in 0..below(8) {
            let mut info = PackInfo {
                name: PackName::Hash(random.bytes().expect("seeded")),
                lane: Lane::Data,
                chunks: Vec::new(),
            };
            if below(3) == 0 && !packs.is_empty() {
                info = packs[below(packs.len() as u64) as usize].clone();
                info.chunks.truncate(below(60) as usize);
            }
            if below(2) == 0 {
                info.chunks.extend((0..below(40)).map(|_| PackedChunk {
                    key: key(),
                    offset: below(50) as u32 * 100,
                    stored_bytes: 100,
                    raw_bytes: 68 + below(2) as u32,
                    coding: Coding(below(2) as u32),
                }));
            }
            packs.push(info.clone());
            named.push(NamedPack { info, marked: below(4) == 0 });
        }
        (Key::new(format!("index/{number}")), named)
    };
    (0..1 + below(12)).map(segment).collect()
}

fn built(said: &Said, rows: Gathering) -> Catalogue {
    let mut builder = Builder::of(rows);
    for (key, named) in said {
        builder.add(key, named.clone()).expect("added");
    }
    builder.finish().expect("whole")
}

/// Everything that can be asked.
fn answers(catalogue: &Catalogue, said: &Said) -> Vec<String> {
    let mut answers = vec![format!("{} rows", catalogue.len())];
    answers.push(format!("{:?} {:?}", catalogue.packs, catalogue.segments));
    for pack in 0..catalogue.packs.len() {
        answers.push(format!("{:?}", catalogue.rows_of(pack).expect("read")));
        answers.push(format!("{:?}", catalogue.pack_info(pack, Lane::Meta).expect("read")));
    }
    for at in 0..catalogue.len() {
        let row = catalogue.row(at).expect("read");
        assert_eq!(row.pack(), catalogue.pack_of(at));
        answers.push(format!("{at} {row:?} {}", catalogue.is_repeated(at)));
    }
    let chunks = said.iter().flat_map(|(_, named)| named).flat_map(|pack| &pack.info.chunks);
    let absent = (0..50).map(|byte| ChunkKey::full(byte % 2, [byte; 32]));
    let keys: BTreeSet<ChunkKey> = chunks.map(|chunk| chunk.key).chain(absent).collect();
    for key in keys {
        let places = catalogue.places(&key).expect("read");
        assert_eq!(catalogue.first(&key).expect("read"), places.first().copied());
        assert!(places.is_sorted());
        for at in &places {
            assert_eq!(catalogue.is_repeated(*at), places.len() > 1);
        }
        answers.push(format!("{key} {places:?}"));
    }
    catalogue
        .each_repeated(|places| {
            answers.push(format!("several {places:?}"));
            Ok(())
        })
        .expect("swept");
    answers
}

/// It says what the segments say, by the simplest means.
fn check(catalogue: &Catalogue, said: &Said) {
    let place =
        |pack: &PackName, chunk: &PackedChunk| format!("{pack} {} {chunk:?}", chunk.key.tag());
    let named = || said.iter().flat_map(|(_, named)| named);
    let expected: BTreeSet<String> = named()
        .flat_map(|pack| pack.info.chunks.iter().map(|chunk| place(&pack.info.name, chunk)))
        .collect();
    let mut found = BTreeSet::new();
    for (number, pack) in catalogue.packs.iter().enumerate() {
        let info = catalogue.pack_info(number, Lane::Data).expect("read");
        assert!(info.chunks.is_sorted_by_key(|chunk| chunk.offset));
        found.extend(info.chunks.iter().map(|chunk| place(&info.name, chunk)));
        let same = || named().filter(|other| other.info.name == pack.name);
        assert_eq!(pack.times as usize, same().count());
        assert_eq!(pack.marked, same().all(|pack| pack.marked));
        assert_eq!(pack.ever_marked, same().any(|pack| pack.marked));
        let fewest = same().map(|pack| pack.info.chunks.len()).min();
        assert_eq!(Some(pack.fewest_chunks), fewest);
        assert_eq!(Some(pack.end), same().map(|pack| pack.info.chunks_end()).max());
    }
    assert_eq!(found, expected);
    assert_eq!(catalogue.len(), expected.len());
    for chunk in named().flat_map(|pack| &pack.info.chunks) {
        let has = |pack: &&NamedPack| pack.info.chunks.iter().any(|other| other.key == chunk.key);
        let expected: BTreeSet<&PackName> =
            named().filter(has).map(|pack| &pack.info.name).collect();
        let names: BTreeSet<&PackName> = catalogue.names_of(&chunk.key).expect("read").collect();
        assert_eq!(names, expected);
    }
}

fn aside(directory: &Path) -> (Aside, Arc<Mutex<Vec<StoreEvent>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let telling = Arc::clone(&told);
    let observer =
        Observer::new(move |event| telling.lock().expect("no panic").push(event.clone()));
    (Aside { directory: directory.join("cache"), most_bytes: u64::MAX, observer }, told)
}

#[test]
fn memory_and_files_answer_alike() {
    let room = tempfile::tempdir().expect("a directory");
    let mut repeated = 0;
    for seed in 0..150 {
        let said = said(seed);
        let in_memory = built(&said, Gathering::new(usize::MAX, None));
        check(&in_memory, &said);
        let expected = answers(&in_memory, &said);
        repeated += expected.iter().filter(|answer| answer.starts_with("several")).count();
        for (most_in_memory, most_bytes) in [(0, u64::MAX), (40, u64::MAX), (0, 9000), (30, 0)] {
            let (aside, told) = aside(room.path());
            let aside = Aside { most_bytes, ..aside };
            let rows = in_memory.len();
            let other = built(&said, Gathering::new(most_in_memory, Some(aside)));
            let fits = rows <= most_in_memory || rows as u64 * 126 <= most_bytes;
            assert_eq!(told.lock().expect("no panic").len(), usize::from(!fits), "seed {seed}");
            assert_eq!(other.rows.is_in_files(), fits && rows > most_in_memory, "seed {seed}");
            assert!(answers(&other, &said) == expected, "seed {seed}: {most_in_memory}");
        }
    }
    assert!(repeated > 500, "{repeated}");
    let left = std::fs::read_dir(room.path().join("cache")).expect("listed");
    let names: Vec<_> = left.map(|entry| entry.expect("an entry").file_name()).collect();
    assert!(names.iter().all(|name| !name.to_string_lossy().starts_with("tmp-")), "{names:?}");
}

#[test]
fn where_no_file_can_be_made_all_stays_in_memory_and_it_is_told() {
    let room = tempfile::tempdir().expect("a directory");
    // What is to be a directory is a file.
    std::fs::write(room.path().join("cache"), "").expect("written");
    let said = said(2);
    let (aside, told) = aside(room.path());
    let catalogue = built(&said, Gathering::new(0, Some(aside)));
    check(&catalogue, &said);
    assert!(catalogue.len() > 0 && !catalogue.rows.is_in_files());
    assert!(matches!(&told.lock().expect("no panic")[..], [StoreEvent::Cache { .. }]));
}
