//! Temporary files of writers that were killed, in stores that have such files.
//!
//! Invariants
//! - A file goes only if no writer can own it: nobody but the holder of `lock` has announced itself
//!   within the time after which a lock counts as dead, and nothing was written to the file for
//!   [`KEPT`]. Both by the store's own clock: all times are those that it gave to its files.
//! - Writers that announce themselves late or never (`init`) are done within [`KEPT`].
//! - Whatever cannot be told keeps the files.

use std::time::Duration;

use windlass_format::restic::path::FileKind;

use crate::{
    protocol::Swept,
    store::{Store, StoreError},
};

/// How long a file is left alone that nobody writes to.
const KEPT: Duration = Duration::from_hours(24);
/// A lock that is older is dead: its holder has stopped at the latest after 22.5 minutes without
/// refreshing it.
const DEAD_AFTER: Duration = Duration::from_mins(30);

/// Removes what nobody will finish. To be called by the holder of a lock.
pub(super) async fn sweep(store: &Store) -> Result<Swept, StoreError> {
    let found = store.leftovers().await?;
    let mut swept = Swept::default();
    if found.is_empty() {
        return Ok(swept);
    }
    let locks = store.listing(FileKind::Lock.directory()).await?;
    // Ours at the latest, so this is the store's time, or little before it.
    let Some(now) = locks.iter().map(|row| row.modified).max() else { return Ok(swept) };
    let is_alive = |row: &&crate::store::Listed| row.modified + DEAD_AFTER > now;
    if locks.iter().filter(is_alive).count() != 1 {
        return Ok(swept);
    }
    for leftover in found.iter().filter(|found| found.modified + KEPT < now) {
        if store.remove_leftover(leftover).await? {
            swept.files += 1;
            swept.stored_bytes += leftover.stored_bytes;
        }
    }
    Ok(swept)
}
