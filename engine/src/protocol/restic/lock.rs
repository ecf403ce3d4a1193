//! restic's lock files: taken, refreshed by a new file, and removed.
//!
//! Invariants
//! - A lock is in the store before others are looked for a second time, 200 ms later, so that of
//!   two who start together at least one sees the other.
//! - Empty lock files are half-written and count as none; ones that cannot be read count as locks.
//! - A lock that could not be refreshed for 22.5 minutes counts as lost: nothing more is written,
//!   because others may take it for stale after 30.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};
use windlass_format::{
    restic::{
        LockId,
        lock::Lock as LockFile,
        path::{FileKind, FileName},
    },
    time::Timestamp,
};

use super::{Protocol, key_of, read_document};
use crate::{
    cancel::Cancel,
    fault::Fault,
    protocol::{Access, AnnounceError, Announcement},
    store::{Existing, Failure, Store},
};

const SETTLE: Duration = Duration::from_millis(200);
const REFRESH: Duration = Duration::from_secs(5 * 60);
const REFRESH_RETRY: Duration = Duration::from_secs(10);
const LOST_AFTER: Duration = Duration::from_secs(22 * 60 + 30);
const FIRST_WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A lock that is held.
#[derive(Debug)]
pub struct Lock {
    held: Arc<Held>,
    refresher: JoinHandle<()>,
}

#[derive(Debug)]
struct Held {
    store: Store,
    id: Mutex<Option<LockId>>,
    lost: AtomicBool,
}

impl Lock {
    pub(super) async fn take(
        protocol: &Protocol,
        announcement: &Announcement,
        cancel: &Cancel,
    ) -> Result<Self, AnnounceError> {
        let give_up = Instant::now() + announcement.patience;
        let mut wait = FIRST_WAIT;
        loop {
            match Self::try_take(protocol, announcement, cancel).await {
                Err(AnnounceError::Busy { .. }) if Instant::now() < give_up => {
                    let left = give_up - Instant::now();
                    tokio::select! {
                        () = sleep(wait.min(left)) => {}
                        () = cancel.cancelled() => return Err(Fault::Cancelled.into()),
                    }
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
                result => return result,
            }
        }
    }

    async fn try_take(
        protocol: &Protocol,
        announcement: &Announcement,
        cancel: &Cancel,
    ) -> Result<Self, AnnounceError> {
        check_others(protocol, announcement.access, None).await?;
        let mut file = LockFile {
            time: protocol.clock.now(),
            exclusive: announcement.access == Access::Exclusive,
            hostname: announcement.hostname.clone(),
            username: announcement.username.clone(),
            pid: i64::from(std::process::id()),
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
        };
        let id = put(protocol, &file).await?;
        let held = Arc::new(Held {
            store: protocol.store.clone(),
            id: Mutex::new(Some(id)),
            lost: AtomicBool::new(false),
        });
        let refresher = tokio::spawn({
            let protocol = Protocol {
                store: protocol.store.clone(),
                codec: Arc::clone(&protocol.codec),
                clock: Arc::clone(&protocol.clock),
                entropy: protocol.entropy.clone(),
            };
            let (held, cancel) = (Arc::clone(&held), cancel.clone());
            async move {
                file.time = protocol.clock.now();
                held.refresh(&protocol, file, &cancel).await;
            }
        });
        // From here on the lock is removed by `release` or on drop, whatever happens.
        let lock = Self { held, refresher };
        let settled = async {
            tokio::select! {
                () = sleep(SETTLE) => {}
                () = cancel.cancelled() => return Err(Fault::Cancelled.into()),
            }
            check_others(protocol, announcement.access, Some(id)).await
        }
        .await;
        match settled {
            Ok(()) => Ok(lock),
            Err(error) => {
                lock.release().await?;
                Err(error)
            }
        }
    }

    pub(in crate::protocol) fn check(&self) -> Result<(), Fault> {
        if self.held.lost.load(Ordering::Acquire) {
            return Err(Fault::LockLost);
        }
        Ok(())
    }

    pub(in crate::protocol) async fn release(self) -> Result<(), Fault> {
        self.refresher.abort();
        self.held.remove().await
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.refresher.abort();
        let left = self.held.id.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if left && let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let held = Arc::clone(&self.held);
            runtime.spawn(async move {
                let _nobody_left_to_tell = held.remove().await;
            });
        }
    }
}

impl Held {
    async fn refresh(&self, protocol: &Protocol, mut file: LockFile, cancel: &Cancel) {
        let mut refreshed = Instant::now();
        let mut pause = REFRESH;
        loop {
            sleep(pause).await;
            file.time = protocol.clock.now();
            match put(protocol, &file).await {
                Ok(new) => {
                    refreshed = Instant::now();
                    pause = REFRESH;
                    let old = self.id.lock().unwrap_or_else(PoisonError::into_inner).replace(new);
                    if let Some(old) = old {
                        // A leftover is stale in half an hour; the lock itself is the new file.
                        let _stale_soon = self.store.delete(&key_of(FileName::Lock(old))).await;
                    }
                }
                Err(_fault) if refreshed.elapsed() < LOST_AFTER => pause = REFRESH_RETRY,
                Err(_fault) => {
                    self.lost.store(true, Ordering::Release);
                    cancel.cancel();
                    return;
                }
            }
        }
    }

    async fn remove(&self) -> Result<(), Fault> {
        let id = self.id.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(id) = id else { return Ok(()) };
        match self.store.delete(&key_of(FileName::Lock(id))).await {
            Ok(()) => Ok(()),
            Err(error) if error.failure == Failure::NotFound => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

async fn put(protocol: &Protocol, file: &LockFile) -> Result<LockId, Fault> {
    let (id, sealed) = protocol.seal(FileKind::Lock, &file.encode())?;
    let key = key_of(FileName::Lock(LockId(id)));
    match protocol.store.put(&key, &sealed, Existing::Keep, LockId(id)).await {
        Ok(stored) => Ok(stored.into_inner()),
        Err(error) => {
            // It may be there, or part of it, and only the answer was lost. Nobody else would
            // ever remove it.
            let _absent_or_unreachable = protocol.store.delete(&key).await;
            Err(error.into())
        }
    }
}

/// Fails if another lock does not tolerate `access`.
async fn check_others(
    protocol: &Protocol,
    access: Access,
    mine: Option<LockId>,
) -> Result<(), AnnounceError> {
    let mut others = Vec::new();
    let mut collect = |row: crate::store::Listed| {
        if row.stored_bytes > 0
            && let Some(FileName::Lock(id)) = FileName::parse(row.key.as_str())
            && Some(id) != mine
        {
            others.push(id);
        }
    };
    protocol.store.list(FileKind::Lock.directory(), &mut collect).await.map_err(Fault::from)?;
    for id in others {
        let other = match read_document(&protocol.store, &protocol.codec, FileName::Lock(id)).await
        {
            Ok(json) => LockFile::decode(&json)
                .map_err(|damage| Fault::damaged(format!("lock {id}"), damage))?,
            // Released between listing and reading.
            Err(Fault::Store(error)) if error.failure == Failure::NotFound => continue,
            Err(fault) => return Err(fault.into()),
        };
        if other.exclusive || access == Access::Exclusive {
            return Err(AnnounceError::Busy { by: describe(&other, protocol.clock.now()) });
        }
    }
    Ok(())
}

fn describe(lock: &LockFile, now: Timestamp) -> String {
    let kind = if lock.exclusive { "exclusively" } else { "for reading and adding" };
    let age = now.seconds.saturating_sub(lock.time.seconds);
    format!(
        "{kind} by PID {} on {} as {}, {age} seconds ago",
        lock.pid, lock.hostname, lock.username
    )
}
