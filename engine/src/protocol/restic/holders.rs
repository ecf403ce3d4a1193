//! Lock files of others, and which of them stand for nobody.
//!
//! Invariants
//! - The lock of a process that is known to be alive stands for it, however old it is.
//! - Without being told to, only those are [dismissed](dismissal) of which it is certain: their
//!   process is [gone](process::life_of), or whoever uses this repository under a name that is given
//!   to one at a time comes again, or nobody refreshed them for half an hour, six times as long as
//!   any holder waits. The age is reckoned twice: from the time in the lock, and by the store's own
//!   clock between this lock and ours, so that neither a holder's clock that is behind nor ours that
//!   is ahead makes a living one look old.
//! - `unlock` goes by what restic goes by: the time in the lock, or that its process is not there on
//!   a host of this name; and by the name that is given to one at a time.

use std::time::{Duration, SystemTime};

use windlass_format::{
    id::to_hex,
    restic::{
        lock::Lock as LockFile,
        path::{FileKind, FileName},
    },
    time::Timestamp,
};

use super::{Protocol, key_of};
use crate::{
    fault::Fault,
    process::{self, Life},
    protocol::holders::{Holder, ListedHolder, Looker, Stale, Which},
    store::Failure,
};

/// Seconds after which a lock that was not refreshed stands for nobody.
const STALE_SECONDS: i64 = 30 * 60;
const STALE: Duration = Duration::from_secs(STALE_SECONDS as u64);

/// When the store wrote a lock of somebody else's, and when ours; by its own clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub(super) other: SystemTime,
    pub(super) ours: SystemTime,
}

impl Written {
    /// Whether the store says that the other one is not stale. One that does not tell times says
    /// nothing.
    fn is_fresh(self) -> bool {
        let tells = self.ours != SystemTime::UNIX_EPOCH;
        let age = self.ours.duration_since(self.other).unwrap_or_default();
        tells && age <= STALE
    }
}

impl Protocol {
    pub(in crate::protocol) async fn list_holders(
        &self,
        looker: Looker<'_>,
    ) -> Result<Vec<ListedHolder>, Fault> {
        let now = self.clock.now();
        let mut holders = Vec::new();
        self.read_all(FileKind::Lock, |name, json| {
            let holder = json.and_then(|json| {
                let damaged = |damage| Fault::damaged(name.to_string(), damage);
                let file = LockFile::decode(&json).map_err(damaged)?;
                Ok(holder(file, &now, looker))
            });
            holders.push((name.id().map(|id| to_hex(id)).unwrap_or_default(), holder));
        })
        .await?;
        holders.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(holders)
    }

    pub(in crate::protocol) async fn evict(
        &self,
        which: Which,
        looker: Looker<'_>,
    ) -> Result<Vec<String>, Fault> {
        let names: Vec<String> = match which {
            Which::Stale => {
                let holders = self.list_holders(looker).await?.into_iter();
                let stale = holders.filter(|(_, holder)| {
                    holder.as_ref().is_ok_and(|holder| holder.stale.is_some())
                });
                stale.map(|(name, _)| name).collect()
            }
            Which::All => {
                let listed = self.store.listing(FileKind::Lock.directory()).await?.into_iter();
                let names = listed.filter_map(|row| FileName::parse(row.key.as_str()));
                names.filter_map(|name| Some(to_hex(name.id()?))).collect()
            }
        };
        let mut gone = Vec::new();
        for name in names {
            let key = FileName::parse(&format!("{}/{name}", FileKind::Lock.directory()));
            let key = key_of(key.ok_or(Fault::Bug("a lock is named by a hash"))?);
            match self.store.delete(&key).await {
                Ok(()) => gone.push(name),
                // Its holder was there after all, and has gone or refreshed it.
                Err(error) if error.failure == Failure::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(gone)
    }
}

fn holder(file: LockFile, now: &Timestamp, looker: Looker<'_>) -> Holder {
    let stale = staleness(&file, now, looker);
    Holder {
        time: file.time,
        exclusive: file.exclusive,
        hostname: file.hostname,
        username: file.username,
        pid: file.pid,
        stale,
    }
}

/// Why a lock certainly stands for nobody, if it does. Where no lock of ours is there yet, it is not
/// known when any was written, and the time in it counts alone; then nothing may be removed.
pub(super) fn dismissal(
    file: &LockFile,
    written: Option<Written>,
    now: &Timestamp,
    lineage: Option<&str>,
) -> Option<Stale> {
    match life(file) {
        Life::Gone => return Some(Stale::Gone),
        Life::Alive => return None,
        Life::Unknown => {}
    }
    if is_succeeded(file, lineage) {
        return Some(Stale::Succeeded);
    }
    let is_old = is_old(file, now) && !written.is_some_and(Written::is_fresh);
    is_old.then_some(Stale::Old)
}

/// Why a lock stands for nobody by what restic goes by, or by its name, if it does.
fn staleness(file: &LockFile, now: &Timestamp, looker: Looker<'_>) -> Option<Stale> {
    match life(file) {
        Life::Gone => return Some(Stale::Gone),
        Life::Alive => return None,
        Life::Unknown => {}
    }
    if is_succeeded(file, looker.lineage) {
        return Some(Stale::Succeeded);
    }
    if is_old(file, now) {
        return Some(Stale::Old);
    }
    let tells_more = !file.process.is_empty();
    (!tells_more && file.hostname == looker.hostname && is_gone(file.pid)).then_some(Stale::Gone)
}

/// Whether this is the next one of a name that is given to one at a time.
fn is_succeeded(file: &LockFile, lineage: Option<&str>) -> bool {
    lineage.is_some_and(|lineage| !lineage.is_empty() && lineage == file.lineage)
}

fn life(file: &LockFile) -> Life {
    match file.process.is_empty() {
        true => Life::Unknown,
        false => process::life_of(file.pid, &file.process),
    }
}

fn is_old(file: &LockFile, now: &Timestamp) -> bool {
    let age = (
        now.seconds.saturating_sub(file.time.seconds),
        i64::from(now.nanos) - i64::from(file.time.nanos),
    );
    age > (STALE_SECONDS, 0)
}

/// Whether there is no such process; one that may not be asked is there.
fn is_gone(pid: i64) -> bool {
    let pid = i32::try_from(pid).ok().filter(|pid| *pid > 0);
    let pid = pid.and_then(rustix::process::Pid::from_raw);
    let Some(pid) = pid else { return true };
    matches!(rustix::process::test_kill_process(pid), Err(rustix::io::Errno::SRCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(seconds: i64, hostname: &str, pid: i64) -> LockFile {
        LockFile {
            time: Timestamp::utc(seconds, 500),
            exclusive: false,
            hostname: hostname.into(),
            username: "me".into(),
            pid,
            uid: 0,
            gid: 0,
            process: String::new(),
            lineage: String::new(),
        }
    }

    #[test]
    fn a_lock_is_dismissed_only_where_it_is_certain_that_nobody_holds_it() {
        let now = Timestamp::utc(100_000, 500);
        let (fresh, old) = (lock(100_000, "there", 1), lock(100_000 - 1801, "there", 1));
        let ours = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let written = |ago| Some(Written { other: ours - Duration::from_secs(ago), ours });
        assert_eq!(dismissal(&fresh, written(90_000), &now, None), None);
        assert_eq!(dismissal(&old, written(1801), &now, None), Some(Stale::Old));
        // One of both clocks is wrong, whichever it is.
        assert_eq!(dismissal(&old, written(1800), &now, None), None);
        let ahead = Some(Written { other: ours + Duration::from_secs(9), ours });
        assert_eq!(dismissal(&old, ahead, &now, None), None);
        // A store that does not tell times.
        let epoch = SystemTime::UNIX_EPOCH;
        let untold = Some(Written { other: epoch, ours: epoch });
        assert_eq!(dismissal(&old, untold, &now, None), Some(Stale::Old));
        // That no process has this number here proves nothing without more.
        let mut gone = lock(100_000, "here", 0x7FFF_FFFF);
        assert_eq!(dismissal(&gone, written(0), &now, None), None);
        gone.process = process::own_birth().expect("known");
        assert_eq!(dismissal(&gone, written(0), &now, None), Some(Stale::Gone));
        // Who is alive is not dismissed, neither for age nor for a name.
        let mut alive = lock(0, "here", i64::from(std::process::id()));
        alive.process = process::own_birth().expect("known");
        alive.lineage = "nightly".into();
        assert_eq!(dismissal(&alive, written(90_000), &now, Some("nightly")), None);
        let here = Looker { hostname: "here", lineage: Some("nightly") };
        assert_eq!(staleness(&alive, &now, here), None);
        // The next one of the same name.
        let mut before = lock(100_000, "pod-1", 1);
        before.lineage = "nightly".into();
        let dismissed = |lineage| dismissal(&before, written(0), &now, lineage);
        assert_eq!(dismissed(Some("nightly")), Some(Stale::Succeeded));
        assert_eq!(staleness(&before, &now, here), Some(Stale::Succeeded));
        let weekly = Looker { lineage: Some("weekly"), ..here };
        assert_eq!(staleness(&before, &now, weekly), None);
        assert_eq!(
            (dismissed(Some("weekly")), dismissed(Some("")), dismissed(None)),
            (None, None, None)
        );
        before.lineage.clear();
        assert_eq!(dismissal(&before, written(0), &now, Some("")), None);
    }

    #[test]
    fn a_lock_is_stale_after_half_an_hour_or_with_its_process_on_this_host() {
        let now = Timestamp::utc(100_000, 500);
        let here = Looker { hostname: "here", lineage: None };
        let check = |seconds, host, pid| staleness(&lock(seconds, host, pid), &now, here);
        let alive = i64::from(std::process::id());
        // No process has this number: the largest is 2^22.
        let gone = 0x7FFF_FFFF;
        assert_eq!(check(100_000 - 1800, "there", 1), None);
        assert_eq!(check(100_000 - 1801, "there", 1), Some(Stale::Old));
        assert_eq!(check(100_000 - 1801, "here", alive), Some(Stale::Old));
        assert_eq!(check(100_000, "here", alive), None);
        assert_eq!(check(100_000, "here", gone), Some(Stale::Gone));
        assert_eq!(check(100_000, "there", gone), None);
        // Numbers that no process can have.
        assert_eq!(check(100_000, "here", 0), Some(Stale::Gone));
        assert_eq!(check(100_000, "here", -1), Some(Stale::Gone));
        // From the future, by a clock that is ahead.
        assert_eq!(check(200_000, "there", gone), None);
        // The first process is nobody's to ask, and there.
        assert_eq!(check(100_000, "here", 1), None);
    }
}
