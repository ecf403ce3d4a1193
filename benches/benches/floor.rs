//! How far is a backup of incompressible data from the sum of its unavoidable parts?
//!
//! The parts are measured one by one on the same bytes in the same run, each by the fastest
//! primitive there is in this workspace, on one thread. The backup runs against the memory backend
//! and is counted in CPU time of all threads. Prints a table; no Criterion, because a sum of parts
//! has to come from the same minute.

use std::{hint::black_box, io::Read, time::Duration};

use rustix::time::{ClockId, clock_gettime};
use windlass_benches::repository::{Memory, random_file, runtime};
use windlass_format::{
    cut::{Cutter, rabin::Polynomial},
    restic::envelope::{self, MasterKey},
};
use windlass_lanes::{poly1305, sha256};

const BYTES: usize = 1 << 30;
const PIECE: usize = 1 << 20;
const RUNS: usize = 3;

fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// The CPU time of the best of several runs.
fn best(mut run: impl FnMut()) -> Duration {
    let times = (0..RUNS).map(|_run| {
        let began = cpu_time();
        run();
        cpu_time() - began
    });
    times.min().unwrap_or_default()
}

#[expect(clippy::print_stdout, reason = "the table is the purpose")]
fn main() {
    // Only listed by the test runner, never run by it.
    if std::env::args().any(|argument| argument == "--test" || argument == "--list") {
        return;
    }
    let source = random_file(BYTES);
    let path = source.path().join("random");
    let data = std::fs::read(&path).expect("read");
    let key = MasterKey::generate(&[7; 64]);
    let nonce = [9; 16];
    let cutter = Cutter::rabin(Polynomial::new(0x3D_A335_8B4D_C173).expect("irreducible"));
    let per_byte = |time: Duration| time.as_secs_f64() * 1e9 / BYTES as f64;
    let mut rows: Vec<(&str, f64)> = Vec::new();

    let mut buffer = Vec::with_capacity(PIECE);
    rows.push((
        "read",
        per_byte(best(|| {
            let mut file = std::fs::File::open(&path).expect("opened");
            loop {
                buffer.clear();
                let got = file.by_ref().take(PIECE as u64).read_to_end(&mut buffer);
                if got.expect("read") == 0 {
                    break;
                }
            }
        })),
    ));
    rows.push((
        "cut",
        per_byte(best(|| {
            let mut rest = &data[..];
            while let Some(len) = cutter.next(rest, true) {
                rest = &rest[len..];
            }
        })),
    ));
    let mut digests = Vec::new();
    let hash = per_byte(best(|| {
        for four in data.chunks(4 * PIECE) {
            let pieces: Vec<&[u8]> = four.chunks(PIECE).collect();
            sha256::digest_many(black_box(&pieces), &mut digests);
        }
    }));
    rows.extend([("hash chunks", hash), ("hash packs", hash)]);
    let mut sealed = Vec::with_capacity(PIECE + envelope::OVERHEAD);
    rows.push((
        "encrypt and authenticate",
        per_byte(best(|| {
            for piece in data.chunks(PIECE) {
                sealed.clear();
                envelope::seal(&key, &nonce, piece, &mut sealed);
            }
        })),
    ));
    let piece = &data[..PIECE];
    sealed.clear();
    envelope::seal(&key, &nonce, piece, &mut sealed);
    rows.push((
        "read back and compare",
        per_byte(best(|| {
            for _piece in data.chunks(PIECE) {
                assert!(envelope::opens_to(&key, black_box(&sealed), piece));
            }
        })),
    ));
    let mut stored = Vec::with_capacity(BYTES);
    rows.push((
        "store",
        per_byte(best(|| {
            stored.clear();
            data.chunks(PIECE).for_each(|piece| stored.extend_from_slice(piece));
        })),
    ));
    black_box(poly1305::tag(&[1; 32], &data[..64]));
    drop(stored);
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
    let mut backups: Vec<f64> = Vec::new();
    for _run in 0..RUNS {
        let memory = empty.fork();
        let began = cpu_time();
        runtime.block_on(memory.back_up(source.path()));
        backups.push(per_byte(cpu_time() - began));
    }
    let backup = backups.into_iter().fold(f64::INFINITY, f64::min);
    println!("| **backup into memory** | {backup:.3} |");
    println!("\nbackup / floor = {:.2}", backup / floor);
}
