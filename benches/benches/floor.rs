//! How far is a backup of incompressible data from the sum of its unavoidable parts?
//!
//! The parts are measured one by one on the same bytes in the same run, each by the fastest
//! primitive there is in this workspace, on as many threads as the backup has: two threads that
//! share a core, its caches or its memory take more CPU time for the same work than one alone. The
//! backup runs against the memory backend and is counted in CPU time of all threads, as the parts
//! are. Prints a table; no Criterion, because a sum of parts has to come from the same minute.

use std::{
    fs::File,
    hint::black_box,
    io::{Read, Seek, SeekFrom},
    num::NonZero,
    thread,
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use windlass_benches::repository::{Memory, random_file, runtime};
use windlass_format::{
    cut::{Cutter, rabin::Polynomial},
    restic::envelope::{self, MasterKey},
};
use windlass_lanes::sha256;

const BYTES: usize = 1 << 30;
const PIECE: usize = 1 << 20;
const PACK: usize = 16 << 20;
const RUNS: usize = 3;

fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// The CPU time for each byte in the best of several runs.
fn best(mut run: impl FnMut()) -> f64 {
    let times = (0..RUNS).map(|_run| {
        let began = cpu_time();
        run();
        cpu_time() - began
    });
    times.min().unwrap_or_default().as_secs_f64() * 1e9 / BYTES as f64
}

/// The same for work on shares of `data`, one for each thread, all at once. Work is told where its
/// share begins.
fn shared(data: &[u8], work: impl Fn(usize, &[u8]) + Sync) -> f64 {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let share = data.len().div_ceil(threads).next_multiple_of(PACK);
    best(|| {
        thread::scope(|scope| {
            for (at, share_of_it) in data.chunks(share).enumerate() {
                let work = &work;
                scope.spawn(move || work(at * share, share_of_it));
            }
        });
    })
}

#[expect(clippy::print_stdout, reason = "the table is the purpose")]
fn main() {
    // Only listed by the test runner, never run by it.
    if std::env::args().any(|argument| argument == "--test" || argument == "--list") {
        return;
    }
    // As the program does.
    windlass_engine::heap::return_large_blocks();
    let source = random_file(BYTES);
    let path = source.path().join("random");
    let data = std::fs::read(&path).expect("read");
    let key = MasterKey::generate(&[7; 64]);
    let nonce = [9; 16];
    let cutter = Cutter::rabin(Polynomial::new(0x3D_A335_8B4D_C173).expect("irreducible"));
    let mut rows: Vec<(&str, f64)> = Vec::new();

    let read = shared(&data, |start, share| {
        let mut file = File::open(&path).expect("opened");
        file.seek(SeekFrom::Start(start as u64)).expect("there");
        let mut buffer = Vec::with_capacity(PIECE);
        for piece in share.chunks(PIECE) {
            buffer.clear();
            let got = file.by_ref().take(piece.len() as u64).read_to_end(&mut buffer);
            assert_eq!(got.expect("read"), piece.len());
        }
    });
    rows.push(("read", read));
    let cut = shared(&data, |_, mut rest| {
        while let Some(len) = cutter.next(rest, true) {
            rest = &rest[len..];
        }
    });
    rows.push(("cut", cut));
    let hash = shared(&data, |_, share| {
        let mut digests = Vec::new();
        for four in share.chunks(4 * PIECE) {
            let pieces: Vec<&[u8]> = four.chunks(PIECE).collect();
            sha256::digest_many(black_box(&pieces), &mut digests);
        }
    });
    rows.extend([("hash chunks", hash), ("hash packs", hash)]);
    let seal = shared(&data, |_, share| {
        let mut sealed = Vec::with_capacity(PIECE + envelope::OVERHEAD);
        for piece in share.chunks(PIECE) {
            sealed.clear();
            envelope::seal(&key, &nonce, piece, &mut sealed);
        }
    });
    rows.push(("encrypt and authenticate", seal));
    let mut sealed = Vec::new();
    envelope::seal(&key, &nonce, &data[..PIECE], &mut sealed);
    let proof = shared(&data, |_, share| {
        for _piece in share.chunks(PIECE) {
            assert!(envelope::opens_to(&key, black_box(&sealed), &data[..PIECE]));
        }
    });
    rows.push(("read back and compare", proof));
    // Memory that nobody has used before, as whoever keeps the bytes needs.
    let store = shared(&data, |_, share| {
        let mut packs: Vec<Vec<u8>> = Vec::new();
        for bytes in share.chunks(PACK) {
            let mut pack = Vec::with_capacity(PACK);
            bytes.chunks(PIECE).for_each(|piece| pack.extend_from_slice(piece));
            packs.push(pack);
        }
        black_box(&packs);
    });
    rows.push(("store", store));
    drop(data);

    let floor: f64 = rows.iter().map(|(_, cost)| cost).sum();
    println!("CPU per byte of {} MiB of random data, best of {RUNS} runs", BYTES >> 20);
    println!("| part | ns/byte |\n|---|---|");
    for (name, cost) in &rows {
        println!("| {name} | {cost:.3} |");
    }
    println!("| **floor** | {floor:.3} |");
    let runtime = runtime();
    let empty = runtime.block_on(Memory::new());
    let forks: Vec<Memory> = (0..RUNS).map(|_run| empty.fork()).collect();
    let mut forks = forks.into_iter();
    let backup = best(|| runtime.block_on(forks.next().expect("one each").back_up(source.path())));
    println!("| **backup into memory** | {backup:.3} |");
    println!("\nbackup / floor = {:.2}", backup / floor);
}
