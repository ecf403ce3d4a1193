//! What `prune` says.
//!
//! Invariants: the figures are restic's, in text and in JSON; how much is read comes on top.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::Serialize;
use windlass_engine::{
    monitor::{Counters, Event, Monitor, Phase},
    reclaim::{Forecast, Report},
};

use crate::{
    output::{
        Output,
        progress::{self, Draw},
    },
    units,
};

/// Shows how far it is.
#[derive(Debug)]
pub(super) struct PruneMonitor {
    output: Arc<Output>,
    counters: Counters,
    total_bytes: AtomicU64,
}

impl PruneMonitor {
    pub(super) fn new(output: Arc<Output>) -> Self {
        Self { output, counters: Counters::default(), total_bytes: AtomicU64::new(0) }
    }

    /// How much there is to move.
    pub(super) fn planned(&self, forecast: &Forecast) {
        let bytes = forecast.repack.bytes - forecast.repack_remove.bytes;
        self.total_bytes.store(bytes, Ordering::Relaxed);
    }
}

impl Monitor for PruneMonitor {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Phase(Phase::Index) => self.output.line("loading indexes..."),
            Event::Phase(Phase::Scan) => self.output.line("finding data that is still in use"),
            Event::Phase(Phase::Transfer) => self.output.line("repacking packs"),
            Event::Phase(Phase::Lock) => self.output.detail("locking out others for the end"),
            Event::Phase(Phase::Publish) => {
                self.output.line("rebuilding index and deleting old packs");
            }
            Event::Note(text) => self.output.detail(text),
            _ => {}
        }
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl Draw for PruneMonitor {
    fn draw(&self, output: &Output, elapsed: Duration) {
        let total = self.total_bytes.load(Ordering::Relaxed);
        if total > 0 && !output.is_json() {
            output.status(&progress::line(self.counters.bytes_done.get(), Some(total), elapsed));
        }
    }
}

#[derive(Serialize)]
struct Summary {
    message_type: &'static str,
    blobs: Blobs,
    bytes: Bytes,
    packfiles: Packs,
}

#[derive(Serialize)]
struct Blobs {
    used: u64,
    duplicate: u64,
    unused: u64,
    total: u64,
    repack: u64,
    repack_remove: u64,
    remove: u64,
    remove_total: u64,
    remaining: u64,
}

#[derive(Serialize)]
struct Bytes {
    used: u64,
    duplicate: u64,
    unused: u64,
    unreferenced: u64,
    uncompressed: u64,
    total: u64,
    repack: u64,
    repack_remove: u64,
    remove: u64,
    remove_total: u64,
    remaining: u64,
    remaining_unused: u64,
}

#[derive(Serialize)]
struct Packs {
    used: u64,
    unused: u64,
    partly_used: u64,
    unreferenced: u64,
    total: u64,
    keep: u64,
    repack: u64,
    remove: u64,
    remove_total: u64,
}

impl Summary {
    fn of(told: &Forecast) -> Self {
        let (used, duplicate, unused) = (told.used, told.duplicate, told.unused);
        let chunks = used.chunks + duplicate.chunks + unused.chunks;
        let gone = told.remove.chunks + told.repack_remove.chunks;
        let unreferenced = told.unreferenced_bytes;
        let bytes = used.bytes + duplicate.bytes + unused.bytes + unreferenced;
        let gone_bytes = told.remove.bytes + told.repack_remove.bytes;
        let remove_total = told.packs_unreferenced + told.packs_remove;
        Self {
            message_type: "summary",
            blobs: Blobs {
                used: used.chunks,
                duplicate: duplicate.chunks,
                unused: unused.chunks,
                total: chunks,
                repack: told.repack.chunks,
                repack_remove: told.repack_remove.chunks,
                remove: told.remove.chunks,
                remove_total: gone,
                remaining: chunks - gone,
            },
            bytes: Bytes {
                used: used.bytes,
                duplicate: duplicate.bytes,
                unused: unused.bytes,
                unreferenced,
                uncompressed: told.uncompressed_bytes,
                total: bytes,
                repack: told.repack.bytes,
                repack_remove: told.repack_remove.bytes,
                remove: told.remove.bytes,
                remove_total: gone_bytes + unreferenced,
                remaining: bytes - gone_bytes - unreferenced,
                remaining_unused: duplicate.bytes + unused.bytes - gone_bytes,
            },
            packfiles: Packs {
                used: told.packs_used,
                unused: told.packs_unused,
                partly_used: told.packs_partly_used,
                unreferenced: told.packs_unreferenced,
                total: told.packs_used
                    + told.packs_partly_used
                    + told.packs_unused
                    + told.packs_unreferenced,
                keep: told.packs_keep,
                repack: told.packs_repack,
                remove: told.packs_remove,
                remove_total,
            },
        }
    }
}

/// What is going to happen.
pub(super) fn forecast(output: &Output, told: &Forecast, dry_run: bool) {
    let sum = Summary::of(told);
    if output.is_json() {
        output.json(&sum);
        return;
    }
    let Summary { blobs, bytes, packfiles, .. } = &sum;
    let of_blobs = |name: &str, blobs: u64, bytes: u64| {
        format!("{:<13} {blobs:>10} blobs / {}", format!("{name}:"), units::bytes(bytes))
    };
    let of_packs = |name: &str, packs: u64| format!("{:<13} {packs:>10} packs", format!("{name}:"));
    if dry_run {
        output.line("\nWould have made the following changes:");
    }
    output.detail(&of_blobs("\nused", blobs.used, bytes.used));
    if blobs.duplicate > 0 {
        output.detail(&of_blobs("duplicates", blobs.duplicate, bytes.duplicate));
    }
    output.detail(&of_blobs("unused", blobs.unused, bytes.unused));
    if bytes.unreferenced > 0 {
        output.detail(&format!("{:<32} {}", "unreferenced:", units::bytes(bytes.unreferenced)));
    }
    output.detail(&of_blobs("total", blobs.total, bytes.total));
    let unused = percent(bytes.duplicate + bytes.unused, bytes.total);
    output.detail(&format!("unused size: {unused} of total size"));
    output.line("");
    output.line(&of_blobs("to repack", blobs.repack, bytes.repack));
    output.line(&of_blobs("this removes", blobs.repack_remove, bytes.repack_remove));
    output.line(&of_blobs("to delete", blobs.remove, bytes.remove + bytes.unreferenced));
    output.line(&of_blobs("total prune", blobs.remove_total, bytes.remove_total));
    if bytes.uncompressed > 0 {
        let size = units::bytes(bytes.uncompressed);
        output.line(&format!("{:<32} {size}", "not yet compressed:"));
    }
    output.line(&of_blobs("remaining", blobs.remaining, bytes.remaining));
    let unused = percent(bytes.remaining_unused, bytes.remaining);
    let left = units::bytes(bytes.remaining_unused);
    output.line(&format!("unused size after prune: {left} ({unused} of remaining size)"));
    let moved = units::bytes(bytes.repack - bytes.repack_remove);
    let (read, requests) = (units::bytes(told.read_bytes), told.read_requests);
    let gone = packfiles.repack + packfiles.remove_total;
    output.line(&format!(
        "to move: {moved}, reading {read} in {requests} requests; then {gone} packs go"
    ));
    output.line("");
    output.detail(&format!("{:<19} {:>10}", "totally used packs:", packfiles.used));
    output.detail(&format!("{:<19} {:>10}", "partly used packs:", packfiles.partly_used));
    output.detail(&format!("{:<19} {:>10}\n", "unused packs:", packfiles.unused));
    output.detail(&of_packs("to keep", packfiles.keep));
    output.detail(&of_packs("to repack", packfiles.repack));
    output.detail(&of_packs("to delete", packfiles.remove));
    if packfiles.unreferenced > 0 {
        let line =
            of_packs("to delete", packfiles.unreferenced).replace("packs", "unreferenced packs");
        output.detail(&line);
    }
}

/// What came of it.
pub(super) fn report(output: &Output, done: &Report, dry_run: bool, took: Duration) {
    if dry_run {
        return;
    }
    for (pack, fault) in &done.packs_left {
        output.warn(&format!("unable to remove data/{pack} from the repository: {fault}"));
    }
    if done.packs_postponed > 0 {
        output.line(&format!("{} packs are left for the next time", done.packs_postponed));
    }
    if done.packs_rescued > 0 {
        let packs = done.packs_rescued;
        output.line(&format!("{packs} packs stay, because new snapshots need them"));
    }
    output.detail(&format!("removed {} packs in {}", done.packs_removed, units::clock(took)));
    output.line("done");
}

fn percent(part: u64, whole: u64) -> String {
    let share = if whole == 0 { 0.0 } else { part as f64 / whole as f64 * 100.0 };
    format!("{share:.2}%")
}
