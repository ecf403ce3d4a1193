//! Lock files of others.

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
    protocol::holders::{Holder, ListedHolder, Stale, Which},
    store::Failure,
};

/// Seconds after which a lock that was not refreshed stands for nobody.
const STALE_SECONDS: i64 = 30 * 60;

impl Protocol {
    pub(in crate::protocol) async fn list_holders(
        &self,
        hostname: &str,
    ) -> Result<Vec<ListedHolder>, Fault> {
        let now = self.clock.now();
        let mut holders = Vec::new();
        self.read_all(FileKind::Lock, |name, json| {
            let holder = json.and_then(|json| {
                let damaged = |damage| Fault::damaged(name.to_string(), damage);
                let file = LockFile::decode(&json).map_err(damaged)?;
                Ok(holder(file, &now, hostname))
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
        hostname: &str,
    ) -> Result<Vec<String>, Fault> {
        let names: Vec<String> = match which {
            Which::Stale => {
                let holders = self.list_holders(hostname).await?.into_iter();
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

fn holder(file: LockFile, now: &Timestamp, hostname: &str) -> Holder {
    let stale = staleness(&file, now, hostname);
    Holder {
        time: file.time,
        exclusive: file.exclusive,
        hostname: file.hostname,
        username: file.username,
        pid: file.pid,
        stale,
    }
}

/// Why a lock stands for nobody, if it does.
fn staleness(file: &LockFile, now: &Timestamp, hostname: &str) -> Option<Stale> {
    let age = (
        now.seconds.saturating_sub(file.time.seconds),
        i64::from(now.nanos) - i64::from(file.time.nanos),
    );
    if age > (STALE_SECONDS, 0) {
        return Some(Stale::Old);
    }
    (file.hostname == hostname && is_gone(file.pid)).then_some(Stale::Gone)
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
        }
    }

    #[test]
    fn a_lock_is_stale_after_half_an_hour_or_with_its_process_on_this_host() {
        let now = Timestamp::utc(100_000, 500);
        let check = |seconds, host, pid| staleness(&lock(seconds, host, pid), &now, "here");
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
