//! Whether a volume has become suspiciously small.
//!
//! What an application lost is backed up like anything else, and the policy would then let go of the
//! last snapshot from before. So nothing expires while the newest snapshot is next to nothing beside
//! an older one.
//!
//! Invariants: a pure judgement of figures; a snapshot without any says nothing.

use windlass_engine::model::root::Summary;

use crate::{snapshot::Snapshot, units};

/// A part this small is next to nothing.
const PART: u64 = 20;
/// A volume below both says nothing by becoming smaller.
const FEW_BYTES: u64 = 1 << 20;
const FEW_FILES: u64 = 100;

/// Why nothing should expire, if so: an older snapshot of the volume beside the newest.
pub(super) fn objection(newest: &Summary, older: &[&Snapshot]) -> Option<String> {
    let larger = |summary: &Summary| is_shrunk(newest, summary);
    let shrunk = older.iter().filter_map(|snapshot| Some((snapshot, snapshot.root.summary?)));
    let shrunk = shrunk.filter(|(_, summary)| larger(summary));
    let (snapshot, before) = shrunk.max_by_key(|(snapshot, _)| snapshot.root.time.instant())?;
    Some(format!(
        "the volume has {} files with {}, but had {} files with {} in snapshot {} of {}",
        newest.total_files,
        units::bytes(newest.total_bytes),
        before.total_files,
        units::bytes(before.total_bytes),
        snapshot.id.short(),
        units::local_time(&snapshot.root.time),
    ))
}

fn is_shrunk(now: &Summary, before: &Summary) -> bool {
    let part = |now: u64, before: u64| now < before / PART;
    let bytes = before.total_bytes >= FEW_BYTES && part(now.total_bytes, before.total_bytes);
    let files = before.total_files >= FEW_FILES && part(now.total_files, before.total_files);
    bytes || (files && now.total_bytes < before.total_bytes / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: u64, bytes: u64) -> Summary {
        Summary { total_files: files, total_bytes: bytes, ..Summary::default() }
    }

    #[test]
    fn next_to_nothing_is_less_than_a_twentieth() {
        let full = of(50_000, 10 << 30);
        for (now, shrunk) in [
            (of(0, 0), true),
            (of(50_000, 10 << 20), true),
            (of(3, 4 << 30), true),
            (of(50_000, 1 << 30), false),
            // Files were packed into one: nothing is lost.
            (of(1, 9 << 30), false),
            (full, false),
            (of(60_000, 20 << 30), false),
        ] {
            assert_eq!(is_shrunk(&now, &full), shrunk, "{now:?}");
        }
        assert!(!is_shrunk(&of(1, 10), &of(99, 1 << 19)), "a small volume says nothing");
        assert!(is_shrunk(&of(1, 10), &of(100, 1 << 19)));
    }
}
