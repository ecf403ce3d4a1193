//! Which index blobs make up the index: epochs, compactions, the deletion watermark.
//!
//! ```text
//! xn<epoch>_<hash>-s<set>-c<count>        written by a client in that epoch
//! xs<epoch>_<hash>-s<set>-c<count>        all of one epoch, compacted
//! xr<from>_<to>_<hash>-s<set>-c<count>    all epochs from..=to, compacted
//! xe<epoch>                               this epoch has begun
//! xw<seconds>                             deletions up to here are final
//! ```
//!
//! Invariants
//! - [`read_set`] depends on names alone. Storage times matter to writers and to clean-up, never to
//!   what a reader sees; a copy of a repository without its times reads the same.
//! - Compacted blobs count only as complete sets; nothing loops over numbers a name made up.
//!
//! Repositories of format version 1 have no epochs, see [`read_set_without_epochs`].
//!
//! Checked against `internal/epoch/epoch_manager.go`, `epoch_range.go`, `epoch_utils.go` and
//! `internal/completeset/`.

use std::collections::BTreeMap;

use super::id::BlobId;
use crate::damage::Damage;

/// Prefix of every blob that is looked at here; list this and pass all of it.
pub const PREFIX: &str = "x";
/// Prefix of the index blobs of repositories without epochs.
pub const LEGACY_PREFIX: &str = "n";
/// Most blobs of that prefix that are considered; kopia keeps well under a thousand.
pub const BLOBS_MAX: usize = 1 << 20;

/// Not an index: an upgrade leaves it behind to stop clients that know no epochs.
const LEGACY_POISON: &str = "n00000000000000000000000000000000-";
const UNSETTLED_EPOCHS: u64 = 2;

/// The blobs to read, and how to treat deletions found in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadSet {
    /// The epoch that writers are in.
    pub write_epoch: u64,
    /// Deletions at or before this second make a content absent, see
    /// [`is_forgotten`](super::index::is_forgotten).
    pub deletion_watermark: Option<i64>,
    /// The index blobs to merge, in any order.
    pub blobs: Vec<BlobId>,
}

/// What the name of an `x` blob says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Uncompacted(u64),
    Compacted(u64),
    Range(u64, u64),
    Marker(u64),
    Watermark(i64),
}

/// Chooses the index blobs among all `x` blobs of a repository. Names that fit no pattern are
/// ignored, as kopia does.
pub fn read_set<'n>(names: impl IntoIterator<Item = &'n BlobId>) -> Result<ReadSet, Damage> {
    let mut set = ReadSet::default();
    let mut uncompacted = BTreeMap::<u64, Vec<&BlobId>>::new();
    let mut compacted = BTreeMap::<u64, Vec<&BlobId>>::new();
    let mut ranges = BTreeMap::<(u64, u64), Vec<&BlobId>>::new();
    for (count, blob) in names.into_iter().enumerate() {
        if count >= BLOBS_MAX {
            return Err(Damage::OverLimit { what: "index blobs", max: 1 << 20 });
        }
        match parse(blob.as_str()) {
            Some(Name::Uncompacted(epoch)) => uncompacted.entry(epoch).or_default().push(blob),
            Some(Name::Compacted(epoch)) => compacted.entry(epoch).or_default().push(blob),
            Some(Name::Range(from, to)) => ranges.entry((from, to)).or_default().push(blob),
            Some(Name::Marker(epoch)) => set.write_epoch = set.write_epoch.max(epoch),
            Some(Name::Watermark(at)) => {
                set.deletion_watermark = set.deletion_watermark.max(Some(at));
            }
            None => {}
        }
    }
    let ranges = ranges.into_iter().filter_map(|(key, blobs)| Some((key, complete_set(blobs)?)));
    let (blobs, first) = longest_chain(&ranges.collect());
    set.blobs = blobs;
    let last = set.write_epoch.saturating_add(1);
    for (epoch, blobs) in compacted.split_off(&first) {
        let settled = epoch.checked_add(UNSETTLED_EPOCHS).is_some_and(|e| e <= set.write_epoch);
        if let Some(blobs) = complete_set(blobs).filter(|_| settled) {
            set.blobs.extend(blobs.into_iter().cloned());
            uncompacted.remove(&epoch);
        }
    }
    for (_, blobs) in uncompacted.split_off(&first).into_iter().filter(|(n, _)| *n <= last) {
        set.blobs.extend(blobs.into_iter().cloned());
    }
    Ok(set)
}

/// Chooses the index blobs of a repository without epochs: all that begin with [`LEGACY_PREFIX`].
///
/// That includes blobs a compaction already replaced and will delete within hours. Reading them too
/// changes nothing, for their entries lose against the newer ones or equal them; so the compaction
/// logs, which a writer needs, need not be read.
pub fn read_set_without_epochs<'n>(
    names: impl IntoIterator<Item = &'n BlobId>,
) -> Result<ReadSet, Damage> {
    let mut set = ReadSet::default();
    for blob in names {
        if !blob.as_str().starts_with(LEGACY_PREFIX) || blob.as_str().starts_with(LEGACY_POISON) {
            continue;
        }
        if set.blobs.len() >= BLOBS_MAX {
            return Err(Damage::OverLimit { what: "index blobs", max: 1 << 20 });
        }
        set.blobs.push(blob.clone());
    }
    Ok(set)
}

/// The chain of ranges from epoch 0 that reaches furthest, the fewest of them if several do; and
/// the first epoch it does not cover. A chain that covers epoch 0 alone is no chain.
fn longest_chain(ranges: &BTreeMap<(u64, u64), Vec<&BlobId>>) -> (Vec<BlobId>, u64) {
    // For each epoch at which a chain can arrive: links used, and the range it arrived by. Ranges
    // come sorted by their first epoch, so every arrival is known before it is departed from.
    let mut arrivals = BTreeMap::from([(0_u64, (0_usize, None))]);
    for &(from, to) in ranges.keys() {
        let (Some((links, _)), Some(next)) = (arrivals.get(&from), to.checked_add(1)) else {
            continue;
        };
        let links = links + 1;
        let shorter = arrivals.get(&next).is_none_or(|(known, _)| links < *known);
        if next > from && shorter {
            arrivals.insert(next, (links, Some((from, to))));
        }
    }
    let Some((&end, _)) = arrivals.last_key_value().filter(|(end, _)| **end > 1) else {
        return (Vec::new(), 0);
    };
    let mut blobs = Vec::new();
    let mut at = end;
    while let Some((_, Some(range))) = arrivals.get(&at) {
        blobs.extend(ranges.get(range).into_iter().flatten().map(|blob| (*blob).clone()));
        at = range.0;
    }
    (blobs, end)
}

/// The first complete set among blobs of the same meaning, by name; any complete set says the same.
/// A blob whose name names no set is complete by itself.
fn complete_set(mut blobs: Vec<&BlobId>) -> Option<Vec<&BlobId>> {
    blobs.sort_unstable();
    let mut sets = BTreeMap::<&str, Vec<&BlobId>>::new();
    for blob in blobs {
        let Some((set, count)) = set_and_count(blob.as_str()) else { return Some(vec![blob]) };
        let members = sets.entry(set).or_default();
        members.push(blob);
        if members.len() == count {
            return sets.remove(set);
        }
    }
    None
}

/// The set and its size in `<any>-s<set>-c<count>`.
fn set_and_count(name: &str) -> Option<(&str, usize)> {
    let mut parts = name.split('-').skip(1);
    let set = parts.next()?.strip_prefix('s')?;
    let count = parts.next()?.strip_prefix('c')?;
    Some((set, count.parse().ok()?))
}

fn parse(name: &str) -> Option<Name> {
    let mut kind = name.strip_prefix(PREFIX)?.chars();
    let letter = kind.next()?;
    let rest = kind.as_str();
    let mut parts = rest.split('_');
    let number = |text: Option<&str>| text.filter(|text| is_digits(text))?.parse::<u64>().ok();
    match letter {
        'n' => number(parts.next()).filter(|_| parts.next().is_some()).map(Name::Uncompacted),
        's' => number(parts.next()).map(Name::Compacted),
        'r' => {
            let (from, to) = (number(parts.next())?, number(parts.next())?);
            (parts.next().is_some() && from <= to).then_some(Name::Range(from, to))
        }
        'e' => number(parts.next()).map(Name::Marker),
        'w' => rest.parse().ok().map(Name::Watermark),
        _ => None,
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests;
